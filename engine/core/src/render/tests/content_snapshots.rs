use serde_json::{Value, json};

use super::backup;

fn check(name: &str, revision: &str, parameters: Value) {
    let prepared = backup(revision, parameters).unwrap();
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_yaml_snapshot!(name, prepared.workflow);
    });
}

fn five(action: &str) -> Value {
    json!({
        "action": action,
        "name": "mongo",
        "selector": "helm.sh/chart=mongodb-10.3.1,tier notin (cache)",
        "includeNamespaces": "apps, shop,",
        "includeResources": ["pods", "persistentvolumeclaims"],
    })
}

fn everything(action: &str) -> Value {
    let mut parameters = five(action);
    let more = json!({
        "volumes": "snapshot",
        "ttl": "24h30m",
        "storageLocation": "offsite",
        "timeout": "30m",
        "allowPartial": true,
        "allowEmpty": true,
        "existing": "update",
        "namespaceMapping": {"apps": "apps-copy"},
        "syncTimeout": "90s",
        "selectors": ["app=db", "app in (web, api),!canary"],
    });
    let object = parameters.as_object_mut().unwrap();
    object.remove("selector");
    object.extend(more.as_object().unwrap().clone());
    parameters
}

#[test]
fn backup_0_1_0() {
    check("backup-0.1.0-minimal", "0.1.0", json!({"action": "backup", "name": "mongo"}));
    check("backup-0.1.0-everything", "0.1.0", five("backup"));
}

#[test]
fn restore_0_1_0() {
    check("restore-0.1.0-minimal", "0.1.0", json!({"action": "restore", "name": "mongo"}));
    check("restore-0.1.0-everything", "0.1.0", five("restore"));
}

#[test]
fn backup_0_2_0() {
    check("backup-0.2.0-minimal", "0.2.0", json!({"action": "backup", "name": "mongo"}));
    check("backup-0.2.0-everything", "0.2.0", everything("backup"));
}

#[test]
fn restore_0_2_0() {
    check("restore-0.2.0-minimal", "0.2.0", json!({"action": "restore", "name": "mongo"}));
    check("restore-0.2.0-everything", "0.2.0", everything("restore"));
}

/// What revision 0.3.0 adds for both actions, then for one.
fn everything_since_0_3_0(action: &str) -> Value {
    let mut parameters = everything(action);
    let both = json!({
        "excludeNamespaces": ["kube-system"],
        "labels": {"team": "shop"},
        "hooks": {"resources": [{"name": "freeze", "pre": [{"exec": {"command": ["/bin/sync"]}}]}]},
    });
    let one = match action {
        "backup" => json!({
            "includedClusterScopedResources": "storageclasses",
            "excludedClusterScopedResources": ["nodes"],
            "includedNamespaceScopedResources": "pods,persistentvolumeclaims",
            "excludedNamespaceScopedResources": ["events"],
            "orderedResources": {"pods": "shop/db-0,shop/db-1"},
            "resourcePolicy": "volume-policy",
            "coverage": "warn",
        }),
        _ => json!({
            "excludeResources": "events",
            "includeClusterResources": false,
            "restoreStatus": {"includedResources": "workflows"},
            "preserveNodePorts": true,
            "resourceModifier": "smaller-volumes",
            "waitReady": false,
            "readyTimeout": "5m",
        }),
    };
    let object = parameters.as_object_mut().unwrap();
    if action == "backup" {
        object.remove("includeResources");
    }
    for more in [both, one] {
        object.extend(more.as_object().unwrap().clone());
    }
    parameters
}

#[test]
fn backup_0_3_0() {
    check("backup-0.3.0-minimal", "0.3.0", json!({"action": "backup", "name": "mongo"}));
    check("backup-0.3.0-everything", "0.3.0", everything_since_0_3_0("backup"));
}

#[test]
fn restore_0_3_0() {
    check("restore-0.3.0-minimal", "0.3.0", json!({"action": "restore", "name": "mongo"}));
    check("restore-0.3.0-everything", "0.3.0", everything_since_0_3_0("restore"));
}

#[test]
fn what_velero_would_refuse_or_not_do_is_refused_early() {
    let refused = |parameters: Value, words: &str| {
        let mut whole = json!({"action": "backup", "name": "mongo"});
        whole.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let error = backup("0.3.0", whole).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains(words)), "{parameters}: {error:?}");
    };
    let scoped = "Velero takes only one of the two";
    refused(json!({"includeResources": "pods", "includedNamespaceScopedResources": "pods"}), scoped);
    refused(json!({"excludeResources": "pods", "excludedClusterScopedResources": "nodes"}), scoped);
    refused(json!({"includeClusterResources": false, "includedClusterScopedResources": "nodes"}), scoped);
    refused(json!({"action": "restore", "includedNamespaceScopedResources": "pods"}), "for backups only");
    refused(json!({"action": "restore", "orderedResources": {"pods": "a/b"}}), "for backups only");
    refused(json!({"restoreStatus": {"includedResources": "workflows"}}), "they are for restores");
    refused(json!({"resourceModifier": "smaller"}), "they are for restores");
    refused(json!({"labels": {"velero.io/backup-name": "other"}}), "/labels");
    refused(json!({"coverage": "perhaps"}), "/coverage");
    refused(json!({"readyTimeout": "soon"}), "/readyTimeout");
    refused(json!({"hooks": {"resources": [{}]}}), "/hooks/resources/0");
}

#[test]
fn data_is_required_where_it_is_asked_for() {
    for (parameters, coverage) in [
        (json!({}), "required"),
        (json!({"volumes": "annotated"}), "required"),
        (json!({"volumes": "none"}), "off"),
        (json!({"volumes": "none", "coverage": "warn"}), "warn"),
        (json!({"coverage": "off"}), "off"),
    ] {
        let mut whole = json!({"action": "backup", "name": "mongo"});
        whole.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let prepared = backup("0.3.0", whole).unwrap();
        let expect = &prepared.workflow.steps[0].resource.as_ref().unwrap().expect;
        assert_eq!(json!(expect.coverage), json!(coverage), "{parameters}");
    }
}

#[test]
fn volumes_decide_how_data_is_saved() {
    for (volumes, files, snapshots) in
        [("fs", true, false), ("annotated", false, false), ("snapshot", false, true), ("none", false, false)]
    {
        let parameters = json!({"action": "backup", "name": "mongo", "volumes": volumes});
        let prepared = backup("0.2.0", parameters).unwrap();
        let manifest = &prepared.workflow.steps[0].resource.as_ref().unwrap().manifest;
        assert_eq!(manifest["spec"]["defaultVolumesToFsBackup"], json!(files), "{volumes}");
        assert_eq!(manifest["spec"]["snapshotVolumes"], json!(snapshots), "{volumes}");
    }
}

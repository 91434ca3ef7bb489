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

//! What backups and restores take.

use super::*;

/// Two namespaces, `one` and `two`, each with a ConfigMap, a Secret and a Widget.
async fn world() -> World {
    let world = World::new().await;
    world.create(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true}],
        },
    })).await;
    for name in ["one", "two"] {
        world.create(&namespace(name)).await;
        world.create(&config_map(name, "map", &json!({"app": name}))).await;
        for (api_version, kind) in [("v1", "Secret"), ("example.com/v1", "Widget")] {
            let metadata = json!({"name": kind.to_lowercase(), "namespace": name, "labels": {"app": name}});
            world.create(&json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})).await;
        }
    }
    let hidden = json!({"app": "one", "velero.io/exclude-from-backup": "true"});
    world.create(&config_map("one", "hidden", &hidden)).await;
    world
}

/// Sums up the backup's resource list in one line.
fn taken(list: &Value) -> String {
    let lines = list.as_object().unwrap().iter().map(|(kind, items)| {
        let items: Vec<&str> = items.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        format!("{} {}", kind.rsplit('/').next().unwrap(), items.join(" "))
    });
    lines.collect::<Vec<_>>().join(", ")
}

#[tokio::test(start_paused = true)]
async fn a_backup_takes_what_its_filters_say() {
    let world = world().await;
    let definition = "CustomResourceDefinition widgets.example.com";
    for (index, (spec, expected)) in [
        (json!({"includedNamespaces": ["one"]}), format!("{definition}, Widget one/widget, ConfigMap one/map, Namespace one, Secret one/secret")),
        (json!({"includedNamespaces": ["o*"], "excludedResources": ["widgets.example.com", "secret"]}), "ConfigMap one/map, Namespace one".to_owned()),
        (json!({"includedNamespaces": ["one", "two"], "includedResources": ["cm"]}), "ConfigMap one/map two/map".to_owned()),
        (json!({"labelSelector": {"matchLabels": {"app": "two"}}, "includedResources": ["secrets", "namespaces"]}), "Namespace two, Secret two/secret".to_owned()),
        (json!({"labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["one"]}]}, "includeClusterResources": false}),
            "Widget one/widget, ConfigMap one/map, Namespace one, Secret one/secret".to_owned()),
        (json!({"orLabelSelectors": [{"matchLabels": {"app": "one"}}, {"matchLabels": {"app": "two"}}], "includedResources": ["configmaps"]}),
            "ConfigMap one/map two/map".to_owned()),
        (json!({"includedNamespaces": ["two"], "includedNamespaceScopedResources": ["secrets"]}), "Namespace two, Secret two/secret".to_owned()),
        (json!({"includedNamespaces": ["two"], "labelSelector": {"matchLabels": {"app": "none"}}}), "Namespace two".to_owned()),
    ].into_iter().enumerate() {
        let name = format!("b{index}");
        let states = world.back_up(&name, spec.clone()).await;
        assert_eq!(phase(states.last().unwrap()), "Completed", "{spec}");
        let list = world.gzip_json(&format!("backups/{name}/{name}-resource-list.json.gz"));
        assert_eq!(taken(&list), expected, "{spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_takes_what_its_filters_say() {
    let world = world().await;
    world.back_up("all", json!({"includedNamespaces": ["one", "two"]})).await;
    for name in ["one", "two"] {
        world.delete("namespaces", "", name).await;
    }
    for (index, (spec, expected)) in [
        (json!({"includedNamespaces": ["one"], "includedResources": ["configmaps"]}), "ConfigMap one/map(created), Namespace one(created)"),
        (json!({"labelSelector": {"matchLabels": {"app": "two"}}, "excludedResources": ["secrets", "widgets"]}), "ConfigMap two/map(created), Namespace two(created)"),
        (json!({"includedNamespaces": ["one"], "includedResources": ["secrets"], "namespaceMapping": {"one": "three"}}),
            "Namespace three(created), Secret three/secret(created)"),
        (json!({"includedNamespaces": ["one"], "includedResources": ["configmaps"]}), "ConfigMap one/map(skipped)"),
    ].into_iter().enumerate() {
        let (name, mut spec) = (format!("r{index}"), spec);
        spec["backupName"] = json!("all");
        let states = world.restore(&name, spec.clone()).await;
        assert_eq!(phase(states.last().unwrap()), "Completed", "{spec}");
        let list = world.gzip_json(&format!("restores/{name}/restore-{name}-resource-list.json.gz"));
        assert_eq!(taken(&list), expected, "{spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_left_or_updated() {
    let world = world().await;
    world.back_up("all", json!({"includedNamespaces": ["one"], "includedResources": ["configmaps"]})).await;
    for (policy, expected, data, warnings) in
        [("none", "(failed)", "changed", json!(1)), ("update", "(updated)", "b", Value::Null)]
    {
        world.merge("configmaps", "one", "map", json!({"data": {"a": "changed"}})).await;
        let states =
            world.restore(policy, json!({"backupName": "all", "existingResourcePolicy": policy})).await;
        assert_eq!((phase(states.last().unwrap()), &end(&states)["warnings"]), ("Completed", &warnings));
        let list = world.gzip_json(&format!("restores/{policy}/restore-{policy}-resource-list.json.gz"));
        assert_eq!(list["v1/ConfigMap"], json!([format!("one/map{expected}")]));
        assert_eq!(world.get("configmaps", "one", "map").await.unwrap()["data"]["a"], data);
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_brings_its_definition() {
    let world = world().await;
    world.back_up("all", json!({"includedNamespaces": ["one"]})).await;
    world.delete("customresourcedefinitions", "", "widgets.example.com").await;
    world.restore("r", json!({"backupName": "all", "includeClusterResources": true})).await;
    assert!(world.get("widgets", "one", "widget").await.is_some());
}

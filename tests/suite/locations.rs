//! Storage locations beside Velero's default one, and what of a cluster comes along with a namespace.

use kube::api::DeleteParams;
use ochre_core::action::ActionStatus;
use ochre_core::phase::Phase;
use ochre_tests::{Engine, Person, World, refused};
use serde_json::{Value, json};

/// Adds a storage location in the same bucket, under a prefix that is new, and waits until it can be used.
///
/// Velero takes a bucket for none of its own that has other folders than it knows, such as `plugins`.
async fn add_location(world: &World, name: &str) {
    let default = world.velero("BackupStorageLocation").get("default").await.unwrap();
    let mut spec = default.data["spec"].clone();
    spec["objectStorage"]["prefix"] = json!(format!("plugins/{}", jiff::Timestamp::now().as_nanosecond()));
    spec.as_object_mut().unwrap().remove("default");
    world
        .create(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "spec": spec,
            "metadata": {"name": name, "namespace": world.velero_namespace},
        }))
        .await;
    world.velero_phase("BackupStorageLocation", name, "Available").await;
}

async fn editor(world: &World) -> Person {
    let alice = world.person("alice").await;
    for namespace in ["chat", "default"] {
        world.grant_edit(&alice, Some(namespace)).await;
    }
    alice
}

async fn run(world: &World, engine: &Engine, person: &Person, name: &str, parameters: Value) -> ActionStatus {
    let mut given = json!({"includeNamespaces": "chat", "name": "mongo"});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.run_by(person, name, given).await.data();
    world.ended(name).await
}

#[tokio::test]
async fn a_location_that_is_not_the_default_takes_the_right_to_use_it_and_is_named() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let alice = editor(&world).await;
    add_location(&world, "offsite").await;
    let backup = json!({"action": "backup", "includeResources": "configmaps", "volumes": "none", "storageLocation": "offsite"});
    let restore = |more: Value| {
        let mut given = json!({"action": "restore", "existing": "keep", "syncTimeout": "1ms"});
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        given
    };
    // Whether there is such a location or not is not told to who may not use it.
    let nowhere = restore(json!({"storageLocation": "no-such"}));
    let offsite = restore(json!({"storageLocation": "offsite"}));
    for (name, given, location) in [
        ("save-unasked", &backup, "offsite"),
        ("restore-unasked", &offsite, "offsite"),
        ("restore-nowhere", &nowhere, "no-such"),
    ] {
        let message = refused(&run(&world, &engine, &alice, name, given.clone()).await, "Forbidden");
        let right = format!("may not use backupstoragelocations.velero.io {location} in ");
        assert!(message.contains(&right), "{message}");
    }
    assert!(world.velero_names("Backup").await.is_empty());

    let rule = json!({"apiGroups": ["velero.io"], "resources": ["backupstoragelocations"], "verbs": ["use"]});
    world.grant_rule(&alice, Some(&world.velero_namespace), rule).await;
    let status = run(&world, &engine, &alice, "save", backup).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    let made = world.velero("Backup").get("mongo").await.unwrap();
    assert_eq!(made.data["spec"]["storageLocation"], "offsite");

    let message = refused(&run(&world, &engine, &alice, "by-default", restore(json!({}))).await, "NotFound");
    assert!(message.contains("no Backup mongo in the storage location default"), "{message}");
    let message = refused(&run(&world, &engine, &alice, "nowhere", nowhere).await, "LocationUnusable");
    assert!(message.contains("no-such does not exist; there are: default, offsite"), "{message}");
    let maps = world.api("v1", "ConfigMap", Some("chat"));
    maps.delete("bystander", &DeleteParams::default()).await.unwrap();
    let status = run(&world, &engine, &alice, "bring-back", offsite).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    assert!(world.in_chat("v1", "ConfigMap", "bystander").await.is_some());
}

/// Velero restores the PriorityClass that a pod names, wherever the Restore takes the pod from.
#[tokio::test]
async fn a_priority_class_comes_back_for_who_may_create_it_alone() {
    const SCHEDULING: &str = "scheduling.k8s.io/v1";
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let alice = editor(&world).await;
    let class = json!({"apiVersion": SCHEDULING, "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 1_000_000});
    let classes = world.api(SCHEDULING, "PriorityClass", None);
    // A test before may have left it.
    let _ = classes.delete("urgent", &DeleteParams::default()).await;
    world.create(class).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hasty", "namespace": "chat"}, "spec": {
        "priorityClassName": "urgent", "containers": [{"name": "main", "image": "registry.example/none"}],
    }});
    world.create(pod).await;
    let backup =
        json!({"action": "backup", "includeResources": "pods,configmaps,priorityclasses", "volumes": "none"});
    let status = run(&world, &engine, &alice, "save", backup).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    classes.delete("urgent", &DeleteParams::default()).await.unwrap();

    let restore = |kinds: Option<&str>| json!({"action": "restore", "existing": "keep", "waitReady": false, "allowPartial": true, "allowEmpty": true, "includeResources": kinds});
    for (name, kinds) in [("all", None), ("named", Some("pods,priorityclasses"))] {
        let mut given = restore(kinds);
        given.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let status = run(&world, &engine, &alice, name, given).await;
        assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
        assert!(classes.get_opt("urgent").await.unwrap().is_none(), "{name}");
    }
    let rule =
        json!({"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["create"]});
    world.grant_rule(&alice, None, rule).await;
    let status = run(&world, &engine, &alice, "granted", restore(Some("pods"))).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    assert!(
        classes.get_opt("urgent").await.unwrap().is_none(),
        "the kind is not among those that are asked for"
    );
    let status = run(&world, &engine, &alice, "granted-named", restore(Some("pods,priorityclasses"))).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    assert!(classes.get_opt("urgent").await.unwrap().is_some());
}

//! What a restore brings back, and where: every filter is honoured, and `existing` decides about what lives.

use kube::api::DeleteParams;
use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Engine, World, uncounted};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

/// Backs the application up, loses it, and restores some of it.
async fn restore(world: &World, engine: &Engine, parameters: Value) -> ActionStatus {
    engine.backed_up_application(world).await;
    world.lose_application().await;
    bring_back(world, engine, parameters).await
}

async fn bring_back(world: &World, engine: &Engine, parameters: Value) -> ActionStatus {
    let mut given = json!({"action": "restore", "name": "mongo"});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.create("back", None, given).await.data();
    world.ended("back").await
}

/// Restores with some parameters, and looks which objects of the application are there.
async fn check(parameters: Value, wanted: &[&str]) {
    let world = World::start().await;
    let engine = world.engine().await;
    let status = restore(&world, &engine, parameters.clone()).await;
    assert_eq!(status.phase, Phase::Succeeded, "{parameters}: {status:#?}");
    let there: Vec<String> = world.objects(APPLICATION).await.into_keys().collect();
    assert_eq!(there, wanted, "{parameters}");
}

#[tokio::test]
async fn only_the_named_kinds_come_back() {
    check(
        json!({"includeResources": "configmaps,services"}),
        &["ConfigMap chat/mongodb-conf", "Service chat/mongodb"],
    )
    .await;
    // Its controller makes the claim.
    check(
        json!({"includeResources": ["StatefulSet"]}),
        &["PersistentVolumeClaim chat/data-mongodb-0", "StatefulSet chat/mongodb"],
    )
    .await;
}

#[tokio::test]
async fn only_the_selected_objects_come_back() {
    check(json!({"selector": "helm.sh/chart", "includeResources": "cm"}), &["ConfigMap chat/mongodb-conf"])
        .await;
    check(
        json!({"selectors": ["helm.sh/chart=no-such", APPLICATION], "includeResources": ["secrets"]}),
        &["Secret chat/mongodb"],
    )
    .await;
}

#[tokio::test]
async fn only_the_named_namespaces_come_back() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up(&world, "both", json!({"includeNamespaces": "chat,shop"})).await;
    for (namespace, name) in [("chat", "bystander"), ("shop", "prices")] {
        let maps = world.api("v1", "ConfigMap", Some(namespace));
        maps.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let parameters = json!({
        "action": "restore", "name": "both", "includeNamespaces": "shop", "includeResources": "configmaps",
    });
    engine.create("back", None, parameters).await.data();
    world.succeeded("back").await;
    assert!(world.api("v1", "ConfigMap", Some("shop")).get_opt("prices").await.unwrap().is_some());
    assert!(world.in_chat("v1", "ConfigMap", "bystander").await.is_none());
}

#[tokio::test]
async fn a_restore_that_selects_nothing_restores_nothing_and_says_so() {
    let world = World::start().await;
    let engine = world.engine().await;
    let status = restore(&world, &engine, json!({"selector": "helm.sh/chart=no-such"})).await;
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Empty);
    insta::assert_snapshot!(uncounted(&status.message.unwrap()), @"step restore: the filters select none of the N items of the Backup mongo, so nothing was restored");
    assert!(world.velero_names("Restore").await.is_empty());
}

#[tokio::test]
async fn a_namespace_can_be_restored_into_another() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    let originals = world.objects(APPLICATION).await;
    let parameters = json!({
        "namespaceMapping": {"chat": "chat-copy"},
        "includeResources": ["configmaps", "secrets", "services", "statefulsets"],
    });
    let status = bring_back(&world, &engine, parameters).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    let mut there = world.objects(APPLICATION).await;
    there.retain(|place, _| !originals.contains_key(place));
    let copies: Vec<&str> = there.keys().map(String::as_str).collect();
    assert_eq!(
        copies,
        [
            "ConfigMap chat-copy/mongodb-conf",
            // The StatefulSet makes it.
            "PersistentVolumeClaim chat-copy/data-mongodb-0",
            "Secret chat-copy/mongodb",
            "Service chat-copy/mongodb",
            "StatefulSet chat-copy/mongodb",
        ]
    );
    assert_eq!(
        there["ConfigMap chat-copy/mongodb-conf"]["data"],
        originals["ConfigMap chat/mongodb-conf"]["data"]
    );
}

#[tokio::test]
async fn existing_refuse_names_what_lives_and_restores_nothing() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    let before = world.objects(APPLICATION).await;
    let status = bring_back(&world, &engine, json!({})).await;
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.steps[0].reason.as_deref(), Some("Exists"));
    let claim = &before["PersistentVolumeClaim chat/data-mongodb-0"];
    let message = status.message.unwrap().replace(claim["spec"]["volumeName"].as_str().unwrap(), "<volume>");
    insta::assert_snapshot!(message, @"step restore: what the Backup mongo would bring back lives already (6): StatefulSet chat/mongodb, ConfigMap chat/mongodb-conf, PersistentVolume <volume>, PersistentVolumeClaim chat/data-mongodb-0, Secret chat/mongodb and 1 more; nothing was restored: delete it, or ask with existing: keep or update");
    assert!(world.velero_names("Restore").await.is_empty());
    assert_eq!(world.objects(APPLICATION).await, before);
}

#[tokio::test]
async fn existing_keep_leaves_what_differs_and_names_it() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    world.change_config("mongodb-conf", json!({"mongod.conf": "changed"})).await;
    world.api("v1", "Secret", Some("chat")).delete("mongodb", &DeleteParams::default()).await.unwrap();
    let parameters = json!({"existing": "keep", "includeResources": "configmaps,secrets"});
    let status = bring_back(&world, &engine, parameters).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    let outputs = &status.steps[0].outputs;
    assert_eq!(outputs["created"], 1);
    assert_eq!(outputs["leftAsIs"], 1);
    assert_eq!(outputs["leftAsIsNames"], json!(["ConfigMap chat/mongodb-conf"]));
    let outcome = status.outcome.unwrap();
    assert_eq!(outcome.verdict, Verdict::WithWarnings);
    assert_eq!(outcome.gaps.len(), 1);
    insta::assert_snapshot!(status.message.unwrap(), @"1 created, 0 updated, 0 skipped, 1 left as they were, 0 failed; Velero: chat: could not restore, ConfigMap:mongodb-conf already exists. Warning: the in-cluster version is different than the backed-up version");
    let kept = world.in_chat("v1", "ConfigMap", "mongodb-conf").await.unwrap();
    assert_eq!(kept.data["data"]["mongod.conf"], "changed");
}

#[tokio::test]
async fn existing_update_makes_it_what_the_backup_holds() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    world.change_config("mongodb-conf", json!({"mongod.conf": "changed"})).await;
    let parameters = json!({"existing": "update", "includeResources": "configmaps"});
    let status = bring_back(&world, &engine, parameters).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    assert_eq!(status.steps[0].outputs["updated"], 1);
    let updated = world.in_chat("v1", "ConfigMap", "mongodb-conf").await.unwrap();
    assert_eq!(updated.data["data"]["mongod.conf"], "net: {port: 27017}");
}

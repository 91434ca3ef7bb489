//! A copy of an Action never runs, however it came to be; a rerun that is asked for does.

use ochre_core::phase::Phase;
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

async fn start() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

/// Takes an Action as `kubectl get -o json` shows it, without what the server would refuse of a new one.
async fn manifest(world: &World, name: &str) -> Value {
    let action = world.actions("default").get(name).await.unwrap();
    let mut manifest = json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
        "metadata": {"name": name, "namespace": "default", "annotations": action.metadata.annotations},
    });
    manifest["spec"] = json!(action.spec);
    manifest
}

#[tokio::test]
async fn a_clone_with_run_never_runs_until_a_rerun_is_asked_for() {
    let (world, engine) = start().await;
    engine
        .create("nightly", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("nightly").await;
    let mut clone = manifest(&world, "nightly").await;
    clone["metadata"]["name"] = json!("clone");
    world.create(clone).await;
    let status = world.until("clone", |status| status.message.is_some()).await;
    assert_eq!(status.phase, Phase::Initial);
    insta::assert_snapshot!(status.message.as_deref().unwrap(), @"this Action is a copy (restored or cloned) of another and does not run; to run it, raise spec.attempt and set spec.run");
    engine
        .create("other", None, json!({"action": "backup", "name": "other", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("other").await;
    assert_eq!(world.status("clone").await, status, "it is left alone");
    assert_eq!(world.velero_names("Backup").await, ["mongo", "other"]);

    world.patch_action("clone", json!({"spec": {"attempt": 2}})).await;
    let status = world.succeeded("clone").await;
    assert_eq!(status.attempt, 2);
    assert_eq!(world.velero_names("Backup").await, ["mongo", "mongo-2", "other"]);
}

#[tokio::test]
async fn actions_that_velero_restores_do_not_run() {
    let (world, engine) = start().await;
    engine
        .create("nightly", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("nightly").await;
    let parameters = json!({"includeNamespaces": "default", "includeResources": "actions.core.ochre.dev"});
    engine.backed_up(&world, "actions", parameters).await;
    engine.on("deleteAction", "nightly").await.data();
    world.until_absent("nightly").await;
    world.until_absent("make-actions").await;
    engine.create("back", None, json!({"action": "restore", "name": "actions"})).await.data();
    world.succeeded("back").await;
    for name in ["nightly", "make-actions"] {
        let status = world.until(name, |status| status.message.is_some()).await;
        assert!(status.message.as_deref().unwrap().contains("is a copy"), "{status:#?}");
        assert_eq!(status.phase, Phase::Initial);
        assert!(world.actions("default").get(name).await.unwrap().spec.run);
    }
    let mut backups = world.velero_names("Backup").await;
    backups.sort();
    assert_eq!(backups, ["actions", "mongo"]);
    engine.on("deleteAction", "nightly").await.data();
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    #[tokio::test]
    async fn a_rerun_is_a_new_attempt_with_names_of_its_own() {
        let (world, engine) = start().await;
        world.stop_velero().await;
        engine
            .create("nightly", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
            .await
            .data();
        world.until("nightly", |status| status.steps[0].reason.as_deref() == Some("New")).await;
        world.ask_velero("Backup", "mongo", "end", "failed").await;
        world.start_velero().await;
        assert_eq!(world.ended("nightly").await.phase, Phase::Failed);
        world.patch_action("nightly", json!({"spec": {"attempt": 2}})).await;
        let status = world.until("nightly", |status| status.phase.is_terminal() && status.attempt == 2).await;
        assert_eq!(status.phase, Phase::Succeeded);
        assert_eq!(world.velero_names("Backup").await, ["mongo", "mongo-2"]);
        // A restore of the name takes the good one.
        engine
            .create("back", None, json!({"action": "restore", "name": "mongo", "existing": "keep"}))
            .await
            .data();
        let status = world.succeeded("back").await;
        assert_eq!(status.steps[0].outputs["backupName"], "mongo-2");
    }
}

//! Every way in which Velero can end a restore, and what becomes of the Action: the truth.

use kube::api::{DeleteParams, DynamicObject};
use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, StepPhase, Verdict};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

use crate::endings::check;

/// Has a backup made and the application lost.
async fn lost() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    world.lose_application().await;
    (world, engine)
}

/// Has the engine create a Restore while Velero is stopped; yields its name.
///
/// With `existing: keep` nothing is read before, so that no Velero is needed for it.
async fn created(world: &World, engine: &Engine, parameters: Value) -> String {
    world.stop_velero().await;
    let mut given = json!({"action": "restore", "name": "mongo", "existing": "keep"});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.create("back", None, given).await.data();
    let status = world.until("back", |status| status.steps[0].reason.as_deref() == Some("New")).await;
    status.steps[0].object.as_ref().unwrap().name.clone()
}

#[tokio::test]
async fn a_restore_deleted_in_the_middle_fails_and_is_not_made_again() {
    let (world, engine) = lost().await;
    let restore = created(&world, &engine, json!({})).await;
    world.delete_velero("Restore", &restore).await;
    let status = world.ended("back").await;
    check(&status, Phase::Failed, Some("Deleted"), Verdict::None);
    assert!(world.velero_names("Restore").await.is_empty());
}

#[tokio::test]
async fn a_restore_that_cannot_be_read_is_unknown() {
    let (world, engine) = lost().await;
    let restore = created(&world, &engine, json!({})).await;
    // Velero says that it is done, and the bucket has nothing about it.
    world.patch_velero("Restore", &restore, json!({"status": {"phase": "Completed"}})).await;
    world.start_velero().await;
    let status = world.ended("back").await;
    let message = check(&status, Phase::Failed, Some("Unknown"), Verdict::Unknown);
    assert!(message.contains("could not be read"), "{message}");
}

#[tokio::test]
async fn a_backup_that_cannot_be_read_is_not_restored() {
    for damage in [World::lose_file, World::damage_file] {
        let (world, engine) = lost().await;
        damage(&world, "backups/mongo/mongo-resource-list.json.gz");
        engine.create("back", None, json!({"action": "restore", "name": "mongo"})).await.data();
        let status = world.ended("back").await;
        let message = check(&status, Phase::Failed, Some("Unknown"), Verdict::Unknown);
        assert!(
            message.contains("what the Backup mongo holds could not be read, so nothing was restored"),
            "{message}"
        );
        assert!(world.velero_names("Restore").await.is_empty());
    }
}

#[tokio::test]
async fn a_released_volume_that_was_left_is_named() {
    let world = World::start().await;
    let engine = world.engine().await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-old"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "old",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/data/old"},
            },
        }))
        .await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "old", "namespace": "chat", "labels": {"app": "old"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "old", "volumeName": "pv-old",
            },
        }))
        .await;
    let is = |phase: &'static str| {
        move |object: Option<&DynamicObject>| object.is_some_and(|it| it.data["status"]["phase"] == phase)
    };
    let claims = world.api("v1", "PersistentVolumeClaim", Some("chat"));
    world.object(claims.clone(), "old", is("Bound")).await;
    engine.backed_up(&world, "mongo", json!({"selector": "app=old", "volumes": "none"})).await;
    claims.delete("old", &DeleteParams::default()).await.unwrap();
    let volumes = world.api("v1", "PersistentVolume", None);
    let volume = world.object(volumes, "pv-old", is("Released")).await.unwrap();
    assert_eq!(volume.data["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    engine.create("back", None, json!({"action": "restore", "name": "mongo"})).await.data();
    let status = world.ended("back").await;
    let message = check(&status, Phase::Succeeded, None, Verdict::WithWarnings);
    insta::assert_snapshot!(message, @"1 created, 0 updated, 0 skipped, 1 left as they were, 0 failed; Velero: could not restore, PersistentVolume:pv-old already exists. Warning: the in-cluster version is different than the backed-up version");
    let gaps = status.outcome.unwrap().gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].object, "PersistentVolume pv-old");
}

#[tokio::test]
async fn what_update_cannot_change_is_no_success() {
    let world = World::start().await;
    let engine = world.engine().await;
    let other = json!({
        "name": "other", "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": {"action": "backup", "name": "other"}},
    });
    engine.create_action(other).await.data();
    let parameters = json!({"includeNamespaces": "default", "includeResources": "actions.core.ochre.dev"});
    engine.backed_up(&world, "actions", parameters).await;
    // The attempt of an Action only grows, so nobody can make it what it was.
    world.patch_action("other", json!({"spec": {"attempt": 2}})).await;
    let parameters = json!({"action": "restore", "name": "actions", "existing": "update"});
    engine.create("back", None, parameters).await.data();
    let status = world.ended("back").await;
    let message = check(&status, Phase::Failed, Some("NotAllRestored"), Verdict::Partial);
    assert_eq!(status.steps[0].outputs["failedNames"], json!(["Action default/other"]), "{message}");
    assert!(message.contains("1 created, 0 updated, 0 skipped, 0 left as they were, 1 failed"), "{message}");
    assert!(message.contains("spec.attempt only grows"), "{message}");
}

#[tokio::test]
async fn an_engine_that_is_stopped_in_the_middle_goes_on_after_its_start() {
    let (world, engine) = lost().await;
    let restore = created(&world, &engine, json!({})).await;
    engine.drain().await;
    world.start_velero().await;
    world.velero_phase("Restore", &restore, "Completed").await;
    let _engine = world.engine().await;
    world.succeeded("back").await;
    assert_eq!(world.velero_names("Restore").await, [restore]);
}

#[tokio::test]
async fn a_backup_that_velero_finds_in_the_bucket_is_waited_for_and_restored() {
    let (world, engine) = lost().await;
    world.stop_velero().await;
    world.velero("Backup").delete("mongo", &DeleteParams::default()).await.unwrap();
    engine.create("back", None, json!({"action": "restore", "name": "mongo"})).await.data();
    let waiting = world.until("back", |status| status.steps[0].phase == StepPhase::Waiting).await;
    assert_eq!(waiting.steps[0].reason.as_deref(), Some("BackupUnknown"));
    insta::assert_snapshot!(waiting.message.unwrap(), @"step restore: Velero knows no Backup mongo in the storage location default; waits 300 s for it to be found in the bucket");
    world.start_velero().await;
    world.succeeded("back").await;
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    /// Has Velero end a restore in a way that an annotation asks for; yields what Velero says of it too.
    async fn ended(annotation: &str, value: &str, parameters: Value) -> (ActionStatus, Value) {
        let (world, engine) = lost().await;
        let restore = created(&world, &engine, parameters).await;
        world.ask_velero("Restore", &restore, annotation, value).await;
        world.start_velero().await;
        let status = world.ended("back").await;
        assert_eq!(world.velero_names("Restore").await, [restore.as_str()]);
        (status, world.velero("Restore").get(&restore).await.unwrap().data["status"].clone())
    }

    #[tokio::test]
    async fn failed_is_failed_in_velero_s_own_words() {
        let (status, velero) = ended("end", "failed", json!({})).await;
        let message = check(&status, Phase::Failed, Some("Failed"), Verdict::None);
        let words = velero["failureReason"].as_str().unwrap();
        assert_eq!(message, format!("step restore: Velero's Restore ended Failed: {words}"));
    }

    #[tokio::test]
    async fn failed_validation_lists_what_velero_found() {
        let (status, velero) = ended("end", "failed-validation", json!({})).await;
        let message = check(&status, Phase::Failed, Some("FailedValidation"), Verdict::None);
        let words = velero["validationErrors"][0].as_str().unwrap();
        assert_eq!(message, format!("step restore: Velero's Restore ended FailedValidation: {words}"));
    }

    #[tokio::test]
    async fn partially_failed_is_failed() {
        let (status, _) = ended("end", "partially-failed", json!({})).await;
        let message = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
        insta::assert_snapshot!(message, @"step restore: Velero says PartiallyFailed: 6 created, 0 updated, 1 skipped, 0 left as they were, 0 failed; Velero: asked to fail partially by sandbox.ochre.dev/end");
    }

    #[tokio::test]
    async fn partially_failed_is_good_where_it_is_allowed_and_still_says_so() {
        let (status, _) = ended("end", "partially-failed", json!({"allowPartial": true})).await;
        check(&status, Phase::Succeeded, None, Verdict::Partial);
        assert_eq!(status.steps[0].outputs["created"], 6);
    }

    #[tokio::test]
    async fn warnings_are_counted_and_quoted() {
        let (status, _) = ended("warn", "something is odd", json!({})).await;
        let message = check(&status, Phase::Succeeded, None, Verdict::WithWarnings);
        insta::assert_snapshot!(message, @"6 created, 0 updated, 1 skipped, 0 left as they were, 0 failed; Velero: something is odd");
    }

    #[tokio::test]
    async fn a_velero_that_dies_fails_the_restore_when_it_is_back() {
        let (world, engine) = lost().await;
        let restore = created(&world, &engine, json!({})).await;
        world.ask_velero("Restore", &restore, "end", "stuck").await;
        world.start_velero().await;
        world.until("back", |status| status.steps[0].reason.as_deref() == Some("InProgress")).await;
        world.stop_velero().await;
        world.start_velero().await;
        let status = world.ended("back").await;
        let message = check(&status, Phase::Failed, Some("Failed"), Verdict::None);
        insta::assert_snapshot!(message, @r#"step restore: Velero's Restore ended Failed: found a restore with status "InProgress" during the server starting, mark it as "Failed""#);
    }
}

//! Every way in which Velero can end a backup, and what becomes of the Action: the truth.

use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, StepPhase, Verdict};
use ochre_tests::{Engine, World, uncounted};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

/// Has the engine create the Backup `mongo` for the Action `backup` while Velero is stopped.
async fn created(world: &World, engine: &Engine, parameters: Value) {
    world.stop_velero().await;
    let mut given = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.create("backup", None, given).await.data();
    world.until("backup", |status| status.steps[0].reason.as_deref() == Some("New")).await;
}

/// Compares an end as a whole, and takes its message.
pub(crate) fn check(status: &ActionStatus, phase: Phase, reason: Option<&str>, verdict: Verdict) -> String {
    let step = &status.steps[0];
    let outcome = status.outcome.as_ref().unwrap();
    assert_eq!(
        (status.phase, step.reason.as_deref(), outcome.verdict),
        (phase, reason, verdict),
        "{status:#?}"
    );
    assert_eq!((outcome.warnings, outcome.errors), (step.warnings, step.errors), "{status:#?}");
    status.message.clone().unwrap()
}

#[tokio::test]
async fn a_selection_that_matched_nothing_is_no_success() {
    let world = World::start().await;
    let engine = world.engine().await;
    let nothing = json!({"action": "backup", "name": "nothing", "selector": "app=no-such"});
    engine.create("nothing", None, nothing.clone()).await.data();
    let status = world.ended("nothing").await;
    let message = check(&status, Phase::Failed, Some("Empty"), Verdict::Empty);
    insta::assert_snapshot!(message, @"step backup: Velero says Completed: the selection matched nothing: the backup is empty");

    let mut allowed = nothing;
    allowed["name"] = json!("allowed");
    allowed["allowEmpty"] = json!(true);
    engine.create("allowed", None, allowed).await.data();
    let status = world.ended("allowed").await;
    check(&status, Phase::Succeeded, None, Verdict::Empty);
}

#[tokio::test]
async fn each_of_several_selectors_must_match() {
    let world = World::start().await;
    let engine = world.engine().await;
    let selectors = json!([APPLICATION, "app=no-such"]);
    engine
        .create("backup", None, json!({"action": "backup", "name": "mongo", "selectors": selectors}))
        .await
        .data();
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("Empty"), Verdict::Empty);
    insta::assert_snapshot!(uncounted(&message), @"step backup: Velero says Completed: saved N items, but nothing for selector app=no-such");
    assert_eq!(status.outcome.unwrap().gaps[0].object, "selector app=no-such");
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_not_passed_over() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters = json!({"action": "backup", "name": "mongo", "includeNamespaces": "chat,no-such"});
    engine.create("backup", None, parameters).await.data();
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
    assert!(message.contains("no-such"), "{message}");
}

#[tokio::test]
async fn an_empty_backup_that_failed_partially_is_not_saved_by_being_allowed_to_be_empty() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters =
        json!({"action": "backup", "name": "mongo", "includeNamespaces": "no-such", "allowEmpty": true});
    engine.create("backup", None, parameters).await.data();
    let status = world.ended("backup").await;
    check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Empty);
}

#[tokio::test]
async fn an_unavailable_location_is_waited_for() {
    let world = World::start().await;
    let engine = world.engine().await;
    world.break_storage().await;
    engine
        .create("backup", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    let waiting = world.until("backup", |status| status.steps[0].phase == StepPhase::Waiting).await;
    assert_eq!(waiting.steps[0].reason.as_deref(), Some("LocationUnavailable"));
    insta::assert_snapshot!(waiting.message.unwrap(), @r#"step backup: the storage location default is Unavailable: BackupStorageLocation "default" is unavailable: Backup store contains invalid top-level directories: [foreign]"#);
    assert!(world.velero_names("Backup").await.is_empty());
    world.mend_storage();
    world.succeeded("backup").await;
}

#[tokio::test]
async fn a_location_that_stays_unavailable_fails_at_the_timeout() {
    let world = World::start().await;
    let engine = world.engine().await;
    world.break_storage().await;
    let parameters = json!({"action": "backup", "name": "mongo", "timeout": "1ms"});
    engine.create("backup", None, parameters).await.data();
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("TimedOut"), Verdict::None);
    insta::assert_snapshot!(message, @r#"step backup: did not end within 1ms; at last: the storage location default is Unavailable: BackupStorageLocation "default" is unavailable: Backup store contains invalid top-level directories: [foreign]"#);
    assert!(world.velero_names("Backup").await.is_empty());
}

#[tokio::test]
async fn an_unknown_location_fails_at_once() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters = json!({"action": "backup", "name": "mongo", "storageLocation": "no-such"});
    engine.create("backup", None, parameters).await.data();
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("LocationUnusable"), Verdict::None);
    insta::assert_snapshot!(message, @"step backup: the storage location no-such does not exist; there are: default");
    assert!(world.velero_names("Backup").await.is_empty());
}

#[tokio::test]
async fn an_absent_velero_is_waited_for() {
    let world = World::start().await;
    let engine = world.engine().await;
    created(&world, &engine, json!({})).await;
    insta::assert_snapshot!(world.status("backup").await.message.unwrap(), @"step backup: waits for Velero to look at it; if it does not, see whether Velero runs");
    world.start_velero().await;
    world.succeeded("backup").await;
}

#[tokio::test]
async fn a_backup_deleted_in_the_middle_fails_and_is_not_made_again() {
    let world = World::start().await;
    let engine = world.engine().await;
    created(&world, &engine, json!({})).await;
    world.delete_velero("Backup", "mongo").await;
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("Deleted"), Verdict::None);
    insta::assert_snapshot!(message, @"step backup: Backup velero/mongo was deleted by somebody else while this step followed it");
    assert!(world.velero_names("Backup").await.is_empty());
}

#[tokio::test]
async fn a_backup_whose_contents_cannot_be_read_is_unknown() {
    let world = World::start().await;
    let engine = world.engine().await;
    created(&world, &engine, json!({})).await;
    // Velero says that it is done, and the bucket has nothing.
    let done = json!({"spec": {"storageLocation": "default"}, "status": {"phase": "Completed"}});
    world.patch_velero("Backup", "mongo", done).await;
    world.start_velero().await;
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Failed, Some("Unknown"), Verdict::Unknown);
    insta::assert_snapshot!(message, @"step backup: Velero says Completed, but what is in mongo could not be read, so nobody knows: the bucket does not have the file");
}

#[tokio::test]
async fn an_engine_that_is_stopped_in_the_middle_goes_on_after_its_start() {
    let world = World::start().await;
    let engine = world.engine().await;
    created(&world, &engine, json!({})).await;
    let uid = world.velero("Backup").get("mongo").await.unwrap().metadata.uid;
    engine.drain().await;
    world.start_velero().await;
    world.velero_phase("Backup", "mongo", "Completed").await;
    let engine = world.engine().await;
    let status = world.succeeded("backup").await;
    assert_eq!(status.steps[0].object.as_ref().unwrap().uid, uid, "one Backup, and no other");
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
    assert_eq!(engine.action("backup").await["status"]["phase"], "SUCCEEDED");
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    /// Has Velero end a backup in a way that an annotation asks for; yields what Velero says of it too.
    async fn ended(annotation: &str, value: &str, parameters: Value) -> (ActionStatus, Value) {
        let world = World::start().await;
        let engine = world.engine().await;
        created(&world, &engine, parameters).await;
        world.ask_velero("Backup", "mongo", annotation, value).await;
        world.start_velero().await;
        let status = world.ended("backup").await;
        assert_eq!(world.velero_names("Backup").await, ["mongo"]);
        (status, world.velero("Backup").get("mongo").await.unwrap().data["status"].clone())
    }

    #[tokio::test]
    async fn failed_is_failed_in_velero_s_own_words() {
        let (status, velero) = ended("end", "failed", json!({})).await;
        let message = check(&status, Phase::Failed, Some("Failed"), Verdict::None);
        let words = velero["failureReason"].as_str().unwrap();
        assert_eq!(message, format!("step backup: Velero's Backup ended Failed: {words}"));
    }

    #[tokio::test]
    async fn failed_validation_lists_what_velero_found() {
        let (status, velero) = ended("end", "failed-validation", json!({})).await;
        let message = check(&status, Phase::Failed, Some("FailedValidation"), Verdict::None);
        let words = velero["validationErrors"][0].as_str().unwrap();
        assert_eq!(message, format!("step backup: Velero's Backup ended FailedValidation: {words}"));
    }

    #[tokio::test]
    async fn partially_failed_is_failed() {
        let (status, _) = ended("end", "partially-failed", json!({})).await;
        let message = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
        assert_eq!(status.steps[0].errors, 1);
        insta::assert_snapshot!(message, @"step backup: Velero says PartiallyFailed: saved 8 items; Velero: asked to fail partially by sandbox.ochre.dev/end");
    }

    #[tokio::test]
    async fn partially_failed_is_good_where_it_is_allowed_and_still_says_so() {
        let (status, _) = ended("end", "partially-failed", json!({"allowPartial": true})).await;
        let message = check(&status, Phase::Succeeded, None, Verdict::Partial);
        assert_eq!(status.steps[0].errors, 1);
        insta::assert_snapshot!(message, @"saved 8 items; Velero: asked to fail partially by sandbox.ochre.dev/end");
    }

    #[tokio::test]
    async fn warnings_are_counted_and_quoted() {
        // Without the claim, whose data nobody saves here, nothing else is to be said.
        let parameters = json!({"includeResources": "configmaps,secrets,services"});
        let (status, _) = ended("warn", "something is odd", parameters).await;
        let message = check(&status, Phase::Succeeded, None, Verdict::WithWarnings);
        assert_eq!(status.steps[0].warnings, 1);
        insta::assert_snapshot!(message, @"saved 3 items; Velero: something is odd");
    }

    #[tokio::test]
    async fn a_velero_that_dies_fails_the_backup_when_it_is_back() {
        let world = World::start().await;
        let engine = world.engine().await;
        created(&world, &engine, json!({})).await;
        world.ask_velero("Backup", "mongo", "end", "stuck").await;
        world.start_velero().await;
        world.until("backup", |status| status.steps[0].reason.as_deref() == Some("InProgress")).await;
        world.stop_velero().await;
        world.start_velero().await;
        let status = world.ended("backup").await;
        let message = check(&status, Phase::Failed, Some("Failed"), Verdict::None);
        insta::assert_snapshot!(message, @r#"step backup: Velero's Backup ended Failed: found a backup with status "InProgress" during the server starting, mark it as "Failed""#);
    }
}

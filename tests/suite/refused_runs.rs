//! Runs that cannot be: they end at once with what is wrong and what to do, and are not tried again.

use kube::api::DeleteParams;
use ochre_core::phase::{Phase, StepPhase};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

async fn start() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

/// Runs an Action that must fail; sees that it is left alone and that the engine still works.
async fn check(world: &World, engine: &Engine, parameters: Value, reason: &str, says: &[&str]) {
    let (backups, restores) = (world.velero_names("Backup").await, world.velero_names("Restore").await);
    engine.create("bad", None, parameters).await.data();
    fails(world, engine, reason, says).await;
    let mut after = world.velero_names("Backup").await;
    after.retain(|name| name != "good");
    assert_eq!((after, world.velero_names("Restore").await), (backups, restores), "nothing was created");
}

/// Sees that the Action `bad` fails with such a step, and is not tried again.
async fn fails(world: &World, engine: &Engine, reason: &str, says: &[&str]) {
    let status = world.ended("bad").await;
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    assert_eq!(status.steps[0].reason.as_deref(), Some(reason), "{status:#?}");
    let message = status.message.as_deref().unwrap();
    for part in says {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }
    engine
        .create("good", None, json!({"action": "backup", "name": "good", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("good").await;
    assert_eq!(world.status("bad").await, status, "it was tried again");
    assert_eq!(engine.action("bad").await["status"]["message"], *message);
}

#[tokio::test]
async fn a_name_taken_by_somebody_else_in_the_cluster_is_a_conflict() {
    let (world, engine) = start().await;
    world.create(json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo", "namespace": world.velero_namespace},
        "spec": {"includedNamespaces": ["shop"]},
    })).await;
    let uid = world.velero_phase("Backup", "mongo", "Completed").await.metadata.uid;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    let says = &["Backup velero/mongo exists", "made by somebody else", "give another name"];
    check(&world, &engine, parameters, "Conflict", says).await;
    assert_eq!(world.velero("Backup").get("mongo").await.unwrap().metadata.uid, uid);
}

#[tokio::test]
async fn a_name_taken_by_an_action_of_the_past_is_a_conflict() {
    let (world, engine) = start().await;
    engine.backed_up_application(&world).await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    let says = &["Backup velero/mongo exists", "made by the Action default/make-mongo", "give another name"];
    check(&world, &engine, parameters, "Conflict", says).await;
}

#[tokio::test]
async fn a_name_taken_only_in_the_bucket_fails_and_what_is_there_stays() {
    let (world, engine) = start().await;
    engine.backed_up_application(&world).await;
    world.stop_velero().await;
    world.delete_velero("Backup", "mongo").await;
    engine
        .create("bad", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    world.until("bad", |status| status.steps[0].reason.as_deref() == Some("New")).await;
    world.start_velero().await;
    let says = &["backup already exists in object storage", "what is there stays", "give another name"];
    fails(&world, &engine, "Failed", says).await;
    assert!(world.is_stored("backups/mongo/velero-backup.json"));
    assert!(world.is_stored("backups/mongo/mongo.tar.gz"));
    assert!(world.velero_names("DeleteBackupRequest").await.is_empty());
}

#[tokio::test]
async fn an_unknown_backup_cannot_be_restored() {
    let (world, engine) = start().await;
    let parameters = json!({"action": "restore", "name": "no-such", "syncTimeout": "1ms"});
    check(
        &world,
        &engine,
        parameters,
        "NotFound",
        &["Velero knows no Backup no-such", "found none in its bucket"],
    )
    .await;
}

/// Velero takes a misspelt kind for one of which there is nothing, and says Completed.
#[tokio::test]
async fn a_kind_that_there_is_not_is_neither_saved_nor_restored_nor_left_out() {
    let (world, engine) = start().await;
    engine.backed_up_application(&world).await;
    let says = "the cluster has no kind `secrts` (did you mean `secrets`?)";
    for (number, field) in ["includeResources", "excludeResources"].into_iter().enumerate() {
        for action in ["backup", "restore"] {
            let name = if action == "backup" { format!("new-{number}") } else { "mongo".to_owned() };
            let mut parameters = json!({"action": action, "name": name, "existing": "keep"});
            parameters[field] = json!("configmaps,secrts");
            let run = format!("{action}-{number}");
            engine.create(&run, None, parameters).await.data();
            let status = world.ended(&run).await;
            assert_eq!(status.steps[0].reason.as_deref(), Some("BadFilter"), "{status:#?}");
            let message = status.message.unwrap();
            assert!(message.contains(says), "{message}");
        }
    }
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
    assert!(world.velero_names("Restore").await.is_empty());
}

#[tokio::test]
async fn live_objects_are_not_restored_over() {
    let (world, engine) = start().await;
    engine.backed_up_application(&world).await;
    let says = &[
        "lives already (6)",
        "StatefulSet chat/mongodb",
        "nothing was restored",
        "existing: keep or update",
    ];
    check(&world, &engine, json!({"action": "restore", "name": "mongo"}), "Exists", says).await;
}

#[tokio::test]
async fn run_twice_is_run_once() {
    let (world, engine) = start().await;
    let input = json!({
        "name": "nightly", "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": {"action": "backup", "name": "mongo", "selector": APPLICATION}},
    });
    engine.create_action(input).await.data();
    world.stop_velero().await;
    for _ in 0..3 {
        assert_eq!(engine.on("runAction", "nightly").await.data()["runAction"]["run"], true);
    }
    world.until("nightly", |status| status.phase == Phase::Running).await;
    let again = engine.on("runAction", "nightly").await.data();
    assert_eq!(again["runAction"]["status"]["phase"], "RUNNING");
    world.start_velero().await;
    world.succeeded("nightly").await;
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
    let says = &["the Action nightly has ended (SUCCEEDED)", "create another"];
    engine.on("runAction", "nightly").await.refuses("CONFLICT", says);
    engine.on("cancelAction", "nightly").await.refuses("CONFLICT", &["nothing to cancel"]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let (_world, engine) = start().await;
    for mutation in ["runAction", "cancelAction", "deleteAction"] {
        engine.on(mutation, "no-such").await.refuses("NOT_FOUND", &["action not found", "default/no-such"]);
    }
}

#[tokio::test]
async fn create_again_is_the_same_action_while_it_is_unfinished_and_a_conflict_after() {
    let (world, engine) = start().await;
    world.stop_velero().await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    engine.create("nightly", None, parameters.clone()).await.data();
    let first = world.actions("default").get("nightly").await.unwrap().metadata.uid;
    let text = parameters.to_string();
    engine.create("nightly", None, Value::String(text)).await.data();
    let same = world.actions("default").get("nightly").await.unwrap().metadata.uid;
    assert_eq!(first, same);
    let other = json!({"action": "backup", "name": "mongo", "selector": "app=frontend"});
    let says = &["the Action nightly exists with other input", "another name"];
    engine.create("nightly", None, other.clone()).await.refuses("CONFLICT", says);
    engine.create("nightly", Some("0.1.0"), parameters.clone()).await.refuses("CONFLICT", says);
    world.start_velero().await;
    world.succeeded("nightly").await;
    let says = &["the Action nightly has ended (SUCCEEDED)", "delete it first, or give another name"];
    for given in [parameters, other] {
        engine.create("nightly", None, given).await.refuses("CONFLICT", says);
    }
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
}

#[tokio::test]
async fn create_again_with_run_runs_what_waits() {
    let (world, engine) = start().await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    let input = |run: bool| {
        json!({
            "name": "nightly", "run": run, "actionRef": {"path": "cap.interface.data.backup"},
            "input": {"parameters": parameters},
        })
    };
    engine.create_action(input(false)).await.data();
    assert_eq!(engine.create_action(input(true)).await.data()["createAction"]["run"], true);
    world.succeeded("nightly").await;
}

#[tokio::test]
async fn what_runs_is_not_deleted_and_can_be_canceled() {
    let (world, engine) = start().await;
    world.stop_velero().await;
    engine
        .create("nightly", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    world.until("nightly", |status| status.steps[0].reason.as_deref() == Some("New")).await;
    let says = &["the Action nightly runs (RUNNING)", "cancel it first, or wait for its end"];
    engine.on("deleteAction", "nightly").await.refuses("CONFLICT", says);
    engine.on("cancelAction", "nightly").await.data();
    let status = world.ended("nightly").await;
    assert_eq!((status.phase, status.steps[0].phase), (Phase::Canceled, StepPhase::Canceled));
    insta::assert_snapshot!(status.message.unwrap(), @"cancel was asked for; Backup mongo goes on without being watched, since Velero cannot stop it");
    assert_eq!(world.velero_names("Backup").await, ["mongo"], "it stays");
    engine.on("deleteAction", "nightly").await.data();
    world.until_absent("nightly").await;
}

#[tokio::test]
async fn kubectl_delete_of_what_runs_lets_it_go_and_the_backup_stays() {
    let (world, engine) = start().await;
    world.stop_velero().await;
    engine
        .create("nightly", None, json!({"action": "backup", "name": "mongo", "selector": APPLICATION}))
        .await
        .data();
    world.until("nightly", |status| status.steps[0].reason.as_deref() == Some("New")).await;
    let action = world.actions("default").get("nightly").await.unwrap();
    assert!(!action.metadata.finalizers.as_ref().unwrap().is_empty(), "a run is held");
    world.actions("default").delete("nightly", &DeleteParams::default()).await.unwrap();
    world.action_gone(&action).await;
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
    world.start_velero().await;
    world.velero_phase("Backup", "mongo", "Completed").await;
}

#[tokio::test]
async fn kubectl_is_refused_or_told_in_the_status_what_the_gateway_would_say() {
    let (world, engine) = start().await;
    let reference = |path: &str| json!({"path": path});
    let known = "cap.interface.data.backup";
    let parameters = json!({"action": "backup", "name": "mongo"});
    let spec = |extra: Value| {
        let mut spec =
            json!({"actionRef": reference(known), "input": {"parameters": parameters}, "run": true});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        spec
    };
    let cases = [
        (
            "unknown",
            spec(json!({"actionRef": reference("cap.interface.data.bakup")})),
            "did you mean `cap.interface.data.backup`?",
        ),
        (
            "invalid",
            spec(json!({"input": {"parameters": {"action": "backup"}}})),
            "/name: `name` is required",
        ),
        (
            "cel",
            spec(json!({"input": {"parameters": {"action": "backup", "name": {"$cel": "1"}}}})),
            "/name/$cel",
        ),
        (
            "large",
            spec(json!({"input": {"parameters": {"action": "backup", "name": "m".repeat(200_000)}}})),
            "131072",
        ),
        ("dry", spec(json!({"dryRun": true})), "NOT_IMPLEMENTED: spec.dryRun"),
        (
            "override",
            spec(json!({"renderedActionOverride": {}})),
            "NOT_IMPLEMENTED: spec.renderedActionOverride",
        ),
    ];
    for (name, spec, says) in cases {
        let action = json!({
            "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec,
        });
        world.create(action).await;
        let status = world.ended(name).await;
        assert_eq!(status.phase, Phase::Failed, "{name}");
        let message = status.message.as_deref().unwrap();
        assert!(message.contains(says), "{name}: {message}");
        engine.on("runAction", name).await.refuses("CONFLICT", &["has ended (FAILED)"]);
        assert_eq!(world.status(name).await, status, "{name} was tried again");
    }
    assert!(world.velero_names("Backup").await.is_empty());
    engine
        .create("good", None, json!({"action": "backup", "name": "good", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("good").await;
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    /// Makes a Backup that ends in a way, as somebody else would.
    async fn made(world: &World, end: &str, phase: &str) {
        world.create(json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": "mongo", "namespace": world.velero_namespace, "annotations": {"sandbox.ochre.dev/end": end},
        },
        "spec": {"includedNamespaces": ["chat"]},
    })).await;
        world.velero_phase("Backup", "mongo", phase).await;
    }

    #[tokio::test]
    async fn a_failed_backup_cannot_be_restored() {
        for (end, phase) in [("failed", "Failed"), ("failed-validation", "FailedValidation")] {
            let (world, engine) = start().await;
            made(&world, end, phase).await;
            let says = [format!("Backup mongo is {phase}: "), "nothing good to restore".to_owned()];
            let says: Vec<&str> = says.iter().map(String::as_str).collect();
            check(
                &world,
                &engine,
                json!({"action": "restore", "name": "mongo"}),
                "BackupNotRestorable",
                &says,
            )
            .await;
        }
    }

    #[tokio::test]
    async fn a_partially_failed_backup_is_restored_only_where_it_is_allowed() {
        let (world, engine) = start().await;
        made(&world, "partially-failed", "PartiallyFailed").await;
        let says = &["Backup mongo is PartiallyFailed (errors: 1)", "allowPartial"];
        check(&world, &engine, json!({"action": "restore", "name": "mongo"}), "BackupNotRestorable", says)
            .await;
        let allowed = json!({"action": "restore", "name": "mongo", "allowPartial": true, "existing": "keep"});
        engine.create("allowed", None, allowed).await.data();
        world.succeeded("allowed").await;
    }

    #[tokio::test]
    async fn a_backup_at_work_cannot_be_restored() {
        let (world, engine) = start().await;
        made(&world, "stuck", "InProgress").await;
        engine.create("bad", None, json!({"action": "restore", "name": "mongo"})).await.data();
        let status = world.ended("bad").await;
        assert_eq!(status.steps[0].reason.as_deref(), Some("BackupNotRestorable"));
        insta::assert_snapshot!(status.message.unwrap(), @"step restore: Backup mongo is still InProgress; restore it when it has ended");
        assert!(world.velero_names("Restore").await.is_empty());
    }
}

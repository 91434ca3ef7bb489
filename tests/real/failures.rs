//! Parts that die under a run, and others who meddle: each ends in the right phase with words that help.

use std::time::Duration;

use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, StepPhase};
use ochre_tests::{Engine, SHOP, World};
use serde_json::{Value, json};

/// How long the control plane is away; longer than any client waits for an answer.
const OUTAGE: Duration = Duration::from_secs(30);

async fn start() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

fn backup(more: Value) -> Value {
    let mut given = json!({"action": "backup", "name": "shop", "selector": SHOP});
    given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    given
}

/// Starts a database whose backup takes as long as its hook.
async fn slow_shop(world: &World, seconds: u32) -> String {
    world
        .open_shop_with(|set| {
            set["spec"]["template"]["metadata"]["annotations"] = json!({
                "pre.hook.backup.velero.io/container": "mariadb",
                "pre.hook.backup.velero.io/command": format!(r#"["sleep", "{seconds}"]"#),
                "pre.hook.backup.velero.io/timeout": "5m",
            });
        })
        .await
}

/// Begins a backup and waits until Velero works on it.
async fn at_work(world: &World, engine: &Engine, more: Value) {
    engine.create("nightly", None, backup(more)).await.data();
    world.until("nightly", |status| status.steps[0].reason.as_deref() == Some("InProgress")).await;
}

/// Compares an end, and the engine's readiness for the next run.
async fn check(world: &World, engine: &Engine, name: &str, reason: &str, says: &[&str]) -> ActionStatus {
    let status = world.ended(name).await;
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    assert_eq!(status.steps[0].reason.as_deref(), Some(reason), "{status:#?}");
    let message = status.message.clone().unwrap();
    for part in says {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }
    engine.create("afterwards", None, configs("afterwards")).await.data();
    world.succeeded("afterwards").await;
    assert_eq!(world.status(name).await, status, "it is not tried again");
    status
}

/// A backup that needs no pod and no volume.
fn configs(name: &str) -> Value {
    json!({"action": "backup", "name": name, "includeNamespaces": "chat", "includeResources": "configmaps"})
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let (world, engine) = start().await;
    world.part("stop", "s3").await;
    world.velero_phase("BackupStorageLocation", "default", "Unavailable").await;
    engine.create("nightly", None, configs("mongo")).await.data();
    let waiting = world.until("nightly", |status| status.steps[0].phase == StepPhase::Waiting).await;
    assert_eq!(waiting.steps[0].reason.as_deref(), Some("LocationUnavailable"));
    assert!(world.velero_names("Backup").await.is_empty());
    world.part("start", "s3").await;
    world.succeeded("nightly").await;
}

#[tokio::test]
async fn a_store_that_dies_under_a_backup_fails_it() {
    let (world, engine) = start().await;
    slow_shop(&world, 5).await;
    at_work(&world, &engine, json!({})).await;
    world.part("stop", "s3").await;
    let status = world.ended("nightly").await;
    world.part("start", "s3").await;
    world.velero_phase("BackupStorageLocation", "default", "Available").await;
    assert!(!world.is_stored("backups/shop/velero-backup.json"));
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    check(&world, &engine, "nightly", "Failed", &["Velero's Backup ended Failed", "connection refused"])
        .await;
}

#[tokio::test]
async fn a_velero_that_dies_under_a_backup_and_comes_back_fails_it() {
    let (world, engine) = start().await;
    slow_shop(&world, 60).await;
    at_work(&world, &engine, json!({})).await;
    world.stop_velero().await;
    world.start_velero().await;
    check(
        &world,
        &engine,
        "nightly",
        "Failed",
        &["found a backup with status \"InProgress\" during the server starting"],
    )
    .await;
}

#[tokio::test]
async fn a_velero_that_dies_under_a_backup_and_stays_away_is_not_waited_for_for_ever() {
    let (world, engine) = start().await;
    slow_shop(&world, 60).await;
    at_work(&world, &engine, json!({"timeout": "20s"})).await;
    world.stop_velero().await;
    let status = world.ended("nightly").await;
    assert_eq!(status.steps[0].reason.as_deref(), Some("TimedOut"), "{status:#?}");
    world.start_velero().await;
    check(&world, &engine, "nightly", "TimedOut", &["did not end within 20s", "InProgress"]).await;
}

#[tokio::test]
async fn a_velero_that_dies_under_a_restore_fails_it() {
    let (world, engine) = start().await;
    world.open_shop().await;
    engine.backed_up(&world, "shop", json!({"selector": SHOP})).await;
    // Without a volume to restore into, Velero waits.
    world.lose_shop_without_a_volume().await;
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    world.until("back", |status| status.steps[0].reason.as_deref() == Some("InProgress")).await;
    world.stop_velero().await;
    world.start_velero().await;
    check(&world, &engine, "back", "Failed", &["during the server starting"]).await;
}

#[tokio::test]
async fn a_missing_node_agent_is_not_passed_over() {
    let (world, engine) = start().await;
    world.open_shop().await;
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"true"}}}}}"#;
    world.kubectl(&["-n", "velero", "patch", "daemonset", "node-agent", "-p", nowhere]).await;
    world
        .kubectl(&["-n", "velero", "wait", "--for=delete", "pod", "-l", "name=node-agent", "--timeout=60s"])
        .await;
    engine.create("nightly", None, backup(json!({}))).await.data();
    let status = world.ended("nightly").await;
    let everywhere = r#"[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]"#;
    world
        .kubectl(&["-n", "velero", "patch", "daemonset", "node-agent", "--type=json", "-p", everywhere])
        .await;
    world.kubectl(&["-n", "velero", "rollout", "status", "daemonset/node-agent", "--timeout=60s"]).await;
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    check(
        &world,
        &engine,
        "nightly",
        "PartiallyFailed",
        &["daemonset pod not found in running state in node node1"],
    )
    .await;
}

#[tokio::test]
async fn a_control_plane_that_is_away_in_the_middle_loses_nothing() {
    let (world, engine) = start().await;
    slow_shop(&world, 5).await;
    at_work(&world, &engine, json!({})).await;
    world.part("stop", "apiserver").await;
    world.part("stop", "etcd").await;
    tokio::time::sleep(OUTAGE).await;
    world.part("start", "etcd").await;
    world.part("start", "apiserver").await;
    world.until_reachable().await;
    // Velero's server ends without its API server, is started again by the kubelet, and fails what it was at.
    let status = world.ended("nightly").await;
    let backup = world.velero("Backup").get("shop").await.unwrap();
    let phase = backup.data["status"]["phase"].as_str().unwrap().to_owned();
    assert_eq!(status.phase == Phase::Succeeded, phase == "Completed", "{phase}: {status:#?}");
    assert_eq!(world.velero_names("Backup").await, ["shop"]);
    world.start_velero().await;
    engine.create("afterwards", None, configs("afterwards")).await.data();
    world.succeeded("afterwards").await;
}

#[tokio::test]
async fn a_backup_that_somebody_deletes_is_missed() {
    let (world, engine) = start().await;
    slow_shop(&world, 10).await;
    at_work(&world, &engine, json!({})).await;
    world.delete_velero("Backup", "shop").await;
    check(&world, &engine, "nightly", "Deleted", &["was deleted by somebody else"]).await;
    // Velero itself goes on, and would write its end into the next Backup of that name.
    world.stop_velero().await;
}

#[tokio::test]
async fn a_name_that_velero_s_own_command_line_took_is_a_conflict() {
    let (world, engine) = start().await;
    world
        .create(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo", "namespace": "velero"},
            "spec": {"includedNamespaces": ["chat"], "includedResources": ["configmaps"]},
        }))
        .await;
    world.velero_phase("Backup", "mongo", "Completed").await;
    engine.create("nightly", None, configs("mongo")).await.data();
    check(&world, &engine, "nightly", "Conflict", &["mongo"]).await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_under_a_run_ends() {
    let (world, engine) = start().await;
    slow_shop(&world, 20).await;
    let input = json!({
        "name": "nightly", "run": true,
        "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": backup(json!({}))},
    });
    world.kubectl(&["create", "namespace", "team"]).await;
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    engine.graphql_in("team", query, json!({"in": input})).await.data();
    world.velero_phase("Backup", "shop", "InProgress").await;
    world.kubectl(&["delete", "namespace", "team", "--timeout=30s"]).await;
    engine.create("afterwards", None, configs("afterwards")).await.data();
    world.succeeded("afterwards").await;
    assert_eq!(
        world.velero_phase("Backup", "shop", "Completed").await.metadata.name.unwrap(),
        "shop",
        "it goes on"
    );
}

#[tokio::test]
async fn kinds_that_are_taken_away_and_put_back_are_found_again() {
    let (world, engine) = start().await;
    let definition = "customresourcedefinition/actions.core.ochre.dev";
    engine.create("before", None, configs("before")).await.data();
    world.succeeded("before").await;
    world.kubectl(&["delete", definition, "--wait"]).await;
    world.put_definition().await;
    engine.create("afterwards", None, configs("afterwards")).await.data();
    world.succeeded("afterwards").await;
}

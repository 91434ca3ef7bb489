//! A restore ends when what was ready is ready again, and says what hangs if it is not.

use kube::api::{DeleteParams, DynamicObject};
use kube::runtime::wait::Condition;
use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

use crate::endings::check;

/// What the pod `gate` needs, and no backup of it holds.
fn key() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gate-key", "namespace": "chat"},
        "stringData": {"KEY": "only-a-test"},
    })
}

fn is_ready() -> impl Condition<DynamicObject> {
    |pod: Option<&DynamicObject>| {
        let conditions = pod.map(|pod| &pod.data["status"]["conditions"]).and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }
}

/// Backs up a ready pod, loses it and what it needs, and begins to restore it.
async fn restoring(parameters: Value) -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    world.create(key()).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gate", "namespace": "chat", "labels": {"app": "gate"}},
            "spec": {"containers": [{"name": "gate", "image": "frontend:1.0", "envFrom": [{"secretRef": {"name": "gate-key"}}]}]},
        }))
        .await;
    let pods = world.api("v1", "Pod", Some("chat"));
    world.object(pods.clone(), "gate", is_ready()).await;
    engine.backed_up(&world, "mongo", json!({"selector": "app=gate"})).await;
    pods.delete("gate", &DeleteParams::default()).await.unwrap();
    world.object(pods, "gate", |pod: Option<&DynamicObject>| pod.is_none()).await;
    world.api("v1", "Secret", Some("chat")).delete("gate-key", &DeleteParams::default()).await.unwrap();
    let mut given = json!({"action": "restore", "name": "mongo"});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.create("back", None, given).await.data();
    (world, engine)
}

fn says(status: &ActionStatus, words: &str) -> bool {
    status.message.as_ref().is_some_and(|message| message.contains(words))
}

#[tokio::test]
async fn a_restore_waits_for_its_pods_and_says_what_they_hang_at() {
    let (world, engine) = restoring(json!({})).await;
    let status = world.until("back", |status| says(status, "gate-key")).await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Running, Some("WaitingForReady")));
    insta::assert_snapshot!(status.message.unwrap(), @r#"step restore: restored; waits until what was ready is ready again: Pod chat/gate: its container gate waits (CreateContainerConfigError: secret "gate-key" not found); create what it names; it was not in the backup, or was left out of the restore"#);
    // The cure that it names.
    world.create(key()).await;
    let status = world.succeeded("back").await;
    check(&status, Phase::Succeeded, None, Verdict::Complete);
    drop(engine);
}

#[tokio::test]
async fn pods_that_do_not_get_ready_in_time_fail_the_restore() {
    let (world, _engine) = restoring(json!({"readyTimeout": "1s"})).await;
    let status = world.ended("back").await;
    let message = check(&status, Phase::Failed, Some("NotReady"), Verdict::Partial);
    assert!(message.contains("not ready again within 1 s: Pod chat/gate"), "{message}");
    assert_eq!(status.outcome.unwrap().gaps[0].object, "Pod chat/gate");
    assert_eq!(status.steps[0].outputs["created"], 1);
}

#[tokio::test]
async fn nobody_waits_where_nobody_wants_to() {
    let (world, _engine) = restoring(json!({"waitReady": false})).await;
    check(&world.ended("back").await, Phase::Succeeded, None, Verdict::Complete);
}

#[tokio::test]
async fn pods_that_their_controller_made_anew_count_by_their_controller() {
    let world = World::start().await;
    let engine = world.engine().await;
    let deployments = world.api("apps/v1", "Deployment", Some("chat"));
    let has_one = |deployment: Option<&DynamicObject>| {
        deployment.is_some_and(|deployment| deployment.data["status"]["readyReplicas"] == 1)
    };
    world.object(deployments.clone(), "frontend", has_one).await;
    engine.backed_up(&world, "mongo", json!({"selector": "app=frontend"})).await;
    world.lose("app=frontend").await;
    engine.create("back", None, json!({"action": "restore", "name": "mongo"})).await.data();
    check(&world.ended("back").await, Phase::Succeeded, None, Verdict::Complete);
    world.object(deployments, "frontend", has_one).await;
}

use serde_json::{Value, json};

use super::world::World;
use crate::phase::{Phase, StepPhase};

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "chat"}})
}

#[test]
fn steps_run_in_order_and_later_ones_see_earlier_ones() {
    let mut world = World::new(json!([
        {"name": "find", "resource": {"action": "get", "manifest": config("settings")}, "outputs": {"size": "object.data.size"}},
        {"name": "make", "resource": {"action": "create", "manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "copy"}, "data": {"size": {"$cel": "steps.find.outputs.size"}}}}},
        {"name": "never", "when": "steps.find.outputs.size == '0'", "check": {"that": "false"}},
        {"name": "look", "check": {"that": "steps.never.phase == 'SKIPPED' && steps.make.object.data.size == '3'"}},
    ]));
    let mut settings = config("settings");
    settings["data"] = json!({"size": "3"});
    world.put(settings);
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Succeeded, "{:?}", status.message);
    let phases: Vec<StepPhase> = status.steps.iter().map(|step| step.phase).collect();
    assert_eq!(
        phases,
        [StepPhase::Succeeded, StepPhase::Succeeded, StepPhase::Skipped, StepPhase::Succeeded]
    );
}

#[test]
fn the_first_failure_ends_the_run() {
    let mut world = World::new(json!([
        {"name": "look", "check": {"that": "1 > 2", "message": "one is not more than two"}},
        {"name": "make", "resource": {"action": "create", "manifest": config("x")}},
    ]));
    let status = world.settle().status();
    assert_eq!(status.message.as_deref(), Some("step look: one is not more than two"));
    assert_eq!(status.steps[1].phase, StepPhase::Skipped);
    assert!(world.created.iter().all(|key| key.name != "x"));
}

#[test]
fn each_verb_does_what_it_says() {
    let check = |step: Value, there: Option<Value>, phase: StepPhase, words: &str| {
        let mut world = World::new(json!([step]));
        if let Some(object) = there {
            world.put(object);
        }
        let status = world.settle().status();
        let message = status.steps[0].message.clone().unwrap_or_default();
        assert!(
            status.steps[0].phase == phase && message.contains(words),
            "{step}: {:?} {message}",
            status.steps[0].phase
        );
        world
    };
    let step = |verb: &str, manifest: Value| json!({"name": "a", "resource": {"action": verb, "manifest": manifest}});
    let job = |conditions: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "chat"}, "status": {"conditions": conditions}});
    let bare_job = || json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}});
    check(step("get", config("x")), None, StepPhase::Failed, "ConfigMap chat/x does not exist");
    check(step("get", config("x")), Some(config("x")), StepPhase::Succeeded, "");
    check(step("wait", config("x")), None, StepPhase::Waiting, "waits for ConfigMap chat/x");
    check(step("wait", bare_job()), Some(job(json!([]))), StepPhase::Running, "none of its conditions");
    check(
        step("wait", bare_job()),
        Some(job(json!([{"type": "Complete", "status": "True"}]))),
        StepPhase::Succeeded,
        "",
    );
    check(
        step("wait", bare_job()),
        Some(job(json!([{"type": "Failed", "status": "True", "message": "backoff"}]))),
        StepPhase::Failed,
        "backoff",
    );
    check(step("delete", config("x")), None, StepPhase::Succeeded, "is gone");
    let world = check(step("delete", config("x")), Some(config("x")), StepPhase::Succeeded, "is gone");
    assert_eq!(world.deleted.len(), 1);
    check(step("create", config("x")), Some(config("x")), StepPhase::Failed, "not this Action's");
    let mut until = step("wait", bare_job());
    until["resource"]["until"] = json!("object.status.ready == 2");
    check(
        until.clone(),
        Some(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "chat"}, "status": {"ready": 1}}),
        ),
        StepPhase::Running,
        "",
    );
    check(
        until,
        Some(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "chat"}, "status": {"ready": 2}}),
        ),
        StepPhase::Succeeded,
        "",
    );
}

#[test]
fn of_a_secret_only_metadata_is_visible() {
    let mut world = World::new(json!([
        {"name": "find", "resource": {"action": "get", "manifest": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}}, "outputs": {"value": "object.data.password"}},
    ]));
    world.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "chat"}, "data": {"password": "aHVudGVy"}}));
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(!serde_json::to_string(&status).unwrap().contains("aHVudGVy"));
}

#[test]
fn a_step_ends_at_its_own_timeout() {
    let mut world = World::new(
        json!([{"name": "a", "timeout": "10s", "resource": {"action": "wait", "manifest": config("x")}}]),
    );
    world.settle();
    assert_eq!(world.requeue.map(|wait| wait.as_secs()), Some(10));
    world.later(10);
    let status = world.settle().status();
    assert_eq!(status.steps[0].reason.as_deref(), Some("TimedOut"));
    assert!(status.message.unwrap().contains("within 10s; at last: waits for ConfigMap chat/x"));
}

#[test]
fn what_one_step_made_another_deletes_and_neither_happens_twice() {
    let step =
        |name: &str, verb: &str| json!({"name": name, "resource": {"action": verb, "manifest": config("x")}});
    let mut world = World::new(json!([step("make", "create"), step("clear", "delete")]));
    assert_eq!(world.settle().phase(), Phase::Succeeded);
    assert_eq!(world.created.iter().filter(|key| key.name == "x").count(), 1);
    assert_eq!(world.deleted.len(), 1);

    let mut world = World::new(json!([step("clear", "delete"), step("make", "create")]));
    world.put(config("x"));
    assert_eq!(world.settle().phase(), Phase::Succeeded);
    assert_eq!(world.created.iter().filter(|key| key.name == "x").count(), 1);
    assert_eq!(world.deleted.len(), 1);
}

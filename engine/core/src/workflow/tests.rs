use serde_json::{Value, json};

use super::{MAX_STEPS, Workflow};

fn step() -> Value {
    json!({"name": "a", "resource": {"action": "create", "manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}})
}

fn workflow(steps: &[Value]) -> Value {
    json!({"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Workflow", "steps": steps})
}

/// Changes one place of a good step, and says where the workflow is wrong then.
fn check(place: &str, value: Value, pointer: &str, message: &str) {
    let mut step = step();
    let (parent, key) = place.rsplit_once('/').unwrap();
    step.pointer_mut(parent).unwrap()[key] = value;
    let error = Workflow::parse(workflow(&[step])).unwrap_err();
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.message.contains(message), "{error}");
}

#[test]
fn a_good_workflow_comes_back_as_it_was() {
    let parsed = Workflow::parse(workflow(&[step()])).unwrap();
    assert_eq!(parsed.steps[0].name, "a");
    let again = Workflow::parse(serde_json::to_value(&parsed).unwrap()).unwrap();
    assert_eq!(again, parsed);
}

#[test]
fn wrong_steps_are_refused_with_their_pointer() {
    let manifest = "/steps/0/resource/manifest";
    check("/name", json!("A"), "/steps/0/name", "not a step's name");
    check("/name", json!("a".repeat(41)), "/steps/0/name", "at most 40");
    check("/timeout", json!("soon"), "/steps/0/timeout", "not a duration");
    check("/timeout", json!(5), "/steps/0/timeout", "invalid type");
    check("/check", json!({"that": "true"}), "/steps/0", "exactly one");
    check("/resource", json!(null), "/steps/0", "exactly one");
    check("/foo", json!(1), "/steps/0/foo", "unknown field `foo`");
    check("/resource/action", json!("apply"), "/steps/0/resource/action", "unknown variant `apply`");
    check("/resource/action", json!("get"), &format!("{manifest}/metadata"), "needs a `name`");
    check(
        "/resource/expect",
        json!({"syncTimeout": "x"}),
        "/steps/0/resource/expect/syncTimeout",
        "not a duration",
    );
    check("/resource/expect", json!({"partail": true}), "/steps/0/resource/expect/partail", "unknown field");
    check("/resource/manifest", json!("x"), manifest, "must be a Kubernetes object");
    check("/resource/manifest/kind", json!(1), manifest, "needs a string `kind`");
    check("/resource/manifest/metadata", json!(1), &format!("{manifest}/metadata"), "must be an object");
    check(
        "/resource/manifest/metadata",
        json!({"name": 1}),
        &format!("{manifest}/metadata/name"),
        "must be a string",
    );
    check(
        "/resource/manifest/metadata",
        json!({"generateName": "a"}),
        &format!("{manifest}/metadata/generateName"),
        "not allowed",
    );
}

#[test]
fn wrong_workflows_are_refused() {
    let many: Vec<Value> = (0..=MAX_STEPS)
        .map(|i| {
            let mut s = step();
            s["name"] = json!(format!("s{i}"));
            s
        })
        .collect();
    for (document, pointer) in [
        (workflow(&[]), "/steps"),
        (workflow(&many), "/steps"),
        (workflow(&[step(), step()]), "/steps/1/name"),
        (json!({"apiVersion": "v1", "kind": "Workflow", "steps": [step()]}), "/apiVersion"),
        (json!({"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Job", "steps": [step()]}), "/kind"),
        (json!({}), ""),
        (json!("text"), ""),
    ] {
        assert_eq!(Workflow::parse(document).unwrap_err().pointer, pointer);
    }
}

#[test]
fn a_name_may_be_an_expression() {
    let mut second = step();
    second["name"] = json!("b");
    second["resource"]["manifest"]["metadata"] = json!({"name": {"$cel": "steps.a.outputs.name"}});
    Workflow::parse(workflow(&[step(), second])).unwrap();
}

#[test]
fn a_workflow_that_is_read_back_is_held_against_every_limit() {
    let check = |text: String, expected: &str| {
        let error = Workflow::read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let with = |field: &str, value: Value| {
        let mut step = step();
        step[field] = value;
        workflow(&[step]).to_string()
    };
    assert!(Workflow::read(&workflow(&[step()]).to_string()).is_ok());
    check(workflow(&[step()]).to_string() + &" ".repeat(super::MAX_WORKFLOW), "takes more than");
    check("[".repeat(10_000), "recursion limit");
    check(workflow(&vec![step(); MAX_STEPS + 1]).to_string(), "1 to 64 steps");
    check(with("name", json!("../x")), "is not a step's name");
    check(with("timeout", json!("for ever")), "is not a duration");
    check(with("surprise", json!(1)), "unknown field");
    let nested = (0..8).fold("true".to_owned(), |inner, level| format!("[1,2].all(x{level},{inner})"));
    check(with("when", json!(nested)), "nests loops 8 deep");
    check(with("when", json!("[".repeat(1000))), "does not parse");
    check(with("when", json!("max(1)")), "calls `max`");
    let many: serde_json::Map<String, Value> =
        (0..600).map(|number| (format!("o{number}"), json!("1"))).collect();
    check(with("outputs", Value::Object(many)), "more than 512 expressions");
}

mod bounds;

use serde_json::{Value, json};

use super::{Scope, check_workflow, evaluate, objects_used, substitute};
use crate::workflow::Workflow;

fn scope() -> Scope {
    let steps = json!({
        "backup": {"phase": "SUCCEEDED", "object": {"metadata": {"name": "mongo"}}, "outputs": {"warnings": 3, "name": "mongo", "gone": null}},
    });
    Scope {
        steps: steps.as_object().cloned().unwrap_or_default(),
        object: Some(json!({"status": {"ready": true}})),
        ..Scope::default()
    }
}

#[test]
fn expressions_yield_json() {
    let check = |expression: &str, expected: Value| {
        assert_eq!(evaluate("when", expression, &scope()), Ok(expected), "{expression}");
    };
    check("steps.backup.outputs.warnings > 0", json!(true));
    check("steps.backup.outputs.warnings + 1", json!(4));
    check("steps.backup.outputs.gone == null", json!(true));
    check("steps.backup.outputs.name + '-copy'", json!("mongo-copy"));
    check("object.status.ready && has(object.status.ready)", json!(true));
    check("[1, 2, 3].filter(n, n > 1)", json!([2, 3]));
}

#[test]
fn a_failing_expression_says_where_and_what() {
    let check = |expression: &str, expected: &str| {
        let error = evaluate("steps/0/when", expression, &scope()).unwrap_err().to_string();
        assert!(error.starts_with("steps/0/when: ") && error.contains(expected), "{error}");
    };
    check("steps.backup.outputs.nothing", "nothing");
    check("1 +", "does not parse at column");
    check(&"1+".repeat(2000), "the most is 2048");
}

#[test]
fn only_whole_values_are_replaced() {
    let manifest = json!({"spec": {"backupName": {"$cel": "steps.backup.outputs.name"}, "text": "$cel ${x} {{y}}", "gone": {"$cel": "steps.backup.outputs.gone"}, "list": [{"$cel": "1"}, {"$cel": "null"}]}});
    assert_eq!(
        substitute("manifest", &manifest, &scope()),
        Ok(json!({"spec": {"backupName": "mongo", "text": "$cel ${x} {{y}}", "list": [1]}}))
    );
}

fn problems(when: &str) -> Vec<String> {
    let workflow: Workflow = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Workflow",
        "steps": [
            {"name": "backup", "resource": {"action": "create", "manifest": {"apiVersion": "velero.io/v1", "kind": "Backup"}}, "outputs": {"extra": "object.spec.ttl"}},
            {"name": "look", "when": when, "check": {"that": "true"}},
        ],
    }))
    .unwrap();
    check_workflow(&workflow).iter().map(ToString::to_string).collect()
}

#[test]
fn a_workflow_is_checked_before_it_runs() {
    let check = |when: &str, expected: Option<&str>| {
        let found = problems(when);
        match expected {
            None => assert!(found.is_empty(), "{when}: {found:?}"),
            Some(text) => assert!(
                found.len() == 1 && found[0].starts_with("steps/1/when") && found[0].contains(text),
                "{when}: {found:?}"
            ),
        }
    };
    check("steps.backup.outputs.warnings > 0 && steps.backup.phase == 'SUCCEEDED'", None);
    check("steps.backup.outputs.extra == '1h'", None);
    check("steps.backup.object.metadata.name == 'x'", None);
    check("[1].all(x, [2].all(y, x < y))", None);
    check("steps.backup.outputs.warning > 0", Some("the output `warning`"));
    check("steps.restore.phase == 'FAILED'", Some("the step `restore`"));
    check("steps.look.phase == 'FAILED'", Some("the step `look`"));
    check("parameters.name == 'x'", Some("names `parameters`"));
    check("object.status == 'x'", Some("names `object`"));
    check("steps['backup'].phase == 'x'", Some("uses `steps` other than"));
    check("steps.backup.status == 'x'", Some("names `steps.backup.status`"));
    check("[1].all(x, [2].all(y, [3].all(z, x < y)))", Some("nests loops 3 deep"));
    check("steps.backup.outputs.warnings >", Some("does not parse"));
}

#[test]
fn the_objects_an_expression_looks_at_are_named() {
    let workflow: Workflow = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Workflow",
        "steps": [{"name": "look", "check": {"that": "steps.a.object.x == 1 && steps.b.phase == 'FAILED'"}}],
    }))
    .unwrap();
    assert_eq!(objects_used(&workflow.steps[0]).into_iter().collect::<Vec<_>>(), ["a"]);
}

//! Whose rights a workflow has beyond Velero's objects.

use serde_json::{Value, json};

use super::world::World;
use crate::action::{RequestedBy, UserInfo};
use crate::decide::{ObjectKey, Refusal};
use crate::phase::{Phase, StepPhase};

const KEEPER: &str = "impersonate serviceaccounts keeper in chat";

fn step(verb: &str, api_version: &str, kind: &str) -> Value {
    json!({"name": "a", "resource": {"action": verb, "manifest": {
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "x"},
    }}})
}

/// Names every object that the run itself reached for but its own workflow, and by which account.
fn reached(world: &World) -> Vec<(&str, Option<&str>)> {
    let keys = world.seen.iter().chain(&world.created).chain(&world.deleted);
    let theirs = keys.filter(|key| !key.name.starts_with("nightly-"));
    theirs.map(|key: &ObjectKey| (key.kind.as_str(), key.account.as_deref())).collect()
}

#[test]
fn what_is_beyond_velero_is_done_by_the_account_and_velero_s_by_the_engine() {
    let check = |verb: &str, api_version: &str, kind: &str, account: Option<&str>| {
        let mut world = World::new(json!([step(verb, api_version, kind)]));
        let config =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "chat"}});
        if verb == "delete" {
            world.put(config);
        }
        world.settle();
        let reached = reached(&world);
        assert!(!reached.is_empty() && reached.iter().all(|seen| *seen == (kind, account)), "{reached:?}");
    };
    for verb in ["create", "get", "wait", "delete"] {
        check(verb, "v1", "ConfigMap", Some("keeper"));
        check(verb, "batch/v1", "Job", Some("keeper"));
        check(verb, "velero.io.example.org/v1", "Backup", Some("keeper"));
        check(verb, "velero.io/v1", "Schedule", None);
    }
}

#[test]
fn an_earlier_step_s_object_is_read_with_the_rights_that_the_step_had() {
    let mut world = World::new(json!([
        step("get", "v1", "ConfigMap"),
        {"name": "look", "check": {"that": "steps.a.object.data.size == '3'"}},
    ]));
    world.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "chat"}, "data": {"size": "3"}}));
    assert_eq!(world.settle().phase(), Phase::Succeeded);
    assert_eq!(reached(&world), [("ConfigMap", Some("keeper"))]);
}

#[test]
fn without_an_account_nothing_runs_that_goes_beyond_velero() {
    let backup = json!({"name": "backup", "resource": {"action": "create", "manifest": {
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo"}, "spec": {},
    }}});
    let mut world = World::new(json!([backup, step("create", "v1", "ConfigMap")]));
    world.action.spec.service_account_name = None;
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(
        status.message.as_deref(),
        Some(
            "the step a is to create ConfigMap, which is not Velero's and takes rights of its own: name a ServiceAccount of the namespace chat that has them (spec.serviceAccountName, in GraphQL serviceAccountName)"
        )
    );
    assert!(world.created.is_empty());
    let mut world = World::new(json!([backup]));
    world.action.spec.service_account_name = None;
    assert_eq!(world.settle().phase(), Phase::Running, "Velero's needs none");
}

#[test]
fn nobody_borrows_an_account_that_they_could_not_use_themselves() {
    let check = |verb: &str, rights: &[&'static str], is_allowed: bool| {
        let mut world = World::new(json!([step(verb, "v1", "ConfigMap")]));
        let run = Some(UserInfo { username: "alice".to_owned(), ..UserInfo::default() });
        world.action.spec.requested_by = Some(RequestedBy { run, ..RequestedBy::default() });
        world.rights = Some(rights.to_vec());
        let status = world.settle().status();
        assert_eq!(!reached(&world).is_empty(), is_allowed, "{:?}", status.message);
        if !is_allowed {
            assert_eq!(status.steps[0].reason.as_deref(), Some("Forbidden"));
            let message = status.message.unwrap();
            assert!(message.contains(&format!("alice may not {KEEPER}")), "{message}");
        }
    };
    for verb in ["create", "get", "wait", "delete"] {
        check(verb, &[KEEPER], true);
        check(verb, &["impersonate serviceaccounts keeper in shop"], false);
        check(verb, &["impersonate serviceaccounts other in chat"], false);
    }
}

#[test]
fn what_the_account_may_not_do_ends_the_step_at_once() {
    let mut world = World::new(json!([step("create", "batch/v1", "Job")]));
    world.refuse = Some(Refusal::Forbidden("keeper may not create jobs".to_owned()));
    let status = world.settle().status();
    assert_eq!((status.phase, status.steps[0].phase), (Phase::Failed, StepPhase::Failed));
    assert_eq!(status.steps[0].reason.as_deref(), Some("Forbidden"));
    assert_eq!(status.message.as_deref(), Some("step a: keeper may not create jobs"));
}

//! Whose rights a workflow has beyond Velero's objects.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use ochre::Authentication;
use ochre::options::GatewayOptions;
use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, StepPhase};
use ochre_tests::{Engine, World, keeping};
use serde_json::json;

async fn start(authentication: Authentication) -> (World, Engine) {
    let world = World::empty().await;
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "delete"]});
    world.account("keeper", &[rule]).await;
    let authentication = vec![authentication];
    let options = GatewayOptions { authentication, remember: Duration::ZERO, ..GatewayOptions::default() };
    let engine = world.engine_of(keeping(), options).await;
    (world, engine)
}

fn phases(status: &ActionStatus) -> Vec<StepPhase> {
    status.steps.iter().map(|step| step.phase).collect()
}

#[tokio::test]
async fn a_workflow_goes_beyond_velero_as_the_account_of_its_action() {
    let (world, engine) = start(Authentication::Anonymous).await;
    let made = engine.keep("kept", Some("keeper")).await.data();
    assert_eq!(made["createAction"]["serviceAccountName"], "keeper");
    let status = world.succeeded("kept").await;
    assert_eq!(phases(&status), [StepPhase::Succeeded; 4]);
    assert_eq!(status.steps[1].outputs["text"], "kept");
    let left = ListParams::default().labels("core.ochre.dev/action-name=kept");
    let left = world.api("v1", "ConfigMap", Some("default")).list_metadata(&left).await.unwrap();
    assert_eq!(left.items.len(), 0, "the last step deleted it");
}

#[tokio::test]
async fn without_an_account_nothing_is_created() {
    let (world, engine) = start(Authentication::Anonymous).await;
    let answer = engine.keep("kept", None).await;
    answer.refuses("BAD_USER_INPUT", &["the step make is to create ConfigMap", "serviceAccountName"]);
    assert!(world.actions("default").get_opt("kept").await.unwrap().is_none());
}

#[tokio::test]
async fn no_account_of_another_namespace_can_be_named() {
    let (world, engine) = start(Authentication::Anonymous).await;
    for name in ["kube-system:default", "kube-system/default", "Keeper"] {
        let answer = engine.keep("kept", Some(name)).await;
        answer.refuses("BAD_USER_INPUT", &["spec.serviceAccountName"]);
    }
    assert!(world.actions("default").get_opt("kept").await.unwrap().is_none());
}

#[tokio::test]
async fn nobody_borrows_an_account_that_they_could_not_use_themselves() {
    let (world, engine) = start(Authentication::Token).await;
    let alice = world.person("alice").await;
    world.grant(&alice, Some("default"), "actions", &["create", "get", "list", "run"]).await;
    let answer = engine.keep_by(Some(&alice), "refused", Some("keeper")).await;
    answer.refuses("FORBIDDEN", &["may not impersonate serviceaccounts keeper in default"]);
    let rule = json!({
        "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["keeper"], "verbs": ["impersonate"],
    });
    world.grant_rule(&alice, Some("default"), rule).await;
    engine.keep_by(Some(&alice), "kept", Some("keeper")).await.data();
    world.succeeded("kept").await;
}

#[tokio::test]
async fn who_may_no_longer_use_an_account_has_nothing_done_by_it() {
    let (world, engine) = start(Authentication::Token).await;
    let alice = world.person("alice").await;
    // Past the gateway, which would have refused: what counts is asked when the step begins.
    let action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "lent"},
        "spec": {
            "actionRef": {"path": "cap.interface.test.keep"}, "run": true, "serviceAccountName": "keeper",
            "requestedBy": {"run": {"username": alice.username, "groups": []}},
        },
    }));
    world.actions("default").create(&PostParams::default(), &action.unwrap()).await.unwrap();
    let status = world.ended("lent").await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    let message = status.message.unwrap();
    assert!(message.contains("may not impersonate serviceaccounts keeper in default"), "{message}");
    engine.drain().await;
}

#[tokio::test]
async fn the_account_of_a_run_stays_what_it_was() {
    let world = World::empty().await;
    let action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "kept"},
        "spec": {"actionRef": {"path": "cap.interface.test.keep"}, "serviceAccountName": "keeper"},
    }));
    let (actions, parameters) = (world.actions("default"), PatchParams::default());
    actions.create(&PostParams::default(), &action.unwrap()).await.unwrap();
    let running = Patch::Merge(json!({"status": {"phase": "RUNNING"}}));
    actions.patch_status("kept", &parameters, &running).await.unwrap();
    for account in [json!("other"), json!(null)] {
        let change = Patch::Merge(json!({"spec": {"serviceAccountName": account}}));
        let refused = actions.patch("kept", &parameters, &change).await.unwrap_err().to_string();
        assert!(refused.contains("while it runs only cancel and approvals"), "{refused}");
    }
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use ochre_sandbox::api::{Asked, Fault};

    use super::*;

    /// Fails unless the run ends at once where the account may not do this, and says so.
    async fn check(verb: &'static str, reached: usize, says: &[&str]) {
        let world = World::empty().await;
        let plan = move |asked: &Asked| {
            let is_it = asked.resource == "configmaps" && asked.verb == verb && asked.user.is_some();
            is_it.then_some(Fault::Forbidden)
        };
        let engine = world.faulty_engine_of(keeping(), None, GatewayOptions::default(), plan).await;
        engine.keep("kept", Some("keeper")).await.data();
        let status = world.ended("kept").await;
        assert_eq!(phases(&status)[reached], StepPhase::Failed, "{status:#?}");
        assert_eq!(status.steps[reached].reason.as_deref(), Some("Forbidden"), "{status:#?}");
        let message = status.message.unwrap();
        for part in says.iter().chain(&["system:serviceaccount:default:keeper", "a Role that is bound to it"])
        {
            assert!(message.contains(part), "`{part}` is not said in: {message}");
        }
    }

    #[tokio::test]
    async fn what_the_account_may_not_do_ends_the_run_and_is_named() {
        check("list", 0, &["may not get or list or watch configmaps in default"]).await;
        check("create", 0, &["may not create configmaps in default"]).await;
        check("delete", 3, &["may not delete configmaps in default"]).await;
    }

    #[tokio::test]
    async fn an_account_that_is_not_lent_to_the_engine_ends_the_run_and_is_named() {
        let world = World::empty().await;
        let plan = |asked: &Asked| (asked.verb == "impersonate").then_some(Fault::Forbidden);
        let engine = world.faulty_engine_of(keeping(), None, GatewayOptions::default(), plan).await;
        engine.keep("kept", Some("keeper")).await.data();
        let status = world.ended("kept").await;
        assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
        let message = status.message.unwrap();
        for part in [
            "the engine may not act as the ServiceAccount keeper of default",
            "bind in default, to the ServiceAccount of the engine",
            "resources: [serviceaccounts], resourceNames: [keeper], verbs: [impersonate]",
        ] {
            assert!(message.contains(part), "`{part}` is not said in: {message}");
        }
    }

    #[tokio::test]
    async fn one_object_is_followed_and_no_others_are_seen() {
        let world = World::empty().await;
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = std::sync::Arc::clone(&seen);
        let plan = move |asked: &Asked| {
            if asked.user.is_some() {
                noted.lock().unwrap().push(asked.clone());
            }
            None
        };
        let engine = world.faulty_engine_of(keeping(), None, GatewayOptions::default(), plan).await;
        engine.keep("kept", Some("keeper")).await.data();
        world.succeeded("kept").await;
        engine.drain().await;
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for asked in seen.iter() {
            assert_eq!(asked.user.as_deref(), Some("system:serviceaccount:default:keeper"));
            assert!(asked.verb == "create" || asked.name.starts_with("kept-"), "{asked:?}");
        }
    }
}

//! What one tenant asks for does not keep another's runs from going on.

use kube::api::PostParams;
use ochre::Authentication;
use ochre::options::GatewayOptions;
use ochre_core::action::{Action, ActionStatus};
use ochre_core::phase::Phase;
use ochre_tests::{Person, World};
use serde_json::{Value, json};

/// Makes a namespace in which a person may do what `edit` allows.
async fn tenant(world: &World, name: &str, namespace: &str) -> Person {
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    let person = world.person(name).await;
    world.grant_edit(&person, Some(namespace)).await;
    person
}

/// Creates an Action of the shipped catalog in a namespace as kubectl would, to be run at once.
async fn apply(world: &World, person: &Person, namespace: &str, name: &str, parameters: Value) {
    let action: Action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
        "spec": {
            "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}, "run": true,
        },
    }))
    .unwrap();
    let actions = kube::Api::<Action>::namespaced(world.client_of(person), namespace);
    actions.create(&PostParams::default(), &action).await.unwrap();
}

/// Tells callers apart by their tokens.
fn told() -> GatewayOptions {
    GatewayOptions { authentication: vec![Authentication::Token], ..GatewayOptions::default() }
}

/// Lists what an audit log tells of one sort.
fn events(path: &std::path::Path, what: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    ochre::audit::verify(text.as_bytes(), None).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].take());
    lines.filter(|event| event["what"] == what).collect()
}

#[tokio::test]
async fn a_run_that_asks_for_many_namespaces_of_others_is_one_line() {
    let world = World::empty().await;
    world.put_policies().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let options = GatewayOptions { audit_log: Some(path.clone()), ..told() };
    let engine = world.engine_told(options).await;
    let alice = tenant(&world, "alice", "a").await;
    let names: Vec<String> = (0..600).map(|number| format!("foreign-{number}")).collect();
    let parameters = json!({"action": "backup", "name": "all", "includeNamespaces": names});
    apply(&world, &alice, "a", "greedy", parameters).await;
    let status = world.ended_in("a", "greedy").await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    assert!(status.message.as_ref().unwrap().contains("more rights were not asked for"), "{status:#?}");
    engine.drain().await;
    // What holds in the whole cluster is asked for first, since there are so many.
    let asked = events(&path, "rights");
    let told: Vec<(&Value, &Value)> = asked.iter().map(|line| (&line["asked"], &line["allowed"])).collect();
    assert_eq!(told, [(&json!(3), &json!(false)), (&json!(32), &json!(false))], "{asked:#?}");
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes < 20_000, "{bytes} bytes for one run");
}

#[tokio::test]
async fn more_actions_than_a_namespace_has_places_all_go_on() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let parameters =
        |name: &str| json!({"action": "backup", "name": name, "selector": "app=none", "allowEmpty": true});
    for number in 0..12 {
        let name = format!("many-{number}");
        world.apply_action(&name, parameters(&name)).await;
    }
    for number in 0..12 {
        world.succeeded(&format!("many-{number}")).await;
    }
    engine.drain().await;
}

#[tokio::test]
async fn what_is_canceled_and_goes_on_keeps_its_place_at_velero() {
    let world = World::empty().await;
    let engine = world.guarded_engine().await;
    let alice = tenant(&world, "alice", "a").await;
    let bob = tenant(&world, "bob", "b").await;
    world.stop_velero().await;
    let parameters = |name: &str, namespace: &str| json!({"action": "backup", "name": name, "includeNamespaces": namespace, "allowEmpty": true});
    for name in ["first", "second"] {
        engine.run_by_in(&alice, "a", name, parameters(name, "a")).await.data();
        world.until_in("a", name, |status| status.objects().next().is_some()).await;
        let cancel = format!("mutation {{ cancelAction(name: \"{name}\") {{ name }} }}");
        engine.graphql_by_in(&alice, "a", &cancel).await.data();
        assert_eq!(world.ended_in("a", name).await.phase, Phase::Canceled);
    }
    engine.run_by_in(&alice, "a", "third", parameters("third", "a")).await.data();
    let waits = |status: &ActionStatus| {
        status.steps.first().is_some_and(|step| step.reason.as_deref() == Some("TooManyAtWork"))
    };
    let status = world.until_in("a", "third", waits).await;
    assert!(status.message.as_ref().unwrap().contains("first, second"), "{status:#?}");
    engine.run_by_in(&bob, "b", "nightly", parameters("nightly", "b")).await.data();
    world.until_in("b", "nightly", |status| status.objects().next().is_some()).await;
    assert!(!world.velero_names("Backup").await.contains(&"third".to_owned()));
    world.start_velero().await;
    for (namespace, name) in [("a", "third"), ("b", "nightly")] {
        let status = world.ended_in(namespace, name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    }
    engine.drain().await;
}

/// Only the simulated API can hold answers back; hack/test leaves this out on a real cluster.
mod simulated {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use ochre_sandbox::api::{Asked, Fault};

    use super::*;

    #[tokio::test]
    async fn an_engine_whose_velero_the_policies_do_not_know_does_not_start() {
        let mut world = World::with(|options| options.velero_namespace = "backups".to_owned()).await;
        world.put_policies().await;
        let options = told();
        let ended = world.ending_engine(options.clone()).await.unwrap_err().to_string();
        assert!(ended.contains("does not know Velero in the namespace backups"), "{ended}");
        world.velero_namespace = "velero".to_owned();
        world.engine_told(options).await.drain().await;
    }

    #[tokio::test]
    async fn sixty_actions_that_take_for_ever_do_not_hold_those_of_another_namespace() {
        let world = World::empty().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        // What is asked for alice's Actions is not answered while the test lasts.
        let plan = move |asked: &Asked| {
            (asked.namespace == "a" && asked.resource == "configmaps").then(|| {
                counted.fetch_add(1, Ordering::SeqCst);
                Fault::Slow(Duration::from_hours(1))
            })
        };
        let options = told();
        world.put_policies().await;
        let engine = world.faulty_engine(None, options, plan).await;
        let alice = tenant(&world, "alice", "a").await;
        let bob = tenant(&world, "bob", "b").await;
        let parameters = |namespace: &str| json!({"action": "backup", "name": namespace, "includeNamespaces": namespace, "allowEmpty": true});
        for number in 0..60 {
            apply(&world, &alice, "a", &format!("heavy-{number}"), parameters("a")).await;
        }
        apply(&world, &bob, "b", "nightly", parameters("b")).await;
        let status = world.ended_in("b", "nightly").await;
        assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
        assert!(begun.load(Ordering::SeqCst) <= 4, "{begun:?} of one namespace are looked at");
        engine.kill().await;
    }
}

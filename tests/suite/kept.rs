//! What the engine keeps of Actions and of Velero's objects, however much tenants store.

use futures::StreamExt as _;
use futures::stream;
use http::Request;
use kube::api::DeleteParams;
use ochre::options::{GatewayOptions, Limits};
use ochre_core::action::{Action, ActionInput, ActionRef, ActionSpec};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const ALL: &str = "{ actions { name status { phase message } input { parameters } } }";

fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "selector": APPLICATION})
}

/// Parameters of a backup that take about so many bytes.
fn large(name: &str, bytes: usize) -> Value {
    let namespaces: Vec<String> = (0..bytes / 60).map(|number| format!("{number:057}")).collect();
    json!({"action": "backup", "name": name, "includeNamespaces": namespaces})
}

/// Makes an Action past the gateway.
async fn make(world: &World, namespace: &str, name: &str, parameters: Value, run: bool) {
    let Value::Object(parameters) = parameters else { unreachable!("it is an object") };
    let input = ActionInput { parameters, ..ActionInput::default() };
    let action_ref = ActionRef { path: "cap.interface.data.backup".to_owned(), revision: None };
    let spec = ActionSpec { action_ref, input, run, attempt: 1, ..ActionSpec::default() };
    let body = serde_json::to_vec(&Action::new(name, spec)).unwrap();
    let path = format!("/apis/core.ochre.dev/v1alpha1/namespaces/{namespace}/actions");
    let request = Request::post(path).header("content-type", "application/json").body(body).unwrap();
    world.client.request_text(request).await.unwrap();
}

/// Reads all Actions of a namespace; yields how many bytes of parameters are known.
async fn known(engine: &Engine, namespace: &str) -> (usize, Vec<Value>) {
    let data = engine.graphql_in(namespace, ALL, json!({})).await;
    let actions = data.data()["actions"].as_array().unwrap().clone();
    let bytes = |action: &Value| match &action["input"]["parameters"] {
        Value::Null => 0,
        parameters => parameters.to_string().len(),
    };
    (actions.iter().map(bytes).sum(), actions)
}

#[tokio::test]
async fn an_action_that_is_too_large_fails_by_itself() {
    let world = World::start().await;
    let text = json!({"action": "backup", "name": "large", "selector": "x".repeat(1_400_000)});
    make(&world, "default", "early", text.clone(), true).await;
    let engine = world.engine().await;
    make(&world, "default", "late", text, true).await;
    engine.create("good", None, backup("good")).await.data();
    world.succeeded("good").await;
    for name in ["early", "late"] {
        let shown = engine.action(name).await;
        let message = shown["status"]["message"].as_str().unwrap();
        assert_eq!(
            (&shown["status"]["phase"], &shown["input"]["parameters"]),
            (&json!("FAILED"), &Value::Null)
        );
        assert!(message.contains("is 1") && message.contains("bytes, and the most is 262144"), "{message}");
        engine.on("runAction", name).await.refuses("CONFLICT", &[name, "cannot be read"]);
        engine.on("deleteAction", name).await.data();
    }
}

/// Many Actions that wait, and one caller of another namespace: what is kept has its bound, and that one's run goes on.
#[tokio::test]
async fn many_actions_take_no_more_than_their_room_and_nothing_from_others() {
    let world = World::start().await;
    for namespace in ["many", "few"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        world.create(object).await;
    }
    let fill = |range: std::ops::Range<usize>| {
        let world = &world;
        stream::iter(range).for_each_concurrent(4, move |number| async move {
            make(world, "many", &format!("a-{number}"), large("a", 59_000), false).await;
        })
    };
    fill(0..10).await;
    let limits = Limits { actions: 1_000_000, ..Limits::default() };
    let options = GatewayOptions { limits, ..GatewayOptions::default() };
    let engine = world.engine_told(options.clone()).await;
    fill(10..20).await;
    engine.create("good", None, backup("good")).await.data();
    world.succeeded("good").await;
    for engine in [&engine, &world.engine_told(options).await] {
        let (bytes, actions) = known(engine, "many").await;
        assert!((300_000..1_000_000).contains(&bytes) && actions.len() == 20, "{bytes} of {}", actions.len());
        let is_brief = |action: &&Value| action["input"]["parameters"].is_null();
        for action in actions.iter().filter(is_brief) {
            let message = action["status"]["message"].as_str().unwrap();
            assert!(
                message.contains("--limit-actions") && message.contains("goes on by itself"),
                "{message}"
            );
        }
        assert_eq!(engine.action("good").await["status"]["phase"], "SUCCEEDED");
    }
    // They go on by themselves when there is room.
    let cleared: Vec<String> = (0..18).map(|number| format!("a-{number}")).collect();
    for name in &cleared {
        world.actions("many").delete(name, &DeleteParams::default()).await.unwrap();
    }
    for name in ["a-18", "a-19"] {
        let query = "query($name: String!) { action(name: $name) { input { parameters } } }";
        let read = async {
            loop {
                let action = engine.graphql_in("many", query, json!({"name": name})).await;
                if !action.data()["action"]["input"]["parameters"].is_null() {
                    return;
                }
            }
        };
        world.within(Box::pin(read)).await;
    }
}

/// Where there is no room for the end of a run, its end is shown all the same, and raising its attempt runs it again.
#[tokio::test]
async fn what_has_ended_gives_way_and_is_shown_as_it_ended() {
    let world = World::start().await;
    let limits = Limits { actions: 300_000, ..Limits::default() };
    let engine = world.engine_told(GatewayOptions { limits, ..GatewayOptions::default() }).await;
    engine.create("done", None, backup("done")).await.data();
    world.succeeded("done").await;
    for number in 0..4 {
        make(&world, "default", &format!("waits-{number}"), large("a", 59_000), false).await;
    }
    let brief = async {
        loop {
            let shown = engine.action("done").await;
            if shown["input"]["parameters"].is_null() {
                return shown;
            }
        }
    };
    let shown = world.within(Box::pin(brief)).await;
    let message = shown["status"]["message"].as_str().unwrap();
    assert_eq!(shown["status"]["phase"], "SUCCEEDED");
    assert!(message.contains("has ended") && message.contains("--limit-actions"), "{message}");
}

/// Backups of one namespace that take all the room are kept by name, and runs of another go on.
#[tokio::test]
async fn what_velero_has_takes_no_more_than_its_room_and_nothing_from_others() {
    let world = World::start().await;
    let limits = Limits { watched: 300_000, ..Limits::default() };
    let engine = world.engine_told(GatewayOptions { limits, ..GatewayOptions::default() }).await;
    engine.create("good", None, backup("good")).await.data();
    world.succeeded("good").await;
    for number in 0..10 {
        world
            .create(json!({
                "apiVersion": "velero.io/v1", "kind": "Backup",
                "metadata": {"name": format!("large-{number}"), "namespace": "velero",
                    "labels": {"core.ochre.dev/action-namespace": "many", "core.ochre.dev/action-name": "a"}},
                "spec": {"includedNamespaces": ["x".repeat(60_000)], "storageLocation": "nowhere"},
            }))
            .await;
    }
    let query = "{ backups { name namespaces status { phase reason } } }";
    let settled = async {
        loop {
            let found = engine.graphql(query, json!({})).await.data()["backups"].take();
            let found = found.as_array().unwrap().clone();
            if found.len() == 11 {
                return found;
            }
        }
    };
    let found = world.within(Box::pin(settled)).await;
    let bytes: usize = found.iter().map(|backup| backup["namespaces"].to_string().len()).sum();
    assert!((60_000..300_000).contains(&bytes), "{bytes}");
    for backup in &found {
        let (name, status) = (backup["name"].as_str().unwrap(), &backup["status"]);
        if name == "good" {
            assert_eq!(status["phase"], "Completed");
        } else if status["phase"] == "Unreadable" {
            assert!(status["reason"].as_str().unwrap().contains("--limit-watched"), "{status}");
        }
    }
    world.lose_application().await;
    engine.create("back", None, json!({"action": "restore", "name": "good"})).await.data();
    world.succeeded("back").await;
}

/// Only the sandbox's API tells what is asked of it.
mod simulated {
    use std::sync::{Arc, Mutex};

    use ochre::Authentication;

    use super::*;

    /// Of what Velero has nothing is read for a request, whichever caller sends it, and rights are asked once for each namespace.
    #[tokio::test]
    async fn what_velero_has_is_read_for_no_request() {
        let world = World::start().await;
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let options =
            GatewayOptions { authentication: vec![Authentication::Token], ..GatewayOptions::default() };
        let engine = world
            .faulty_engine(None, options, move |request| {
                heard.lock().unwrap().push((request.verb.to_owned(), request.resource.clone()));
                None
            })
            .await;
        for number in 0..3 {
            let name = format!("team-{number}");
            world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
        }
        for number in 0..30 {
            world
                .create(json!({
                    "apiVersion": "velero.io/v1", "kind": "Backup",
                    "metadata": {"name": format!("b-{number}"), "namespace": "velero", "labels": {
                        "core.ochre.dev/action-namespace": format!("team-{}", number % 3), "core.ochre.dev/action-name": "a",
                    }},
                    "spec": {"includedNamespaces": [format!("team-{}", number % 3)], "storageLocation": "nowhere"},
                }))
                .await;
        }
        let (nobody, one) = (world.person("nobody").await, world.person("one").await);
        world.grant(&one, Some("team-1"), "actions", &["get"]).await;
        let all_there = async {
            while engine.graphql_by(Some(&one), "{ backups { name } }", json!({})).await.data()["backups"]
                .as_array()
                .is_none_or(|seen| seen.len() < 10)
            {}
        };
        world.within(Box::pin(all_there)).await;
        let fields: Vec<String> =
            (0..20).map(|number| format!("q{number}: backups(first: 1) {{ name }}")).collect();
        let query = format!("{{ {} }}", fields.join(" "));
        asked.lock().unwrap().clear();
        for _ in 0..5 {
            let answer = engine.graphql_by(Some(&nobody), &query, json!({})).await.data();
            assert!((0..20).all(|number| answer[format!("q{number}")] == json!([])), "{answer}");
        }
        let asked = asked.lock().unwrap().clone();
        let count =
            |verb: &str, resource: &str| asked.iter().filter(|(is, of)| is == verb && of == resource).count();
        assert_eq!(count("list", "backups"), 0, "{asked:?}");
        // Two for each of three namespaces, by each of the fields that ask at the same time.
        assert!(count("create", "subjectaccessreviews") <= 6 * 20, "{asked:?}");
    }
}

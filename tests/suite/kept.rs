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
        let full = |action: &&Value| action["input"]["parameters"].is_null();
        for action in actions.iter().filter(full) {
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

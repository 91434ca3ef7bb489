//! Subscriptions, over server-sent events: what is told, to whom, and when it ends.

use std::time::Duration;

use ochre::options::GatewayOptions;
use ochre_tests::{Engine, Event, Events, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

const ONE: &str = "subscription($name: String!) { actionChanged(name: $name) { name status { phase } } }";

const MANY: &str =
    "subscription($filter: ActionFilter) { actionsChanged(filter: $filter) { kind name action { name } } }";

const CREATE: &str = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";

/// An Action that waits to be run.
fn waiting(name: &str) -> Value {
    json!({"in": {
        "name": name, "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": {"action": "backup", "name": name, "selector": "none=such"}},
    }})
}

/// Waits for an event of an Action, and takes what is told of it.
async fn event(world: &World, events: &mut Events, name: &str, kind: &str) -> Value {
    world
        .within(async {
            loop {
                let told = events.data().await["actionsChanged"].clone();
                let found =
                    told.as_array().unwrap().iter().find(|one| one["name"] == name && one["kind"] == kind);
                if let Some(event) = found {
                    return event.clone();
                }
            }
        })
        .await
}

async fn delete(engine: &Engine, name: &str) {
    engine.on("deleteAction", name).await.data();
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let world = World::start().await;
    let engine = world.engine().await;
    let mut events = engine.events(ONE, json!({"name": "mongo"})).await;
    assert_eq!(world.within(events.data()).await, json!({"actionChanged": null}), "there is none yet");
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    engine.create("mongo", None, parameters).await.data();
    let mut phase = String::new();
    while phase != "SUCCEEDED" {
        let told = world.within(events.data()).await["actionChanged"].clone();
        assert_eq!(told["name"], "mongo");
        told["status"]["phase"].as_str().unwrap().clone_into(&mut phase);
        assert_ne!(phase, "FAILED", "{told}");
    }
    let mut late = engine.events(ONE, json!({"name": "mongo"})).await;
    let now = world.within(late.data()).await;
    assert_eq!(now["actionChanged"]["status"]["phase"], "SUCCEEDED", "who comes late is told how it is");
    delete(&engine, "mongo").await;
    let gone = async |events: &mut Events| while !events.data().await["actionChanged"].is_null() {};
    world.within(gone(&mut events)).await;
    world.within(gone(&mut late)).await;
}

#[tokio::test]
async fn actions_come_change_and_go_as_a_filter_lets_them() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.graphql(CREATE, waiting("early")).await.data();
    let mut all = engine.events(MANY, Value::Null).await;
    let first = world.within(all.data()).await;
    assert_eq!(
        first["actionsChanged"],
        json!([{"kind": "ADDED", "name": "early", "action": {"name": "early"}}])
    );
    let mut ready =
        engine.events(MANY, json!({"filter": {"phase": "READY_TO_RUN", "nameRegex": "^late"}})).await;
    assert_eq!(
        world.within(ready.data()).await,
        json!({"actionsChanged": []}),
        "it is known at once that none is"
    );
    engine.graphql_in("chat", CREATE, waiting("late-elsewhere")).await.data();
    engine.graphql(CREATE, waiting("late")).await.data();
    assert_eq!(event(&world, &mut all, "late", "ADDED").await["action"]["name"], "late");
    let added = world.within(ready.data()).await;
    assert_eq!(
        added["actionsChanged"],
        json!([{"kind": "ADDED", "name": "late", "action": {"name": "late"}}])
    );
    engine.on("runAction", "late").await.data();
    assert_eq!(event(&world, &mut all, "late", "MODIFIED").await["action"]["name"], "late");
    let removed = event(&world, &mut ready, "late", "REMOVED").await;
    assert_eq!(removed["action"]["name"], "late", "it is there still, in another phase");
    delete(&engine, "early").await;
    assert_eq!(event(&world, &mut all, "early", "REMOVED").await["action"], Value::Null);
}

#[tokio::test]
async fn a_subscriber_hears_of_its_own_namespace_only() {
    let world = World::start().await;
    let engine = world.engine().await;
    let request = reqwest::Client::new().post(format!("{}/graphql", engine.url)).header("NAMESPACE", "chat");
    let request = request.header("accept", "text/event-stream").json(&json!({"query": MANY}));
    let mut events = Events::new(request.send().await.unwrap());
    assert_eq!(world.within(events.data()).await, json!({"actionsChanged": []}));
    engine.graphql(CREATE, waiting("elsewhere")).await.data();
    engine.graphql_in("chat", CREATE, waiting("here")).await.data();
    let told = world.within(events.data()).await["actionsChanged"].clone();
    assert_eq!(told[0]["name"], "here", "{told}");
}

#[tokio::test]
async fn whatever_is_answered_can_be_answered_as_events() {
    let world = World::empty().await;
    let engine = world.engine().await;
    for (query, variables, answer) in [
        ("{ actions { name } }", Value::Null, json!({"data": {"actions": []}})),
        (CREATE, waiting("a"), json!({"data": {"createAction": {"name": "a"}}})),
    ] {
        let mut events = engine.events(query, variables).await;
        assert_eq!(world.within(events.next()).await, Some(Event::Next(answer)), "{query}");
        assert_eq!(world.within(events.next()).await, Some(Event::Complete), "{query}");
        assert_eq!(world.within(events.next()).await, None, "{query}");
    }
    for (query, variables, code) in [
        ("{", Value::Null, "GRAPHQL_PARSE_FAILED"),
        ("subscription { colour }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        (ONE, json!({}), "BAD_USER_INPUT"),
        (MANY, json!({"filter": {"nameRegex": "("}}), "BAD_USER_INPUT"),
    ] {
        let mut events = engine.events(query, variables).await;
        let Some(Event::Next(answer)) = world.within(events.next()).await else { panic!("{query}") };
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{query}: {answer}");
        assert_eq!(world.within(events.next()).await, Some(Event::Complete), "{query}");
    }
    let request =
        reqwest::Client::new().post(format!("{}/graphql", engine.url)).header("accept", "application/json");
    let refused = request.json(&json!({"query": ONE, "variables": {"name": "a"}})).send().await.unwrap();
    assert_eq!(refused.status(), 406);
    let answer: Value = refused.json().await.unwrap();
    assert!(
        answer["errors"][0]["message"].as_str().unwrap().contains("accept text/event-stream"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_quiet_stream_shows_signs_of_life_and_ends_with_the_engine() {
    let world = World::empty().await;
    let options = GatewayOptions { keep_alive: Duration::from_millis(20), ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let mut events = engine.events(ONE, json!({"name": "none"})).await;
    world.within(events.data()).await;
    for _ in 0..3 {
        assert_eq!(world.within(events.next()).await, Some(Event::Comment));
    }
    let rest = async {
        while let Some(event) = events.next().await {
            assert_eq!(event, Event::Comment, "more may come, from another engine");
        }
    };
    world.within(async { tokio::join!(engine.drain(), rest) }).await;
}

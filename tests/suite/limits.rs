//! How much may be asked for. What passes the limits of a document is among what is hostile (`hostile`).

use std::num::NonZeroU32;
use std::time::Duration;

use futures::future::join_all;
use ochre::Authentication;
use ochre::options::{GatewayOptions, Limits};
use ochre_tests::{Person, World};
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_just_within_the_limits_is_answered() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let value = format!("{}1{}", "[".repeat(47), "]".repeat(47));
    let deep = engine.graphql(&format!("{{ action(name: {value}) {{ name }} }}"), json!({})).await;
    assert_eq!(deep.error().0, "GRAPHQL_VALIDATION_FAILED");
    let braces = format!("{}{{ name }}{}", "{ ... ".repeat(48), "}".repeat(48));
    let deep = engine.graphql(&format!("{{ actions {braces} }}"), json!({})).await;
    assert_eq!(deep.data(), json!({"actions": []}));
    let text = "x".repeat(256 * 1024);
    let large =
        engine.graphql("query($name: String!) { action(name: $name) { name } }", json!({"name": text})).await;
    assert_eq!(large.data(), json!({"action": null}));
}

#[tokio::test]
async fn an_answer_that_grows_too_large_is_given_up() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let schemas = |count: usize| {
        let each = |number: usize| {
            format!(
                "x{number}: interface(path: \"cap.interface.data.backup\") {{ revisions {{ spec {{ input {{ parameters {{ resolvedSchema }} }} }} }} }} "
            )
        };
        format!("{{ {} }}", (0..count).map(each).collect::<String>())
    };
    assert!(engine.graphql(&schemas(1), json!({})).await.data()["x0"]["revisions"].is_array());
    let limits = Limits { cost: 2_000, ..Limits::default() };
    let engine = world.engine_told(GatewayOptions { limits, ..GatewayOptions::default() }).await;
    let answer = world.within(engine.graphql(&schemas(20), json!({}))).await;
    assert_eq!(answer.body["data"], Value::Null);
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 1, "{}", answer.body);
    answer.refuses("LIMIT_EXCEEDED", &["`cost`, 2000", "first"]);
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn whoever_asks_for_too_much_at_once_is_told_when_to_come_again() {
    let world = World::empty().await;
    let limits = Limits { requests: NonZeroU32::MIN, subscriptions: 1, ..Limits::default() };
    let options =
        GatewayOptions { authentication: vec![Authentication::Token], limits, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    let asked = (0..10).map(|_| engine.graphql_by(Some(&alice), "{ whoAmI { username } }", json!({})));
    let answers = join_all(asked).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((1..10).contains(&refused.len()), "{answers:?}");
    refused[0].refuses("LIMIT_EXCEEDED", &["`requests`, 1; wait 1 s"]);
    assert_eq!(refused[0].body["errors"][0]["extensions"]["retryAfter"], 1);
    engine.graphql_by(Some(&bob), "{ whoAmI { username } }", json!({})).await.data();
}

#[tokio::test]
async fn whoever_guesses_is_shut_out_and_whoever_is_known_is_not() {
    let world = World::empty().await;
    let limits = Limits { guesses: NonZeroU32::MIN, ..Limits::default() };
    let options = GatewayOptions {
        authentication: vec![Authentication::Token],
        remember: Duration::from_secs(60),
        limits,
        ..GatewayOptions::default()
    };
    let engine = world.engine_told(options).await;
    let alice = world.person("alice").await;
    let asks = async |who: &Person| engine.graphql_by(Some(who), "{ whoAmI { username } }", json!({})).await;
    asks(&alice).await.data();
    let mut answers = Vec::new();
    for number in 0..30 {
        answers.push(asks(&Person::with_token("", &format!("guess-{number}"))).await);
    }
    assert_eq!(answers[0].status, 401);
    let shut_out = answers.iter().find(|answer| answer.status == 429).unwrap();
    shut_out.refuses("LIMIT_EXCEEDED", &["wrong tokens"]);
    asks(&alice).await.data();
}

#[tokio::test]
async fn one_caller_has_so_many_subscriptions_over_all_connections() {
    let world = World::empty().await;
    let limits = Limits { subscriptions: 1, ..Limits::default() };
    let options =
        GatewayOptions { authentication: vec![Authentication::Token], limits, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let alice = world.person("alice").await;
    world.grant(&alice, Some("default"), "actions", &["watch"]).await;
    let query = "subscription { actionChanged(name: \"a\") { name } }";
    let mut events = engine.events_by(Some(&alice), query, json!({})).await;
    assert_eq!(events.data().await, json!({"actionChanged": null}));
    let bearer = alice.authorization.clone();
    let mut socket = engine
        .raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws"), ("authorization", &bearer)])
        .await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await.message()["type"], "connection_ack");
    socket.subscribe("1", query, json!({})).await;
    let said = socket.hear().await.message();
    assert_eq!(said["type"], "error");
    assert_eq!(said["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
    assert!(said["payload"][0]["message"].as_str().unwrap().contains("`subscriptions`, 1"), "{said}");
}

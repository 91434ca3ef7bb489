//! Conversations, good and bad.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Answer, Close, Conversation, Limits, Reply};

/// Limits by which so many operations may run at a time.
fn few(operations: usize) -> Limits {
    Limits { operations, values: 100, ..Limits::default() }
}

/// Says all of this; yields what follows from the last.
fn hear(messages: &[Value]) -> Result<Reply, Close> {
    let mut conversation = Conversation::new("a".into(), &few(2));
    let mut last = Ok(Reply::Nothing);
    for message in messages {
        last = conversation.hear(&message.to_string());
    }
    last
}

fn init() -> Value {
    json!({"type": "connection_init"})
}

fn subscribe(id: &str) -> Value {
    json!({"type": "subscribe", "id": id, "payload": {"query": "{ a }"}})
}

#[test]
fn every_misstep_closes_with_its_code() {
    for (messages, code, says) in [
        (vec![json!([])], 4400, "invalid type: sequence"),
        (vec![json!(["connection_init", {}])], 4400, "invalid type: sequence"),
        (vec![json!("connection_init")], 4400, "invalid type: string"),
        (vec![json!({})], 4400, "missing field `type`"),
        (vec![json!({"type": 1})], 4400, "Invalid message"),
        (vec![json!({"type": "start", "id": "1", "payload": {}})], 4400, "unknown variant `start`"),
        (vec![json!({"type": "next", "id": "1", "payload": {}})], 4400, "unknown variant `next`"),
        (vec![json!({"type": "connection_init", "payload": "a"})], 4400, "expected a map"),
        (
            vec![json!({"type": "ping", "payload": {"a": vec![1; 100]}})],
            4400,
            "the limit `values`: it is 104",
        ),
        (vec![json!({"type": "ping", "payload": []})], 4400, "expected a map"),
        (vec![json!({"type": "pong", "payload": 1})], 4400, "expected a map"),
        (vec![init(), json!({"type": "complete"})], 4400, "missing field `id`"),
        (vec![init(), json!({"type": "subscribe", "id": "1"})], 4400, "missing field `payload`"),
        (
            vec![init(), json!({"type": "subscribe", "id": 1, "payload": {"query": "{ a }"}})],
            4400,
            "expected a string",
        ),
        (vec![init(), subscribe("")], 4400, "the id is empty"),
        (vec![init(), json!({"type": "subscribe", "id": "1", "payload": {}})], 4400, "missing field `query`"),
        (
            vec![init(), json!({"type": "subscribe", "id": "1", "payload": ["{ a }"]})],
            4400,
            "invalid type: sequence",
        ),
        (
            vec![
                init(),
                json!({"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": "{}"}}),
            ],
            4400,
            "expected a map",
        ),
        (vec![subscribe("1")], 4401, "Unauthorized"),
        (vec![init(), subscribe("1"), subscribe("1")], 4409, "Subscriber for 1 already exists"),
        (vec![init(), init()], 4429, "Too many initialisation requests"),
    ] {
        let close = hear(&messages).unwrap_err();
        assert_eq!(close.code, code, "{messages:?}: {close:?}");
        assert!(close.reason.contains(says), "{messages:?}: {close:?}");
    }
    let close = Conversation::new("a".into(), &few(1)).hear("{").unwrap_err();
    assert_eq!(close.code, 4400);
}

#[test]
fn what_is_said_right_is_followed() {
    let start = |id: &str| hear(&[init(), subscribe(id)]).unwrap();
    assert_eq!(hear(&[init()]), Ok(Reply::Begin(serde_json::Map::new())));
    let said = json!({"type": "connection_init", "payload": {"a": 1}});
    assert_eq!(hear(&[said]), Ok(Reply::Begin(json!({"a": 1}).as_object().unwrap().clone())));
    assert_eq!(
        hear(&[json!({"type": "ping"})]),
        Ok(Reply::Say(json!({"type": "pong"}))),
        "before it has begun, too"
    );
    let ping = json!({"type": "ping", "payload": {"a": [1]}});
    assert_eq!(hear(&[ping]), Ok(Reply::Say(json!({"type": "pong", "payload": {"a": [1]}}))));
    assert_eq!(hear(&[json!({"type": "pong", "payload": null})]), Ok(Reply::Nothing), "unasked, too");
    assert!(matches!(start("a"), Reply::Start { id, .. } if id == "a"));
    let complete = json!({"type": "complete", "id": "1"});
    assert_eq!(hear(&[init(), complete.clone()]), Ok(Reply::Nothing), "of none that is known");
    assert_eq!(hear(&[init(), subscribe("1"), complete.clone()]), Ok(Reply::Stop { id: "1".to_owned() }));
    let again = hear(&[init(), subscribe("1"), complete, subscribe("1")]);
    assert!(matches!(again, Ok(Reply::Start { .. })), "a name is free again: {again:?}");
}

#[test]
fn too_many_operations_are_refused_one_by_one() {
    let Ok(Reply::Say(said)) = hear(&[init(), subscribe("1"), subscribe("2"), subscribe("3")]) else {
        panic!("the third is not refused")
    };
    assert_eq!((&said["type"], &said["id"]), (&json!("error"), &json!("3")));
    assert_eq!(said["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
    let message = said["payload"][0]["message"].as_str().unwrap();
    assert!(message.contains("the limit `operations`: it is 3, and may be 2"), "{message}");
}

#[test]
fn an_operation_ends_with_one_word() {
    let begun = || {
        let mut conversation = Conversation::new("a".into(), &few(2));
        conversation.hear(&init().to_string()).unwrap();
        conversation.hear(&subscribe("1").to_string()).unwrap();
        conversation
    };
    let mut good = begun();
    let answer = Answer { data: Some(async_graphql::Value::Null), ..Answer::default() };
    assert_eq!(good.answer("1", &answer), json!({"id": "1", "type": "next", "payload": {"data": null}}));
    assert_eq!(good.end("1"), Some(json!({"id": "1", "type": "complete"})));
    assert_eq!(good.end("1"), None);
    let mut bad = begun();
    let answer = Answer::from(async_graphql::ServerError::new("no", None));
    assert_eq!(bad.answer("1", &answer), json!({"id": "1", "type": "error", "payload": [{"message": "no"}]}));
    assert_eq!(bad.end("1"), None, "an error is the end");
}

#[test]
fn a_reason_fits_into_its_frame() {
    let long = Close::invalid("ü".repeat(200));
    assert!(long.reason.len() <= 123 && long.reason.ends_with('ü'), "{long:?}");
}

proptest! {
    #[test]
    fn nothing_that_is_said_breaks_a_conversation(texts in prop::collection::vec(message(), 0..12)) {
        let mut conversation = Conversation::new("a".into(), &few(2));
        for text in texts {
            match conversation.hear(&text) {
                Err(close) => {
                    prop_assert!(matches!(close.code, 4400 | 4401 | 4409 | 4429));
                    prop_assert!(close.reason.len() <= 123);
                    return Ok(());
                }
                Ok(Reply::Start { .. }) => prop_assert!(conversation.has_begun()),
                Ok(_) => {}
            }
            prop_assert!(conversation.operations.len() <= 2);
        }
    }
}

fn message() -> impl Strategy<Value = String> {
    let id = prop::sample::select(vec!["", "1", "2", "3"]);
    prop_oneof![
        Just(init().to_string()),
        id.clone().prop_map(|id| subscribe(id).to_string()),
        id.prop_map(|id| json!({"type": "complete", "id": id}).to_string()),
        Just(json!({"type": "ping"}).to_string()),
        any::<String>(),
        any::<String>().prop_map(|kind| json!({"type": kind}).to_string()),
    ]
}

//! graphql-transport-ws: every close code of its protocol, operations, limits, and clients that do not read.

use std::io::ErrorKind;
use std::time::Duration;

use ochre::options::{GatewayOptions, Limits};
use ochre_tests::{Said, Socket, World};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

const ONE: &str = "subscription($name: String!) { actionChanged(name: $name) { name status { phase } } }";

fn init() -> Value {
    json!({"type": "connection_init"})
}

/// Says all of this on a new connection; the server closes it with a code and a reason.
async fn closes(world: &World, socket: &mut Socket, messages: &[Value], code: u16, reason: &str) {
    for message in messages {
        socket.say(message.clone()).await;
    }
    let (found, why) = world.within(socket.end()).await.closed();
    assert_eq!(found, code, "{messages:?}: {why}");
    assert!(why.starts_with(reason), "{messages:?}: {why}");
}

async fn hear(world: &World, socket: &mut Socket) -> Value {
    world.within(socket.hear()).await.message()
}

#[tokio::test]
async fn every_misstep_closes_with_the_code_of_the_protocol() {
    let world = World::empty().await;
    let options = GatewayOptions { init_timeout: Duration::from_millis(50), ..GatewayOptions::default() };
    let (engine, hasty) = (world.engine().await, world.engine_told(options).await);
    let subscribe =
        json!({"type": "subscribe", "id": "1", "payload": {"query": ONE, "variables": {"name": "a"}}});
    for (messages, code, reason) in [
        (vec![json!([])], 4400, "Invalid message: "),
        (vec![init(), json!({"type": "no such"})], 4400, "Invalid message: unknown variant `no such`"),
        (
            vec![init(), json!({"type": "subscribe", "id": "1", "payload": {"query": 1}})],
            4400,
            "Invalid message: ",
        ),
        (vec![subscribe.clone()], 4401, "Unauthorized"),
        (
            vec![json!({"type": "connection_init", "payload": {"NAMESPACE": "No Such"}})],
            4403,
            "Forbidden: NAMESPACE",
        ),
        (vec![init(), subscribe.clone(), subscribe.clone()], 4409, "Subscriber for 1 already exists"),
        (vec![init(), init()], 4429, "Too many initialisation requests"),
    ] {
        closes(&world, &mut engine.raw_socket(&[PROTOCOL]).await, &messages, code, reason).await;
    }
    let mut quiet = hasty.raw_socket(&[PROTOCOL]).await;
    closes(&world, &mut quiet, &[], 4408, "Connection initialisation timeout").await;
    let mut speechless = engine.raw_socket(&[]).await;
    closes(&world, &mut speechless, &[init()], 4406, "Subprotocol not acceptable").await;
    let foreign = [PROTOCOL, ("origin", "https://evil.example.com")];
    closes(
        &world,
        &mut engine.raw_socket(&foreign).await,
        &[init()],
        4403,
        "Forbidden: pages of this origin",
    )
    .await;
    let mut binary = engine.socket().await;
    binary.send(Message::binary(init().to_string())).await;
    closes(&world, &mut binary, &[], 4400, "Invalid message: it is binary").await;
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn pages_are_heard_when_they_are_the_server_s_own_or_trusted() {
    let world = World::empty().await;
    let origin = "https://backups.example.com";
    let options = GatewayOptions { trusted_origins: vec![origin.to_owned()], ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let own = engine.url.clone();
    for page in [origin, own.as_str()] {
        let mut socket = engine.raw_socket(&[PROTOCOL, ("origin", page)]).await;
        socket.say(init()).await;
        assert_eq!(hear(&world, &mut socket).await["type"], "connection_ack", "{page}");
    }
}

#[tokio::test]
async fn operations_of_every_kind_run_beside_each_other() {
    let world = World::start().await;
    let engine = world.engine().await;
    let mut socket = engine.socket().await;
    socket.subscribe("watch", ONE, json!({"name": "mongo"})).await;
    let first = hear(&world, &mut socket).await;
    assert_eq!(first, json!({"id": "watch", "type": "next", "payload": {"data": {"actionChanged": null}}}));
    let create = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let input = json!({
        "name": "mongo", "run": true, "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": {"action": "backup", "name": "mongo", "selector": APPLICATION}},
    });
    socket.subscribe("create", create, json!({"in": input})).await;
    let (mut created, mut phases) = (Vec::new(), Vec::<String>::new());
    while phases.last().is_none_or(|phase| phase != "SUCCEEDED") || created.len() < 2 {
        let said = hear(&world, &mut socket).await;
        if said["id"] == "create" {
            created.push(said);
        } else {
            phases.push(
                said["payload"]["data"]["actionChanged"]["status"]["phase"].as_str().unwrap().to_owned(),
            );
        }
    }
    assert_eq!(
        created[0],
        json!({"id": "create", "type": "next", "payload": {"data": {"createAction": {"name": "mongo"}}}})
    );
    assert_eq!(created[1], json!({"id": "create", "type": "complete"}));
    socket.say(json!({"type": "complete", "id": "watch"})).await;
    socket.subscribe("watch", "{ action(name: \"mongo\") { name } }", Value::Null).await;
    // What the Action still changed was on its way before the server heard that nobody listens.
    let mut answer = hear(&world, &mut socket).await;
    while answer["payload"]["data"]["actionChanged"]["status"]["phase"] == "SUCCEEDED" {
        answer = hear(&world, &mut socket).await;
    }
    assert_eq!(answer["payload"]["data"], json!({"action": {"name": "mongo"}}));
    assert_eq!(hear(&world, &mut socket).await, json!({"id": "watch", "type": "complete"}));
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ colour }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { colour }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        socket.subscribe("wrong", query, Value::Null).await;
        let said = hear(&world, &mut socket).await;
        assert_eq!((&said["type"], &said["id"]), (&json!("error"), &json!("wrong")), "{said}");
        assert_eq!(said["payload"][0]["extensions"]["code"], code, "{said}");
    }
    socket.say(json!({"type": "ping", "payload": {"a": 1}})).await;
    assert_eq!(
        hear(&world, &mut socket).await,
        json!({"type": "pong", "payload": {"a": 1}}),
        "and nothing else came"
    );
}

#[tokio::test]
async fn a_client_names_its_namespace_as_it_begins() {
    let world = World::start().await;
    let engine = world.engine().await;
    let create = "mutation { createAction(in: {name: \"here\", actionRef: {path: \"cap.interface.data.backup\"}, input: {parameters: {action: \"backup\", name: \"a\"}}}) { name } }";
    engine.graphql_in("chat", create, json!({})).await.data();
    for (headers, payload, found) in [
        (vec![PROTOCOL], json!({}), json!([])),
        (vec![PROTOCOL], json!({"namespace": "chat"}), json!([{"name": "here"}])),
        (vec![PROTOCOL, ("namespace", "chat")], json!({}), json!([{"name": "here"}])),
        (vec![PROTOCOL, ("namespace", "chat")], json!({"NAMESPACE": "default"}), json!([])),
    ] {
        let mut socket = engine.raw_socket(&headers).await;
        socket.say(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(hear(&world, &mut socket).await["type"], "connection_ack");
        socket.subscribe("1", "{ actions { name } }", Value::Null).await;
        assert_eq!(
            hear(&world, &mut socket).await["payload"]["data"]["actions"],
            found,
            "{headers:?} {payload}"
        );
    }
}

#[tokio::test]
async fn a_connection_holds_no_more_than_it_may() {
    let world = World::empty().await;
    let limits = Limits { operations: 2, body: 10_000, ..Limits::default() };
    let engine = world.engine_told(GatewayOptions { limits, ..GatewayOptions::default() }).await;
    let mut socket = engine.socket().await;
    for id in ["1", "2", "3"] {
        socket.subscribe(id, ONE, json!({"name": "a"})).await;
        let said = hear(&world, &mut socket).await;
        assert_eq!(said["id"], id);
        assert_eq!(said["type"], if id == "3" { "error" } else { "next" }, "{said}");
    }
    socket.say(json!({"type": "complete", "id": "1"})).await;
    socket.subscribe("3", ONE, json!({"name": "a"})).await;
    assert_eq!(hear(&world, &mut socket).await["type"], "next", "there is room again");
    socket.subscribe("4", &format!("{{ {} }}", "x".repeat(20_000)), Value::Null).await;
    closes(&world, &mut socket, &[], 1009, "a message is larger than 10000 bytes").await;
}

#[tokio::test]
async fn broken_frames_close_a_connection_and_harm_no_other() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let mut other = engine.socket().await;
    // A final text frame, masked with zeroes, of one byte that is no UTF-8.
    let mut socket = engine.socket().await;
    socket.stream().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.unwrap();
    closes(&world, &mut socket, &[], 1007, "a text is not UTF-8").await;
    for frame in [&[0x81, 0x01, b'{'][..], &[0xff; 64], &[0x83, 0x80, 0, 0, 0, 0]] {
        let mut socket = engine.socket().await;
        socket.stream().write_all(frame).await.unwrap();
        let end = world.within(socket.hear()).await;
        assert!(!matches!(end, Said::Message(_)), "{frame:?}: {end:?}");
    }
    drop(engine.socket().await);
    other.subscribe("1", "{ actions { name } }", Value::Null).await;
    assert_eq!(hear(&world, &mut other).await["type"], "next");
}

#[tokio::test]
async fn who_does_not_answer_pings_or_does_not_read_is_let_go() {
    let world = World::empty().await;
    let quick = Duration::from_millis(50);
    let options = GatewayOptions { keep_alive: quick, write_timeout: quick, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let mut alive = engine.socket().await;
    for _ in 0..4 {
        assert!(world.within(alive.is_pinged()).await, "who answers stays");
    }
    // It asks for more than its buffer takes and reads nothing, so that it is not even pinged.
    let mut dead = engine.narrow_socket().await;
    for id in 0..2 {
        dead.subscribe(
            &id.to_string(),
            "{ __schema { types { name fields { name description } } } }",
            Value::Null,
        )
        .await;
    }
    // Closing is seen by writing on: what comes after it is answered by a reset.
    let gone = async {
        loop {
            dead.stream().writable().await.unwrap();
            match dead.stream().try_write(&[0x89, 0x80, 0, 0, 0, 0]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    world.within(gone).await;
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let mut socket = engine.socket().await;
    socket.subscribe("1", ONE, json!({"name": "a"})).await;
    hear(&world, &mut socket).await;
    let stopped = async { (engine.drain().await, socket.hear().await).1 };
    let said = world.within(stopped).await;
    assert_eq!(
        said,
        Said::Close(1001, "the server stops; connect again".to_owned()),
        "not that all was said"
    );
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let request = reqwest::Client::new().get(format!("{}/graphql", engine.url));
    let answer = request.header("connection", "upgrade").header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{body}");
}

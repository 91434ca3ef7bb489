//! What is kept in memory of answers until their clients have read them, over all connections.

use std::net::SocketAddr;
use std::time::Duration;

use ochre::Authentication;
use ochre::options::{GatewayOptions, Limits};
use ochre_tests::{Engine, Person, Socket, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");
const EVENTS: &str = "accept: text/event-stream\r\n";

/// Lets four callers have one large answer each.
fn told() -> GatewayOptions {
    let limits = Limits { cost: 20_000, answers: 4_600_000, ..Limits::default() };
    GatewayOptions {
        authentication: vec![Authentication::Token],
        write_timeout: Duration::from_secs(600),
        limits,
        ..GatewayOptions::default()
    }
}

/// Asks for about a million bytes.
fn large() -> String {
    let fields: Vec<String> =
        (0..17).map(|number| format!("a{number}: actions {{ input {{ parameters }} }}")).collect();
    format!("{{ {} }}", fields.join(" "))
}

/// Makes an Action with large parameters, and people who may read it.
async fn start<const N: usize>(names: [&str; N]) -> (World, Engine, Vec<Person>) {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    let mut people = Vec::new();
    for name in names {
        let person = world.person(name).await;
        world.grant(&person, Some("default"), "actions", &["list", "get"]).await;
        people.push(person);
    }
    let namespaces: Vec<String> = (0..1000).map(|number| format!("{number:057}")).collect();
    let large = json!({"action": "backup", "name": "large", "includeNamespaces": namespaces});
    world.apply_action("large", large).await;
    let small = "{ actions { name } }";
    let is_there = async {
        loop {
            let data = engine.graphql_by(Some(&people[0]), small, json!({})).await.data();
            if data["actions"].as_array().is_some_and(|actions| actions.len() == 1) {
                return;
            }
        }
    };
    world.within(Box::pin(is_there)).await;
    (world, engine, people)
}

/// A client that reads no more of its answer than it takes to know that it is there.
struct Unread {
    stream: TcpStream,
    heard: String,
}

impl Unread {
    async fn of(engine: &Engine, person: &Person, head: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address: SocketAddr = engine.url.trim_start_matches("http://").parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let body = json!({"query": large()}).to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nnamespace: default\r\nauthorization: {}\r\ncontent-length: {}\r\n{head}\r\n",
            person.authorization,
            body.len(),
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 1500];
        let read = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(read);
        Self { stream, heard: String::from_utf8(bytes).unwrap() }
    }

    /// Reads all of it.
    async fn read(mut self) -> String {
        while !self.heard.ends_with("}\n\n")
            && !self.heard.ends_with("}}")
            && !self.heard.contains("complete")
        {
            let mut more = [0; 8192];
            let read = self.stream.read(&mut more).await.unwrap();
            assert_ne!(read, 0, "the connection ended: {:.200}", self.heard);
            self.heard.push_str(std::str::from_utf8(&more[..read]).unwrap());
        }
        self.heard
    }
}

fn refused(heard: &str, status: &str, limit: &str) {
    assert!(heard.starts_with(status), "{heard:.300}");
    assert!(heard.contains("retry-after: 1") && heard.contains("LIMIT_EXCEEDED"), "{heard:.600}");
    assert!(heard.contains(limit), "{heard:.600}");
}

#[tokio::test]
async fn answers_that_are_not_read_share_one_room_of_which_one_caller_has_a_part() {
    let (world, engine, people) = start(["a", "b", "c", "d", "e"]).await;
    let mut unread = Vec::new();
    for person in &people[..4] {
        let first = world.within(Unread::of(&engine, person, "")).await;
        assert!(
            first.heard.starts_with("HTTP/1.1 200") && first.heard.contains("content-length: 1"),
            "{:.300}",
            first.heard
        );
        let second = world.within(Unread::of(&engine, person, "")).await;
        refused(&second.heard, "HTTP/1.1 429", "`answers`");
        unread.push(first);
    }
    let late = world.within(Unread::of(&engine, &people[4], "")).await;
    refused(&late.heard, "HTTP/1.1 503", "`answers`, 4600000");
    // What is small has room: others go on.
    engine.graphql_by(Some(&people[4]), "{ whoAmI { username } }", json!({})).await.data();

    // Room is free again once one has been read, and once a connection has ended.
    let read = world.within(Box::pin(unread.remove(0).read())).await;
    assert!(read.len() > 900_000, "{}", read.len());
    drop(unread.remove(0));
    for person in [&people[4], &people[1]] {
        let again =
            async { while !Unread::of(&engine, person, "").await.heard.starts_with("HTTP/1.1 200") {} };
        world.within(Box::pin(again)).await;
    }
}

#[tokio::test]
async fn event_streams_and_websockets_have_the_same_room() {
    let (world, engine, people) = start(["a"]).await;
    let [alice] = people.as_slice() else { unreachable!("there is one") };
    let unread = world.within(Unread::of(&engine, alice, EVENTS)).await;
    assert!(unread.heard.starts_with("HTTP/1.1 200") && unread.heard.contains("text/event-stream"));
    let second = world.within(Unread::of(&engine, alice, EVENTS)).await;
    assert!(
        second.heard.contains("LIMIT_EXCEEDED") && second.heard.contains("`answers`"),
        "{}",
        second.heard
    );
    let mut socket = engine.raw_socket(&[PROTOCOL, ("authorization", &alice.authorization)]).await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "connection_ack"}));
    let refused = world.within(Box::pin(answered(&mut socket, "1"))).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{refused:.300}");
    drop(unread);
    let again = async {
        for number in 2.. {
            if answered(&mut socket, &number.to_string()).await["data"]["a0"].is_array() {
                return;
            }
        }
    };
    world.within(Box::pin(again)).await;
}

/// Asks on a WebSocket, and hears all of the answer.
async fn answered(socket: &mut Socket, id: &str) -> Value {
    socket.subscribe(id, &large(), Value::Null).await;
    let mut said = socket.hear().await.message();
    assert_eq!(said["type"], "next", "{said:.300}");
    assert_eq!(socket.hear().await.message()["type"], "complete");
    said["payload"].take()
}

#[tokio::test]
async fn service_accounts_of_one_namespace_share_what_one_caller_may_have() {
    let world = World::empty().await;
    let limits = Limits { subscriptions: 1, ..Limits::default() };
    let options =
        GatewayOptions { authentication: vec![Authentication::Token], limits, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let mut open = Vec::new();
    for (namespace, name, is_let_in) in
        [("team", "one", true), ("team", "two", false), ("team2", "one", true), ("team", "three", false)]
    {
        let person = world.person_in(namespace, name).await;
        world.grant(&person, Some("default"), "actions", &["watch"]).await;
        let mut socket = engine.raw_socket(&[PROTOCOL, ("authorization", &person.authorization)]).await;
        socket.say(json!({"type": "connection_init"})).await;
        assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "connection_ack"}));
        socket.subscribe("1", "subscription { actionChanged(name: \"a\") { name } }", Value::Null).await;
        let said = world.within(socket.hear()).await.message();
        let payload =
            if is_let_in { json!({"data": {"actionChanged": null}}) } else { said["payload"].clone() };
        assert_eq!(said["payload"], payload, "{namespace}/{name}");
        assert_eq!(said["type"] == "next", is_let_in, "{namespace}/{name}: {said}");
        open.push(socket);
    }
}

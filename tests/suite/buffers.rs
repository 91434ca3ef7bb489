//! What is kept in memory of what clients send, before they are known and afterwards, over all connections.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use ochre::Authentication;
use ochre::options::{Connections, GatewayOptions, Limits};
use ochre_tests::{Engine, Person, Said, Socket, World};
use reqwest::{Body, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");
const BODY: usize = 100_000;
const QUERY: &str = "{ whoAmI { username } }";

/// Lets four callers send one body of the largest each.
fn told() -> GatewayOptions {
    let limits = Limits { body: BODY, buffer: 4 * BODY, ..Limits::default() };
    GatewayOptions { authentication: vec![Authentication::Token], limits, ..GatewayOptions::default() }
}

async fn people<const N: usize>(world: &World, names: [&str; N]) -> Vec<Person> {
    let mut people = Vec::new();
    for name in names {
        people.push(world.person(name).await);
    }
    people
}

/// A body of the largest size, and where it is cut.
fn body() -> (String, usize) {
    let body = json!({"query": QUERY}).to_string();
    (format!("{body}{}", " ".repeat(BODY - body.len())), BODY - 10)
}

/// A client that has sent all but the end of its body.
struct Slow {
    stream: TcpStream,
    heard: String,
}

impl Slow {
    async fn begin(engine: &Engine, head: &str) -> Self {
        let mut stream = TcpStream::connect(engine.url.trim_start_matches("http://")).await.unwrap();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n{head}\r\n"
        );
        let (body, cut) = body();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.as_bytes()[..cut]).await.unwrap();
        Self { stream, heard: String::new() }
    }

    async fn of(engine: &Engine, person: &Person) -> Self {
        Self::begin(engine, &format!("authorization: {}\r\n", person.authorization)).await
    }

    /// Waits for the answer; what was heard stays when it is not waited for to the end.
    async fn answer(&mut self) -> (String, Value) {
        loop {
            if let Some((head, body)) = self.heard.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                return (head.to_owned(), body);
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "no answer but {:?}", self.heard);
            self.heard.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    /// Sends the rest; it is answered as if it had come at once.
    async fn end(mut self) {
        let (body, cut) = body();
        self.stream.write_all(&body.as_bytes()[cut..]).await.unwrap();
        let (head, body) = self.answer().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(body["data"]["whoAmI"]["username"].is_string(), "{body}");
    }
}

/// Waits until one of these is answered; yields that answer, and the others.
async fn refused(world: &World, mut slow: Vec<Slow>) -> (String, Value, Vec<Slow>) {
    let mut answers: FuturesUnordered<_> = slow
        .iter_mut()
        .enumerate()
        .map(|(number, slow)| async move { (number, slow.answer().await) })
        .collect();
    let (number, (head, body)) = world.within(answers.next()).await.unwrap();
    drop(answers);
    slow.remove(number);
    (head, body, slow)
}

#[tokio::test]
async fn a_body_is_not_read_before_it_is_known_who_sends_it() {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    for (credentials, capact) in [("", false), ("authorization: Bearer wrong\r\n", false), ("", true)] {
        let engine = if capact {
            world.engine_told(GatewayOptions { capact_unauthorized: true, ..told() }).await
        } else {
            world.engine_told(told()).await
        };
        for accept in ["", "accept: text/event-stream\r\n"] {
            let mut many = Vec::new();
            for _ in 0..20 {
                many.push(Slow::begin(&engine, &format!("{credentials}{accept}")).await);
            }
            for slow in &mut many {
                let (head, body) = world.within(slow.answer()).await;
                let status = if capact { "HTTP/1.1 200" } else { "HTTP/1.1 401" };
                assert!(head.starts_with(status), "{credentials}{accept}: {head}");
                assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{body}");
            }
        }
    }
    // What follows is read, so that it is no hindrance to hear the answer and to go on.
    let mut slow = Slow::begin(&engine, "").await;
    world.within(slow.answer()).await;
    let (body, cut) = body();
    slow.stream.write_all(&body.as_bytes()[cut..]).await.unwrap();
    slow.heard.clear();
    slow.stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    world.within(slow.stream.read_to_string(&mut slow.heard)).await.unwrap();
    assert!(slow.heard.starts_with("HTTP/1.1 200"), "{}", slow.heard);
}

#[tokio::test]
async fn requests_are_counted_before_their_bodies_are_read() {
    let world = World::empty().await;
    let mut options = told();
    options.limits.requests = std::num::NonZeroU32::MIN;
    let engine = world.engine_told(options).await;
    let alice = world.person("alice").await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(Slow::of(&engine, &alice).await);
    }
    let (head, body, _) = refused(&world, slow).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("`requests`, 1"), "{body}");
}

#[tokio::test]
async fn bodies_share_one_room_of_which_one_caller_has_a_part() {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    let people = people(&world, ["a", "b", "c", "d", "e"]).await;
    let mut slow = Vec::new();
    for person in [&people[0], &people[0]] {
        slow.push(Slow::of(&engine, person).await);
    }
    let (head, body, mut slow) = refused(&world, slow).await;
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(body["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{body}");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("`buffer`"), "{body}");
    for person in &people[1..] {
        slow.push(Slow::of(&engine, person).await);
    }
    let (head, body, slow) = refused(&world, slow).await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(body["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{body}");
    assert_eq!(body["errors"][0]["extensions"]["retryAfter"], 1, "{body}");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("`buffer`, 400000"), "{body}");
    for slow in slow {
        world.within(slow.end()).await;
    }
    for person in &people {
        world.within(Slow::of(&engine, person).await.end()).await;
    }
}

#[tokio::test]
async fn a_body_that_stops_keeps_its_room_for_as_long_as_it_may_take() {
    let world = World::empty().await;
    let hasty = Connections { read_timeout: Duration::from_millis(100), ..Connections::default() };
    let engine = world.engine_told(GatewayOptions { connections: hasty, ..told() }).await;
    let alice = world.person("alice").await;
    for _ in 0..3 {
        let (head, _) = world.within(Slow::of(&engine, &alice).await.answer()).await;
        assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    }
    world.within(Slow::of(&engine, &alice).await.end()).await;
}

#[tokio::test]
async fn streams_of_http2_share_the_same_room() {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    let people = people(&world, ["a", "b", "c", "d", "e"]).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let go = CancellationToken::new();
    let ask = |authorization: &str| {
        let ((body, cut), go) = (body(), go.clone());
        let begun = stream::iter([Ok::<_, std::io::Error>(body[..cut].to_owned())]);
        let rest = stream::once(async move {
            go.cancelled().await;
            Ok(body[cut..].to_owned())
        });
        let request = client.post(format!("{}/graphql", engine.url)).header("authorization", authorization);
        let request = request.header("content-type", "application/json");
        request.body(Body::wrap_stream(begun.chain(rest))).send()
    };
    for _ in 0..20 {
        assert_eq!(world.within(ask("")).await.unwrap().status(), 401);
    }
    let mut asked = FuturesUnordered::new();
    for person in [&people[0], &people[0]] {
        asked.push(ask(&person.authorization));
    }
    assert_eq!(world.within(asked.next()).await.unwrap().unwrap().status(), 429);
    for person in &people[1..] {
        asked.push(ask(&person.authorization));
    }
    assert_eq!(world.within(asked.next()).await.unwrap().unwrap().status(), 503);
    go.cancel();
    for _ in 0..4 {
        assert_eq!(world.within(asked.next()).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_connection_of_http2_has_few_streams_and_sends_little_ahead() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let mut stream = TcpStream::connect(engine.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    world.within(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3], 4, "the first frame has the settings");
    let mut settings = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    world.within(stream.read_exact(&mut settings)).await.unwrap();
    let setting = |number: u8| {
        let found = settings.chunks(6).find(|setting| setting[..2] == [0, number]);
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(setting(3), Some(100), "streams");
    assert_eq!(setting(4).unwrap_or(65_535), 65_535, "bytes of a stream");
    // The window of the connection has this size unless more is granted.
    let grants = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        head[3]
    };
    assert_eq!(
        world.within(grants).await,
        4,
        "the client's settings are acknowledged, and nothing is granted before"
    );
}

/// A frame of blanks, masked with zeroes.
fn frame(opcode: u8, bytes: usize) -> Vec<u8> {
    let head = [&[opcode, 0x80 | 127][..], &(bytes as u64).to_be_bytes(), &[0; 4]].concat();
    [head, vec![b' '; bytes]].concat()
}

async fn connected(world: &World, engine: &Engine, person: &Person) -> Socket {
    let mut socket = engine.raw_socket(&[PROTOCOL, ("authorization", &person.authorization)]).await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "connection_ack"}));
    socket
}

#[tokio::test]
async fn a_message_before_its_sender_is_known_is_as_small_as_a_head() {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    let alice = world.person("alice").await;
    for begun in [frame(0x81, 40_000), frame(0x01, 40_000), frame(0x81, 90_000)[..40_000].to_vec()] {
        let mut socket = engine.raw_socket(&[PROTOCOL]).await;
        socket.stream().write_all(&begun).await.unwrap();
        let (code, why) = world.within(socket.end()).await.closed();
        assert_eq!((code, why.contains("32768 bytes (--limit-headers)")), (1009, true), "{why}");
    }
    let mut socket = engine.raw_socket(&[PROTOCOL]).await;
    let payload = json!({"authorization": alice.authorization, "more": "x".repeat(30_000)});
    socket.say(json!({"type": "connection_init", "payload": payload})).await;
    assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "connection_ack"}));
    let query = format!("{QUERY}{}", " ".repeat(90_000));
    socket.subscribe("1", &query, Value::Null).await;
    let said = world.within(socket.hear()).await.message();
    assert_eq!(said["type"], "error", "the buffer and the operation are more than one caller has: {said}");
    socket.subscribe("2", QUERY, Value::Null).await;
    assert_eq!(world.within(socket.hear()).await.message()["type"], "next", "what is small has room");
}

#[tokio::test]
async fn messages_share_the_same_room_while_they_come() {
    let world = World::empty().await;
    let engine = world.engine_told(told()).await;
    let people = people(&world, ["a", "b"]).await;
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    for begun in [
        frame(0x81, 90_000)[..80_000].to_vec(),
        // Pings between the parts of a message free nothing.
        [frame(0x01, 40_000), ping.to_vec(), frame(0, 40_000), ping.to_vec()].concat(),
    ] {
        let (mut first, mut second) =
            (connected(&world, &engine, &people[0]).await, connected(&world, &engine, &people[0]).await);
        for socket in [&mut first, &mut second] {
            socket.stream().write_all(&begun).await.unwrap();
        }
        let end = world.within(async {
            tokio::select! { end = first.end() => end, end = second.end() => end }
        });
        let Said::Close(1013, why) = end.await else { panic!("it is not refused") };
        assert!(why.contains("`buffer`"), "{why}");
        let mut other = connected(&world, &engine, &people[1]).await;
        other.subscribe("1", QUERY, Value::Null).await;
        assert_eq!(world.within(other.hear()).await.message()["type"], "next", "others go on");
    }
    // Nothing is kept of connections that are gone, and pings do not add up.
    let mut socket = connected(&world, &engine, &people[1]).await;
    for _ in 0..30_000 {
        socket.stream().write_all(&ping).await.unwrap();
    }
    socket.subscribe("1", QUERY, Value::Null).await;
    assert_eq!(world.within(socket.hear()).await.message()["type"], "next");
}

#[tokio::test]
async fn connections_without_a_known_caller_are_few_and_end() {
    let world = World::empty().await;
    let connections =
        Connections { unidentified: 1, read_timeout: Duration::from_millis(500), ..Connections::default() };
    let engine = world.engine_told(GatewayOptions { connections, ..told() }).await;
    let alice = world.person("alice").await;
    let bearer = alice.authorization.clone();
    // Those who say nothing keep no one out: the oldest of them makes room.
    let address = engine.url.trim_start_matches("http://");
    let mut unknown = engine.raw_socket(&[PROTOCOL]).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(matches!(world.within(unknown.hear()).await, Said::Gone), "a newcomer takes its place");
    world.within(engine.graphql_by(Some(&alice), QUERY, json!({}))).await.data();
    assert_eq!(world.within(silent.read(&mut [0])).await.unwrap_or_default(), 0);
    let mut socket = engine.raw_socket(&[PROTOCOL, ("authorization", &bearer)]).await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "connection_ack"}));
    // One that asks and asks, and never says who it is, gives its place back.
    let mut stranger = TcpStream::connect(engine.url.trim_start_matches("http://")).await.unwrap();
    let asks = async {
        let mut answer = [0; 4096];
        loop {
            let sent = stranger.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            if sent.is_err() || !stranger.read(&mut answer).await.is_ok_and(|read| read > 0) {
                return;
            }
        }
    };
    world.within(asks).await;
    socket.subscribe("1", QUERY, Value::Null).await;
    assert_eq!(world.within(socket.hear()).await.message()["type"], "next", "who is known stays");
}

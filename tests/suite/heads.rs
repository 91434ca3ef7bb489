//! What a head says twice, or in two ways: nothing of it is taken in silence, whatever the transport.

use std::time::Duration;

use ochre::options::{Connections, GatewayOptions};
use ochre_tests::{Engine, World};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const QUERY: &str = "{ actions { name } }";
const URL_QUERY: &str = "query=%7Bactions%7Bname%7D%7D";

/// How a request comes over HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Post,
    Get,
    Events,
    Socket,
}

const WAYS: [Way; 4] = [Way::Post, Way::Get, Way::Events, Way::Socket];

impl Way {
    /// Lists the headers of a good request, each of which is there once.
    fn headers(self, engine: &Engine) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("host", authority(engine).to_owned()),
            ("origin", engine.url.clone()),
            ("authorization", "Bearer any".to_owned()),
            ("namespace", "default".to_owned()),
            ("idempotency-key", "any".to_owned()),
            ("sec-fetch-mode", "cors".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        match self {
            Self::Post | Self::Get => headers.push(("accept", "application/json".to_owned())),
            Self::Events => headers.push(("accept", "text/event-stream".to_owned())),
            Self::Socket => headers.extend(
                [
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                    ("sec-websocket-protocol", "graphql-transport-ws"),
                ]
                .map(|(name, value)| (name, value.to_owned())),
            ),
        }
        headers
    }

    /// Names the method, what is asked for, and the body.
    fn request(self) -> (Method, String, String) {
        match self {
            Self::Post | Self::Events => {
                (Method::POST, "/graphql".to_owned(), json!({"query": QUERY}).to_string())
            }
            Self::Get => (Method::GET, format!("/graphql?{URL_QUERY}"), String::new()),
            Self::Socket => (Method::GET, "/graphql".to_owned(), String::new()),
        }
    }

    /// Sends it over HTTP/1, to a target, and reads the answer's status and body as far as they come at once.
    async fn send(self, engine: &Engine, target: Option<&str>, headers: &[(&str, String)]) -> (u16, Value) {
        let (method, path, body) = self.request();
        let mut lines = vec![format!("{method} {}{path} HTTP/1.1", target.unwrap_or_default())];
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if self != Self::Socket {
            lines.push("connection: close".to_owned());
            lines.push(format!("content-length: {}", body.len()));
        }
        let mut stream = TcpStream::connect(authority(engine)).await.unwrap();
        stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) && stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// The status of an answer that is good.
    fn good(self) -> u16 {
        if self == Self::Socket { 101 } else { 200 }
    }
}

/// Tells whether an answer has ended: a WebSocket that begins says no more, and others may leave the connection open.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    head.starts_with("HTTP/1.1 101") || length.is_some_and(|length: usize| body.len() >= length)
}

fn authority(engine: &Engine) -> &str {
    engine.url.trim_start_matches("http://")
}

fn is_refused(answer: &(u16, Value), says: &str, what: &str) {
    let error = &answer.1["errors"][0];
    assert_eq!(answer.0, 400, "{what}: {answer:?}");
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{what}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(says), "{what}: `{says}` is not said in: {message}");
}

/// The headers that decide nothing by their first value: lists, and what is said of the connection.
const LISTS: [&str; 4] = ["accept", "connection", "upgrade", "sec-websocket-protocol"];

#[tokio::test]
async fn a_header_that_decides_something_is_there_once() {
    let world = World::empty().await;
    let engine = world.engine().await;
    for way in WAYS {
        let headers = way.headers(&engine);
        assert_eq!(way.send(&engine, None, &headers).await.0, way.good(), "{way:?}");
        for (name, value) in headers.iter().filter(|(name, _)| !LISTS.contains(name)) {
            for second in [value.as_str(), "other", ""] {
                let twice = [headers.clone(), vec![(*name, second.to_owned())]].concat();
                let what = format!("{way:?} {name}: {second:?}");
                is_refused(
                    &way.send(&engine, None, &twice).await,
                    &format!("the header {name} is given"),
                    &what,
                );
            }
        }
    }
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    for way in [Way::Post, Way::Get, Way::Events] {
        let (method, path, body) = way.request();
        let headers = way.headers(&engine);
        let send = async |extra: Option<(&str, &str)>| {
            let mut request =
                client.request(method.clone(), format!("{}{path}", engine.url)).body(body.clone());
            for (name, value) in headers.iter().map(|(name, value)| (*name, value.as_str())).chain(extra) {
                request = request.header(name, value);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.version(), reqwest::Version::HTTP_2);
            let status = answer.status().as_u16();
            (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
        };
        assert_eq!(send(None).await.0, 200, "{way:?}");
        for (name, value) in headers.iter().filter(|(name, _)| !LISTS.contains(name)) {
            let answer = send(Some((name, value))).await;
            is_refused(&answer, &format!("the header {name} is given"), &format!("HTTP/2 {way:?} {name}"));
        }
    }
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn a_request_names_one_server() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let own = authority(&engine).to_owned();
    let port = own.rsplit_once(':').unwrap().1;
    for way in WAYS {
        let rest: Vec<_> = way.headers(&engine).into_iter().filter(|(name, _)| *name != "host").collect();
        for (target, host, is_good) in [
            (None, own.clone(), true),
            (Some(own.clone()), own.clone(), true),
            (Some(own.clone()), format!("localhost:{port}"), false),
            (Some(format!("localhost:{port}")), own.clone(), false),
            (Some(own.clone()), "127.0.0.1".to_owned(), false),
            (Some(own.clone()), String::new(), false),
            (None, String::new(), false),
            (None, format!("somebody@{own}"), false),
            (None, format!("evil.example@{own}"), false),
            (None, "a b".to_owned(), false),
        ] {
            let headers = [rest.clone(), vec![("host", host.clone())]].concat();
            let target = target.map(|authority| format!("http://{authority}"));
            let answer = way.send(&engine, target.as_deref(), &headers).await;
            let what = format!("{way:?} {target:?} {host}");
            if is_good {
                assert_eq!(answer.0, way.good(), "{what}: {answer:?}");
            } else {
                is_refused(&answer, "for which server this is", &what);
            }
        }
    }
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    for (host, status) in [(own.clone(), 200), (format!("localhost:{port}"), 400), (format!("a@{own}"), 400)]
    {
        let url = format!("{}/graphql?{URL_QUERY}", engine.url);
        let request = client.get(url).header("host", &host).header("x-requested-with", "a test");
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.version(), answer.status().as_u16()),
            (reqwest::Version::HTTP_2, status),
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_page_is_the_server_s_own_by_scheme_host_and_port() {
    let world = World::empty().await;
    // What stands before it speaks TLS, so its pages are https.
    let connections = Connections { insecure_http: true, ..Connections::default() };
    let private = world.engine_told(GatewayOptions { connections, ..GatewayOptions::default() }).await;
    let plain = world.engine().await;
    for (engine, scheme, other) in [(&plain, "http", "https"), (&private, "https", "http")] {
        let own = authority(engine).to_owned();
        for (origin, is_own) in [
            (format!("{scheme}://{own}"), true),
            (format!("{other}://{own}"), false),
            (format!("{scheme}://127.0.0.1"), false),
            (format!("{scheme}://localhost:{}", own.rsplit_once(':').unwrap().1), false),
            ("null".to_owned(), false),
        ] {
            let mut socket = engine
                .raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws"), ("origin", &origin)])
                .await;
            socket.say(json!({"type": "connection_init"})).await;
            let said = world.within(socket.hear()).await;
            assert_eq!(matches!(said, ochre_tests::Said::Message(_)), is_own, "{origin}: {said:?}");
            let get = Client::new().get(format!("{}/graphql?{URL_QUERY}", engine.url));
            let get = get.header("origin", &origin).header("sec-fetch-mode", "cors");
            let status = get.timeout(Duration::from_secs(60)).send().await.unwrap().status();
            assert_eq!(status.is_success(), is_own, "{origin}");
        }
    }
}

#[tokio::test]
async fn what_stands_for_a_header_on_a_web_socket_is_there_once() {
    let world = World::empty().await;
    let engine = world.engine().await;
    for (payload, code, says) in [
        (r#"{"authorization": "a", "Authorization": "b"}"#, 4403, "authorization is given more than once"),
        (r#"{"namespace": "default", "NAMESPACE": "default"}"#, 4403, "namespace is given more than once"),
        (r#"{"authorization": "a", "authorization": "b"}"#, 4400, "`authorization` is given twice"),
        (r#"{"namespace": "a", "\u006eamespace": "b"}"#, 4400, "`namespace` is given twice"),
    ] {
        let mut socket = engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
        let init = format!(r#"{{"type": "connection_init", "payload": {payload}}}"#);
        socket.send(tokio_tungstenite::tungstenite::Message::text(init)).await;
        let (found, why) = world.within(socket.end()).await.closed();
        assert_eq!(found, code, "{payload}: {why}");
        assert!(why.contains(says), "{payload}: {why}");
    }
    // So are the entries of a body.
    let twice = r#"{"query": "{ actions { name } }", "query": "{ __typename }"}"#;
    let request =
        Client::new().post(format!("{}/graphql", engine.url)).header("content-type", "application/json");
    let answer: Value = request.body(twice).send().await.unwrap().json().await.unwrap();
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`query` is given twice"), "{message}");
}

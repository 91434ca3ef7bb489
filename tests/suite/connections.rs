//! Connections: TLS and its renewal, HTTP/2, and clients that hold what others need.

use std::path::PathBuf;
use std::time::Duration;

use ochre::Authentication;
use ochre::options::{Connections, GatewayOptions};
use ochre_tests::{Engine, World};
use reqwest::{Certificate, Client, ClientBuilder, Version};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A certificate and its key, in files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a new pair, and puts it there.
    fn renew(&self) -> Pair {
        let pair =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let pair = Pair { cert: pair.cert.pem(), key: pair.signing_key.serialize_pem() };
        self.put(&pair.cert, &pair.key);
        pair
    }

    fn put(&self, cert: &str, key: &str) {
        std::fs::write(self.path("cert"), cert).unwrap();
        std::fs::write(self.path("key"), key).unwrap();
    }

    fn options(&self) -> GatewayOptions {
        told(Connections {
            tls_cert: Some(self.path("cert")),
            tls_key: Some(self.path("key")),
            ..Connections::default()
        })
    }
}

/// A certificate and its key.
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    /// Makes a client that trusts nothing else, and has no connection yet.
    fn client(&self) -> ClientBuilder {
        let cert = Certificate::from_pem(self.cert.as_bytes()).unwrap();
        Client::builder().tls_certs_only([cert])
    }
}

fn told(connections: Connections) -> GatewayOptions {
    GatewayOptions { connections, ..GatewayOptions::default() }
}

/// Asks something; yields the version of HTTP and the answer.
async fn ask(client: &Client, engine: &Engine) -> reqwest::Result<(Version, Value)> {
    let request =
        client.post(format!("{}/graphql", engine.url)).json(&json!({"query": "{ actions { name } }"}));
    let answer = request.send().await?;
    Ok((answer.version(), answer.json().await?))
}

fn good(version: Version) -> (Version, Value) {
    (version, json!({"data": {"actions": []}}))
}

#[tokio::test]
async fn a_certificate_is_renewed_and_no_connection_is_lost() {
    let world = World::empty().await;
    let files = Files::new();
    let first = files.renew().client().build().unwrap();
    let engine = world.engine_told(files.options()).await;
    assert_eq!(ask(&first, &engine).await.unwrap(), good(Version::HTTP_2));

    let second = files.renew();
    let client = second.client().http1_only().build().unwrap();
    assert_eq!(ask(&client, &engine).await.unwrap(), good(Version::HTTP_11), "the new one holds at once");
    assert_eq!(
        ask(&first, &engine).await.unwrap(),
        good(Version::HTTP_2),
        "the connection from before goes on"
    );

    let third = files.renew();
    ask(&third.client().build().unwrap(), &engine).await.unwrap();
    ask(&second.client().build().unwrap(), &engine).await.unwrap_err();
    for (cert, key) in [
        ("no certificate", &third.key),
        ("", &third.key),
        (&third.cert, &String::new()),
        (&third.cert, &second.key),
    ] {
        files.put(cert, key);
        let client = third.client().build().unwrap();
        assert_eq!(ask(&client, &engine).await.unwrap(), good(Version::HTTP_2), "the good one stays: {cert}");
    }
    std::fs::remove_file(files.path("cert")).unwrap();
    assert_eq!(ask(&third.client().build().unwrap(), &engine).await.unwrap(), good(Version::HTTP_2));
    let fourth = files.renew().client().build().unwrap();
    assert_eq!(ask(&fourth, &engine).await.unwrap(), good(Version::HTTP_2), "until there is a better one");
}

#[tokio::test]
async fn a_pair_that_is_no_good_from_the_first_is_said() {
    let files = Files::new();
    let good = files.renew();
    let other = files.renew();
    for (cert, key, says) in [
        ("", good.key.as_str(), "cert holds no certificate in PEM: there is none"),
        (&good.cert, "", "key holds no private key in PEM: "),
        (&good.cert, &other.key, "the certificate and its key cannot be used: "),
    ] {
        files.put(cert, key);
        let error = World::empty().await.refused_engine(files.options()).await.to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn http2_is_spoken_without_tls_to_who_knows_it() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let (evil, address) = ("evil.example.com", engine.url.trim_start_matches("http://"));
    let client = Client::builder().http2_prior_knowledge().resolve(evil, address.parse().unwrap());
    let client = client.build().unwrap();
    assert_eq!(ask(&client, &engine).await.unwrap(), good(Version::HTTP_2));
    let url = format!("{}/graphql?query=%7Bactions%7Bname%7D%7D", engine.url);
    for (origin, status) in [(engine.url.as_str(), 200), ("http://evil.example.com", 400)] {
        let own = client.get(&url).header("sec-fetch-mode", "cors").header("origin", origin);
        assert_eq!(own.send().await.unwrap().status(), status, "the page of this server: {origin}");
    }
    let stranger = client.get(url.replace("127.0.0.1", evil)).send().await.unwrap();
    assert_eq!(stranger.status(), 421);
}

/// Connects, sends what is given and no more, and reads until the server has had enough.
async fn stalls(engine: &Engine, sent: &[u8]) -> String {
    let address = engine.url.rsplit('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // However it ends.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_sends_in_drops_or_nothing_is_let_go() {
    let world = World::empty().await;
    let hasty = Duration::from_millis(100);
    let plain = world.engine_told(told(Connections { read_timeout: hasty, ..Connections::default() })).await;
    let files = Files::new();
    let client = files.renew().client().build().unwrap();
    let mut options = files.options();
    options.connections.read_timeout = hasty;
    let tls = world.engine_told(options).await;
    let head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let whole = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (engine, sent, says) in [
        (&plain, &b""[..], ""),
        (&plain, b"P", ""),
        (&plain, b"PRI * HTTP/2.0\r\n\r\nSM", ""),
        (&plain, head, ""),
        (&plain, whole, "HTTP/1.1 200"),
        (&plain, &[&whole[..], b"GET /livez"].concat(), "HTTP/1.1 200"),
        (&tls, b"", ""),
        (&tls, b"\x16\x03\x01\x02\x00", ""),
        (&tls, whole, ""),
    ] {
        let answer = world.within(stalls(engine, sent)).await;
        assert!(answer.starts_with(says) && (!says.is_empty() || !answer.contains("200")), "{answer}");
    }
    let slow = [&head[..], b"content-length: 100\r\n\r\n{"].concat();
    let answer = world.within(stalls(&plain, &slow)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("LIMIT_EXCEEDED") && answer.contains("--read-timeout"), "{answer}");
    assert_eq!(ask(&client, &tls).await.unwrap(), good(Version::HTTP_2), "it still works");
    assert_eq!(ask(&Client::new(), &plain).await.unwrap(), good(Version::HTTP_11), "it still works");
}

#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let world = World::empty().await;
    let options = GatewayOptions { write_timeout: Duration::from_millis(100), ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    // Each answer is long, and many fit into no buffer.
    let body = json!({"query": "{ __schema { types { name description fields { name description } } } }"})
        .to_string();
    let head =
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ";
    let request = format!("{head}{}\r\n\r\n{body}", body.len());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = engine.url.trim_start_matches("http://").parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // What comes after the end is answered by a reset.
    let gone = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    world.within(gone).await;
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn heads_are_of_a_bounded_size() {
    let world = World::empty().await;
    let engine = world.engine_told(told(Connections { headers: 8192, ..Connections::default() })).await;
    for client in [Client::builder().http1_only(), Client::builder().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        let get =
            |size: usize| client.get(format!("{}/livez", engine.url)).header("x-large", "x".repeat(size));
        assert_eq!(get(4_000).send().await.unwrap().status(), 200);
        assert_eq!(get(16_000).send().await.unwrap().status(), 431);
    }
}

#[tokio::test]
async fn connections_are_bounded_and_others_wait() {
    let world = World::empty().await;
    let engine = world.engine_told(told(Connections { most: 1, ..Connections::default() })).await;
    let mut socket = engine.socket().await;
    let url = format!("{}/graphql", engine.url);
    let waits = tokio::spawn(async move {
        let request = Client::new().post(url).json(&json!({"query": "{ actions { name } }"}));
        request.send().await.unwrap().status()
    });
    for _ in 0..100 {
        socket.say(json!({"type": "ping"})).await;
        assert_eq!(world.within(socket.hear()).await.message(), json!({"type": "pong"}));
    }
    assert!(!waits.is_finished(), "a WebSocket keeps its place");
    drop(socket);
    assert_eq!(world.within(waits).await.unwrap(), 200);
}

#[tokio::test]
async fn streams_over_tls_end_with_the_engine() {
    let world = World::empty().await;
    let files = Files::new();
    let client = files.renew().client().build().unwrap();
    let engine = world.engine_told(files.options()).await;
    let request = client.post(format!("{}/graphql", engine.url)).header("accept", "text/event-stream");
    let request = request.json(&json!({"query": "subscription { actionChanged(name: \"a\") { name } }"}));
    let mut events = ochre_tests::Events::new(request.send().await.unwrap());
    assert_eq!(events.data().await, json!({"actionChanged": null}));
    world.within(engine.drain()).await;
    assert_eq!(world.within(events.next()).await, None);
}

#[test]
fn beyond_loopback_only_tokens_over_tls_do() {
    let tls = Files::new().options().connections;
    let insecure = Connections { insecure_http: true, ..Connections::default() };
    for (connections, anonymous, token) in
        [(Connections::default(), false, false), (tls, false, true), (insecure, false, true)]
    {
        for (authentication, may) in [(Authentication::Anonymous, anonymous), (Authentication::Token, token)]
        {
            let options =
                GatewayOptions { authentication: vec![authentication], ..told(connections.clone()) };
            for (address, may) in
                [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", may), ("[::]:1", may)]
            {
                assert_eq!(options.may_listen(address.parse().unwrap()), may, "{options:?} {address}");
            }
        }
    }
}

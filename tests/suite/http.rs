//! GraphQL over HTTP: what is answered to which method, which media type, which body.

use ochre::options::GatewayOptions;
use ochre_tests::{Engine, World};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const QUERY: &str = "{ actions { name } }";

const JSON: (&str, &str) = ("content-type", "application/json");

const ACCEPT_RESPONSE: (&str, &str) = ("accept", "application/graphql-response+json");

async fn start() -> (World, Engine) {
    let world = World::empty().await;
    let engine = world.engine().await;
    (world, engine)
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    media: String,
    allow: String,
    body: Value,
}

impl Got {
    fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["errors"][0]["message"].as_str().unwrap_or_default()
    }
}

async fn send(request: reqwest::RequestBuilder) -> Got {
    let answer = request.send().await.unwrap();
    let header = |name: &str| {
        let value = answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let (status, media, allow) = (answer.status().as_u16(), header("content-type"), header("allow"));
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Got { status, media, allow, body }
}

async fn post(engine: &Engine, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Got {
    let request = reqwest::Client::new().post(format!("{}/graphql", engine.url)).body(body);
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

async fn get(engine: &Engine, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Got {
    let mut url: reqwest::Url = format!("{}/graphql", engine.url).parse().unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    let request = reqwest::Client::new().get(url);
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn of(query: &str) -> String {
    json!({"query": query}).to_string()
}

#[tokio::test]
async fn a_body_is_one_request_in_json() {
    let (_world, engine) = start().await;
    for kind in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        let got = post(&engine, &[("content-type", kind)], of(QUERY)).await;
        assert_eq!((got.status, got.code()), (200, ""), "{kind}: {got:?}");
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "",
    ] {
        let got = post(&engine, &[("content-type", kind)], of(QUERY)).await;
        assert_eq!((got.status, got.code()), (415, "BAD_USER_INPUT"), "{kind}");
        assert!(got.message().contains("application/json"), "{kind}: {got:?}");
    }
    for (body, says) in [
        (&b""[..], "EOF"),
        (b"{", "EOF"),
        (b"[]", "batching is off"),
        (b"[{\"query\": \"{ actions { name } }\"}]", "batching is off"),
        (b"\"{ actions { name } }\"", "invalid type: string"),
        (b"{}", "missing field `query`"),
        (b"{\"query\": 7}", "invalid type: integer"),
        (b"{\"query\": null}", "missing field `query`"),
        (b"{\"query\": \"{ actions { name } }\", \"variables\": []}", "expected a map"),
        (b"{\"query\": \"{ actions { name } }\", \"operationName\": {}}", "expected a string"),
        (b"{\"query\": \"\xff\xfe\"}", "invalid unicode"),
    ] {
        let got = post(&engine, &[JSON], body).await;
        assert_eq!((got.status, got.code()), (400, "BAD_USER_INPUT"), "{got:?}");
        assert!(got.message().contains(says), "{got:?}");
    }
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

#[tokio::test]
async fn the_answer_is_in_a_media_type_that_the_client_takes() {
    let (_world, engine) = start().await;
    for (accept, media) in [
        ("*/*", "application/json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        ("application/graphql-response+json", "application/graphql-response+json; charset=utf-8"),
    ] {
        for query in [QUERY, "{ actions { colour } }", "{"] {
            let got = post(&engine, &[JSON, ("accept", accept)], of(query)).await;
            let is_wrong = query != QUERY && media.starts_with("application/graphql-response");
            assert_eq!(
                (got.status, got.media.as_str()),
                (if is_wrong { 400 } else { 200 }, media),
                "{query}"
            );
            assert_eq!(got.body.get("data").is_some(), query == QUERY, "{got:?}");
        }
    }
    let got = post(&engine, &[JSON, ("accept", "text/html")], of(QUERY)).await;
    assert_eq!((got.status, got.code()), (406, "BAD_USER_INPUT"));
    assert!(got.message().contains("application/graphql-response+json"), "{got:?}");
    let got =
        post(&engine, &[JSON, ("accept", "text/html")], of("mutation { runAction(name: \"a\") { name } }"))
            .await;
    assert_eq!(got.status, 406, "what cannot be answered is not done");
    let null =
        post(&engine, &[JSON, ACCEPT_RESPONSE], of("mutation { runAction(name: \"a\") { name } }")).await;
    assert_eq!((null.status, null.code()), (200, "NOT_FOUND"), "the request was right: {null:?}");
}

#[tokio::test]
async fn get_only_reads_and_only_when_no_other_site_can_have_sent_it() {
    let (_world, engine) = start().await;
    let own = ("x-requested-with", "a test");
    let named = "query A { actions { name } } query B($name: String!) { action(name: $name) { name } }";
    let got = get(&engine, &[own], &[("query", QUERY)]).await;
    assert_eq!((got.status, &got.body), (200, &json!({"data": {"actions": []}})));
    let fields =
        [("query", named), ("operationName", "B"), ("variables", "{\"name\": \"a\"}"), ("extensions", "{}")];
    assert_eq!(get(&engine, &[own], &fields).await.body, json!({"data": {"action": null}}));
    for (headers, fields, status, says) in [
        (vec![], vec![("query", QUERY)], 400, "x-requested-with"),
        (vec![own], vec![], 400, "missing field `query`"),
        (
            vec![own],
            vec![("query", named), ("operationName", "B"), ("variables", "{")],
            400,
            "variables: EOF",
        ),
        (vec![own], vec![("query", QUERY), ("variables", "[]")], 400, "expected a map"),
        (vec![own], vec![("query", QUERY), ("query", QUERY)], 400, "query is given twice"),
        (vec![own, ("namespace", "A")], vec![("query", QUERY)], 400, "NAMESPACE"),
        (vec![own], vec![("query", "mutation { runAction(name: \"a\") { name } }")], 405, "by POST"),
    ] {
        let got = get(&engine, &headers, &fields).await;
        assert_eq!((got.status, got.code()), (status, "BAD_USER_INPUT"), "{got:?}");
        assert!(got.message().contains(says), "{got:?}");
        assert_eq!(got.allow, if status == 405 { "POST" } else { "" });
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let got = send(reqwest::Client::new().request(method, format!("{}/graphql", engine.url))).await;
        assert_eq!((got.status, got.code(), got.allow.as_str()), (405, "BAD_USER_INPUT", "GET, POST"));
    }
    assert_eq!(reqwest::get(format!("{}/no-such", engine.url)).await.unwrap().status(), 404);
}

#[tokio::test]
async fn capact_s_dashboard_is_heard_where_it_is_trusted() {
    let world = World::empty().await;
    let origin = "https://dashboard.example.com";
    let options = GatewayOptions { trusted_origins: vec![origin.to_owned()], ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let plain = ("content-type", "text/plain;charset=UTF-8");
    let bearer = ("authorization", "Bearer token");
    for (headers, status) in [
        (vec![plain, bearer, ("origin", origin)], 200),
        (vec![plain, bearer, ("origin", "https://evil.example.com")], 415),
        (vec![plain, ("origin", origin)], 415),
        (vec![plain, bearer], 415),
    ] {
        let got = post(&engine, &headers, of(QUERY)).await;
        assert_eq!(got.status, status, "{headers:?}: {got:?}");
    }
}

#[tokio::test]
async fn documents_that_do_not_fit_have_codes() {
    let (_world, engine) = start().await;
    for (query, code) in [
        ("{ actions { name }", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("action: list", "GRAPHQL_PARSE_FAILED"),
        ("{ actions { colour } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ action { name } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($name: String!) { action(name: $name) { name } }", "BAD_USER_INPUT"),
        ("query A { policy { __typename } } query B { policy { __typename } }", "BAD_USER_INPUT"),
        ("{ actions(filter: {phase: DONE}) { name } }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let got = post(&engine, &[JSON, ACCEPT_RESPONSE], of(query)).await;
        assert_eq!((got.status, got.code()), (400, code), "{query}: {got:?}");
        assert!(got.body.get("data").is_none(), "{query}: nothing has run");
    }
    let unknown = json!({"query": "query A { actions { name } }", "operationName": "B"}).to_string();
    assert_eq!(post(&engine, &[JSON], unknown).await.code(), "BAD_USER_INPUT");
}

/// Writes bytes as a client that breaks the rules would, and reads until the server closes.
async fn raw(engine: &Engine, request: &str) -> String {
    let mut stream = TcpStream::connect(engine.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn bodies_cut_short_and_nonsense_harm_nobody() {
    let (world, engine) = start().await;
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    for body in [
        "content-length: 100\r\n\r\n{\"query\"",
        "transfer-encoding: chunked\r\n\r\n8\r\n{\"query\"\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n{\"query\"\r\n",
    ] {
        let answer = world.within(raw(&engine, &format!("{head}{body}"))).await;
        // Whether one comes at all is up to the server's HTTP; it never is a success.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
    }
    let answer = world.within(raw(&engine, "\x16\x03\x01 no HTTP at all\r\n\r\n")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(engine.names(Value::Null).await.is_empty(), "it still works");
}

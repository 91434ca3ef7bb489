//! What is sent to do harm: each is refused with its code, or answered since it does none, and the engine lives on.
//!
//! `hack/bench --gateway` measures what the same list costs.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ochre_tests::World;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIST: &str = include_str!("../hostile.json");

/// The most bytes of an answer that says no.
const MOST: usize = 64 * 1024;

/// Writes out a text of which parts are repeated.
fn text(parts: &Value) -> String {
    match parts {
        Value::Array(parts) => parts.iter().map(text).collect(),
        Value::Object(part) => {
            let (text, times) = (part["text"].as_str().unwrap(), part["times"].as_u64().unwrap());
            if !text.contains('<') {
                return text.repeat(usize::try_from(times).unwrap());
            }
            let each = |number: u64| {
                text.replace("<i>", &number.to_string()).replace("<next>", &(number + 1).to_string())
            };
            (0..times).map(each).collect()
        }
        plain => plain.as_str().unwrap().to_owned(),
    }
}

/// Writes out a body: the whole one, or that of a GraphQL request, whose variables are JSON already.
fn body(case: &Value) -> Vec<u8> {
    let whole = if case["body"].is_null() {
        let query = json!(text(&case["query"]));
        let name = case.get("operationName").map_or(Value::Null, |name| json!(text(name)));
        let variables = case.get("variables").map_or_else(|| "null".to_owned(), text);
        format!("{{\"query\": {query}, \"operationName\": {name}, \"variables\": {variables}}}")
    } else {
        text(&case["body"])
    };
    if case["gzip"] == true {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(whole.as_bytes()).unwrap();
        return packed.finish().unwrap();
    }
    whole.into_bytes()
}

/// Writes out a request, as a client does that keeps to no rule.
fn request(case: &Value) -> Vec<u8> {
    let method = case["method"].as_str().unwrap_or("POST");
    let url = case["url"].as_str().unwrap_or_default();
    let mut lines = vec![
        format!("{method} /graphql{url} HTTP/1.1"),
        "host: localhost".to_owned(),
        "connection: close".to_owned(),
    ];
    let json = json!({"content-type": "application/json"});
    let headers = case.get("headers").unwrap_or(&json).as_object().unwrap();
    if !headers.contains_key("accept") {
        lines.push("accept: application/graphql-response+json".to_owned());
    }
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())));
    let head = lines.join("\r\n");
    if method == "GET" {
        return format!("{head}\r\n\r\n").into_bytes();
    }
    let body = body(case);
    let head = if case["endless"] == true {
        format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len())
    } else {
        format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len())
    };
    [head.into_bytes(), body].concat()
}

/// Sends a request; yields the status and the body of the answer.
async fn send(url: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    // The server need not hear it all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default(), body.to_owned())
}

/// Compares an answer with what is wanted; yields what is wrong.
fn judge(case: &Value, status: u16, answer: &str) -> Result<(), &'static str> {
    let Ok(body) = serde_json::from_str::<Value>(answer) else { return Err("it is not JSON") };
    let must = |is_so: bool, wrong: &'static str| if is_so { Ok(()) } else { Err(wrong) };
    must(case["status"] == status, "it has another status")?;
    if case.get("harmless").is_some() {
        return must(body["errors"].is_null() && body["extensions"].is_null(), "it is not answered");
    }
    let error = &body["errors"][0];
    must(error["extensions"]["code"] == case["code"], "it has another code")?;
    must(
        error["message"].as_str().unwrap().contains(case["says"].as_str().unwrap()),
        "it says something else",
    )?;
    must(status == 200 || body.get("data").is_none(), "it has run")?;
    must(answer.len() <= MOST, "the refusal is long")
}

#[tokio::test]
async fn what_is_sent_to_do_harm_is_refused_or_does_none() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let list: Vec<Value> = serde_json::from_str(LIST).unwrap();
    let mut wrong = Vec::new();
    for case in &list {
        let (status, answer) = world.within(send(&engine.url, &request(case))).await;
        if let Err(why) = judge(case, status, &answer) {
            let (bytes, shown) = (answer.len(), answer.chars().take(300).collect::<String>());
            wrong.push(format!("{}: {why}: {status}, {bytes} bytes, {shown}", case["what"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let scanned = list.iter().filter(|case| case["scanner"] == true).count();
    assert_eq!(scanned, 13, "the checks of the known scanner, of which one counts as two");
    assert!(engine.names(Value::Null).await.is_empty(), "it still works, and nothing was made");
}

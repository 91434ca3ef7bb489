//! What the binary logs: a line for each request, and nothing that is secret.

#![expect(clippy::unwrap_used, reason = "what a test calls may panic like the test")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// What must not be logged: of a token, of a value in a mutation, of one in a URL.
const MARKS: [&str; 3] = ["mark-of-a-token", "mark-of-a-value", "mark-of-a-url"];

const MUTATION: &str =
    "mutation Nightly($in: ActionDetailsInput) { createAction(in: $in) { name input { parameters } } }";

/// Runs a sandbox that logs everything, has it asked, and stops it; yields its log line by line.
fn logged(flags: &[&str], ask: impl FnOnce(&str)) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ochre"))
        .args(["--log", "trace", "sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    ask(ready["graphql"].as_str().unwrap());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&log).unwrap();
    for mark in MARKS {
        let told: Vec<&str> = text.lines().filter(|line| line.contains(mark)).collect();
        assert!(told.is_empty(), "{mark} is told:\n{}", told.join("\n"));
    }
    // What is not JSON is for people: how to begin.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Sends a request and reads the answer to its end.
fn send(graphql: &str, method: &str, query: &str, body: &str) -> String {
    let (address, path) = graphql.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /{path}{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-request-id: id-{method}\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        MARKS[0],
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a mutation with a secret value, and a read with one in its URL.
fn ask(graphql: &str, status: u16) {
    let parameters = json!({"action": "backup", "name": "mongo", "labels": {"a": MARKS[1]}});
    let input = json!({"name": "nightly", "run": true, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}});
    let body = json!({"query": MUTATION, "variables": {"in": input}}).to_string();
    let answer = send(graphql, "POST", "", &body);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert_eq!(answer.contains(MARKS[1]), status == 200, "{answer}");
    let wrong = json!({"query": "{ a", "variables": {"a": MARKS[1]}, "operationName": MARKS[1]}).to_string();
    send(graphql, "POST", "", &wrong[..wrong.len() - 1]);
    let query = format!("?query=%7Baction(name:%22{}%22)%7Bname%7D%7D", MARKS[2]);
    let answer = send(graphql, "GET", &query, "");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

/// Finds the access line of the first request of a method.
fn line(log: &[Value], method: &str) -> Value {
    let found = log.iter().find(|line| line["target"] == "access" && line["fields"]["method"] == method);
    let mut line = found.unwrap()["fields"].clone();
    assert!(line["duration.ms"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(line["trace.id"].as_str().unwrap().len(), 32, "{line}");
    for changing in ["duration.ms", "trace.id", "bytes"] {
        line.as_object_mut().unwrap().remove(changing);
    }
    line
}

#[test]
fn every_request_has_a_line_and_no_secret_is_in_any() {
    let log = logged(&[], |graphql| ask(graphql, 200));
    assert_eq!(
        line(&log, "POST"),
        json!({
            "message": "answered", "method": "POST", "path": "/graphql", "status": 200,
            "operation": "mutation", "name": "Nightly", "code": "OK", "request.id": "id-POST",
        })
    );
    assert_eq!(
        line(&log, "GET"),
        json!({
            "message": "answered", "method": "GET", "path": "/graphql", "status": 200,
            "operation": "query", "code": "OK", "request.id": "id-GET",
        })
    );
    let within = log.iter().filter(|line| line["span"]["request.id"] == "id-POST");
    assert!(within.count() > 0, "what is logged meanwhile names the request");
}

#[test]
fn a_token_that_is_refused_is_in_no_line() {
    let log = logged(&["--authentication", "token"], |graphql| ask(graphql, 401));
    assert_eq!(
        line(&log, "POST"),
        json!({
            "message": "answered", "method": "POST", "path": "/graphql", "status": 401,
            "operation": "none", "code": "UNAUTHENTICATED", "request.id": "id-POST",
        })
    );
}

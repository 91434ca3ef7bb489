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
fn logged(flags: &[&str], ask: impl FnOnce(&Value)) -> Vec<Value> {
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
    ask(&ready);
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
fn send(ready: &Value, method: &str, token: &str, query: &str, body: &str) -> String {
    let (address, path) =
        ready["graphql"].as_str().unwrap().trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /{path}{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-request-id: id-{method}\r\n\
         authorization: Bearer {token}\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a mutation with a secret value, and a read with one in its URL.
fn ask(ready: &Value, status: u16) {
    let parameters = json!({"action": "backup", "name": "mongo", "labels": {"a": MARKS[1]}});
    let input = json!({"name": "nightly", "run": true, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}});
    let body = json!({"query": MUTATION, "variables": {"in": input}}).to_string();
    let answer = send(ready, "POST", MARKS[0], "", &body);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert_eq!(answer.contains(MARKS[1]), status == 200, "{answer}");
    let wrong = json!({"query": "{ a", "variables": {"a": MARKS[1]}, "operationName": MARKS[1]}).to_string();
    send(ready, "POST", MARKS[0], "", &wrong[..wrong.len() - 1]);
    let query = format!("?query=%7Baction(name:%22{}%22)%7Bname%7D%7D", MARKS[2]);
    let answer = send(ready, "GET", MARKS[0], &query, "");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

/// Finds the first access line that says something.
fn line(log: &[Value], field: &str, value: &str) -> Value {
    let found = log.iter().find(|line| line["target"] == "access" && line["fields"][field] == value);
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
    let log = logged(&[], |ready| ask(ready, 200));
    assert_eq!(
        line(&log, "method", "POST"),
        json!({
            "message": "answered", "method": "POST", "path": "/graphql", "status": 200,
            "operation": "mutation", "name": "Nightly", "code": "OK", "request.id": "id-POST",
        })
    );
    assert_eq!(
        line(&log, "method", "GET"),
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
    let log = logged(&["--authentication", "token"], |ready| ask(ready, 401));
    assert_eq!(
        line(&log, "method", "POST"),
        json!({
            "message": "answered", "method": "POST", "path": "/graphql", "status": 401,
            "operation": "none", "code": "UNAUTHENTICATED", "request.id": "id-POST",
        })
    );
}

#[test]
fn who_asks_is_said_and_how_it_is_known_is_not() {
    let mut secret = String::new();
    let log = logged(&["--authentication", "token"], |ready| {
        let kubectl = |arguments: &[&str]| {
            let mut kubectl = Command::new("kubectl");
            let kubectl = kubectl.args(arguments).env("KUBECONFIG", ready["kubeconfig"].as_str().unwrap());
            String::from_utf8(kubectl.output().unwrap().stdout).unwrap()
        };
        kubectl(&["create", "serviceaccount", "nightly"]);
        let folder = tempfile::tempdir().unwrap();
        let request = folder.path().join("request.json");
        std::fs::write(
            &request,
            r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}"#,
        )
        .unwrap();
        let path = "/api/v1/namespaces/default/serviceaccounts/nightly/token";
        let made = kubectl(&["create", "--raw", path, "-f", request.to_str().unwrap()]);
        let made: Value = serde_json::from_str(&made).unwrap();
        made["status"]["token"].as_str().unwrap().clone_into(&mut secret);
        let body = json!({"query": "subscription Follow { nothing }"}).to_string();
        let answer = send(ready, "POST", &secret, "", &body);
        assert!(answer.contains("text/event-stream"), "{answer}");
    });
    let line = line(&log, "message", "ended");
    let expected = json!({
        "message": "ended", "operation": "subscription", "name": "Follow", "code": "GRAPHQL_VALIDATION_FAILED",
        "who": "system:serviceaccount:default:nightly", "request.id": "id-POST",
    });
    assert_eq!(line, expected);
    assert!(log.iter().all(|line| !line.to_string().contains(&secret)), "the token is in a line");
}

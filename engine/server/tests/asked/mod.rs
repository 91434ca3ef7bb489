//! A sandbox that is asked with secrets in every place, of which nothing may be told.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// What must not be told: of a token, of a value in a mutation, of one in a URL.
pub(crate) const MARKS: [&str; 3] = ["mark-of-a-token", "mark-of-a-value", "mark-of-a-url"];

/// Where every request stands in its trace.
pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const MUTATION: &str =
    "mutation Nightly($in: ActionDetailsInput) { createAction(in: $in) { name input { parameters } } }";

/// Runs the binary so that it logs everything, has it asked, and stops it; yields its log line by line.
pub(crate) fn run(arguments: &[&str], ask: impl FnOnce(&Value)) -> Vec<Value> {
    run_trusting(None, arguments, ask)
}

/// Runs it so that it trusts the certificates of a file instead of the system's.
pub(crate) fn run_trusting(
    certificates: Option<&Path>,
    arguments: &[&str],
    ask: impl FnOnce(&Value),
) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ochre"))
        .args(["--log", "trace"])
        .args(arguments)
        .envs(certificates.map(|file| ("SSL_CERT_FILE", file)))
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
pub(crate) fn send(ready: &Value, method: &str, token: &str, query: &str, body: &str) -> String {
    let (address, path) =
        ready["graphql"].as_str().unwrap().trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /{path}{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-request-id: id-{method}\r\n\
         traceparent: {TRACEPARENT}\r\n\
         authorization: Bearer {token}\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a mutation with a secret value, and a read with one in its URL; yields the answer to the mutation.
pub(crate) fn ask(ready: &Value, status: u16) -> String {
    let parameters = json!({"action": "backup", "name": "mongo", "labels": {"a": MARKS[1]}});
    let input = json!({"name": "nightly", "run": true, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}});
    let body = json!({"query": MUTATION, "variables": {"in": input}}).to_string();
    let done = send(ready, "POST", MARKS[0], "", &body);
    assert!(done.starts_with(&format!("HTTP/1.1 {status} ")), "{done}");
    assert_eq!(done.contains(MARKS[1]), status == 200, "{done}");
    let wrong = json!({"query": "{ a", "variables": {"a": MARKS[1]}, "operationName": MARKS[1]}).to_string();
    send(ready, "POST", MARKS[0], "", &wrong[..wrong.len() - 1]);
    let query = format!("?query=%7Baction(name:%22{}%22)%7Bname%7D%7D", MARKS[2]);
    let answer = send(ready, "GET", MARKS[0], &query, "");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    done
}

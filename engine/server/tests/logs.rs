//! What the binary logs: a line for each request, and nothing that is secret.

#![expect(clippy::unwrap_used, reason = "what a test calls may panic like the test")]

mod asked;

use std::process::Command;

use asked::{ask, run, send};
use serde_json::{Value, json};

/// Runs a sandbox and has it asked; yields its log.
fn logged(flags: &[&str], ask: impl FnOnce(&Value)) -> Vec<Value> {
    let sandbox = ["sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"];
    run(&[&sandbox, flags].concat(), ask)
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
    let log = logged(&[], |ready| drop(ask(ready, 200)));
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
    let log = logged(&["--authentication", "token"], |ready| drop(ask(ready, 401)));
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

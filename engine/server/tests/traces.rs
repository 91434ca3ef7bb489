//! What the binary tells a collector of OpenTelemetry, and what it does when that is slow or away.

#![cfg(feature = "opentelemetry")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may panic like the test")]

mod asked;
mod collector;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use asked::{MARKS, TRACEPARENT, ask, run, run_trusting, send};
use collector::{Collector, Span};
use serde_json::{Value, json};

/// The kinds of spans, as OTLP has them.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// Finds the only span with a name.
fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = found[..] else { panic!("{name}: {found:#?}") };
    span
}

/// An Action that is not run.
const ACTION: &str = r#"{"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "first"},
    "spec": {"actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": {"action": "backup", "name": "a"}}}}"#;

fn kubectl(cluster: &Value, arguments: &[&str]) {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(arguments).env("KUBECONFIG", cluster["kubeconfig"].as_str().unwrap());
    let output = kubectl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn wait(cluster: &Value, action: &str, phase: &str) {
    let phase = format!("--for=jsonpath={{.status.phase}}={phase}");
    kubectl(cluster, &["wait", &phase, &format!("action/{action}"), "--timeout=60s"]);
}

/// Runs an engine that tells a collector, has it asked, and waits until what it was asked for is done and it has ended;
/// yields the answer to the mutation.
fn told(endpoint: &str, certificates: Option<&Path>) -> String {
    let mut answer = String::new();
    run(&["sandbox", "--api-only", "--cluster-listen", "127.0.0.1:0"], |cluster| {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--authentication", "anonymous"];
        let to = ["--kubeconfig", cluster["kubeconfig"].as_str().unwrap(), "--otlp-endpoint", endpoint];
        run_trusting(certificates, &[&serve[..], &to].concat(), |ready| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("action.json");
            std::fs::write(&file, ACTION).unwrap();
            kubectl(cluster, &["create", "--validate=false", "-f", file.to_str().unwrap()]);
            wait(cluster, "first", "READY_TO_RUN");
            answer = ask(ready, 200);
            let wrong = json!({"query": "subscription { nothing }"}).to_string();
            send(ready, "POST", MARKS[0], "", &wrong);
            wait(cluster, "nightly", "SUCCEEDED");
        });
    });
    answer
}

#[test]
fn every_request_is_a_span_of_the_trace_that_it_brings_and_a_run_has_some() {
    let collector = Collector::start();
    let answer = told(&collector.url, None);
    let spans = collector.spans();
    let (trace, parent) = (&TRACEPARENT[3..35], &TRACEPARENT[36..52]);

    let mutation = only(&spans, "mutation");
    assert_eq!((mutation.trace.as_str(), mutation.parent.as_str(), mutation.kind), (trace, parent, SERVER));
    for (name, value) in [
        ("graphql.operation.name", "Nightly"),
        ("graphql.operation.type", "mutation"),
        ("ochre.code", "OK"),
        ("http.response.status_code", "200"),
        ("request.id", "id-POST"),
    ] {
        assert_eq!(mutation.attribute(name), value, "{name}: {mutation:#?}");
    }
    assert!(!mutation.is_error);
    assert!(answer.contains(&format!("traceparent: 00-{trace}-{}-01", mutation.id)), "{answer}");
    let asked = spans.iter().filter(|span| span.parent == mutation.id && span.kind == CLIENT);
    assert!(asked.clone().count() > 0, "what the API server is asked for it: {spans:#?}");
    assert!(asked.clone().all(|span| span.trace == trace));
    assert_eq!(only(&spans, "query").parent, parent);
    let subscribed: Vec<&Span> = spans.iter().filter(|span| span.name == "subscription").collect();
    let [one, other] = subscribed[..] else { panic!("{subscribed:#?}") };
    assert!(one.id == other.parent || other.id == one.parent, "an operation that lasts is in its request");
    let wrong = only(&spans, "request");
    assert_eq!((wrong.attribute("ochre.code"), wrong.is_error), ("BAD_USER_INPUT", true));

    let looks: Vec<&Span> = spans.iter().filter(|span| span.name == "reconcile").collect();
    assert!(looks.iter().all(|look| look.parent.is_empty()), "{looks:#?}");
    let has_ended = |look: &&Span| look.attribute("action.phase") == "SUCCEEDED";
    assert!(
        looks.iter().any(|look| has_ended(look) && look.attribute("action.name") == "nightly"),
        "{looks:#?}"
    );
    let within = |span: &Span| span.kind == CLIENT && looks.iter().any(|look| look.id == span.parent);
    assert!(spans.iter().any(within), "what the API server is asked for a run: {spans:#?}");
    assert_eq!(collector.service(), "ochre");
    for mark in MARKS {
        assert!(!collector.heard(mark.as_bytes()), "{mark} is told");
    }
}

#[test]
fn spans_are_sent_by_tls_to_a_collector_that_is_trusted_and_to_no_other() {
    let (collector, certificate) = Collector::start_private();
    told(&collector.url, None);
    assert!(collector.spans().is_empty(), "it is not trusted");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, certificate).unwrap();
    told(&collector.url, Some(file.path()));
    only(&collector.spans(), "mutation");
}

#[test]
fn a_collector_that_is_away_or_never_answers_holds_up_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), away] {
        let began = Instant::now();
        told(&format!("http://{address}"), None);
        // One request of the client that sends spans waits 10 seconds, and there are many.
        assert!(began.elapsed() < Duration::from_secs(60), "{address}");
    }
}

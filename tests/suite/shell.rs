//! What is around every request: its names, its headers, what is counted of it.

use std::collections::BTreeMap;

use ochre::options::GatewayOptions;
use ochre_tests::{Engine, World};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn start() -> (World, Engine) {
    let world = World::empty().await;
    let engine = world.engine().await;
    (world, engine)
}

/// Posts a body with headers; yields the answer's headers and what it says.
async fn post(engine: &Engine, headers: &[(&str, &str)], body: &Value) -> (HeaderMap, Value) {
    let request = reqwest::Client::new().post(format!("{}/graphql", engine.url)).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    (answer.headers().clone(), answer.json().await.unwrap())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_brings() {
    let (_world, engine) = start().await;
    let id = ("x-request-id", "nightly/2026-11-21.7");
    for (headers, query, code) in [
        (vec![], json!("{ actions { name } }"), None),
        (vec![], json!("{ actions { colour } }"), Some("GRAPHQL_VALIDATION_FAILED")),
        (vec![], json!("{"), Some("GRAPHQL_PARSE_FAILED")),
        (vec![], json!("mutation { runAction(name: \"a\") { name } }"), Some("NOT_FOUND")),
        (vec![], json!(7), Some("BAD_USER_INPUT")),
        (vec![("namespace", "A")], json!("{ actions { name } }"), Some("BAD_USER_INPUT")),
        (vec![("accept", "text/html")], json!("{ actions { name } }"), Some("BAD_USER_INPUT")),
    ] {
        let (got, body) = post(&engine, &[&headers[..], &[id]].concat(), &json!({"query": query})).await;
        assert_eq!(text(&got, "x-request-id"), id.1, "{query}");
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!(extensions["code"].as_str(), code, "{body}");
        assert_eq!(extensions["requestId"].as_str(), code.map(|_| id.1), "{body}");
    }
    let (first, _) = post(&engine, &[("x-request-id", "no good")], &json!({})).await;
    let (second, body) = post(&engine, &[], &json!({})).await;
    let (first, second) = (text(&first, "x-request-id"), text(&second, "x-request-id"));
    assert_eq!((first.len(), second.len()), (36, 36), "made anew");
    assert_ne!(first, second);
    assert_eq!(body["errors"][0]["extensions"]["requestId"], second);
    let page = reqwest::get(format!("{}/no-such", engine.url)).await.unwrap();
    assert_eq!(text(page.headers(), "x-request-id").len(), 36);
}

#[tokio::test]
async fn a_trace_goes_on_in_a_span_of_its_own() {
    let (_world, engine) = start().await;
    let query = json!({"query": "{ actions { name } }"});
    let span = "00f067aa0ba902b7";
    let (got, _) = post(&engine, &[("traceparent", &format!("00-{TRACE}-{span}-01"))], &query).await;
    let parts: Vec<&str> = text(&got, "traceparent").split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"));
    assert!(parts[2].len() == 16 && parts[2] != span, "{parts:?}");
    let (got, _) = post(&engine, &[("traceparent", &format!("00-{TRACE}-{span}-01-x"))], &query).await;
    let begun = text(&got, "traceparent");
    assert!(begun.len() == 55 && !begun.contains(TRACE) && begun.ends_with("-00"), "{begun}");
}

#[tokio::test]
async fn streams_name_their_errors_too() {
    let (world, engine) = start().await;
    let wrong = "subscription { actionChanged(name: \"a\") { colour } }";
    let (_, event) = {
        let request = reqwest::Client::new().post(format!("{}/graphql", engine.url));
        let request = request.header("accept", "text/event-stream").header("x-request-id", "s");
        let answer = world.within(request.json(&json!({"query": wrong})).send()).await.unwrap();
        (answer.status(), world.within(answer.text()).await.unwrap())
    };
    assert!(event.contains(r#""requestId":"s""#), "{event}");

    let mut socket =
        engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws"), ("x-request-id", "w")]).await;
    socket.say(json!({"type": "connection_init"})).await;
    socket.hear().await.message();
    for (id, named) in [("a", "w-1"), ("b", "w-2")] {
        socket.subscribe(id, wrong, json!({})).await;
        let said = socket.hear().await.message();
        assert_eq!(said["payload"][0]["extensions"]["requestId"], named, "{said}");
    }
}

/// What was counted: each series with its value, and each family with its type.
#[derive(Debug)]
struct Counted {
    series: BTreeMap<String, f64>,
    families: BTreeMap<String, String>,
}

impl Counted {
    async fn read(engine: &Engine) -> Self {
        let answer = reqwest::get(format!("{}/metrics", engine.url)).await.unwrap();
        assert!(
            text(answer.headers(), "content-type").starts_with("application/openmetrics-text; version=1.0.0")
        );
        let text = answer.text().await.unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let (mut series, mut families) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["#", "TYPE", family, kind] => {
                    assert!(text.contains(&format!("# HELP {family} ")), "{family} is explained");
                    families.insert(family.to_owned(), kind.to_owned());
                }
                ["#", ..] => {}
                _ => {
                    let (name, value) = line.split_once(' ').unwrap();
                    series.insert(name.to_owned(), value.parse().unwrap());
                }
            }
        }
        Self { series, families }
    }

    fn of(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    fn requests(&self, operation: &str, code: &str) -> f64 {
        self.of(&format!("ochre_graphql_requests_total{{operation=\"{operation}\",code=\"{code}\"}}"))
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let (world, engine) = start().await;
    let post = async |query: &str| post(&engine, &[], &json!({"query": query})).await;
    post("{ actions { name } }").await;
    post("query Named { actions { name } }").await;
    post("{").await;
    post("mutation { runAction(name: \"a\") { name } }").await;
    engine.create("a", None, json!({"action": "backup", "name": "a", "selector": "no=such"})).await.data();
    world.ended("a").await;
    let follow = "subscription { actionChanged(name: \"a\") { name } }";
    let mut events = engine.events(follow, json!({})).await;
    events.data().await;
    let mut socket = engine.socket().await;
    socket.subscribe("1", follow, json!({})).await;
    world.within(socket.hear()).await.message();

    let counted = Counted::read(&engine).await;
    for (operation, code, times) in [
        ("query", "OK", 2.0),
        ("none", "GRAPHQL_PARSE_FAILED", 1.0),
        ("none", "OK", 1.0),
        ("mutation", "NOT_FOUND", 1.0),
        ("subscription", "OK", 0.0),
    ] {
        assert!((counted.requests(operation, code) - times).abs() < 0.1, "{operation} {code}: {counted:#?}");
    }
    let in_time = |bound: &str| {
        counted.of(&format!(
            "ochre_graphql_request_duration_seconds_bucket{{le=\"{bound}\",operation=\"query\"}}"
        ))
    };
    assert!(in_time("0.001") <= in_time("10.0") && in_time("10.0") <= in_time("+Inf"), "{counted:#?}");
    assert!((in_time("+Inf") - 2.0).abs() < 0.1, "{counted:#?}");
    assert!((counted.of("ochre_graphql_subscriptions") - 2.0).abs() < 0.1, "{counted:#?}");
    assert!((counted.of("ochre_actions{phase=\"FAILED\"}") - 1.0).abs() < 0.1, "{counted:#?}");
    let finished = "ochre_action_runs_finished_total{phase=\"FAILED\",verdict=\"EMPTY\"}";
    assert!((counted.of(finished) - 1.0).abs() < 0.1, "{counted:#?}");
    insta::assert_json_snapshot!(counted.families, @r#"
    {
      "ochre_action_runs_finished": "counter",
      "ochre_action_runs_vanished": "counter",
      "ochre_actions": "gauge",
      "ochre_graphql_request_duration_seconds": "histogram",
      "ochre_graphql_requests": "counter",
      "ochre_graphql_subscriptions": "gauge"
    }
    "#);

    drop((events, socket));
    world
        .within(async {
            while Counted::read(&engine).await.requests("subscription", "OK") < 2.0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert!(Counted::read(&engine).await.of("ochre_graphql_subscriptions").abs() < 0.1);
}

#[tokio::test]
async fn only_the_pages_of_trusted_origins_may_ask() {
    let world = World::empty().await;
    let trusted = "https://backups.example.com";
    let options = GatewayOptions { trusted_origins: vec![trusted.to_owned()], ..GatewayOptions::default() };
    let (open, closed) = (world.engine_told(options).await, world.engine().await);
    for (engine, origin, is_allowed) in [
        (&open, trusted, true),
        (&open, "https://evil.example.com", false),
        (&open, "null", false),
        (&closed, trusted, false),
    ] {
        let url = format!("{}/graphql", engine.url);
        let preflight = reqwest::Client::new()
            .request(Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key,namespace");
        let preflight = preflight.send().await.unwrap();
        let (answer, _) =
            post(engine, &[("origin", origin)], &json!({"query": "{ actions { name } }"})).await;
        for headers in [preflight.headers(), &answer] {
            let allowed = text(headers, "access-control-allow-origin");
            assert_eq!(allowed, if is_allowed { trusted } else { "" }, "{origin}");
            assert_eq!(text(headers, "access-control-allow-credentials"), "");
        }
        if is_allowed {
            let headers = text(preflight.headers(), "access-control-allow-headers");
            let asked = ["authorization", "content-type", "namespace", "idempotency-key"];
            for name in asked.into_iter().chain(["x-requested-with", "traceparent"]) {
                assert!(headers.split(',').any(|each| each == name), "{headers}");
            }
            assert_eq!(text(preflight.headers(), "access-control-allow-methods"), "GET,POST");
            assert!(text(&answer, "access-control-expose-headers").contains("x-request-id"));
            let varies: Vec<_> = answer.get_all("vary").iter().collect();
            assert_eq!(varies, ["accept", "origin"]);
        }
    }
}

#[tokio::test]
async fn browsers_are_told_to_be_careful_with_every_answer() {
    let (_world, engine) = start().await;
    let (answer, _) = post(&engine, &[], &json!({"query": "{ actions { name } }"})).await;
    let events = reqwest::Client::new().post(format!("{}/graphql", engine.url));
    let events = events.header("accept", "text/event-stream").json(&json!({"query": "{ actions { name } }"}));
    let missing = reqwest::get(format!("{}/no-such", engine.url)).await.unwrap();
    let all = [answer, events.send().await.unwrap().headers().clone(), missing.headers().clone()];
    for (headers, is_graphql) in all.iter().zip([true, true, false]) {
        assert_eq!(text(headers, "x-content-type-options"), "nosniff");
        assert_eq!(text(headers, "referrer-policy"), "no-referrer");
        assert_eq!(text(headers, "cross-origin-resource-policy"), "same-origin");
        assert_eq!(text(headers, "cache-control"), if is_graphql { "no-store" } else { "" });
    }
}

#[tokio::test]
async fn a_name_that_others_point_to_this_machine_is_refused() {
    let world = World::empty().await;
    let options =
        GatewayOptions { allowed_hosts: vec!["ochre.test".to_owned()], ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    let port = engine.url.rsplit(':').next().unwrap();
    for (host, is_ours) in [
        ("localhost", true),
        ("LOCALHOST", true),
        ("127.0.0.1", true),
        ("127.8.9.1", true),
        ("[::1]", true),
        ("ochre.test", true),
        ("evil.example.com", false),
        ("ochre.test.example.com", false),
        ("localhost.example.com", false),
        ("0.0.0.0", false),
        ("10.0.0.1", false),
        ("", false),
        ("a b", false),
    ] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let origin = format!("http://{host}");
            let headers = [("host", host.as_str()), ("origin", &origin)];
            let (got, body) = post(&engine, &headers, &json!({"query": "{ actions { name } }"})).await;
            assert_eq!(body["data"].is_object(), is_ours, "{host}: {body}");
            if !is_ours {
                let error = &body["errors"][0];
                assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{body}");
                assert_eq!(error["extensions"]["requestId"], text(&got, "x-request-id"), "{body}");
                let is_no_name = host.is_empty() || host.contains(' ');
                let says = if is_no_name { "send one name" } else { "--allowed-host" };
                assert!(error["message"].as_str().unwrap().contains(says), "{body}");
            }
        }
    }
}

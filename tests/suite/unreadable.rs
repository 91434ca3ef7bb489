//! Actions, and objects of Velero's, that the cluster keeps and no engine can read: each is that object's failure and
//! stops nothing else.

use std::time::Duration;

use http::Request;
use kube::api::{Patch, PatchParams};
use ochre::options::GatewayOptions;
use ochre::{Election, Times};
use ochre_core::action::definition;
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const ACTIONS: &str = "/apis/core.ochre.dev/v1alpha1/namespaces/default/actions";
const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const MANY: &str = "subscription { actionsChanged { kind name action { status { phase message } } } }";
const ONE: &str = "subscription($name: String!) { actionChanged(name: $name) { status { phase message } } }";

/// Why an Action cannot be read.
#[derive(Clone, Copy, Debug)]
enum Bad {
    /// It nests so many levels.
    Deep(usize),
    /// A number is none of its type; the definition admits it no more.
    Number,
    /// Its status has another form, which the definition admits no more.
    Status,
}

const ALL: [Bad; 7] = [
    Bad::Deep(101),
    Bad::Deep(122),
    Bad::Deep(126),
    Bad::Deep(129),
    Bad::Deep(200),
    Bad::Number,
    Bad::Status,
];

impl Bad {
    fn says(self) -> &'static str {
        match self {
            Self::Deep(_) => "nests deeper than 100 levels",
            Self::Number => "spec.approvals[0].attempt",
            Self::Status => "status.attempt",
        }
    }

    fn approvals(self) -> String {
        match self {
            Self::Deep(levels) => format!(
                // The Action, its spec, the approvals, one and its input.
                r#"[{{"step":"a","attempt":1,"approved":true,"input":{{"deep":{}}}}}]"#,
                brackets(levels - 5)
            ),
            Self::Number => r#"[{"step":"a","attempt":4294967296,"approved":true}]"#.to_owned(),
            Self::Status => "[]".to_owned(),
        }
    }
}

fn brackets(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Sends what no client here could read back.
async fn send(world: &World, method: &str, path: &str, body: String) -> Result<(), String> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let sent = world.client.request_text(request.body(body.into_bytes()).unwrap()).await;
    sent.map(drop).map_err(|error| error.to_string())
}

/// Has the definition of Actions admit anything, or what it should.
async fn admit(world: &World, anything: bool) {
    let schema = if anything {
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    } else {
        let version = definition().spec.versions.remove(0);
        serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
    };
    let patch =
        json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    let definitions = world.api("apiextensions.k8s.io/v1", "CustomResourceDefinition", None);
    definitions.patch("actions.core.ochre.dev", &PatchParams::default(), &patch).await.unwrap();
    let probe = action("probe", &Bad::Number.approvals());
    let dry = format!("{ACTIONS}?dryRun=All");
    world.within(async { while send(world, "POST", &dry, probe.clone()).await.is_ok() != anything {} }).await;
}

fn action(name: &str, approvals: &str) -> String {
    format!(
        r#"{{"apiVersion":"core.ochre.dev/v1alpha1","kind":"Action","metadata":{{"name":"{name}"}},"spec":{{"actionRef":{{"path":"cap.interface.data.backup"}},"run":true,"approvals":{approvals}}}}}"#
    )
}

/// Turns an Action into one that cannot be read.
async fn spoil(world: &World, name: &str, bad: Bad) {
    let (path, body) = match bad {
        Bad::Status => (format!("{ACTIONS}/{name}/status"), r#"{"status":{"attempt":"two"}}"#.to_owned()),
        bad => (format!("{ACTIONS}/{name}"), format!(r#"{{"spec":{{"approvals":{}}}}}"#, bad.approvals())),
    };
    send(world, "PATCH", &path, body).await.unwrap();
}

/// Makes an Action of each kind that cannot be read, `bad-0` and so on, as an older definition admitted them.
async fn make_all(world: &World) -> Vec<(String, Bad)> {
    admit(world, true).await;
    let all: Vec<(String, Bad)> =
        ALL.iter().enumerate().map(|(number, bad)| (format!("bad-{number}"), *bad)).collect();
    for (name, bad) in &all {
        send(world, "POST", ACTIONS, action(name, &bad.approvals())).await.unwrap();
        if let Bad::Status = bad {
            spoil(world, name, *bad).await;
        }
    }
    admit(world, false).await;
    all
}

fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "selector": APPLICATION})
}

/// Sees that an Action is shown as what it is, and that nothing can be asked of it but that it goes.
async fn is_shown(engine: &Engine, name: &str, bad: Bad) {
    let shown = engine.action(name).await;
    assert_eq!(shown["status"]["phase"], "FAILED", "{name}: {shown}");
    let message = shown["status"]["message"].as_str().unwrap();
    assert!(message.contains("cannot be read") && message.contains(bad.says()), "{bad:?}: {message}");
    assert_eq!(shown["actionRef"]["path"], "cap.interface.data.backup");
    for mutation in ["runAction", "cancelAction"] {
        engine.on(mutation, name).await.refuses("CONFLICT", &[name, "cannot be read"]);
    }
    engine.create(name, None, backup(name)).await.refuses("CONFLICT", &[name, "cannot be read"]);
}

/// Waits until an Action is told to be in a phase, or gone.
async fn told(world: &World, engine: &Engine, name: &str, phase: Option<&str>) {
    let mut events = engine.events(ONE, json!({"name": name})).await;
    let reached =
        async { while events.data().await["actionChanged"]["status"]["phase"].as_str() != phase {} };
    world.within(Box::pin(reached)).await;
}

/// Sees that each is listed, and that each can be deleted.
async fn are_listed_and_go(world: &World, engine: &Engine, all: &[(String, Bad)]) {
    let names = engine.names(Value::Null).await;
    let failed = engine.names(json!({"phase": "FAILED"})).await;
    let query = "{ actionsConnection(first: 100) { totalCount edges { node { name } } } }";
    let page = engine.graphql(query, json!({})).await.data()["actionsConnection"].clone();
    assert_eq!(page["totalCount"], names.len());
    for (name, bad) in all {
        assert!(names.contains(name) && failed.contains(name), "{name} is in {names:?} and {failed:?}");
        let mut edges = page["edges"].as_array().unwrap().iter();
        assert!(edges.any(|edge| edge["node"]["name"] == name.as_str()), "{page}");
        is_shown(engine, name, *bad).await;
        engine.on("deleteAction", name).await.data();
        told(world, engine, name, None).await;
    }
    let left = engine.names(Value::Null).await;
    assert!(all.iter().all(|(name, _)| !left.contains(name)), "{left:?}");
}

async fn is_ready(engine: &Engine) {
    assert_eq!(reqwest::get(engine.url.clone() + "/readyz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_there_when_an_engine_starts_stops_nothing() {
    let world = World::start().await;
    world.apply_action("early", backup("early")).await;
    let all = make_all(&world).await;
    let engine = world.engine().await;
    is_ready(&engine).await;
    world.succeeded("early").await;
    engine.create("late", None, backup("late")).await.data();
    world.succeeded("late").await;
    are_listed_and_go(&world, &engine, &all).await;
    assert_eq!(world.velero_names("Backup").await, ["early", "late"], "none of them ran");
}

#[tokio::test]
async fn what_comes_while_an_engine_watches_stops_nothing() {
    let world = World::start().await;
    let engine = world.engine().await;
    let mut events = engine.events(MANY, json!({})).await;
    engine.create("early", None, backup("early")).await.data();
    let all = make_all(&world).await;
    engine.create("late", None, backup("late")).await.data();
    for name in ["early", "late"] {
        world.succeeded(name).await;
    }
    let mut untold: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let telling = async {
        while !untold.is_empty() {
            let told = events.data().await["actionsChanged"].clone();
            for event in told.as_array().unwrap() {
                let message = event["action"]["status"]["message"].as_str().unwrap_or_default();
                let is_told = message.contains("cannot be read");
                untold.retain(|name| !(is_told && event["name"] == *name));
            }
        }
    };
    world.within(Box::pin(telling)).await;
    is_ready(&engine).await;
    are_listed_and_go(&world, &engine, &all).await;
    assert_eq!(world.velero_names("Backup").await, ["early", "late"], "none of them ran");
}

#[tokio::test]
async fn a_run_that_turns_unreadable_goes_on_when_it_is_mended() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let options = GatewayOptions { audit_log: Some(log.clone()), ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    world.stop_velero().await;
    let runs: Vec<(String, Bad)> = [Bad::Deep(122), Bad::Deep(200), Bad::Number, Bad::Status]
        .into_iter()
        .map(|bad| (format!("run-{bad:?}").to_lowercase().replace(['(', ')'], "-") + "x", bad))
        .collect();
    for name in runs.iter().map(|(name, _)| name.as_str()).chain(["given-up", "well"]) {
        engine.create(name, None, backup(name)).await.data();
        world.until(name, |status| status.steps.iter().any(|step| step.object.is_some())).await;
    }
    admit(&world, true).await;
    for (name, bad) in &runs {
        spoil(&world, name, *bad).await;
    }
    spoil(&world, "given-up", Bad::Number).await;
    admit(&world, false).await;
    for (name, bad) in &runs {
        told(&world, &engine, name, Some("FAILED")).await;
        is_shown(&engine, name, *bad).await;
    }
    told(&world, &engine, "given-up", Some("FAILED")).await;
    engine.on("deleteAction", "given-up").await.data();
    told(&world, &engine, "given-up", None).await;
    let log = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut events = lines.iter().map(|line| &line["event"]);
    let is_let_go = |event: &Value| event["phase"] == "FAILED" && event["action"]["name"] == "given-up";
    assert!(events.any(is_let_go), "that it was let go is written down: {log}");

    world.start_velero().await;
    world.succeeded("well").await;
    for (name, bad) in &runs {
        let (path, body) = match bad {
            Bad::Status => (format!("{ACTIONS}/{name}/status"), r#"{"status":{"attempt":1}}"#),
            _ => (format!("{ACTIONS}/{name}"), r#"{"spec":{"approvals":null}}"#),
        };
        send(&world, "PATCH", &path, body.to_owned()).await.unwrap();
        world.succeeded(name).await;
        told(&world, &engine, name, Some("SUCCEEDED")).await;
    }
    assert_eq!(world.velero_names("Backup").await.len(), runs.len() + 2, "nothing was made twice");
}

#[tokio::test]
async fn another_leads_on_whatever_cannot_be_read() {
    let times = Times {
        lease: Duration::from_secs(2),
        renew_deadline: Duration::from_millis(1500),
        retry: Duration::from_millis(200),
    };
    let election = |identity: &str| Election {
        namespace: "ochre-system".to_owned(),
        identity: identity.to_owned(),
        times,
    };
    let world = World::start().await;
    let (first, leading) = world.candidate(election("first"), None).await;
    world.within(leading.wait_for_leader("first")).await;
    let all = make_all(&world).await;
    let (second, following) = world.candidate(election("second"), None).await;
    first.kill().await;
    world.within(following.wait_for_leader("second")).await;
    second.create("late", None, backup("late")).await.data();
    world.succeeded("late").await;
    for (name, bad) in &all {
        is_shown(&second, name, *bad).await;
    }
    second.drain().await;
}

#[tokio::test]
async fn what_the_types_do_not_take_the_definition_does_not_admit() {
    let world = World::empty().await;
    for approvals in [Bad::Number.approvals(), r#"[{"step":"a","attempt":-1,"approved":true}]"#.to_owned()] {
        let refused = send(&world, "POST", ACTIONS, action("bad", &approvals)).await.unwrap_err();
        assert!(refused.contains("spec.approvals[0].attempt"), "{refused}");
    }
    send(&world, "POST", ACTIONS, action("good", "[]")).await.unwrap();
    for (status, says) in [
        (r#"{"attempt":4294967296}"#, "status.attempt"),
        (r#"{"observedGeneration":9007199254740992}"#, "status.observedGeneration"),
        (r#"{"outcome":{"verdict":"COMPLETE","warnings":9007199254740992}}"#, "status.outcome.warnings"),
        (r#"{"startedAt":"2026-01-01T00:00:00+99:99"}"#, "status.startedAt"),
        (r#"{"startedAt":"9999-12-31T23:59:59Z"}"#, "status.startedAt"),
    ] {
        let body = format!(r#"{{"status":{status}}}"#);
        let refused = send(&world, "PATCH", &format!("{ACTIONS}/good/status"), body).await.unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
}

/// Restores whose init containers nest deep, which Velero's definition admits.
#[tokio::test]
async fn an_object_of_velero_s_that_cannot_be_read_stops_no_other() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.backed_up_application(&world).await;
    world.lose_application().await;
    engine.drain().await;
    let path = format!("/apis/velero.io/v1/namespaces/{}/restores", world.velero_namespace);
    for levels in [95, 110, 130, 200] {
        let body = format!(
            r#"{{"apiVersion":"velero.io/v1","kind":"Restore","metadata":{{"name":"deep-{levels}"}},"spec":{{"backupName":"none","hooks":{{"resources":[{{"name":"a","postHooks":[{{"init":{{"initContainers":[{{"name":"a","deep":{}}}]}}}}]}}]}}}}}}"#,
            brackets(levels)
        );
        send(&world, "POST", &path, body).await.unwrap();
    }
    let engine = world.engine().await;
    engine.create("back", None, json!({"action": "restore", "name": "mongo"})).await.data();
    world.succeeded("back").await;
    let query = "{ restores { name status { phase reason } } }";
    let restores = engine.graphql(query, json!({})).await.data()["restores"].clone();
    let restores = restores.as_array().unwrap();
    assert_eq!(restores.len(), 5, "{restores:?}");
    for restore in restores.iter().filter(|restore| restore["name"].as_str().unwrap().starts_with("deep")) {
        assert_eq!(restore["status"]["phase"], "Unreadable", "{restore}");
        assert!(restore["status"]["reason"].as_str().unwrap().contains("nests deeper"), "{restore}");
    }
}

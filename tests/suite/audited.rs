//! What is written down: every mutation and every decision about a run, whoever asked and whatever came of it.

use std::path::Path;

use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use ochre::Authentication;
use ochre::audit::verify;
use ochre::options::GatewayOptions;
use ochre_core::action::{Action, ActionStatus};
use ochre_core::phase::Phase;
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

/// Reads a log, which must be as it was written.
fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verify(text.as_bytes(), None).unwrap().lines, lines.len() as u64);
    lines.into_iter().map(|mut line| line["event"].take()).collect()
}

/// Asks for a run that Velero does not take up, and waits until it has its Backup.
async fn under_way(world: &World, engine: &Engine, name: &str) -> Action {
    world.stop_velero().await;
    let parameters = json!({"action": "backup", "name": name, "selector": "app=any"});
    engine.create(name, None, parameters).await.data();
    let status = world
        .until(name, |status| {
            status.steps.iter().any(|step| step.object.as_ref().is_some_and(|it| it.uid.is_some()))
        })
        .await;
    assert_eq!(status.phase, Phase::Running);
    world.actions("default").get(name).await.unwrap()
}

/// Deletes an Action whose run has not ended, as whoever may edit Actions can.
async fn tear_away(world: &World, action: &Action) {
    let name = action.metadata.name.as_deref().unwrap();
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.org/held"]}}));
    world.actions("default").patch(name, &PatchParams::default(), &held).await.unwrap();
    world.actions("default").delete(name, &DeleteParams::default()).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.actions("default").patch(name, &PatchParams::default(), &free).await.unwrap();
    world.action_gone(action).await;
}

fn vanished(path: &Path) -> Vec<Value> {
    read(path).into_iter().filter(|line| line["what"] == "vanished").collect()
}

fn logged(path: &Path) -> GatewayOptions {
    GatewayOptions { audit_log: Some(path.to_owned()), ..GatewayOptions::default() }
}

#[tokio::test]
async fn a_run_whose_action_is_torn_away_is_written_down() {
    let world = World::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let engine = world.engine_told(logged(&path)).await;
    let action = under_way(&world, &engine, "torn").await;
    let mut events =
        engine.events("subscription { actionChanged(name: \"torn\") { status { phase } } }", json!({})).await;
    tear_away(&world, &action).await;
    while !world.within(events.data()).await["actionChanged"].is_null() {}
    let found = vanished(&path);
    let [line] = &found[..] else { panic!("one line: {found:#?}") };
    assert_eq!(
        (&line["action"]["name"], &line["action"]["uid"], &line["phase"], &line["attempt"]),
        (&json!("torn"), &json!(action.metadata.uid), &json!("RUNNING"), &json!(1))
    );
    let status = action.status.unwrap();
    let backup = &status.steps[0].object.as_ref().unwrap().name;
    assert_eq!(line["left"], json!([format!("Backup velero/{backup}")]));
    assert_eq!(line["workflow"], json!(status.rendering.unwrap().workflow_ref.digest));
    let metrics = reqwest::get(format!("{}/metrics", engine.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nochre_action_runs_vanished_total 1\n"), "{metrics}");
    // A delete that waits for the cancel is none.
    let action = under_way(&world, &engine, "deleted").await;
    world.actions("default").delete("deleted", &DeleteParams::default()).await.unwrap();
    world.action_gone(&action).await;
    engine.drain().await;
    assert_eq!(vanished(&path).len(), 1);
}

/// Only the simulated API fails as it is told; hack/test leaves this out on a real cluster.
mod simulated {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ochre_sandbox::api::{Asked, Fault};

    use super::*;

    /// Runs a backup to its end while the status of its Action meets a fault; yields its status and the lines of its phases.
    async fn refused(
        fault: impl FnMut() -> Option<Fault> + Send + 'static,
    ) -> (ActionStatus, Vec<Value>, String) {
        let world = World::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (is_armed, mut fault) = (Arc::new(AtomicBool::new(false)), fault);
        let armed = Arc::clone(&is_armed);
        let plan = move |asked: &Asked| {
            let is_it = asked.resource == "actions/status" && asked.name == "nightly";
            if is_it && armed.load(Ordering::SeqCst) { fault() } else { None }
        };
        let engine = world.faulty_engine(None, logged(&path), plan).await;
        under_way(&world, &engine, "nightly").await;
        is_armed.store(true, Ordering::SeqCst);
        world.start_velero().await;
        let status = world.ended("nightly").await;
        // It is counted after it is written down, and both come after the status.
        let counted = async {
            loop {
                let metrics = reqwest::get(format!("{}/metrics", engine.url)).await.unwrap();
                let metrics = metrics.text().await.unwrap();
                let is_it = |line: &&str| line.starts_with("ochre_action_runs_finished_total");
                if let Some(line) = metrics.lines().find(is_it) {
                    return line.to_owned();
                }
            }
        };
        let finished = world.within(counted).await;
        engine.drain().await;
        let is_phase = |line: &Value| line["what"] == "phase" && line["action"]["name"] == "nightly";
        (status, read(&path).into_iter().filter(is_phase).collect(), finished)
    }

    #[tokio::test]
    async fn a_status_that_is_too_large_is_cut_and_its_end_is_written_down_once() {
        let mut tries = 0;
        let (status, lines, finished) = refused(move || {
            tries += 1;
            (tries == 1).then_some(Fault::TooLarge)
        })
        .await;
        assert!(status.phase.is_terminal() && status.steps.is_empty() && status.history.is_empty());
        assert!(status.message.as_ref().unwrap().contains("too large"), "{status:#?}");
        let [begun, ended] = &lines[..] else { panic!("two lines: {lines:#?}") };
        assert_eq!((&begun["phase"], &ended["phase"]), (&json!("RUNNING"), &json!(status.phase.as_str())));
        assert!(ended["statusRefused"].as_str().unwrap().contains("request is too large"), "{ended}");
        assert!(finished.ends_with(" 1"), "{finished}");
    }

    #[tokio::test]
    async fn an_end_is_written_down_once_although_its_status_is_refused_again_and_again() {
        for fault in [Fault::TooLarge, Fault::InternalError, Fault::LostAnswer] {
            let mut tries = 0;
            let (status, lines, finished) = refused(move || {
                tries += 1;
                // Where the answer is lost, the client asks again by itself, and meets a conflict with what it has done.
                let is_met = if fault == Fault::LostAnswer { tries % 2 == 1 } else { tries <= 7 };
                is_met.then_some(fault)
            })
            .await;
            assert!(status.phase.is_terminal());
            let ends: Vec<&Value> =
                lines.iter().filter(|line| line["phase"] == status.phase.as_str()).collect();
            let [end] = &ends[..] else { panic!("one end by {fault:?}: {lines:#?}") };
            assert_eq!(end["statusRefused"].is_string(), fault != Fault::LostAnswer, "{fault:?}: {end}");
            assert!(finished.ends_with(" 1"), "{fault:?}: {finished}");
        }
    }

    #[tokio::test]
    async fn one_that_is_torn_away_while_the_watch_is_broken_is_written_down_too() {
        let world = World::empty().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let is_away = Arc::new(AtomicBool::new(false));
        let away = Arc::clone(&is_away);
        let plan = move |asked: &Asked| match (asked.resource.as_str(), asked.verb) {
            // A watch ends with its first event. Once it is away the next is too old, and there is no new list.
            ("actions", "watch") if away.load(Ordering::SeqCst) => Some(Fault::ExpiredWatch),
            ("actions", "list") if away.load(Ordering::SeqCst) => Some(Fault::InternalError),
            ("actions", "watch") => Some(Fault::DroppedWatch),
            _ => None,
        };
        let engine = world.faulty_engine(None, logged(&path), plan).await;
        let action = under_way(&world, &engine, "torn").await;
        let mut events = engine.events("subscription { actionsChanged { kind name } }", json!({})).await;
        world.within(events.data()).await;
        is_away.store(true, Ordering::SeqCst);
        tear_away(&world, &action).await;
        is_away.store(false, Ordering::SeqCst);
        while engine.names(Value::Null).await.contains(&"torn".to_owned()) {
            world.within(events.data()).await;
        }
        engine.drain().await;
        let found = vanished(&path);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0]["action"]["uid"], json!(action.metadata.uid));
    }
}

#[tokio::test]
async fn who_had_what_done_is_written_down() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let options = GatewayOptions { authentication: vec![Authentication::Token], ..logged(&path) };
    let engine = world.engine_told(options).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    world.grant(&alice, Some("default"), "actions", &["get", "create", "run"]).await;
    world.grant_edit(&alice, Some("chat")).await;
    let secret = "none-of-the-log-s-business";
    let parameters = json!({
        "action": "backup", "name": "mongo", "includeNamespaces": "chat", "selector": "helm.sh/chart=mongodb-10.3.1",
        "labels": {"note": secret},
    });
    engine.run_by(&bob, "nightly", parameters.clone()).await.refuses("FORBIDDEN", &[]);
    engine.run_by(&alice, "nightly", parameters).await.data();
    let status = world.succeeded("nightly").await;
    engine.graphql_by(Some(&alice), "{ action(name: \"nightly\") { name } }", json!({})).await.data();
    engine.drain().await;

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(secret), "parameters are not in it");
    let lines = read(&path);
    let rendering = status.rendering.unwrap();
    for line in &lines {
        if line["what"] != "mutation" {
            assert_eq!(
                (&line["action"]["namespace"], &line["action"]["name"]),
                (&json!("default"), &json!("nightly"))
            );
        }
        if line["phase"] == "SUCCEEDED" {
            assert_eq!(line["catalog"], rendering.catalog_digest.as_str());
            assert_eq!(line["workflow"], rendering.workflow_ref.digest.as_str());
            assert_eq!(line["verdict"], json!(status.outcome.as_ref().unwrap().verdict));
        }
    }
    let mut told: Vec<String> = lines
        .iter()
        .map(|line| {
            let by =
                line["by"]["username"].as_str().and_then(|name| name.rsplit(':').next()).unwrap_or("nobody");
            match line["what"].as_str().unwrap() {
                "mutation" => format!("{by}: {} {}: {}", line["operation"], line["name"], line["code"]),
                "rights" => format!("{by}: {} of {}: {}", line["rights"], line["asked"], line["allowed"]),
                _ => format!("{by}: {}", line["phase"]),
            }
        })
        .map(|line| line.replace('"', ""))
        .collect();
    // The answer to the mutation and the first phases come in any order.
    told.sort();
    assert_eq!(
        told,
        [
            "alice: RUNNING",
            "alice: SUCCEEDED",
            "alice: [backup targets.core.ochre.dev in chat,get secrets in chat,list secrets in chat] of 3: true",
            "alice: createAction nightly: OK",
            "bob: createAction nightly: FORBIDDEN",
        ]
    );
}

#[tokio::test]
async fn who_canceled_a_run_is_written_down_and_not_who_ran_it() {
    let world = World::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let options = GatewayOptions { authentication: vec![Authentication::Token], ..logged(&path) };
    let engine = world.engine_told(options).await;
    let (alice, carol) = (world.person("alice").await, world.person("carol").await);
    world.grant_edit(&alice, Some("default")).await;
    world.grant(&carol, Some("default"), "actions", &["get", "cancel"]).await;
    world.stop_velero().await;
    for name in ["canceled", "deleted"] {
        let parameters = json!({"action": "backup", "name": name, "includeNamespaces": "default"});
        engine.run_by(&alice, name, parameters).await.data();
        world.until(name, |status| status.objects().next().is_some()).await;
    }
    let cancel = "mutation { cancelAction(name: \"canceled\") { name } }";
    engine.graphql_by(Some(&carol), cancel, json!({})).await.data();
    world.ended("canceled").await;
    let action = world.actions("default").get("deleted").await.unwrap();
    world.actions("default").delete("deleted", &DeleteParams::default()).await.unwrap();
    world.action_gone(&action).await;
    engine.drain().await;
    let lines = read(&path);
    for (name, cause, by) in
        [("canceled", "cancel", json!(carol.username)), ("deleted", "deleted", Value::Null)]
    {
        let is_it = |line: &&Value| line["phase"] == "CANCELED" && line["action"]["name"] == name;
        let line = lines.iter().find(is_it).unwrap_or_else(|| panic!("{lines:#?}"));
        assert_eq!((&line["cause"], &line["by"]["username"]), (&json!(cause), &by), "{line}");
    }
}

/// A device that is always full stands for a full disk.
#[tokio::test]
async fn while_nothing_can_be_written_down_no_run_begins() {
    let world = World::start().await;
    let written_to =
        |path: &Path| GatewayOptions { audit_log: Some(path.to_owned()), ..GatewayOptions::default() };
    let engine = world.engine_told(written_to(Path::new("/dev/full"))).await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"});
    world.apply_action("nightly", parameters).await;
    let is_told = |status: &ActionStatus| {
        status.message.as_ref().is_some_and(|message| message.contains("the audit log cannot be written"))
    };
    let status = world.until("nightly", is_told).await;
    assert_eq!(status.phase, Phase::Initial);
    // The answer to this cannot be written down; from then on the gateway does nothing, and nothing is prepared either.
    engine.catch_up().await;
    let refused = engine.graphql("mutation { runAction(name: \"nightly\") { name } }", json!({})).await;
    refused.refuses("INTERNAL", &["audit log"]);
    let other = json!({"action": "backup", "name": "later", "selector": "helm.sh/chart=mongodb-10.3.1"});
    world.apply_action("later", other).await;
    world.until("later", is_told).await;
    let maps = world.api("v1", "ConfigMap", Some("default")).list(&ListParams::default()).await.unwrap();
    assert!(!maps.items.iter().any(|map| map.name_any().starts_with("later")), "its workflow is not stored");
    assert!(world.velero_names("Backup").await.is_empty());
    engine.drain().await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let engine = world.engine_told(written_to(&path)).await;
    let status = world.succeeded("nightly").await;
    assert!(!is_told(&status), "{status:#?}");
    engine.drain().await;
    let phases: Vec<Value> = read(&path)
        .into_iter()
        .filter(|line| line["what"] == "phase" && line["action"]["name"] == "nightly")
        .map(|line| line["phase"].clone())
        .collect();
    assert_eq!(phases, ["RUNNING", "SUCCEEDED"]);
}

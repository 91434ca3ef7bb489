//! What is written down: every mutation and every decision about a run, whoever asked and whatever came of it.

use std::path::Path;

use kube::ResourceExt as _;
use kube::api::ListParams;
use ochre::Authentication;
use ochre::audit::verify;
use ochre::options::GatewayOptions;
use ochre_core::action::ActionStatus;
use ochre_core::phase::Phase;
use ochre_tests::World;
use serde_json::{Value, json};

/// Reads a log, which must be as it was written.
fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verify(text.as_bytes(), None).unwrap().lines, lines.len() as u64);
    lines.into_iter().map(|mut line| line["event"].take()).collect()
}

#[tokio::test]
async fn who_had_what_done_is_written_down() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let options = GatewayOptions {
        authentication: vec![Authentication::Token],
        audit_log: Some(path.clone()),
        ..GatewayOptions::default()
    };
    let engine = world.engine_told(options).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    world.grant(&alice, Some("default"), "actions", &["get", "create", "run"]).await;
    world.grant(&alice, Some("chat"), "targets", &["backup"]).await;
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
                "right" => format!("{by}: {}: {}", line["right"], line["allowed"]),
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
            "alice: backup targets.core.ochre.dev in chat: true",
            "alice: createAction nightly: OK",
            "bob: createAction nightly: FORBIDDEN",
        ]
    );
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

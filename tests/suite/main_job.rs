//! The main job: the operations of the seed, word for word, from the backup to the return of what was lost.

use std::collections::BTreeMap;

use ochre_core::phase::Phase;
use ochre_tests::{Engine, World, normalized, uncounted, words};
use serde_json::{Value, json};

const BACKUP: &str = include_str!("../../engine/server/src/sandbox/backup.graphql");
const RESTORE: &str = include_str!("../../engine/server/src/sandbox/restore.graphql");
const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

/// Creates, runs and waits by the operations of a document; yields what `Get` says at the end.
async fn run_operations(world: &World, engine: &Engine, document: &str, create: &str) -> Value {
    let created = engine.operation(document, create).await.data()["createAction"].clone();
    assert_eq!(created["name"], "backup-mongo");
    world.until("backup-mongo", |status| status.phase == Phase::ReadyToRun).await;
    let ready = engine.operation(document, "Get").await.data()["action"].clone();
    assert_eq!(ready["status"]["phase"], "READY_TO_RUN");
    let ran = engine.operation(document, "Run").await.data()["runAction"].clone();
    assert_eq!(ran["name"], "backup-mongo");
    world.succeeded("backup-mongo").await;
    engine.operation(document, "Get").await.data()["action"].clone()
}

/// Lists what is not the application's; the volume of its claim is, though nobody labels it.
async fn bystanders(world: &World) -> BTreeMap<String, Value> {
    let mut beside = world.objects("helm.sh/chart!=mongodb-10.3.1").await;
    beside.retain(|place, _| !place.starts_with("PersistentVolume "));
    beside
}

/// Parts a history into what a watch must see and what it may miss when changes follow fast.
fn timeline(history: &Value, may_be_missed: &[&str]) -> String {
    let all: Vec<&str> =
        history.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    let fleeting: Vec<&&str> = all.iter().filter(|what| may_be_missed.contains(what)).collect();
    let places: Vec<_> =
        fleeting.iter().map(|what| may_be_missed.iter().position(|each| *each == **what)).collect();
    assert!(places.is_sorted(), "Velero's phases come in order: {all:?}");
    all.iter().filter(|what| !may_be_missed.contains(what)).copied().collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_operations_of_the_seed_bring_the_application_back() {
    let world = World::start().await;
    let engine = world.engine().await;
    let application = world.objects(APPLICATION).await;
    let bystanders = bystanders(&world).await;
    assert_eq!(application.len(), 5, "{:?}", application.keys());

    let saved = run_operations(&world, &engine, BACKUP, "CreateMongoDBBackup").await;
    let status = &saved["status"]["runner"]["status"];
    insta::assert_snapshot!(timeline(&status["history"], &[
        "step backup: RUNNING (Queued)",
        "step backup: RUNNING (ReadyToStart)",
        "step backup: RUNNING (InProgress)",
        "step backup: RUNNING (Finalizing)",
    ]), @r"
    BEING_RENDERED
    READY_TO_RUN
    RUNNING
    step backup: RUNNING (New)
    step backup: RUNNING (Completed)
    step backup: SUCCEEDED
    SUCCEEDED
    ");
    assert_eq!(status["outcome"]["verdict"], "COMPLETE");
    insta::assert_snapshot!(uncounted(saved["status"]["message"].as_str().unwrap()), @"saved N items");
    let mut outputs = status["steps"][0]["outputs"].clone();
    let items = outputs["items"].take();
    // What the controllers of a real cluster make of it.
    let kinds = outputs["kinds"].as_object_mut().unwrap();
    for made in ["apps/v1/ControllerRevision", "discovery.k8s.io/v1/EndpointSlice", "v1/Endpoints"] {
        kinds.shift_remove(made);
    }
    let one_of_each = json!({
        "apps/v1/StatefulSet": 1, "v1/ConfigMap": 1, "v1/Namespace": 1, "v1/PersistentVolume": 1,
        "v1/PersistentVolumeClaim": 1, "v1/Pod": 1, "v1/Secret": 1, "v1/Service": 1,
    });
    let all = json!({
        "name": "mongo", "namespace": "velero", "items": null, "kinds": one_of_each, "warnings": 0, "errors": 0,
    });
    assert_eq!(outputs, all);
    assert_eq!(status["steps"][0]["progress"], json!({"done": items, "total": items, "unit": "items"}));

    engine.operation(BACKUP, "Delete").await.data();
    assert!(engine.operation(BACKUP, "Get").await.data()["action"].is_null());
    assert_eq!(world.velero_names("Backup").await, ["mongo"], "the Backup outlives its Action");
    world.lose_application().await;
    assert!(world.objects(APPLICATION).await.is_empty());

    let restored = run_operations(&world, &engine, RESTORE, "RestoreMongoDBBackup").await;
    let status = &restored["status"]["runner"]["status"];
    insta::assert_snapshot!(timeline(&status["history"], &[
        "step restore: RUNNING (InProgress)",
        "step restore: RUNNING (Finalizing)",
    ]), @r"
    BEING_RENDERED
    READY_TO_RUN
    RUNNING
    step restore: WAITING (ReadingBackup)
    step restore: RUNNING (New)
    step restore: RUNNING (Completed)
    step restore: RUNNING (WaitingForReady)
    step restore: SUCCEEDED
    SUCCEEDED
    ");
    insta::assert_snapshot!(uncounted(restored["status"]["message"].as_str().unwrap()), @"N created, 0 updated, N skipped, 0 left as they were, 0 failed");
    assert_eq!(status["outcome"]["verdict"], "COMPLETE");
    assert_eq!(status["steps"][0]["progress"]["unit"], "items");

    let back = world.objects(APPLICATION).await;
    assert!(back.keys().eq(application.keys()), "{:?}", back.keys());
    for (place, object) in &back {
        assert_eq!(normalized(object), normalized(&application[place]), "{place}");
        assert_ne!(object["metadata"]["uid"], application[place]["metadata"]["uid"], "{place} is new");
    }
    let beside = self::bystanders(&world).await;
    assert_eq!(beside, bystanders, "the bystanders are untouched");
    engine.operation(RESTORE, "Delete").await.data();
    assert_eq!(world.velero_names("Restore").await.len(), 1, "the Restore outlives its Action");
}

#[tokio::test]
async fn every_word_of_velero_appears_in_the_step() {
    let world = World::start().await;
    let engine = world.engine().await;
    world.stop_velero().await;
    engine.create("slow", None, json!({"action": "backup", "name": "slow"})).await.data();
    world.until("slow", |status| status.steps[0].reason.as_deref() == Some("New")).await;
    let phases = [
        ("Queued", json!({"queuePosition": 3}), Value::Null),
        ("ReadyToStart", json!({"queuePosition": null}), Value::Null),
        ("InProgress", json!({"progress": {"totalItems": 7, "itemsBackedUp": 3}}), json!("3/7 items")),
        (
            "WaitingForPluginOperations",
            json!({"progress": {"totalItems": 7, "itemsBackedUp": 7}}),
            json!("7/7 items"),
        ),
        ("Finalizing", json!({"warnings": 2}), json!("7/7 items")),
    ];
    for (phase, mut status, progress) in phases {
        status["phase"] = json!(phase);
        world.patch_velero("Backup", "slow", json!({"status": status})).await;
        let seen = world.until("slow", |status| status.steps[0].reason.as_deref() == Some(phase)).await;
        assert_eq!(json!(seen.progress), progress, "{phase}");
        assert_eq!(seen.phase, Phase::Running);
    }
    let status = world.status("slow").await;
    assert_eq!(status.steps[0].warnings, 2);
    insta::assert_snapshot!(words(&status).join("\n"), @r"
    BEING_RENDERED
    READY_TO_RUN
    RUNNING
    step backup: RUNNING (New)
    step backup: RUNNING (Queued)
    step backup: RUNNING (ReadyToStart)
    step backup: RUNNING (InProgress)
    step backup: RUNNING (WaitingForPluginOperations)
    step backup: RUNNING (Finalizing)
    ");
    let shown = engine.action("slow").await;
    assert_eq!(shown["status"]["runner"]["status"]["progress"], "7/7 items");
    assert_eq!(shown["status"]["phase"], "RUNNING");
}

#[tokio::test]
async fn create_with_run_is_one_post() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    let created = engine.create("nightly", Some("0.2.0"), parameters).await.data();
    assert_eq!(created["createAction"]["run"], true);
    let status = world.succeeded("nightly").await;
    assert_eq!(status.attempt, 1);
    assert_eq!(world.velero_names("Backup").await, ["mongo"]);
}

#[tokio::test]
async fn run_before_ready_is_recorded() {
    let world = World::start().await;
    let engine = world.engine().await;
    engine.operation(BACKUP, "CreateMongoDBBackup").await.data();
    // Whether it is rendered by now or not, nobody has to wait for it.
    engine.operation(BACKUP, "Run").await.data();
    world.succeeded("backup-mongo").await;
}

#[tokio::test]
async fn several_selectors_take_what_any_of_them_selects() {
    let world = World::start().await;
    let engine = world.engine().await;
    let selectors = json!([APPLICATION, "app in (frontend),!canary"]);
    engine.backed_up(&world, "both", json!({"selectors": selectors})).await;
    let backup = world.velero("Backup").get("both").await.unwrap();
    insta::assert_json_snapshot!(backup.data["spec"]["orLabelSelectors"], @r#"
    [
      {
        "matchLabels": {
          "helm.sh/chart": "mongodb-10.3.1"
        }
      },
      {
        "matchExpressions": [
          {
            "key": "app",
            "operator": "In",
            "values": [
              "frontend"
            ]
          },
          {
            "key": "canary",
            "operator": "DoesNotExist"
          }
        ]
      }
    ]
    "#);
    assert!(world.is_stored("backups/both/velero-backup.json"));
    world.lose_application().await;
    world.lose("app=frontend").await;
    engine.create("back", None, json!({"action": "restore", "name": "both"})).await.data();
    world.succeeded("back").await;
    assert_eq!(world.objects(APPLICATION).await.len(), 5);
    assert!(world.in_chat("apps/v1", "Deployment", "frontend").await.is_some());
}

#[tokio::test]
async fn what_later_revisions_add_reaches_velero() {
    let world = World::start().await;
    let engine = world.engine().await;
    let cases = [
        (json!({}), json!({"ttl": "720h", "defaultVolumesToFsBackup": true, "snapshotVolumes": false})),
        (
            json!({"volumes": "snapshot", "coverage": "off"}),
            json!({"defaultVolumesToFsBackup": false, "snapshotVolumes": true}),
        ),
        (
            json!({"volumes": "annotated", "coverage": "off"}),
            json!({"defaultVolumesToFsBackup": false, "snapshotVolumes": false}),
        ),
        (json!({"volumes": "none"}), json!({"defaultVolumesToFsBackup": false, "snapshotVolumes": false})),
        (
            json!({"ttl": "24h", "storageLocation": "default"}),
            json!({"ttl": "24h", "storageLocation": "default"}),
        ),
        (json!({"includeNamespaces": "chat, shop"}), json!({"includedNamespaces": ["chat", "shop"]})),
        (json!({"includeNamespaces": ["chat"]}), json!({"includedNamespaces": ["chat"]})),
        (
            json!({"excludeNamespaces": "shop", "excludedNamespaceScopedResources": "events"}),
            json!({"excludedNamespaces": ["shop"]}),
        ),
        (
            json!({"includeResources": "pods,deployments.apps", "allowEmpty": true}),
            json!({"includedResources": ["pods", "deployments.apps"]}),
        ),
    ];
    for (number, (parameters, spec)) in cases.into_iter().enumerate() {
        let name = format!("backup-{number}");
        let mut given = parameters.clone();
        if given["includeNamespaces"].is_null() && given["selectors"].is_null() {
            // Not all that a cluster has.
            given["selector"] = json!(APPLICATION);
        }
        engine.backed_up(&world, &name, given).await;
        let backup = world.velero("Backup").get(&name).await.unwrap();
        for (field, value) in spec.as_object().unwrap() {
            assert_eq!(backup.data["spec"][field], *value, "{parameters}: {field}");
        }
    }
}

//! Requests, sync, the queue, and how slow things can be.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use axum::body::Body;
use http::{Request, StatusCode};
use tower::ServiceExt;

fn request(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "velero"}, "spec": spec,
    })
}

async fn status_of(world: &World, path: &str, method: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    world.sandbox.router().oneshot(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn a_download_request_gets_an_address() {
    let world = World::new().await;
    world.back_up("b", json!({"includedNamespaces": ["default"]})).await;
    let requests = Resource::velero("downloadrequests", "DownloadRequest");
    let done: fn(&Value) -> bool = |request| phase(request) == "Processed";
    for (kind, expected) in [
        ("BackupResourceList", StatusCode::OK),
        ("BackupContents", StatusCode::OK),
        ("BackupVolumeInfos", StatusCode::OK),
        ("CSIBackupVolumeSnapshots", StatusCode::NOT_FOUND),
    ] {
        let spec = json!({"target": {"kind": kind, "name": "b"}});
        let states =
            world.run(&requests, &format!("get-{}", kind.to_lowercase()), spec, json!({}), done).await;
        let url = states.last().unwrap()["status"]["downloadURL"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("http://localhost:1").unwrap();
        assert_eq!(status_of(&world, path, "GET").await, expected, "{kind}");
        assert_eq!(status_of(&world, path, "HEAD").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(status_of(&world, "/downloads/guess/b.tar.gz", "GET").await, StatusCode::FORBIDDEN);
}

/// A clock that a test moves.
static MINUTES: AtomicI64 = AtomicI64::new(0);

fn movable_clock() -> jiff::Timestamp {
    let start: jiff::Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
    start + jiff::SignedDuration::from_mins(MINUTES.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn an_address_works_for_ten_minutes() {
    let world = World::with_clock(movable_clock).await;
    world.back_up("b", json!({"includedNamespaces": ["default"]})).await;
    let requests = Resource::velero("downloadrequests", "DownloadRequest");
    let spec = json!({"target": {"kind": "BackupLog", "name": "b"}});
    let states = world.run(&requests, "log", spec, json!({}), |request| phase(request) == "Processed").await;
    let answer = &states.last().unwrap()["status"];
    assert_eq!(answer["expiration"], "2026-11-21T09:10:00Z");
    let path = answer["downloadURL"].as_str().unwrap().strip_prefix("http://localhost:1").unwrap().to_owned();
    MINUTES.store(10, Ordering::Relaxed);
    assert_eq!(status_of(&world, &path, "GET").await, StatusCode::OK);
    MINUTES.store(11, Ordering::Relaxed);
    assert_eq!(status_of(&world, &path, "GET").await, StatusCode::FORBIDDEN);
    world.follow(&requests, "log", states.last().unwrap(), Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn a_download_of_something_unknown_is_never_answered() {
    let world = World::new().await;
    world
        .create(&request(
            "DownloadRequest",
            "unknown",
            &json!({"target": {"kind": "BackupLog", "name": "no"}}),
        ))
        .await;
    world.back_up("b", json!({})).await;
    // A later request is answered, so the earlier one was looked at.
    let requests = Resource::velero("downloadrequests", "DownloadRequest");
    let spec = json!({"target": {"kind": "BackupLog", "name": "b"}});
    world.run(&requests, "known", spec, json!({}), |request| phase(request) == "Processed").await;
    assert_eq!(phase(&world.get("downloadrequests", "velero", "unknown").await.unwrap()), "");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_takes_the_files_the_restores_and_the_backup() {
    let world = World::new().await;
    let backup = world.back_up("b", json!({"includedNamespaces": ["default"]})).await;
    world.restore("r", json!({"backupName": "b"})).await;
    let requests = Resource::velero("deletebackuprequests", "DeleteBackupRequest");
    world.run(&requests, "b-1", json!({"backupName": "b"}), json!({}), Value::is_null).await;
    let states =
        world.follow(&super::super::backup::resource(), "b", backup.last().unwrap(), Value::is_null).await;
    assert_eq!(phase(&states[0]), "Deleting");
    assert!(world.get("restores", "velero", "r").await.is_none());
    assert!(!world.folder().join("backups/b").exists() && !world.folder().join("restores/r").exists());
    let states = world
        .run(&requests, "b-2", json!({"backupName": "b"}), json!({}), |request| phase(request) == "Processed")
        .await;
    assert_eq!(
        states.last().unwrap()["status"]["errors"],
        json!(["backup deletion failed: backup not found"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_restore_loses_its_files_first() {
    let world = World::new().await;
    world.back_up("b", json!({"includedNamespaces": ["default"]})).await;
    let states = world.restore("r", json!({"backupName": "b"})).await;
    assert!(world.folder().join("restores/r").exists());
    world.delete("restores", "velero", "r").await;
    world.follow(&restore::resource(), "r", states.last().unwrap(), Value::is_null).await;
    assert!(!world.folder().join("restores/r").exists());
}

#[tokio::test(start_paused = true)]
async fn backups_follow_the_bucket() {
    let world = World::new().await;
    world.create(&namespace("one")).await;
    world.back_up("b", json!({"includedNamespaces": ["one"]})).await;
    world.delete("backups", "velero", "b").await;
    let now = world.create(&config_map("one", "map", &json!({}))).await;
    let synced = world.follow(&backup::resource(), "b", &now, is_over).await;
    let back = synced.last().unwrap();
    assert_eq!((phase(back), &back["metadata"]["generation"]), ("Completed", &json!(1)));
    assert_eq!(back["metadata"]["labels"]["velero.io/storage-location"], "default");
    std::fs::remove_dir_all(world.folder().join("backups/b")).unwrap();
    world.follow(&backup::resource(), "b", back, Value::is_null).await;
}

#[tokio::test(start_paused = true)]
async fn backups_wait_in_line() {
    let world = World::new().await;
    let slow = json!({"sandbox.ochre.dev/step-delay": "10s"});
    let mut first = request("Backup", "first", &json!({}));
    first["metadata"]["annotations"] = slow;
    world.create(&first).await;
    let begun = tokio::time::Instant::now();
    world.run(&backup::resource(), "second", json!({}), json!({}), |backup| phase(backup) == "Queued").await;
    let states = world.run(&backup::resource(), "third", json!({}), json!({}), is_over).await;
    let positions: Vec<&Value> = states
        .iter()
        .map(|state| &state["status"]["queuePosition"])
        .filter(|position| !position.is_null())
        .collect();
    assert_eq!(positions, [2, 1]);
    assert!(begun.elapsed() >= Duration::from_secs(30), "the first one is slow, and the others wait for it");
}

#[tokio::test(start_paused = true)]
async fn small_requests_are_answered() {
    let world = World::new().await;
    let questions = Resource::velero("serverstatusrequests", "ServerStatusRequest");
    let states =
        world.run(&questions, "version", json!({}), json!({}), |request| phase(request) == "Processed").await;
    assert_eq!(states.last().unwrap()["status"]["serverVersion"], "v1.18.3");
    let schedules = Resource::velero("schedules", "Schedule");
    let spec = json!({"schedule": "0 3 * * *", "template": {}});
    world.run(&schedules, "nightly", spec, json!({}), |schedule| phase(schedule) == "Enabled").await;
}

//! The recordings of the real server, played again.

use std::io::Read;

use super::*;

const APPLICATION: &str = include_str!("../../../tests-data/velero-1.18.3/mongo-app.yaml");
const BACKUP_WATCH: &str = include_str!("../../../tests-data/velero-1.18.3/backup-completed.watch.jsonl");
const RESTORE_WATCH: &str = include_str!("../../../tests-data/velero-1.18.3/restore-completed.watch.jsonl");
const BIG_WATCH: &str = include_str!("../../../tests-data/velero-1.18.3/backup-2001-items.watch.jsonl");
const TAR_LISTING: &str = include_str!("../../../tests-data/velero-1.18.3/mongo.tar.listing.txt");
const RESOURCE_LIST: &str = include_str!("../../../tests-data/velero-1.18.3/mongo-backup-resource-list.json");
const RESULTS: &str = include_str!("../../../tests-data/velero-1.18.3/mongo-backup-results.json");
const VOLUME_INFO: &str = include_str!("../../../tests-data/velero-1.18.3/mongo-backup-volumeinfo.json");
const AGAIN_LIST: &str =
    include_str!("../../../tests-data/velero-1.18.3/restore-over-existing-resource-list.json");
const AGAIN_RESULTS: &str =
    include_str!("../../../tests-data/velero-1.18.3/restore-over-existing-results.json");
const ENDINGS: &str = include_str!("../../../tests-data/velero-1.18.3/endings.jsonl");
const SELECTOR: &str = "helm.sh/chart";

/// What the cluster's own controllers made of the application in the recording.
fn made_by_controllers() -> Value {
    let labels = json!({SELECTOR: "mongodb-10.3.1"});
    let token = json!({"name": "kube-api-access-x7x7x", "projected": {"sources": []}});
    json!([
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-mongodb-0", "labels": labels},
         "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "pv-mongo"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mongodb-0", "labels": labels},
         "spec": {"containers": [{"name": "mongodb", "image": "mongodb:4.4"}],
                  "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-mongodb-0"}}, token]}},
        {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "mongodb-684ddb7b4f", "labels": labels}, "revision": 1},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mongodb", "labels": labels}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "mongodb-7vbpj", "labels": labels},
         "addressType": "IPv4", "endpoints": []},
    ])
}

async fn world() -> World {
    // The recording is of a cluster without nodes.
    let world = World::without_node().await;
    let objects: Vec<Value> = serde_saphyr::from_multiple(APPLICATION).unwrap();
    for object in &objects {
        world.create(object).await;
    }
    for mut object in made_by_controllers().as_array().unwrap().clone() {
        object["metadata"]["namespace"] = json!("chat");
        world.create(&object).await;
    }
    world
}

fn selected() -> Value {
    json!({"labelSelector": {"matchLabels": {SELECTOR: "mongodb-10.3.1"}}})
}

/// Reads a recording and a run in the same form, and compares them line by line.
fn assert_recorded(states: &[Value], recording: &str) {
    let recorded: Vec<Value> =
        recording.lines().map(|line| redacted(&serde_json::from_str(line).unwrap())).collect();
    let seen = states.iter().enumerate().map(|(index, state)| {
        let mut line = json!({
            "type": if index == 0 { "ADDED" } else { "MODIFIED" },
            "generation": state["metadata"]["generation"], "status": redacted(&state["status"]),
        });
        if recorded[0].get("finalizers").is_some() {
            line["finalizers"] = state["metadata"]["finalizers"].clone();
        }
        line
    });
    let seen: Vec<Value> = seen.collect();
    for (index, line) in recorded.iter().enumerate() {
        assert_eq!(seen.get(index), Some(line), "line {index}");
    }
    assert_eq!(seen.len(), recorded.len());
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_backup_walks_the_recorded_phases() {
    let world = world().await;
    assert_recorded(&world.back_up("mongo", selected()).await, BACKUP_WATCH);
}

#[tokio::test(start_paused = true)]
async fn a_large_backup_walks_the_recorded_phases() {
    let world = World::new().await;
    world.create(&namespace("big")).await;
    let maps = Resource::new("", "v1", "configmaps", "ConfigMap", true);
    for index in 0..2000 {
        let map = config_map("big", &format!("m{index}"), &json!({"app": "big"}));
        world.cluster.create(&maps, "big", &map).await.unwrap();
    }
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "big"}, "status": {},
        "spec": {"labelSelector": {"matchLabels": {"app": "big"}}},
    });
    let created = world.cluster.create(&backup::resource(), "velero", &object).await.unwrap();
    let mut states = world.follow(&backup::resource(), "big", &created, is_over).await;
    states.insert(0, created);
    assert_recorded(&states, BIG_WATCH);
}

#[tokio::test(start_paused = true)]
async fn a_backup_leaves_the_recorded_files() {
    let world = world().await;
    world.back_up("mongo", selected()).await;
    let mut files: Vec<String> = std::fs::read_dir(world.folder().join("backups/mongo"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "mongo-itemoperations.json.gz",
        "mongo-logs.gz",
        "mongo-podvolumebackups.json.gz",
        "mongo-resource-list.json.gz",
        "mongo-results.gz",
        "mongo-volumeinfo.json.gz",
        "mongo-volumesnapshots.json.gz",
        "mongo.tar.gz",
        "velero-backup.json",
    ];
    assert_eq!(files, expected);
    assert_eq!(world.gzip_json("backups/mongo/mongo-resource-list.json.gz"), json_of(RESOURCE_LIST));
    assert_eq!(world.gzip_json("backups/mongo/mongo-results.gz"), json_of(RESULTS));
    assert_eq!(world.gzip_json("backups/mongo/mongo-volumeinfo.json.gz"), json_of(VOLUME_INFO));
    let stored = world.bucket().read_json("backups/mongo/velero-backup.json").unwrap();
    assert_eq!((phase(&stored), &stored["kind"]), ("Completed", &json!("Backup")));
}

#[tokio::test(start_paused = true)]
async fn the_tarball_has_the_recorded_paths() {
    let world = world().await;
    world.back_up("mongo", selected()).await;
    let bytes = world.bucket().read_gzip("backups/mongo/mongo.tar.gz").unwrap();
    let mut tar = tar::Archive::new(bytes.as_slice());
    let mut listing = String::new();
    for file in tar.entries().unwrap() {
        let mut file = file.unwrap();
        let path = file.path().unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            (file.header().mode().unwrap(), file.header().entry_type()),
            (0o755, tar::EntryType::Regular)
        );
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        if path == "metadata/version" {
            assert_eq!(content, "1.1.0\n");
        } else {
            assert_eq!(
                json_of(&content)["metadata"]["name"],
                path.rsplit_once('/').unwrap().1.trim_end_matches(".json")
            );
        }
        listing.push_str(&path);
        listing.push('\n');
    }
    assert_eq!(listing, TAR_LISTING);
}

#[tokio::test(start_paused = true)]
async fn the_server_fills_in_the_recorded_defaults() {
    let world = world().await;
    let states = world.back_up("defaults", json!({})).await;
    let done = states.last().unwrap();
    let recorded = ENDINGS.lines().map(json_of).find(|line| line["object"] == "Backup/big2").unwrap();
    let mut expected = recorded["spec"].clone();
    expected.as_object_mut().unwrap().remove("labelSelector");
    assert_eq!(done["spec"], expected);
    assert_eq!(done["metadata"]["labels"]["velero.io/storage-location"], "default");
    let annotations = done["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations["velero.io/source-cluster-k8s-gitversion"], "v1.36.4");
    assert!(annotations.contains_key("velero.io/source-cluster-k8s-minor-version"));
}

/// Deletes what the backup selected, but for the volume, which is then Released.
async fn lose(world: &World) {
    for (resource, name) in [
        ("statefulsets", "mongodb"),
        ("controllerrevisions", "mongodb-684ddb7b4f"),
        ("pods", "mongodb-0"),
        ("services", "mongodb"),
        ("endpoints", "mongodb"),
        ("endpointslices", "mongodb-7vbpj"),
        ("configmaps", "mongodb-conf"),
        ("secrets", "mongodb"),
        ("persistentvolumeclaims", "data-mongodb-0"),
    ] {
        world.delete(resource, "chat", name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn restores_go_as_recorded() {
    let world = world().await;
    world.back_up("mongo", selected()).await;
    lose(&world).await;
    let states = world.restore("mongo-1", json!({"backupName": "mongo"})).await;
    assert_recorded(&states, RESTORE_WATCH);
    let recorded = ENDINGS.lines().map(json_of).find(|line| line["object"] == "Restore/again").unwrap();
    assert_eq!(states.last().unwrap()["spec"], recorded["spec"]);
    let secret = world.get("secrets", "chat", "mongodb").await.unwrap();
    assert_eq!(secret["metadata"]["labels"]["velero.io/backup-name"], "mongo");
    assert_eq!(secret["metadata"]["labels"]["velero.io/restore-name"], "mongo-1");

    // Controllers and admission touch what came back, as they did in the recording.
    world.delete("endpointslices", "chat", "mongodb-7vbpj").await;
    let touched = json!({"metadata": {"managedFields": [{"manager": "kube-controller-manager", "operation": "Update"}]}});
    world.merge("statefulsets", "chat", "mongodb", touched.clone()).await;
    world.merge("controllerrevisions", "chat", "mongodb-684ddb7b4f", touched.clone()).await;
    world.merge("persistentvolumeclaims", "chat", "data-mongodb-0", touched).await;
    world.merge("pods", "chat", "mongodb-0", json!({"spec": {"serviceAccountName": "default"}})).await;
    let states = world.restore("again", json!({"backupName": "mongo"})).await;
    assert_eq!(end(&states), redacted(&recorded["status"]));
    assert_eq!(world.gzip_json("restores/again/restore-again-resource-list.json.gz"), json_of(AGAIN_LIST));
    assert_eq!(world.gzip_json("restores/again/restore-again-results.gz"), json_of(AGAIN_RESULTS));
}

#[tokio::test(start_paused = true)]
async fn a_lost_namespace_comes_back_with_its_volume() {
    let world = world().await;
    world.back_up("mongo", selected()).await;
    let before = world.get("services", "chat", "mongodb").await.unwrap();
    world.delete("namespaces", "", "chat").await;
    world.delete("persistentvolumes", "", "pv-mongo").await;
    let states = world.restore("mongo-1", json!({"backupName": "mongo"})).await;
    assert_eq!((phase(states.last().unwrap()), &end(&states)["warnings"]), ("Completed", &Value::Null));
    let list = world.gzip_json("restores/mongo-1/restore-mongo-1-resource-list.json.gz");
    assert_eq!(list["v1/Namespace"], json!(["chat(created)"]));
    let claim = world.get("persistentvolumeclaims", "chat", "data-mongodb-0").await.unwrap();
    assert_eq!(phase(&claim), "Bound");
    let after = world.get("services", "chat", "mongodb").await.unwrap();
    assert_ne!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert!(world.get("configmaps", "chat", "bystander").await.is_none());
}

//! What one Velero wrote, the other restores: the simulated and the real one share a format.

use std::collections::BTreeMap;
use std::path::Path;

use ochre_tests::{World, normalized};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

/// Asks for one of Velero's objects, and waits for its good end.
async fn completed(world: &World, kind: &str, name: &str, spec: Value) {
    let metadata = json!({"name": name, "namespace": world.velero_namespace});
    let object = json!({"apiVersion": "velero.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    world.create(object).await;
    world.velero_phase(kind, name, "Completed").await;
}

/// Backs the application up in one cluster and restores it in another, where it is lost.
///
/// No other test has a backup of the name: the S3 server remembers the checksums of what was ever put there.
async fn check(from: &World, to: &World, name: &str) {
    let saved = from.objects(APPLICATION).await;
    let (chart, version) = APPLICATION.split_once('=').unwrap();
    let selector = json!({"matchLabels": {(chart): version}});
    let spec = json!({"includedNamespaces": ["chat"], "labelSelector": selector, "snapshotVolumes": false});
    completed(from, "Backup", name, spec).await;
    to.lose_application().await;
    let folder = Path::new("backups").join(name);
    copy(&from.bucket().join(&folder), &to.bucket().join(&folder));
    // One that starts looks at once into the bucket.
    to.stop_velero().await;
    to.start_velero().await;
    to.velero_phase("Backup", name, "Completed").await;
    completed(to, "Restore", "back", json!({"backupName": name})).await;

    let restored = to.objects(APPLICATION).await;
    let kinds = ["ConfigMap", "Secret", "Service", "StatefulSet", "PersistentVolumeClaim"];
    let compared: BTreeMap<&String, &Value> = saved
        .iter()
        .filter(|(place, _)| kinds.iter().any(|kind| place.starts_with(&format!("{kind} "))))
        .collect();
    assert_eq!(compared.len(), kinds.len());
    for (place, object) in compared {
        let found = restored.get(place).map(normalized).unwrap_or_default();
        assert_eq!(lacking(&normalized(object), &found, ""), Vec::<String>::new(), "{place}");
    }
}

/// Names what one value has and another lacks; the server of each cluster adds defaults of its own.
fn lacking(wanted: &Value, found: &Value, path: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, value)| {
                lacking(value, found.get(key).unwrap_or(&Value::Null), &format!("{path}/{key}"))
            })
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate();
            pairs
                .flat_map(|(index, (wanted, found))| lacking(wanted, found, &format!("{path}/{index}")))
                .collect()
        }
        (wanted, found) if wanted == found => Vec::new(),
        (wanted, found) => vec![format!("{path}: {wanted}, not {found}")],
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn the_real_one_restores_what_the_simulated_one_wrote() {
    check(&World::with(|_| {}).await, &World::start().await, "by-the-simulated-one").await;
}

#[tokio::test]
async fn the_simulated_one_restores_what_the_real_one_wrote() {
    check(&World::start().await, &World::with(|_| {}).await, "by-the-real-one").await;
}

//! What Velero makes of Backups, Restores and requests: phases, status, and every file in the bucket.

use futures::StreamExt as _;
use kube::api::DynamicObject;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::files;
use super::script::Script;

const OWN: &str = "/apis/velero.io/v1/namespaces/velero";
const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const ENDS: [&str; 5] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Processed"];

/// What Velero does when asked for an object.
impl Script {
    /// Creates one of Velero's objects, waits for its end, and writes down how it came to it.
    async fn asks(&mut self, kind: &str, name: &str, spec: Value) -> Value {
        let plural = format!("{}s", kind.to_lowercase());
        let object =
            json!({"apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        self.note(&format!("> {kind} {name}: {spec}"));
        let made = self.quietly("POST", &format!("{OWN}/{plural}"), object).await;
        let version = made["metadata"]["resourceVersion"].as_str().unwrap();
        let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
        let changes = self.world.velero(kind).watch(&parameters, version).await.unwrap();
        let mut changes = std::pin::pin!(changes);
        let mut phases: Vec<String> = Vec::new();
        let last = loop {
            let change = self.world.within(changes.next()).await.unwrap().unwrap();
            let WatchEvent::Modified(object) = change else { continue };
            let object = serde_json::to_value(&object).unwrap();
            self.learn(&object);
            phases.extend(object["status"]["phase"].as_str().map(str::to_owned));
            if phases.last().is_some_and(|phase| ENDS.contains(&phase.as_str())) {
                break object;
            }
        };
        phases.dedup();
        self.note(&format!("phases: {}", phases.join(" ")));
        self.show(&last);
        last
    }

    async fn backs_up(&mut self, name: &str, spec: Value) {
        self.asks("Backup", name, spec).await;
        files::note_folder(self, &format!("backups/{name}"));
    }

    async fn restores(&mut self, name: &str, spec: Value) {
        self.asks("Restore", name, spec).await;
        files::note_folder(self, &format!("restores/{name}"));
    }

    /// Makes a few objects of kinds that no controller adds to.
    async fn application(&mut self) {
        let labels = json!({"app": "small"});
        let metadata = json!({"name": "one", "labels": labels});
        self.quietly("POST", MAPS, json!({"metadata": metadata, "data": {"a": "b"}})).await;
        self.quietly(
            "POST",
            MAPS,
            json!({"metadata": {"name": "two", "labels": labels}, "data": {"c": "d"}}),
        )
        .await;
        self.quietly("POST", MAPS, json!({"metadata": {"name": "bystander"}})).await;
        self.quietly(
            "POST",
            "/api/v1/namespaces/same/secrets",
            json!({"metadata": metadata, "stringData": {"a": "b"}}),
        )
        .await;
        self.quietly(
            "POST",
            "/api/v1/namespaces/same/services",
            json!({"metadata": metadata, "spec": {"ports": [{"port": 80}]}}),
        )
        .await;
        self.quietly("POST", "/api/v1/namespaces/same/serviceaccounts", json!({"metadata": metadata})).await;
        let template =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}});
        let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
        self.quietly(
            "POST",
            "/apis/apps/v1/namespaces/same/deployments",
            json!({"metadata": metadata, "spec": spec}),
        )
        .await;
        self.settles().await;
    }

    /// Waits until the controller of the Deployment has written all that it writes: else it is by chance whether that is
    /// saved, and whether a restore finds it to be different.
    async fn settles(&self) {
        let deployments = self.world.api("apps/v1", "Deployment", Some("same"));
        let is_seen = |found: Option<&DynamicObject>| {
            found.is_some_and(|found| {
                found.data["status"]["observedGeneration"].as_i64() == found.metadata.generation
            })
        };
        self.world.object(deployments, "one", is_seen).await;
    }

    /// Deletes those objects.
    async fn loses_application(&mut self) {
        for path in [
            "/api/v1/namespaces/same/configmaps",
            "/api/v1/namespaces/same/secrets",
            "/api/v1/namespaces/same/serviceaccounts",
            "/apis/apps/v1/namespaces/same/deployments",
        ] {
            self.quietly("DELETE", &format!("{path}?labelSelector=app%3Dsmall"), Value::Null).await;
        }
        self.quietly("DELETE", "/api/v1/namespaces/same/services/one", Value::Null).await;
    }
}

/// Selects the small application, of the kinds that both clusters keep alike.
fn small() -> Value {
    json!({
        "includedNamespaces": ["same"], "labelSelector": {"matchLabels": {"app": "small"}},
        "includedResources": ["configmaps", "secrets", "services", "serviceaccounts", "deployments", "namespaces"],
    })
}

#[tokio::test]
async fn how_backups_end() {
    let mut script = Script::start().await;
    script.application().await;
    script.backs_up("good", small()).await;
    script.backs_up("plain", json!({"labelSelector": {"matchLabels": {"app": "small"}}, "includedResources": ["cm"], "ttl": "1h30m", "snapshotVolumes": false, "metadata": {"labels": {"a": "b"}}})).await;
    script.backs_up("either", json!({"orLabelSelectors": [{"matchLabels": {"app": "small"}}, {"matchLabels": {"app": "no-such"}}], "includedResources": ["configmaps", "Secret"], "excludedResources": ["secrets"]})).await;
    script
        .backs_up(
            "empty",
            json!({"includedNamespaces": ["same"], "labelSelector": {"matchLabels": {"app": "no-such"}}}),
        )
        .await;
    script.backs_up("missing", json!({"includedNamespaces": ["same", "no-such"], "labelSelector": {"matchLabels": {"app": "no-such"}}})).await;
    script
        .backs_up(
            "not-looked-for",
            json!({"includedNamespaces": ["same", "no-such"], "includedResources": ["deployments"]}),
        )
        .await;
    script
        .backs_up(
            "unknown-kind",
            json!({"includedNamespaces": ["same"], "includedResources": ["no-such", "deployments"]}),
        )
        .await;
    script.backs_up("nowhere", json!({"storageLocation": "no-such"})).await;
    script.backs_up("both", json!({"labelSelector": {"matchLabels": {"a": "b"}}, "orLabelSelectors": [{"matchLabels": {"a": "b"}}]})).await;
    script.backs_up("filters", json!({"includedNamespaces": ["*", "a"], "excludedNamespaces": ["a", "*"], "includedResources": ["pods"], "excludedResources": ["pods"], "includedClusterScopedResources": ["nodes"]})).await;
    let folder = script.world.bucket().join("backups/taken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("velero-backup.json"), "{}").unwrap();
    script.backs_up("taken", json!({"includedResources": ["deployments"]})).await;
    script.compare("how-backups-end");
}

#[tokio::test]
async fn how_restores_end() {
    let mut script = Script::start().await;
    script.application().await;
    script.backs_up("good", small()).await;
    script
        .backs_up("empty", json!({"includedNamespaces": ["no-such"], "includedResources": ["secrets"]}))
        .await;
    script.loses_application().await;
    script.restores("lost", json!({"backupName": "good"})).await;
    script.settles().await;
    for path in [
        "/api/v1/namespaces/same/configmaps/one",
        "/api/v1/namespaces/same/secrets/one",
        "/api/v1/namespaces/same/serviceaccounts/one",
    ] {
        script.get(path).await;
    }
    script.quietly("PATCH", &format!("{MAPS}/one"), json!({"data": {"a": "changed"}})).await;
    // Whether the controller or Velero wrote last is by chance, and shows in who owns the fields: this differs for sure.
    let changed = json!({"metadata": {"annotations": {"a": "changed"}}});
    script.quietly("PATCH", "/apis/apps/v1/namespaces/same/deployments/one", changed).await;
    script.restores("over", json!({"backupName": "good"})).await;
    script.restores("update", json!({"backupName": "good", "existingResourcePolicy": "update"})).await;
    script.get(&format!("{MAPS}/one")).await;
    script.restores("mapped", json!({"backupName": "good", "namespaceMapping": {"same": "same-copy"}, "includedResources": ["configmaps", "serviceaccounts"]})).await;
    script.get("/api/v1/namespaces/same-copy/configmaps/two").await;
    script
        .restores(
            "filtered",
            json!({"backupName": "good", "labelSelector": {"matchLabels": {"app": "no-such"}}}),
        )
        .await;
    script.restores("of-nothing", json!({"backupName": "empty"})).await;
    script.restores("unknown", json!({"backupName": "no-such"})).await;
    script.restores("neither", json!({})).await;
    script.restores("schedule", json!({"scheduleName": "no-such"})).await;
    script.restores("wrong", json!({"backupName": "good", "includedResources": ["nodes", "backups.velero.io"], "existingResourcePolicy": "replace", "labelSelector": {}, "orLabelSelectors": [{}]})).await;
    script.compare("how-restores-end");
}

#[tokio::test]
async fn how_requests_are_answered() {
    let mut script = Script::start().await;
    script.application().await;
    script.asks("Backup", "good", small()).await;
    script.asks("Restore", "back", json!({"backupName": "good"})).await;
    for (kind, name) in [
        ("BackupLog", "good"),
        ("BackupContents", "good"),
        ("BackupVolumeSnapshots", "good"),
        ("BackupItemOperations", "good"),
        ("BackupResourceList", "good"),
        ("BackupResults", "good"),
        ("CSIBackupVolumeSnapshots", "good"),
        ("CSIBackupVolumeSnapshotContents", "good"),
        ("BackupVolumeInfos", "good"),
        ("RestoreLog", "back"),
        ("RestoreResults", "back"),
        ("RestoreResourceList", "back"),
        ("RestoreItemOperations", "back"),
        ("RestoreVolumeInfo", "back"),
    ] {
        let request = script
            .asks("DownloadRequest", &kind.to_lowercase(), json!({"target": {"kind": kind, "name": name}}))
            .await;
        let url = request["status"]["downloadURL"].as_str().unwrap();
        files::note_download(&mut script, url).await;
    }
    script.asks("DeleteBackupRequest", "unknown", json!({"backupName": "no-such"})).await;
    let backup = script.get(&format!("{OWN}/backups/good")).await;
    let request = json!({"apiVersion": "velero.io/v1", "kind": "DeleteBackupRequest", "metadata": {"name": "gone"}, "spec": {"backupName": "good"}});
    let made = script.quietly("POST", &format!("{OWN}/deletebackuprequests"), request).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let gone = kube::runtime::conditions::is_deleted(uid);
    script.world.object(script.world.velero("DeleteBackupRequest"), "gone", gone).await;
    for (plural, made) in [("deletebackuprequests", &made), ("backups", &backup)] {
        let version = made["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!(
            "watch=true&timeoutSeconds=1&resourceVersion={version}&fieldSelector=metadata.name={}",
            made["metadata"]["name"].as_str().unwrap()
        );
        for event in script.events(&format!("{OWN}/{plural}?{query}")).await {
            script.note(&format!("{plural} {}: {}", event["type"], event["object"]["status"]["phase"]));
        }
    }
    for path in ["backups", "restores", "deletebackuprequests"] {
        script.get(&format!("{OWN}/{path}")).await;
    }
    files::note_folder(&mut script, "backups");
    files::note_folder(&mut script, "restores");
    script.compare("how-requests-are-answered");
}

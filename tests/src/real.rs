//! A real cluster, as `hack/cluster` starts it: one for all tests, each of which finds it as if it were new.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use ochre_sandbox::api::parse_deep;
use serde_json::{Value, json};

use crate::World;
use crate::world::Place;

/// Namespaces that no test makes.
const LASTING: [&str; 6] =
    ["default", "kube-system", "kube-public", "kube-node-lease", "velero", "ochre-system"];
/// How many volumes a test finds free, since nobody provisions any here.
const POOL: u32 = 6;
/// What runs in a namespace, and what that holds on to.
const RUNNING: [(&str, &str); 5] = [
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
];
/// What Velero keeps as objects, in the order in which it can be deleted.
const VELERO_KINDS: [&str; 8] = [
    "Schedule",
    "Restore",
    "PodVolumeRestore",
    "PodVolumeBackup",
    "DeleteBackupRequest",
    "DownloadRequest",
    "Backup",
    "BackupStorageLocation",
];

/// The real cluster that `hack/cluster run` leads into.
pub(crate) struct Real {
    pub(crate) run: PathBuf,
}

impl Real {
    /// Takes the cluster that the environment names, when it names one.
    pub(crate) fn of_environment() -> Option<Self> {
        std::env::var_os("OCHRE_CLUSTER_RUN").map(|run| Self { run: run.into() })
    }

    /// Names the folder of the object store.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.run.join("s3/velero")
    }

    /// Reads how an administrator reaches the cluster.
    pub(crate) async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.run.join("admin.kubeconfig")).unwrap();
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    /// Words how the engine reaches it: as its own ServiceAccount, with no right but those of manifests/base.
    pub(crate) async fn engine_config(&self, client: &Client) -> Config {
        let mut config = self.config().await;
        config.auth_info = kube::config::AuthInfo {
            token: Some(self.engine_token(client).await.into()),
            ..kube::config::AuthInfo::default()
        };
        config
    }

    /// Has a token made for the engine's ServiceAccount.
    pub(crate) async fn engine_token(&self, client: &Client) -> String {
        token(client, "ochre-system", "ochre").await
    }
}

impl World {
    /// Has a token made for a ServiceAccount.
    pub(crate) async fn token(&self, namespace: &str, name: &str) -> String {
        token(&self.client, namespace, name).await
    }
}

impl World {
    /// Takes away whatever another test has left, and mends what it has broken.
    pub(crate) async fn clear(&self) {
        let Place::Real(real) = &self.place else { return };
        if self.velero_works().await {
            // What it is at would end in an object of the next test that has the same name.
            self.stop_velero().await;
        }
        let bucket = real.bucket();
        // First the files: Velero would make Backups of them again.
        for folder in ["backups", "restores", "foreign"] {
            if bucket.join(folder).exists() {
                std::fs::remove_dir_all(bucket.join(folder)).unwrap();
            }
        }
        self.let_go_of("core.ochre.dev/v1alpha1", "Action", None, &[]).await;
        self.let_go_of("apps/v1", "Deployment", Some("ochre-system"), &[]).await;
        self.let_go_of("coordination.k8s.io/v1", "Lease", Some("ochre-system"), &[]).await;
        self.clear_namespaces().await;
        for kind in VELERO_KINDS {
            let keep: &[&str] = if kind == "BackupStorageLocation" { &["default"] } else { &[] };
            self.let_go_of("velero.io/v1", kind, Some("velero"), keep).await;
        }
        self.revoke_all().await;
        self.take_policies_away().await;
        self.let_go_of("v1", "PersistentVolume", None, &[]).await;
        for number in 1..=POOL {
            self.volume(&format!("pool-{number}"), "sandbox").await;
        }
        self.start_velero().await;
    }

    /// Waits until the demonstration's pods are ready, and its controllers have written all that they write.
    pub(crate) async fn application_is_ready(&self) {
        for (kind, namespace, name) in [
            ("StatefulSet", "chat", "mongodb"),
            ("Deployment", "chat", "frontend"),
            ("Deployment", "shop", "shop"),
        ] {
            let is_ready = |object: Option<&DynamicObject>| {
                object.is_some_and(|object| {
                    let status = &object.data["status"];
                    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
                    counts.iter().all(|count| status[count] == 1)
                        && status["observedGeneration"].as_i64() == object.metadata.generation
                })
            };
            self.object(self.api("apps/v1", kind, Some(namespace)), name, is_ready).await.unwrap();
        }
    }

    /// Makes an empty volume on the node.
    pub async fn volume(&self, name: &str, class: &str) {
        let folder = self.machine().run.join("volumes").join(name);
        // A volume of another test may have had its name.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        self.create(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": class,
                "local": {"path": folder},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]},
                ]}]}},
            },
        }))
        .await;
    }

    /// Tells whether Velero has something that has not ended.
    async fn velero_works(&self) -> bool {
        const ENDS: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
        let mut phases = Vec::new();
        for kind in ["Backup", "Restore"] {
            let all = self.list_deep(&self.velero(kind)).await;
            phases.extend(all.into_iter().map(|object| object["status"]["phase"].clone()));
        }
        phases.iter().any(|phase| !ENDS.iter().any(|end| phase == end))
    }

    /// Deletes every namespace that a test made, and waits for its end.
    async fn clear_namespaces(&self) {
        let all = self.api("v1", "Namespace", None).list_metadata(&ListParams::default()).await.unwrap();
        let names = all.items.iter().map(ResourceExt::name_any);
        let made: Vec<String> = names.filter(|name| !LASTING.contains(&name.as_str())).collect();
        self.delete_namespaces(&made).await;
    }

    /// Deletes namespaces at once, and waits for their end.
    pub async fn delete_namespaces(&self, names: &[String]) {
        let namespaces = self.api("v1", "Namespace", None);
        // What runs goes first, at once: a namespace that still has pods is looked at again only much later.
        let now = DeleteParams::default().grace_period(0);
        for name in names {
            for (api_version, kind) in RUNNING {
                let all = self.api(api_version, kind, Some(name));
                all.delete_collection(&now, &ListParams::default()).await.unwrap();
            }
        }
        for name in names {
            // It may be on its way already.
            let _ = namespaces.delete(name, &DeleteParams::default()).await;
        }
        for name in names {
            if let Some(namespace) = namespaces.get_opt(name).await.unwrap() {
                self.gone(namespaces.clone(), name, &namespace.uid().unwrap()).await;
            }
        }
    }

    /// Lists objects, some of which may nest deeper than a typed list bears.
    async fn list_deep(&self, api: &Api<DynamicObject>) -> Vec<Value> {
        let request = http::Request::get(api.resource_url()).body(Vec::new()).unwrap();
        let answer = self.client.request_text(request).await.unwrap();
        let mut list = parse_deep(answer.as_bytes()).unwrap();
        list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Deletes all objects of a kind, whatever holds them.
    async fn let_go_of(&self, api_version: &str, kind: &str, namespace: Option<&str>, keep: &[&str]) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for object in self.list_deep(&self.api(api_version, kind, namespace)).await {
            let metadata = &object["metadata"];
            let (name, uid) = (text(&metadata["name"]), text(&metadata["uid"]));
            if keep.contains(&name.as_str()) {
                continue;
            }
            let api: Api<DynamicObject> = self.api(api_version, kind, metadata["namespace"].as_str());
            let unheld = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            // It may be gone by itself in between.
            let _ = api.delete(&name, &DeleteParams::default()).await;
            let _ = api.patch(&name, &PatchParams::default(), &unheld).await;
            self.gone(api, &name, &uid).await;
        }
    }
}

async fn token(client: &Client, namespace: &str, name: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(7200), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token.unwrap()
}

//! What a suite does to Velero and its store behind the engine's back.
//!
//! A real cluster does these things in its own way: it scales Velero to nothing, it reaches into the bucket.

use std::path::PathBuf;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use ochre_core::action::definition;
use serde_json::{Value, json};

use crate::World;
use crate::world::Place;

impl World {
    /// Stops Velero in the middle of what it does.
    pub async fn stop_velero(&self) {
        match &self.place {
            Place::Sandbox { sandbox, .. } => sandbox.velero().stop().await,
            Place::Real(_) => self.scale_velero(0).await,
        }
    }

    /// Starts Velero again.
    pub async fn start_velero(&self) {
        match &self.place {
            Place::Sandbox { sandbox, .. } => sandbox.velero().start().await.unwrap(),
            Place::Real(_) => {
                self.scale_velero(1).await;
                self.velero_phase("BackupStorageLocation", "default", "Available").await;
            }
        }
    }

    /// Scales the real Velero, and waits until it is so.
    async fn scale_velero(&self, replicas: u64) {
        let deployments = self.api("apps/v1", "Deployment", Some("velero"));
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments.patch("velero", &PatchParams::default(), &scale).await.unwrap();
        let is_so = |object: Option<&DynamicObject>| {
            object.is_some_and(|object| {
                let status = &object.data["status"];
                status["readyReplicas"].as_u64().unwrap_or_default() == replicas
                    && status["replicas"].as_u64().unwrap_or_default() == replicas
                    && status["observedGeneration"].as_i64() == object.metadata.generation
            })
        };
        self.object(deployments, "velero", is_so).await.unwrap();
        if replicas == 0 {
            self.kill_velero().await;
        }
    }

    /// Ends the real Velero's pods, and waits until their processes are no more.
    async fn kill_velero(&self) {
        let pods = self.api("v1", "Pod", Some("velero"));
        let server = ListParams::default().labels("deploy=velero");
        // Not 0, by which a pod is gone at once while its process still takes up what is created next.
        let soon = DeleteParams::default().grace_period(1);
        for pod in pods.list_metadata(&server).await.unwrap() {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap());
            // It may be on its way already.
            let _ = pods.delete(&name, &soon).await;
            self.gone(pods.clone(), &name, &uid).await;
        }
    }

    /// Merges into one of Velero's objects, as Velero itself does.
    pub async fn patch_velero(&self, kind: &str, name: &str, patch: Value) -> DynamicObject {
        self.velero(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Asks Velero to treat an object in a way: `end`, `warn`, `step-delay`.
    pub async fn ask_velero(&self, kind: &str, name: &str, annotation: &str, value: &str) {
        let annotation = format!("sandbox.ochre.dev/{annotation}");
        self.patch_velero(kind, name, json!({"metadata": {"annotations": {(annotation): value}}})).await;
    }

    /// Deletes one of Velero's objects; what it has in the bucket stays.
    pub async fn delete_velero(&self, kind: &str, name: &str) {
        self.velero(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until one of Velero's objects is in a phase.
    pub async fn velero_phase(&self, kind: &str, name: &str, phase: &str) -> DynamicObject {
        let is_there = |object: Option<&DynamicObject>| {
            object.is_some_and(|object| object.data["status"]["phase"] == phase)
        };
        self.object(self.velero(kind), name, is_there).await.unwrap()
    }

    /// Waits until the API server answers again.
    pub async fn until_reachable(&self) {
        let answers = async {
            while self.client.apiserver_version().await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        self.within(answers).await;
    }

    /// Installs the definition of Actions and waits until it is served.
    pub async fn put_definition(&self) {
        let definitions: kube::Api<CustomResourceDefinition> = kube::Api::all(self.client.clone());
        let made = definitions.create(&PostParams::default(), &definition()).await.unwrap();
        let established = await_condition(
            definitions,
            made.metadata.name.as_deref().unwrap(),
            conditions::is_crd_established(),
        );
        self.within(Box::pin(established)).await.unwrap();
    }

    /// Tells whether the bucket holds a file.
    pub fn is_stored(&self, key: &str) -> bool {
        self.bucket().join(key).is_file()
    }

    /// Removes a file from the bucket.
    pub fn lose_file(&self, key: &str) {
        std::fs::remove_file(self.bucket().join(key)).unwrap();
    }

    /// Puts something else in the place of a file in the bucket.
    pub fn damage_file(&self, key: &str) {
        let path = self.bucket().join(key);
        assert!(path.is_file(), "{key} is not in the bucket");
        std::fs::write(path, "this is not what Velero wrote").unwrap();
    }

    /// Makes the storage unusable, and waits until Velero says so.
    pub async fn break_storage(&self) {
        let foreign = self.bucket().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        // A bucket has no empty folders.
        std::fs::write(foreign.join("file"), "").unwrap();
        self.velero_phase("BackupStorageLocation", "default", "Unavailable").await;
    }

    /// Makes the storage usable again.
    pub fn mend_storage(&self) {
        std::fs::remove_dir_all(self.bucket().join("foreign")).unwrap();
    }

    /// Names the folder of Velero's bucket.
    pub fn bucket(&self) -> PathBuf {
        match &self.place {
            Place::Sandbox { data, .. } => data.path().join("velero"),
            Place::Real(real) => real.bucket(),
        }
    }
}

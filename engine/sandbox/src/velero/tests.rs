use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bucket::Bucket;
use super::cluster::{Cluster, Resource};
use super::{backup, phase, restore};
use crate::{Options, Sandbox};

mod controls;
mod copies;
mod deaths;
mod endings;
mod filters;
mod mongo;

/// A sandbox whose phases take no time and whose buckets are synced when nothing else happens.
struct World {
    sandbox: Sandbox,
    cluster: Cluster,
    data: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with_clock(jiff::Timestamp::now).await
    }

    /// Starts a cluster where no pod runs.
    async fn without_node() -> Self {
        let world = Self::new().await;
        world.delete("nodes", "", "node1").await;
        world
    }

    async fn with_clock(clock: crate::Clock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = Options {
            step_delay: Duration::ZERO,
            sync_period: Duration::from_secs(100),
            clock,
            ..Options::new(data.path())
        };
        let sandbox = Sandbox::start(options, "http://localhost:1").await.unwrap();
        let cluster = Cluster::new(sandbox.client());
        Self { sandbox, cluster, data }
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("velero")
    }

    fn bucket(&self) -> Bucket {
        Bucket::of(self.data.path(), &json!({"spec": {"objectStorage": {"bucket": "velero"}}}))
    }

    /// Creates an object in its namespace.
    async fn create(&self, object: &Value) -> Value {
        let resource = self.resource(object).await;
        self.cluster.create(&resource, super::namespace(object), object).await.unwrap()
    }

    async fn resource(&self, object: &Value) -> Resource {
        let resources = self.cluster.resources().await.unwrap();
        let found = resources.into_iter().find(|resource| {
            object["kind"] == resource.kind && object["apiVersion"] == resource.api_version()
        });
        found.unwrap()
    }

    async fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let resources = self.cluster.resources().await.unwrap();
        let resource = resources.iter().find(|found| found.is_called(resource)).unwrap();
        self.cluster.get(resource, namespace, name).await.unwrap()
    }

    async fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let resources = self.cluster.resources().await.unwrap();
        let resource = resources.iter().find(|found| found.is_called(resource)).unwrap();
        self.cluster.delete(resource, namespace, name).await.unwrap();
    }

    async fn merge(&self, resource: &str, namespace: &str, name: &str, patch: Value) {
        let resources = self.cluster.resources().await.unwrap();
        let resource = resources.iter().find(|found| found.is_called(resource)).unwrap();
        self.cluster.merge(resource, namespace, name, &patch).await.unwrap();
    }

    /// Runs a Backup to its end; returns every state that it went through.
    async fn back_up(&self, name: &str, spec: Value) -> Vec<Value> {
        self.run(&backup::resource(), name, spec, json!({}), is_over).await
    }

    /// Runs a Restore to its end; returns every state that it went through.
    async fn restore(&self, name: &str, spec: Value) -> Vec<Value> {
        self.run(&restore::resource(), name, spec, json!({}), is_over).await
    }

    /// Creates an object of Velero's and follows it until it is as wanted.
    async fn run(
        &self,
        resource: &Resource,
        name: &str,
        spec: Value,
        annotations: Value,
        until: fn(&Value) -> bool,
    ) -> Vec<Value> {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": resource.kind,
            "metadata": {"name": name, "annotations": annotations}, "spec": spec,
        });
        let created = self.cluster.create(resource, "velero", &object).await.unwrap();
        let mut states = self.follow(resource, name, &created, until).await;
        states.insert(0, created);
        states
    }

    /// Follows an object from a state until it is as wanted; null says that it was deleted.
    async fn follow(
        &self,
        resource: &Resource,
        name: &str,
        from: &Value,
        until: fn(&Value) -> bool,
    ) -> Vec<Value> {
        let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &resource.plural);
        let calls = kube::Api::<DynamicObject>::namespaced_with(self.sandbox.client(), "velero", &kind);
        let version = from["metadata"]["resourceVersion"].as_str().unwrap();
        let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = calls.watch(&parameters, version).await.unwrap().boxed();
        let mut states = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            let state = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    serde_json::to_value(object).unwrap()
                }
                WatchEvent::Deleted(_) => Value::Null,
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
            };
            let over = until(&state);
            states.push(state);
            if over {
                break;
            }
        }
        states
    }

    fn gzip_json(&self, key: &str) -> Value {
        serde_json::from_slice(&self.bucket().read_gzip(key).unwrap()).unwrap()
    }
}

fn is_over(object: &Value) -> bool {
    matches!(phase(object), "Completed" | "PartiallyFailed" | "Failed" | "FailedValidation")
        || object.is_null()
}

/// Returns the last status that an object had, with its times made equal.
fn end(states: &[Value]) -> Value {
    redacted(&states.last().unwrap()["status"])
}

/// Replaces every moment in a value.
fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => json!("<time>"),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), redacted(value))).collect(),
        Value::Array(items) => items.iter().map(redacted).collect(),
        _ => value.clone(),
    }
}

fn config_map(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "data": {"a": "b"},
    })
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

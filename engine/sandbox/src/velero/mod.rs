//! A Velero that behaves like Velero: it walks the phases, writes the files and restores from them.
//!
//! It is a client of the API like the real one, so it works against any cluster that lets it. Its
//! parts are tasks that follow one kind each and look at the world again at every change:
//!
//! * `queue`: new Backups wait in line, one at a time becomes ready
//! * `backup`: a ready Backup is validated (`validate`), collected (`collect`, `hooks`, `copies`), stored (`archive`,
//!   `bucket`) and finalized
//! * `restore`: a new Restore is validated and its objects are put back (`recreate`, `item`, `data`) in Velero's order
//! * `requests`: DownloadRequests, DeleteBackupRequests, ServerStatusRequests, Schedules
//! * `location`: storage locations are checked, and their backups are made known to the cluster
//!
//! Annotations on a Backup or Restore steer it: [`STEP_DELAY`] makes it slow, [`END`] ends it as
//! `failed-validation`, `failed`, `partially-failed` or leaves it `stuck` in progress, [`WARN`] adds a warning.
//!
//! A pod that runs on a Node of the cluster has its volumes copied, as far as files and objects say; one that runs
//! on none makes a Backup PartiallyFailed, as it does where the real Velero finds no node agent.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;

use bucket::Bucket;
use cluster::{Cluster, Resource};
use download::Download;

pub use ending::{END, Ending, PRESENCE, STEP_DELAY, WARN};
pub use install::install;

use crate::Clock;

mod archive;
mod backup;
mod bucket;
mod cluster;
mod collect;
mod copies;
mod data;
mod deletion;
mod download;
mod ending;
mod filter;
mod hooks;
mod install;
mod item;
mod location;
mod queue;
mod recreate;
mod requests;
mod restore;
mod results;
mod validate;

/// The version of Velero whose manners the simulator has.
const VERSION: &str = "v1.18.3";

/// Says where and how the simulator works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that holds a folder per bucket.
    pub data: PathBuf,
    /// Velero's namespace.
    pub namespace: String,
    /// How long each phase lasts, where no annotation `sandbox.ochre.dev/step-delay` says otherwise.
    pub step_delay: Duration,
    /// How often locations are checked and backups synced.
    pub sync_period: Duration,
    /// The address under which downloads are served, such as `http://127.0.0.1:3001`.
    pub public_url: String,
    /// How every Backup and Restore ends, where no annotation `sandbox.ochre.dev/end` says otherwise.
    pub end: Option<Ending>,
    /// Tells the time.
    pub clock: Clock,
}

/// Runs the simulator; it can stop, as if it died, and start again.
#[derive(Debug)]
pub struct Velero {
    server: Server,
    tasks: AsyncMutex<Option<JoinSet<()>>>,
}

/// What every part works with.
#[derive(Clone)]
struct Server {
    cluster: Cluster,
    settings: Arc<Settings>,
    downloads: Arc<Mutex<HashMap<String, Download>>>,
}

/// Says why a part could not go on with an object.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    #[error("the object store failed: {0}")]
    Store(#[from] std::io::Error),
}

impl Velero {
    /// Makes a simulator that does not run yet.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self {
            server: Server {
                cluster: Cluster::new(client),
                settings: Arc::new(settings),
                downloads: Arc::default(),
            },
            tasks: AsyncMutex::new(None),
        }
    }

    /// Returns the router that serves what DownloadRequests point to, at `/downloads/`.
    pub fn downloads(&self) -> Router {
        download::router(self.server.clone())
    }

    /// Starts the simulator, which first fails what a former one left in progress; does nothing if it runs.
    pub async fn start(&self) -> kube::Result<()> {
        let mut running = self.tasks.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let server = &self.server;
        server.fail_interrupted().await?;
        // Locations are checked once before anything else, so that the first Backup finds them.
        server.check_locations().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(server.clone().run_queue());
        tasks.spawn(server.clone().run_backups());
        tasks.spawn(server.clone().run_restores());
        tasks.spawn(server.clone().run_downloads());
        tasks.spawn(server.clone().run_deletions());
        tasks.spawn(server.clone().run_requests());
        tasks.spawn(server.clone().run_locations());
        *running = Some(tasks);
        Ok(())
    }

    /// Dies and comes back as the annotation `sandbox.ochre.dev/velero: absent` on Velero's namespace says; never ends.
    pub async fn obey(&self) {
        let namespaces: Api<Namespace> = Api::all(self.server.cluster.client());
        let changes = watch_object(namespaces, self.server.namespace()).default_backoff();
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            // A watch that failed begins again.
            let Ok(Some(namespace)) = change else { continue };
            if namespace.annotations().get(PRESENCE).is_some_and(|presence| presence == "absent") {
                self.stop().await;
            } else if let Err(error) = self.start().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "Velero does not come back");
            }
        }
    }

    /// Stops the simulator in the middle of what it does, as a kill would; does nothing if it does not run.
    pub async fn stop(&self) {
        if let Some(mut tasks) = self.tasks.lock().await.take() {
            tasks.shutdown().await;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Server {
    fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    fn now(&self) -> Timestamp {
        (self.settings.clock)()
    }

    /// Prints the time as it is, to the second.
    fn timestamp(&self) -> String {
        timestamp(self.now())
    }

    fn downloads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Download>> {
        self.downloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, resource: &Resource, name: &str) -> kube::Result<Option<Value>> {
        self.cluster.get(resource, self.namespace(), name).await
    }

    async fn patch(&self, resource: &Resource, name: &str, patch: &Value) -> kube::Result<Value> {
        self.cluster.merge(resource, self.namespace(), name, patch).await
    }

    /// Writes fields of an object's status.
    async fn patch_status(&self, resource: &Resource, name: &str, status: Value) -> kube::Result<Value> {
        self.patch(resource, name, &json!({"status": status})).await
    }

    async fn location(&self, name: &str) -> kube::Result<Option<Value>> {
        self.get(&location::resource(), name).await
    }

    /// Finds the bucket of the location that a Backup names.
    async fn bucket_of(&self, backup: &Value) -> kube::Result<Option<Bucket>> {
        let name = backup["spec"]["storageLocation"].as_str().unwrap_or_default();
        let location = self.location(name).await?;
        Ok(location.map(|location| Bucket::of(&self.settings.data, &location)))
    }

    /// Lets a phase last.
    async fn step(&self, object: &Value) {
        let delay = ending::step_delay(object).unwrap_or(self.settings.step_delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Fails what was in progress when a former simulator died.
    async fn fail_interrupted(&self) -> kube::Result<()> {
        for (resource, word) in [(backup::resource(), "backup"), (restore::resource(), "restore")] {
            for object in self.cluster.list(&resource, self.namespace()).await? {
                if phase(&object) == "InProgress" {
                    let reason = format!(
                        "found a {word} with status \"InProgress\" during the server starting, mark it as \"Failed\""
                    );
                    let status = json!({
                        "phase": "Failed", "failureReason": reason, "completionTimestamp": self.timestamp(),
                    });
                    self.patch_status(&resource, name(&object), status).await?;
                }
            }
        }
        Ok(())
    }
}

fn timestamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

fn phase(object: &Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or_default()
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Logs why an object is left as it is until it changes again.
fn left(what: &str, name: &str, trouble: &Trouble) {
    tracing::warn!(
        object.kind = what,
        object.name = name,
        error = trouble as &dyn std::error::Error,
        "left for later"
    );
}

#[cfg(test)]
mod tests;

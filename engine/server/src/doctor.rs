//! `ochre doctor`: looks at a cluster and its Velero, and writes nothing but DownloadRequests, which it clears away.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use ochre_core::action::GROUP;
use ochre_core::coverage::{self, Files};
use ochre_core::doctor::{self, Held, Report, Seen};
use ochre_core::velero::{API_VERSION, Document, DocumentKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::download::{DownloadError, Downloads, clear, request};
use crate::guarded::Guarded;
use crate::{objects, policies};

/// How many Backups are read at a time.
const AT_A_TIME: usize = 4;
/// The most bytes that are kept of the files of one of them.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How long making a request and clearing it away may take, each; Velero clears up too, later.
const WRITING: Duration = Duration::from_secs(2);

/// How to look.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    /// Whether Velero is asked for the files of its Backups.
    pub files: bool,
    /// How long Velero may take to answer a request for a file.
    pub patience: Duration,
}

/// Says why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The cluster lacks Velero's kinds.
    #[error(
        "the cluster has no Velero: it does not know the kind {0} of {API_VERSION}; install Velero, or name another cluster by --kubeconfig"
    )]
    NoVelero(&'static str),
    /// Velero's kinds are there, and none of its objects.
    #[error(
        "the namespace {0} holds nothing of Velero's, not even a storage location; name the one that Velero watches by --velero-namespace"
    )]
    NothingThere(String),
    /// A kind could not be listed.
    #[error("{kind}s could not be listed: {source}; see whether the cluster answers and you may list them")]
    List {
        /// The kind.
        kind: &'static str,
        /// Why.
        source: kube::Error,
    },
    /// The time was over before anything was known.
    #[error("the cluster did not answer in time; give it more by --timeout")]
    Late,
    /// No HTTP client could be made.
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// Looks at a cluster until it is told to come to an end, and judges what was seen by then.
pub async fn examine(
    client: Client,
    how: &Examination,
    until: &CancellationToken,
) -> Result<Report, DoctorError> {
    let eye = Eye { client, how, until, downloads: Downloads::new()? };
    let looked = until.run_until_cancelled(eye.look()).await;
    let mut seen = looked.ok_or(DoctorError::Late)??;
    if seen.backups.is_empty() && seen.locations.is_empty() && seen.schedules.is_empty() {
        return Err(DoctorError::NothingThere(seen.velero_namespace));
    }
    seen.held = eye.read(&seen).await;
    Ok(doctor::examine(&seen, Timestamp::now()))
}

/// What looks.
struct Eye<'how> {
    client: Client,
    how: &'how Examination,
    until: &'how CancellationToken,
    downloads: Downloads,
}

impl Eye<'_> {
    /// Lists what is judged.
    async fn look(&self) -> Result<Seen, DoctorError> {
        let mut backups = self.list("Backup").await?;
        backups.sort_by_key(|backup| Reverse(backup["status"]["startTimestamp"].as_str().map(str::to_owned)));
        let claims: Api<Guarded<DynamicObject>> = Api::all_with(
            self.client.clone(),
            &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "PersistentVolumeClaim")),
        );
        Ok(Seen {
            velero_namespace: self.how.velero_namespace.clone(),
            backups,
            held: BTreeMap::new(),
            claims: list(&claims, "PersistentVolumeClaim").await?,
            locations: self.list("BackupStorageLocation").await?,
            schedules: self.list("Schedule").await?,
            missing_policies: self.missing_policies().await,
        })
    }

    async fn list(&self, kind: &'static str) -> Result<Vec<Value>, DoctorError> {
        let velero = objects::velero(&self.client, &self.how.velero_namespace, kind);
        let mut objects = list(&velero, kind).await.map_err(|error| match error {
            DoctorError::List { source: kube::Error::Api(status), .. } if status.code == 404 => {
                DoctorError::NoVelero(kind)
            }
            error => error,
        })?;
        for object in &mut objects {
            // Lists leave it out.
            object["apiVersion"] = json!(API_VERSION);
            object["kind"] = json!(kind);
        }
        Ok(objects)
    }

    /// Looks for the policies of Actions, where the cluster has Actions at all.
    async fn missing_policies(&self) -> Option<Result<Vec<String>, String>> {
        let has_actions = self.client.list_api_group_resources(&format!("{GROUP}/v1alpha1")).await.is_ok();
        if !has_actions {
            return None;
        }
        Some(policies::missing(&self.client).await.map_err(|error| error.to_string()))
    }

    /// Reads what the Backups hold, the newest first. What there is no time for is unreadable.
    async fn read(&self, seen: &Seen) -> BTreeMap<String, Held> {
        let now = Timestamp::now();
        let readable = seen.backups.iter().filter(|backup| doctor::must_be_read(backup, now));
        let reading = readable.map(async |backup| {
            let name = backup["metadata"]["name"].as_str().unwrap_or_default();
            let held = match doctor::out_of_reach(backup, &seen.locations) {
                Some(why) => Held::Unreadable(why),
                None if !self.how.files => Held::Unreadable("its files were not asked for".to_owned()),
                None => self.hold(backup, name).await.unwrap_or_else(Held::Unreadable),
            };
            (name.to_owned(), held)
        });
        stream::iter(reading).buffer_unordered(AT_A_TIME).collect().await
    }

    /// Judges a Backup by its files, or says why they cannot be read.
    async fn hold(&self, backup: &Value, name: &str) -> Result<Held, String> {
        let kept = Arc::new(AtomicU64::new(0));
        let Document::Items(items) = self.file(DocumentKind::BackupResourceList, name, &kept).await? else {
            return Err(OTHER_KIND.to_owned());
        };
        let mut read = Vec::new();
        for kind in coverage::files_of(backup, &items, true) {
            read.push(self.file(kind, name, &kept).await?);
        }
        let mut files = Files { items: &items, ..Files::default() };
        for document in &read {
            match document {
                Document::Results(results) => files.results = Some(results),
                Document::Contents(contents) => files.contents = Some(contents),
                Document::Volumes(volumes) => files.volumes = Some(volumes),
                Document::Items(_) => return Err(OTHER_KIND.to_owned()),
            }
        }
        Ok(Held::Read(coverage::judge(backup, files)))
    }

    /// Reads a file by a DownloadRequest, which does not outlive it.
    async fn file(
        &self,
        kind: DocumentKind,
        backup: &str,
        kept: &Arc<AtomicU64>,
    ) -> Result<Document, String> {
        let requests = objects::velero(&self.client, &self.how.velero_namespace, "DownloadRequest");
        let wanted = request(&json!({"generateName": "ochre-doctor-"}), kind, backup);
        let wanted = wanted.map_err(|error| error.to_string())?;
        if self.until.is_cancelled() {
            return Err(NO_TIME.to_owned());
        }
        // Not cut off in the middle: what is made must be known, to be cleared away.
        let parameters = PostParams::default();
        let asked = tokio::time::timeout(WRITING, requests.create(&parameters, &wanted)).await;
        let asked = asked.map_err(|_| "the cluster did not take the request for it in time")?;
        let name = asked.map_err(|error| format!("Velero could not be asked for it: {error}"))?.name_any();
        let read = self.until.run_until_cancelled(self.fetch(&requests, &name, kind, Arc::clone(kept))).await;
        // That it takes long is no reason to wait.
        let _ = tokio::time::timeout(WRITING, clear(&requests, &name)).await;
        read.ok_or(NO_TIME)?
    }

    async fn fetch(
        &self,
        requests: &Api<DynamicObject>,
        name: &str,
        kind: DocumentKind,
        kept: Arc<AtomicU64>,
    ) -> Result<Document, String> {
        let answered = await_condition(requests.clone(), name, |request: Option<&DynamicObject>| {
            request.and_then(url).is_some()
        });
        let answered = tokio::time::timeout(self.how.patience, answered).await;
        let answered =
            answered.map_err(|_| format!("Velero did not answer within {:?}", self.how.patience))?;
        let answered = answered.map_err(|error| format!("Velero's answer could not be read: {error}"))?;
        let url = answered.as_ref().and_then(url).ok_or("Velero took the request away")?;
        let admit = move |bytes| {
            if kept.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BYTES {
                return Err(DownloadError::TooLarge {
                    what: "that would be kept in memory",
                    limit: MAX_BYTES,
                });
            }
            Ok(())
        };
        self.downloads.fetch(url, kind, admit).await.map_err(|error| error.to_string())
    }
}

const NO_TIME: &str = "the time was over";
const OTHER_KIND: &str = "the file is of another kind";

fn url(request: &DynamicObject) -> Option<&str> {
    request.data["status"]["downloadURL"].as_str().filter(|url| !url.is_empty())
}

async fn list(api: &Api<Guarded<DynamicObject>>, kind: &'static str) -> Result<Vec<Value>, DoctorError> {
    objects::list(api).await.map_err(|source| DoctorError::List { kind, source })
}

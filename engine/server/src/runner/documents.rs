//! Reads the files that Velero keeps, by DownloadRequest.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::core::DynamicObject;
use ochre_core::action::{Action, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use ochre_core::decide::{DocumentKey, DocumentState};
use ochre_core::velero::{
    Document, DocumentKind, SavedObject, parse_item_list, parse_results, parse_volumes,
};
use serde_json::{Value, json};

/// How long Velero and its bucket may take to hand out a file.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long to wait before a download is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(2);
/// The most bytes of a file, as it comes and unpacked.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Reads the files that Velero keeps, each once.
pub(super) struct Documents {
    http: reqwest::Client,
    read: Mutex<HashMap<(String, DocumentKey), Document>>,
    /// When a file was first seen to be asked for.
    asked: Mutex<HashMap<(String, DocumentKey), Timestamp>>,
}

/// Says why a file could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The bucket did not answer, or not well; it may the next time.
    #[error("the download failed: {0}")]
    Download(#[source] reqwest::Error),
    /// The bucket does not have it.
    #[error("the bucket does not have the file")]
    Missing,
    /// It is too large to look at.
    #[error("the file has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

impl Documents {
    /// Prepares reading over HTTP.
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, read: Mutex::default(), asked: Mutex::default() })
    }

    /// Forgets what was read for an Action.
    pub(super) fn forget(&self, uid: &str) {
        self.cache().retain(|(owner, _), _| owner != uid);
        self.asked().retain(|(owner, _), _| owner != uid);
    }

    /// Reads a file, or says how far that is. `seen` is the DownloadRequest as it is now.
    pub(super) async fn read(
        &self,
        requests: &Api<DynamicObject>,
        action: &Action,
        key: &DocumentKey,
        seen: Option<&DynamicObject>,
        now: Timestamp,
    ) -> Result<DocumentState, kube::Error> {
        let cached = (action.metadata.uid.clone().unwrap_or_default(), key.clone());
        if let Some(document) = self.cache().get(&cached) {
            return Ok(DocumentState::Read(document.clone()));
        }
        let Some(request) = seen else {
            return ask(requests, action, key, now).await;
        };
        // Counted from when this engine first saw it: the clocks of others may be off.
        let until = *self.asked().entry(cached.clone()).or_insert(now) + PATIENCE;
        let status = &request.data["status"];
        if request.metadata.deletion_timestamp.is_some() {
            return Ok(DocumentState::Pending { until: now + RETRY });
        }
        let Some(url) = status["downloadURL"].as_str().filter(|url| !url.is_empty()) else {
            if now < until {
                return Ok(DocumentState::Pending { until });
            }
            delete(requests, &key.request).await;
            let why = format!("Velero did not answer within {} s", PATIENCE.as_secs());
            return Ok(DocumentState::Unavailable(why));
        };
        match self.download(url, key.kind).await {
            Ok(document) => {
                delete(requests, &key.request).await;
                self.cache().insert(cached, document.clone());
                Ok(DocumentState::Read(document))
            }
            Err(ReadError::Download(error)) if now < until => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    file = key.kind.as_str(),
                    "download failed"
                );
                if error.status() == Some(reqwest::StatusCode::FORBIDDEN) {
                    // The address has expired: another is asked for.
                    delete(requests, &key.request).await;
                }
                Ok(DocumentState::Pending { until: now + RETRY })
            }
            Err(error) => {
                delete(requests, &key.request).await;
                Ok(DocumentState::Unavailable(error.to_string()))
            }
        }
    }

    async fn download(&self, url: &str, kind: DocumentKind) -> Result<Document, ReadError> {
        let answer =
            self.http.get(url).send().await.map_err(|error| ReadError::Download(error.without_url()))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Err(ReadError::Missing);
        }
        let mut answer =
            answer.error_for_status().map_err(|error| ReadError::Download(error.without_url()))?;
        let mut packed = Vec::new();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| ReadError::Download(error.without_url()))?
        {
            packed.extend_from_slice(&chunk);
            if packed.len() as u64 > MAX_BYTES {
                return Err(ReadError::TooLarge);
            }
        }
        // Unpacking a large file must not hold up the other Actions.
        tokio::task::spawn_blocking(move || unpack(&packed, kind))
            .await
            .map_err(|error| ReadError::Damaged(error.to_string()))?
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<(String, DocumentKey), Timestamp>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<(String, DocumentKey), Document>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks Velero for a file.
async fn ask(
    requests: &Api<DynamicObject>,
    action: &Action,
    key: &DocumentKey,
    now: Timestamp,
) -> Result<DocumentState, kube::Error> {
    let metadata = &action.metadata;
    let request: DynamicObject = serde_json::from_value(json!({
        "apiVersion": ochre_core::velero::API_VERSION,
        "kind": "DownloadRequest",
        "metadata": {"name": key.request, "labels": {
            (LABEL_UID): metadata.uid, (LABEL_NAMESPACE): metadata.namespace, (LABEL_NAME): metadata.name,
        }},
        "spec": {"target": {"kind": key.kind.as_str(), "name": key.object}},
    }))
    .map_err(kube::Error::SerdeError)?;
    match requests.create(&PostParams::default(), &request).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    Ok(DocumentState::Pending { until: now + PATIENCE })
}

/// Clears away a request; Velero does so too, later.
async fn delete(requests: &Api<DynamicObject>, name: &str) {
    if let Err(error) = requests.delete(name, &DeleteParams::default()).await {
        tracing::debug!(error = &error as &dyn std::error::Error, request = name, "the request stays");
    }
}

fn unpack(packed: &[u8], kind: DocumentKind) -> Result<Document, ReadError> {
    let damaged = |error: &dyn std::error::Error| ReadError::Damaged(error.to_string());
    let mut unpacked = MultiGzDecoder::new(packed).take(MAX_BYTES + 1);
    if kind == DocumentKind::BackupContents {
        return contents(&mut unpacked).map(Document::Contents).map_err(|error| damaged(&error));
    }
    let mut bytes = Vec::new();
    unpacked.read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    match kind {
        DocumentKind::BackupResourceList | DocumentKind::RestoreResourceList => {
            parse_item_list(&bytes).map(Document::Items).map_err(|error| damaged(&error))
        }
        DocumentKind::BackupVolumeInfos => {
            parse_volumes(&bytes).map(Document::Volumes).map_err(|error| damaged(&error))
        }
        DocumentKind::BackupResults | DocumentKind::RestoreResults | DocumentKind::BackupContents => {
            parse_results(&bytes).map(Document::Results).map_err(|error| damaged(&error))
        }
    }
}

/// Reads a tarball's objects: `resources/<resource>/{namespaces/<namespace>,cluster}/<name>.json`.
fn contents(unpacked: &mut impl Read) -> std::io::Result<Vec<SavedObject>> {
    let mut items = Vec::new();
    for entry in tar::Archive::new(unpacked).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let parts: Vec<&str> = path.split('/').collect();
        // The same objects stand again under `<version>-preferredversion`.
        if !matches!(parts.as_slice(), ["resources", _, "namespaces", _, _] | ["resources", _, "cluster", _])
        {
            continue;
        }
        let object: Value = serde_json::from_reader(&mut entry)?;
        items.push(SavedObject::read(&object));
    }
    Ok(items)
}

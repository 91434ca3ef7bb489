//! Fetches the files that Velero keeps, from the address that a DownloadRequest got.

use std::io::Read;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use kube::api::DeleteParams;
use kube::core::DynamicObject;
use kube::{Api, Resource};
use ochre_core::velero::{
    API_VERSION, Document, DocumentKind, SavedObject, parse_item_list, parse_results, parse_volumes,
};
use serde_json::{Value, json};

use crate::guarded;

/// The most bytes of a file, as it comes and unpacked.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Fetches over HTTP.
pub(crate) struct Downloads {
    http: reqwest::Client,
}

/// Says why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The bucket did not answer, or not well; it may the next time.
    #[error("the download failed: {0}")]
    Interrupted(#[source] reqwest::Error),
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

impl Downloads {
    /// Prepares a client.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http })
    }

    /// Fetches a file and reads it.
    pub(crate) async fn fetch(&self, url: &str, kind: DocumentKind) -> Result<Document, DownloadError> {
        let interrupted = |error: reqwest::Error| DownloadError::Interrupted(error.without_url());
        let answer = self.http.get(url).send().await.map_err(interrupted)?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Err(DownloadError::Missing);
        }
        let mut answer = answer.error_for_status().map_err(interrupted)?;
        let mut packed = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(interrupted)? {
            packed.extend_from_slice(&chunk);
            if packed.len() as u64 > MAX_BYTES {
                return Err(DownloadError::TooLarge);
            }
        }
        // Unpacking a large file must not hold up others.
        tokio::task::spawn_blocking(move || unpack(&packed, kind))
            .await
            .map_err(|error| DownloadError::Damaged(error.to_string()))?
    }
}

/// Words a DownloadRequest with this metadata.
pub(crate) fn request(
    metadata: &Value,
    kind: DocumentKind,
    object: &str,
) -> serde_json::Result<DynamicObject> {
    serde_json::from_value(json!({
        "apiVersion": API_VERSION,
        "kind": "DownloadRequest",
        "metadata": metadata,
        "spec": {"target": {"kind": kind.as_str(), "name": object}},
    }))
}

/// Clears away a request; Velero does so too, later.
pub(crate) async fn clear<K: Resource + Clone>(requests: &Api<K>, name: &str) {
    if let Err(error) = guarded::delete(requests, name, &DeleteParams::default()).await {
        tracing::debug!(error = &error as &dyn std::error::Error, request = name, "the request stays");
    }
}

fn unpack(packed: &[u8], kind: DocumentKind) -> Result<Document, DownloadError> {
    let damaged = |error: &dyn std::error::Error| DownloadError::Damaged(error.to_string());
    let mut unpacked = MultiGzDecoder::new(packed).take(MAX_BYTES + 1);
    if kind == DocumentKind::BackupContents {
        return contents(&mut unpacked).map(Document::Contents).map_err(|error| damaged(&error));
    }
    let mut bytes = Vec::new();
    unpacked.read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DownloadError::TooLarge);
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
        // One that nests too deep is not what keeps the others from being judged.
        let (object, _) = guarded::shallow(&mut serde_json::Deserializer::from_reader(&mut entry))?;
        items.push(SavedObject::read(&object));
    }
    Ok(items)
}

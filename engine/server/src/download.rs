//! Fetches the files that Velero keeps, from the address that a DownloadRequest got.

use std::time::Duration;

use kube::api::DeleteParams;
use kube::core::DynamicObject;
use kube::{Api, Resource};
use ochre_core::velero::{API_VERSION, Document, DocumentKind};
use serde_json::{Value, json};

use crate::{guarded, unpack};

/// How many chunks of a file wait to be unpacked.
const AHEAD: usize = 4;

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
    #[error("the file has more than {limit} bytes {what}")]
    TooLarge {
        /// Bytes of what.
        what: &'static str,
        /// The most there may be.
        limit: u64,
    },
    /// It is made to be too large.
    #[error("the file unpacks to hundreds of times its size, which none of Velero's does")]
    Bomb,
    /// Others are read; there is room for it later.
    #[error("there is no room for the file while others are read")]
    Crowded,
    /// It is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

impl Downloads {
    /// Prepares a client.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(15))
            // What comes is unpacked meanwhile, and waits for that.
            .timeout(Duration::from_secs(120))
            .build()?;
        Ok(Self { http })
    }

    /// Fetches a file and reads it while it comes. `admit` is asked before more bytes of it are kept.
    pub(crate) async fn fetch<A>(
        &self,
        url: &str,
        kind: DocumentKind,
        admit: A,
    ) -> Result<Document, DownloadError>
    where
        A: FnMut(u64) -> Result<(), DownloadError> + Send + 'static,
    {
        let interrupted = |error: reqwest::Error| DownloadError::Interrupted(error.without_url());
        let answer = self.http.get(url).send().await.map_err(interrupted)?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Err(DownloadError::Missing);
        }
        let mut answer = answer.error_for_status().map_err(interrupted)?;
        let (chunks, body) = tokio::sync::mpsc::channel(AHEAD);
        // Unpacking a large file must not hold up others.
        let reading = tokio::task::spawn_blocking(move || unpack::read(body, kind, admit));
        while let Some(chunk) = answer.chunk().await.transpose() {
            let is_last = chunk.is_err();
            // Nothing takes it when the file was given up.
            if chunks.send(chunk).await.is_err() || is_last {
                break;
            }
        }
        drop(chunks);
        reading.await.map_err(|error| DownloadError::Damaged(error.to_string()))?
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

//! Downloads: a DownloadRequest gets an address that nobody can guess and that works for a while.

use std::path::PathBuf;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bucket::Bucket;
use super::cluster::Resource;
use super::{Server, Trouble, backup, left, name, phase, restore, timestamp};

/// How long an address works.
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What an address leads to.
#[derive(Clone, Debug)]
pub(crate) struct Download {
    path: PathBuf,
    expiration: Timestamp,
}

/// Names the kind.
fn resource() -> Resource {
    Resource::velero("downloadrequests", "DownloadRequest")
}

/// Serves `/downloads/<token>/<file>`; as with an address signed for GET, HEAD is forbidden.
pub(crate) fn router(server: Server) -> Router {
    let forbidden = || async { StatusCode::FORBIDDEN };
    Router::new().route("/downloads/{token}/{file}", get(download).head(forbidden)).with_state(server)
}

async fn download(State(server): State<Server>, Path((token, _)): Path<(String, String)>) -> Response {
    let found = server.downloads().get(&token).cloned();
    match found {
        None => StatusCode::FORBIDDEN.into_response(),
        Some(download) if download.expiration < server.now() => StatusCode::FORBIDDEN.into_response(),
        Some(download) => match std::fs::read(&download.path) {
            Ok(bytes) => bytes.into_response(),
            Err(_) => (StatusCode::NOT_FOUND, "NoSuchKey").into_response(),
        },
    }
}

impl Server {
    pub(super) async fn run_downloads(self) {
        let wanted: fn(&Value) -> bool = |request| matches!(phase(request), "" | "New");
        let mut requests = self.cluster.follow(&resource(), self.namespace(), wanted);
        loop {
            requests.changed().await;
            for (name, request) in std::mem::take(&mut requests.live) {
                if let Err(trouble) = self.answer_download(&request).await {
                    left("DownloadRequest", &name, &trouble);
                }
            }
        }
    }

    /// Answers a request; one for something unknown is left without an answer, as Velero leaves it.
    async fn answer_download(&self, request: &Value) -> Result<(), Trouble> {
        let target = &request["spec"]["target"];
        let of = target["name"].as_str().unwrap_or_default();
        let Some(key) = key(target["kind"].as_str().unwrap_or_default(), of) else {
            return Ok(());
        };
        let Some(bucket) = self.bucket_of_target(target["kind"].as_str().unwrap_or_default(), of).await?
        else {
            return Ok(());
        };
        let token = Uuid::new_v4().simple().to_string();
        let expiration = self.now() + LIFETIME;
        let file = key.rsplit('/').next().unwrap_or_default().to_owned();
        self.downloads().insert(token.clone(), Download { path: bucket.path(&key), expiration });
        let url = format!("{}/downloads/{token}/{file}", self.settings.public_url.trim_end_matches('/'));
        let status = json!({"phase": "Processed", "downloadURL": url, "expiration": timestamp(expiration)});
        self.patch_status(&resource(), name(request), status).await?;
        Ok(())
    }

    async fn bucket_of_target(&self, kind: &str, of: &str) -> kube::Result<Option<Bucket>> {
        let backup = if kind.starts_with("Restore") {
            match self.get(&restore::resource(), of).await? {
                Some(restore) => restore["spec"]["backupName"].as_str().unwrap_or_default().to_owned(),
                None => return Ok(None),
            }
        } else {
            of.to_owned()
        };
        match self.get(&backup::resource(), &backup).await? {
            Some(backup) => self.bucket_of(&backup).await,
            None => Ok(None),
        }
    }

    /// Forgets addresses that no longer work, and deletes their requests.
    pub(super) async fn purge_downloads(&self) -> kube::Result<()> {
        let now = self.now();
        self.downloads().retain(|_, download| download.expiration >= now);
        for request in self.cluster.list(&resource(), self.namespace()).await? {
            let expiration =
                request["status"]["expiration"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
            if expiration.is_some_and(|end| end < now) {
                self.cluster.delete(&resource(), self.namespace(), name(&request)).await?;
            }
        }
        Ok(())
    }
}

/// Returns the key of the file that a kind of target means.
fn key(kind: &str, of: &str) -> Option<String> {
    let backup = |file: &str| Some(backup::key(of, &format!("{of}{file}")));
    let restore = |file: &str| Some(restore::key(of, &format!("restore-{of}{file}")));
    match kind {
        "BackupLog" => backup("-logs.gz"),
        "BackupContents" => backup(".tar.gz"),
        "BackupVolumeSnapshots" => backup("-volumesnapshots.json.gz"),
        "BackupItemOperations" => backup("-itemoperations.json.gz"),
        "BackupResourceList" => backup("-resource-list.json.gz"),
        "BackupResults" => backup("-results.gz"),
        "CSIBackupVolumeSnapshots" => backup("-csi-volumesnapshots.json.gz"),
        "CSIBackupVolumeSnapshotContents" => backup("-csi-volumesnapshotcontents.json.gz"),
        "BackupVolumeInfos" => backup("-volumeinfo.json.gz"),
        "RestoreLog" => restore("-logs.gz"),
        "RestoreResults" => restore("-results.gz"),
        "RestoreResourceList" => restore("-resource-list.json.gz"),
        "RestoreItemOperations" => restore("-itemoperations.json.gz"),
        "RestoreVolumeInfo" => Some(restore::key(of, &format!("{of}-volumeinfo.json.gz"))),
        _ => None,
    }
}

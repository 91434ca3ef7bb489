//! Reads the files that Velero keeps for runs, by DownloadRequests with derived names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::PostParams;
use kube::core::DynamicObject;
use ochre_core::action::{Action, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use ochre_core::decide::{DocumentKey, DocumentState};
use serde_json::json;

use super::room::Room;
use crate::download::{DownloadError, Downloads, clear, request};
use crate::guarded::Guarded;

/// How long Velero and its bucket may take to hand out a file.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long to wait before a download is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(2);

/// Reads the files that Velero keeps, each once while there is room for it.
pub(super) struct Documents {
    downloads: Downloads,
    room: Arc<Room>,
    /// When a file was first seen to be asked for.
    asked: Mutex<HashMap<(String, DocumentKey), Timestamp>>,
}

impl Documents {
    /// Prepares reading over HTTP.
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { downloads: Downloads::new()?, room: Arc::new(Room::new()), asked: Mutex::default() })
    }

    /// Forgets what was read for an Action.
    pub(super) fn forget(&self, uid: &str) {
        self.room.forget(uid);
        self.asked().retain(|(owner, _), _| owner != uid);
    }

    /// Reads a file, or says how far that is. `seen` is the DownloadRequest as it is now.
    pub(super) async fn read(
        &self,
        requests: &Api<Guarded<DynamicObject>>,
        action: &Action,
        key: &DocumentKey,
        seen: Option<&DynamicObject>,
        now: Timestamp,
    ) -> Result<DocumentState, kube::Error> {
        let uid = action.metadata.uid.clone().unwrap_or_default();
        if let Some(document) = self.room.get(&uid, key) {
            return Ok(DocumentState::Read(document));
        }
        let wanted = (uid, key.clone());
        let Some(request) = seen else {
            return ask(requests, action, key, now).await;
        };
        if !is_ours(request, action, key) {
            // Another's that has the derived name; what it leads to is another file.
            clear(requests, &key.request).await;
            return Ok(DocumentState::Pending { until: now + RETRY });
        }
        // Counted from when this engine first saw it: the clocks of others may be off.
        let until = *self.asked().entry(wanted.clone()).or_insert(now) + PATIENCE;
        let status = &request.data["status"];
        if request.metadata.deletion_timestamp.is_some() {
            return Ok(DocumentState::Pending { until: now + RETRY });
        }
        let Some(url) = status["downloadURL"].as_str().filter(|url| !url.is_empty()) else {
            if now < until {
                return Ok(DocumentState::Pending { until });
            }
            clear(requests, &key.request).await;
            let why = format!("Velero did not answer within {} s", PATIENCE.as_secs());
            return Ok(DocumentState::Unavailable(why));
        };
        let Some(reading) = self.room.enter(&wanted.0, now).map(Arc::new) else {
            self.asked().insert(wanted, now);
            return Ok(DocumentState::Crowded { until: now + RETRY });
        };
        let admitting = Arc::clone(&reading);
        match self.downloads.fetch(url, key.kind, move |bytes| admitting.admit(bytes)).await {
            Ok(document) => {
                clear(requests, &key.request).await;
                self.asked().remove(&wanted);
                Ok(DocumentState::Read(reading.keep(key.clone(), document)))
            }
            Err(DownloadError::Crowded) => {
                self.room.wait(&wanted.0, now);
                self.asked().insert(wanted, now);
                Ok(DocumentState::Crowded { until: now + RETRY })
            }
            Err(DownloadError::Interrupted(error)) if now < until => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    file = key.kind.as_str(),
                    "download failed"
                );
                if error.status() == Some(reqwest::StatusCode::FORBIDDEN) {
                    // The address has expired: another is asked for.
                    clear(requests, &key.request).await;
                }
                Ok(DocumentState::Pending { until: now + RETRY })
            }
            Err(error) => {
                clear(requests, &key.request).await;
                Ok(DocumentState::Unavailable(error.to_string()))
            }
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<(String, DocumentKey), Timestamp>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a request asks for this very file, for this Action.
fn is_ours(request: &DynamicObject, action: &Action, key: &DocumentKey) -> bool {
    let target = &request.data["spec"]["target"];
    let owner = request.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_UID));
    target["kind"] == key.kind.as_str()
        && target["name"] == key.object.as_str()
        && owner == action.metadata.uid.as_ref()
}

/// Asks Velero for a file.
async fn ask(
    requests: &Api<Guarded<DynamicObject>>,
    action: &Action,
    key: &DocumentKey,
    now: Timestamp,
) -> Result<DocumentState, kube::Error> {
    let metadata = &action.metadata;
    let labels = json!({
        (LABEL_UID): metadata.uid, (LABEL_NAMESPACE): metadata.namespace, (LABEL_NAME): metadata.name,
    });
    let request = request(&json!({"name": key.request, "labels": labels}), key.kind, &key.object);
    let request = request.map_err(kube::Error::SerdeError)?;
    match requests.create(&PostParams::default(), &Guarded(Ok(request))).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    Ok(DocumentState::Pending { until: now + PATIENCE })
}

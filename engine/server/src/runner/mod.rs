//! Does what `decide` asks for: observes the cluster and changes it.

mod account;
mod apply;
mod denied;
mod documents;
mod live;
mod rights;
mod room;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource as _};
use ochre_core::action::Action;
use ochre_core::decide::{DocumentKey, DocumentState, ListKey, Need, ObjectKey, Observed, Settings};
use ochre_core::shallow;
use ochre_core::velero::{self, UNREADABLE};
use ochre_core::workflow::stored_workflow;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::acting::acting_as;
use crate::audit::Audit;
use crate::content::Content;
use crate::guarded::{self, Guarded};
use crate::kinds::Kind;
use crate::watches::{WatchError, Watches, is_kept_whole};
use account::user;
use denied::Denied;
use documents::Documents;
use rights::{Asking, Told};

/// The verbs of reading, and of watching.
const READ: &[&str] = &["get", "list"];
const WATCH: &[&str] = &["get", "list", "watch"];
/// The most bytes of workflows that are kept.
const WORKFLOWS: usize = 16 * 1024 * 1024;
/// How many looks hold lists at a time.
const LISTS: usize = 2;

/// Says why the cluster could not be observed or changed; the next try may do better.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunnerError {
    /// The API server did not answer, or not well.
    #[error("the cluster did not take a request: {0}")]
    Cluster(#[from] kube::Error),
    /// The engine, or the ServiceAccount as which it acts, may not do this.
    #[error(transparent)]
    Forbidden(Box<Denied>),
    /// A kind could not be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// An object could not be turned into JSON.
    #[error("an object has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
    /// An object cannot be read.
    #[error("{kind} {name} cannot be read: {why}; mend or delete it")]
    Unreadable {
        /// Its kind.
        kind: String,
        /// Its namespace and name.
        name: String,
        /// Why.
        why: String,
    },
    /// Whoever asks for a right is refused as yet.
    #[error("the API server has only just started and does not know yet who may do what")]
    Starting,
    /// The cluster has no such kind.
    #[error("the cluster has no kind {kind} in {api_version}")]
    NoKind {
        /// The group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
}

impl RunnerError {
    /// Says of what was refused for want of a right, which right it was and whose.
    fn of(
        self,
        user: Option<String>,
        kind: &Kind,
        namespace: Option<&str>,
        verbs: &'static [&'static str],
    ) -> Self {
        let message = match self {
            Self::Cluster(kube::Error::Api(status)) if status.code == 403 => status.message.clone(),
            Self::Watch(WatchError::Forbidden(message)) => message,
            other => return other,
        };
        Self::Forbidden(Box::new(Denied {
            user,
            verbs,
            group: kind.resource.group.clone(),
            resource: kind.resource.plural.clone(),
            namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
            message,
        }))
    }
}

/// The hands and eyes of the controller.
pub(crate) struct Runner {
    client: Client,
    settings: Settings,
    content: Arc<Content>,
    audit: Audit,
    watches: Arc<Watches>,
    /// Those looks that hold lists, which each has for itself.
    lists: Arc<Semaphore>,
    documents: Documents,
    told: Told,
    /// The workflows of what runs, by the Action's uid: they never change.
    workflows: Mutex<HashMap<String, Value>>,
}

impl Runner {
    /// Prepares a runner.
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        content: Arc<Content>,
        audit: Audit,
        watches: Arc<Watches>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            watches,
            lists: Arc::new(Semaphore::new(LISTS)),
            documents: Documents::new()?,
            told: Told::default(),
            workflows: Mutex::default(),
            client,
            settings,
            content,
            audit,
        })
    }

    /// Begins the watches that every run needs. What fails here is begun when a run first asks for it.
    pub(crate) async fn begin(&self) {
        for kind in ["Backup", "Restore", "BackupStorageLocation", "DownloadRequest"] {
            match self.kind(velero::API_VERSION, kind).await {
                Ok(kind) => self.watches.begin(&kind, &self.settings.velero_namespace),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, kind, "not watched yet");
                }
            }
        }
    }

    /// Waits until a look may hold lists, for as long as what is returned lives.
    pub(crate) async fn lists(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.lists).acquire_owned().await.ok()
    }

    /// Says what the engine was told at its start.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Forgets an Action that has ended or gone.
    pub(crate) fn forget(&self, who: &ObjectRef<Action>, uid: &str) {
        self.watches.forget(who);
        self.documents.forget(uid);
        self.told.forget(uid);
        self.workflows().remove(uid);
    }

    /// Tells whether the API server knows who may do what.
    ///
    /// One that has only just started refuses everybody, in the words that it has for good, until it has read the
    /// roles; it is not ready before. Anybody may ask for that (`system:public-info-viewer`).
    pub(crate) async fn knows_rights(&self) -> bool {
        let request = http::Request::get("/readyz").body(Vec::new());
        let Ok(request) = request else { return false };
        self.client.request_text(request).await.is_ok()
    }

    /// Observes what is needed.
    pub(crate) async fn observe(
        &self,
        action: &Action,
        needs: Vec<Need>,
        observed: &mut Observed,
        now: Timestamp,
    ) -> Result<(), RunnerError> {
        for need in needs {
            match need {
                Need::Rendering => observed.rendering = Some(self.content.render(action, &self.settings)),
                Need::Object(key) => {
                    let object = self.object(action, &key).await?;
                    observed.objects.insert(key, object);
                }
                Need::Look(key) => {
                    let kind = self.watches.kinds.find(&self.client, &key.api_version, &key.kind).await?;
                    let object = match kind {
                        Some(kind) => self.get(action, &kind, &key, &["get"]).await?,
                        None => None,
                    };
                    observed.objects.insert(key, object);
                }
                Need::List(key) => {
                    let objects = self.list(action, &key).await?;
                    observed.lists.insert(key, objects);
                }
                Need::Names(key) => {
                    let kind = self.watches.kinds.find(&self.client, &key.api_version, &key.kind).await?;
                    observed.names.insert(key, kind.map(|kind| kind.names).unwrap_or_default());
                }
                Need::Resources(names) => {
                    let found = self.watches.kinds.resolve(&self.client, names).await?;
                    observed.resources.extend(found);
                }
                Need::Live(keys) => self.live(keys, observed).await?,
                Need::Rights(rights) => {
                    self.rights(action, rights, Asking::UntilMissing, observed).await?;
                }
                Need::EachRight(rights) => self.rights(action, rights, Asking::Each, observed).await?,
                Need::Document(key) => {
                    let state = self.document(action, &key, now).await?;
                    observed.documents.insert(key, state);
                }
            }
        }
        Ok(())
    }

    /// Finds an object: in the cache when it is the one that a step follows. Anything else is asked of the
    /// cluster, since a cache may be late and still hold a deleted object of the same name.
    async fn object(&self, action: &Action, key: &ObjectKey) -> Result<Option<Value>, RunnerError> {
        let Some(kind) = self.watches.kinds.find(&self.client, &key.api_version, &key.kind).await? else {
            return Ok(None);
        };
        if is_workflow(action, key) {
            return self.workflow(action, key).await;
        }
        // What a departing Action asks for is its namespace, once.
        if action.metadata.deletion_timestamp.is_none() {
            let (namespace, user) = (key.namespace.as_deref(), user(action, key));
            let store = self.open(&kind, namespace, user, action, Some(&key.name)).await?;
            let cached = store.get(&reference(&kind, key.namespace.as_deref(), &key.name));
            // What is not kept whole is asked for.
            let is_kept = |object: &Arc<Guarded<DynamicObject>>| {
                is_kept_whole(&kind, key.account.as_deref()) && object.0.is_ok()
            };
            if let Some(object) = cached.filter(|object| is_kept(object) && is_followed(action, object)) {
                return Ok(Some(json(&kind, &object)?));
            }
        }
        self.get(action, &kind, key, READ).await
    }

    /// Reads one object; of a Secret only its metadata.
    async fn get(
        &self,
        action: &Action,
        kind: &Kind,
        key: &ObjectKey,
        verbs: &'static [&'static str],
    ) -> Result<Option<Value>, RunnerError> {
        let user = user(action, key);
        let api = kind.api(acting_as(&self.client, user.as_deref()), key.namespace.as_deref());
        let found = if kind.is_secret() {
            let found = guarded::get_metadata(&api, &key.name).await;
            found.map(|found| found.map(|object| metadata_json(kind, &object)).transpose())
        } else {
            let found = api.get_opt(&key.name).await;
            found.map(|found| found.map(|object| json(kind, &object)).transpose())
        };
        found.map_err(|error| RunnerError::from(error).of(user, kind, key.namespace.as_deref(), verbs))?
    }

    /// Opens the cache of a kind, and lets an Action know of changes.
    async fn open(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        user: Option<String>,
        action: &Action,
        name: Option<&str>,
    ) -> Result<Store<Guarded<DynamicObject>>, RunnerError> {
        let who = ObjectRef::from(action);
        let opened = self.watches.open(kind, namespace, user.as_deref(), who, name).await;
        opened.map_err(|error| RunnerError::from(error).of(user, kind, namespace, WATCH))
    }

    /// Reads the workflow that an Action runs, once.
    async fn workflow(&self, action: &Action, key: &ObjectKey) -> Result<Option<Value>, RunnerError> {
        let uid = action.metadata.uid.clone().unwrap_or_default();
        if let Some(workflow) =
            self.workflows().get(&uid).filter(|known| known["metadata"]["name"] == key.name.as_str())
        {
            return Ok(Some(workflow.clone()));
        }
        let kind = self.kind(&key.api_version, &key.kind).await?;
        let stored = self.get(action, &kind, key, READ).await?;
        let rendering = action.status.as_ref().and_then(|status| status.rendering.as_ref());
        if let Some(rendering) = rendering
            && let Err(problem) = stored_workflow(stored.as_ref(), &rendering.workflow_ref)
        {
            self.audit.workflow_mismatch(action, &problem);
            return Ok(stored);
        }
        if let Some(workflow) = &stored {
            let mut kept = self.workflows();
            let bytes = shallow::bytes(workflow) + kept.values().map(shallow::bytes).sum::<usize>();
            // Those for which there is no room are read at each look.
            if bytes <= WORKFLOWS {
                kept.insert(uid, workflow.clone());
            }
        }
        Ok(stored)
    }

    fn workflows(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.workflows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self, action: &Action, key: &ListKey) -> Result<Vec<Value>, RunnerError> {
        let kind = self.kind(&key.api_version, &key.kind).await?;
        let store = self.open(&kind, key.namespace.as_deref(), None, action, None).await?;
        store.state().iter().map(|object| listed(&kind, object)).collect()
    }

    /// Reads a file that Velero keeps, or says how far that is.
    async fn document(
        &self,
        action: &Action,
        key: &DocumentKey,
        now: Timestamp,
    ) -> Result<DocumentState, RunnerError> {
        let kind = self.kind(velero::API_VERSION, "DownloadRequest").await?;
        let namespace = Some(self.settings.velero_namespace.as_str());
        // The cache alone is looked at: what it does not have yet comes as a change.
        let store = self.open(&kind, namespace, None, action, Some(&key.request)).await?;
        let mut seen = store.get(&reference(&kind, namespace, &key.request));
        let requests = kind.api(self.client.clone(), namespace);
        if seen.as_ref().is_some_and(|seen| seen.0.is_err()) {
            seen = requests.get_opt(&key.request).await?.map(Arc::new);
        }
        let seen = seen.as_deref().map(|request| readable(&kind, request)).transpose()?;
        let state = self.documents.read(&requests, action, key, seen, now).await;
        let state = state
            .map_err(|error| RunnerError::from(error).of(None, &kind, namespace, &["create", "delete"]))?;
        if matches!(state, DocumentState::Unavailable(_)) {
            tracing::warn!(file = key.kind.as_str(), velero.object = key.object, "unreadable");
        }
        Ok(state)
    }

    async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, RunnerError> {
        self.watches
            .kinds
            .find(&self.client, api_version, kind)
            .await?
            .ok_or_else(|| RunnerError::NoKind { api_version: api_version.to_owned(), kind: kind.to_owned() })
    }
}

/// Tells whether a step has recorded this very object.
fn is_followed(action: &Action, object: &Guarded<DynamicObject>) -> bool {
    let (mut steps, uid) = (action.status.iter().flat_map(|status| &status.steps), &object.meta().uid);
    uid.is_some() && steps.any(|step| step.object.as_ref().is_some_and(|followed| followed.uid == *uid))
}

fn is_workflow(action: &Action, key: &ObjectKey) -> bool {
    let rendering = action.status.as_ref().and_then(|status| status.rendering.as_ref());
    key.account.is_none()
        && key.kind == "ConfigMap"
        && rendering.is_some_and(|rendering| rendering.workflow_ref.name == key.name)
}

fn reference(kind: &Kind, namespace: Option<&str>, name: &str) -> ObjectRef<Guarded<DynamicObject>> {
    let reference = ObjectRef::new_with(name, kind.resource.clone());
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// Gives an object that can be read.
fn readable<'o>(kind: &Kind, object: &'o Guarded<DynamicObject>) -> Result<&'o DynamicObject, RunnerError> {
    object.0.as_ref().map_err(|unreadable| {
        let metadata = &unreadable.metadata;
        let namespace = metadata.namespace.as_ref().map(|namespace| format!("{namespace}/"));
        let name = metadata.name.as_deref().unwrap_or_default();
        RunnerError::Unreadable {
            kind: kind.resource.kind.clone(),
            name: namespace.unwrap_or_default() + name,
            why: unreadable.why.clone(),
        }
    })
}

/// Turns an object into JSON; lists leave its kind out.
fn json(kind: &Kind, object: &Guarded<DynamicObject>) -> Result<Value, RunnerError> {
    let mut value = serde_json::to_value(readable(kind, object)?)?;
    value["apiVersion"] = Value::String(kind.resource.api_version.clone());
    value["kind"] = Value::String(kind.resource.kind.clone());
    Ok(value)
}

/// Turns an object among others into JSON; one that cannot be read says so.
fn listed(kind: &Kind, object: &Guarded<DynamicObject>) -> Result<Value, RunnerError> {
    let Err(unreadable) = &object.0 else { return json(kind, object) };
    let mut value = metadata_json(kind, &unreadable.metadata)?;
    value[UNREADABLE] = Value::String(unreadable.why.clone());
    Ok(value)
}

fn metadata_json(kind: &Kind, metadata: &ObjectMeta) -> Result<Value, RunnerError> {
    tracing::trace!(name = metadata.name, "lives");
    Ok(serde_json::json!({
        "apiVersion": kind.resource.api_version,
        "kind": kind.resource.kind,
        "metadata": serde_json::to_value(metadata)?,
    }))
}

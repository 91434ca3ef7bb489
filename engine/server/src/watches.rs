//! The watches of the objects in use, shared by all Actions and by the gateway; what they keep has one bound.
//!
//! One watch per kind and namespace, begun when first asked for. What is followed with a ServiceAccount's rights has a
//! watch of its own, of that object alone: more rights than those are not asked for. Those who asked are told of changes by
//! a reconcile. Interest is noted before the cache is read, so that no change falls between the two.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource as _};
use ochre_core::action::{Action, LABEL_NAMESPACE};
use ochre_core::shallow;
use ochre_core::velero::{LABEL_RESTORE_NAME, is_velero};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::acting::acting_as;
use crate::guarded::{Guarded, Unreadable, trimmed};
use crate::kept::{Keep, Rank, Shared};
use crate::kinds::{Kind, Kinds};
use crate::store::told_of;

/// How many objects of a list come at a time: a page is read whole, and each may have 1.5 MB.
const PAGE: u32 = 10;

/// How long a first list may take.
const READY: Duration = Duration::from_secs(10);

/// Why an object is kept in brief.
const FULL: &str = "the engine keeps no more of it, since the objects that it watches take more than the limit `watched` (--limit-watched), and those of this namespace most; delete what is no longer needed";

/// The watches of the objects in use.
pub(crate) struct Watches {
    /// The kinds of the cluster.
    pub kinds: Kinds,
    client: Client,
    triggers: Triggers,
    shared: Shared,
    watched: Mutex<HashMap<Place, Arc<Watched>>>,
}

/// Who is told which Actions to look at again: the controller, while this process leads.
type Triggers = Arc<Mutex<Option<UnboundedSender<ObjectRef<Action>>>>>;

/// What one watch covers: a kind, in a namespace or everywhere; or one object, as a user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    only: Option<Only>,
}

/// One object's name, and as whom it is followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Only {
    user: String,
    name: String,
}

struct Watched {
    objects: Store<Guarded<DynamicObject>>,
    /// Whether all objects are there, be it by name.
    is_whole: Arc<AtomicBool>,
    /// The store's own `wait_until_ready` wakes only the last of several that wait (kube 5.0).
    listed: watch::Receiver<Listed>,
    interested: Arc<Interested>,
    _stop: DropGuard,
}

/// What came of the first list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Listed {
    /// It is on its way.
    NotYet,
    /// It is in the cache.
    Done,
    /// It may not be had, says the API server.
    Forbidden(String),
}

/// Who wants to know of which objects.
#[derive(Default)]
struct Interested {
    by_name: Mutex<HashMap<Option<String>, HashSet<ObjectRef<Action>>>>,
}

/// Says why a kind cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The engine, or the one as whom it looks, may not watch it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no room for the names of all objects.
    #[error("there are too many of {kind} in {namespace} for the limit `watched` (--limit-watched)")]
    TooMany {
        /// The kind.
        kind: String,
        /// The namespace, or `all namespaces`.
        namespace: String,
    },
    /// The first list did not come.
    #[error("{kind} in {namespace} could not be listed within {} s", READY.as_secs())]
    NotReady {
        /// The kind.
        kind: String,
        /// The namespace, or `all namespaces`.
        namespace: String,
    },
}

impl Watches {
    /// Prepares watches that keep so many bytes together.
    pub(crate) fn new(client: Client, limit: usize) -> Self {
        let (kinds, triggers, watched) = (Kinds::default(), Triggers::default(), Mutex::default());
        Self { kinds, client, triggers, shared: Shared::new(limit), watched }
    }

    /// Tells a new listener whom to look at again, and forgets what the one before wanted to know.
    pub(crate) fn listen(&self, listener: UnboundedSender<ObjectRef<Action>>) {
        self.retain(|_| false);
        *self.triggers.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Begins to watch a kind that will be asked for.
    pub(crate) fn begin(&self, kind: &Kind, namespace: &str) {
        self.watch(kind, &place(kind, Some(namespace)), None);
    }

    /// Opens the cache of a kind, and notes who wants to know of an object's changes; without a name, of all.
    pub(crate) async fn open(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        user: Option<&str>,
        who: ObjectRef<Action>,
        name: Option<&str>,
    ) -> Result<Store<Guarded<DynamicObject>>, WatchError> {
        let only = user.zip(name).map(|(user, name)| Only { user: user.to_owned(), name: name.to_owned() });
        let place = Place { only, ..place(kind, namespace) };
        let watched = self.watch(kind, &place, Some((who, name)));
        ready(&watched, place, name.is_none()).await
    }

    /// Opens the cache of all objects of a kind, for one who does not follow them.
    pub(crate) async fn look(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
    ) -> Result<Store<Guarded<DynamicObject>>, WatchError> {
        let place = place(kind, namespace);
        ready(&self.watch(kind, &place, None), place, true).await
    }

    /// Forgets an Action that wants to know nothing more; a watch that none wants ends.
    pub(crate) fn forget(&self, who: &ObjectRef<Action>) {
        self.retain(|interested| interested != who);
    }

    /// Keeps the interest of some Actions, and the watches that any wants.
    fn retain(&self, wants: impl Fn(&ObjectRef<Action>) -> bool) {
        self.watched().retain(|place, watched| {
            let mut by_name = watched.interested.by_name();
            for interested in by_name.values_mut() {
                interested.retain(&wants);
            }
            by_name.retain(|_, interested| !interested.is_empty());
            // Velero's are always in use: the next Action would begin them again.
            !by_name.is_empty() || is_velero(&place.api_version)
        });
    }

    /// Finds or begins a watch. Interest is noted under the same lock, so that no `forget` ends it in between.
    fn watch(
        &self,
        kind: &Kind,
        place: &Place,
        who: Option<(ObjectRef<Action>, Option<&str>)>,
    ) -> Arc<Watched> {
        let mut all = self.watched();
        // What was forbidden may have been granted since.
        let known = all.get(place).filter(|known| !matches!(*known.listed.borrow(), Listed::Forbidden(_)));
        let watched = match known {
            Some(watched) => Arc::clone(watched),
            None => self.start(kind, place),
        };
        if let Some((who, name)) = who {
            watched.interested.by_name().entry(name.map(str::to_owned)).or_default().insert(who);
        }
        all.insert(place.clone(), Arc::clone(&watched));
        watched
    }

    fn start(&self, kind: &Kind, place: &Place) -> Arc<Watched> {
        let mut writer = Writer::new(kind.resource.clone());
        let objects = writer.as_reader();
        let mut keeper = self.shared.keeper(objects.clone(), kind.resource.clone());
        let stop = CancellationToken::new();
        let (told, listed) = watch::channel(Listed::NotYet);
        let watched = Arc::new(Watched {
            objects,
            is_whole: keeper.is_whole(),
            listed,
            interested: Arc::default(),
            _stop: stop.clone().drop_guard(),
        });
        let named = place.kind.clone();
        let changes = changes(kind, &self.client, place)
            .default_backoff()
            .inspect_ok(move |event| report(event, &named));
        let interested = Arc::clone(&watched.interested);
        let triggers = Arc::clone(&self.triggers);
        let span = tracing::info_span!("watch", kind = place.kind, namespace = place.namespace);
        let work = async move {
            let mut changes = std::pin::pin!(changes);
            loop {
                let heard = tokio::select! {
                    event = changes.next() => match event {
                        Some(Ok(event)) => keeper.take(event),
                        Some(Err(error)) => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "the watch is interrupted");
                            if *told.borrow() != Listed::Done && let Some(why) = forbidden(&error) {
                                told.send_replace(Listed::Forbidden(why));
                            }
                            continue;
                        }
                        None => return,
                    },
                    event = keeper.asked() => event.into_iter().collect(),
                };
                for event in heard {
                    writer.apply_watcher_event(&event);
                    if let watcher::Event::InitDone = event {
                        told.send_replace(Listed::Done);
                    }
                    interested.tell(&event, &triggers);
                }
            }
        };
        tokio::spawn(async move { stop.run_until_cancelled(work).await }.instrument(span));
        watched
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<Place, Arc<Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Event = watcher::Event<Guarded<DynamicObject>>;

/// Says in the log what cannot be read.
fn report(event: &Event, kind: &str) {
    if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) = event {
        object.report(kind);
    }
}

/// Waits until the cache of a watch has its list.
async fn ready(
    watched: &Watched,
    place: Place,
    is_list: bool,
) -> Result<Store<Guarded<DynamicObject>>, WatchError> {
    let mut listed = watched.listed.clone();
    let listed = tokio::time::timeout(READY, listed.wait_for(|listed| *listed != Listed::NotYet)).await;
    let namespace = || place.namespace.clone().unwrap_or_else(|| "all namespaces".to_owned());
    match listed.ok().and_then(Result::ok).as_deref() {
        // A list must have all; what one object is not there for is asked of the API server.
        Some(Listed::Done) if is_list && !watched.is_whole.load(Ordering::Relaxed) => {
            Err(WatchError::TooMany { namespace: namespace(), kind: place.kind })
        }
        Some(Listed::Done) => Ok(watched.objects.clone()),
        Some(Listed::Forbidden(why)) => Err(WatchError::Forbidden(why.clone())),
        Some(Listed::NotYet) | None => Err(WatchError::NotReady { namespace: namespace(), kind: place.kind }),
    }
}

/// Keeps of an object of others what it is known by, and what tells how it is doing.
fn lean(object: Guarded<DynamicObject>) -> Guarded<DynamicObject> {
    const SPEC: [&str; 2] = ["storageClassName", "resources"];
    const STATUS: [&str; 7] = [
        "phase",
        "conditions",
        "initContainerStatuses",
        "containerStatuses",
        "readyReplicas",
        "numberReady",
        "ready",
    ];
    Guarded(object.0.map(|mut object| {
        let mut part = |of: &str, fields: &[&str]| {
            let mut part = object.data[of].take();
            if let Some(part) = part.as_object_mut() {
                part.retain(|field, _| fields.contains(&field.as_str()));
            }
            part
        };
        let (spec, status) = (part("spec", &SPEC), part("status", &STATUS));
        object.data = json!({"spec": spec, "status": status});
        object.metadata.annotations = None;
        object.metadata = trimmed(object.metadata);
        object
    }))
}

impl Keep for Guarded<DynamicObject> {
    /// What an Action has made counts for its namespace.
    fn owner(&self) -> String {
        let metadata = self.meta();
        let maker = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_NAMESPACE));
        maker.or(metadata.namespace.as_ref()).cloned().unwrap_or_default()
    }

    fn rank(&self) -> Option<Rank> {
        // One that is followed is asked of the API server then, so none is read again.
        self.0.is_ok().then_some(Rank::Ended)
    }

    fn bytes(&self) -> usize {
        let metadata = serde_json::to_value(self.meta()).map_or(0, |metadata| shallow::bytes(&metadata));
        metadata + self.0.as_ref().map_or(0, |object| shallow::bytes(&object.data))
    }

    fn in_brief(&self) -> Self {
        match &self.0 {
            Ok(object) => Self(Err(Box::new(Unreadable::new(object.metadata.clone(), Value::Null, FULL)))),
            Err(_) => self.clone(),
        }
    }
}

/// Tells whether objects are kept as a whole: Velero's, and those that are followed with a ServiceAccount's rights.
pub(crate) fn is_kept_whole(kind: &Kind, user: Option<&str>) -> bool {
    user.is_some() || is_velero(&kind.resource.api_version)
}

/// Watches a kind; of Secrets only their metadata.
fn changes(kind: &Kind, engine: &Client, place: &Place) -> BoxStream<'static, watcher::Result<Event>> {
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(only) = &place.only {
        config = config.fields(&format!("metadata.name={}", only.name));
    }
    let namespace = place.namespace.as_deref();
    if place.kind == "PersistentVolumeClaim" && namespace.is_none() {
        // Those of a Restore are looked for, and there are many others.
        config = config.labels(LABEL_RESTORE_NAME);
    }
    let client = acting_as(engine, place.only.as_ref().map(|only| only.user.as_str()));
    if !kind.is_secret() {
        let is_whole = is_kept_whole(kind, place.only.as_ref().map(|only| only.user.as_str()));
        let changes = watcher(kind.api(client, namespace), config);
        let kept = move |object| if is_whole { object } else { lean(object) };
        return changes.map_ok(move |event| told_of(event, kept)).boxed();
    }
    let bare = |object: Guarded<PartialObjectMeta<DynamicObject>>| {
        let (types, data) = (None, Value::Null);
        Guarded(Ok(DynamicObject { types, metadata: object.into_metadata(), data }))
    };
    let changes = watcher(kind.metadata_api(client, namespace), config);
    changes.map_ok(move |event| told_of(event, bare)).boxed()
}

/// Reads from a failed list that it may not be had.
fn forbidden(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403 => {
            Some(status.message.clone())
        }
        _ => None,
    }
}

fn place(kind: &Kind, namespace: Option<&str>) -> Place {
    Place {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
        namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
        only: None,
    }
}

impl Interested {
    fn by_name(&self) -> MutexGuard<'_, HashMap<Option<String>, HashSet<ObjectRef<Action>>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &Event, triggers: &Triggers) {
        let triggers = triggers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(triggers) = triggers.as_ref() else { return };
        let by_name = self.by_name();
        let told: HashSet<&ObjectRef<Action>> = match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                [None, object.meta().name.clone()]
                    .iter()
                    .filter_map(|name| by_name.get(name))
                    .flatten()
                    .collect()
            }
            // A new list may lack what was deleted in between.
            watcher::Event::InitDone => by_name.values().flatten().collect(),
            watcher::Event::Init | watcher::Event::InitApply(_) => HashSet::new(),
        };
        for who in told {
            // It is not heard when the process does not lead any more.
            let _ = triggers.send(who.clone());
        }
    }
}

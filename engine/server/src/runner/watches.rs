//! The watches of the objects in use, shared by all Actions.
//!
//! One watch per kind and namespace, begun when first asked for. What is followed with a ServiceAccount's rights has a
//! watch of its own, of that object alone: more rights than those are not asked for. Whoever asked is told of changes by
//! a reconcile. Interest is noted before the cache is read, so that no change falls between the two.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource as _};
use ochre_core::action::Action;
use ochre_core::velero::is_velero;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use super::account::acting_as;
use super::kinds::Kind;
use crate::guarded::Guarded;
use crate::store::told_of;

/// How many objects of a list come at a time: a page is read whole, and each may have 1.5 MB.
const PAGE: u32 = 10;

/// How long a first list may take.
const READY: Duration = Duration::from_secs(10);

/// The watches of the objects in use.
pub(super) struct Watches {
    client: Client,
    triggers: UnboundedSender<ObjectRef<Action>>,
    watched: Mutex<HashMap<Place, Arc<Watched>>>,
}

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
    /// Prepares watches that tell `triggers` whom to look at again.
    pub(super) fn new(client: Client, triggers: UnboundedSender<ObjectRef<Action>>) -> Self {
        Self { client, triggers, watched: Mutex::default() }
    }

    /// Begins to watch a kind that will be asked for.
    pub(super) fn begin(&self, kind: &Kind, namespace: &str) {
        self.watch(kind, &place(kind, Some(namespace)), None);
    }

    /// Opens the cache of a kind, and notes who wants to know of an object's changes; without a name, of all.
    pub(super) async fn open(
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
        let mut listed = watched.listed.clone();
        let listed = tokio::time::timeout(READY, listed.wait_for(|listed| *listed != Listed::NotYet)).await;
        match listed.ok().and_then(Result::ok).as_deref() {
            Some(Listed::Done) => Ok(watched.objects.clone()),
            Some(Listed::Forbidden(why)) => Err(WatchError::Forbidden(why.clone())),
            Some(Listed::NotYet) | None => Err(WatchError::NotReady {
                kind: place.kind,
                namespace: place.namespace.unwrap_or_else(|| "all namespaces".to_owned()),
            }),
        }
    }

    /// Forgets an Action that wants to know nothing more; a watch that nobody wants ends.
    pub(super) fn forget(&self, who: &ObjectRef<Action>) {
        self.watched().retain(|place, watched| {
            let mut by_name = watched.interested.by_name();
            for interested in by_name.values_mut() {
                interested.remove(who);
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
        let writer = Writer::new(kind.resource.clone());
        let objects = writer.as_reader();
        let stop = CancellationToken::new();
        let (told, listed) = watch::channel(Listed::NotYet);
        let watched = Arc::new(Watched {
            objects,
            listed,
            interested: Arc::default(),
            _stop: stop.clone().drop_guard(),
        });
        let named = place.kind.clone();
        let changes = changes(kind, &self.client, place)
            .default_backoff()
            .inspect_ok(move |event| report(event, &named))
            .reflect(writer);
        let interested = Arc::clone(&watched.interested);
        let triggers = self.triggers.clone();
        let span = tracing::info_span!("watch", kind = place.kind, namespace = place.namespace);
        let work = async move {
            let mut changes = std::pin::pin!(changes);
            while let Some(event) = changes.next().await {
                match &event {
                    Ok(watcher::Event::InitDone) => {
                        told.send_replace(Listed::Done);
                    }
                    Err(error) if *told.borrow() != Listed::Done => {
                        if let Some(why) = forbidden(error) {
                            told.send_replace(Listed::Forbidden(why));
                        }
                    }
                    _ => {}
                }
                interested.tell(&event, &triggers);
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

/// Watches a kind; of Secrets only their metadata.
fn changes(kind: &Kind, engine: &Client, place: &Place) -> BoxStream<'static, watcher::Result<Event>> {
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(only) = &place.only {
        config = config.fields(&format!("metadata.name={}", only.name));
    }
    let namespace = place.namespace.as_deref();
    let client = acting_as(engine, place.only.as_ref().map(|only| only.user.as_str()));
    if !kind.is_secret() {
        return watcher(kind.api(client, namespace), config).boxed();
    }
    let bare = |object: Guarded<PartialObjectMeta<DynamicObject>>| {
        let (types, data) = (None, serde_json::Value::Null);
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

    fn tell(&self, event: &watcher::Result<Event>, triggers: &UnboundedSender<ObjectRef<Action>>) {
        let by_name = self.by_name();
        let told: HashSet<&ObjectRef<Action>> = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                [None, object.meta().name.clone()]
                    .iter()
                    .filter_map(|name| by_name.get(name))
                    .flatten()
                    .collect()
            }
            // A new list may lack what was deleted in between.
            Ok(watcher::Event::InitDone) => by_name.values().flatten().collect(),
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => HashSet::new(),
            Err(error) => {
                tracing::warn!(error = error as &dyn std::error::Error, "the watch is interrupted");
                HashSet::new()
            }
        };
        for who in told {
            // Nobody listens any more only when the engine stops.
            let _ = triggers.send(who.clone());
        }
    }
}

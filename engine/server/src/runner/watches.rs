//! The watches of the objects in use, shared by all Actions.
//!
//! One watch per kind and namespace, begun when first asked for. Whoever asked is told of changes by
//! a reconcile. Interest is noted before the cache is read, so that no change falls between the two.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::core::DynamicObject;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use ochre_core::action::Action;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use super::kinds::Kind;

/// How long a first list may take.
const READY: Duration = Duration::from_secs(10);

/// The watches of the objects in use.
pub(super) struct Watches {
    client: Client,
    triggers: UnboundedSender<ObjectRef<Action>>,
    watched: Mutex<HashMap<Place, Arc<Watched>>>,
}

/// What one watch covers: a kind, in a namespace or everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    api_version: String,
    kind: String,
    namespace: Option<String>,
}

struct Watched {
    objects: Store<DynamicObject>,
    /// The store's own `wait_until_ready` wakes only the last of several that wait (kube 5.0).
    listed: watch::Receiver<bool>,
    interested: Arc<Interested>,
    _stop: DropGuard,
}

/// Who wants to know of which objects.
#[derive(Default)]
struct Interested {
    by_name: Mutex<HashMap<Option<String>, HashSet<ObjectRef<Action>>>>,
}

/// Says why a kind cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
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
        who: ObjectRef<Action>,
        name: Option<&str>,
    ) -> Result<Store<DynamicObject>, WatchError> {
        let place = place(kind, namespace);
        let watched = self.watch(kind, &place, Some((who, name)));
        match tokio::time::timeout(READY, watched.listed.clone().wait_for(|listed| *listed)).await {
            Ok(Ok(_)) => Ok(watched.objects.clone()),
            Ok(Err(_)) | Err(_) => Err(WatchError::NotReady {
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
            !by_name.is_empty() || place.api_version.starts_with("velero.io/")
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
        let watched = match all.get(place) {
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
        let (told, listed) = watch::channel(false);
        let watched = Arc::new(Watched {
            objects,
            listed,
            interested: Arc::default(),
            _stop: stop.clone().drop_guard(),
        });
        let changes =
            watcher(kind.api(self.client.clone(), place.namespace.as_deref()), watcher::Config::default())
                .default_backoff()
                .modify(|object| object.metadata.managed_fields = None)
                .reflect(writer);
        let interested = Arc::clone(&watched.interested);
        let triggers = self.triggers.clone();
        let span = tracing::info_span!("watch", kind = place.kind, namespace = place.namespace);
        let work = async move {
            let mut changes = std::pin::pin!(changes);
            while let Some(event) = changes.next().await {
                if matches!(event, Ok(watcher::Event::InitDone)) {
                    told.send_replace(true);
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

fn place(kind: &Kind, namespace: Option<&str>) -> Place {
    Place {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
        namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
    }
}

impl Interested {
    fn by_name(&self) -> MutexGuard<'_, HashMap<Option<String>, HashSet<ObjectRef<Action>>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(
        &self,
        event: &Result<watcher::Event<DynamicObject>, watcher::Error>,
        triggers: &UnboundedSender<ObjectRef<Action>>,
    ) {
        let by_name = self.by_name();
        let told: HashSet<&ObjectRef<Action>> = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                [None, object.metadata.name.clone()]
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

//! The Actions: read from a watch cache, written through the API server.
//!
//! A write returns only when the cache has it, so that every read sees the process's own writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use ochre_core::action::{Action, ActionRef, ActionStatus};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;

use crate::changes::{Changed, Changes};
use crate::guarded::{self, Guarded, Unreadable};
use crate::index::Index;
use crate::kept::{Keep, Keeper, Rank, Shared};

/// How long a write waits for the cache to have it.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long a broken watch takes at most to be tried again, and some more.
const TRIED_AGAIN: Duration = Duration::from_secs(35);

/// How many changes a subscriber may be behind; then it compares everything.
const BACKLOG: usize = 1024;
/// How many Actions of a list come at a time: a page is read whole, with all that is not needed, and each may have 1.5 MB.
const PAGE: u32 = 20;
/// How often it is looked which Actions have room again, and how many are read then.
const READ_AGAIN: (Duration, usize) = (Duration::from_secs(2), 50);

/// Why an Action is kept in brief.
const FULL: &str = "the Actions of all namespaces take more than the limit `actions` (--limit-actions), and those of this one most; delete those that have ended";

/// The Actions of the cluster.
#[derive(Clone)]
pub(crate) struct Actions {
    client: Client,
    cache: Store<Action>,
    index: Arc<RwLock<Index>>,
    /// Whether the first list is there; told anew with whatever the watch sees.
    ///
    /// The cache's own `wait_until_ready` wakes only the last of several that wait (kube 5.0).
    listed: watch::Receiver<bool>,
    listener: Listener,
    broken: Arc<Mutex<Option<Broken>>>,
    changed: broadcast::Sender<Changed>,
}

/// A watch that broke, and has told nothing since.
#[derive(Clone, Copy)]
struct Broken {
    /// When it broke.
    since: Instant,
    /// When it was last tried in vain.
    tried: Instant,
}

/// What becomes of what the watch sees.
struct Watching<Gone> {
    writer: Writer<Action>,
    keeper: Keeper<Action>,
    told: watch::Sender<bool>,
    gone: Gone,
}

/// Who is told which Actions to look at: the controller, while this process leads.
type Listener = Arc<Mutex<Option<UnboundedSender<ObjectRef<Action>>>>>;

impl<Gone: FnMut(&Action)> Watching<Gone> {
    fn hear(&mut self, actions: &Actions, event: watcher::Event<Action>) {
        for event in self.keeper.take(event) {
            self.writer.apply_watcher_event(&event);
            let event = Ok(event);
            // What is not in a list that is not whole may be there.
            if self.keeper.is_whole().load(Ordering::Relaxed)
                || !matches!(event, Ok(watcher::Event::InitDone))
            {
                actions.gone(&event).iter().for_each(|action| (self.gone)(action));
            }
            actions.tell(&event);
            self.told.send_modify(|listed| *listed |= matches!(event, Ok(watcher::Event::InitDone)));
        }
    }
}

impl Keep for Action {
    fn owner(&self) -> String {
        self.namespace().unwrap_or_default()
    }

    fn rank(&self) -> Option<Rank> {
        let is_under_way = |status: &ActionStatus| status.phase.is_under_way();
        match (self.is_unreadable(), self.has_ended()) {
            (true, _) => None,
            (false, true) => Some(Rank::Ended),
            (false, false) if self.status.as_ref().is_some_and(is_under_way) => Some(Rank::Busy),
            (false, false) => Some(Rank::Idle),
        }
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn in_brief(&self) -> Self {
        let mut brief = Self::in_brief(self, FULL);
        brief.metadata = guarded::trimmed(brief.metadata);
        brief
    }
}

impl Actions {
    /// Begins to watch, and keeps no more than so many bytes; the future must be polled for the cache to live. It shows
    /// each Action that is there no more, as it was when it was last seen.
    pub(crate) fn watch<Gone: FnMut(&Action) + Send>(
        client: &Client,
        limit: usize,
        gone: Gone,
    ) -> (Self, impl Future<Output = ()> + Send + use<Gone>) {
        let (cache, writer) = reflector::store();
        let (told, listed) = watch::channel(false);
        let changed = broadcast::Sender::new(BACKLOG);
        let (client, listener) = (client.clone(), Listener::default());
        let (index, broken) = (Arc::default(), Arc::default());
        let actions = Self { client, cache, index, listed, listener, broken, changed };
        let keeper = Shared::new(limit).keeper(actions.cache.clone(), ());
        let watching = actions.clone().follow(Watching { writer, keeper, told, gone });
        (actions, watching)
    }

    async fn follow<Gone: FnMut(&Action)>(self, mut watching: Watching<Gone>) {
        let config = watcher::Config::default().page_size(PAGE);
        let events = watcher(Api::<Guarded<Action>>::all(self.client.clone()), config).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut again = tokio::time::interval(READ_AGAIN.0);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => watching.hear(&self, told_of(event, shown)),
                    Some(Err(error)) => self.tell(&Err(error)),
                    None => return,
                },
                _ = again.tick() => self.read_again(&mut watching).await,
            }
        }
    }

    /// Reads Actions for which there was no room, and is now.
    async fn read_again<Gone: FnMut(&Action)>(&self, watching: &mut Watching<Gone>) {
        for _ in 0..READ_AGAIN.1 {
            let Some((namespace, name)) = watching.keeper.has_room_for() else { return };
            // What is gone, or cannot be asked for now, is heard of or read again later.
            let Ok(Some(now)) = self.latest(&namespace, &name).await else { return };
            let known = self.cache.get(&ObjectRef::from(now.as_ref()));
            if known.is_none_or(|known| version(&known) > version(&now)) {
                return;
            }
            watching.hear(self, watcher::Event::Apply(Arc::unwrap_or_clone(now)));
        }
    }

    /// Tells a new listener of every Action there is, and from now on of each that changes.
    pub(crate) fn listen(&self, listener: UnboundedSender<ObjectRef<Action>>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        self.tell_all();
    }

    /// Tells for how long the cache may have missed something, as far as that is known.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        let broken = *self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        // A watch that is well again says nothing until something happens; but one that is not fails again.
        broken.filter(|broken| broken.tried.elapsed() < TRIED_AGAIN).map(|broken| broken.since.elapsed())
    }

    fn tell(&self, event: &Result<watcher::Event<Action>, watcher::Error>) {
        {
            let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let since = broken.map_or(now, |broken| broken.since);
            *broken = event.is_err().then_some(Broken { since, tried: now });
        }
        // Whoever is told finds it there.
        self.keep(event);
        match event {
            Ok(watcher::Event::Apply(action) | watcher::Event::Delete(action)) => {
                self.tell_of(ObjectRef::from(action));
                // Nobody hears it when nobody subscribes.
                let _ = self.changed.send(Changed::one(action));
            }
            // The cache has a list when it is whole, and not before.
            Ok(watcher::Event::InitDone) => {
                self.tell_all();
                let _ = self.changed.send(Changed::Any);
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Err(error) => {
                tracing::warn!(error = error as &dyn std::error::Error, "the watch is interrupted");
            }
        }
    }

    /// Lists the Actions that an event says are there no more, of which the index may know still: the one of a
    /// delete, and those that a list after a break does not have.
    fn gone(&self, event: &Result<watcher::Event<Action>, watcher::Error>) -> Vec<Arc<Action>> {
        match event {
            Ok(watcher::Event::Delete(action)) => vec![Arc::new(action.clone())],
            Ok(watcher::Event::InitDone) => {
                let is_gone = |known: &&Arc<Action>| {
                    let now = self.cache.get(&ObjectRef::from(known.as_ref()));
                    now.is_none_or(|now| now.metadata.uid != known.metadata.uid)
                };
                self.index().everything().filter(is_gone).map(Arc::clone).collect()
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Apply(_)) | Err(_) => {
                Vec::new()
            }
        }
    }

    /// Brings the index to where the cache is.
    fn keep(&self, event: &Result<watcher::Event<Action>, watcher::Error>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::Apply(action)) => match self.cache.get(&ObjectRef::from(action)) {
                Some(cached) => index.put(cached),
                None => index.remove(action),
            },
            Ok(watcher::Event::Delete(action)) => index.remove(action),
            Ok(watcher::Event::InitDone) => *index = self.cache.state().into_iter().collect(),
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_) => {}
        }
    }

    fn tell_all(&self) {
        for action in self.cache.state() {
            self.tell_of(ObjectRef::from(action.as_ref()));
        }
    }

    fn tell_of(&self, action: ObjectRef<Action>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref() {
            // Nobody hears it when the process does not lead any more.
            let _ = listener.send(action);
        }
    }

    /// Follows the changes in a namespace from now on.
    pub(crate) fn changes(&self, namespace: &str) -> Changes {
        Changes::new(self.changed.subscribe(), namespace)
    }

    /// Opens the cache, for the controller.
    pub(crate) fn cache(&self) -> Store<Action> {
        self.cache.clone()
    }

    /// Tells whether the first list is there.
    pub(crate) fn is_ready(&self) -> bool {
        *self.listed.borrow()
    }

    /// Waits for the first list.
    pub(crate) async fn ready(&self) {
        // It fails only when the watch is dropped, at the end of the process.
        let _ = self.listed.clone().wait_for(|listed| *listed).await;
    }

    /// Finds an Action.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Action>> {
        self.index().get(namespace, name).map(Arc::clone)
    }

    /// Opens the Actions in their orders; nothing new is seen until it is closed.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates an Action.
    pub(crate) async fn create(&self, namespace: &str, action: &Action) -> kube::Result<Arc<Action>> {
        let action = Guarded(Ok(action.clone()));
        let created = self.api(namespace).create(&PostParams::default(), &action).await?;
        Ok(self.caught_up(shown(created)).await)
    }

    /// Patches the spec of an Action, if it is still the one that was looked at.
    pub(crate) async fn patch(&self, seen: &Action, spec: Value) -> kube::Result<Arc<Action>> {
        let patch = Patch::Merge(serde_json::json!({
            "metadata": {"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version},
            "spec": spec,
        }));
        let namespace = seen.namespace().unwrap_or_default();
        let patched = self.api(&namespace).patch(&seen.name_any(), &PatchParams::default(), &patch).await?;
        Ok(self.caught_up(shown(patched)).await)
    }

    /// Deletes an Action, if it is still the one that was looked at, in the phase it was seen in.
    pub(crate) async fn delete(&self, seen: &Action) -> kube::Result<()> {
        let namespace = seen.namespace().unwrap_or_default();
        let parameters = DeleteParams {
            preconditions: Some(kube::api::Preconditions {
                uid: seen.metadata.uid.clone(),
                resource_version: seen.metadata.resource_version.clone(),
            }),
            ..DeleteParams::background()
        };
        guarded::delete(&self.api(&namespace), &seen.name_any(), &parameters).await?;
        let uid = seen.metadata.uid.clone();
        self.until(|| {
            self.get(&namespace, &seen.name_any()).is_none_or(|cached| {
                cached.metadata.uid != uid || cached.metadata.deletion_timestamp.is_some()
            })
        })
        .await;
        Ok(())
    }

    /// Reads an Action as it is now, whatever the cache has seen of it.
    pub(crate) async fn latest(&self, namespace: &str, name: &str) -> kube::Result<Option<Arc<Action>>> {
        // A list, since the engine may not get Actions: it has them all.
        let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.api(namespace).list(&parameters).await?;
        Ok(found.items.into_iter().next().map(shown).map(Arc::new))
    }

    fn api(&self, namespace: &str) -> Api<Guarded<Action>> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits until the cache has what was written, or something newer.
    async fn caught_up(&self, written: Action) -> Arc<Action> {
        let namespace = written.namespace().unwrap_or_default();
        let name = written.name_any();
        let version = version(&written);
        self.until(|| self.get(&namespace, &name).is_some_and(|cached| self::version(&cached) >= version))
            .await;
        // Deleted in between, or a cache that is late: what was written is the truth that is known.
        self.get(&namespace, &name)
            .filter(|cached| self::version(cached) >= version)
            .unwrap_or_else(|| Arc::new(written))
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        let mut changes = self.listed.clone();
        let wait = async {
            while !reached() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(CATCH_UP, wait).await.is_err() {
            tracing::warn!("the cache of Actions is late");
        }
    }
}

/// Gives an Action, or what stands for one that cannot be read or is too large.
pub(crate) fn shown(action: Guarded<Action>) -> Action {
    let action = Guarded(action.0.and_then(|action| match action.too_large() {
        None => Ok(action),
        Some(why) => {
            let action_ref = serde_json::to_value(action.spec.action_ref).unwrap_or_default();
            Err(Box::new(Unreadable::new(action.metadata, action_ref, &why)))
        }
    }));
    action.report("Action");
    action.0.unwrap_or_else(|unreadable| {
        let action_ref = ActionRef::deserialize(&unreadable.action_ref).ok();
        Action::unreadable(unreadable.metadata, action_ref, &unreadable.why)
    })
}

/// Tells of other objects what is told of these.
pub(crate) fn told_of<K, L>(event: watcher::Event<K>, of: impl Fn(K) -> L) -> watcher::Event<L> {
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(of(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(of(object)),
        watcher::Event::InitApply(object) => watcher::Event::InitApply(of(object)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

/// Reads a resourceVersion as the number that it is with every Kubernetes API server.
pub(crate) fn version(action: &Action) -> u64 {
    action.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

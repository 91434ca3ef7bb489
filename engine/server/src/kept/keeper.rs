//! Stands between a watch and its cache, and makes objects brief for which there is no room.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{BRIEF, Given, Kept, PLACE, Rank};

/// An object that can be kept by its name alone.
pub(crate) trait Keep: Resource + Clone {
    /// Names the namespace that it counts for.
    fn owner(&self) -> String;
    /// Says how it gives way; nothing where only its name is kept.
    fn rank(&self) -> Option<Rank>;
    /// Measures the memory that it takes.
    fn bytes(&self) -> usize;
    /// Makes what is kept of it where there is no room.
    fn in_brief(&self) -> Self;
}

/// A watch, and an object's namespace and name in it.
type Key = (usize, String, String);

/// What several watches may keep together.
#[derive(Clone)]
pub(crate) struct Shared {
    kept: Arc<Mutex<Kept<Key>>>,
    /// Where each watch is told what gives way.
    watches: Arc<Mutex<HashMap<usize, UnboundedSender<Given<Key>>>>>,
    next: Arc<AtomicUsize>,
}

/// What one watch keeps.
pub(crate) struct Keeper<O: Resource + 'static>
where
    O::DynamicType: Eq + Hash + Clone,
{
    shared: Shared,
    watch: usize,
    store: Store<O>,
    kind: O::DynamicType,
    /// The list on its way. The cache has the one before until this is whole, so that both count.
    listing: Option<HashMap<Key, O>>,
    told: UnboundedReceiver<Given<Key>>,
    is_whole: Arc<AtomicBool>,
}

impl Shared {
    /// Begins with nothing.
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: Arc::new(Mutex::new(Kept::new(most))), watches: Arc::default(), next: Arc::default() }
    }

    /// Keeps what a watch sees, for as long as what is returned lives.
    pub(crate) fn keeper<O: Keep>(&self, store: Store<O>, kind: O::DynamicType) -> Keeper<O>
    where
        O::DynamicType: Eq + Hash + Clone,
    {
        let watch = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = unbounded_channel();
        self.watches().insert(watch, tell);
        let (shared, is_whole) = (self.clone(), Arc::new(AtomicBool::new(true)));
        Keeper { shared, watch, store, kind, listing: None, told, is_whole }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Key>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<usize, UnboundedSender<Given<Key>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Keep + 'static> Keeper<O>
where
    O::DynamicType: Eq + Hash + Clone,
{
    /// Takes what the watch sees, and gives what the cache is to hear.
    pub(crate) fn take(&mut self, event: Event<O>) -> Vec<Event<O>> {
        match event {
            Event::Init => {
                self.forget();
                self.is_whole.store(true, Ordering::Relaxed);
                self.listing = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let key = self.key(&object);
                let given = self.put(&key, &object);
                self.listing.get_or_insert_default().insert(key, object);
                given.into_iter().filter_map(|given| self.give(&given)).collect()
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default().into_values().map(Event::InitApply);
                [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).collect()
            }
            Event::Apply(object) => {
                let key = self.key(&object);
                let (own, others): (Vec<_>, Vec<_>) =
                    self.put(&key, &object).into_iter().partition(|given| given.key() == &key);
                let mut events: Vec<_> = others.into_iter().filter_map(|given| self.give(&given)).collect();
                events.push(match own.first() {
                    None => Event::Apply(object),
                    Some(Given::Brief(_)) => Event::Apply(object.in_brief()),
                    Some(Given::Dropped(_)) => {
                        self.is_whole.store(false, Ordering::Relaxed);
                        Event::Delete(object.in_brief())
                    }
                });
                events
            }
            Event::Delete(object) => {
                let key = self.key(&object);
                self.shared.kept().remove(&key);
                vec![Event::Delete(object)]
            }
        }
    }

    /// Waits until an object has to give way to those of another watch, and gives what the cache is to hear.
    pub(crate) async fn asked(&mut self) -> Option<Event<O>> {
        match self.told.recv().await {
            Some(given) => self.give(&given),
            // This holds a sender by its place among the watches.
            None => None,
        }
    }

    /// Names an object, by namespace and name, that has room again.
    pub(crate) fn has_room_for(&self) -> Option<(String, String)> {
        let kept = self.shared.kept();
        kept.has_room_for(self.watch_of()).map(|(_, namespace, name)| (namespace.clone(), name.clone()))
    }

    /// Tells whether the cache has all objects, be it by name.
    pub(crate) fn is_whole(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_whole)
    }

    fn watch_of(&self) -> impl Fn(&Key) -> bool + use<O> {
        let own = self.watch;
        move |(watch, ..)| *watch == own
    }

    fn key(&self, object: &O) -> Key {
        let metadata = object.meta();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (self.watch, text(&metadata.namespace), text(&metadata.name))
    }

    /// Counts an object; tells what of this watch gives way, and the other watches what of theirs.
    fn put(&self, key: &Key, object: &O) -> Vec<Given<Key>> {
        let rank = object.rank();
        let bytes = if rank.is_some() { object.bytes() + PLACE } else { BRIEF };
        let given = self.shared.kept().put(key, &object.owner(), rank, bytes);
        let (own, others): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|given| given.key().0 == self.watch);
        if !others.is_empty() {
            let watches = self.shared.watches();
            for given in others {
                if let Some(watch) = watches.get(&given.key().0) {
                    // One that is not there any more keeps nothing.
                    let _ = watch.send(given);
                }
            }
        }
        own
    }

    /// Makes an object brief, or drops it, where it still has to.
    fn give(&mut self, given: &Given<Key>) -> Option<Event<O>> {
        let key = given.key();
        if !self.shared.kept().is_given(given) {
            return None;
        }
        if let Given::Dropped(_) = given {
            self.is_whole.store(false, Ordering::Relaxed);
        }
        if let Some(listing) = &mut self.listing {
            match (given, listing.get_mut(key)) {
                (Given::Brief(_), Some(object)) => *object = object.in_brief(),
                (Given::Dropped(_), Some(_)) => drop(listing.remove(key)),
                (_, None) => {}
            }
            return None;
        }
        let (_, namespace, name) = key;
        let place = ObjectRef::new_with(name, self.kind.clone());
        let place = if namespace.is_empty() { place } else { place.within(namespace) };
        let cached = self.store.get(&place)?;
        Some(match given {
            Given::Brief(_) => Event::Apply(cached.in_brief()),
            Given::Dropped(_) => Event::Delete(cached.in_brief()),
        })
    }

    fn forget(&self) {
        self.shared.kept().remove_all(self.watch_of());
    }
}

impl<O: Resource> Drop for Keeper<O>
where
    O::DynamicType: Eq + Hash + Clone,
{
    fn drop(&mut self) {
        let own = self.watch;
        self.shared.watches().remove(&own);
        self.shared.kept().remove_all(|(watch, ..)| *watch == own);
    }
}

//! How many Actions of one namespace are looked at at a time, so that those of others get on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::ObjectRef;
use ochre_core::action::Action;
use tokio::sync::mpsc::UnboundedSender;

/// The places of each namespace, and who waits for one.
pub(crate) struct Places {
    most: usize,
    triggers: UnboundedSender<ObjectRef<Action>>,
    namespaces: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    taken: usize,
    waiting: VecDeque<ObjectRef<Action>>,
    /// The same, to be found.
    known: HashSet<ObjectRef<Action>>,
}

/// A place that is taken. When it is left, the one that has waited longest is told to `triggers`.
pub(crate) struct Place {
    places: Arc<Places>,
    namespace: String,
}

impl Places {
    /// Prepares so many places in each namespace.
    pub(crate) fn new(most: usize, triggers: UnboundedSender<ObjectRef<Action>>) -> Self {
        Self { most, triggers, namespaces: Mutex::default() }
    }

    /// Takes a place for an Action, or notes that it waits for one.
    pub(crate) fn take(self: &Arc<Self>, who: &ObjectRef<Action>) -> Option<Place> {
        let name = who.namespace.clone().unwrap_or_default();
        let mut namespaces = self.namespaces();
        let namespace = namespaces.entry(name.clone()).or_default();
        if namespace.taken < self.most {
            namespace.taken += 1;
            return Some(Place { places: Arc::clone(self), namespace: name });
        }
        if namespace.known.insert(who.clone()) {
            namespace.waiting.push_back(who.clone());
        }
        None
    }

    /// Tells the next one that waits: the one that was told before it is gone.
    pub(crate) fn pass(&self, gone: &ObjectRef<Action>) {
        let name = gone.namespace.clone().unwrap_or_default();
        if let Some(namespace) = self.namespaces().get_mut(&name) {
            self.tell(namespace);
        }
    }

    fn tell(&self, namespace: &mut Namespace) {
        if let Some(next) = namespace.waiting.pop_front() {
            namespace.known.remove(&next);
            // The controller listens no more only when the engine stops.
            let _ = self.triggers.send(next);
        }
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut namespaces = self.places.namespaces();
        let Some(namespace) = namespaces.get_mut(&self.namespace) else { return };
        namespace.taken -= 1;
        self.places.tell(namespace);
        if namespace.taken == 0 && namespace.waiting.is_empty() {
            namespaces.remove(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn two() -> (Arc<Places>, UnboundedReceiver<ObjectRef<Action>>) {
        let (triggers, triggered) = unbounded_channel();
        (Arc::new(Places::new(2, triggers)), triggered)
    }

    fn action(namespace: &str, name: &str) -> ObjectRef<Action> {
        ObjectRef::new(name).within(namespace)
    }

    /// Lists whose turn it has become.
    fn told(triggered: &mut UnboundedReceiver<ObjectRef<Action>>) -> Vec<String> {
        std::iter::from_fn(|| triggered.try_recv().ok()).map(|who| who.name).collect()
    }

    #[test]
    fn one_namespace_takes_its_own_places_only() {
        let (places, mut triggered) = two();
        let held: Vec<Place> =
            (0..60).filter_map(|number| places.take(&action("a", &number.to_string()))).collect();
        assert_eq!(held.len(), 2);
        assert!(places.take(&action("b", "nightly")).is_some());
        assert_eq!(told(&mut triggered), [""; 0], "who waits in one is not told of a place in another");
    }

    #[test]
    fn who_has_waited_longest_is_next_and_each_one_is_told_once() {
        let (places, mut triggered) = two();
        let mut held: Vec<Place> =
            ["1", "2"].iter().filter_map(|name| places.take(&action("a", name))).collect();
        for name in ["3", "4", "3"] {
            assert!(places.take(&action("a", name)).is_none());
        }
        for next in ["3", "4"] {
            drop(held.pop());
            assert_eq!(told(&mut triggered), [next]);
            held.extend(places.take(&action("a", next)));
            assert_eq!(held.len(), 2);
        }
        drop(held);
        assert_eq!(told(&mut triggered), [""; 0]);
        assert!(places.namespaces().is_empty(), "nothing is kept of a namespace in which nothing is done");
    }

    #[test]
    fn who_is_gone_passes_its_turn_on() {
        let (places, mut triggered) = two();
        let held: Vec<Place> = ["1", "2"].iter().filter_map(|name| places.take(&action("a", name))).collect();
        for name in ["gone", "4", "5"] {
            assert!(places.take(&action("a", name)).is_none());
        }
        drop(held);
        assert_eq!(told(&mut triggered), ["gone", "4"]);
        places.pass(&action("a", "gone"));
        assert_eq!(told(&mut triggered), ["5"]);
        places.pass(&action("b", "gone"));
        assert_eq!(told(&mut triggered), [""; 0]);
    }
}

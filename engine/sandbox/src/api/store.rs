//! The objects, one counter of versions for all of them, and a bounded log of what happened.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::Failure;
use super::kind::{self, Kind};
use super::object;

/// Holds the whole state of the API. Every method is atomic under the API's lock.
pub(crate) struct Store {
    kinds: BTreeMap<String, Arc<Kind>>,
    objects: BTreeMap<String, BTreeMap<(String, String), Arc<Value>>>,
    /// Where the object with a uid is.
    by_uid: HashMap<String, Key>,
    /// Which objects name a uid as their owner.
    dependents: HashMap<String, BTreeSet<Key>>,
    version: u64,
    log: VecDeque<Event>,
    capacity: usize,
    /// Changes that the built-in controllers have not looked at yet.
    pub(super) unsettled: VecDeque<Change>,
    /// Tokens that were given out, each with the uid of its ServiceAccount.
    pub(super) tokens: HashMap<String, String>,
    /// The moment of the request at hand.
    pub(crate) now: Timestamp,
}

/// Names one object: `plural.group`, namespace (empty for cluster scope) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Records one change: before, after, and the version it made.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) before: Option<Arc<Value>>,
    /// What the object is now; for a deletion, what it last was, at the deletion's version.
    pub(crate) object: Arc<Value>,
    pub(crate) deleted: bool,
}

/// Says that an object was put or removed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) object: Arc<Value>,
    pub(super) deleted: bool,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Store {
    /// Makes an empty store whose log keeps the last `capacity` events.
    pub(crate) fn new(capacity: usize, now: Timestamp) -> Self {
        Self {
            kinds: kind::built_in().map(|kind| (kind.resource(), Arc::new(kind))).collect(),
            objects: BTreeMap::new(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            // Later than any version that an earlier run gave out, so that its watchers are told to start anew.
            version: u64::try_from(now.as_millisecond()).unwrap_or(1),
            log: VecDeque::new(),
            capacity,
            unsettled: VecDeque::new(),
            tokens: HashMap::new(),
            now,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }

    pub(crate) fn kind(&self, resource: &str) -> Option<Arc<Kind>> {
        self.kinds.get(resource).cloned()
    }

    /// Says that a group has no such resource.
    pub(super) fn absent(&self, group: &str) -> Failure {
        let from_the_start = group.is_empty() || self.kinds().any(|kind| !kind.custom && kind.group == group);
        if from_the_start { Failure::NoResource } else { Failure::NoRoute }
    }

    pub(super) fn serve(&mut self, kind: Kind) {
        self.kinds.insert(kind.resource(), Arc::new(kind));
    }

    pub(super) fn stop_serving(&mut self, resource: &str) {
        self.kinds.remove(resource);
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(&key.resource)?.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// Lists a kind's objects in a namespace, or in all.
    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let Some(objects) = self.objects.get(resource) else {
            return Vec::new();
        };
        match namespace {
            None => objects.values().cloned().collect(),
            Some(namespace) => objects
                .range((namespace.to_owned(), String::new())..)
                .take_while(|((of, _), _)| of == namespace)
                .map(|(_, object)| object.clone())
                .collect(),
        }
    }

    /// Lists every object of a namespace.
    pub(super) fn contents(&self, namespace: &str) -> Vec<(String, Arc<Value>)> {
        let resources = self.objects.keys();
        resources
            .flat_map(|resource| {
                let objects = self.list(resource, Some(namespace)).into_iter();
                objects.map(|object| (resource.clone(), object))
            })
            .collect()
    }

    pub(super) fn holder(&self, uid: &str) -> Option<Key> {
        self.by_uid.get(uid).cloned()
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Puts an object, which gets the next version.
    pub(super) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let before = self
            .objects
            .entry(key.resource.clone())
            .or_default()
            .insert((key.namespace.clone(), key.name.clone()), object.clone());
        if let Some(before) = &before {
            self.forget(key, before);
        }
        self.by_uid.insert(object::uid(&object).to_owned(), key.clone());
        for owner in object::owners(&object) {
            self.dependents.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        self.record(key, before, object.clone(), false);
        object
    }

    /// Removes an object; the deletion, too, is a version.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let place = (key.namespace.clone(), key.name.clone());
        let before = self.objects.get_mut(&key.resource)?.remove(&place)?;
        self.version += 1;
        self.forget(key, &before);
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        self.record(key, Some(before), last.clone(), true);
        Some(last)
    }

    /// Returns the events after a version, or the oldest version that could be asked for.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Event>, u64> {
        let oldest = self.log.front().map_or(self.version, |event| event.version - 1);
        if version < oldest || version > self.version {
            return Err(oldest);
        }
        let start = self.log.partition_point(|event| event.version <= version);
        Ok(self.log.range(start..))
    }

    fn forget(&mut self, key: &Key, object: &Value) {
        self.by_uid.remove(object::uid(object));
        for owner in object::owners(object) {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn record(&mut self, key: &Key, before: Option<Arc<Value>>, object: Arc<Value>, deleted: bool) {
        if self.log.len() == self.capacity {
            self.log.pop_front();
        }
        self.log.push_back(Event {
            version: self.version,
            resource: key.resource.clone(),
            namespace: key.namespace.clone(),
            before,
            object: object.clone(),
            deleted,
        });
        self.unsettled.push_back(Change { key: key.clone(), object, deleted });
    }
}

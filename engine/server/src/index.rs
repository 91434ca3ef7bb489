//! The Actions of each namespace in their orders, so that a page costs what is on it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

use kube::ResourceExt as _;
use ochre_core::action::Action;
use serde::{Deserialize, Serialize};

/// A place in an order. It stays where it is, whatever is created or deleted beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place(i64, String);

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By name.
    Name,
    /// What was created first, and by name what was created in the same second.
    Age,
}

impl By {
    /// Says where an Action stands.
    pub(crate) fn place(self, action: &Action) -> Place {
        let created = action.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
        Place(if self == Self::Age { created } else { 0 }, action.name_any())
    }
}

/// The Actions of all namespaces.
#[derive(Default)]
pub(crate) struct Index(HashMap<String, Namespace>);

/// The Actions of a namespace.
#[derive(Default)]
struct Namespace {
    by_name: BTreeMap<Place, Arc<Action>>,
    by_age: BTreeMap<Place, Arc<Action>>,
}

impl FromIterator<Arc<Action>> for Index {
    fn from_iter<All: IntoIterator<Item = Arc<Action>>>(all: All) -> Self {
        let mut index = Self::default();
        all.into_iter().for_each(|action| index.put(action));
        index
    }
}

impl Index {
    /// Adds an Action, in place of another of its name.
    pub(crate) fn put(&mut self, action: Arc<Action>) {
        self.remove(&action);
        let namespace = self.0.entry(action.namespace().unwrap_or_default()).or_default();
        namespace.by_age.insert(By::Age.place(&action), Arc::clone(&action));
        namespace.by_name.insert(By::Name.place(&action), action);
    }

    /// Takes the Action of this name away.
    pub(crate) fn remove(&mut self, named: &Action) {
        let name = named.namespace().unwrap_or_default();
        let Some(namespace) = self.0.get_mut(&name) else { return };
        // It may have been created at another time than the one that is known.
        if let Some(known) = namespace.by_name.remove(&By::Name.place(named)) {
            namespace.by_age.remove(&By::Age.place(&known));
        }
        if namespace.by_name.is_empty() {
            self.0.remove(&name);
        }
    }

    /// Gives the Actions of all namespaces, in no order.
    pub(crate) fn everything(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.0.values().flat_map(|namespace| namespace.by_name.values())
    }

    /// Finds an Action.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Action>> {
        self.0.get(namespace)?.by_name.get(&Place(0, name.to_owned()))
    }

    /// Gives the Actions of a namespace in an order.
    pub(crate) fn all(&self, namespace: &str, by: By) -> impl DoubleEndedIterator<Item = &Arc<Action>> {
        self.between(namespace, by, Unbounded, Unbounded)
    }

    /// Gives those that stand between two places.
    pub(crate) fn between(
        &self,
        namespace: &str,
        by: By,
        low: Bound<&Place>,
        high: Bound<&Place>,
    ) -> impl DoubleEndedIterator<Item = &Arc<Action>> {
        // Where nothing can be, `range` panics.
        let is_empty = match (low, high) {
            (Included(low), Included(high)) => low > high,
            (Included(low) | Excluded(low), Included(high) | Excluded(high)) => low >= high,
            (Unbounded, _) | (_, Unbounded) => false,
        };
        let found = self.0.get(namespace).filter(|_| !is_empty).map(|namespace| match by {
            By::Name => namespace.by_name.range((low, high)),
            By::Age => namespace.by_age.range((low, high)),
        });
        found.into_iter().flatten().map(|(_, action)| action)
    }
}

#[cfg(test)]
mod tests {
    //! Actions that come and go.

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use ochre_core::action::ActionSpec;

    use super::*;

    /// Makes an Action of one namespace that was created at some second.
    fn action(name: &str, created: i64) -> Arc<Action> {
        let mut action = Action::new(name, ActionSpec::default());
        action.metadata.namespace = Some("here".to_owned());
        action.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        Arc::new(action)
    }

    /// Names what is there, by name and by age.
    fn names(index: &Index) -> (String, String) {
        let names = |by| index.all("here", by).map(|action| action.name_any()).collect();
        (names(By::Name), names(By::Age))
    }

    #[test]
    fn an_action_stands_once_in_each_order() {
        let mut index: Index = [action("b", 1), action("a", 2), action("c", 1)].into_iter().collect();
        assert_eq!(names(&index), ("abc".to_owned(), "bca".to_owned()));
        // It was deleted and created again while nobody saw.
        index.put(action("b", 3));
        assert_eq!(names(&index), ("abc".to_owned(), "cab".to_owned()));
        assert_eq!(
            index.get("here", "b").map(|action| By::Age.place(action)),
            Some(Place(3, "b".to_owned()))
        );
        // What is known of it when it goes may be older.
        for name in ["b", "a", "c", "d"] {
            index.remove(&action(name, 0));
        }
        assert!(index.0.is_empty(), "nothing is kept of a namespace without Actions");
        assert!(index.get("here", "b").is_none());
    }

    #[test]
    fn between_places_is_what_the_bounds_say() {
        let index: Index = [action("a", 1), action("b", 1), action("c", 1)].into_iter().collect();
        let place = |name: &str| Place(0, name.to_owned());
        let (a, b, c) = (place("a"), place("b"), place("c"));
        for (low, high, wanted) in [
            (Excluded(&a), Unbounded, "bc"),
            (Unbounded, Included(&b), "ab"),
            (Included(&b), Included(&b), "b"),
            (Excluded(&b), Excluded(&b), ""),
            (Excluded(&b), Included(&b), ""),
            (Excluded(&c), Excluded(&a), ""),
            (Included(&a), Excluded(&c), "ab"),
        ] {
            let found: String =
                index.between("here", By::Name, low, high).map(|action| action.name_any()).collect();
            assert_eq!(found, wanted, "{low:?} {high:?}");
        }
        assert_eq!(index.all("elsewhere", By::Age).count(), 0);
    }
}

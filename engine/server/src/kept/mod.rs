//! How many bytes of objects are kept in memory, and whose give way.
//!
//! Whatever tenants store, what is kept has a bound. Beyond it the owner that has most gives way, so that none takes the
//! room of those who have less.

mod keeper;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

pub(crate) use keeper::{Keep, Keeper, Shared};

/// What an object counts of which only the name is kept: no less than that takes with all that names it.
const BRIEF: usize = 6 * 1024;

/// What it takes to know where an object is.
const PLACE: usize = 1024;

/// Which of an owner's objects give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It has been done with.
    Ended,
    /// Nothing has begun for it.
    Idle,
    /// Something is under way for it.
    Busy,
}

/// What gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given<K> {
    /// Only its name is kept from now on.
    Brief(K),
    /// Nothing is.
    Dropped(K),
}

/// The objects that are kept, by name.
struct Kept<K> {
    most: usize,
    bytes: usize,
    entries: HashMap<K, Entry>,
    owners: HashMap<String, Owner<K>>,
    /// Those that are read again when there is room, and how much they take.
    waiting: BTreeMap<K, usize>,
}

struct Entry {
    owner: String,
    bytes: usize,
    /// How it gives way; nothing where only its name is kept.
    rank: Option<Rank>,
}

struct Owner<K> {
    bytes: usize,
    whole: BTreeSet<(Rank, Reverse<usize>, K)>,
    brief: BTreeSet<K>,
}

impl<K> Default for Owner<K> {
    fn default() -> Self {
        Self { bytes: 0, whole: BTreeSet::new(), brief: BTreeSet::new() }
    }
}

impl<K: Clone + Ord + Hash> Kept<K> {
    /// Begins with nothing.
    fn new(most: usize) -> Self {
        Self { most, bytes: 0, entries: HashMap::new(), owners: HashMap::new(), waiting: BTreeMap::new() }
    }

    /// Keeps an object, in place of what was known by that name; of one without a rank only the name is kept. Tells what
    /// gives way, which may be this one.
    fn put(&mut self, key: &K, owner: &str, rank: Option<Rank>, bytes: usize) -> Vec<Given<K>> {
        self.remove(key);
        self.insert(key.clone(), Entry { owner: owner.to_owned(), bytes, rank });
        let mut given = Vec::new();
        while self.bytes > self.most {
            let Some(next) = self.give() else { break };
            given.push(next);
        }
        // What was made brief and then dropped is only dropped.
        let dropped: BTreeSet<K> = given.iter().filter_map(Given::dropped).cloned().collect();
        given.retain(|given| !matches!(given, Given::Brief(key) if dropped.contains(key)));
        given
    }

    /// Forgets an object.
    fn remove(&mut self, key: &K) {
        self.waiting.remove(key);
        self.take(key);
    }

    /// Tells whether an object has given way, and has not come back since.
    fn is_given(&self, given: &Given<K>) -> bool {
        match (given, self.entries.get(given.key())) {
            (Given::Brief(_), Some(entry)) => entry.rank.is_none(),
            (Given::Dropped(_), None) => true,
            (Given::Brief(_), None) | (Given::Dropped(_), Some(_)) => false,
        }
    }

    /// Forgets all objects of which something is true.
    fn remove_all(&mut self, is_gone: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self.entries.keys().filter(|key| is_gone(key)).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Names an object among some that has room again; of those, one of the owner that has least.
    fn has_room_for(&self, is_one: impl Fn(&K) -> bool) -> Option<&K> {
        let fits = |(key, bytes): &(&K, &usize)| {
            self.entries.get(*key).is_some_and(|entry| self.bytes - entry.bytes + **bytes <= self.most)
        };
        let least = |(key, _): &(&K, &usize)| {
            let owner = self.entries.get(*key).and_then(|entry| self.owners.get(&entry.owner));
            owner.map_or(0, |owner| owner.bytes)
        };
        self.waiting.iter().filter(|(key, _)| is_one(key)).filter(fits).min_by_key(least).map(|(key, _)| key)
    }

    /// Lets go of what an owner of most bytes can do without.
    fn give(&mut self) -> Option<Given<K>> {
        let (_, most) = self.owners.iter().max_by_key(|(name, owner)| (owner.bytes, Reverse(*name)))?;
        let Some((_, _, key)) = most.whole.first().cloned() else {
            let key = most.brief.first()?.clone();
            self.remove(&key);
            return Some(Given::Dropped(key));
        };
        let Entry { owner, bytes, rank } = self.take(&key)?;
        if rank.is_some_and(|rank| rank > Rank::Ended) {
            self.waiting.insert(key.clone(), bytes);
        }
        self.insert(key.clone(), Entry { owner, bytes: bytes.min(BRIEF), rank: None });
        Some(Given::Brief(key))
    }

    fn insert(&mut self, key: K, entry: Entry) {
        let owner = self.owners.entry(entry.owner.clone()).or_default();
        owner.bytes += entry.bytes;
        self.bytes += entry.bytes;
        match entry.rank {
            Some(rank) => drop(owner.whole.insert((rank, Reverse(entry.bytes), key.clone()))),
            None => drop(owner.brief.insert(key.clone())),
        }
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &K) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        if let Some(owner) = self.owners.get_mut(&entry.owner) {
            owner.bytes -= entry.bytes;
            match entry.rank {
                Some(rank) => drop(owner.whole.remove(&(rank, Reverse(entry.bytes), key.clone()))),
                None => drop(owner.brief.remove(key)),
            }
            if owner.whole.is_empty() && owner.brief.is_empty() {
                self.owners.remove(&entry.owner);
            }
        }
        Some(entry)
    }
}

impl<K> Given<K> {
    /// Names the object.
    const fn key(&self) -> &K {
        match self {
            Self::Brief(key) | Self::Dropped(key) => key,
        }
    }

    fn dropped(&self) -> Option<&K> {
        match self {
            Self::Brief(_) => None,
            Self::Dropped(key) => Some(key),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Who gives way.

    use proptest::prelude::*;

    use super::*;

    const K: usize = 10 * BRIEF;

    fn kept() -> Kept<&'static str> {
        Kept::new(4 * K + 4 * BRIEF)
    }

    #[test]
    fn the_owner_of_most_gives_way_and_what_has_ended_first() {
        let mut kept = kept();
        for (key, owner, rank) in [
            ("busy", "many", Rank::Busy),
            ("ended", "many", Rank::Ended),
            ("idle", "many", Rank::Idle),
            ("only", "one", Rank::Ended),
        ] {
            assert_eq!(kept.put(&key, owner, Some(rank), K), []);
        }
        assert_eq!(kept.put(&"new", "two", Some(Rank::Ended), K), [Given::Brief("ended")]);
        assert_eq!(kept.put(&"next", "three", Some(Rank::Idle), K), [Given::Brief("idle")]);
        // One that has as much as others gives way to none that has more.
        assert_eq!(kept.put(&"large", "large", Some(Rank::Busy), 3 * K), [Given::Brief("large")]);
    }

    #[test]
    fn what_was_not_done_is_read_again_when_there_is_room() {
        let mut kept = kept();
        for key in ["a", "b", "c", "d"] {
            kept.put(&key, "one", Some(Rank::Idle), K);
        }
        assert_eq!(kept.put(&"e", "one", Some(Rank::Ended), K), [Given::Brief("e")]);
        assert_eq!(kept.has_room_for(|_| true), None, "what has ended needs no reading");
        assert_eq!(kept.put(&"f", "two", Some(Rank::Busy), K), [Given::Brief("a")]);
        assert_eq!(kept.has_room_for(|_| true), None);
        kept.remove(&"c");
        assert_eq!(kept.has_room_for(|_| true), Some(&"a"));
        assert_eq!(kept.put(&"a", "one", Some(Rank::Idle), K), []);
        assert_eq!(kept.has_room_for(|_| true), None);
    }

    #[test]
    fn where_names_alone_are_too_much_they_are_dropped() {
        let mut kept = Kept::new(2 * BRIEF);
        assert_eq!(kept.put(&"a", "one", Some(Rank::Busy), 5 * BRIEF), [Given::Brief("a")]);
        assert_eq!(kept.put(&"b", "one", None, BRIEF), []);
        assert_eq!(kept.put(&"c", "two", Some(Rank::Busy), BRIEF), [Given::Dropped("a")]);
        assert_eq!(
            kept.put(&"d", "three", Some(Rank::Busy), 5 * BRIEF),
            [Given::Brief("d"), Given::Dropped("b")]
        );
    }

    proptest! {
        #[test]
        fn what_is_kept_has_a_bound_and_is_the_sum_of_its_parts(
            steps in prop::collection::vec((0_u8..40, 0_usize..5, 0_u8..5, 1_usize..6 * K), 0..120)
        ) {
            let mut kept: Kept<u8> = Kept::new(4 * K);
            for (key, owner, what, bytes) in steps {
                let owner = ["a", "b", "c", "d", "e"][owner];
                match what {
                    0 => kept.remove(&key),
                    what => {
                        let rank = [None, Some(Rank::Ended), Some(Rank::Idle), Some(Rank::Busy)][usize::from(what) - 1];
                        kept.put(&key, owner, rank, if rank.is_none() { bytes.min(BRIEF) } else { bytes });
                    }
                }
                prop_assert!(kept.bytes <= kept.most);
                prop_assert_eq!(kept.bytes, kept.entries.values().map(|entry| entry.bytes).sum::<usize>());
                prop_assert_eq!(kept.bytes, kept.owners.values().map(|owner| owner.bytes).sum::<usize>());
                prop_assert!(kept.waiting.keys().all(|key| kept.entries[key].rank.is_none()));
            }
            kept.remove_all(|_| true);
            prop_assert!(kept.entries.is_empty() && kept.owners.is_empty() && kept.waiting.is_empty());
        }
    }
}

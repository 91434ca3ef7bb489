//! How often somebody does something.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// How many are known before those are forgotten who have not done it for a while.
const MANY: usize = 1000;

/// Counts, for each that does it, how often that was lately.
pub(crate) struct Rate<Key: Clone + Eq + Hash>(RateLimiter<Key, HashMapStateStore<Key>, DefaultClock>);

impl<Key: Clone + Eq + Hash> Rate<Key> {
    /// Begins with nobody known, each of whom may do it so often in a second.
    pub(crate) fn per_second(most: NonZeroU32) -> Self {
        Self(RateLimiter::hashmap(Quota::per_second(most)))
    }

    /// Counts once more, unless that is too often; then it says how long to wait.
    pub(crate) fn count(&self, key: &Key) -> Result<(), Duration> {
        if self.0.len() > MANY {
            self.0.retain_recent();
        }
        self.0.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

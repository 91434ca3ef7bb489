//! How much one caller may ask for, so that nobody takes what is everybody's.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use super::refusal::Refusal;
use crate::identity::Caller;
use crate::options::Limits;
use crate::rate::Rate;

/// What callers have asked for lately. Where nobody is told apart, nobody is limited.
pub(super) struct Quotas {
    rate: NonZeroU32,
    requests: Rate<String>,
    subscriptions: usize,
    /// How many subscriptions each caller has.
    subscribed: Arc<Mutex<HashMap<String, usize>>>,
}

impl Quotas {
    /// Begins with callers of whom nothing is known.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            rate: limits.requests,
            requests: Rate::per_second(limits.requests),
            subscriptions: limits.subscriptions,
            subscribed: Arc::default(),
        }
    }

    /// Lets a request in, unless its caller has sent too many within a second.
    pub(super) fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(share) = caller.share() else { return Ok(()) };
        let counted = self.requests.count(&share.to_owned());
        counted.map_err(|wait| Refusal::TooMany { what: "requests", limit: self.rate.get() as usize, wait })
    }

    /// Counts a subscription for as long as what is returned lives.
    pub(super) fn subscribe(&self, caller: &Caller) -> Result<Option<Subscribed>, Refusal> {
        let Some(share) = caller.share() else { return Ok(None) };
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = subscribed.entry(share.to_owned()).or_default();
        if *count >= self.subscriptions {
            let wait = std::time::Duration::from_secs(10);
            return Err(Refusal::TooMany { what: "subscriptions", limit: self.subscriptions, wait });
        }
        *count += 1;
        Ok(Some(Subscribed { all: Arc::clone(&self.subscribed), share: share.to_owned() }))
    }
}

/// A subscription of somebody's.
pub(super) struct Subscribed {
    all: Arc<Mutex<HashMap<String, usize>>>,
    share: String,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.share) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Who is let in.

    use ochre_core::action::UserInfo;

    use super::*;

    fn person(name: &str) -> Caller {
        Caller::Person(UserInfo { username: name.to_owned(), ..UserInfo::default() })
    }

    #[test]
    fn a_subscription_counts_until_its_end_and_for_its_caller_alone() {
        let quotas = Quotas::new(&Limits { subscriptions: 1, ..Limits::default() });
        let (alice, bob) = (person("alice"), person("bob"));
        let first = quotas.subscribe(&alice).unwrap();
        assert!(quotas.subscribe(&alice).is_err());
        assert!(quotas.subscribe(&bob).is_ok_and(|held| held.is_some()));
        drop(first);
        assert!(quotas.subscribe(&alice).is_ok());
        assert!(quotas.subscribed.lock().unwrap().is_empty(), "nothing is kept of who has none");
        assert!(quotas.subscribe(&Caller::Anybody).is_ok_and(|held| held.is_none()));
    }

    #[test]
    fn service_accounts_of_a_namespace_count_as_one() {
        let quotas =
            Quotas::new(&Limits { subscriptions: 1, requests: NonZeroU32::MIN, ..Limits::default() });
        let account = |name: &str| person(&format!("system:serviceaccount:{name}"));
        let _first = quotas.subscribe(&account("shop:a")).unwrap();
        assert!(quotas.admit(&account("shop:a")).is_ok());
        for (name, is_one) in [("shop:b", true), ("sho:p", false), ("shop2:a", false)] {
            assert_eq!(quotas.subscribe(&account(name)).is_err(), is_one, "{name}");
            assert_eq!(quotas.admit(&account(name)).is_err(), is_one, "{name}");
        }
    }

    #[test]
    fn requests_are_counted_for_each_caller_alone() {
        let quotas = Quotas::new(&Limits { requests: NonZeroU32::MIN, ..Limits::default() });
        let alice = person("alice");
        assert!(quotas.admit(&alice).is_ok());
        let refusal = quotas.admit(&alice).unwrap_err();
        assert_eq!(refusal.retry_after(), Some(1), "{refusal}");
        assert!(quotas.admit(&person("bob")).is_ok());
        for _ in 0..10 {
            assert!(quotas.admit(&Caller::Anybody).is_ok());
        }
    }
}

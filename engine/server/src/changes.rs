//! Which Actions changed, for those who follow them: names only, since the cache has the rest.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt as _;
use ochre_core::action::Action;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// What is told when the cache has something new.
#[derive(Clone, Debug)]
pub(crate) enum Changed {
    /// This Action, by namespace and name.
    One(Arc<(String, String)>),
    /// Whichever, since all were listed anew.
    Any,
}

impl Changed {
    /// Tells of one Action.
    pub(crate) fn one(action: &Action) -> Self {
        Self::One(Arc::new((action.namespace().unwrap_or_default(), action.name_any())))
    }
}

/// Which Actions to look at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These.
    Names(BTreeSet<String>),
    /// All.
    All,
}

impl Touched {
    /// Tells whether an Action is to be looked at.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Names(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// The changes in one namespace.
pub(crate) struct Changes {
    told: Receiver<Changed>,
    namespace: String,
}

impl Changes {
    /// Follows what is told.
    pub(crate) fn new(told: Receiver<Changed>, namespace: &str) -> Self {
        Self { told, namespace: namespace.to_owned() }
    }

    /// Waits for changes, and takes all that there are by then; nothing comes after the end of the process.
    ///
    /// Whoever is slow misses no change but sees several as one.
    pub(crate) async fn next(&mut self) -> Option<Touched> {
        let mut names = BTreeSet::new();
        loop {
            let told = if names.is_empty() {
                self.told.recv().await.map_err(|error| match error {
                    RecvError::Lagged(count) => TryRecvError::Lagged(count),
                    RecvError::Closed => TryRecvError::Closed,
                })
            } else {
                self.told.try_recv()
            };
            match told {
                Ok(Changed::One(action)) if action.0 == self.namespace => {
                    names.insert(action.1.clone());
                }
                Ok(Changed::One(_)) => {}
                Ok(Changed::Any) => return Some(Touched::All),
                Err(TryRecvError::Lagged(_)) => {
                    // Whoever looks at all needs nothing of what was told before.
                    self.told = self.told.resubscribe();
                    return Some(Touched::All);
                }
                Err(TryRecvError::Empty) => return Some(Touched::Names(names)),
                Err(TryRecvError::Closed) => return (!names.is_empty()).then_some(Touched::Names(names)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! What a follower is told.

    use std::sync::Arc;

    use tokio::sync::broadcast;

    use super::{Changed, Changes, Touched};

    fn one(namespace: &str, name: &str) -> Changed {
        Changed::One(Arc::new((namespace.to_owned(), name.to_owned())))
    }

    fn names(names: &[&str]) -> Touched {
        Touched::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[tokio::test]
    async fn changes_of_a_namespace_come_together_and_none_is_missed() {
        let (tell, told) = broadcast::channel(4);
        let mut changes = Changes::new(told, "here");
        for changed in [one("here", "a"), one("there", "b"), one("here", "c"), one("here", "a")] {
            tell.send(changed).unwrap();
        }
        assert_eq!(changes.next().await, Some(names(&["a", "c"])));
        for number in 0..5 {
            tell.send(one("there", &number.to_string())).unwrap();
        }
        assert_eq!(changes.next().await, Some(Touched::All), "some were lost, so anything may have changed");
        tell.send(Changed::Any).unwrap();
        assert_eq!(changes.next().await, Some(Touched::All));
        tell.send(one("here", "d")).unwrap();
        drop(tell);
        assert_eq!(changes.next().await, Some(names(&["d"])));
        assert_eq!(changes.next().await, None);
    }
}

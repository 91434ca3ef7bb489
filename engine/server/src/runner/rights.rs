//! Asks what the one may who had an Action run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ochre_core::access::Right;
use ochre_core::action::Action;
use ochre_core::decide::{Observed, RIGHTS_AT_ONCE};
use sha2::{Digest as _, Sha256};

use super::{Runner, RunnerError};
use crate::identity::allowed;

/// How many rights are asked for at a time.
const AT_ONCE: usize = 16;

/// Whether asking ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Soon after one is missing: all are needed.
    UntilMissing,
    /// When each was asked for.
    Each,
}

/// The answers that are in the audit log already, by the Action's uid: a run that waits asks again and again.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<String, HashSet<[u8; 32]>>>);

impl Runner {
    /// Asks anew for rights: what was allowed when the run was asked for may have been taken away.
    pub(super) async fn rights(
        &self,
        action: &Action,
        rights: BTreeSet<Right>,
        asking: Asking,
        observed: &mut Observed,
    ) -> Result<(), RunnerError> {
        let person = action.status.as_ref().and_then(|status| status.run_by.as_ref());
        let mut rights = rights.into_iter().peekable();
        let (mut held, mut missing) = (Vec::new(), Vec::new());
        while rights.peek().is_some() {
            let asked = rights.by_ref().take(RIGHTS_AT_ONCE).map(async |right| {
                let is_allowed = match person {
                    Some(person) => allowed(&self.client, person, &right).await?,
                    None => false,
                };
                Ok::<_, RunnerError>((right, is_allowed))
            });
            let answers: Vec<(Right, bool)> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            for (right, is_allowed) in answers {
                if is_allowed { held.push(right) } else { missing.push(right) }
            }
            if asking == Asking::UntilMissing && !missing.is_empty() {
                break;
            }
        }
        // Once it knows them, it does for good: the first "no" tells.
        let is_first = !missing.is_empty() && observed.rights.values().all(|known| *known);
        if is_first && !self.knows_rights().await {
            return Err(RunnerError::Starting);
        }
        observed.rights.extend(held.iter().map(|right| (right.clone(), true)));
        observed.rights.extend(missing.iter().map(|right| (right.clone(), false)));
        if self.told.is_new(action, &held, &missing) {
            self.audit.rights(action, &held, &missing);
        }
        Ok(())
    }
}

impl Told {
    /// Tells whether an answer is another than those that the run has had, and notes it.
    fn is_new(&self, action: &Action, held: &[Right], missing: &[Right]) -> bool {
        let attempt = action.status.as_ref().map(|status| status.attempt);
        let answer = Sha256::digest(format!("{attempt:?} {held:?} {missing:?}")).into();
        let uid = action.metadata.uid.clone().unwrap_or_default();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(uid).or_default().insert(answer)
    }

    /// Forgets an Action that has ended or gone.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

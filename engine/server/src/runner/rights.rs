//! Asks what the one may who had an Action run.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ochre_core::access::Right;
use ochre_core::action::Action;
use ochre_core::decide::Observed;

use super::{Runner, RunnerError};
use crate::identity::allowed;

/// How many rights are asked for at a time.
const AT_ONCE: usize = 16;

impl Runner {
    /// Asks anew for each right: what was allowed when the run was asked for may have been taken away.
    pub(super) async fn rights(
        &self,
        action: &Action,
        rights: BTreeSet<Right>,
        observed: &mut Observed,
    ) -> Result<(), RunnerError> {
        let person = action.status.as_ref().and_then(|status| status.run_by.as_ref());
        let asked = rights.into_iter().map(async |right| {
            let is_allowed = match person {
                Some(person) => allowed(&self.client, person, &right).await?,
                None => false,
            };
            Ok::<_, RunnerError>((right, is_allowed))
        });
        let answers: Vec<(Right, bool)> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        // Once it knows them, it does for good: the first "no" tells.
        let is_first =
            answers.iter().any(|(_, is_allowed)| !is_allowed) && observed.rights.values().all(|known| *known);
        if is_first && !self.knows_rights().await {
            return Err(RunnerError::Starting);
        }
        for (right, is_allowed) in answers {
            self.audit.right(action, &right, is_allowed);
            observed.rights.insert(right, is_allowed);
        }
        Ok(())
    }
}

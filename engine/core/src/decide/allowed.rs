//! Whether the one may do it who had the Action run.

use std::collections::BTreeSet;

use super::step::Progress;
use super::{Access, Blocked, Need, Run};
use crate::access::Right;
use crate::action::UserInfo;

impl<'a> Run<'a> {
    /// Tells whether somebody asks for the run; an Action of nobody does not run.
    pub(super) fn is_asked_for(&self) -> bool {
        let by = self.action.spec.requested_by.as_ref().and_then(|by| by.run.as_ref());
        self.settings.access == Access::Open || by.is_some_and(|by| !by.username.is_empty())
    }

    /// Names the ServiceAccount whose rights the workflow has beyond Velero's objects.
    pub(super) fn account(&self) -> Option<&'a str> {
        self.action.spec.service_account_name.as_deref()
    }

    /// Says what keeps the one who had the Action run from what is about to be done, if anything does.
    pub(super) fn forbidden(&mut self, rights: BTreeSet<Right>) -> Result<Option<Progress>, Blocked> {
        if self.settings.access == Access::Open {
            return Ok(None);
        }
        let by = self.action.status.as_ref().and_then(|status| status.run_by.as_ref());
        let Some(UserInfo { username, .. }) = by.filter(|by| !by.username.is_empty()) else {
            return Ok(Some(Progress::failed("Forbidden", "it is not known who had this Action run")));
        };
        if rights.iter().any(|right| !self.observed.rights.contains_key(right)) {
            return self.need(Need::Rights(rights));
        }
        let missing: Vec<&Right> =
            rights.iter().filter(|right| self.observed.rights.get(right) != Some(&true)).collect();
        Ok((!missing.is_empty()).then(|| {
            let hint = if missing.iter().any(|right| right.namespace.is_none()) {
                "name the namespaces with includeNamespaces, or ask for a role that has it"
            } else {
                "ask for a role that has it"
            };
            let missing: Vec<String> = missing.into_iter().map(ToString::to_string).collect();
            Progress::failed("Forbidden", format!("{username} may not {}; {hint}", missing.join(", nor ")))
        }))
    }
}

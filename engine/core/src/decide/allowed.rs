//! Whether the one may do it who had the Action run.

use std::collections::BTreeSet;

use super::step::Progress;
use super::{Access, Blocked, Need, Run};
use crate::access::{Right, way_around};

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

    /// Names the one who had the Action run.
    pub(super) fn caller(&self) -> Option<&'a str> {
        let by = self.action.status.as_ref().and_then(|status| status.run_by.as_ref());
        by.map(|by| by.username.as_str()).filter(|name| !name.is_empty())
    }

    /// Lists those of the rights that the one lacks who had the Action run.
    pub(super) fn missing(&mut self, mut rights: BTreeSet<Right>) -> Result<BTreeSet<Right>, Blocked> {
        if self.settings.access == Access::Open {
            return Ok(BTreeSet::new());
        }
        if self.caller().is_none() {
            return Ok(rights);
        }
        if rights.iter().any(|right| !self.observed.rights.contains_key(right)) {
            return self.need(Need::Rights(rights));
        }
        rights.retain(|right| self.observed.rights.get(right) != Some(&true));
        Ok(rights)
    }

    /// Says what keeps the one who had the Action run from what is about to be done, if anything does.
    pub(super) fn forbidden(&mut self, rights: BTreeSet<Right>) -> Result<Option<Progress>, Blocked> {
        let missing = self.missing(rights)?;
        if missing.is_empty() {
            return Ok(None);
        }
        let Some(caller) = self.caller() else {
            return Ok(Some(Progress::failed("Forbidden", "it is not known who had this Action run")));
        };
        let missing: Vec<&Right> = missing.iter().collect();
        let hint = way_around(&missing).map(|way| format!("{way}, or ")).unwrap_or_default();
        let missing: Vec<String> = missing.into_iter().map(ToString::to_string).collect();
        let message =
            format!("{caller} may not {}; {hint}ask for a role that has it", missing.join(", nor "));
        Ok(Some(Progress::failed("Forbidden", message)))
    }
}

//! Whether the one may do it who had the Action run.

use std::collections::BTreeSet;

use super::step::Progress;
use super::{Access, Blocked, Need, Run};
use crate::access::{Right, way_around};
use crate::action::GROUP;

/// Beyond how many rights those of the whole cluster are asked for first.
const MANY: usize = 200;
/// How many rights are asked for at most, for one thing that a step does.
const MOST_RIGHTS: usize = 2000;

/// What came of asking for rights.
pub(super) enum Answer {
    /// The caller has all of them.
    Granted,
    /// The caller has not.
    Lacks {
        /// Those that were asked for and are missing.
        missing: BTreeSet<Right>,
        /// How many were not asked for any more.
        unasked: usize,
    },
    /// They are so many that none was asked for.
    TooMany(usize),
}

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

    /// Asks for rights, all of which are needed; asking ends soon after the first that is missing.
    pub(super) fn ask(&mut self, rights: BTreeSet<Right>) -> Result<Answer, Blocked> {
        if self.settings.access == Access::Open || rights.is_empty() {
            return Ok(Answer::Granted);
        }
        let rights = match self.not_held_everywhere(rights)? {
            rights if rights.len() > MOST_RIGHTS => return Ok(Answer::TooMany(rights.len())),
            rights => rights,
        };
        if self.caller().is_none() {
            return Ok(Answer::Lacks { missing: rights, unasked: 0 });
        }
        let (known, unasked): (BTreeSet<Right>, BTreeSet<Right>) =
            rights.iter().cloned().partition(|right| self.observed.rights.contains_key(right));
        let missing: BTreeSet<Right> = known.into_iter().filter(|right| !self.holds(right)).collect();
        match (missing.is_empty(), unasked.is_empty()) {
            (true, true) => Ok(Answer::Granted),
            (true, false) => self.need(Need::Rights(rights)),
            (false, _) => Ok(Answer::Lacks { missing, unasked: unasked.len() }),
        }
    }

    /// Tells whether the one has all of these rights who had the Action run; too many to ask for are not had.
    pub(super) fn may(&mut self, rights: BTreeSet<Right>) -> Result<bool, Blocked> {
        Ok(matches!(self.ask(rights)?, Answer::Granted))
    }

    /// Asks for each of these rights and lists those that are missing; or says how many they are, if that is too many.
    pub(super) fn lacking(
        &mut self,
        mut rights: BTreeSet<Right>,
    ) -> Result<Result<BTreeSet<Right>, usize>, Blocked> {
        if self.settings.access == Access::Open {
            return Ok(Ok(BTreeSet::new()));
        }
        if rights.len() > MOST_RIGHTS {
            return Ok(Err(rights.len()));
        }
        if self.caller().is_some() {
            if rights.iter().any(|right| !self.observed.rights.contains_key(right)) {
                return self.need(Need::EachRight(rights));
            }
            rights.retain(|right| !self.holds(right));
        }
        Ok(Ok(rights))
    }

    /// Takes out of many rights those that the caller has in the whole cluster.
    fn not_held_everywhere(&mut self, mut rights: BTreeSet<Right>) -> Result<BTreeSet<Right>, Blocked> {
        if rights.len() > MANY && self.caller().is_some() {
            // Of too many kinds, none is taken out.
            if let Ok(missing) = self.lacking(rights.iter().map(Right::everywhere).collect())? {
                rights.retain(|right| missing.contains(&right.everywhere()));
            }
        }
        Ok(rights)
    }

    fn holds(&self, right: &Right) -> bool {
        self.observed.rights.get(right) == Some(&true)
    }

    /// Says what keeps the one who had the Action run from what is about to be done, if anything does.
    pub(super) fn forbidden(&mut self, rights: BTreeSet<Right>) -> Result<Option<Progress>, Blocked> {
        let (missing, unasked) = match self.ask(rights)? {
            Answer::Granted => return Ok(None),
            Answer::TooMany(count) => return Ok(Some(too_many(count))),
            Answer::Lacks { missing, unasked } => (missing, unasked),
        };
        let Some(caller) = self.caller() else {
            return Ok(Some(Progress::failed("Forbidden", "it is not known who had this Action run")));
        };
        let missing: Vec<&Right> = missing.iter().collect();
        let hint = way_around(&missing).map(|way| format!("{way}, or ")).unwrap_or_default();
        let missing: Vec<String> = missing.into_iter().map(ToString::to_string).collect();
        let message = format!(
            "{caller} may not {}{}; {hint}ask for a role that has it",
            missing.join(", nor "),
            not_asked(unasked)
        );
        Ok(Some(Progress::failed("Forbidden", message)))
    }
}

/// Says how many rights were not asked for, since others are missing.
pub(super) fn not_asked(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" ({count} more rights were not asked for)") }
}

/// Ends a step that would take too many rights.
pub(super) fn too_many(count: usize) -> Progress {
    let message = format!(
        "{count} rights would have to be asked for, and {MOST_RIGHTS} are at most, so nothing was made; name fewer \
         namespaces with includeNamespaces, or ask for a role that holds in the whole cluster, or for escalate on \
         targets.{GROUP}"
    );
    Progress::failed("Forbidden", message)
}

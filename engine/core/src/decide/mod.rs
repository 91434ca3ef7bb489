//! The heart: one pure, level-triggered function from what is there to what to do.
//!
//! [`decide`] looks at an Action and at what has been observed and says what else must be observed
//! ([`Need`]), what must be done ([`Effect`]), what the status should say and when to look again.
//! The shell observes and calls it again until it needs nothing more, does what it asks for and
//! calls it again, and at last writes the status. Nothing is remembered between two calls.

mod need;
mod effect;
mod note;
mod lifecycle;
mod step;
mod resource;
mod files;
mod allowed;
mod before;
mod kinds;
mod crowd;
mod writes;
mod after;
mod ready;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use effect::{Effect, Refusal};
pub use need::{
    DocumentKey, DocumentState, ListKey, Need, ObjectKey, Observed, RIGHTS_AT_ONCE, Rendered, Rendering,
    Resource, derived_name,
};

use crate::action::{Action, ActionStatus, Outcome, UserInfo};
use crate::phase::{Phase, Verdict};

/// What the engine was told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    /// Whose rights a run has.
    pub access: Access,
    /// How many Backups, and how many Restores, of one namespace Velero may have at work; counted where rights are
    /// checked.
    pub at_work: usize,
}

/// Says whose rights a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The engine's own: whoever reaches it may do everything.
    Open,
    /// Those of the one who had it run; what nobody is known to have asked for does not run.
    Checked,
}

/// What to do about an Action.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What must be observed before more can be said.
    pub needs: Vec<Need>,
    /// What must be done before the status is true; void while there are needs.
    pub effects: Vec<Effect>,
    /// What the status should say, or how far it got while there are needs; `None` leaves it.
    pub status: Option<ActionStatus>,
    /// When to look again although nothing changed.
    pub requeue: Option<SignedDuration>,
}

/// Decides what to do about an Action.
pub fn decide(action: &Action, observed: &Observed, settings: &Settings, now: Timestamp) -> Decision {
    let mut run = Run {
        action,
        observed,
        settings,
        now,
        needs: Vec::new(),
        effects: Vec::new(),
        requeue: None,
        is_crowded: false,
    };
    let status = run.lifecycle();
    Decision { needs: run.needs, effects: run.effects, status, requeue: run.requeue }
}

/// Says that the cluster could not be observed: the step at work waits, and fails at its deadline.
pub fn stalled(mut status: ActionStatus, why: &str, now: Timestamp) -> ActionStatus {
    let message = note::cut(format!("the cluster could not be observed, it is tried again: {why}"));
    let at_work = status.steps.iter().position(|step| !step.phase.is_terminal());
    let Some(index) = at_work.filter(|_| status.phase == Phase::Running) else {
        status.message = Some(message);
        return status;
    };
    step::stall(index, &mut status, message, now);
    status
}

/// Says that the engine may not observe the cluster: asking again does not help, so the step at work fails.
pub fn forbidden(mut status: ActionStatus, why: &str, now: Timestamp) -> ActionStatus {
    let message = note::cut(why.to_owned());
    let at_work = status.steps.iter().position(|step| !step.phase.is_terminal());
    match at_work.filter(|_| status.phase == Phase::Running) {
        Some(index) => step::fail_unseen(index, &mut status, "Forbidden", message, now),
        None => status.message = Some(message),
    }
    status
}

/// Leaves of a status that the cluster does not take, since the Action is too large with it, what a caller must know. A
/// run that is under way ends: what its next steps need could not be kept.
pub fn smallest(mut status: ActionStatus, now: Timestamp) -> ActionStatus {
    const WHY: &str =
        "the Action is too large for the rest of its status; its labels and annotations take up the room";
    let known: String = status.message.iter().flat_map(|message| message.chars()).take(300).collect();
    if status.phase.is_under_way() {
        status.message = Some(format!("what it makes goes on without being watched, since {WHY}: {known}"));
        status.add_outcome(Outcome { verdict: Verdict::Unknown, gaps: Vec::new(), warnings: 0, errors: 0 });
        status.enter(Phase::Failed, now);
    } else {
        status.message = Some(format!("{known}; {WHY}"));
    }
    let outcome = status.outcome.map(|outcome| Outcome { gaps: Vec::new(), ..outcome });
    let name = |by: UserInfo| UserInfo { username: by.username, ..UserInfo::default() };
    for condition in &mut status.conditions {
        condition.message = String::new();
    }
    ActionStatus {
        phase: status.phase,
        outcome,
        message: status.message,
        conditions: status.conditions,
        observed_generation: status.observed_generation,
        attempt: status.attempt,
        created_by: status.created_by.map(name),
        run_by: status.run_by.map(name),
        canceled_by: status.canceled_by.map(name),
        started_at: status.started_at,
        finished_at: status.finished_at,
        ..ActionStatus::default()
    }
}

/// Something must be observed first; it stands in the needs.
#[derive(Debug)]
struct Blocked;

/// One call of [`decide`].
struct Run<'a> {
    action: &'a Action,
    observed: &'a Observed,
    settings: &'a Settings,
    now: Timestamp,
    needs: Vec<Need>,
    effects: Vec<Effect>,
    requeue: Option<SignedDuration>,
    /// Whether a file waits for room.
    is_crowded: bool,
}

impl<'a> Run<'a> {
    /// Finds an object; `None` when the cluster is sure not to have it.
    fn object(&mut self, key: &ObjectKey) -> Result<Option<&'a Value>, Blocked> {
        match self.observed.objects.get(key) {
            Some(object) => Ok(object.as_ref()),
            None => self.need(Need::Object(key.clone())),
        }
    }

    /// Finds an object as it is now, and does not follow it.
    fn look(&mut self, key: &ObjectKey) -> Result<Option<&'a Value>, Blocked> {
        match self.observed.objects.get(key) {
            Some(object) => Ok(object.as_ref()),
            None => self.need(Need::Look(key.clone())),
        }
    }

    /// Finds every object of a kind in a namespace.
    fn list(&mut self, key: ListKey) -> Result<&'a [Value], Blocked> {
        match self.observed.lists.get(&key) {
            Some(objects) => Ok(objects),
            None => self.need(Need::List(key)),
        }
    }

    /// Reads a file that Velero keeps.
    fn document(&mut self, key: DocumentKey) -> Result<&'a DocumentState, Blocked> {
        match self.observed.documents.get(&key) {
            Some(state) => {
                if let DocumentState::Pending { until } | DocumentState::Crowded { until } = state {
                    self.look_again_at(*until);
                }
                self.is_crowded |= matches!(state, DocumentState::Crowded { .. });
                Ok(state)
            }
            None => self.need(Need::Document(key)),
        }
    }

    fn need<T>(&mut self, need: Need) -> Result<T, Blocked> {
        self.needs.push(need);
        Err(Blocked)
    }

    fn look_again_at(&mut self, at: Timestamp) {
        let wait = at.duration_since(self.now).max(SignedDuration::ZERO);
        self.requeue = Some(self.requeue.map_or(wait, |earlier| earlier.min(wait)));
    }

    fn uid(&self) -> &'a str {
        self.action.metadata.uid.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &'a str {
        self.action.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &'a str {
        self.action.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// Adds a duration to an instant; one that is too long ends with time itself.
fn later(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;

//! How much memory an Action takes, and what is kept of one for which there is none.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Action, ActionStatus, HistoryEntry, Outcome, StepStatus, StepVolume, UserInfo};
use crate::shallow::{ENTRY, VALUE};

/// The most bytes that metadata and spec of an Action may take as compact JSON, without who asked: twice what parameters
/// may. Of an Action with more nothing but its name is kept.
pub const MAX_ASKED: usize = 2 * super::MAX_PARAMETERS;

impl Action {
    /// Says why an Action is too large to be kept.
    pub fn too_large(&self) -> Option<String> {
        let who = self.spec.requested_by.as_ref().map_or(0, json_bytes);
        let asked = json_bytes(&self.metadata) + json_bytes(&self.spec).saturating_sub(who);
        (asked > MAX_ASKED).then(|| format!("what it asks for is {asked} bytes, and the most is {MAX_ASKED}"))
    }

    /// Measures the memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let (spec, requested) = (&self.spec, self.spec.requested_by.as_ref());
        let asked = requested.into_iter().flat_map(|by| [&by.create, &by.update, &by.run, &by.cancel]);
        let status = self.status.iter();
        let took_note =
            status.clone().flat_map(|status| [&status.created_by, &status.run_by, &status.canceled_by]);
        let people: usize = asked.chain(took_note).flatten().map(UserInfo::overhead).sum();
        let free = [spec.rendered_action_override.as_ref(), spec.input.policy.as_ref()].into_iter().flatten();
        let free = free.chain(spec.approvals.iter().filter_map(|approval| approval.input.as_ref()));
        let values: usize = free.map(overhead).sum::<usize>() + of_entries(&spec.input.parameters);
        let metadata = &self.metadata;
        let texts = metadata
            .labels
            .iter()
            .chain(&metadata.annotations)
            .map(std::collections::BTreeMap::len)
            .sum::<usize>();
        let lists = metadata.finalizers.as_ref().map_or(0, Vec::len)
            + metadata.owner_references.as_ref().map_or(0, Vec::len);
        size_of::<Self>()
            + json_bytes(self)
            + people
            + values
            + status.map(ActionStatus::overhead).sum::<usize>()
            + (ENTRY + VALUE) * (texts + lists)
    }

    /// Makes what is kept of an Action where there is no memory for all of it. One that has ended is shown as it ended.
    /// Of any other it is not known what it asks for, so nothing is done for it.
    #[must_use]
    pub fn in_brief(&self, why: &str) -> Self {
        let mut brief = Self::unreadable(self.metadata.clone(), Some(self.spec.action_ref.clone()), why);
        let Some(status) = &mut brief.status else { return brief };
        let message = if let Some(ended) = self.status.as_ref().filter(|status| status.phase.is_terminal()) {
            let outcome = ended.outcome.clone().map(|outcome| Outcome { gaps: Vec::new(), ..outcome });
            (status.phase, status.outcome) = (ended.phase, outcome);
            format!("this Action has ended, and only that is kept of it: {why}; kubectl shows all")
        } else {
            format!("nothing is done for this Action now: {why}; it goes on by itself when there is room")
        };
        status.message = Some(message);
        brief
    }

    /// Tells whether nothing is left to do for it.
    pub fn has_ended(&self) -> bool {
        let ended = |status: &ActionStatus| status.phase.is_terminal() && self.spec.attempt <= status.attempt;
        self.status.as_ref().is_some_and(ended)
            && self.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
            && !self.is_unreadable()
    }
}

impl ActionStatus {
    /// Measures what it takes beside its texts.
    fn overhead(&self) -> usize {
        let of = |step: &StepStatus| of_entries(&step.outputs) + size_of::<StepVolume>() * step.volumes.len();
        size_of::<StepStatus>() * self.steps.len()
            + size_of::<HistoryEntry>() * self.history.len()
            + self.steps.iter().map(of).sum::<usize>()
    }
}

impl UserInfo {
    /// Measures what it takes beside its texts.
    fn overhead(&self) -> usize {
        size_of::<String>() * self.groups.len() + self.extra.as_ref().map_or(0, overhead)
    }
}

/// Measures what a value takes beside its texts.
fn overhead(value: &Value) -> usize {
    VALUE
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
            Value::Array(items) => items.iter().map(overhead).sum(),
            Value::Object(entries) => of_entries(entries),
        }
}

fn of_entries(entries: &Map<String, Value>) -> usize {
    entries.values().map(|value| ENTRY + overhead(value)).sum()
}

/// Measures a value as compact JSON.
fn json_bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What has no JSON form is no object of the cluster.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    //! What Actions take, and what is kept.

    use serde_json::json;

    use super::*;
    use crate::action::{
        ActionInput, ActionRef, ActionSpec, MAX_EXTRA, MAX_GROUP_NAMES, MAX_GROUPS, MAX_PARAMETERS,
        RequestedBy,
    };
    use crate::phase::{Phase, Verdict};

    fn action(parameters: Value) -> Action {
        let Value::Object(parameters) = parameters else { panic!("{parameters}") };
        let input = ActionInput { parameters, ..ActionInput::default() };
        let action_ref = ActionRef { path: "cap.interface.data.backup".to_owned(), revision: None };
        Action::new("a", ActionSpec { action_ref, input, attempt: 1, ..ActionSpec::default() })
    }

    #[test]
    fn what_is_legal_is_not_too_large() {
        let most = json!({"x": "x".repeat(MAX_PARAMETERS - 8)});
        let mut action = action(most);
        assert!(action.too_large().is_none());
        let group = "g".repeat(MAX_GROUP_NAMES / MAX_GROUPS);
        let most = Some(UserInfo {
            groups: vec![group; MAX_GROUPS],
            extra: Some(json!({"x": "x".repeat(MAX_EXTRA - 8)})),
            ..UserInfo::default()
        });
        let [create, update, run, cancel] = [(); 4].map(|()| most.clone());
        action.spec.requested_by = Some(RequestedBy { create, update, run, cancel });
        assert!(action.too_large().is_none());
        assert!(action.bytes() < crate::shallow::MAX_BYTES, "{}", action.bytes());
    }

    #[test]
    fn what_is_asked_for_has_a_bound() {
        let mut large = action(json!({"x": "x".repeat(MAX_ASKED)}));
        assert!(large.too_large().unwrap().ends_with("bytes, and the most is 262144"));
        large.spec.input.parameters.clear();
        assert!(large.too_large().is_none());
        large.metadata.labels =
            Some((0..30_000).map(|number| (format!("l-{number}"), String::new())).collect());
        assert!(large.too_large().is_some());
    }

    #[test]
    fn values_count_beside_their_text() {
        let (texts, values) =
            (action(json!({"x": "0".repeat(20_000)})), action(json!({"x": vec![0; 10_000]})));
        assert!(texts.bytes() < 25_000, "{}", texts.bytes());
        assert!(values.bytes() > 10_000 * VALUE, "{}", values.bytes());
    }

    #[test]
    fn in_brief_an_end_stays_what_it_was_and_nothing_else_is_done() {
        let mut one = action(json!({"x": "y"}));
        let outcome = Some(Outcome { verdict: Verdict::Complete, gaps: Vec::new(), warnings: 0, errors: 0 });
        for (phase, attempt, has_ended, shown) in [
            (Phase::Succeeded, 1, true, Phase::Succeeded),
            (Phase::Succeeded, 2, false, Phase::Succeeded),
            (Phase::Running, 1, false, Phase::Failed),
            (Phase::ReadyToRun, 1, false, Phase::Failed),
        ] {
            one.spec.attempt = attempt;
            one.status =
                Some(ActionStatus { phase, attempt: 1, outcome: outcome.clone(), ..ActionStatus::default() });
            assert_eq!(one.has_ended(), has_ended, "{phase:?}");
            let brief = one.in_brief("full");
            let status = brief.status.as_ref().unwrap();
            assert!(brief.is_unreadable() && brief.spec.input.parameters.is_empty());
            assert_eq!((status.phase, &brief.spec.action_ref), (shown, &one.spec.action_ref));
            assert!(status.message.as_ref().unwrap().contains("full"));
        }
    }
}

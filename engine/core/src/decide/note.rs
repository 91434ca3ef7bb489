//! How a status changes: always with a note in its history.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use crate::action::{ActionStatus, HistoryEntry, MAX_HISTORY, MAX_MESSAGE, Outcome};
use crate::condition;
use crate::phase::{Phase, Verdict};

impl ActionStatus {
    /// Writes into the history; the oldest entry gives way.
    pub(super) fn note(&mut self, now: Timestamp, what: impl Into<String>) {
        let sequence = self.history.last().map_or(1, |last| last.sequence + 1);
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(HistoryEntry { sequence, at: MicroTime(now), what: what.into() });
    }

    /// Goes to another phase, if the transition table lets it.
    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        if self.phase == phase || !self.phase.may_become(phase) {
            return;
        }
        self.phase = phase;
        self.note(now, phase.as_str());
        if phase == Phase::Running {
            self.started_at = Some(Time(now));
        }
        if phase.is_terminal() {
            self.finished_at = Some(Time(now));
        }
        self.set_conditions(now);
    }

    /// Adds what a step found to the outcome: counts add up, the worse verdict stays.
    pub(super) fn add_outcome(&mut self, found: Outcome) {
        let Some(outcome) = &mut self.outcome else {
            self.outcome = Some(found);
            return;
        };
        // A step that did nothing takes nothing away from what an earlier one did.
        let found_verdict = if found.verdict == Verdict::None { Verdict::Partial } else { found.verdict };
        if severity(found_verdict) > severity(outcome.verdict) {
            outcome.verdict = found_verdict;
        }
        outcome.warnings += found.warnings;
        outcome.errors += found.errors;
        outcome.gaps.extend(found.gaps);
        outcome.gaps.truncate(20);
    }

    fn set_conditions(&mut self, now: Timestamp) {
        let reason = match self.phase {
            Phase::Initial => "Initial",
            Phase::BeingRendered => "BeingRendered",
            Phase::AdvancedModeRenderingIteration => "WaitingForInput",
            Phase::ReadyToRun => "ReadyToRun",
            Phase::Running => "Running",
            Phase::BeingCanceled => "BeingCanceled",
            Phase::Canceled => "Canceled",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        };
        let rendered = if self.rendering.is_some() { "True" } else { "False" };
        let running = match self.phase {
            Phase::Running | Phase::BeingCanceled => "True",
            _ => "False",
        };
        let succeeded = match self.phase {
            Phase::Succeeded => "True",
            Phase::Failed | Phase::Canceled => "False",
            _ => "Unknown",
        };
        let message = self.message.clone().unwrap_or_default();
        let generation = self.observed_generation;
        let all = [
            (condition::RENDERED, rendered),
            (condition::RUNNING, running),
            (condition::SUCCEEDED, succeeded),
        ];
        for (kind, status) in all {
            condition::set(&mut self.conditions, kind, status, reason, &message, generation, now);
        }
    }
}

/// Cuts a message to what a status may hold.
pub(super) fn cut(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

/// Orders verdicts from what is best to what a person must know first.
const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Complete => 0,
        Verdict::Preview => 1,
        Verdict::WithWarnings => 2,
        Verdict::WithGaps => 3,
        Verdict::Empty => 4,
        Verdict::Partial => 5,
        Verdict::Unknown => 6,
        Verdict::None => 7,
    }
}

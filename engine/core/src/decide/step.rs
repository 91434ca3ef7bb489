//! How one step goes on.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::note::cut;
use super::{Blocked, ObjectKey, Run, later};
use crate::action::{ActionStatus, MAX_OUTPUTS, ObjectReference, Outcome, StepStatus};
use crate::expression::{self, Scope};
use crate::phase::{Phase, StepPhase, Verdict};
use crate::schema::parse_duration;
use crate::velero::is_velero;
use crate::workflow::{Check, Step, Workflow};

/// How long a step may take that says nothing about it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
/// How long to wait before a refused request is made again.
const RETRY: Duration = Duration::from_secs(5);

/// Where a step got to in this call.
pub(super) enum Progress {
    /// Its object is at work.
    Running { reason: String, message: Option<String> },
    /// Its object has ended; what that means is being read or awaited, which has its own patience and may have its own end.
    Reading { reason: String, message: String, until: Option<Timestamp> },
    /// Something must be true first.
    Waiting { reason: &'static str, message: String },
    /// It did what it was for.
    Done { message: Option<String>, outcome: Option<Outcome>, outputs: Map<String, Value> },
    /// It did not.
    Failed { reason: &'static str, message: String, outcome: Option<Outcome>, outputs: Map<String, Value> },
}

impl Progress {
    pub(super) fn failed(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), outcome: None, outputs: Map::new() }
    }

    pub(super) fn done(message: Option<String>) -> Self {
        Self::Done { message, outcome: None, outputs: Map::new() }
    }
}

/// A step at work: its place, its workflow and the status it changes.
pub(super) struct At<'s> {
    pub(super) index: usize,
    pub(super) step: &'s Step,
    pub(super) status: &'s mut StepStatus,
    pub(super) scope: Scope,
}

impl At<'_> {
    pub(super) fn place(&self, field: &str) -> String {
        format!("steps/{}/{field}", self.index)
    }

    /// Tells when the step began; it has always begun here.
    pub(super) fn began(&self, now: Timestamp) -> Timestamp {
        self.status.started_at.as_ref().map_or(now, |at| at.0)
    }
}

impl Run<'_> {
    /// Asks again in a while for what the cluster does not take now.
    pub(super) fn retry_refused(&mut self) {
        self.look_again_at(later(self.now, RETRY));
    }

    /// Takes a step as far as it goes now.
    pub(super) fn advance(
        &mut self,
        index: usize,
        workflow: &Workflow,
        status: &mut ActionStatus,
    ) -> Result<(), Blocked> {
        let step = &workflow.steps[index];
        let scope = self.scope(step, workflow, status)?;
        let mut new = status.steps[index].clone();
        let old_phase = new.phase;
        let old_reason = new.reason.clone();
        let mut at = At { index, step, status: &mut new, scope };
        let progress = self.begin_step(&mut at)?;
        let outcome = match progress {
            Some(progress) => self.settle(at, progress),
            None => None,
        };
        if new.phase != old_phase || new.reason != old_reason {
            let reason = new.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            status.note(self.now, format!("step {}: {}{reason}", new.name, new.phase.as_str()));
        }
        if let Some(progress) = &new.progress {
            status.progress = Some(format!("{}/{} {}", progress.done, progress.total, progress.unit));
        }
        if let Some(outcome) = outcome {
            status.add_outcome(outcome);
        }
        status.message = Some(match &new.message {
            Some(message) => format!("step {}: {message}", new.name),
            None => format!("step {}: {}", new.name, new.phase.as_str()),
        });
        status.steps[index] = new;
        Ok(())
    }

    /// Collects what the step's expressions may look at.
    fn scope(&mut self, step: &Step, workflow: &Workflow, status: &ActionStatus) -> Result<Scope, Blocked> {
        let used = expression::objects_used(step);
        let mut steps = Map::new();
        for (earlier, known) in workflow.steps.iter().zip(&status.steps) {
            if earlier.name == step.name {
                break;
            }
            let mut outputs: Map<String, Value> =
                earlier.output_names().into_iter().map(|name| (name, Value::Null)).collect();
            outputs.extend(known.outputs.clone());
            let object = match &known.object {
                Some(reference) if used.contains(&earlier.name) => self.earlier(reference)?.map(visible),
                _ => None,
            };
            steps.insert(
                earlier.name.clone(),
                json!({"phase": known.phase.as_str(), "object": object, "outputs": outputs}),
            );
        }
        Ok(Scope { steps, ..Scope::default() })
    }

    /// Finds the object of an earlier step, by the rights that the step had.
    fn earlier(&mut self, reference: &ObjectReference) -> Result<Option<&Value>, Blocked> {
        let mut key = key_of(reference);
        if is_velero(&key.api_version) {
            return self.object(&key);
        }
        key.account = self.account().map(str::to_owned);
        self.look(&key)
    }

    /// Begins the step if its turn came, and looks at it; `None` when it is skipped.
    fn begin_step(&mut self, at: &mut At<'_>) -> Result<Option<Progress>, Blocked> {
        if at.status.phase == StepPhase::Pending {
            if let Some(when) = &at.step.when {
                match expression::evaluate_bool(&at.place("when"), when, &at.scope) {
                    Ok(true) => {}
                    Ok(false) => {
                        at.status.phase = StepPhase::Skipped;
                        at.status.reason = Some("ConditionFalse".to_owned());
                        return Ok(None);
                    }
                    Err(error) => return Ok(Some(Progress::failed("BadExpression", error.to_string()))),
                }
            }
            at.status.started_at = Some(Time(self.now));
            at.status.phase = StepPhase::Running;
        }
        let step = at.step;
        match (&step.resource, &step.check) {
            (Some(resource), _) => self.resource(at, resource).map(Some),
            (None, Some(check)) => Ok(Some(look(at, check))),
            (None, None) => {
                Ok(Some(Progress::failed("BadWorkflow", "the step has neither resource nor check")))
            }
        }
    }

    /// Writes into the status where the step got to, and sees to its timeout.
    fn settle(&mut self, at: At<'_>, progress: Progress) -> Option<Outcome> {
        let timeout =
            at.step.timeout.as_deref().and_then(|text| parse_duration(text).ok()).unwrap_or(DEFAULT_TIMEOUT);
        let deadline = later(at.began(self.now), timeout);
        let late = self.now >= deadline;
        let status = at.status;
        status.deadline = Some(Time(deadline));
        let progress = if self.is_crowded { crowded(progress) } else { progress };
        let progress = match bounded(progress) {
            Progress::Running { message, reason, .. } if late => {
                timed_out(at.step, message.or_else(|| Some(format!("it was {reason}"))))
            }
            Progress::Waiting { message, .. } if late => timed_out(at.step, Some(message)),
            other => other,
        };
        match progress {
            Progress::Running { reason, message } => {
                self.look_again_at(deadline);
                status.phase = StepPhase::Running;
                status.reason = Some(reason);
                status.message = message;
                None
            }
            Progress::Reading { reason, message, until } => {
                status.deadline = until.map(Time);
                status.phase = StepPhase::Running;
                status.reason = Some(reason);
                status.message = Some(message);
                None
            }
            Progress::Waiting { reason, message } => {
                self.look_again_at(deadline);
                status.phase = StepPhase::Waiting;
                status.reason = Some(reason.to_owned());
                status.message = Some(message);
                None
            }
            Progress::Done { message, outcome, outputs } => {
                finish(status, StepPhase::Succeeded, None, message, self.now);
                status.outputs.extend(outputs);
                outcome
            }
            Progress::Failed { reason, message, outcome, outputs } => {
                finish(status, StepPhase::Failed, Some(reason), Some(message), self.now);
                status.outputs.extend(outputs);
                Some(outcome.unwrap_or(Outcome {
                    verdict: Verdict::None,
                    gaps: Vec::new(),
                    warnings: status.warnings,
                    errors: status.errors,
                }))
            }
        }
    }
}

/// Lets a step that cannot be observed wait, or fail at its deadline.
pub(super) fn stall(index: usize, status: &mut ActionStatus, message: String, now: Timestamp) {
    let step = &mut status.steps[index];
    let news = step.reason.as_deref() != Some("Unobservable");
    step.started_at.get_or_insert(Time(now));
    let deadline = step.deadline.get_or_insert(Time(later(now, DEFAULT_TIMEOUT))).0;
    step.phase = StepPhase::Waiting;
    step.reason = Some("Unobservable".to_owned());
    step.message = Some(message.clone());
    if now >= deadline {
        let message = format!("did not end in time; at last: {message}");
        return fail_unseen(index, status, "TimedOut", message, now);
    }
    if news {
        let name = step.name.clone();
        status.note(now, format!("step {name}: WAITING (Unobservable)"));
    }
    status.message = Some(message);
}

/// Ends the run at a step of which nothing can be known.
pub(super) fn fail_unseen(
    index: usize,
    status: &mut ActionStatus,
    reason: &'static str,
    message: String,
    now: Timestamp,
) {
    let step = &mut status.steps[index];
    step.started_at.get_or_insert(Time(now));
    finish(step, StepPhase::Failed, Some(reason), Some(message), now);
    let note = format!("step {}: FAILED ({reason})", step.name);
    status.note(now, note);
    status.add_outcome(Outcome { verdict: Verdict::Unknown, gaps: Vec::new(), warnings: 0, errors: 0 });
    end_failed(index, status, now);
}

/// Ends the run at a step that failed; the later ones are skipped.
pub(super) fn end_failed(index: usize, status: &mut ActionStatus, now: Timestamp) {
    for later in &mut status.steps[index + 1..] {
        later.phase = StepPhase::Skipped;
        later.reason = Some("EarlierStepFailed".to_owned());
    }
    let step = &status.steps[index];
    let message = step.message.clone().unwrap_or_else(|| "it failed without a word".to_owned());
    status.message = Some(format!("step {}: {message}", step.name));
    status.enter(Phase::Failed, now);
}

/// Keeps what goes into the status within its bounds.
fn bounded(progress: Progress) -> Progress {
    match progress {
        Progress::Running { reason, message } => {
            Progress::Running { reason: cut(reason), message: message.map(cut) }
        }
        Progress::Reading { reason, message, until } => {
            Progress::Reading { reason, message: cut(message), until }
        }
        Progress::Waiting { reason, message } => Progress::Waiting { reason, message: cut(message) },
        Progress::Failed { reason, message, outcome, outputs } => Progress::Failed {
            reason,
            message: cut(message),
            outcome,
            outputs: if fits(&outputs) { outputs } else { Map::new() },
        },
        Progress::Done { outcome, outputs, .. } if !fits(&outputs) => Progress::Failed {
            reason: "OutputsTooLarge",
            message: format!(
                "the outputs of the step have more than {MAX_OUTPUTS} bytes; take less in `outputs`"
            ),
            outcome,
            outputs: Map::new(),
        },
        Progress::Done { message, outcome, outputs } => {
            Progress::Done { message: message.map(cut), outcome, outputs }
        }
    }
}

/// Says why reading takes long.
fn crowded(progress: Progress) -> Progress {
    const WHY: &str = "waits until other runs have read their large files";
    match progress {
        Progress::Running { reason, message } => {
            let message = message.map_or_else(|| WHY.to_owned(), |message| format!("{message}; {WHY}"));
            Progress::Running { reason, message: Some(message) }
        }
        Progress::Reading { reason, message, until } => {
            Progress::Reading { reason, message: format!("{message}; {WHY}"), until }
        }
        Progress::Waiting { reason, message } => {
            Progress::Waiting { reason, message: format!("{message}; {WHY}") }
        }
        ended => ended,
    }
}

fn fits(outputs: &Map<String, Value>) -> bool {
    serde_json::to_string(outputs).is_ok_and(|text| text.len() <= MAX_OUTPUTS)
}

fn look(at: &At<'_>, check: &Check) -> Progress {
    match expression::evaluate_bool(&at.place("check/that"), &check.that, &at.scope) {
        Ok(true) => Progress::done(None),
        Ok(false) => Progress::failed(
            "CheckFailed",
            check.message.clone().unwrap_or_else(|| format!("`{}` is false", check.that)),
        ),
        Err(error) => Progress::failed("BadExpression", error.to_string()),
    }
}

fn timed_out(step: &Step, message: Option<String>) -> Progress {
    let timeout = step.timeout.as_deref().unwrap_or("4h");
    let last = message.map(|message| format!("; at last: {message}")).unwrap_or_default();
    Progress::failed("TimedOut", format!("did not end within {timeout}{last}"))
}

fn finish(
    status: &mut StepStatus,
    phase: StepPhase,
    reason: Option<&str>,
    message: Option<String>,
    now: Timestamp,
) {
    status.phase = phase;
    status.finished_at = Some(Time(now));
    status.reason = reason.map(str::to_owned);
    status.message = message;
}

/// Of a Secret only metadata is visible.
pub(super) fn visible(object: &Value) -> Value {
    if object["kind"] == "Secret" {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": object["metadata"]})
    } else {
        object.clone()
    }
}

fn key_of(reference: &ObjectReference) -> ObjectKey {
    ObjectKey {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
        account: None,
    }
}

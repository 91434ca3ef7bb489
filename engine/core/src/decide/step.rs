//! How one step goes on.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::{Blocked, Effect, ObjectKey, Run, after, derived_name};
use crate::action::{
    ActionStatus, LABEL_ATTEMPT, LABEL_NAME, LABEL_NAMESPACE, LABEL_STEP, LABEL_UID, ObjectReference,
    Outcome, StepStatus,
};
use crate::expression::{self, Scope};
use crate::health::{Health, Report, health};
use crate::phase::{StepPhase, Verdict};
use crate::schema::parse_duration;
use crate::velero;
use crate::workflow::{Check, Resource, Step, Verb, Workflow};

/// How long a step may take that says nothing about it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
/// How long to wait before a refused request is made again.
const RETRY: Duration = Duration::from_secs(5);

/// Where a step got to in this call.
pub(super) enum Progress {
    /// Its object is at work.
    Running { reason: String, message: Option<String> },
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
    fn place(&self, field: &str) -> String {
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
        self.look_again_at(after(self.now, RETRY));
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
                Some(reference) if used.contains(&earlier.name) => {
                    self.object(&key_of(reference))?.map(visible)
                }
                _ => None,
            };
            steps.insert(
                earlier.name.clone(),
                json!({"phase": known.phase.as_str(), "object": object, "outputs": outputs}),
            );
        }
        Ok(Scope { steps, object: None })
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
        let deadline = after(at.began(self.now), timeout);
        let late = self.now >= deadline;
        let status = at.status;
        let progress = match progress {
            Progress::Running { message, .. } if late => timed_out(at.step, message),
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

    fn resource(&mut self, at: &mut At<'_>, resource: &Resource) -> Result<Progress, Blocked> {
        let manifest =
            match expression::substitute(&at.place("resource/manifest"), &resource.manifest, &at.scope) {
                Ok(manifest) => self.dress(manifest, at),
                Err(error) => return Ok(Progress::failed("BadExpression", error.to_string())),
            };
        let key = key(&manifest);
        let seen = self.object(&key)?;
        let known = at.status.object.as_ref().and_then(|object| object.uid.clone());
        let mut reference = reference(&key);
        reference.uid =
            seen.and_then(|seen| seen["metadata"]["uid"].as_str()).map(str::to_owned).or(known.clone());
        if resource.action != Verb::Delete
            && known.is_some()
            && known != seen.and_then(|seen| seen["metadata"]["uid"].as_str()).map(str::to_owned)
        {
            return Ok(Progress::failed(
                "Deleted",
                format!("{key} was deleted by somebody else while this step followed it"),
            ));
        }
        match (resource.action, seen) {
            (Verb::Create, None) => self.create(at, resource, key, manifest),
            (Verb::Create, Some(object)) if !self.is_ours(object, at) => {
                at.status.object = Some(ObjectReference { uid: None, ..reference });
                Ok(taken(&key, object))
            }
            (Verb::Get | Verb::Wait, None) if resource.action == Verb::Get => {
                Ok(Progress::failed("NotFound", format!("{key} does not exist")))
            }
            (Verb::Get | Verb::Wait, None) => {
                Ok(Progress::Waiting { reason: "NotFound", message: format!("waits for {key} to appear") })
            }
            (Verb::Create | Verb::Wait, Some(object)) => {
                at.status.object = Some(reference);
                self.follow(at, resource, object)
            }
            (Verb::Get, Some(object)) => {
                at.status.object = Some(reference);
                Ok(finished(at, object, None, None))
            }
            (Verb::Delete, None) => Ok(Progress::done(Some(format!("{key} is gone")))),
            (Verb::Delete, Some(object)) => {
                if object["metadata"]["deletionTimestamp"].is_null() {
                    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                    if let Some(refusal) = self.observed.refused.get(&key) {
                        return Ok(self.refused(&key, refusal.permanent, &refusal.message));
                    }
                    self.effects.push(Effect::Delete { key: key.clone(), uid });
                }
                Ok(Progress::Running {
                    reason: "Deleting".to_owned(),
                    message: Some(format!("waits until {key} is gone")),
                })
            }
        }
    }

    /// Gives a manifest what every created object has: a namespace, a name and the labels of its origin.
    fn dress(&self, mut manifest: Value, at: &At<'_>) -> Value {
        let ours = manifest["apiVersion"].as_str().is_some_and(|version| version.starts_with("velero.io/"));
        let attempt = at.status.attempt;
        let derived = derived_name(self.name(), &[self.uid(), &at.step.name, &attempt.to_string()]);
        let name = match manifest["metadata"]["name"].as_str() {
            Some(name) if manifest["kind"] == "Backup" && ours && attempt > 1 => format!("{name}-{attempt}"),
            Some(name) => name.to_owned(),
            None => derived,
        };
        if !manifest["metadata"].is_object() {
            manifest["metadata"] = json!({});
        }
        let metadata = &mut manifest["metadata"];
        metadata["name"] = json!(name);
        if ours {
            metadata["namespace"] = json!(self.settings.velero_namespace);
        } else if metadata["namespace"].is_null() {
            metadata["namespace"] = json!(self.namespace());
        }
        if !metadata["labels"].is_object() {
            metadata["labels"] = json!({});
        }
        for (label, value) in self.labels(at) {
            metadata["labels"][label] = json!(value);
        }
        manifest
    }

    fn labels(&self, at: &At<'_>) -> [(&'static str, String); 5] {
        [
            (LABEL_UID, self.uid().to_owned()),
            (LABEL_NAMESPACE, self.namespace().to_owned()),
            (LABEL_NAME, self.name().to_owned()),
            (LABEL_STEP, at.step.name.clone()),
            (LABEL_ATTEMPT, at.status.attempt.to_string()),
        ]
    }

    fn is_ours(&self, object: &Value, at: &At<'_>) -> bool {
        self.labels(at).iter().all(|(label, value)| object["metadata"]["labels"][label] == value.as_str())
    }

    fn create(
        &mut self,
        at: &mut At<'_>,
        resource: &Resource,
        key: ObjectKey,
        mut manifest: Value,
    ) -> Result<Progress, Blocked> {
        if let Some(refusal) = self.observed.refused.get(&key) {
            return Ok(self.refused(&key, refusal.permanent, &refusal.message));
        }
        if key.api_version == velero::API_VERSION {
            let obstacle = match key.kind.as_str() {
                "Backup" => self.before_backup(&manifest)?,
                "Restore" => self.before_restore(at, &resource.expect, &mut manifest)?,
                _ => None,
            };
            if let Some(obstacle) = obstacle {
                return Ok(obstacle);
            }
        }
        let message = format!("{key} is being created");
        self.effects.push(Effect::Create { key, manifest });
        Ok(Progress::Running { reason: "Creating".to_owned(), message: Some(message) })
    }

    fn refused(&mut self, key: &ObjectKey, permanent: bool, message: &str) -> Progress {
        if permanent {
            return Progress::failed("Refused", format!("Kubernetes refuses {key}: {message}"));
        }
        self.retry_refused();
        Progress::Waiting {
            reason: "Unreachable",
            message: format!("Kubernetes does not take {key} now, it is asked again: {message}"),
        }
    }

    /// Looks at an object that is at work.
    fn follow(&mut self, at: &mut At<'_>, resource: &Resource, object: &Value) -> Result<Progress, Blocked> {
        let report = health(object);
        at.status.progress.clone_from(&report.progress);
        at.status.warnings = report.warnings;
        at.status.errors = report.errors;
        if let Some(until) = &resource.until {
            let scope = Scope { object: Some(visible(object)), ..at.scope.clone() };
            return Ok(match expression::evaluate_bool(&at.place("resource/until"), until, &scope) {
                Ok(true) => finished(at, object, None, None),
                Ok(false) => Progress::Running { reason: report.word, message: report.message },
                Err(error) => Progress::failed("BadExpression", error.to_string()),
            });
        }
        let is_velero = object["apiVersion"] == velero::API_VERSION && resource.action == Verb::Create;
        match (report.health.clone(), object["kind"].as_str()) {
            (Health::Succeeded | Health::Partial, Some("Backup")) if is_velero => {
                self.after_backup(at, &resource.expect, object, &report)
            }
            (Health::Succeeded | Health::Partial, Some("Restore")) if is_velero => {
                self.after_restore(at, &resource.expect, object, &report)
            }
            (Health::Failed, Some("Backup" | "Restore")) if is_velero => Ok(velero_failed(object, report)),
            (Health::Pending | Health::Running, _) => {
                Ok(Progress::Running { reason: report.word, message: report.message })
            }
            (Health::Succeeded, _) => Ok(finished(at, object, report.message, None)),
            (Health::Partial, _) if resource.expect.partial => Ok(finished(at, object, report.message, None)),
            (Health::Partial | Health::Failed, _) => {
                Ok(Progress::failed("Failed", report.message.unwrap_or(report.word)))
            }
        }
    }
}

/// Ends a step well: with the outputs of its kind and those it declares.
pub(super) fn finished(
    at: &At<'_>,
    object: &Value,
    message: Option<String>,
    found: Option<(Outcome, Map<String, Value>)>,
) -> Progress {
    let (outcome, kind_outputs) =
        found.map_or((None, Map::new()), |(outcome, outputs)| (Some(outcome), outputs));
    let mut outputs = Map::new();
    outputs.insert("name".to_owned(), object["metadata"]["name"].clone());
    outputs.insert("namespace".to_owned(), object["metadata"]["namespace"].clone());
    outputs.extend(kind_outputs);
    let scope = Scope { object: Some(visible(object)), ..at.scope.clone() };
    for (name, expression) in &at.step.outputs {
        match expression::evaluate(&at.place(&format!("outputs/{name}")), expression, &scope) {
            Ok(value) => outputs.insert(name.clone(), value),
            Err(error) => {
                return Progress::Failed {
                    reason: "BadExpression",
                    message: error.to_string(),
                    outcome,
                    outputs,
                };
            }
        };
    }
    Progress::Done { message, outcome, outputs }
}

fn velero_failed(object: &Value, report: Report) -> Progress {
    let mut message =
        report.message.unwrap_or_else(|| format!("Velero says {} without a reason", report.word));
    if message.contains("already exists in object storage") {
        // Freeing the name by a DeleteBackupRequest would delete the good backup in the bucket.
        message.push_str("; the name is taken in the bucket, and what is there stays: give another name");
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    let reason = if report.word == "FailedValidation" { "FailedValidation" } else { "Failed" };
    Progress::failed(reason, format!("Velero's {kind} ended {}: {message}", report.word))
}

fn taken(key: &ObjectKey, object: &Value) -> Progress {
    let owner = &object["metadata"]["labels"];
    let by = match (owner[LABEL_NAMESPACE].as_str(), owner[LABEL_NAME].as_str()) {
        (Some(namespace), Some(name)) => format!("the Action {namespace}/{name}"),
        _ => "somebody else".to_owned(),
    };
    Progress::failed(
        "Conflict",
        format!("{key} exists and is not this Action's, but made by {by}; give another name"),
    )
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
fn visible(object: &Value) -> Value {
    if object["kind"] == "Secret" {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": object["metadata"]})
    } else {
        object.clone()
    }
}

fn key(manifest: &Value) -> ObjectKey {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ObjectKey {
        api_version: text(&manifest["apiVersion"]),
        kind: text(&manifest["kind"]),
        namespace: manifest["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&manifest["metadata"]["name"]),
    }
}

fn key_of(reference: &ObjectReference) -> ObjectKey {
    ObjectKey {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
    }
}

fn reference(key: &ObjectKey) -> ObjectReference {
    ObjectReference {
        api_version: key.api_version.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: None,
    }
}

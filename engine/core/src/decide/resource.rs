//! What a step does with a Kubernetes object.

use serde_json::{Map, Value, json};

use super::step::{At, Progress, visible};
use super::{Blocked, Effect, ObjectKey, Refusal, Run, derived_name};
use crate::access::{Right, backup_rights, read_rights, restore_rights, velero_rights};
use crate::action::{
    LABEL_ATTEMPT, LABEL_NAME, LABEL_NAMESPACE, LABEL_STEP, LABEL_UID, ObjectReference, Outcome,
};
use crate::expression::{self, Scope};
use crate::health::{Health, Report, health};
use crate::velero::{self, is_velero};
use crate::workflow::{Resource, Verb};

impl Run<'_> {
    /// Looks at the step's object and does with it what its verb says.
    pub(super) fn resource(&mut self, at: &mut At<'_>, resource: &Resource) -> Result<Progress, Blocked> {
        let place = at.place("resource/manifest");
        let manifest = match expression::substitute(&place, &resource.manifest, &at.scope) {
            Ok(manifest) => self.dress(manifest, at),
            Err(error) => return Ok(Progress::failed("BadExpression", error.to_string())),
        };
        let mut key = key(&manifest);
        if !is_velero(&key.api_version) {
            let Some(account) = self.account() else {
                return Ok(Progress::failed("NoServiceAccount", at.step.needs_account(self.namespace())));
            };
            if at.status.object.is_none()
                && let Some(obstacle) = self.forbidden([Right::account(self.namespace(), account)].into())?
            {
                return Ok(obstacle);
            }
            key.account = Some(account.to_owned());
        }
        let mut seen = if resource.action == Verb::Get { self.look(&key)? } else { self.object(&key)? };
        if resource.action == Verb::Delete {
            if is_velero(&key.api_version)
                && let Some(obstacle) = self.forbidden(velero_rights())?
            {
                return Ok(obstacle);
            }
            return Ok(self.delete(&key, seen));
        }
        if let Some(object) = seen.filter(|_| resource.action != Verb::Create && at.status.object.is_none())
            && is_velero(&key.api_version)
            && object["metadata"]["labels"][LABEL_UID] != self.uid()
            && !self.may(read_rights(object))?
        {
            // What the caller may not see is to them as if it were not there.
            seen = None;
        }
        let uid = seen.and_then(|seen| seen["metadata"]["uid"].as_str());
        let known = at.status.object.as_ref().and_then(|object| object.uid.as_deref());
        if known.is_some() && known != uid {
            let message = format!("{key} was deleted by somebody else while this step followed it");
            return Ok(Progress::failed("Deleted", message));
        }
        let Some(object) = seen else {
            return match resource.action {
                Verb::Create => self.create(at, resource, key, manifest),
                Verb::Get => Ok(Progress::failed("NotFound", format!("{key} does not exist"))),
                Verb::Wait | Verb::Delete => {
                    let message = format!("waits for {key} to appear");
                    Ok(Progress::Waiting { reason: "NotFound", message })
                }
            };
        };
        if resource.action == Verb::Create && !self.is_ours(object, at) {
            return self.taken(&key, object, &manifest);
        }
        at.status.object = Some(reference(&key, uid));
        match resource.action {
            Verb::Get => Ok(finished(at, object, None, None)),
            Verb::Create | Verb::Wait | Verb::Delete => self.follow(at, resource, object),
        }
    }

    /// Says that a name is taken: to a caller who may do what they ask for, and by whom to one who may see it.
    fn taken(&mut self, key: &ObjectKey, object: &Value, manifest: &Value) -> Result<Progress, Blocked> {
        let mut by = holder(object);
        if is_velero(&key.api_version) {
            let namespace = &self.settings.velero_namespace;
            let rights = match (key.api_version.as_str(), key.kind.as_str()) {
                (velero::API_VERSION, "Backup") => backup_rights(&manifest["spec"], namespace),
                (velero::API_VERSION, "Restore") => restore_rights(&manifest["spec"], &[], namespace),
                _ => velero_rights(),
            };
            if let Some(obstacle) = self.forbidden(rights)? {
                return Ok(obstacle);
            }
            if !self.may(read_rights(object))? {
                by = String::new();
            }
        }
        let message = format!("{key} exists and is not this Action's{by}; give another name");
        Ok(Progress::failed("Conflict", message))
    }

    /// Deletes an object once and waits until it is gone; an absent one is gone.
    fn delete(&mut self, key: &ObjectKey, seen: Option<&Value>) -> Progress {
        let Some(object) = seen else { return Progress::done(Some(format!("{key} is gone"))) };
        if object["metadata"]["deletionTimestamp"].is_null() {
            if let Some(refusal) = self.observed.refused.get(key) {
                return self.refused(key, refusal);
            }
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            self.effects.push(Effect::Delete { key: key.clone(), uid });
        }
        Progress::Running {
            reason: "Deleting".to_owned(),
            message: Some(format!("waits until {key} is gone")),
        }
    }

    /// Gives a manifest what every created object has: a namespace, a name and the labels of its origin.
    fn dress(&self, mut manifest: Value, at: &At<'_>) -> Value {
        let ours = manifest["apiVersion"].as_str().is_some_and(is_velero);
        let attempt = at.status.attempt;
        let creates = at.step.resource.as_ref().is_some_and(|resource| resource.action == Verb::Create);
        let is_backup = ours && creates && manifest["kind"] == "Backup";
        let given = manifest["metadata"]["name"].as_str().map(str::to_owned);
        let name = match &given {
            Some(name) if is_backup && attempt > 1 => format!("{name}-{attempt}"),
            Some(name) => name.clone(),
            None => derived_name(self.name(), &[self.uid(), &at.step.name, &attempt.to_string()]),
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
        if let Some(logical) = given.filter(|_| is_backup) {
            // Every attempt has it, whatever its own name.
            metadata["labels"][velero::LABEL_BACKUP_NAME] = json!(logical);
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
            return Ok(self.refused(&key, refusal));
        }
        if is_velero(&key.api_version) {
            let obstacle = match (key.api_version.as_str(), key.kind.as_str()) {
                (velero::API_VERSION, "Backup") => match self.before_backup(&manifest)? {
                    None => self.crowd("Backup")?,
                    obstacle => obstacle,
                },
                // One that waits keeps no room for what the Backup holds.
                (velero::API_VERSION, "Restore") => match self.crowd("Restore")? {
                    None => self.before_restore(at, &resource.expect, &mut manifest)?,
                    obstacle => obstacle,
                },
                _ => self.forbidden(velero_rights())?,
            };
            if let Some(obstacle) = obstacle {
                return Ok(obstacle);
            }
        }
        let message = format!("{key} is being created");
        self.effects.push(Effect::Create { key, manifest });
        Ok(Progress::Running { reason: "Creating".to_owned(), message: Some(message) })
    }

    fn refused(&mut self, key: &ObjectKey, refusal: &Refusal) -> Progress {
        match refusal {
            Refusal::Forbidden(why) => Progress::failed("Forbidden", why.as_str()),
            Refusal::Permanent(why) => {
                Progress::failed("Refused", format!("Kubernetes refuses {key}: {why}"))
            }
            Refusal::Passing(why) => {
                self.retry_refused();
                Progress::Waiting {
                    reason: "Unreachable",
                    message: format!("Kubernetes does not take {key} now, it is asked again: {why}"),
                }
            }
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
            (Health::Running, Some("Restore")) if is_velero => {
                let message = self.claims_without_volume(object)?.or(report.message);
                Ok(Progress::Running { reason: report.word, message })
            }
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

/// Names the one who made an object, as far as its labels say.
fn holder(object: &Value) -> String {
    let labels = &object["metadata"]["labels"];
    match (labels[LABEL_NAMESPACE].as_str(), labels[LABEL_NAME].as_str()) {
        (Some(namespace), Some(name)) => format!(", but made by the Action {namespace}/{name}"),
        _ => ", but made by somebody else".to_owned(),
    }
}

fn key(manifest: &Value) -> ObjectKey {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ObjectKey {
        api_version: text(&manifest["apiVersion"]),
        kind: text(&manifest["kind"]),
        namespace: manifest["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&manifest["metadata"]["name"]),
        account: None,
    }
}

fn reference(key: &ObjectKey, uid: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: key.api_version.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: uid.map(str::to_owned),
    }
}

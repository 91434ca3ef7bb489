//! The life of an Action, from its first sight to its end.

use serde_json::json;

use super::note::cut;
use super::step::end_failed;
use super::{Blocked, Effect, Need, ObjectKey, Refusal, Rendered, Run, derived_name};
use crate::action::{ActionStatus, FINALIZER, LABEL_UID, MARK, Outcome, Rendering, StepStatus, WorkflowRef};
use crate::phase::{Phase, StepPhase, Verdict};
use crate::velero::LABEL_RESTORE_NAME;
use crate::workflow::{WORKFLOW_FILE, Workflow, stored_workflow};

impl Run<'_> {
    /// Takes the Action as far as it goes now; `None` leaves the status as it is.
    pub(super) fn lifecycle(&mut self) -> Option<ActionStatus> {
        if self.action.is_unreadable() {
            // What it asks for is not known; its end need not wait for that.
            if self.action.metadata.deletion_timestamp.is_some() && self.is_held() {
                self.effects.push(Effect::Release);
            }
            return None;
        }
        let mut status = self.action.status.clone().unwrap_or_default();
        if self.action.metadata.deletion_timestamp.is_some() {
            return self.departing(status).unwrap_or_default();
        }
        let rerun = self.action.spec.attempt > status.attempt && status.attempt > 0;
        match self.mark() {
            Some(mark) if mark == self.uid() => {}
            // Saved before it was marked, and restored: by a cluster without the admission policies, which mark it.
            None if !self.is_restored() => {
                self.effects.push(Effect::Mark);
                return None;
            }
            _ => return self.copied(status, rerun),
        }
        if status.phase.is_terminal() && rerun {
            status = self.next_attempt(&status);
        }
        if status.phase.is_terminal() {
            if self.is_held() {
                self.effects.push(Effect::Release);
            }
            return None;
        }
        if matches!(status.phase, Phase::Initial | Phase::BeingRendered | Phase::ReadyToRun) {
            status.attempt = self.action.spec.attempt;
            for step in &mut status.steps {
                step.attempt = status.attempt;
            }
        }
        // Blocked or not, the status is true as far as it got.
        let _ = self.proceed(&mut status);
        Some(status)
    }

    fn mark(&self) -> Option<&str> {
        self.action.metadata.annotations.as_ref()?.get(MARK).map(String::as_str)
    }

    fn is_restored(&self) -> bool {
        self.action.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_RESTORE_NAME))
    }

    fn is_held(&self) -> bool {
        self.action.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    /// Lets a deleted Action go: at once when nothing runs or its namespace goes too, else after a cancel.
    fn departing(&mut self, mut status: ActionStatus) -> Result<Option<ActionStatus>, Blocked> {
        if !self.is_held() {
            return Ok(None);
        }
        let running = matches!(status.phase, Phase::Running | Phase::BeingCanceled);
        if !running || self.namespace_is_going()? {
            self.effects.push(Effect::Release);
            return Ok(None);
        }
        self.cancel(&mut status, "the Action was deleted");
        Ok(Some(status))
    }

    /// A namespace that waits for our finalizer could never be restored into.
    fn namespace_is_going(&mut self) -> Result<bool, Blocked> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: self.namespace().to_owned(),
            account: None,
        };
        let namespace = self.object(&key)?;
        Ok(namespace.is_none_or(|namespace| namespace["metadata"]["deletionTimestamp"].is_string()))
    }

    /// A copy never runs: it is another Action's run, restored or cloned.
    fn copied(&mut self, status: ActionStatus, rerun: bool) -> Option<ActionStatus> {
        if rerun {
            self.effects.push(Effect::Mark);
            return None;
        }
        let mut status = if status.phase.is_terminal() {
            status
        } else {
            ActionStatus {
                history: status.history,
                attempt: status.attempt,
                message: status.message,
                ..ActionStatus::default()
            }
        };
        status.attempt = status.attempt.max(self.action.spec.attempt);
        let message = "this Action is a copy (restored or cloned) of another and does not run; to run it, raise spec.attempt and set spec.run";
        if status.message.as_deref() != Some(message) {
            status.message = Some(message.to_owned());
            status.note(self.now, "seen as a copy");
        }
        Some(status)
    }

    fn next_attempt(&self, old: &ActionStatus) -> ActionStatus {
        let mut status = ActionStatus {
            attempt: self.action.spec.attempt,
            history: old.history.clone(),
            conditions: old.conditions.clone(),
            created_by: old.created_by.clone(),
            ..ActionStatus::default()
        };
        status.note(self.now, format!("attempt {}", status.attempt));
        status
    }

    fn proceed(&mut self, status: &mut ActionStatus) -> Result<(), Blocked> {
        let generation = self.action.metadata.generation;
        let changed = status.observed_generation != generation;
        status.observed_generation = generation;
        if self.action.spec.cancel {
            self.cancel(status, "cancel was asked for");
            return Ok(());
        }
        if status.created_by.is_none() {
            status.created_by = self.action.spec.requested_by.as_ref().and_then(|by| by.create.clone());
        }
        let unrendered = matches!(status.phase, Phase::Initial | Phase::BeingRendered);
        if unrendered || (status.phase == Phase::ReadyToRun && changed) {
            self.render(status)?;
        }
        if status.phase == Phase::ReadyToRun && self.action.spec.run {
            if !self.is_asked_for() {
                let message =
                    "it is not run, since nobody is known to have asked for it: run it through the gateway";
                status.message = Some(message.to_owned());
                return Ok(());
            }
            if !self.is_held() {
                self.effects.push(Effect::Hold);
            }
            // That it runs is written before anything is made: from then on its spec cannot change.
            return self.begin(status);
        }
        if status.phase == Phase::Running {
            self.steps(status)?;
        }
        Ok(())
    }

    /// Makes the workflow and stores it. What is wrong with the spec stays wrong: it fails at once.
    fn render(&mut self, status: &mut ActionStatus) -> Result<(), Blocked> {
        if let Some(what) = self.unsupported() {
            fail(status, format!("NOT_IMPLEMENTED: {what}"));
            status.enter(Phase::Failed, self.now);
            return Ok(());
        }
        let rendered = match &self.observed.rendering {
            None => return self.need(Need::Rendering),
            Some(Ok(rendered)) => rendered,
            Some(Err(problem)) => {
                fail(status, problem.clone());
                status.enter(Phase::Failed, self.now);
                return Ok(());
            }
        };
        if let Some(problem) = rendered.workflow.missing_account(self.namespace(), self.account()) {
            fail(status, problem);
            status.enter(Phase::Failed, self.now);
            return Ok(());
        }
        let same = status.rendering.as_ref().is_some_and(|old| old.workflow_ref.digest == rendered.digest);
        if same {
            return Ok(());
        }
        status.enter(Phase::BeingRendered, self.now);
        let digest = rendered.digest.trim_start_matches("sha256:");
        let reference = WorkflowRef {
            name: derived_name(self.name(), &[self.uid(), digest]),
            digest: rendered.digest.clone(),
        };
        if !self.store(&reference, rendered, status) {
            return Ok(());
        }
        status.steps = rendered
            .workflow
            .steps
            .iter()
            .map(|step| StepStatus {
                name: step.name.clone(),
                kind: step.describe(),
                attempt: status.attempt,
                ..StepStatus::default()
            })
            .collect();
        status.rendering = Some(Rendering {
            implementation: rendered.implementation.clone(),
            reason: rendered.reason.clone(),
            catalog_digest: rendered.catalog_digest.clone(),
            workflow_ref: reference,
        });
        status.message = Some("rendered; runs when spec.run is true".to_owned());
        status.enter(Phase::ReadyToRun, self.now);
        Ok(())
    }

    /// Says which part of the spec is not built yet, if any is used.
    fn unsupported(&self) -> Option<&'static str> {
        let spec = &self.action.spec;
        let used = [
            (spec.dry_run, "spec.dryRun"),
            (spec.advanced_rendering, "spec.advancedRendering"),
            (spec.continue_rendering, "spec.continue"),
            (spec.rendered_action_override.is_some(), "spec.renderedActionOverride"),
            (spec.from_step.is_some(), "spec.fromStep"),
            (!spec.input.type_instances.is_empty(), "spec.input.typeInstances"),
            (spec.input.policy.is_some(), "spec.input.policy"),
            (!spec.approvals.is_empty(), "spec.approvals"),
        ];
        used.iter().find(|(used, _)| *used).map(|(_, what)| *what)
    }

    /// Keeps the workflow in an immutable ConfigMap; tells whether it is there.
    fn store(&mut self, reference: &WorkflowRef, rendered: &Rendered, status: &mut ActionStatus) -> bool {
        let key = self.workflow_key(reference);
        let text = serde_json::to_string(&rendered.workflow).unwrap_or_default();
        if let Some(refusal) = self.observed.refused.get(&key) {
            let (Refusal::Forbidden(why) | Refusal::Permanent(why) | Refusal::Passing(why)) = refusal;
            let message = format!("the workflow could not be stored: {why}");
            if matches!(refusal, Refusal::Passing(_)) {
                status.message = Some(message);
                self.retry_refused();
            } else {
                fail(status, message);
                status.enter(Phase::Failed, self.now);
            }
            return false;
        }
        match self.observed.objects.get(&key) {
            Some(Some(stored)) if stored["data"][WORKFLOW_FILE] == text.as_str() => return true,
            Some(Some(_)) => {
                fail(status, format!("{key} is not this Action's: its workflow is another"));
                status.enter(Phase::Failed, self.now);
            }
            Some(None) | None => {
                let manifest = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
                    "metadata": {
                        "name": key.name, "namespace": key.namespace,
                        "labels": {(LABEL_UID): self.uid()},
                        "ownerReferences": [{
                            "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
                            "name": self.name(), "uid": self.uid(), "controller": true,
                        }],
                    },
                    "data": {(WORKFLOW_FILE): text},
                });
                self.effects.push(Effect::Create { key, manifest });
            }
        }
        false
    }

    fn workflow_key(&self, reference: &WorkflowRef) -> ObjectKey {
        ObjectKey {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some(self.namespace().to_owned()),
            name: reference.name.clone(),
            account: None,
        }
    }

    fn begin(&mut self, status: &mut ActionStatus) -> Result<(), Blocked> {
        let rendered = status.rendering.as_ref().map(|rendering| &rendering.workflow_ref.digest);
        if let Some(asked) = &self.action.spec.workflow_digest
            && Some(asked) != rendered
        {
            let rendered = rendered.map_or("none", String::as_str);
            let message = format!(
                "the workflow is another than the one that was asked for (spec.workflowDigest {asked}, rendered {rendered}), so nothing was run; look at it and run it with its own digest"
            );
            fail(status, message);
            status.enter(Phase::Failed, self.now);
            return Ok(());
        }
        // The workflow must be readable before the run counts as begun.
        if self.workflow(status)?.is_some() {
            status.message = None;
            status.run_by = self.action.spec.requested_by.as_ref().and_then(|by| by.run.clone());
            status.enter(Phase::Running, self.now);
        }
        Ok(())
    }

    /// Reads the stored workflow; the run fails without the very one that was rendered.
    fn workflow(&mut self, status: &mut ActionStatus) -> Result<Option<Workflow>, Blocked> {
        let Some(reference) = status.rendering.as_ref().map(|rendering| rendering.workflow_ref.clone())
        else {
            return Ok(None);
        };
        let stored = self.object(&self.workflow_key(&reference))?;
        match stored_workflow(stored, &reference) {
            Ok(workflow) => Ok(Some(workflow)),
            Err(error) => {
                fail(status, format!("{error}; create the Action again"));
                status.enter(Phase::Failed, self.now);
                Ok(None)
            }
        }
    }

    /// Stops following what runs. Velero itself cannot stop a Backup or a Restore.
    fn cancel(&mut self, status: &mut ActionStatus, why: &str) {
        let mut left = Vec::new();
        for step in status.steps.iter_mut().filter(|step| !step.phase.is_terminal()) {
            if let Some(object) = step.object.as_ref().filter(|object| object.uid.is_some()) {
                left.push(format!("{} {}", object.kind, object.name));
            }
            step.phase = StepPhase::Canceled;
            step.finished_at = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
        }
        let message = if left.is_empty() {
            format!("{why}; nothing was under way")
        } else {
            format!("{why}; {} goes on without being watched, since Velero cannot stop it", left.join(", "))
        };
        status.message = Some(message);
        let by = self.action.spec.requested_by.as_ref().filter(|_| self.action.spec.cancel);
        status.canceled_by = by.and_then(|by| by.cancel.clone());
        if status.phase == Phase::Running {
            status.enter(Phase::BeingCanceled, self.now);
        }
        status.enter(Phase::Canceled, self.now);
    }

    /// Tells whether the status that was written says that all steps before this one have ended. Otherwise what this
    /// one makes or deletes would have them begin again, since they look at the same objects.
    fn is_on_record(&self, index: usize) -> bool {
        let written = self.action.status.as_ref().map_or(&[][..], |status| &status.steps);
        written.iter().take(index).all(|step| step.phase.is_terminal())
    }

    fn steps(&mut self, status: &mut ActionStatus) -> Result<(), Blocked> {
        let Some(workflow) = self.workflow(status)? else { return Ok(()) };
        for index in 0..workflow.steps.len().min(status.steps.len()) {
            if status.steps[index].phase.is_terminal() {
                continue;
            }
            if workflow.steps[index].changes_something() && !self.is_on_record(index) {
                return Ok(());
            }
            self.advance(index, &workflow, status)?;
            match status.steps[index].phase {
                StepPhase::Failed => {
                    end_failed(index, status, self.now);
                    return Ok(());
                }
                phase if !phase.is_terminal() => return Ok(()),
                _ => {}
            }
        }
        if status.outcome.is_none() {
            let did = status.steps.iter().any(|step| step.phase == StepPhase::Succeeded);
            let verdict = if did { Verdict::Complete } else { Verdict::None };
            status.outcome = Some(Outcome { verdict, gaps: Vec::new(), warnings: 0, errors: 0 });
        }
        status.message = status.steps.iter().rev().find_map(|step| step.message.clone());
        status.enter(Phase::Succeeded, self.now);
        Ok(())
    }
}

fn fail(status: &mut ActionStatus, message: String) {
    status.outcome = Some(Outcome { verdict: Verdict::None, gaps: Vec::new(), warnings: 0, errors: 0 });
    status.message = Some(cut(message));
}

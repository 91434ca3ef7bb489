//! The workflow that rendering yields: an ordered list of steps over Kubernetes objects.
//!
//! Expressions are CEL: bare in the fields that are expressions, and as the one-key object
//! `{$cel: "…"}` in place of any value inside a manifest.

mod check;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::velero::is_velero;

pub use check::WorkflowError;
pub use stored::{StoredWorkflowError, WORKFLOW_FILE, stored_workflow, text_digest};

/// The `apiVersion` of a Workflow.
pub const API_VERSION: &str = "core.ochre.dev/v1alpha1";

/// A rendered workflow. Steps run in order; the first that fails ends the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Workflow {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Workflow`.
    pub kind: String,
    /// The steps, at least one and at most [`MAX_STEPS`], their names unique.
    pub steps: Vec<Step>,
}

/// The most bytes that a workflow may take as compact JSON.
pub const MAX_WORKFLOW: usize = 256 * 1024;

/// The most steps that a workflow may have.
pub const MAX_STEPS: usize = 64;

/// One step: exactly one of `resource` and `check`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// `[a-z][a-z0-9_]*`, at most 40 characters, unique in the workflow.
    pub name: String,
    /// CEL; when it yields false the step is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// How long the step may take from its start, in Go's syntax; without it, 4 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// What to do with a Kubernetes object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// What must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Named values (CEL over `object` and `steps`), added to what the kind yields itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// A step on one Kubernetes object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resource {
    /// What to do.
    pub action: Verb,
    /// The object: whole for `create`; `apiVersion`, `kind` and `metadata` for the others.
    pub manifest: Value,
    /// CEL over `object` and `steps`; when given, it and not the kind's own health says when a `create` or `wait` is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What its end must look like.
    #[serde(default)]
    pub expect: Expect,
}

/// What a `resource` step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Creates the object and follows it to its end.
    Create,
    /// Reads the object; fails when it does not exist.
    Get,
    /// Follows an object that somebody else makes to its end.
    Wait,
    /// Deletes the object and waits until it is gone; an absent one is gone.
    Delete,
}

/// What a step demands of the end of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Expect {
    /// Accepts a Velero object that ends `PartiallyFailed`, and such a Backup as a Restore's source.
    pub partial: bool,
    /// Accepts a Backup or Restore that holds nothing.
    pub empty: bool,
    /// What data that a Backup does not hold means.
    pub coverage: Coverage,
    /// What a Restore does about objects that live already.
    pub existing: Existing,
    /// Holds a Restore's step until the pods that were ready when they were saved are ready again.
    pub wait_ready: bool,
    /// How long that may take from Velero's end, in Go's syntax; without it, 10 m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<String>,
    /// The BackupStorageLocation that a Restore's Backup is in; without it, Velero's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    /// How long a Restore waits for its Backup to appear, in Go's syntax; without it, 300 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_timeout: Option<String>,
}

/// What data that a Backup does not hold means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// The step fails, and names it.
    Required,
    /// The outcome names it.
    #[default]
    Warn,
    /// Nothing: nobody looks.
    Off,
}

/// What a Restore does about objects that live already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// Fails before Velero writes anything.
    #[default]
    Refuse,
    /// Leaves them as they are, and counts them.
    Keep,
    /// Lets Velero patch them to what the Backup holds.
    Update,
}

/// A step that only looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Check {
    /// CEL over `steps`; false fails the step.
    #[serde(rename = "that")]
    pub that: String,
    /// What to tell the user when it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Workflow {
    /// Lists the steps on objects that are not Velero's: the engine lends nobody its own rights for those.
    pub fn beyond_velero(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_beyond_velero())
    }

    /// Says which ServiceAccount is missing; nothing when one is named, or none is needed.
    pub fn missing_account(&self, namespace: &str, account: Option<&str>) -> Option<String> {
        let needy = self.beyond_velero().next().filter(|_| account.is_none());
        needy.map(|step| step.needs_account(namespace))
    }
}

impl Verb {
    /// Names the verb as the workflow does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Wait => "wait",
            Self::Delete => "delete",
        }
    }
}

impl Step {
    /// Says in a word or two what the step does, such as `create Backup`.
    pub fn describe(&self) -> String {
        self.resource.as_ref().map_or_else(
            || "check".to_owned(),
            |resource| {
                let kind = resource.manifest["kind"].as_str().unwrap_or("object");
                format!("{} {kind}", resource.action.as_str())
            },
        )
    }

    /// Tells whether it makes or deletes an object.
    pub fn changes_something(&self) -> bool {
        self.resource.as_ref().is_some_and(|resource| matches!(resource.action, Verb::Create | Verb::Delete))
    }

    /// Tells whether it works on an object that is not Velero's.
    fn is_beyond_velero(&self) -> bool {
        let version = self.resource.as_ref().and_then(|resource| resource.manifest["apiVersion"].as_str());
        version.is_some_and(|version| !is_velero(version))
    }

    /// Says that the step needs a ServiceAccount of a namespace.
    pub fn needs_account(&self, namespace: &str) -> String {
        format!(
            "the step {} is to {}, which is not Velero's and takes rights of its own: name a ServiceAccount of the namespace {namespace} that has them (spec.serviceAccountName, in GraphQL serviceAccountName)",
            self.name,
            self.describe()
        )
    }

    /// Names every output that the step can have: those of its kind and those it declares.
    pub fn output_names(&self) -> std::collections::BTreeSet<String> {
        let own = self.resource.iter().flat_map(|resource| {
            let kind = resource.manifest["kind"].as_str().unwrap_or_default();
            crate::velero::outputs(resource.manifest["apiVersion"].as_str().unwrap_or_default(), kind)
        });
        own.map(|name| (*name).to_owned()).chain(self.outputs.keys().cloned()).collect()
    }
}

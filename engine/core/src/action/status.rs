//! The status of an Action: what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{UserInfo, any_object};
use crate::phase::{Phase, StepPhase, Verdict};

/// What became of it. Every list is capped; counts are of the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionStatus {
    /// Where the Action stands.
    #[serde(default)]
    pub phase: Phase,
    /// How much of what was asked for is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What a person should know now: what, where, what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The progress of the step at work, such as `11/11 items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Rendered, Running and Succeeded, after KEP-1623.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The generation of `spec` that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The attempt that this status is about.
    #[serde(default)]
    pub attempt: u32,
    /// Who created the Action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<UserInfo>,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_by: Option<UserInfo>,
    /// Who canceled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canceled_by: Option<UserInfo>,
    /// What is run, and where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendering: Option<Rendering>,
    /// The steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub steps: Vec<StepStatus>,
    /// What happened, in order; cut from the front beyond [`MAX_HISTORY`] entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub history: Vec<HistoryEntry>,
    /// What the run yields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// When the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Whether this stands for an Action that cannot be read; no object says so of itself.
    #[serde(skip)]
    pub is_unreadable: bool,
}

/// The most entries that a history keeps.
pub const MAX_HISTORY: usize = 64;

/// The most characters of a message: Velero's can be as long as it likes.
pub const MAX_MESSAGE: usize = 2000;

/// The most bytes that a step's outputs may take as compact JSON.
pub const MAX_OUTPUTS: usize = 16 * 1024;

/// Says what the phase cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The one word for it.
    pub verdict: Verdict,
    /// What is not there and why, at most 20 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub gaps: Vec<Gap>,
    /// How many warnings there were.
    #[serde(default)]
    pub warnings: u64,
    /// How many errors there were.
    #[serde(default)]
    pub errors: u64,
}

/// Something that was asked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// What, such as `Pod chat/mongodb-0`.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// What is run, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendering {
    /// The Implementation that was chosen.
    pub implementation: ManifestRef,
    /// Why this one.
    pub reason: String,
    /// The digest of the catalog it came from.
    pub catalog_digest: String,
    /// The ConfigMap that holds the workflow.
    pub workflow_ref: WorkflowRef,
}

/// Names a manifest of the catalog exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ManifestRef {
    /// Its path.
    pub path: String,
    /// Its revision (semver).
    pub revision: String,
}

/// Names the immutable ConfigMap that holds a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowRef {
    /// Its name, in the Action's namespace.
    pub name: String,
    /// `sha256:` and the hex digest of the workflow's JSON.
    pub digest: String,
}

/// What became of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// What it does, such as `create Backup`.
    pub kind: String,
    /// Where it stands.
    pub phase: StepPhase,
    /// The attempt it belongs to.
    #[serde(default)]
    pub attempt: u32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it fails if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What a person should know: Velero's own words where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The same in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far its object is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<StepProgress>,
    /// How many warnings its object has.
    #[serde(default)]
    pub warnings: u64,
    /// How many errors its object has.
    #[serde(default)]
    pub errors: u64,
    /// The object it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectReference>,
    /// What is known of the volumes, at most 50 of them; those without their data come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub volumes: Vec<StepVolume>,
    /// How many volumes there are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub volume_count: u64,
    /// What later steps and the user may use.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub outputs: Map<String, Value>,
}

/// How far an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepProgress {
    /// How much is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
    /// Of what, such as `items`.
    pub unit: String,
}

/// Names a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its namespace, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid, once the cluster said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl std::fmt::Display for ObjectReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl ActionStatus {
    /// Lists the objects that steps are known to have made or followed.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectReference> {
        let objects = self.steps.iter().filter_map(|step| step.object.as_ref());
        objects.filter(|object| object.uid.is_some())
    }
}

/// What is known of one volume of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepVolume {
    /// The namespace of its claim or pod.
    pub namespace: String,
    /// The name of its claim, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Without a claim: what mounts it, as `Pod/web/logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Whether its data was saved.
    pub saved: bool,
    /// By what it was saved, such as `kopia`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// How many bytes were saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The snapshot that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Whether its owner accepts that it was not saved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub accepted: bool,
    /// Why it was not saved, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(truth: &bool) -> bool {
    !truth
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Its place since the Action began, from 1; a first entry above 1 shows the cut.
    pub sequence: u64,
    /// When.
    pub at: MicroTime,
    /// What.
    pub what: String,
}

/// What the run yields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// TypeInstances made by the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub type_instances: Vec<OutputTypeInstance>,
}

/// A TypeInstance made by the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputTypeInstance {
    /// Its id.
    pub id: String,
    /// Its Type.
    pub type_ref: ManifestRef,
}

//! The Action resource: the only state of a run.
//!
//! The gateway and people write `spec`; the controller alone writes `status`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod size;
mod status;

pub use size::MAX_ASKED;
pub use status::*;

use crate::phase::Phase;

/// The API group of every ochre resource.
pub const GROUP: &str = "core.ochre.dev";

/// Annotation: the uid of the Action that the controller first saw; on a copy it is another's.
pub const MARK: &str = "core.ochre.dev/uid";
/// Annotation: a digest of the `Idempotency-Key` header that the Action was created with, and of who sent it.
pub const IDEMPOTENCY_KEY: &str = "core.ochre.dev/idempotency-key";
/// Finalizer: held while a run is on, so that a delete cancels first.
pub const FINALIZER: &str = "core.ochre.dev/run";

/// Label of everything a step creates: the uid of its Action.
pub const LABEL_UID: &str = "core.ochre.dev/action-uid";
/// Label of everything a step creates: the namespace of its Action.
pub const LABEL_NAMESPACE: &str = "core.ochre.dev/action-namespace";
/// Label of everything a step creates: the name of its Action.
pub const LABEL_NAME: &str = "core.ochre.dev/action-name";
/// Label of everything a step creates: the name of the step.
pub const LABEL_STEP: &str = "core.ochre.dev/step";
/// Label of everything a step creates: the attempt it belongs to.
pub const LABEL_ATTEMPT: &str = "core.ochre.dev/attempt";

/// The most bytes that `spec.input.parameters` may take as compact JSON.
pub const MAX_PARAMETERS: usize = 128 * 1024;

/// The most groups of a caller: an Action keeps those of each who asks for something, up to seven times, and the cluster
/// keeps no object of more than 1.5 MB.
pub const MAX_GROUPS: usize = 4096;
/// The most characters of the names of all groups of a caller.
pub const MAX_GROUP_NAMES: usize = 64 * 1024;
/// The most bytes of what else an authenticator says of a caller, as compact JSON.
pub const MAX_EXTRA: usize = 32 * 1024;

/// Writes the rule that holds fields of the spec while a run is on: those that always are there, and optional ones.
macro_rules! held_while_running {
    ($($field:literal)*; $($optional:literal)*) => {
        concat!(
            "!has(oldSelf.status) || !(oldSelf.status.phase in ['RUNNING', 'BEING_CANCELED']) || (true",
            $(" && self.spec.", $field, " == oldSelf.spec.", $field,)*
            $(
                " && has(self.spec.", $optional, ") == has(oldSelf.spec.", $optional, ") && (!has(self.spec.",
                $optional, ") || self.spec.", $optional, " == oldSelf.spec.", $optional, ")",
            )*
            ")"
        )
    };
}

/// Everything of the spec but `cancel`, `approvals` and `requestedBy`.
const HELD_WHILE_RUNNING: &str = held_while_running!(
    "actionRef" "input" "run" "dryRun" "advancedRendering" "__continue__" "attempt";
    "serviceAccountName" "workflowDigest" "fromStep" "renderedActionOverride"
);

/// What is asked for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.ochre.dev",
    version = "v1alpha1",
    kind = "Action",
    plural = "actions",
    shortname = "ac",
    category = "ochre",
    namespaced,
    status = "ActionStatus",
    derive = "PartialEq",
    doc = "A run of an action from the catalog, and what became of it.",
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".spec.actionRef.path"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Outcome","type":"string","jsonPath":".status.outcome.verdict"}"#,
    printcolumn = r#"{"name":"Progress","type":"string","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name of an Action has at most 63 characters"),
    validation = Rule::new(HELD_WHILE_RUNNING).message("while it runs only cancel and approvals of an Action may change"),
    validation = Rule::new("self.spec.attempt >= oldSelf.spec.attempt").message("spec.attempt only grows"),
)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "they are the API's own fields")]
pub struct ActionSpec {
    /// The Interface to run.
    pub action_ref: ActionRef,
    /// What it is given.
    #[serde(default)]
    pub input: ActionInput,
    /// Starts the run as soon as it is ready.
    #[serde(default)]
    pub run: bool,
    /// Stops the run.
    #[serde(default)]
    pub cancel: bool,
    /// Renders and checks, and creates nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Lets the user provide TypeInstances between rendering iterations.
    #[serde(default)]
    pub advanced_rendering: bool,
    /// Ends the present rendering iteration.
    #[serde(default, rename = "continue")]
    pub continue_rendering: bool,
    /// A workflow to run in place of the rendered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub rendered_action_override: Option<Value>,
    /// The number of the attempt; raising it after the end runs again.
    #[serde(default = "first_attempt")]
    #[schemars(range(min = 1, max = 9999))]
    pub attempt: u32,
    /// The step at which a further attempt begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<String>,
    /// The digest of the workflow to run, `status.rendering.workflowRef.digest`; any other fails before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub workflow_digest: Option<String>,
    /// Answers to approval steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub approvals: Vec<Approval>,
    /// Who asked for what; written by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<RequestedBy>,
    /// The ServiceAccount of the Action's namespace whose rights the workflow uses beyond Velero's objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
}

fn first_attempt() -> u32 {
    1
}

/// Names an Interface of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionRef {
    /// Its path, such as `cap.interface.data.backup`.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^cap(\\.[a-z0-9][a-z0-9_-]*)+$"))]
    pub path: String,
    /// Its revision (semver); without it, the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub revision: Option<String>,
}

/// What an Action is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionInput {
    /// The parameters: flat, or under the one name that the Interface gives them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// TypeInstances by the names that the Interface gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub type_instances: Vec<InputTypeInstance>,
    /// A policy for this Action alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub policy: Option<Value>,
}

/// A TypeInstance given to an Action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputTypeInstance {
    /// The name that the Interface gives it.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// The answer to an approval step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The step that asked.
    pub step: String,
    /// The attempt that asked.
    pub attempt: u32,
    /// Whether it may go on.
    pub approved: bool,
    /// What the step asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub input: Option<Value>,
}

/// Who asked for what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestedBy {
    /// Who created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<UserInfo>,
    /// Who last changed what is asked for, since its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UserInfo>,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<UserInfo>,
    /// Who canceled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<UserInfo>,
}

/// An identity, as Kubernetes' authentication knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UserInfo {
    /// The name.
    pub username: String,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_GROUPS), extend("x-kubernetes-validations" = [{
        "rule": format!("self.map(group, size(group)).sum() <= {MAX_GROUP_NAMES}"),
        "message": format!("the names of all groups together have at most {MAX_GROUP_NAMES} characters"),
    }]))]
    pub groups: Vec<String>,
    /// Whatever else the authenticator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub extra: Option<Value>,
}

/// Says that an Action cannot keep who asks for it: to leave something out would take rights away in silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{username} has {groups} groups with {names} characters in all and {extra} bytes of other attributes; an Action keeps \
     who asks for it, and at most {MAX_GROUPS} groups, {MAX_GROUP_NAMES} characters and {MAX_EXTRA} bytes: have the one \
     who vouches for {username} name fewer"
)]
pub struct TooManyGroups {
    username: String,
    groups: usize,
    names: usize,
    extra: usize,
}

impl UserInfo {
    /// Sees that an Action can keep it whole.
    pub fn check(&self) -> Result<(), TooManyGroups> {
        let groups = self.groups.len();
        let names = self.groups.iter().map(|group| group.chars().count()).sum();
        let extra = self.extra.as_ref().map_or(0, |extra| extra.to_string().len());
        if groups <= MAX_GROUPS && names <= MAX_GROUP_NAMES && extra <= MAX_EXTRA {
            return Ok(());
        }
        Err(TooManyGroups { username: self.username.clone(), groups, names, extra })
    }
}

impl Action {
    /// Makes what stands for an Action that cannot be read: it has failed, says why, and nothing is done for it.
    pub fn unreadable(metadata: ObjectMeta, action_ref: Option<ActionRef>, why: &str) -> Self {
        let message = format!(
            "this Action cannot be read, so nothing is done for it: {why}; mend it with kubectl, and it goes on from where it was, or delete it"
        );
        let status = ActionStatus {
            phase: Phase::Failed,
            message: Some(message),
            is_unreadable: true,
            ..ActionStatus::default()
        };
        let spec = ActionSpec { action_ref: action_ref.unwrap_or_default(), ..ActionSpec::default() };
        Self { metadata, spec, status: Some(status) }
    }

    /// Tells whether it only stands for an Action that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.is_unreadable)
    }
}

/// Makes the CustomResourceDefinition of the Action.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = Action::crd();
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|validation| validation.open_api_v3_schema.as_mut()) {
        bound(schema);
    }
    definition
}

/// Gives every number and instant the bounds of its type here, so that what is admitted can be read.
///
/// Numbers of 64 bits end where a double is exact, as which the schema holds its bounds. Kubernetes does not know Rust's
/// unsigned formats, and warns of them.
fn bound(schema: &mut JSONSchemaProps) {
    let (least, most) = match schema.format.as_deref() {
        Some("uint8") => (0.0, f64::from(u8::MAX)),
        Some("uint16") => (0.0, f64::from(u16::MAX)),
        Some("uint32") => (0.0, f64::from(u32::MAX)),
        Some("uint64") => (0.0, MAX_EXACT),
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => (-MAX_EXACT, MAX_EXACT),
    };
    if schema.type_.as_deref() == Some("integer") {
        schema.minimum = Some(schema.minimum.unwrap_or(least).max(least));
        schema.maximum = Some(schema.maximum.unwrap_or(most).min(most));
    }
    if schema.format.as_deref() == Some("date-time") {
        schema.pattern = Some(INSTANT.to_owned());
    }
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(std::collections::BTreeMap::values_mut) {
        bound(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        bound(items);
    }
}

/// The greatest integer up to which a double has them all.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

/// An instant as this process writes it. Kubernetes' `date-time` alone takes offsets and years that are none.
const INSTANT: &str = r"^[0-8][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$";

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

#[cfg(test)]
mod tests;

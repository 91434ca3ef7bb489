//! What mutations and queries take.

use std::collections::BTreeMap;

use async_graphql::{Enum, ID, InputObject};
use ochre_core::action::{Action, ActionRef};
use ochre_core::code::Code;
use ochre_core::phase::Phase;
use ochre_core::selector;

use super::error::GatewayError;
use super::policy::PolicyInput;
use super::scalars::{Json, NameRegex, NodePath, Timestamp, Version, compile};

/// Names a manifest of the catalog.
#[derive(Clone, InputObject)]
pub(super) struct ManifestReferenceInput {
    /// Its path.
    pub path: NodePath,
    /// Its revision; without one, the latest.
    pub revision: Option<Version>,
}

/// An Action to make.
#[derive(Clone, InputObject)]
pub(super) struct ActionDetailsInput {
    /// Its name, unique in its namespace: a DNS label.
    pub name: String,
    /// What it is given.
    pub input: Option<ActionInputData>,
    /// The Interface to run.
    pub action_ref: ManifestReferenceInput,
    /// Renders and checks, and creates nothing.
    #[graphql(default_with = "Some(false)")]
    pub dry_run: Option<bool>,
    /// Lets the user provide TypeInstances between rendering iterations.
    #[graphql(default_with = "Some(false)")]
    pub advanced_rendering: Option<bool>,
    /// A workflow to run in place of the rendered one.
    pub rendered_action_override: Option<Json>,
    /// Runs it as soon as it is ready: create and run in one post.
    #[graphql(default_with = "Some(false)")]
    pub run: Option<bool>,
    /// The ServiceAccount of its namespace whose rights the workflow has beyond Velero's objects; who has it run needs
    /// the right to `impersonate` it.
    pub service_account_name: Option<String>,
}

/// What an Action is given.
#[derive(Clone, InputObject)]
pub(super) struct ActionInputData {
    /// The parameters: a JSON object, or a string that holds one.
    pub parameters: Option<Json>,
    /// TypeInstances by the names that the Interface gives them.
    pub type_instances: Option<Vec<InputTypeInstanceData>>,
    /// A policy for this Action alone.
    pub action_policy: Option<PolicyInput>,
}

/// A TypeInstance given to an Action.
#[derive(Clone, InputObject)]
pub(super) struct InputTypeInstanceData {
    /// The name that the Interface gives it.
    pub name: String,
    /// Its id.
    pub id: ID,
}

/// Which Actions to list; all that is given must fit.
#[derive(Clone, Default, InputObject)]
pub(super) struct ActionFilter {
    /// The phase that they are in.
    pub phase: Option<ActionStatusPhase>,
    /// What is found in their names.
    pub name_regex: Option<NameRegex>,
    /// The Interface that they run.
    pub interface_ref: Option<ManifestReferenceInput>,
    /// A Kubernetes label selector that their labels fit, such as `team=a,tier in (web)`.
    pub labels: Option<String>,
    /// The name of the one who created them.
    pub created_by: Option<String>,
    /// They were created then or later.
    pub created_after: Option<Timestamp>,
    /// They were created before then.
    pub created_before: Option<Timestamp>,
}

impl ActionFilter {
    /// Makes ready to ask of many Actions whether they fit.
    pub(super) fn prepare(self) -> Result<impl Fn(&Action) -> bool + Send + Sync + use<>, GatewayError> {
        let wrong = |what: String| GatewayError::new(Code::BadUserInput, what);
        let name = self.name_regex.as_ref().map(|regex| compile(&regex.0)).transpose();
        let name = name.map_err(|error| wrong(format!("nameRegex: {error}")))?;
        let selector = self.labels.as_deref().map(selector::parse).transpose();
        let selector = selector.map_err(|error| wrong(format!("labels: {error}")))?;
        Ok(move |action: &Action| {
            let stands = action.status.as_ref().map(|status| status.phase).unwrap_or_default();
            let none = BTreeMap::new();
            let labels = action.metadata.labels.as_ref().unwrap_or(&none);
            let created = action.metadata.creation_timestamp.as_ref().map(|at| at.0);
            self.phase.is_none_or(|asked| asked == stands.into())
                && name
                    .as_ref()
                    .is_none_or(|name| name.is_match(action.metadata.name.as_deref().unwrap_or_default()))
                && self.interface_ref.as_ref().is_none_or(|asked| asked.is_of(&action.spec.action_ref))
                && selector.as_ref().is_none_or(|selector| {
                    selector::matches(selector, |key| labels.get(key).map(String::as_str))
                })
                && self.created_by.as_deref().is_none_or(|asked| creator(action) == Some(asked))
                && self.created_after.is_none_or(|asked| created >= Some(asked.0))
                && self.created_before.is_none_or(|asked| created < Some(asked.0))
        })
    }
}

impl ManifestReferenceInput {
    /// Tells whether an Action runs this; without a revision, any.
    fn is_of(&self, reference: &ActionRef) -> bool {
        let revision = self.revision.as_ref();
        self.path.0 == reference.path
            && revision.is_none_or(|asked| reference.revision.as_ref() == Some(&asked.0))
    }
}

/// Names who created an Action, where anybody is told apart.
fn creator(action: &Action) -> Option<&str> {
    let by = action.spec.requested_by.as_ref()?.create.as_ref()?;
    Some(by.username.as_str())
}

/// What a rendering iteration is given.
#[derive(Clone, InputObject)]
pub(super) struct AdvancedModeContinueRenderingInput {
    /// The TypeInstances.
    pub type_instances: Option<Vec<InputTypeInstanceData>>,
}

/// Where an Action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Phase")]
pub enum ActionStatusPhase {
    /// Seen by nobody yet.
    Initial,
    /// The workflow is being made from the catalog.
    BeingRendered,
    /// Rendering waits for TypeInstances from its user.
    AdvancedModeRenderingIteration,
    /// The workflow is stored and waits to be run.
    ReadyToRun,
    /// Steps are at work.
    Running,
    /// The run was asked to stop.
    BeingCanceled,
    /// The run was stopped before its end.
    Canceled,
    /// The cluster said that every step did what it was for.
    Succeeded,
    /// A step, or the rendering, did not do what it was for.
    Failed,
}

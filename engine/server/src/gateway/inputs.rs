//! What mutations and queries take.

use async_graphql::{Enum, ID, InputObject};
use ochre_core::action::Action;
use ochre_core::code::Code;
use ochre_core::phase::Phase;

use super::error::GatewayError;
use super::policy::PolicyInput;
use super::scalars::{Json, NameRegex, NodePath, Version};

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
}

impl ActionFilter {
    /// Makes ready to ask of many Actions whether they fit.
    pub(super) fn prepare(self) -> Result<impl Fn(&Action) -> bool + Send + Sync + use<>, GatewayError> {
        let Self { phase, name_regex, interface_ref } = self;
        let name = name_regex
            .map(|regex| regex_lite::Regex::new(&regex.0))
            .transpose()
            .map_err(|error| GatewayError::new(Code::BadUserInput, format!("nameRegex: {error}")))?;
        Ok(move |action: &Action| {
            let reference = &action.spec.action_ref;
            let stands = action.status.as_ref().map(|status| status.phase).unwrap_or_default();
            let called = action.metadata.name.as_deref().unwrap_or_default();
            let is_of = |asked: &ManifestReferenceInput| {
                let revision = asked.revision.as_ref();
                asked.path.0 == reference.path
                    && revision.is_none_or(|asked| reference.revision.as_ref() == Some(&asked.0))
            };
            name.as_ref().is_none_or(|name| name.is_match(called))
                && interface_ref.as_ref().is_none_or(is_of)
                && phase.is_none_or(|asked| asked == stands.into())
        })
    }
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

//! What queries and mutations answer with.

// On the struct itself the derive macros would drop it.
#![expect(clippy::struct_field_names, reason = "they are the names of Capact's schema")]

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, SimpleObject};
use ochre_core::action::{self as resource, ActionStatus as Status};
use serde_json::{Value, json};

use super::Gateway;
use super::inputs::ActionStatusPhase;
use super::policy::Policy;
use super::scalars::{Any, NodePath, Timestamp, Version};

/// A run of an action from the catalog, and what became of it.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Action {
    #[graphql(skip)]
    resource: Arc<resource::Action>,
    /// Its name, unique in its namespace.
    name: String,
    /// When it was created.
    created_at: Timestamp,
    /// What it is given.
    input: Option<ActionInput>,
    /// What the run yields.
    output: Option<ActionOutput>,
    /// The Interface that it runs; the revision is `latest` when none was asked for.
    action_ref: ManifestReference,
    /// Whether it was asked to run.
    run: bool,
    /// Whether it was asked to stop.
    cancel: bool,
    /// Whether it only renders and checks.
    dry_run: bool,
    /// The ServiceAccount whose rights the workflow has beyond Velero's objects.
    service_account_name: Option<String>,
    /// How its rendering goes on, when its user takes part in it.
    rendering_advanced_mode: Option<ActionRenderingAdvancedMode>,
    /// The workflow to run in place of the rendered one.
    rendered_action_override: Option<Any>,
    /// What became of it.
    status: Option<ActionStatus>,
}

/// Names a manifest exactly.
#[derive(Clone, SimpleObject)]
pub(super) struct ManifestReference {
    /// Its path.
    path: NodePath,
    /// Its revision.
    revision: Version,
}

/// Names a manifest.
#[derive(Clone, SimpleObject)]
pub(super) struct ManifestReferenceWithOptionalRevision {
    /// Its path.
    path: NodePath,
    /// Its revision.
    revision: Option<Version>,
}

/// What an Action is given.
#[derive(SimpleObject)]
pub(super) struct ActionInput {
    /// The parameters: a map from the name that the Interface gives them to a string of JSON.
    parameters: Option<Any>,
    /// The TypeInstances.
    type_instances: Vec<InputTypeInstanceDetails>,
    /// The policy for this Action alone.
    action_policy: Option<Policy>,
}

/// A TypeInstance given to an Action.
#[derive(SimpleObject)]
pub(super) struct InputTypeInstanceDetails {
    /// Its id.
    id: ID,
    /// The name that the Interface gives it.
    name: String,
}

/// What the run yields.
#[derive(SimpleObject)]
pub(super) struct ActionOutput {
    /// The TypeInstances made by the run.
    type_instances: Vec<OutputTypeInstanceDetails>,
}

/// A TypeInstance made by the run.
#[derive(SimpleObject)]
pub(super) struct OutputTypeInstanceDetails {
    /// Its id.
    id: ID,
    /// Its Type.
    type_ref: ManifestReference,
    /// Where it is kept.
    backend: TypeInstanceBackendDetails,
}

/// Where a TypeInstance is kept.
#[derive(SimpleObject)]
pub(super) struct TypeInstanceBackendDetails {
    /// The id of the backend.
    id: String,
    /// Whether it is the built-in one.
    #[graphql(name = "abstract")]
    is_abstract: bool,
}

/// How a rendering goes on when its user takes part in it.
#[derive(SimpleObject)]
pub(super) struct ActionRenderingAdvancedMode {
    /// Whether the user takes part.
    enabled: bool,
    /// The TypeInstances that this iteration asks for.
    type_instances_for_rendering_iteration: Vec<InputTypeInstanceToProvide>,
}

/// A TypeInstance that a rendering asks for.
#[derive(SimpleObject)]
pub(super) struct InputTypeInstanceToProvide {
    /// Its name.
    name: String,
    /// Its Type.
    type_ref: ManifestReference,
}

/// What became of an Action.
#[derive(SimpleObject)]
pub(super) struct ActionStatus {
    /// Where it stands.
    phase: ActionStatusPhase,
    /// When it last changed.
    timestamp: Timestamp,
    /// What a person should know now: what, where, what to do.
    message: Option<String>,
    /// What the runner says.
    runner: Option<RunnerStatus>,
    /// Who created it.
    created_by: Option<UserInfo>,
    /// Who ran it.
    run_by: Option<UserInfo>,
    /// Who canceled it.
    canceled_by: Option<UserInfo>,
}

/// What the runner says.
#[derive(SimpleObject)]
pub(super) struct RunnerStatus {
    /// `{steps, outcome, progress, history}`, in the form of the Action resource's status.
    status: Option<Any>,
}

/// An identity.
#[derive(SimpleObject)]
pub(super) struct UserInfo {
    /// The name.
    username: String,
    /// The groups.
    groups: Vec<String>,
    /// Whatever else is known.
    extra: Option<Any>,
}

#[ComplexObject]
impl Action {
    /// The workflow that runs, once it is rendered.
    async fn rendered_action(&self, context: &Context<'_>) -> async_graphql::Result<Option<Any>> {
        Ok(context.data::<Gateway>()?.workflow(&self.resource).await?.map(Any))
    }
}

impl Action {
    /// Shows an Action resource; `parameter` is the name that its Interface gives the parameters.
    pub(super) fn show(resource: Arc<resource::Action>, parameter: &str) -> Self {
        let spec = &resource.spec;
        let created =
            resource.metadata.creation_timestamp.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        let status = resource.status.clone().unwrap_or_default();
        Self {
            name: resource.metadata.name.clone().unwrap_or_default(),
            created_at: Timestamp(created),
            input: Some(ActionInput::show(&spec.input, parameter)),
            output: status.output.as_ref().map(ActionOutput::show),
            action_ref: reference(
                &spec.action_ref.path,
                spec.action_ref.revision.as_deref().unwrap_or("latest"),
            ),
            run: spec.run,
            cancel: spec.cancel,
            dry_run: spec.dry_run,
            service_account_name: spec.service_account_name.clone(),
            rendering_advanced_mode: None,
            rendered_action_override: spec.rendered_action_override.clone().map(Any),
            status: Some(ActionStatus::show(&status, created)),
            resource,
        }
    }
}

impl ActionInput {
    fn show(input: &resource::ActionInput, parameter: &str) -> Self {
        let nested = input.parameters.len() == 1 && input.parameters.contains_key(parameter);
        let inner = if nested { input.parameters[parameter].clone() } else { json!(input.parameters) };
        Self {
            parameters: (!input.parameters.is_empty()).then(|| Any(json!({(parameter): inner.to_string()}))),
            type_instances: input
                .type_instances
                .iter()
                .map(|given| InputTypeInstanceDetails { id: ID(given.id.clone()), name: given.name.clone() })
                .collect(),
            action_policy: None,
        }
    }
}

impl ActionOutput {
    fn show(output: &resource::Output) -> Self {
        let type_instances = output.type_instances.iter().map(|made| OutputTypeInstanceDetails {
            id: ID(made.id.clone()),
            type_ref: reference(&made.type_ref.path, &made.type_ref.revision),
            backend: TypeInstanceBackendDetails { id: "kubernetes".to_owned(), is_abstract: true },
        });
        Self { type_instances: type_instances.collect() }
    }
}

impl ActionStatus {
    fn show(status: &Status, created: jiff::Timestamp) -> Self {
        Self {
            phase: status.phase.into(),
            timestamp: Timestamp(status.history.last().map_or(created, |last| last.at.0)),
            message: status.message.clone(),
            runner: (!status.steps.is_empty())
                .then(|| RunnerStatus { status: Some(Any(runner_status(status))) }),
            created_by: status.created_by.as_ref().map(UserInfo::show),
            run_by: status.run_by.as_ref().map(UserInfo::show),
            canceled_by: status.canceled_by.as_ref().map(UserInfo::show),
        }
    }
}

impl UserInfo {
    pub(super) fn show(user: &resource::UserInfo) -> Self {
        Self {
            username: user.username.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone().map(Any),
        }
    }
}

fn runner_status(status: &Status) -> Value {
    json!({
        "steps": status.steps,
        "outcome": status.outcome,
        "progress": status.progress,
        "history": status.history,
    })
}

fn reference(path: &str, revision: &str) -> ManifestReference {
    ManifestReference { path: NodePath(path.to_owned()), revision: Version(revision.to_owned()) }
}

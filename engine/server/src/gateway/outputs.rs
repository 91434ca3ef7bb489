//! What queries and mutations answer with.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use ochre_core::action::{self as resource, ActionSpec as Spec, ActionStatus as Status};
use serde_json::{Value, json};

use super::Gateway;
use super::inputs::ActionStatusPhase;
use super::policy::Policy;
use super::scalars::{Any, NodePath, Timestamp, Version};

/// Shows an Action resource; a field costs nothing until it is asked for.
pub(super) struct Action(pub Arc<resource::Action>);

/// Shows its status.
struct ActionStatus(Arc<resource::Action>);

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

/// A run of an action from the catalog, and what became of it.
#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl Action {
    /// Its name, unique in its namespace.
    async fn name(&self) -> &str {
        self.0.metadata.name.as_deref().unwrap_or_default()
    }

    /// When it was created.
    async fn created_at(&self) -> Timestamp {
        Timestamp(created(&self.0))
    }

    /// What it is given.
    async fn input(&self, context: &Context<'_>) -> Result<Option<ActionInput>> {
        let Spec { action_ref, input, .. } = &self.0.spec;
        let catalog = &context.data::<Gateway>()?.content;
        let parameter = catalog.parameter_name(&action_ref.path, action_ref.revision.as_deref());
        Ok(Some(ActionInput::show(input, parameter.unwrap_or("input-parameters"))))
    }

    /// What the run yields.
    async fn output(&self) -> Option<ActionOutput> {
        self.0.status.as_ref()?.output.as_ref().map(ActionOutput::show)
    }

    /// The Interface that it runs; the revision is `latest` when none was asked for.
    async fn action_ref(&self) -> ManifestReference {
        let asked = &self.0.spec.action_ref;
        reference(&asked.path, asked.revision.as_deref().unwrap_or("latest"))
    }

    /// Whether it was asked to run.
    async fn run(&self) -> bool {
        self.0.spec.run
    }

    /// Whether it was asked to stop.
    async fn cancel(&self) -> bool {
        self.0.spec.cancel
    }

    /// Whether it only renders and checks.
    async fn dry_run(&self) -> bool {
        self.0.spec.dry_run
    }

    /// The ServiceAccount whose rights the workflow has beyond Velero's objects.
    async fn service_account_name(&self) -> Option<&str> {
        self.0.spec.service_account_name.as_deref()
    }

    /// How its rendering goes on, when its user takes part in it.
    async fn rendering_advanced_mode(&self) -> Option<ActionRenderingAdvancedMode> {
        None
    }

    /// The workflow to run in place of the rendered one.
    async fn rendered_action_override(&self) -> Option<Any> {
        self.0.spec.rendered_action_override.clone().map(Any)
    }

    /// What became of it.
    async fn status(&self) -> Option<ActionStatus> {
        Some(ActionStatus(Arc::clone(&self.0)))
    }

    /// The workflow that runs, once it is rendered.
    async fn rendered_action(&self, context: &Context<'_>) -> Result<Option<Any>> {
        Ok(context.data::<Gateway>()?.workflow(&self.0).await?.map(Any))
    }

    /// The digest of the workflow that runs, once it is rendered; `runAction` takes it.
    async fn workflow_digest(&self) -> Option<&str> {
        let rendering = self.0.status.as_ref()?.rendering.as_ref()?;
        Some(rendering.workflow_ref.digest.as_str())
    }
}

/// What became of an Action.
#[Object]
impl ActionStatus {
    /// Where it stands.
    async fn phase(&self) -> ActionStatusPhase {
        self.known().map(|status| status.phase).unwrap_or_default().into()
    }

    /// When it last changed.
    async fn timestamp(&self) -> Timestamp {
        let last = self.known().and_then(|status| status.history.last());
        Timestamp(last.map_or_else(|| created(&self.0), |last| last.at.0))
    }

    /// What a person should know now: what, where, what to do.
    async fn message(&self) -> Option<&str> {
        self.known()?.message.as_deref()
    }

    /// What the runner says.
    async fn runner(&self) -> Option<RunnerStatus> {
        let status = self.known().filter(|status| !status.steps.is_empty())?;
        Some(RunnerStatus { status: Some(Any(runner_status(status))) })
    }

    /// Who created it.
    async fn created_by(&self) -> Option<UserInfo> {
        self.known()?.created_by.as_ref().map(UserInfo::show)
    }

    /// Who ran it.
    async fn run_by(&self) -> Option<UserInfo> {
        self.known()?.run_by.as_ref().map(UserInfo::show)
    }

    /// Who canceled it.
    async fn canceled_by(&self) -> Option<UserInfo> {
        self.known()?.canceled_by.as_ref().map(UserInfo::show)
    }
}

impl ActionStatus {
    fn known(&self) -> Option<&Status> {
        self.0.status.as_ref()
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

impl UserInfo {
    pub(super) fn show(user: &resource::UserInfo) -> Self {
        Self {
            username: user.username.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone().map(Any),
        }
    }
}

fn created(action: &resource::Action) -> jiff::Timestamp {
    action.metadata.creation_timestamp.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0)
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

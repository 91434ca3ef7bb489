//! The queries and mutations of Capact's engine.

use async_graphql::{Context, Object, Result};
use ochre_core::code::Code;

use super::error::GatewayError;
use super::inputs::{ActionDetailsInput, ActionFilter, AdvancedModeContinueRenderingInput};
use super::outputs::Action;
use super::policy::{Policy, PolicyInput};
use super::{Gateway, Namespace};

/// Reads.
pub(super) struct Query;

/// Writes.
pub(super) struct Mutation;

#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl Query {
    /// Finds an Action; null when there is none.
    async fn action(&self, context: &Context<'_>, name: String) -> Result<Option<Action>> {
        let (gateway, namespace) = at(context)?;
        Ok(gateway.actions()?.get(namespace, &name).map(|found| gateway.show(found)))
    }

    /// Lists Actions by name.
    async fn actions(&self, context: &Context<'_>, filter: Option<ActionFilter>) -> Result<Vec<Action>> {
        let (gateway, namespace) = at(context)?;
        let found = gateway.list(namespace, filter.unwrap_or_default())?;
        Ok(found.into_iter().map(|found| gateway.show(found)).collect())
    }

    /// The policy of the cluster.
    async fn policy(&self) -> Policy {
        Policy::default()
    }
}

#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl Mutation {
    /// Creates an Action. The same again answers with it while it is unfinished; anything else under its name is a CONFLICT.
    async fn create_action(
        &self,
        context: &Context<'_>,
        #[graphql(name = "in")] input: Option<ActionDetailsInput>,
    ) -> Result<Action> {
        let (gateway, namespace) = at(context)?;
        let missing = || GatewayError::new(Code::BadUserInput, "createAction needs its argument `in`");
        let action = gateway.create(namespace, input.ok_or_else(missing)?).await?;
        Ok(gateway.show(action))
    }

    /// Runs an Action. Before READY_TO_RUN this is recorded and it starts when it is ready.
    async fn run_action(&self, context: &Context<'_>, name: String) -> Result<Action> {
        let (gateway, namespace) = at(context)?;
        let action = gateway.run(namespace, &name).await?;
        Ok(gateway.show(action))
    }

    /// Stops a run. What Velero has begun goes on, since Velero cannot stop it.
    async fn cancel_action(&self, context: &Context<'_>, name: String) -> Result<Action> {
        let (gateway, namespace) = at(context)?;
        let action = gateway.cancel(namespace, &name).await?;
        Ok(gateway.show(action))
    }

    /// Changes an Action that does not run. Not implemented yet.
    async fn update_action(&self, #[graphql(name = "in")] input: ActionDetailsInput) -> Result<Action> {
        let _ = input;
        Err(GatewayError::not_implemented("updateAction").into())
    }

    /// Goes on with a rendering. Not implemented yet.
    async fn continue_advanced_rendering(
        &self,
        action_name: String,
        #[graphql(name = "in")] input: AdvancedModeContinueRenderingInput,
    ) -> Result<Action> {
        let _ = (action_name, input);
        Err(GatewayError::not_implemented("continueAdvancedRendering").into())
    }

    /// Deletes an Action that does not run. Its Backups and Restores stay.
    async fn delete_action(&self, context: &Context<'_>, name: String) -> Result<Action> {
        let (gateway, namespace) = at(context)?;
        let action = gateway.delete(namespace, &name).await?;
        Ok(gateway.show(action))
    }

    /// Changes the policy of the cluster. Not implemented yet.
    async fn update_policy(&self, #[graphql(name = "in")] input: PolicyInput) -> Result<Policy> {
        let _ = input;
        Err(GatewayError::not_implemented("updatePolicy").into())
    }
}

/// Hands out what a resolver works with, and the namespace that the request is about.
pub(super) fn at<'c>(context: &Context<'c>) -> Result<(&'c Gateway, &'c str)> {
    Ok((context.data::<Gateway>()?, context.data::<Namespace>()?.0.as_str()))
}

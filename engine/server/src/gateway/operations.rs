//! The queries and mutations of Capact's engine.

use std::sync::Arc;

use async_graphql::{Context, Object, Result, Value};
use ochre_core::access::Right;
use ochre_core::code::Code;

use super::error::GatewayError;
use super::inputs::{ActionDetailsInput, ActionFilter, AdvancedModeContinueRenderingInput};
use super::outputs::{Action, UserInfo};
use super::policy::{Policy, PolicyInput};
use super::rights::Verb;
use super::{Asked, Gateway};
use crate::audit::Event;
use crate::identity::Caller;
use crate::index::By;

/// Reads of Actions, and of who asks.
pub(super) struct EngineQuery;

/// Writes.
pub(super) struct Mutation;

#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl EngineQuery {
    /// Finds an Action; null when there is none.
    async fn action(&self, context: &Context<'_>, name: String) -> Result<Option<Action>> {
        let At { gateway, namespace, .. } = permitted(context, "get", Some(&name)).await?;
        Ok(gateway.actions()?.get(namespace, &name).map(Action))
    }

    /// Lists Actions by name.
    async fn actions(&self, context: &Context<'_>, filter: Option<ActionFilter>) -> Result<Vec<Action>> {
        let At { gateway, namespace, .. } = permitted(context, "list", None).await?;
        let (fits, index) = (filter.unwrap_or_default().prepare()?, gateway.actions()?.index());
        let found = index.all(namespace, By::Name).filter(|action| fits(action));
        Ok(found.map(|found| Action(Arc::clone(found))).collect())
    }

    /// The policy of the cluster.
    async fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Who asks; null where nobody is told apart.
    async fn who_am_i(&self, context: &Context<'_>) -> Result<Option<UserInfo>> {
        Ok(match &context.data::<Asked>()?.caller {
            Caller::Person(person) => Some(UserInfo::show(person)),
            Caller::Anybody => None,
        })
    }

    /// Tells whether the caller may do something in every one of these namespaces: with an Action, by default in the
    /// namespace of the request, or with the namespaces themselves (BACKUP, RESTORE), by default the whole cluster.
    async fn can_i(
        &self,
        context: &Context<'_>,
        verb: Verb,
        #[graphql(desc = "The name of an Action; without it, any.")] action: Option<String>,
        #[graphql(desc = "The namespaces, at most 100.", validator(max_items = 100))] namespaces: Option<
            Vec<String>,
        >,
    ) -> Result<bool> {
        let (gateway, Asked { caller, namespace, .. }) = (context.data::<Gateway>()?, context.data()?);
        for right in verb.rights(namespace, action.as_deref(), &namespaces.unwrap_or_default()) {
            if !gateway.may(caller, &right).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Writes.
#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl Mutation {
    /// Creates an Action. The same again answers with it while it is unfinished, and afterwards too when it comes with
    /// the same `Idempotency-Key` header; anything else under its name, or with its key, is a CONFLICT.
    async fn create_action(
        &self,
        context: &Context<'_>,
        #[graphql(name = "in")] input: Option<ActionDetailsInput>,
    ) -> Result<Action> {
        let name = input.as_ref().map(|input| input.name.clone()).unwrap_or_default();
        let work = async {
            let At { gateway, namespace, caller } = permitted(context, "create", None).await?;
            let missing = || GatewayError::new(Code::BadUserInput, "createAction needs its argument `in`");
            let key = context.data::<Asked>()?.idempotency_key.as_deref();
            let action = gateway.create(namespace, input.ok_or_else(missing)?, caller, key).await?;
            Ok(Action(action))
        };
        audited(context, "createAction", &name, Box::pin(work)).await
    }

    /// Runs an Action. Before READY_TO_RUN this is recorded and it starts when it is ready. An Action that was created
    /// or last changed by a person who may not do what it does takes `workflowDigest`.
    async fn run_action(
        &self,
        context: &Context<'_>,
        name: String,
        #[graphql(
            desc = "The digest of the workflow that the caller has seen (Action.workflowDigest); any other is a CONFLICT."
        )]
        workflow_digest: Option<String>,
    ) -> Result<Action> {
        let work = async {
            let At { gateway, namespace, caller } = permitted(context, "run", Some(&name)).await?;
            Ok(Action(gateway.run(namespace, &name, workflow_digest.as_deref(), caller).await?))
        };
        audited(context, "runAction", &name, work).await
    }

    /// Stops a run. What Velero has begun goes on, since Velero cannot stop it.
    async fn cancel_action(&self, context: &Context<'_>, name: String) -> Result<Action> {
        let work = async {
            let At { gateway, namespace, caller } = permitted(context, "cancel", Some(&name)).await?;
            Ok(Action(gateway.cancel(namespace, &name, caller).await?))
        };
        audited(context, "cancelAction", &name, work).await
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
        let work = async {
            let At { gateway, namespace, .. } = permitted(context, "delete", Some(&name)).await?;
            Ok(Action(gateway.delete(namespace, &name).await?))
        };
        audited(context, "deleteAction", &name, work).await
    }

    /// Changes the policy of the cluster. Not implemented yet.
    async fn update_policy(&self, #[graphql(name = "in")] input: PolicyInput) -> Result<Policy> {
        let _ = input;
        Err(GatewayError::not_implemented("updatePolicy").into())
    }
}

/// What a request is about, and who asks.
pub(super) struct At<'c> {
    pub(super) gateway: &'c Gateway,
    pub(super) namespace: &'c str,
    pub(super) caller: &'c Caller,
}

/// Finds what a request is about, when the caller may do this with Actions there.
pub(super) async fn permitted<'c>(
    context: &Context<'c>,
    verb: &'static str,
    name: Option<&str>,
) -> Result<At<'c>> {
    let (gateway, Asked { caller, namespace, .. }) = (context.data()?, context.data()?);
    let at = At { gateway, namespace, caller };
    if let (Caller::Person(person), "create" | "run" | "cancel") = (at.caller, verb) {
        // The Action keeps who asks for that.
        person.check().map_err(|error| GatewayError::new(Code::LimitExceeded, error.to_string()))?;
    }
    at.gateway.permit(at.caller, &Right::action(verb, at.namespace, name)).await?;
    Ok(at)
}

/// Does what a mutation is for, and has it written down, however it ends.
async fn audited(
    context: &Context<'_>,
    operation: &'static str,
    name: &str,
    work: impl Future<Output = Result<Action>>,
) -> Result<Action> {
    let (gateway, asked) = (context.data::<Gateway>()?, context.data::<Asked>()?);
    if !gateway.audit.is_whole() {
        let message =
            "the audit log cannot be written, so nothing was done; its reason is in the server's log";
        return Err(GatewayError::new(Code::Internal, message).into());
    }
    let mut done = Done { gateway, asked, operation, name, code: "UNKNOWN".to_owned() };
    let result = work.await;
    done.code = match &result {
        Ok(_) => "OK".to_owned(),
        Err(error) => match error.extensions.as_ref().and_then(|extensions| extensions.get("code")) {
            Some(Value::String(code)) => code.clone(),
            _ => Code::Internal.as_str().to_owned(),
        },
    };
    result
}

/// A mutation, which is written down when this is dropped: it may be given up at any time.
struct Done<'c> {
    gateway: &'c Gateway,
    asked: &'c Asked,
    operation: &'static str,
    name: &'c str,
    code: String,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let Asked { caller, namespace, request, .. } = self.asked;
        let by = match caller {
            Caller::Person(person) => Some(person),
            Caller::Anybody => None,
        };
        let (operation, name, code) = (self.operation, self.name, &self.code);
        self.gateway.audit.write(&Event::Mutation { operation, namespace, name, by, code, request });
    }
}

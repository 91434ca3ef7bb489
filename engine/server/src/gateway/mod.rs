//! The GraphQL gateway: one endpoint, `/graphql`, and a page to try it, `/`. It writes Actions and reads
//! them; results come back only as an Action's status.

mod answer;
mod error;
mod fields;
mod http;
mod hub;
mod inputs;
mod measure;
mod mutate;
mod operations;
mod outputs;
mod page;
mod policy;
mod refusal;
mod rights;
mod request;
mod scalars;
mod scan;
mod socket;
mod subscriptions;

use std::sync::Arc;

use async_graphql::{MergedObject, Schema, SchemaBuilder};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use ochre_core::access::Right;
use ochre_core::action::{Action, UserInfo};
use ochre_core::code::Code;
use ochre_core::decide::Settings;
use serde_json::Value;

use crate::content::Content;
use crate::identity::{Caller, Identity};
use crate::readiness::Readiness;
use crate::store::Actions;
use error::GatewayError;
use fields::Fields;
use hub::{HubQuery, MetadataBaseFields, TypeInstanceFields};
use inputs::ActionFilter;
use operations::{EngineQuery, Mutation};
use subscriptions::Subscription;

pub(crate) use http::{probes, router};

/// What the gateway works with.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: Client,
    content: Arc<Content>,
    settings: Settings,
    readiness: Readiness,
    identity: Arc<Identity>,
}

/// The namespace that a request is about, from its `NAMESPACE` header.
#[derive(Clone)]
struct Namespace(String);

/// Reads.
#[derive(MergedObject)]
struct Query(EngineQuery, HubQuery);

/// The schema with its executor.
type EngineSchema = Schema<Query, Mutation, Subscription>;

/// Prints the GraphQL schema.
pub fn sdl() -> String {
    builder().finish().sdl()
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    // No field has these interfaces as its type; clients name them in fragments.
    Schema::build(Query(EngineQuery, HubQuery), Mutation, Subscription)
        .register_output_type::<MetadataBaseFields<'_>>()
        .register_output_type::<TypeInstanceFields>()
}

impl Gateway {
    /// Prepares a gateway.
    pub(crate) const fn new(
        client: Client,
        content: Arc<Content>,
        settings: Settings,
        readiness: Readiness,
        identity: Arc<Identity>,
    ) -> Self {
        Self { client, content, settings, readiness, identity }
    }

    /// Tells whether a caller may do something.
    async fn may(&self, caller: &Caller, right: &Right) -> Result<bool, GatewayError> {
        let may = self.identity.may(caller, right).await;
        may.map_err(|error| GatewayError::from_cluster("asking what you may", &error))
    }

    /// Sees that a caller may do something.
    async fn permit(&self, caller: &Caller, right: &Right) -> Result<(), GatewayError> {
        match (self.may(caller, right).await?, caller) {
            (false, Caller::Person(UserInfo { username, .. })) => {
                let message = format!("{username} may not {right}; ask for a role that has it");
                Err(GatewayError::new(Code::Forbidden, message))
            }
            _ => Ok(()),
        }
    }

    fn schema(self) -> EngineSchema {
        // How much may be asked for is measured before (`measure`).
        builder().limit_recursive_depth(usize::MAX).extension(Fields).data(self).finish()
    }

    fn actions(&self) -> Result<&Actions, GatewayError> {
        self.readiness.actions().map_err(|why| GatewayError::new(Code::UpstreamUnavailable, why))
    }

    fn list(&self, namespace: &str, filter: ActionFilter) -> Result<Vec<Arc<Action>>, GatewayError> {
        let fits = filter.prepare()?;
        Ok(self.actions()?.list(namespace).into_iter().filter(|action| fits(action)).collect())
    }

    fn show(&self, action: Arc<Action>) -> outputs::Action {
        let reference = &action.spec.action_ref;
        let parameter = self.content.parameter_name(&reference.path, reference.revision.as_deref());
        let parameter = parameter.unwrap_or("input-parameters").to_owned();
        outputs::Action::show(action, &parameter)
    }

    /// Reads the workflow that an Action runs.
    async fn workflow(&self, action: &Action) -> Result<Option<Value>, GatewayError> {
        let Some(rendering) = action.status.as_ref().and_then(|status| status.rendering.as_ref()) else {
            return Ok(None);
        };
        let namespace = action.metadata.namespace.as_deref().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let stored = maps
            .get_opt(&rendering.workflow_ref.name)
            .await
            .map_err(|error| GatewayError::from_cluster("reading the workflow", &error))?;
        let text = stored.and_then(|map| map.data?.remove("workflow.json"));
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

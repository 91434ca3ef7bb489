//! The GraphQL gateway: one endpoint, `/graphql`, and a page to try it, `/`. It writes Actions and reads
//! them; results come back only as an Action's status.

mod answer;
mod buffer;
mod documents;
mod error;
mod fields;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod hub;
mod ids;
mod inputs;
mod introspection;
mod json;
mod measure;
mod mutate;
mod operations;
mod outputs;
mod page;
mod pages;
mod patches;
mod policy;
mod quotas;
mod record;
mod refusal;
mod rights;
mod request;
mod scalars;
mod scan;
mod socket;
mod spans;
mod spec;
mod stale;
mod subscriptions;
mod velero;

use std::sync::Arc;

use async_graphql::{MergedObject, Schema, SchemaBuilder};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use ochre_core::access::{Right, way_around};
use ochre_core::action::{Action, UserInfo};
use ochre_core::code::Code;
use ochre_core::decide::Settings;
use ochre_core::workflow::{StoredWorkflowError, stored_workflow};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::audit::Audit;
use crate::content::Content;
use crate::identity::{Caller, Identity};
use crate::options::{GatewayOptions, Introspection};
use crate::readiness::Readiness;
use crate::store::Actions;
use crate::watches::Watches;
use buffer::Answers;
use error::GatewayError;
use fields::Fields;
use hub::{HubQuery, MetadataBaseFields, TypeInstanceFields};
use introspection::Guard;
use operations::{EngineQuery, Mutation};
use pages::PageQuery;
use stale::Stale;
use subscriptions::Subscription;
use velero::VeleroQuery;

pub use documents::DocumentsError;
pub(crate) use http::{probes, router};

/// What the gateway works with.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// The cluster.
    pub client: Client,
    /// The catalog.
    pub content: Arc<Content>,
    /// What runs are told.
    pub settings: Settings,
    /// Where the Actions are, once they are read.
    pub readiness: Readiness,
    /// Finds out who asks.
    pub identity: Arc<Identity>,
    /// Where it is written down.
    pub audit: Audit,
    /// What Velero has.
    pub watches: Arc<Watches>,
    /// Bounds how many rights are asked for at a time about what Velero has.
    pub asking: Arc<Semaphore>,
}

/// What is known of a request beside its document.
#[derive(Clone)]
struct Asked {
    /// Who asks.
    caller: Caller,
    /// The namespace that it is about, from its `NAMESPACE` header.
    namespace: String,
    /// Its `Idempotency-Key` header, if it has one.
    idempotency_key: Option<String>,
    /// What it is called.
    request: Arc<str>,
    /// The room of its answers.
    answers: Answers,
}

/// Reads.
#[derive(MergedObject)]
struct Query(EngineQuery, PageQuery, VeleroQuery, HubQuery);

/// The schema with its executor.
type EngineSchema = Schema<Query, Mutation, Subscription>;

/// Prints the GraphQL schema.
pub fn sdl() -> String {
    builder().finish().sdl()
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    // No field has these interfaces as its type; clients name them in fragments.
    Schema::build(Query(EngineQuery, PageQuery, VeleroQuery, HubQuery), Mutation, Subscription)
        .register_output_type::<MetadataBaseFields<'_>>()
        .register_output_type::<TypeInstanceFields>()
}

impl Gateway {
    /// Tells whether a caller may do something.
    async fn may(&self, caller: &Caller, right: &Right) -> Result<bool, GatewayError> {
        let may = self.identity.may(caller, right).await;
        may.map_err(|error| GatewayError::from_cluster("asking what you may", &error))
    }

    /// Sees that a caller may do something.
    async fn permit(&self, caller: &Caller, right: &Right) -> Result<(), GatewayError> {
        match (self.may(caller, right).await?, caller) {
            (false, Caller::Person(UserInfo { username, .. })) => {
                // It is asked for one by one, and by each with its namespace.
                let way = way_around(&[right]).filter(|_| right.resource == "secrets");
                let way = way.map(|way| format!("{way}, or ")).unwrap_or_default();
                let message = format!("{username} may not {right}; {way}ask for a role that has it");
                Err(GatewayError::new(Code::Forbidden, message))
            }
            _ => Ok(()),
        }
    }

    fn schema(self, options: &GatewayOptions) -> EngineSchema {
        let fields = Fields { cost: options.limits.cost };
        let mut schema =
            builder().extension(Guard(options.introspection)).extension(fields).extension(Stale).data(self);
        if options.introspection != Introspection::Everyone {
            schema = schema.disable_suggestions();
        }
        // How much may be asked for is measured before (`measure`).
        schema.limit_recursive_depth(usize::MAX).finish()
    }

    fn actions(&self) -> Result<&Actions, GatewayError> {
        self.readiness.actions().map_err(|why| GatewayError::new(Code::UpstreamUnavailable, why))
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
        let stored = stored.and_then(|stored| serde_json::to_value(stored).ok());
        match stored_workflow(stored.as_ref(), &rendering.workflow_ref) {
            Ok(workflow) => Ok(serde_json::to_value(workflow).ok()),
            // It goes with its Action.
            Err(StoredWorkflowError::Missing(_)) => Ok(None),
            Err(error) => Err(GatewayError::new(Code::Conflict, error.to_string())),
        }
    }
}

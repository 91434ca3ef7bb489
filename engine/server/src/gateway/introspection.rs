//! Who may ask for the schema.

use std::sync::Arc;

use async_graphql::Response;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use ochre_core::access::Right;
use ochre_core::code::Code;

use super::answer::error;
use super::{Asked, Gateway};
use crate::options::Introspection;

/// Turns away those who may not ask for the schema.
pub(super) struct Guard(pub Introspection);

/// A request that asks for the schema.
pub(super) struct Introspects;

impl ExtensionFactory for Guard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Guarded(self.0))
    }
}

struct Guarded(Introspection);

#[async_trait::async_trait]
impl Extension for Guarded {
    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        if context.data_opt::<Introspects>().is_none() || self.is_granted(context).await {
            return next.run(context, operation).await;
        }
        let message = "the schema is not shown to you; it is in the documentation, or ask for the right to get schemas.core.ochre.dev";
        Response::from_errors(vec![error(Code::Forbidden, message, Vec::new())])
    }
}

impl Guarded {
    async fn is_granted(&self, context: &ExtensionContext<'_>) -> bool {
        match (self.0, context.data_opt::<Gateway>(), context.data_opt::<Asked>()) {
            (Introspection::Everyone, ..) => true,
            (Introspection::Granted, Some(gateway), Some(asked)) => {
                gateway.may(&asked.caller, &Right::schema()).await.unwrap_or(false)
            }
            (Introspection::Granted | Introspection::Nobody, ..) => false,
        }
    }
}

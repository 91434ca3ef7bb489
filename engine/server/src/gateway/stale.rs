//! Says of answers that they may be old: the cache answers while the cluster is away.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Response, value};

use super::Gateway;
use crate::store::Actions;

/// Adds `extensions.stale` to answers while the watch of the Actions is broken.
pub(super) struct Stale;

impl ExtensionFactory for Stale {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Marks)
    }
}

struct Marks;

#[async_trait::async_trait]
impl Extension for Marks {
    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let response = next.run(context, operation).await;
        let actions = context.data_opt::<Gateway>().and_then(|gateway| gateway.actions().ok());
        match actions.and_then(Actions::stale_for) {
            Some(age) => response.extension("stale", value!({"seconds": age.as_secs()})),
            None => response,
        }
    }
}

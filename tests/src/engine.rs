//! An engine, and what it is told and asked by GraphQL.

use ochre::ServeError;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::graphql::{self, Answer};
use crate::world::PATIENCE;

/// An engine at work.
pub struct Engine {
    /// Where its gateway listens.
    pub url: String,
    pub(crate) stop: CancellationToken,
    pub(crate) work: JoinHandle<Result<(), ServeError>>,
}

impl Engine {
    /// Posts an operation in the namespace `default`.
    pub async fn graphql(&self, query: &str, variables: Value) -> Answer {
        self.graphql_in("default", query, variables).await
    }

    /// Posts an operation in a namespace.
    pub async fn graphql_in(&self, namespace: &str, query: &str, variables: Value) -> Answer {
        graphql::post(&format!("{}/graphql", self.url), namespace, query, variables).await.unwrap()
    }

    /// Creates an Action of the shipped catalog, to be run at once.
    pub async fn create(&self, name: &str, revision: Option<&str>, parameters: Value) -> Answer {
        let input = json!({
            "name": name, "run": true,
            "actionRef": {"path": "cap.interface.data.backup", "revision": revision},
            "input": {"parameters": parameters},
        });
        self.create_action(input).await
    }

    /// Creates an Action from the whole input.
    pub async fn create_action(&self, input: Value) -> Answer {
        self.catch_up().await;
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name run status { phase } input { parameters } } }";
        self.graphql(query, json!({"in": input})).await
    }

    /// Stops the engine as its process would be stopped, and waits for its end.
    pub async fn drain(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.work).await.expect("the engine does not stop").unwrap().unwrap();
    }

    /// Ends the engine as if its process were killed.
    pub async fn kill(self) {
        self.work.abort();
        // It ends with the abort.
        let _ = self.work.await;
    }
}

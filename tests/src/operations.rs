//! The operations that suites send again and again.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::graphql::{self, Answer};
use crate::{Engine, World};

/// What is asked of an Action.
const FIELDS: &str = "name run cancel actionRef { path revision } input { parameters } renderedAction status { phase message runner { status } }";

/// Where suites put Actions that only help them, out of sight of all others.
const APART: &str = "kube-system";
/// Numbers those Actions.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Engine {
    /// Lets the gateway catch up with what the cluster has told this suite.
    ///
    /// A read sees the gateway's own writes, and all that happened before them; so it is asked for one.
    pub async fn catch_up(&self) {
        let name = format!("caught-up-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
        let input = json!({
            "name": name, "actionRef": {"path": "cap.interface.data.backup"},
            "input": {"parameters": {"action": "backup", "name": "never"}},
        });
        self.graphql_in(APART, query, json!({"in": input})).await.data();
    }

    /// Posts one operation of a document that has several.
    pub async fn operation(&self, document: &str, operation: &str) -> Answer {
        self.catch_up().await;
        self.post(json!({"query": document, "operationName": operation})).await
    }

    /// Posts a whole GraphQL request in the namespace `default`.
    pub async fn post(&self, body: Value) -> Answer {
        graphql::post_body(&format!("{}/graphql", self.url), "default", &body).await.unwrap()
    }

    /// Reads an Action; null when there is none.
    pub async fn action(&self, name: &str) -> Value {
        self.catch_up().await;
        let query = format!("query($name: String!) {{ action(name: $name) {{ {FIELDS} }} }}");
        self.graphql(&query, json!({"name": name})).await.data()["action"].clone()
    }

    /// Lists the names of the Actions that a filter lets through.
    pub async fn names(&self, filter: Value) -> Vec<String> {
        self.catch_up().await;
        let query = "query($filter: ActionFilter) { actions(filter: $filter) { name } }";
        let found = self.graphql(query, json!({"filter": filter})).await.data();
        let names = found["actions"].as_array().unwrap().iter();
        names.map(|action| action["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a mutation that takes a name: `runAction`, `cancelAction`, `deleteAction`.
    pub async fn on(&self, mutation: &str, name: &str) -> Answer {
        self.catch_up().await;
        let query = format!("mutation($name: String!) {{ {mutation}(name: $name) {{ {FIELDS} }} }}");
        self.graphql(&query, json!({"name": name})).await
    }

    /// Makes a good Backup, and deletes the Action that made it.
    pub async fn backed_up(&self, world: &World, backup: &str, parameters: Value) {
        let mut given = json!({"action": "backup", "name": backup});
        given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let name = format!("make-{backup}");
        self.create(&name, None, given).await.data();
        world.succeeded(&name).await;
        self.on("deleteAction", &name).await.data();
    }

    /// Makes a good Backup of the small application.
    pub async fn backed_up_application(&self, world: &World) {
        self.backed_up(world, "mongo", json!({"selector": "helm.sh/chart=mongodb-10.3.1"})).await;
    }
}

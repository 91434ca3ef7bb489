//! People who ask: ServiceAccounts with tokens, and what they were granted.

use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::graphql::{self, Answer};
use crate::{Engine, World};

/// Where their ServiceAccounts are.
const PEOPLE: &str = "people";
/// Label of what grants them something.
pub(crate) const LABEL: &str = "core.ochre.dev/test-grant";
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Somebody with a token.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name as Kubernetes knows it.
    pub username: String,
    pub(crate) token: String,
}

impl World {
    /// Makes somebody who may do nothing.
    pub async fn person(&self, name: &str) -> Person {
        let namespaces = self.api("v1", "Namespace", None);
        if namespaces.get_opt(PEOPLE).await.unwrap().is_none() {
            self.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PEOPLE}})).await;
        }
        self.create(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": PEOPLE},
        }))
        .await;
        let token = self.token(PEOPLE, name).await;
        Person { username: format!("system:serviceaccount:{PEOPLE}:{name}"), token }
    }

    /// Lets somebody use verbs on resources of ochre's group: in a namespace, or everywhere.
    pub async fn grant(&self, person: &Person, namespace: Option<&str>, resource: &str, verbs: &[&str]) {
        let rule = json!({"apiGroups": ["core.ochre.dev"], "resources": [resource], "verbs": verbs});
        self.grant_rule(person, namespace, rule).await;
    }

    /// Gives somebody a rule: in a namespace, or everywhere.
    pub async fn grant_rule(&self, person: &Person, namespace: Option<&str>, rule: Value) {
        let account = person.username.rsplit_once(':').unwrap().1;
        let (kind, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let metadata = |name: Option<&str>| json!({"generateName": "test-", "name": name, "namespace": namespace, "labels": {(LABEL): ""}});
        let made = self
            .create(json!({"apiVersion": RBAC, "kind": kind, "metadata": metadata(None), "rules": [rule]}))
            .await;
        let name = made.metadata.name.unwrap();
        self.create(json!({
            "apiVersion": RBAC, "kind": binding, "metadata": metadata(Some(&name)),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": PEOPLE}],
        }))
        .await;
    }

    /// Takes away what was granted to anybody.
    pub async fn revoke_all(&self) {
        for kind in ["ClusterRoleBinding", "ClusterRole", "RoleBinding", "Role"] {
            let ours = ListParams::default().labels(LABEL);
            let all = self.api(RBAC, kind, None);
            for object in all.list_metadata(&ours).await.unwrap() {
                let api = self.api(RBAC, kind, object.metadata.namespace.as_deref());
                api.delete(&object.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
            }
        }
    }
}

impl Engine {
    /// Posts an operation as somebody, in the namespace `default`.
    pub async fn graphql_by(&self, person: Option<&Person>, query: &str, variables: Value) -> Answer {
        let body = json!({"query": query, "variables": variables});
        let token = person.map(|person| person.token.as_str());
        graphql::post_by(token, &format!("{}/graphql", self.url), "default", &body).await.unwrap()
    }

    /// Posts an operation as somebody, in a namespace.
    pub async fn graphql_by_in(&self, person: &Person, namespace: &str, query: &str) -> Answer {
        let url = format!("{}/graphql", self.url);
        graphql::post_by(Some(&person.token), &url, namespace, &json!({"query": query})).await.unwrap()
    }

    /// Creates an Action of the shipped catalog as somebody, to be run at once.
    pub async fn run_by(&self, person: &Person, name: &str, parameters: Value) -> Answer {
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
        let input = json!({
            "name": name, "run": true, "actionRef": {"path": "cap.interface.data.backup"},
            "input": {"parameters": parameters},
        });
        self.graphql_by(Some(person), query, json!({"in": input})).await
    }
}

impl Person {
    /// Words the token as a header does.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Somebody whose token nobody gave out.
    pub fn unknown() -> Self {
        Self { username: String::new(), token: "made-up".to_owned() }
    }
}

//! People who ask: ServiceAccounts with tokens, and what they were granted.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::graphql::{self, Answer};
use crate::{Engine, World};

/// How the namespaces of their ServiceAccounts begin: each person has one, since those of one namespace share limits.
const PEOPLE: &str = "people";
/// Label of what grants them something.
pub(crate) const LABEL: &str = "core.ochre.dev/test-grant";
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Somebody, and what shows who it is.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name as Kubernetes knows it.
    pub username: String,
    /// The `Authorization` header.
    pub authorization: String,
}

impl Person {
    /// Names them as a binding does.
    fn subject(&self) -> Value {
        let (place, name) = self.username.rsplit_once(':').unwrap();
        let namespace = place.rsplit_once(':').unwrap().1;
        json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    }
}

impl World {
    /// Makes a person who may do nothing, in a namespace of their own.
    pub async fn person(&self, name: &str) -> Person {
        self.person_in(&format!("{PEOPLE}-{name}"), name).await
    }

    /// Makes a person who may do nothing, as a ServiceAccount of a namespace.
    pub async fn person_in(&self, namespace: &str, name: &str) -> Person {
        let namespaces = self.api("v1", "Namespace", None);
        if namespaces.get_opt(namespace).await.unwrap().is_none() {
            self.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
                .await;
        }
        self.create(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace},
        }))
        .await;
        let token = self.token(namespace, name).await;
        Person::with_token(&format!("system:serviceaccount:{namespace}:{name}"), &token)
    }

    /// Lets somebody use verbs on resources of ochre's group: in a namespace, or everywhere.
    pub async fn grant(&self, person: &Person, namespace: Option<&str>, resource: &str, verbs: &[&str]) {
        let rule = json!({"apiGroups": ["core.ochre.dev"], "resources": [resource], "verbs": verbs});
        self.grant_rule(person, namespace, rule).await;
    }

    /// Gives somebody a rule: in a namespace, or everywhere.
    pub async fn grant_rule(&self, person: &Person, namespace: Option<&str>, rule: Value) {
        let subject = person.subject();
        self.bind(&subject, namespace, &[rule]).await;
    }

    /// Gives somebody Kubernetes' role `edit` with what ochre adds to it: in a namespace, or everywhere.
    pub async fn grant_edit(&self, person: &Person, namespace: Option<&str>) {
        let subject = person.subject();
        let rules = [edit(), shipped("ochre-viewer"), shipped("ochre-editor")].concat();
        self.bind(&subject, namespace, &rules).await;
    }

    /// Lets a group use verbs on resources of ochre's group in a namespace.
    pub async fn grant_group(&self, group: &str, namespace: &str, resource: &str, verbs: &[&str]) {
        let rule = json!({"apiGroups": ["core.ochre.dev"], "resources": [resource], "verbs": verbs});
        let subject = json!({"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"});
        self.bind(&subject, Some(namespace), &[rule]).await;
    }

    pub(crate) async fn bind(&self, subject: &Value, namespace: Option<&str>, rules: &[Value]) {
        let (kind, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let metadata = |name: Option<&str>| json!({"generateName": "test-", "name": name, "namespace": namespace, "labels": {(LABEL): ""}});
        let made = self
            .create(json!({"apiVersion": RBAC, "kind": kind, "metadata": metadata(None), "rules": rules}))
            .await;
        let name = made.metadata.name.unwrap();
        self.create(json!({
            "apiVersion": RBAC, "kind": binding, "metadata": metadata(Some(&name)),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [subject],
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

/// Lists the rules of a role that people may be given (manifests/base/roles.yaml).
pub fn shipped(role: &str) -> Vec<Value> {
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base/roles.yaml");
    let roles: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(roles).unwrap()).unwrap();
    let found = roles.into_iter().find(|found| found["metadata"]["name"] == role).unwrap();
    found["rules"].as_array().unwrap().clone()
}

/// Lists the rules of Kubernetes' role `edit`, with those of `view` that it has in it: no roles, no quotas, and what
/// controllers make of Services and StatefulSets only to look at.
pub fn edit() -> Vec<Value> {
    const LOOK: [&str; 3] = ["get", "list", "watch"];
    const WRITE: [&str; 8] =
        ["get", "list", "watch", "create", "delete", "deletecollection", "patch", "update"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    vec![
        rule(
            "",
            &[
                "configmaps",
                "events",
                "persistentvolumeclaims",
                "pods",
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "secrets",
                "serviceaccounts",
                "services",
                "services/proxy",
            ],
            &WRITE,
        ),
        rule("", &["pods/eviction", "serviceaccounts/token"], &["create"]),
        rule("", &["serviceaccounts"], &["impersonate"]),
        rule(
            "",
            &[
                "bindings",
                "endpoints",
                "limitranges",
                "namespaces",
                "namespaces/status",
                "persistentvolumeclaims/status",
                "pods/log",
                "pods/status",
                "resourcequotas",
                "resourcequotas/status",
                "services/status",
            ],
            &LOOK,
        ),
        rule(
            "apps",
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
            &WRITE,
        ),
        rule("apps", &["controllerrevisions"], &LOOK),
        rule("autoscaling", &["horizontalpodautoscalers"], &WRITE),
        rule("batch", &["cronjobs", "jobs"], &WRITE),
        rule("coordination.k8s.io", &["leases"], &WRITE),
        rule("discovery.k8s.io", &["endpointslices"], &LOOK),
        rule("networking.k8s.io", &["ingresses", "networkpolicies"], &WRITE),
        rule("policy", &["poddisruptionbudgets"], &WRITE),
    ]
}

impl Engine {
    /// Posts an operation as somebody, in the namespace `default`.
    pub async fn graphql_by(&self, person: Option<&Person>, query: &str, variables: Value) -> Answer {
        let body = json!({"query": query, "variables": variables});
        let authorization = person.map(|person| person.authorization.as_str());
        graphql::post_by(authorization, &format!("{}/graphql", self.url), "default", &body).await.unwrap()
    }

    /// Posts an operation as somebody, in a namespace.
    pub async fn graphql_by_in(&self, person: &Person, namespace: &str, query: &str) -> Answer {
        let url = format!("{}/graphql", self.url);
        graphql::post_by(Some(&person.authorization), &url, namespace, &json!({"query": query}))
            .await
            .unwrap()
    }

    /// Creates an Action of the shipped catalog as somebody, to be run at once.
    pub async fn run_by(&self, person: &Person, name: &str, parameters: Value) -> Answer {
        self.run_by_in(person, "default", name, parameters).await
    }

    /// Does so in a namespace.
    pub async fn run_by_in(&self, person: &Person, namespace: &str, name: &str, parameters: Value) -> Answer {
        let url = format!("{}/graphql", self.url);
        graphql::post_by(Some(&person.authorization), &url, namespace, &creation(name, &parameters))
            .await
            .unwrap()
    }

    /// Does so with an `Idempotency-Key`.
    pub async fn run_with_key(&self, person: &Person, key: &str, name: &str, parameters: Value) -> Answer {
        let request = reqwest::Client::new()
            .post(format!("{}/graphql", self.url))
            .header("authorization", &person.authorization)
            .header("idempotency-key", key)
            .json(&creation(name, &parameters));
        let answer = request.send().await.unwrap();
        Answer { status: answer.status().as_u16(), body: answer.json().await.unwrap() }
    }
}

/// Words the creation of an Action of the shipped catalog that runs at once.
fn creation(name: &str, parameters: &Value) -> Value {
    let input = json!({
        "name": name, "run": true, "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": parameters},
    });
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    json!({"query": query, "variables": {"in": input}})
}

impl Person {
    /// Somebody with a bearer token.
    pub fn with_token(username: &str, token: &str) -> Self {
        Self { username: username.to_owned(), authorization: format!("Bearer {token}") }
    }

    /// Somebody with a password.
    pub fn with_password(username: &str, password: &str) -> Self {
        let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
        Self { username: username.to_owned(), authorization: format!("Basic {pair}") }
    }

    /// Somebody whose token nobody gave out.
    pub fn unknown() -> Self {
        Self::with_token("", "made-up")
    }
}

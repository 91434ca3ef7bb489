//! Who asks: whoever a token belongs to, whoever they act as, and without either the administrator.

use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::failure::Failure;
use super::object;
use super::store::{Key, Store};

/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";
/// The group that may do everything, as in the real server.
const MASTERS: &str = "system:masters";

/// A name and groups, as Kubernetes' authentication knows somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    /// Names who works on the cluster with its own kubeconfig, which holds no secret: it is on loopback only.
    pub(crate) fn administrator() -> Self {
        Self { name: "admin".to_owned(), groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()] }
    }

    /// Reads from a request who it is from. Whether one may act as another is not asked.
    pub(super) fn of(store: &Store, headers: &HeaderMap) -> Result<Self, Failure> {
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        if let Some(name) = headers.get("impersonate-user").map(text) {
            let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
            let account = name.strip_prefix("system:serviceaccount:").and_then(|name| name.split_once(':'));
            return Ok(match account {
                Some((namespace, name)) if groups.is_empty() => Self::account(namespace, name),
                _ => Self { name, groups: [groups, vec![AUTHENTICATED.to_owned()]].concat() },
            });
        }
        let Some(authorization) = headers.get(header::AUTHORIZATION).map(text) else {
            return Ok(Self::administrator());
        };
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        Self::of_token(store, token).map(|(user, _)| user).ok_or(Failure::Unauthorized)
    }

    /// Finds whose a token is, and the uid of the ServiceAccount; a token ends with its ServiceAccount.
    pub(super) fn of_token(store: &Store, token: &str) -> Option<(Self, String)> {
        let uid = store.tokens.get(token)?;
        let Key { namespace, name, .. } = store.holder(uid)?;
        Some((Self::account(&namespace, &name), uid.clone()))
    }

    fn account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                AUTHENTICATED.to_owned(),
            ],
        }
    }

    /// Tells whether RBAC lets somebody do something, in the words of a SubjectAccessReview.
    pub(super) fn may(&self, store: &Store, attributes: &Value) -> bool {
        let namespace = attributes["namespace"].as_str().unwrap_or_default();
        let mut bindings = store.list("clusterrolebindings.rbac.authorization.k8s.io", None);
        if !namespace.is_empty() {
            bindings.extend(store.list("rolebindings.rbac.authorization.k8s.io", Some(namespace)));
        }
        self.is_in(MASTERS)
            || bindings.iter().filter(|binding| self.is_bound(binding)).any(|binding| {
                let roles = match binding["roleRef"]["kind"].as_str() {
                    Some("ClusterRole") => store.list("clusterroles.rbac.authorization.k8s.io", None),
                    _ => store.list("roles.rbac.authorization.k8s.io", Some(object::namespace(binding))),
                };
                let named =
                    roles.iter().filter(|role| role["metadata"]["name"] == binding["roleRef"]["name"]);
                let mut all = named.flat_map(|role| role["rules"].as_array().into_iter().flatten());
                all.any(|rule| grants(rule, attributes))
            })
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|each| each == group)
    }

    /// Tells whether a binding is about this one.
    fn is_bound(&self, binding: &Value) -> bool {
        binding["subjects"].as_array().into_iter().flatten().any(|subject| {
            let name = subject["name"].as_str().unwrap_or_default();
            match subject["kind"].as_str() {
                Some("User") => name == self.name,
                Some("Group") => self.is_in(name),
                Some("ServiceAccount") => {
                    let namespace = subject["namespace"].as_str().unwrap_or_default();
                    self.name == format!("system:serviceaccount:{namespace}:{name}")
                }
                _ => false,
            }
        })
    }

    /// Shows who it is, as the API does.
    pub(super) fn shown(&self) -> Value {
        json!({"username": self.name, "groups": self.groups})
    }
}

/// Tells whether a rule grants what is asked for.
fn grants(rule: &Value, asked: &Value) -> bool {
    let text = |field: &str| asked[field].as_str().unwrap_or_default();
    let lists = |field: &str, wanted: &str| {
        rule[field].as_array().into_iter().flatten().any(|entry| entry == wanted || entry == "*")
    };
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        part => format!("{}/{part}", text("resource")),
    };
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    lists("verbs", text("verb"))
        && lists("apiGroups", text("group"))
        && lists("resources", &resource)
        && names.is_none_or(|names| names.iter().any(|name| name == text("name")))
}

//! Who people are and what they may: tokens of ServiceAccounts, and RBAC's answers.
//!
//! The sandbox's own API lets everybody do everything; it only answers those who ask.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::kind;
use super::object;
use super::route::Target;
use super::store::{Key, Store};

/// A group that may do everything, as in the real server.
const MASTERS: &str = "system:masters";
/// How long a token says that it lives; nothing here ends it.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// What is asked for by creating an object that is never kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Review {
    /// A token for a ServiceAccount.
    NewToken,
    /// Whose token it is.
    Owner,
    /// Whether somebody may do something.
    Access,
}

impl Review {
    /// Tells what a request asks for, if it is any of it.
    pub(super) fn of(method: &Method, target: &Target) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        match (target.group.as_str(), target.plural.as_str(), target.subresource.as_deref()) {
            ("", "serviceaccounts", Some("token")) => Some(Self::NewToken),
            ("authentication.k8s.io", "tokenreviews", None) => Some(Self::Owner),
            ("authorization.k8s.io", "subjectaccessreviews", None) => Some(Self::Access),
            _ => None,
        }
    }

    /// Answers with the object and its status.
    pub(super) fn answer(
        self,
        store: &mut Store,
        target: &Target,
        mut object: Value,
    ) -> Result<Value, Failure> {
        object["status"] = match self {
            Self::NewToken => new_token(store, target)?,
            Self::Owner => owner(store, &object["spec"]),
            Self::Access => json!({"allowed": is_allowed(store, &object["spec"])}),
        };
        Ok(object)
    }
}

/// Makes a token for a ServiceAccount.
fn new_token(store: &mut Store, target: &Target) -> Result<Value, Failure> {
    let namespace = target.namespace.clone().unwrap_or_default();
    let name = target.name.clone().unwrap_or_default();
    let Some(account) = store.get(&Key::new("serviceaccounts", &namespace, &name)) else {
        let kind = store.kind(&kind::resource("serviceaccounts", ""));
        return Err(kind.map_or(Failure::NoRoute, |kind| Failure::not_found(&kind, &name)));
    };
    let token = format!("sandbox-{}", Uuid::new_v4().simple());
    store.tokens.insert(token.clone(), object::uid(&account).to_owned());
    Ok(json!({"token": token, "expirationTimestamp": object::timestamp(store.now + TOKEN_LIFE)}))
}

/// Says whose token it is; a token ends with its ServiceAccount.
fn owner(store: &Store, spec: &Value) -> Value {
    let uid = spec["token"].as_str().and_then(|token| store.tokens.get(token));
    let account = uid.and_then(|uid| store.holder(uid)).zip(uid);
    match account {
        Some((Key { namespace, name, .. }, uid)) => {
            json!({"authenticated": true, "user": {
                "username": format!("system:serviceaccount:{namespace}:{name}"),
                "uid": uid,
                "groups": [
                    "system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated",
                ],
            }})
        }
        None => json!({"user": {}, "error": "invalid bearer token"}),
    }
}

/// Follows the bindings of somebody to their rules.
fn is_allowed(store: &Store, spec: &Value) -> bool {
    let namespace = spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
    let is_master = spec["groups"].as_array().into_iter().flatten().any(|group| group == MASTERS);
    let mut bindings = store.list("clusterrolebindings.rbac.authorization.k8s.io", None);
    if !namespace.is_empty() {
        bindings.extend(store.list("rolebindings.rbac.authorization.k8s.io", Some(namespace)));
    }
    is_master
        || bindings.iter().filter(|binding| binds(binding, spec)).any(|binding| {
            let roles = match binding["roleRef"]["kind"].as_str() {
                Some("ClusterRole") => store.list("clusterroles.rbac.authorization.k8s.io", None),
                _ => store.list("roles.rbac.authorization.k8s.io", Some(object::namespace(binding))),
            };
            let named = roles.iter().filter(|role| role["metadata"]["name"] == binding["roleRef"]["name"]);
            let mut all = named.flat_map(|role| role["rules"].as_array().into_iter().flatten());
            all.any(|rule| grants(rule, &spec["resourceAttributes"]))
        })
}

/// Tells whether a binding is about the one who is asked for.
fn binds(binding: &Value, spec: &Value) -> bool {
    let groups = spec["groups"].as_array();
    binding["subjects"].as_array().into_iter().flatten().any(|subject| match subject["kind"].as_str() {
        Some("User") => subject["name"] == spec["user"],
        Some("Group") => groups.is_some_and(|groups| groups.contains(&subject["name"])),
        Some("ServiceAccount") => {
            let (namespace, name) = (&subject["namespace"], &subject["name"]);
            let account = |namespace: &str, name: &str| format!("system:serviceaccount:{namespace}:{name}");
            let whole =
                namespace.as_str().zip(name.as_str()).map(|(namespace, name)| account(namespace, name));
            whole.is_some_and(|whole| spec["user"] == whole)
        }
        _ => false,
    })
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

//! Who people are and what they may: tokens of ServiceAccounts, and RBAC's answers.
//!
//! The sandbox's own API lets everybody do everything but what a policy refuses; it only answers those who ask.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::kind;
use super::object;
use super::route::Target;
use super::store::{Key, Store};
use super::user::User;

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
            Self::Access => access(store, &object["spec"]),
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

/// Says whose token it is.
fn owner(store: &Store, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    User::of_token(store, token).map_or_else(
        || json!({"user": {}, "error": "invalid bearer token"}),
        |(user, uid)| {
            let mut shown = user.shown();
            shown["uid"] = json!(uid);
            json!({"authenticated": true, "user": shown})
        },
    )
}

/// Says whether somebody may do something.
fn access(store: &Store, spec: &Value) -> Value {
    let groups = spec["groups"].as_array().into_iter().flatten();
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    json!({"allowed": user.may(store, &spec["resourceAttributes"])})
}

//! Faults on demand: what one caller's requests meet, while everybody else's are answered as ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::Method;
use serde_json::json;

use super::failure::Failure;
use super::route::{Query, Route};

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller may not do this: 403.
    Forbidden,
    /// Somebody else was faster: 409.
    Conflict,
    /// There are too many requests: 429, and after how many seconds to come again.
    TooManyRequests {
        /// The seconds.
        retry_after: u32,
    },
    /// The server failed, and did nothing: 500.
    InternalError,
    /// The object has more bytes than etcd takes: 500.
    TooLarge,
    /// The server did what was asked, and its answer was lost: 504.
    LostAnswer,
    /// The answer takes so long.
    Slow(Duration),
    /// A watch ends after its first event.
    DroppedWatch,
    /// A watch is told that its version is too old: 410.
    ExpiredWatch,
}

/// What a request asks for, in the words of Kubernetes' authorisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// As whom it is asked, if the caller acts as somebody else.
    pub user: Option<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection` or `impersonate`.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, with its subresource behind a slash.
    pub resource: String,
    /// The namespace; empty for all of them, and for what has none.
    pub namespace: String,
    /// The name, where one object is asked for; of what is no resource, its path.
    pub name: String,
}

impl Asked {
    /// Names what is asked for without its subresource.
    fn plural(&self) -> &str {
        self.resource.split_once('/').map_or(&self.resource, |(plural, _)| plural)
    }
}

/// Decides what a request meets; nothing lets it through.
type Plan = Arc<Mutex<dyn FnMut(&Asked) -> Option<Fault> + Send>>;

/// Puts faults in the way of those who call the API through the router that this returns.
pub(crate) fn faulty(router: Router, plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) -> Router {
    let plan: Plan = Arc::new(Mutex::new(plan));
    router.layer(from_fn_with_state(plan, meet))
}

async fn meet(State(plan): State<Plan>, request: Request, next: Next) -> Response {
    let Some(asked) = asked(&request) else { return next.run(request).await };
    let (asked, fault) = put(asked, &plan);
    let failure = match fault {
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            return next.run(request).await;
        }
        Some(Fault::LostAnswer) => {
            next.run(request).await;
            Failure::LostAnswer
        }
        Some(Fault::DroppedWatch) if asked.verb == "watch" => {
            let (parts, body) = next.run(request).await.into_parts();
            return Response::from_parts(parts, Body::from_stream(body.into_data_stream().take(1)));
        }
        Some(Fault::ExpiredWatch) if asked.verb == "watch" => {
            let expired = Failure::Expired { asked: 1, oldest: 2 };
            let line = json!({"type": "ERROR", "object": expired.status()}).to_string() + "\n";
            return Body::from(Bytes::from(line)).into_response();
        }
        // What is no watch cannot end like one.
        None | Some(Fault::DroppedWatch | Fault::ExpiredWatch) => return next.run(request).await,
        Some(Fault::Forbidden) => {
            let Asked { user, verb, group, resource, namespace, .. } = asked;
            Failure::Forbidden { user, verb, resource, group, namespace }
        }
        Some(Fault::Conflict) => Failure::Conflict {
            resource: super::kind::resource(asked.plural(), &asked.group),
            name: asked.name,
            reason:
                "the object has been modified; please apply your changes to the latest version and try again"
                    .to_owned(),
        },
        Some(Fault::TooManyRequests { retry_after }) => Failure::TooManyRequests { retry_after },
        Some(Fault::InternalError) => Failure::Internal,
        Some(Fault::TooLarge) => Failure::Unclassified("etcdserver: request is too large".to_owned()),
    };
    failure.into_response()
}

/// Asks the plan; whoever acts as somebody else is asked about twice: to do so, and then for the thing itself.
fn put(asked: Asked, plan: &Plan) -> (Asked, Option<Fault>) {
    let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = asked.user.as_deref().and_then(impersonation)
        && let Some(fault) = plan(&first)
    {
        return (first, Some(fault));
    }
    let fault = plan(&asked);
    (asked, fault)
}

/// Says what it takes to act as a ServiceAccount.
fn impersonation(user: &str) -> Option<Asked> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some(Asked {
        verb: "impersonate",
        resource: "serviceaccounts".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Asked::default()
    })
}

/// Reads what a request asks for; nothing for discovery.
fn asked(request: &Request) -> Option<Asked> {
    let path = request.uri().path();
    let target = match Route::parse(path) {
        Ok(Route::Resource(target)) => target,
        Ok(Route::Health) => {
            return Some(Asked { verb: "get", name: path.to_owned(), ..Asked::default() });
        }
        _ => return None,
    };
    let query = axum::extract::Query::<Query>::try_from_uri(request.uri()).ok()?.0;
    let named = query.field_selector.strip_prefix("metadata.name=");
    let verb = match (request.method(), target.name.is_some()) {
        (&Method::GET, _) if Query::flag(query.watch.as_ref()) => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return None,
    };
    let user = request.headers().get("impersonate-user").and_then(|user| user.to_str().ok());
    Some(Asked {
        user: user.map(str::to_owned),
        verb,
        group: target.group.clone(),
        resource: match &target.subresource {
            Some(subresource) => format!("{}/{subresource}", target.plural),
            None => target.plural.clone(),
        },
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.as_deref().or(named).unwrap_or_default().to_owned(),
    })
}

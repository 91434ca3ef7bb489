//! An in-memory Kubernetes API as one axum router.
//!
//! It serves the built-in kinds that Velero and workflows need and every kind that a
//! CustomResourceDefinition adds. One lock guards the store: each request is one atomic step, and
//! the built-in controllers act within it. `limit` is answered with everything, and everybody may do
//! everything but what the policies of an Action refuse; those who ask for somebody's rights are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use failure::Failure;
use route::{Query, Target, View};
use store::Store;
use user::User;
use write::Place;

use crate::Clock;

mod admission;
mod answer;
mod builtin;
mod definition;
mod delete;
mod discovery;
mod failure;
mod fault;
mod fields;
mod identity;
mod kind;
mod kubelet;
mod object;
mod patch;
mod protobuf;
mod reactions;
mod review;
mod route;
mod rules;
mod schema;
mod selector;
mod store;
mod table;
mod user;
mod watch;
mod workloads;
mod write;

pub use answer::parse_deep;
pub(crate) use fault::faulty;
pub use fault::{Asked, Fault};

#[cfg(test)]
mod tests;

/// Serves a cluster's state; clones share it.
#[derive(Clone)]
pub struct Api {
    store: Arc<Mutex<Store>>,
    changed: Sender<u64>,
    clock: Clock,
    closing: CancellationToken,
}

impl Api {
    /// Makes an empty cluster with the namespaces `default` and `kube-system`; its log keeps `log_capacity` events.
    pub fn new(log_capacity: usize, clock: Clock) -> Self {
        let api = Self {
            store: Arc::new(Mutex::new(Store::new(log_capacity, clock()))),
            changed: Sender::new(0),
            clock,
            closing: CancellationToken::new(),
        };
        for name in ["default", "kube-system"] {
            let target =
                Target { version: "v1".to_owned(), plural: "namespaces".to_owned(), ..Target::default() };
            let created = api
                .place(&target, &Query::default(), User::administrator(), "")
                .and_then(|place| api.store().create(&place, json!({"metadata": {"name": name}})));
            debug_assert!(created.is_ok(), "the store is empty, so the namespace is new");
        }
        api
    }

    /// Returns the API as a router.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer::answer).with_state(self.clone())
    }

    /// Returns a client that calls the API in this process. It must be used in the runtime that made it.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router(), "default")
    }

    /// Returns such a client that shows a token with every request.
    pub fn client_with(&self, token: &str) -> kube::Client {
        self.client_sending(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Returns such a client that acts as a user.
    pub fn client_as(&self, user: &str) -> kube::Client {
        self.client_sending(HeaderName::from_static("impersonate-user"), user)
    }

    fn client_sending(&self, name: HeaderName, value: &str) -> kube::Client {
        let value = HeaderValue::try_from(value).ok();
        let router = self.router().layer(map_request(move |mut request: Request| {
            if let Some(value) = &value {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            std::future::ready(request)
        }));
        kube::Client::new(router, "default")
    }

    /// Ends every watch, now and from now on.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic in a handler leaves the store between two writes, which is consistent enough to go on.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> Receiver<u64> {
        self.changed.subscribe()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    async fn closing(&self) {
        self.closing.cancelled().await;
    }

    fn place(&self, target: &Target, query: &Query, user: User, program: &str) -> Result<Place, Failure> {
        let resource = kind::resource(&target.plural, &target.group);
        let absent = || self.store().absent(&target.group);
        // The lock is let go before `absent` takes it.
        let kind = self.store().kind(&resource);
        let kind = kind.ok_or_else(absent)?;
        let version = kind.version(&target.version).ok_or_else(absent)?.clone();
        let status = match target.subresource.as_deref() {
            None => false,
            Some("status") if version.status => true,
            Some("status") if kind.custom => {
                return Err(Failure::not_found(&kind, target.name.as_deref().unwrap_or_default()));
            }
            Some(_) => return Err(absent()),
        };
        let misplaced = kind.namespaced && target.namespace.is_none() && target.name.is_some();
        if misplaced || (target.namespace.is_some() && !kind.namespaced) {
            return Err(absent());
        }
        Ok(Place {
            kind,
            version,
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone().unwrap_or_default(),
            status,
            dry_run: query.dry_run.as_deref() == Some("All"),
            strict: query.field_validation.as_deref() == Some("Strict"),
            user,
            // One who does not say who it is goes by its program.
            manager: query.field_manager.clone().unwrap_or_else(|| program.to_owned()),
            force: Query::flag(query.force.as_ref()),
        })
    }

    /// Runs one write under the lock and wakes the watches.
    fn write<T>(&self, write: impl FnOnce(&mut Store) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut store = self.store();
        store.now = self.now();
        let result = write(&mut store);
        self.changed.send_replace(store.version());
        result
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Shows an object in the form that was asked for.
fn present(place: &Place, object: &Value, view: View, now: Timestamp) -> Value {
    let object = in_version(place, object);
    match view {
        View::Object => object,
        View::Metadata => table::metadata_only(&object),
        View::Table(rows) => {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            table::render(&place.version, &[object], rows, &version, now)
        }
    }
}

/// Shows an object in the version of the path; the versions of a kind differ in nothing else.
fn in_version(place: &Place, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(place.kind.api_version(&place.version.name));
    object
}

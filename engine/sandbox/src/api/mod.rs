//! An in-memory Kubernetes API as one axum router.
//!
//! It serves the built-in kinds that Velero and workflows need and every kind that a
//! CustomResourceDefinition adds. One lock guards the store: each request is one atomic step, and
//! the built-in controllers act within it. Server-side apply is a merge without field owners,
//! `limit` is answered with everything, and who asks is not looked at.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use failure::Failure;
use patch::PatchKind;
use route::{Query, Route, Target, View};
use store::Store;
use write::{DeleteOptions, Place};

use crate::Clock;

mod builtin;
mod definition;
mod discovery;
mod failure;
mod kind;
mod object;
mod patch;
mod reactions;
mod route;
mod schema;
mod selector;
mod store;
mod table;
mod watch;
mod write;

#[cfg(test)]
mod tests;

/// The most bytes that a request's body may have, as in the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

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
            let target = Target {
                version: "v1".to_owned(),
                plural: "namespaces".to_owned(),
                ..Target::default()
            };
            let created = api.place(&target, false).and_then(|place| {
                api.store()
                    .create(&place, json!({"metadata": {"name": name}}))
            });
            debug_assert!(
                created.is_ok(),
                "the store is empty, so the namespace is new"
            );
        }
        api
    }

    /// Returns the API as a router.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Returns a client that calls the API in this process. It must be used in the runtime that made it.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router(), "default")
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

    fn place(&self, target: &Target, dry_run: bool) -> Result<Place, Failure> {
        let resource = kind::resource(&target.plural, &target.group);
        let kind = self.store().kind(&resource).ok_or(Failure::NoRoute)?;
        let version = kind
            .version(&target.version)
            .ok_or(Failure::NoRoute)?
            .clone();
        let status = match target.subresource.as_deref() {
            None => false,
            Some("status") if version.status => true,
            Some(_) => return Err(Failure::NoRoute),
        };
        if target.namespace.is_some() && !kind.namespaced {
            return Err(Failure::NoRoute);
        }
        Ok(Place {
            kind,
            version,
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone().unwrap_or_default(),
            status,
            dry_run,
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

    fn resource(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        query: &Query,
        body: &Bytes,
    ) -> Result<Response, Failure> {
        let place = self.place(target, query.dry_run.as_deref() == Some("All"))?;
        let view = View::parse(headers, query);
        let named = target.name.is_some();
        if place.kind.namespaced && target.namespace.is_none() && (named || method != Method::GET) {
            return Err(Failure::MethodNotAllowed);
        }
        check_fields(&place, query)?;
        let shown = |code: StatusCode, object: &Value| {
            (code, axum::Json(present(&place, object, view, self.now()))).into_response()
        };
        match (method.as_str(), named) {
            ("GET", true) if Query::flag(query.watch.as_ref()) => {
                self.watch_one(&place, target, query, view)
            }
            ("GET", true) => Ok(shown(StatusCode::OK, &*self.store().find(&place)?)),
            ("GET", false) if Query::flag(query.watch.as_ref()) => {
                watch::watch(self, place, target.namespace.clone(), query, view)
                    .map(stream_response)
            }
            ("GET", false) => self
                .list(&place, target, query, view)
                .map(|list| axum::Json(list).into_response()),
            ("POST", false) => {
                let object = parse_body(headers, body)?;
                let created = self.write(|store| store.create(&place, object))?;
                Ok(shown(StatusCode::CREATED, &created))
            }
            ("PUT", true) => {
                let object = parse_body(headers, body)?;
                let updated = self.write(|store| store.update(&place, object))?;
                Ok(shown(StatusCode::OK, &updated))
            }
            ("PATCH", true) => {
                let kind = PatchKind::parse(header_text(headers, &header::CONTENT_TYPE))?;
                let patch = kind.body(body)?;
                let patched = self.write(|store| store.patch(&place, kind, &patch))?;
                Ok(shown(StatusCode::OK, &patched))
            }
            ("DELETE", true) => {
                let options = delete_options(query, headers, body)?;
                let last = self.write(|store| store.delete(&place, &options))?;
                Ok(axum::Json(self.deletion(&place, &last)).into_response())
            }
            ("DELETE", false) => self.delete_collection(&place, target, headers, query, body),
            _ => Err(Failure::MethodNotAllowed),
        }
    }

    /// Follows one object: the form of watch that old clients use.
    fn watch_one(
        &self,
        place: &Place,
        target: &Target,
        query: &Query,
        view: View,
    ) -> Result<Response, Failure> {
        let query = Query {
            field_selector: format!("metadata.name={}", place.name),
            ..query.clone()
        };
        watch::watch(self, place.clone(), target.namespace.clone(), &query, view)
            .map(stream_response)
    }

    fn list(
        &self,
        place: &Place,
        target: &Target,
        query: &Query,
        view: View,
    ) -> Result<Value, Failure> {
        let selector = query.selector()?;
        let (objects, version) = {
            let store = self.store();
            (
                store.list(&place.kind.resource(), target.namespace.as_deref()),
                store.version().to_string(),
            )
        };
        let objects = objects.iter().filter(|object| selector.matches(object));
        let objects: Vec<Value> = objects.map(|object| in_version(place, object)).collect();
        let (kind, api_version) = match view {
            View::Table(rows) => {
                return Ok(table::render(
                    &place.version,
                    &objects,
                    rows,
                    &version,
                    self.now(),
                ));
            }
            View::Metadata => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
            View::Object => (
                format!("{}List", place.kind.kind),
                place.kind.api_version(&place.version.name),
            ),
        };
        let items: Vec<Value> = match view {
            View::Metadata => objects.iter().map(table::metadata_only).collect(),
            View::Object | View::Table(_) => objects,
        };
        Ok(
            json!({"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn delete_collection(
        &self,
        place: &Place,
        target: &Target,
        headers: &HeaderMap,
        query: &Query,
        body: &Bytes,
    ) -> Result<Response, Failure> {
        let options = delete_options(query, headers, body)?;
        let selector = query.selector()?;
        let items = self.write(|store| {
            let objects = store.list(&place.kind.resource(), target.namespace.as_deref());
            let mut items = Vec::new();
            for object in objects.iter().filter(|object| selector.matches(object)) {
                let place = Place {
                    namespace: object::namespace(object).to_owned(),
                    name: object::name(object).to_owned(),
                    ..place.clone()
                };
                // One that went as another's dependent is gone already.
                match store.delete(&place, &options) {
                    Ok(last) => items.push(in_version(&place, &last)),
                    Err(Failure::NotFound { .. }) => {}
                    Err(failure) => return Err(failure),
                }
            }
            Ok(items)
        })?;
        let kind = format!("{}List", place.kind.kind);
        let api_version = place.kind.api_version(&place.version.name);
        Ok(axum::Json(
            json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}),
        )
        .into_response())
    }

    /// Answers a delete: with the object while something holds it, else with success.
    fn deletion(&self, place: &Place, last: &Value) -> Value {
        if place.dry_run || self.store().get(&place.key()).is_some() {
            return in_version(place, last);
        }
        let mut details =
            json!({"name": place.name, "kind": place.kind.plural, "uid": object::uid(last)});
        if !place.kind.group.is_empty() {
            details["group"] = json!(place.kind.group);
        }
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Answers one request.
async fn answer(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return Failure::BadRequest("the request's body is too large or was cut off".to_owned())
            .into_response();
    };
    let route = match Route::parse(parts.uri.path()) {
        Ok(route) => route,
        Err(failure) => return failure.into_response(),
    };
    let json = |value: Value| Ok(axum::Json(value).into_response());
    let result = match route {
        Route::Version => json(discovery::version()),
        Route::Health => Ok("ok".into_response()),
        Route::CoreVersions => json(discovery::core_versions()),
        Route::Groups => json(discovery::groups(&api.store())),
        Route::Group(name) => discovery::group(&api.store(), &name).and_then(json),
        Route::Resources { group, version } => {
            discovery::resources(&api.store(), &group, &version).and_then(json)
        }
        Route::Resource(target) => axum::extract::Query::<Query>::try_from_uri(&parts.uri)
            .map_err(|error| Failure::BadRequest(error.to_string()))
            .and_then(|query| {
                api.resource(&parts.method, &target, &parts.headers, &query.0, &body)
            }),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

/// Shows an object in the form that was asked for.
fn present(place: &Place, object: &Value, view: View, now: Timestamp) -> Value {
    let object = in_version(place, object);
    match view {
        View::Object => object,
        View::Metadata => table::metadata_only(&object),
        View::Table(rows) => {
            let version = object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
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

/// Custom resources can only be selected by name and namespace, as in the real server.
fn check_fields(place: &Place, query: &Query) -> Result<(), Failure> {
    let unknown = query.selector()?.fields().find(|field| {
        place.kind.custom && field != "metadata.name" && field != "metadata.namespace"
    });
    unknown.map_or(Ok(()), |field| {
        Err(Failure::BadRequest(format!(
            "field label not supported: {field}"
        )))
    })
}

fn stream_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn parse_body(headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let content_type = header_text(headers, &header::CONTENT_TYPE);
    if content_type.contains("protobuf") {
        return Err(Failure::UnsupportedMediaType(content_type.to_owned()));
    }
    if content_type.contains("yaml") {
        return serde_saphyr::from_slice(body)
            .map_err(|error| Failure::BadRequest(error.to_string()));
    }
    serde_json::from_slice(body).map_err(|error| {
        Failure::BadRequest(format!("the object provided is unrecognized: {error}"))
    })
}

fn delete_options(
    query: &Query,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<DeleteOptions, Failure> {
    let mut options = if body.is_empty() {
        DeleteOptions::default()
    } else {
        serde_json::from_value(parse_body(headers, body)?)
            .map_err(|error| Failure::BadRequest(error.to_string()))?
    };
    if query.propagation_policy.is_some() {
        options
            .propagation_policy
            .clone_from(&query.propagation_policy);
    }
    Ok(options)
}

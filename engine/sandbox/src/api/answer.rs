//! Answers requests: finds the place, does the work, shows the result.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::patch::PatchKind;
use super::route::{Query, Route, Target, View};
use super::write::{DeleteOptions, Place};
use super::{Api, discovery, in_version, object, present, protobuf, table, watch};

/// The most bytes that a request's body may have, as in the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

impl Api {
    fn resource(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        query: &Query,
        body: &Bytes,
    ) -> Result<Response, Failure> {
        let program = header_text(headers, &header::USER_AGENT).split('/').next().unwrap_or_default();
        let place = self.place(target, query, program)?;
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
            ("GET", true) if Query::flag(query.watch.as_ref()) => self.watch_one(&place, target, query, view),
            ("GET", true) => Ok(shown(StatusCode::OK, &*self.store().find(&place)?)),
            ("GET", false) if Query::flag(query.watch.as_ref()) => {
                watch::watch(self, place, target.namespace.clone(), query, view).map(stream_response)
            }
            ("GET", false) => {
                self.list(&place, target, query, view).map(|list| axum::Json(list).into_response())
            }
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
                if kind == PatchKind::Apply && query.field_manager.is_none() {
                    return Err(no_manager());
                }
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
        let query = Query { field_selector: format!("metadata.name={}", place.name), ..query.clone() };
        watch::watch(self, place.clone(), target.namespace.clone(), &query, view).map(stream_response)
    }

    fn list(&self, place: &Place, target: &Target, query: &Query, view: View) -> Result<Value, Failure> {
        let selector = query.selector()?;
        let (objects, version) = {
            let store = self.store();
            (store.list(&place.kind.resource(), target.namespace.as_deref()), store.version().to_string())
        };
        let objects = objects.iter().filter(|object| selector.matches(object));
        let objects: Vec<Value> = objects.map(|object| in_version(place, object)).collect();
        let (kind, api_version) = match view {
            View::Table(rows) => {
                return Ok(table::render(&place.version, &objects, rows, &version, self.now()));
            }
            View::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            View::Object => (format!("{}List", place.kind.kind), place.kind.api_version(&place.version.name)),
        };
        let items: Vec<Value> = match view {
            View::Metadata => objects.iter().map(table::metadata_only).collect(),
            // The real server's typed lists say the kind once, for the list.
            View::Object if !place.kind.custom => objects.into_iter().map(without_type).collect(),
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
        Ok(axum::Json(json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}))
            .into_response())
    }

    /// Answers a delete: with the object while something holds it, else with success.
    fn deletion(&self, place: &Place, last: &Value) -> Value {
        if place.dry_run || self.store().get(&place.key()).is_some() {
            return in_version(place, last);
        }
        let mut details = json!({"name": place.name, "kind": place.kind.plural, "uid": object::uid(last)});
        if !place.kind.group.is_empty() {
            details["group"] = json!(place.kind.group);
        }
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}

/// Answers one request.
pub(crate) async fn answer(State(api): State<Api>, request: Request) -> Response {
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
            .and_then(|query| api.resource(&parts.method, &target, &parts.headers, &query.0, &body)),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

/// Refuses an apply of nobody.
fn no_manager() -> Failure {
    let message = "Required value: is required for apply patch";
    let cause = Cause::new("FieldValueRequired", "fieldManager", message);
    Failure::Invalid { kind: "PatchOptions.meta.k8s.io".to_owned(), name: String::new(), causes: vec![cause] }
}

/// Custom resources can only be selected by name and namespace, as in the real server.
fn check_fields(place: &Place, query: &Query) -> Result<(), Failure> {
    let unknown = query
        .selector()?
        .fields()
        .find(|field| place.kind.custom && field != "metadata.name" && field != "metadata.namespace");
    unknown.map_or(Ok(()), |field| Err(Failure::BadRequest(format!("field label not supported: {field}"))))
}

fn without_type(mut object: Value) -> Value {
    object::set(&mut object, "apiVersion", Value::Null);
    object::set(&mut object, "kind", Value::Null);
    object
}

fn stream_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn parse_body(headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let content_type = header_text(headers, &header::CONTENT_TYPE);
    if content_type.contains("protobuf") {
        return protobuf::parse(body).ok_or_else(|| Failure::UnsupportedMediaType(content_type.to_owned()));
    }
    if content_type.contains("yaml") {
        return serde_saphyr::from_slice(body).map_err(|error| Failure::BadRequest(error.to_string()));
    }
    serde_json::from_slice(body)
        .map_err(|error| Failure::BadRequest(format!("the object provided is unrecognized: {error}")))
}

fn delete_options(query: &Query, headers: &HeaderMap, body: &Bytes) -> Result<DeleteOptions, Failure> {
    let mut options = if body.is_empty() {
        DeleteOptions::default()
    } else {
        serde_json::from_value(parse_body(headers, body)?)
            .map_err(|error| Failure::BadRequest(error.to_string()))?
    };
    if query.propagation_policy.is_some() {
        options.propagation_policy.clone_from(&query.propagation_policy);
    }
    Ok(options)
}

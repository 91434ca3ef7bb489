//! Answers requests: finds the place, does the work, shows the result.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::delete::DeleteOptions;
use super::failure::{Cause, Failure};
use super::patch::PatchKind;
use super::review::Review;
use super::route::{Query, Route, Target, View, check_dry_run};
use super::user::User;
use super::write::Place;
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
        let user = User::of(&self.store(), headers)?;
        let place = self.place(target, query, user, program)?;
        let view = View::parse(headers, query)?;
        let named = target.name.is_some();
        if place.kind.namespaced && target.namespace.is_none() && method != Method::GET {
            return Err(Failure::MethodNotAllowed);
        }
        check_fields(&place, query)?;
        let shown = |code: StatusCode, object: &Value| {
            (code, json_response(&present(&place, object, view, self.now()))).into_response()
        };
        match (method.as_str(), named) {
            ("GET", true) => Ok(shown(StatusCode::OK, &*self.store().find(&place)?)),
            ("GET", false) if Query::flag(query.watch.as_ref()) => {
                watch::watch(self, place, target.namespace.clone(), query, view).map(stream_response)
            }
            ("GET", false) => self.list(&place, target, query, view).map(|list| json_response(&list)),
            ("POST", false) => {
                check_dry_run("CreateOptions", query.dry_run.iter())?;
                let object = parse_body(&place, headers, body)?;
                let created = self.write(|store| store.create(&place, object))?;
                Ok(shown(StatusCode::CREATED, &created))
            }
            ("PUT", true) => {
                check_dry_run("UpdateOptions", query.dry_run.iter())?;
                let object = parse_body(&place, headers, body)?;
                let updated = self.write(|store| store.update(&place, object))?;
                Ok(shown(StatusCode::OK, &updated))
            }
            ("PATCH", true) => {
                let kind = PatchKind::parse(header_text(headers, &header::CONTENT_TYPE))?;
                check_patch(kind, query)?;
                let patch = kind.body(body)?;
                let (patched, created) = self.write(|store| {
                    let absent = store.get(&place.key()).is_none();
                    store.patch(&place, kind, &patch).map(|patched| (patched, absent))
                })?;
                Ok(shown(if created { StatusCode::CREATED } else { StatusCode::OK }, &patched))
            }
            ("DELETE", true) => {
                let options = delete_options(query, headers, body)?;
                let last = self.write(|store| store.delete(&place, &options))?;
                Ok(json_response(&deletion(&place, &last)))
            }
            ("DELETE", false) => self.delete_collection(&place, target, headers, query, body),
            _ => Err(Failure::MethodNotAllowed),
        }
    }

    fn list(&self, place: &Place, target: &Target, query: &Query, view: View) -> Result<Value, Failure> {
        query.check_list()?;
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
        let mut metadata = json!({"resourceVersion": version});
        if place.kind.custom && view == View::Object {
            metadata["continue"] = json!("");
        }
        Ok(json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}))
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
        let (items, version) = self.write(|store| {
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
                    Ok(last) if place.kind.custom => items.push(in_version(&place, &last)),
                    Ok(last) => items.push(without_type((*last).clone())),
                    Err(Failure::NotFound { .. }) => {}
                    Err(failure) => return Err(failure),
                }
            }
            Ok((items, store.version().to_string()))
        })?;
        let mut metadata = json!({"resourceVersion": version});
        if place.kind.custom {
            metadata["continue"] = json!("");
        }
        let kind = format!("{}List", place.kind.kind);
        let api_version = place.kind.api_version(&place.version.name);
        Ok(json_response(&json!({
            "kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items,
        })))
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
    let json = |value: Value| Ok(json_response(&value));
    let result = match route {
        Route::Version => json(discovery::version()),
        Route::Health => Ok("ok".into_response()),
        Route::CoreVersions => json(discovery::core_versions()),
        Route::Groups => json(discovery::groups(&api.store())),
        Route::Group(name) => discovery::group(&api.store(), &name).and_then(json),
        Route::Resources { group, version } => {
            discovery::resources(&api.store(), &group, &version).and_then(json)
        }
        Route::Resource(target) => match Review::of(&parts.method, &target) {
            Some(review) => decode(&parts.headers, &body)
                .and_then(|object| review.answer(&mut api.store(), &target, object))
                .map(|answered| (StatusCode::CREATED, json_response(&answered)).into_response()),
            None => axum::extract::Query::<Query>::try_from_uri(&parts.uri)
                .map_err(|error| Failure::BadRequest(error.to_string()))
                .and_then(|query| api.resource(&parts.method, &target, &parts.headers, &query.0, &body)),
        },
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

/// Answers a delete: with the object while something holds it, else with success.
fn deletion(place: &Place, last: &Value) -> Value {
    // Of these the real server shows the last in any case.
    if object::is_deleting(last) || place.kind.plural == "storageclasses" {
        return in_version(place, last);
    }
    let mut details = json!({"name": place.name, "kind": place.kind.plural, "uid": object::uid(last)});
    if !place.kind.group.is_empty() {
        details["group"] = json!(place.kind.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Refuses an apply of nobody, and force without one.
fn check_patch(kind: PatchKind, query: &Query) -> Result<(), Failure> {
    check_dry_run("PatchOptions", query.dry_run.iter())?;
    let refuse =
        |reason, field, message| Err(Failure::options("PatchOptions", Cause::new(reason, field, message)));
    match kind {
        PatchKind::Apply if query.field_manager.is_none() => {
            refuse("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
        }
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic if query.force.is_some() => {
            refuse("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch")
        }
        _ => Ok(()),
    }
}

/// Of most kinds only name and namespace can be selected, as in the real server.
fn check_fields(place: &Place, query: &Query) -> Result<(), Failure> {
    let known = selectable_fields(&place.kind.resource());
    let is_known = |field: &String| {
        field == "metadata.name" || field == "metadata.namespace" || known.contains(&field.as_str())
    };
    let Some(field) = query.selector()?.fields().find(|field| !is_known(field)) else { return Ok(()) };
    let has_own = place.kind.custom || !known.is_empty();
    Err(Failure::BadRequest(if has_own {
        format!("field label not supported: {field}")
    } else {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }))
}

/// Names the fields of a built-in kind that it can be selected by.
fn selectable_fields(resource: &str) -> &'static [&'static str] {
    match resource {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "secrets" => &["type"],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "jobs.batch" => &["status.successful"],
        "replicasets.apps" => &["status.replicas"],
        _ => &[],
    }
}

fn without_type(mut object: Value) -> Value {
    object::set(&mut object, "apiVersion", Value::Null);
    object::set(&mut object, "kind", Value::Null);
    object
}

/// Answers with JSON.
pub(crate) fn json_response(value: &Value) -> Response {
    stream_response(value.to_string().into())
}

fn stream_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn parse_body(place: &Place, headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let kind = &place.kind.kind;
    decode(headers, body).map_err(|failure| match failure {
        Failure::BadRequest(problem) => Failure::BadRequest(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {problem}"
        )),
        failure => failure,
    })
}

/// The deepest that JSON may nest; a real server goes to 10000, which the stacks here do not bear.
const MAX_DEPTH: usize = 250;

/// Reads JSON that nests deeper than serde_json follows by itself; says what is wrong with it.
pub(super) fn parse_json(text: &[u8]) -> Result<Value, String> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
    }
    parse_deep(text).map_err(|error| error.to_string())
}

/// Reads JSON that an API server took or gave, however deep it nests.
pub fn parse_deep(text: &[u8]) -> serde_json::Result<Value> {
    let mut text = serde_json::Deserializer::from_slice(text);
    text.disable_recursion_limit();
    let value = Value::deserialize(&mut text)?;
    text.end()?;
    Ok(value)
}

/// Reads an object; says what is wrong with the text.
fn decode(headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let content_type = header_text(headers, &header::CONTENT_TYPE);
    let refuse = |problem: String| Failure::BadRequest(problem);
    let object: Value = match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => parse_json(body).map_err(refuse),
        "application/yaml" => serde_saphyr::from_slice(body).map_err(|error| refuse(error.to_string())),
        protobuf::FORM => protobuf::parse(body).ok_or_else(|| refuse("not such a protobuf".to_owned())),
        _ => Err(Failure::UnsupportedMediaType(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }?;
    if object.is_object() { Ok(object) } else { Err(refuse("not an object".to_owned())) }
}

fn delete_options(query: &Query, headers: &HeaderMap, body: &Bytes) -> Result<DeleteOptions, Failure> {
    let mut options: DeleteOptions = if body.is_empty() {
        DeleteOptions::default()
    } else {
        let refuse = |problem: String| {
            Failure::BadRequest(format!("couldn't get version/kind; json parse error: {problem}"))
        };
        let options = decode(headers, body).map_err(|failure| match failure {
            Failure::BadRequest(problem) => refuse(problem),
            failure => failure,
        })?;
        serde_json::from_value(options).map_err(|error| refuse(error.to_string()))?
    };
    if query.propagation_policy.is_some() {
        options.propagation_policy.clone_from(&query.propagation_policy);
    }
    options.check()?;
    Ok(options)
}

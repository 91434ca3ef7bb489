//! What the API refuses, said in Kubernetes' words: every failure becomes a `Status` body.

use std::collections::BTreeSet;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::{Value, json};

use super::answer::json_response;
use super::fields::Conflict;
use super::kind::{self, Kind};

/// Says why a request was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    /// No such object.
    #[error("{resource} \"{name}\" not found")]
    NotFound { resource: String, name: String },
    /// No such path.
    #[error("404 page not found")]
    NoRoute,
    /// No such resource in a group that is there from the start.
    #[error("the server could not find the requested resource")]
    NoResource,
    /// The path exists, but not with this method.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// The name is taken.
    #[error("{}{resource} \"{name}\" already exists", if *.going { "object is being deleted: " } else { "" })]
    AlreadyExists { resource: String, name: String, going: bool },
    /// The object is not what the caller believes it to be.
    #[error("Operation cannot be fulfilled on {resource} \"{name}\": {reason}")]
    Conflict { resource: String, name: String, reason: String },
    /// Others own the fields that an apply would change.
    #[error("Apply failed with {}", owned(.0))]
    Owned(Vec<Conflict>),
    /// Nothing new may come into a namespace that is being deleted.
    #[error(
        "{resource} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
    )]
    Terminating { resource: String, name: String, namespace: String },
    /// The object breaks the rules of its kind.
    #[error("{kind} \"{name}\" is invalid: {}", summary(.causes))]
    Invalid { kind: String, name: String, causes: Vec<Cause> },
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// The body is of a form that cannot be read here; these can.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(&'static str),
    /// The kind of patch is not known.
    #[error("415: Unsupported Media Type")]
    UnknownPatch,
    /// The answer cannot be given in the form that is asked for.
    #[error(
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )]
    NotAcceptable,
    /// A JSON patch does not fit the object.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// The real server, too, has no better word for it.
    #[error("{0}")]
    Unclassified(String),
    /// The event log does not reach back so far.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired { asked: u64, oldest: u64 },
    /// The caller may not do this.
    #[error(
        "{} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {}",
        kind::resource(.resource, .group), .user.as_deref().unwrap_or("system:anonymous"), place(.namespace)
    )]
    Forbidden { user: Option<String>, verb: &'static str, resource: String, group: String, namespace: String },
    /// The caller's token is nobody's.
    #[error("Unauthorized")]
    Unauthorized,
    /// A policy refuses what is written.
    #[error("{resource} \"{name}\" is forbidden: {why}")]
    Denied { resource: String, name: String, why: String },
    /// The server has too much to do.
    #[error("the server has received too many requests and has asked us to try again later")]
    TooManyRequests { retry_after: u32 },
    /// The server failed.
    #[error("Internal error occurred: a fault was asked for")]
    Internal,
    /// The answer did not come in time, whatever came of the request.
    #[error(
        "the server was unable to return a response in the time allotted, but may still be processing the request"
    )]
    LostAnswer,
}

/// Names one field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new("FieldValueInvalid", field, message)
    }
}

impl Failure {
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::NotFound { resource: kind.resource(), name: name.to_owned() }
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, reason: impl Into<String>) -> Self {
        Self::Conflict { resource: kind.resource(), name: name.to_owned(), reason: reason.into() }
    }

    /// Refuses a write that was based on an older version of the object.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        Self::Invalid { kind: kind.qualified_kind(), name: name.to_owned(), causes }
    }

    /// Refuses a parameter of a request; `options` is Kubernetes' name of such parameters.
    pub(crate) fn options(options: &str, cause: Cause) -> Self {
        Self::Invalid { kind: format!("{options}.meta.k8s.io"), name: String::new(), causes: vec![cause] }
    }

    /// Returns the HTTP status code and Kubernetes' reason.
    pub(crate) const fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound { .. } | Self::NoRoute | Self::NoResource => (StatusCode::NOT_FOUND, "NotFound"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::AlreadyExists { .. } => (StatusCode::CONFLICT, "AlreadyExists"),
            Self::Conflict { .. } | Self::Owned(_) => (StatusCode::CONFLICT, "Conflict"),
            Self::Terminating { .. } | Self::Forbidden { .. } | Self::Denied { .. } => {
                (StatusCode::FORBIDDEN, "Forbidden")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Invalid { .. } | Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::UnsupportedMediaType(_) | Self::UnknownPatch => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            }
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
            Self::Unclassified(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
            Self::Expired { .. } => (StatusCode::GONE, "Expired"),
            Self::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Self::LostAnswer => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        }
    }

    /// Returns the `Status` body.
    pub(crate) fn status(&self) -> Value {
        let (code, reason) = self.code();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "code": code.as_u16(),
        });
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if let Some(details) = self.details() {
            status["details"] = details;
        }
        status
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::NotFound { resource, name }
            | Self::AlreadyExists { resource, name, .. }
            | Self::Conflict { resource, name, .. } => Some(details(resource, name, None)),
            Self::Terminating { resource, name, namespace } => {
                let cause = Cause::new(
                    "NamespaceTerminating",
                    "metadata.namespace",
                    format!("namespace {namespace} is being terminated"),
                );
                Some(details(resource, name, Some(&[cause])))
            }
            Self::Owned(conflicts) => {
                let cause = |each: &Conflict| {
                    json!({
                        "reason": "FieldManagerConflict", "field": each.field,
                        "message": format!("conflict with {}", each.manager),
                    })
                };
                Some(json!({"causes": conflicts.iter().map(cause).collect::<Vec<_>>()}))
            }
            Self::Invalid { kind, name, causes } => Some(details(kind, name, Some(causes))),
            Self::NoResource
            | Self::MethodNotAllowed
            | Self::UnknownPatch
            | Self::NotAcceptable
            | Self::Unprocessable => Some(json!({})),
            Self::Denied { resource, name, why } => {
                let mut details = details(resource, name, None);
                details["causes"] = json!([{"message": why}]);
                Some(details)
            }
            Self::NoRoute
            | Self::Unauthorized
            | Self::BadRequest(_)
            | Self::UnsupportedMediaType(_)
            | Self::Unclassified(_)
            | Self::Expired { .. }
            | Self::TooManyRequests { .. }
            | Self::Internal
            | Self::LostAnswer => None,
            Self::Forbidden { resource, group, .. } => {
                Some(details(&kind::resource(resource, group), "", None))
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self == Self::NoRoute {
            return (self.code().0, format!("{self}\n")).into_response();
        }
        let mut response = (self.code().0, json_response(&self.status())).into_response();
        if let Self::TooManyRequests { retry_after } = self {
            response.headers_mut().insert(RETRY_AFTER, retry_after.into());
        }
        response
    }
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() {
        return "at the cluster scope".to_owned();
    }
    format!("in the namespace \"{namespace}\"")
}

fn details(resource: &str, name: &str, causes: Option<&[Cause]>) -> Value {
    let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut details = json!({});
    for (field, text) in [("name", name), ("group", group), ("kind", kind)] {
        if !text.is_empty() {
            details[field] = json!(text);
        }
    }
    if let Some(causes) = causes {
        let causes = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}));
        details["causes"] = causes.collect();
    }
    details
}

fn owned(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("1 conflict: conflict with {manager}: {field}");
    }
    let managers: BTreeSet<&str> = conflicts.iter().map(|each| each.manager.as_str()).collect();
    let lines = managers.into_iter().flat_map(|manager| {
        let fields = conflicts.iter().filter(move |each| each.manager == manager);
        let fields = fields.map(|each| format!("- {}", each.field));
        std::iter::once(format!("conflicts with {manager}:")).chain(fields)
    });
    format!("{} conflicts: {}", conflicts.len(), lines.collect::<Vec<_>>().join("\n"))
}

fn summary(causes: &[Cause]) -> String {
    let lines: Vec<String> = causes
        .iter()
        .map(|cause| {
            if cause.field.is_empty() {
                cause.message.clone()
            } else {
                format!("{}: {}", cause.field, cause.message)
            }
        })
        .collect();
    match lines.as_slice() {
        [line] => line.clone(),
        _ => format!("[{}]", lines.join(", ")),
    }
}

//! GraphQL over HTTP: one endpoint that takes JSON by POST.

use async_graphql::{Request, Response, ServerError};
use async_graphql_axum::GraphQLResponse;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use ochre_core::code::Code;
use ochre_core::selector::is_dns_label;
use serde_json::{Map, Value};

use super::{EngineSchema, Gateway, Namespace};
use crate::readiness::Readiness;

/// The most bytes of a request.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// Builds the routes of the engine: `/graphql`, `/livez` and `/readyz`.
pub(crate) fn router(gateway: Gateway) -> Router {
    let readiness = gateway.readiness.clone();
    Router::new()
        .route("/graphql", post(graphql))
        .with_state(gateway.schema())
        .merge(probes(readiness))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
}

/// Builds the routes that say how the engine is; they serve nothing else, to anybody.
pub(crate) fn probes(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(|| async { "ok" })).route("/readyz", get(readyz)).with_state(readiness)
}

/// A follower is ready as well: it serves requests, and the leader does the work.
async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    if let Err(why) = readiness.actions() {
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let said = match readiness.leader() {
        None => "ok".to_owned(),
        Some(leader) if leader.is_empty() => "ok; it is not known who leads".to_owned(),
        Some(leader) => format!("ok; {leader} leads"),
    };
    (StatusCode::OK, said)
}

async fn graphql(State(schema): State<EngineSchema>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    if !is_json(&headers) {
        let message = "the content type must be application/json";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message);
    }
    let namespace = match namespace(&headers) {
        Ok(namespace) => namespace,
        Err(message) => return refused(StatusCode::BAD_REQUEST, Code::BadUserInput, &message),
    };
    // Read as an object first: an array would be taken for the fields in their order.
    let read = serde_json::from_slice::<Map<String, Value>>(&body);
    let request: Request = match read.and_then(|fields| serde_json::from_value(Value::Object(fields))) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("the body is not a GraphQL request in JSON: {error}");
            return refused(StatusCode::BAD_REQUEST, Code::BadUserInput, &message);
        }
    };
    let mut request = request.data(namespace);
    // Parsed here first, since afterwards a syntax error looks like any other.
    let code = match request.parsed_query() {
        Ok(_) => Code::GraphqlValidationFailed,
        Err(_) => Code::GraphqlParseFailed,
    };
    let mut response = schema.execute(request).await;
    for error in &mut response.errors {
        // Errors of ours have their code; what has none was found in the document or its variables.
        let known = error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some());
        if !known {
            // async-graphql says which limit was passed in words alone.
            let is_limit =
                matches!(error.message.as_str(), "Query is nested too deep." | "Query is too complex.");
            let code = if is_limit { Code::LimitExceeded } else { code };
            set_code(error, if error.path.is_empty() { code } else { Code::BadUserInput });
        }
    }
    GraphQLResponse::from(response).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn namespace(headers: &HeaderMap) -> Result<Namespace, String> {
    let Some(value) = headers.get("namespace") else {
        return Ok(Namespace("default".to_owned()));
    };
    let name = value.to_str().ok().filter(|name| is_dns_label(name));
    name.map(|name| Namespace(name.to_owned()))
        .ok_or_else(|| "the NAMESPACE header is no namespace's name".to_owned())
}

fn refused(status: StatusCode, code: Code, message: &str) -> HttpResponse {
    let mut error = ServerError::new(message, None);
    set_code(&mut error, code);
    let response = GraphQLResponse::from(Response::from_errors(vec![error]));
    (status, response).into_response()
}

fn set_code(error: &mut ServerError, code: Code) {
    error.extensions.get_or_insert_default().set("code", code.as_str());
}

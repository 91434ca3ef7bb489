//! GraphQL over HTTP: one endpoint that answers POST of JSON, and GET for reads.

mod events;
mod negotiate;

use std::sync::Arc;

use async_graphql::ServerError;
use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures::stream::{self, Stream, StreamExt as _};
use ochre_core::selector::is_dns_label;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{self, Answer};
use super::refusal::Refusal;
use super::request::Parameters;
use super::{EngineSchema, Gateway, Namespace, page, socket};
use crate::identity::Identity;
use crate::options::GatewayOptions;
use crate::readiness::Readiness;
use negotiate::{Accepted, Media};

/// Builds the routes of the engine: `/graphql`, `/livez` and `/readyz`, and the playground's.
///
/// What lasts, as subscriptions do, ends when told to stop; the tracker says when the last WebSocket has.
pub(crate) fn router(
    gateway: Gateway,
    options: GatewayOptions,
    stop: CancellationToken,
    open: TaskTracker,
) -> Router {
    let readiness = gateway.readiness.clone();
    let identity = Arc::clone(&gateway.identity);
    let page = if options.playground { page::router() } else { Router::new() };
    let front = Front { schema: gateway.schema(), identity, options: Arc::new(options), stop, open };
    Router::new()
        .route("/graphql", any(graphql))
        .with_state(front)
        .merge(probes(readiness))
        .merge(page)
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

/// What all transports share.
#[derive(Clone)]
pub(super) struct Front {
    schema: EngineSchema,
    /// Finds out who asks.
    pub identity: Arc<Identity>,
    /// What the gateway is told.
    pub options: Arc<GatewayOptions>,
    /// Ends what lasts.
    pub stop: CancellationToken,
    /// Holds what the listener does not.
    pub open: TaskTracker,
}

async fn graphql(State(front): State<Front>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let accepted = negotiate::accepted(&parts.headers);
    let answered = if negotiate::wants_socket(&parts.headers) {
        front.connect(&mut parts).await
    } else {
        front.answer(&parts, body, accepted).await
    };
    match answered {
        Ok(response) => response,
        Err(refusal) => refused(&refusal, accepted.single.unwrap_or(Media::Json)),
    }
}

impl Front {
    async fn answer(&self, parts: &Parts, body: Body, accepted: Accepted) -> Result<Response, Refusal> {
        let parameters = match parts.method {
            Method::POST => {
                negotiate::check_body(&parts.headers, &self.options.trusted_origins)?;
                Parameters::from_body(&read(body, self.options.limits.body).await?)?
            }
            Method::GET => {
                negotiate::check_read(&parts.headers)?;
                Parameters::from_url(parts.uri.query())?
            }
            _ => return Err(Refusal::Method),
        };
        let namespace = namespace(&parts.headers)?;
        let caller = self.identity.caller(bearer(&parts.headers)).await?;
        let prepared = parameters.prepare(&self.options.limits);
        let kind = prepared.as_ref().map(|prepared| prepared.kind).ok();
        if parts.method == Method::GET && kind == Some(OperationType::Mutation) {
            return Err(Refusal::MutationByGet);
        }
        let prepared = prepared.map(|prepared| prepared.request.data(namespace).data(caller));
        match accepted.single {
            Some(media) if kind != Some(OperationType::Subscription) => {
                let answer = match prepared {
                    Ok(request) => self.schema.execute(request).await.into(),
                    Err(error) => error.into(),
                };
                Ok(single(&answer, media))
            }
            _ if accepted.events => {
                let (identity, token) =
                    (Arc::clone(&self.identity), bearer(&parts.headers).map(str::to_owned));
                let answers = self.run(prepared).take_while(move |_| {
                    let (identity, token) = (Arc::clone(&identity), token.clone());
                    async move { identity.is_still_known(token.as_deref()).await }
                });
                Ok(events::send(answers, self.options.keep_alive, self.stop.clone()))
            }
            Some(_) => Err(Refusal::ManyAnswers),
            None => Err(Refusal::NotAcceptable),
        }
    }

    /// Makes a WebSocket of a request.
    async fn connect(self, parts: &mut Parts) -> Result<Response, Refusal> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
        let upgrade = upgrade.map_err(|why| Refusal::Handshake(why.body_text()))?;
        let namespace = namespace(&parts.headers)?;
        let is_trusted = negotiate::is_same_origin(&parts.headers)
            || negotiate::is_from(&parts.headers, &self.options.trusted_origins);
        let token = bearer(&parts.headers).map(str::to_owned);
        Ok(socket::accept(upgrade, self, namespace, token, is_trusted))
    }

    /// Runs an operation of any kind.
    pub(super) fn run(
        &self,
        prepared: Result<async_graphql::Request, ServerError>,
    ) -> impl Stream<Item = Answer> + Send + use<> {
        match prepared {
            Ok(request) => self.schema.execute_stream(request).map(Answer::from).left_stream(),
            Err(error) => stream::iter([Answer::from(error)]).right_stream(),
        }
    }
}

/// Reads a body up to a limit.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut read = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::CutShort)?;
        if read.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

/// Takes the token of an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    token(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// Takes the token of what an `Authorization` header holds.
pub(super) fn token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn namespace(headers: &HeaderMap) -> Result<Namespace, Refusal> {
    let Some(value) = headers.get("namespace") else {
        return Ok(Namespace("default".to_owned()));
    };
    let name = value.to_str().ok().filter(|name| is_dns_label(name)).ok_or(Refusal::Namespace)?;
    Ok(Namespace(name.to_owned()))
}

/// Sends an answer at once.
fn single(answer: &Answer, media: Media) -> Response {
    let status = match media {
        Media::GraphqlResponse if answer.is_of_wrong_request() => StatusCode::BAD_REQUEST,
        Media::GraphqlResponse | Media::Json => StatusCode::OK,
    };
    send(status, answer, media)
}

fn refused(refusal: &Refusal, media: Media) -> Response {
    let error = answer::error(refusal.code(), refusal.to_string(), Vec::new());
    let mut response = send(refusal.status(), &error.into(), media);
    let allowed = match refusal {
        Refusal::Method => Some("GET, POST"),
        Refusal::MutationByGet => Some("POST"),
        _ => None,
    };
    if let Some(allowed) = allowed {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = header::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

fn send(status: StatusCode, answer: &Answer, media: Media) -> Response {
    let headers = [(header::CONTENT_TYPE, media.content_type()), (header::VARY, "accept")];
    (status, headers, answer.to_json()).into_response()
}

//! GraphQL over HTTP: one endpoint that answers POST of JSON, and GET for reads.

mod events;
mod headers;
mod log;
mod negotiate;
mod origin;
mod site;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use async_graphql::ServerError;
use async_graphql::parser::types::OperationType;
use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Scheme;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::Answer;
use super::buffer::{Answers, Buffer, Room, parts};
use super::documents::{Documents, DocumentsError};
use super::ids::Ids;
use super::quotas::{Quotas, Subscribed};
use super::record::Record;
use super::refusal::Refusal;
use super::request::{Parameters, Prepared};
use super::{Asked, EngineSchema, Gateway, page, socket};
use crate::identity::{Caller, Identity};
use crate::listen::Place;
use crate::metrics::{self, Metrics};
use crate::options::GatewayOptions;
use crate::readiness::Readiness;
use headers::{authorization, idempotency_key, namespace};
use negotiate::{Accepted, Media};

/// Builds the routes of the engine: `/graphql`, how it is, and the playground's.
///
/// What lasts, as subscriptions do, ends when told to stop; the tracker says when the last WebSocket has. It fails
/// when the trusted documents cannot be read.
pub(crate) fn router(
    gateway: Gateway,
    metrics: Metrics,
    options: GatewayOptions,
    is_loopback: bool,
    stop: CancellationToken,
    open: TaskTracker,
) -> Result<Router, DocumentsError> {
    let readiness = gateway.readiness.clone();
    let identity = Arc::clone(&gateway.identity);
    let (schema, options) = (gateway.schema(&options), Arc::new(options));
    let quotas = Arc::new(Quotas::new(&options.limits));
    let (buffer, answers) = (Buffer::of_requests(&options.limits), Buffer::of_answers(&options.limits));
    let documents = Arc::new(Documents::open(options.trusted_documents.as_deref(), options.trust)?);
    let counted = metrics.clone();
    let front = Front {
        schema,
        identity,
        quotas,
        buffer,
        answers,
        metrics: counted,
        documents,
        options,
        is_loopback,
        stop,
        open,
    };
    let mut router = Router::new().route("/graphql", any(graphql)).with_state(front.clone());
    if is_loopback {
        router = router.merge(probes(readiness, metrics));
    }
    if front.options.playground {
        router = router.merge(page::router());
    }
    router = router.layer(tower_http::catch_panic::CatchPanicLayer::new());
    if !front.options.trusted_origins.is_empty() {
        router = router.layer(site::cors(&front.options.trusted_origins));
    }
    Ok(router
        .layer(from_fn_with_state(front, site::check_head))
        .layer(from_fn(site::harden))
        .layer(from_fn(log::log)))
}

/// Builds the routes that say how the engine is, and nothing else, to anybody: `/livez`, `/readyz`, `/metrics`.
pub(crate) fn probes(readiness: Readiness, metrics: Metrics) -> Router {
    let metrics = get(|| async move { self::metrics(&metrics) });
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
        .route("/metrics", metrics)
}

fn metrics(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::MEDIA)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
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
    /// How much callers have asked for.
    pub quotas: Arc<Quotas>,
    /// How much of what they send is kept.
    pub buffer: Buffer,
    /// How much of what they are answered is.
    pub answers: Buffer,
    /// Counts what is asked.
    pub metrics: Metrics,
    /// The documents that are known beforehand.
    pub documents: Arc<Documents>,
    /// What the gateway is told.
    pub options: Arc<GatewayOptions>,
    /// Whether it listens on loopback only.
    pub is_loopback: bool,
    /// Ends what lasts.
    pub stop: CancellationToken,
    /// Holds what the listener does not.
    pub open: TaskTracker,
}

async fn graphql(State(front): State<Front>, Extension(ids): Extension<Ids>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let accepted = negotiate::accepted(&parts.headers);
    let mut record = Record::begin(ids, front.metrics.clone());
    let answered = if negotiate::wants_socket(&parts.headers) {
        front.clone().connect(&mut parts, &record.ids).inspect(|_| record.ends_with(None))
    } else {
        front.answer(&parts, &mut body, accepted, &mut record).await
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => {
            if parts.version < Version::HTTP_2 {
                tokio::spawn(front.clone().forget(body));
            }
            front.refused(&refusal, accepted.single_or_json(), &mut record)
        }
    };
    response.extensions_mut().insert(record.operation.clone());
    response
}

impl Front {
    /// Sends a refusal, with the headers that say what to do.
    fn refused(&self, refusal: &Refusal, media: Media, record: &mut Record) -> Response {
        let (mut status, mut error) = (refusal.status(), refusal.error());
        if let Some(words) = refusal.in_capacts_words().filter(|_| self.options.capact_unauthorized) {
            status = StatusCode::OK;
            words.clone_into(&mut error.message);
        }
        let mut response = send(status, &record.answered(error.into()), media);
        let headers = response.headers_mut();
        let allowed = match refusal {
            Refusal::Method => Some("GET, POST"),
            Refusal::MutationByGet => Some("POST"),
            _ => None,
        };
        if let Some(allowed) = allowed {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(seconds) = refusal.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            for challenge in self.identity.challenges() {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        response
    }

    /// Names the scheme by which browsers reach this server.
    fn scheme(&self) -> Scheme {
        let connections = &self.options.connections;
        let is_private = connections.tls().is_some() || connections.insecure_http;
        if is_private { Scheme::HTTPS } else { Scheme::HTTP }
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: &mut BodyDataStream,
        accepted: Accepted,
        record: &mut Record,
    ) -> Result<Response, Refusal> {
        match parts.method {
            Method::POST => negotiate::check_body(&parts.headers, &self.options.trusted_origins)?,
            Method::GET => negotiate::check_read(&parts.headers, self.scheme())?,
            _ => return Err(Refusal::Method),
        }
        let namespace = namespace(&parts.headers)?;
        let caller = self.identity.caller(authorization(&parts.headers), peer(parts)).await?;
        record.asked_by(&caller);
        if let Some(place) = parts.extensions.get::<Place>() {
            place.identified();
        }
        self.quotas.admit(&caller)?;
        let idempotency_key = idempotency_key(&parts.headers)?;
        let mut room = self.buffer.room(&caller);
        let parameters = self.parameters(parts, body, &mut room).await?;
        let request = Arc::clone(&record.ids.request);
        let prepared = parameters
            .prepare(&self.options.limits, &self.documents)
            .inspect(|prepared| record.asks(prepared));
        let kind = prepared.as_ref().map(|prepared| prepared.kind).ok();
        if parts.method == Method::GET && kind == Some(OperationType::Mutation) {
            return Err(Refusal::MutationByGet);
        }
        let answers = Answers::new(self.answers.room(&caller));
        let asked =
            Asked { caller: caller.clone(), namespace, idempotency_key, request, answers: answers.clone() };
        let prepared = prepared.map(|prepared| prepared.with(asked));
        match accepted.single {
            Some(media) if kind != Some(OperationType::Subscription) => {
                let answer = match prepared {
                    Ok(prepared) => self.clone().run_once(prepared.request).await,
                    Err(error) => error.into(),
                };
                match answers.refusal() {
                    // Nothing but reads has answers of any size, so that they may be asked again.
                    Some(refusal) if kind == Some(OperationType::Query) => Err(refusal),
                    _ => {
                        let answer = record.answered(answer);
                        let sent = single(&answer, media, answers);
                        sent.or_else(|refusal| match kind {
                            Some(OperationType::Mutation) => {
                                Ok(send(StatusCode::OK, &unsaid(&refusal), media))
                            }
                            _ => Err(refusal),
                        })
                    }
                }
            }
            _ if accepted.events => {
                let identity = Arc::clone(&self.identity);
                let authorization = authorization(&parts.headers).map(str::to_owned);
                let subscribed = self.subscribed(kind, &caller)?;
                let told = self.run(prepared, record.lasting()).take_while(move |_| {
                    let _ = (&subscribed, &room);
                    let (identity, authorization) = (Arc::clone(&identity), authorization.clone());
                    async move { identity.is_still_known(authorization.as_deref()).await }
                });
                Ok(events::send(told, answers, self.options.keep_alive, self.stop.clone()))
            }
            Some(_) => Err(Refusal::ManyAnswers),
            None => Err(Refusal::NotAcceptable),
        }
    }

    /// Reads what is asked for, as long as its client is neither slow nor has too much to say.
    async fn parameters(
        &self,
        parts: &Parts,
        body: &mut BodyDataStream,
        room: &mut Room,
    ) -> Result<Parameters, Refusal> {
        if parts.method == Method::GET {
            let query = parts.uri.query();
            room.keep(query.map_or(0, str::len))?;
            return Parameters::from_url(query);
        }
        let (limits, patience) = (&self.options.limits, self.options.connections.read_timeout);
        let body = timeout(patience, read(body, limits.body, room)).await.unwrap_or(Err(Refusal::Slow))?;
        Parameters::from_body(&body, limits)
    }

    /// Reads a body that is not wanted, and keeps nothing: a client that still sends does not hear why.
    async fn forget(self, mut body: BodyDataStream) {
        let most = self.options.limits.body.saturating_mul(2);
        let all = async {
            let mut heard = 0;
            while let Some(Ok(chunk)) = body.next().await
                && heard < most
            {
                heard += chunk.len();
            }
        };
        let all = timeout(self.options.connections.read_timeout, all);
        // However it ends, the request is answered.
        let _ = self.stop.run_until_cancelled(all).await;
    }

    /// Makes a WebSocket of a request.
    fn connect(self, parts: &mut Parts, ids: &Ids) -> Result<Response, Refusal> {
        let handshake = socket::Handshake::read(parts)?;
        let namespace = namespace(&parts.headers)?;
        let is_trusted = negotiate::is_same_origin(&parts.headers, self.scheme())
            || negotiate::is_from(&parts.headers, &self.options.trusted_origins);
        let authorization = authorization(&parts.headers).map(str::to_owned);
        let place = parts.extensions.get::<Place>().cloned();
        Ok(socket::accept(handshake, self, ids.clone(), namespace, authorization, is_trusted, place))
    }

    /// Counts a subscription, and nothing else.
    pub(super) fn subscribed(
        &self,
        kind: Option<OperationType>,
        caller: &Caller,
    ) -> Result<Option<Subscribed>, Refusal> {
        if kind == Some(OperationType::Subscription) { self.quotas.subscribe(caller) } else { Ok(None) }
    }

    /// Runs an operation of any kind.
    pub(super) fn run(
        &self,
        prepared: Result<Prepared, ServerError>,
        mut record: Record,
    ) -> BoxStream<'static, Answer> {
        let span = record.span();
        let answers = match prepared {
            Ok(Prepared { request, kind: OperationType::Subscription, .. }) => {
                self.schema.execute_stream(request).map(Answer::from).boxed()
            }
            Ok(Prepared { request, .. }) => stream::once(self.clone().run_once(request)).boxed(),
            Err(error) => stream::iter([Answer::from(error)]).boxed(),
        };
        let mut recorded = answers.map(move |answer| record.answered(answer));
        stream::poll_fn(move |task| span.in_scope(|| recorded.poll_next_unpin(task))).boxed()
    }

    /// Runs a query or a mutation, for as long as one may take.
    async fn run_once(self, request: async_graphql::Request) -> Answer {
        let limit = self.options.limits.time;
        match timeout(limit, self.schema.execute(request)).await {
            Ok(response) => response.into(),
            Err(_) => Answer::given_up(limit),
        }
    }
}

/// Reads a body up to a limit, as long as there is room.
async fn read(body: &mut BodyDataStream, limit: usize, room: &mut Room) -> Result<Vec<u8>, Refusal> {
    let announced = body.size_hint().exact().unwrap_or_default();
    let announced = usize::try_from(announced).ok().filter(|size| *size <= limit);
    // A vector that grew by itself would take up to twice as much; what is not there yet takes no memory.
    let mut read = Vec::with_capacity(announced.ok_or(Refusal::TooLarge(limit))?);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Refusal::CutShort)?;
        if read.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        room.keep(read.len() + chunk.len())?;
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

/// Says where a client is.
fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Place>().map(|place| place.peer)
}

/// Sends an answer at once, for which there is room until it is read.
fn single(answer: &Answer, media: Media, answers: Answers) -> Result<Response, Refusal> {
    let status = match media {
        Media::GraphqlResponse if answer.is_of_wrong_request() => StatusCode::BAD_REQUEST,
        Media::GraphqlResponse | Media::Json => StatusCode::OK,
    };
    let text = answer.to_json();
    answers.print(text.len())?;
    let length = (header::CONTENT_LENGTH, text.len().into());
    let body = Body::from_stream(stream::iter(parts(text, Read(answers)).map(Ok::<_, Infallible>)));
    let mut response = (status, headers(media), body).into_response();
    response.headers_mut().extend([length]);
    Ok(response)
}

/// Answers for a mutation that is done, and of which more cannot be said.
fn unsaid(refusal: &Refusal) -> Answer {
    let mut error = refusal.error();
    error.message = format!("{}; look what of it was done before you send it again", error.message);
    Answer { data: Some(async_graphql::Value::Null), ..error.into() }
}

/// Hears that an answer is read when it is dropped.
struct Read(Answers);

impl Drop for Read {
    fn drop(&mut self) {
        self.0.read();
    }
}

fn send(status: StatusCode, answer: &Answer, media: Media) -> Response {
    (status, headers(media), answer.to_json()).into_response()
}

const fn headers(media: Media) -> [(HeaderName, &'static str); 3] {
    [
        (header::CONTENT_TYPE, media.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ]
}

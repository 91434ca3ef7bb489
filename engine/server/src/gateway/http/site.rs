//! What keeps the pages of other sites away: the names that this server answers to, the origins that it trusts,
//! and what browsers are told about its answers.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::origin::Origin;
use super::{Front, headers, negotiate};
use crate::gateway::ids::{Ids, REQUEST_ID, TRACEPARENT};
use crate::gateway::record::Record;
use crate::gateway::refusal::Refusal;

/// For how long a browser may remember that pages of an origin may ask.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Tells browsers to take answers for what they are, to name this site to nobody, and to keep others from using them.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds the headers for browsers, where an answer has not said otherwise.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Lets the pages of trusted origins ask, and read the answers; browsers keep the pages of others from it.
pub(super) fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<Option<Origin>> = origins.iter().map(|origin| Origin::parse(origin)).collect();
    let is_trusted = move |origin: &HeaderValue, _: &_| {
        let origin = origin.to_str().ok().and_then(Origin::parse);
        origin.is_some() && origins.contains(&origin)
    };
    let asked = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        HeaderName::from_static("namespace"),
        HeaderName::from_static("idempotency-key"),
        REQUEST_ID,
        TRACEPARENT,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_trusted))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(asked.into_iter().chain(negotiate::DELIBERATE).collect::<Vec<_>>())
        .expose_headers([REQUEST_ID, TRACEPARENT])
        .max_age(REMEMBERED)
}

/// Refuses what can be understood in two ways, and what is asked by a name that is not this server's.
pub(super) async fn check_head(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let checked = headers::check(request.headers()).and_then(|()| check_host(&front, &mut request));
    let Err(refusal) = checked else { return next.run(request).await };
    let Some(ids) = request.extensions().get::<Ids>() else { return next.run(request).await };
    let mut record = Record::begin(ids.clone(), front.metrics.clone());
    let media = negotiate::accepted(request.headers()).single_or_json();
    front.refused(&refusal, media, &mut record)
}

/// Sees that a request names one server, by a name that is this one's.
///
/// A page of another site may have its own name resolved to this machine: for the browser it is then of the same
/// origin, and only the name tells that it is not.
fn check_host(front: &Front, request: &mut Request) -> Result<(), Refusal> {
    // Where they are compared, only the port by default depends on the scheme.
    let named = |authority: &Authority| Origin::new(front.scheme(), authority).ok_or(Refusal::Hosts);
    let header = request.headers().get(header::HOST);
    let header =
        header.map(|host| Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Hosts)).transpose()?;
    // HTTP/2 has it in the URL, and HTTP/1 may.
    let authority = request.uri().authority().or(header.as_ref());
    // Every browser names it.
    let Some(authority) = authority.cloned() else { return Ok(()) };
    let host = named(&authority)?;
    if header.as_ref().map(named).transpose()?.is_some_and(|other| other != host) {
        return Err(Refusal::Hosts);
    }
    if !answers_to(front, host.host()) {
        return Err(Refusal::Host);
    }
    // What looks at it further on finds it here.
    let value = HeaderValue::try_from(authority.as_str()).map_err(|_| Refusal::Hosts)?;
    request.headers_mut().insert(header::HOST, value);
    Ok(())
}

fn answers_to(front: &Front, host: &str) -> bool {
    let names = &front.options.allowed_hosts;
    if !front.is_loopback && names.is_empty() {
        return true;
    }
    is_loopback(host) || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

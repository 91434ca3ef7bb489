//! Headers that decide something: each is there once, and is read here.

use axum::http::{HeaderMap, HeaderName, header};
use ochre_core::selector::is_dns_label;

use crate::gateway::refusal::Refusal;

pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("namespace");
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The headers that have one value. Of two, a proxy may decide by the one and the engine by the other.
///
/// Lists (`accept`, `content-encoding`, `upgrade`, `sec-websocket-protocol`) may come in several lines, and of ids
/// (`x-request-id`, `traceparent`) two are as good as none: see `ids`.
const SINGLE: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    IDEMPOTENCY_KEY,
    NAMESPACE,
    SEC_FETCH_MODE,
];

/// Refuses a request in which such a header is there more than once, whatever the values are.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let repeated = SINGLE.into_iter().find(|name| headers.get_all(name).iter().nth(1).is_some());
    repeated.map_or(Ok(()), |name| Err(Refusal::Repeated(name)))
}

/// Reads a header that has one value, where it is text.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    debug_assert!(SINGLE.contains(name), "{name} may be there twice");
    headers.get(name)?.to_str().ok()
}

/// Reads what says who asks.
pub(super) fn authorization(headers: &HeaderMap) -> Option<&str> {
    single(headers, &header::AUTHORIZATION)
}

/// Reads the namespace of what is asked for.
pub(super) fn namespace(headers: &HeaderMap) -> Result<String, Refusal> {
    if !headers.contains_key(NAMESPACE) {
        return Ok("default".to_owned());
    }
    let name = single(headers, &NAMESPACE).filter(|name| is_dns_label(name)).ok_or(Refusal::Namespace)?;
    Ok(name.to_owned())
}

/// Reads the key by which a request that is sent again is known.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    let key = single(headers, &IDEMPOTENCY_KEY).filter(|key| (1..=255).contains(&key.len()));
    Ok(Some(key.ok_or(Refusal::IdempotencyKey)?.to_owned()))
}

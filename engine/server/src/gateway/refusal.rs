//! Why a request is turned away before it is a GraphQL request at all.

use std::time::Duration;

use async_graphql::ServerError;
use axum::http::{HeaderName, StatusCode};
use ochre_core::code::Code;

use super::answer;
use super::measure::Exceeded;
use crate::identity::IdentityError;

/// Says what is wrong with a request, and what to send instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Neither GET nor POST.
    #[error("the method is neither GET, which reads, nor POST")]
    Method,
    /// GET only reads, since proxies and browsers repeat it at will.
    #[error("GET only reads; send a mutation by POST")]
    MutationByGet,
    /// Nothing that the client accepts can be sent.
    #[error(
        "none of the accepted media types is served; accept application/graphql-response+json, application/json or text/event-stream"
    )]
    NotAcceptable,
    /// A subscription to whoever waits for one answer.
    #[error(
        "a subscription has many answers; accept text/event-stream, or subscribe over WebSocket with graphql-transport-ws"
    )]
    ManyAnswers,
    /// The body is in a form that is not read.
    #[error("the content type must be application/json, in UTF-8")]
    ContentType,
    /// Uploads.
    #[error("nothing can be uploaded, so multipart/form-data is refused; send application/json")]
    Multipart,
    /// A content type that a page of any site may send.
    #[error(
        "text/plain is taken only with a bearer token and from an origin that the server trusts (--trusted-origin); send application/json"
    )]
    PlainText,
    /// A request that a page of any site could have made a browser send.
    #[error(
        "a page of another site could have made a browser send this; send it by POST as application/json, or with a header x-requested-with"
    )]
    CrossSite,
    /// A name that leads here, and is not ours.
    #[error(
        "the server is not known by the name in the header Host; call it localhost, or name it at its start (--allowed-host)"
    )]
    Host,
    /// A header that decides something is there twice.
    #[error("the header {0} is given more than once, so that it is not known which is meant; send it once")]
    Repeated(HeaderName),
    /// The URL of the request, or its `:authority`, and the header name two servers, or one of them names none.
    #[error(
        "it is not known for which server this is: the header Host and the URL (:authority) name a host, and a port if \
         need be, and both the same; send one name"
    )]
    Hosts,
    /// It is not known who asks.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No WebSocket comes of it.
    #[error("this is no handshake for a WebSocket: {0}")]
    Handshake(String),
    /// The namespace cannot be one.
    #[error("the NAMESPACE header is no namespace's name")]
    Namespace,
    /// More than one caller may have.
    #[error("the caller passes the limit `{what}`, {limit}; wait {} s, and try again", seconds(*wait))]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: usize,
        /// How long to wait.
        wait: Duration,
    },
    /// More than all callers together may have.
    #[error("all callers together pass the limit `{what}`, {limit}; wait {} s, and try again", seconds(*wait))]
    Crowded {
        /// What there is too much of.
        what: &'static str,
        /// How many bytes are kept.
        limit: usize,
        /// How long to wait.
        wait: Duration,
    },
    /// The key cannot be one.
    #[error("the header idempotency-key is 1 to 255 visible ASCII characters")]
    IdempotencyKey,
    /// More bytes than are read.
    #[error("the body is larger than {0} bytes, the limit `body`; send less")]
    TooLarge(usize),
    /// A client that sends its body in drops.
    #[error("the body did not come in time (--read-timeout); send it again")]
    Slow,
    /// The client went away, or broke the rules of HTTP.
    #[error("the body ended before it was whole; send it again")]
    CutShort,
    /// A body that must be unpacked first.
    #[error("the body is compressed, and is read as it is; send it without content-encoding")]
    Compressed,
    /// More than a request may ask for.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// No JSON, or not of the right shape.
    #[error("{place} is not a GraphQL request in JSON: {why}")]
    Malformed {
        /// Where it was read.
        place: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Several requests in one.
    #[error("batching is off: the body is an array, and must be one GraphQL request")]
    Batch,
}

impl Refusal {
    /// Says where something is no GraphQL request.
    pub(super) fn malformed(place: &'static str, error: &serde_json::Error) -> Self {
        Self::Malformed { place, why: error.to_string() }
    }

    /// Says it as GraphQL does.
    pub(super) fn error(&self) -> ServerError {
        let mut error = answer::error(self.code(), self.to_string(), Vec::new());
        if let Some(wait) = self.retry_after() {
            error.extensions.get_or_insert_default().set("retryAfter", wait);
        }
        error
    }

    /// Says it in the words of Capact's gateway, where it is not known who asks.
    pub(super) const fn in_capacts_words(&self) -> Option<&'static str> {
        match self {
            Self::Identity(IdentityError::Missing(_)) => Some("missing credentials"),
            Self::Identity(error) if !error.is_ours() => Some("wrong credentials"),
            _ => None,
        }
    }

    /// Says after how many seconds to try again, where that is known.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { wait, .. } | Self::Crowded { wait, .. } => Some(seconds(*wait)),
            Self::Identity(error) if error.is_ours() => Some(answer::RETRY_AFTER),
            _ => None,
        }
    }

    /// Gives the HTTP status that says the same.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Method | Self::MutationByGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable | Self::ManyAnswers => StatusCode::NOT_ACCEPTABLE,
            Self::ContentType | Self::Multipart | Self::PlainText | Self::Compressed => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } | Self::Identity(IdentityError::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Self::Crowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Identity(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite
            | Self::Repeated(_)
            | Self::Hosts
            | Self::Handshake(_)
            | Self::Namespace
            | Self::IdempotencyKey
            | Self::CutShort
            | Self::Exceeded(_)
            | Self::Malformed { .. }
            | Self::Batch => StatusCode::BAD_REQUEST,
        }
    }

    /// Gives the code for `errors[].extensions.code`.
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::TooLarge(_)
            | Self::TooMany { .. }
            | Self::Crowded { .. }
            | Self::Slow
            | Self::Exceeded(_)
            | Self::Identity(IdentityError::Busy) => Code::LimitExceeded,
            Self::Identity(error) if error.is_ours() => Code::UpstreamUnavailable,
            Self::Identity(_) => Code::Unauthenticated,
            Self::Method
            | Self::MutationByGet
            | Self::NotAcceptable
            | Self::ManyAnswers
            | Self::ContentType
            | Self::Multipart
            | Self::PlainText
            | Self::Compressed
            | Self::CrossSite
            | Self::Host
            | Self::Repeated(_)
            | Self::Hosts
            | Self::Handshake(_)
            | Self::Namespace
            | Self::IdempotencyKey
            | Self::CutShort
            | Self::Malformed { .. }
            | Self::Batch => Code::BadUserInput,
        }
    }
}

/// Counts whole seconds, and one at least.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

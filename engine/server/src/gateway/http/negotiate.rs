//! What the headers of a request say: which answer is wanted, how the body is to be read, and whether a
//! page of another site could have sent it.

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, header};

use super::headers::{SEC_FETCH_MODE, authorization, single};
use super::origin::Origin;
use crate::gateway::refusal::Refusal;

/// The media type of an answer that comes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/graphql-response+json`: the HTTP status tells of the request's errors.
    GraphqlResponse,
    /// `application/json`: the HTTP status is 200 for whatever GraphQL answered.
    Json,
}

impl Media {
    /// Prints it for `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// What a client takes for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// How an answer is sent that comes at once.
    pub single: Option<Media>,
    /// Whether answers may be sent as `text/event-stream`.
    pub events: bool,
}

impl Accepted {
    /// Chooses how it is said that something is refused.
    pub(super) fn single_or_json(self) -> Media {
        self.single.unwrap_or(Media::Json)
    }
}

/// Reads `Accept`; without it a client takes anything.
pub(super) fn accepted(headers: &HeaderMap) -> Accepted {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = lines.iter().flat_map(|line| line.split(',')).filter_map(range).collect();
    if !headers.contains_key(header::ACCEPT) {
        return Accepted { single: Some(Media::Json), events: true };
    }
    let json = wish(&ranges, "application/json");
    let response = wish(&ranges, "application/graphql-response+json");
    // Whoever takes anything gets the older one, and whoever names both gets the one that says more.
    let single = match (response, json) {
        (None, None) => None,
        (Some(response), Some(json)) if response < json || (response == json && !response.named) => {
            Some(Media::Json)
        }
        (Some(_), _) => Some(Media::GraphqlResponse),
        (None, Some(_)) => Some(Media::Json),
    };
    Accepted { single, events: wish(&ranges, "text/event-stream").is_some() }
}

/// One entry of `Accept`.
struct Range<'h> {
    media: &'h str,
    quality: f32,
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| !media.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(Range { media, quality: quality.and_then(|quality| quality.parse().ok()).unwrap_or(1.0) })
}

/// How much a media type is wanted.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Wish {
    quality: f32,
    named: bool,
}

/// Looks a media type up; the most precise range decides, and none or `q=0` means that it is not wanted.
fn wish(ranges: &[Range<'_>], media: &str) -> Option<Wish> {
    let kind = media.split('/').next().unwrap_or_default();
    let precision = |range: &Range<'_>| match range.media {
        "*/*" => Some(0),
        other if other.eq_ignore_ascii_case(media) => Some(2),
        other => other.strip_suffix("/*").filter(|other| other.eq_ignore_ascii_case(kind)).map(|_| 1),
    };
    let found = ranges.iter().filter_map(|range| Some((precision(range)?, range.quality)));
    let (precision, quality) = found.max_by_key(|(precision, _)| *precision)?;
    (quality > 0.0).then_some(Wish { quality, named: precision == 2 })
}

/// Sees that a body may be read: it is JSON in UTF-8, so that browsers ask before they send it, and as it is, since
/// little that is packed may be much.
pub(super) fn check_body(headers: &HeaderMap, trusted_origins: &[String]) -> Result<(), Refusal> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(Refusal::Compressed);
    }
    let (media, charset) = content_type(headers);
    if !charset.is_none_or(|charset| charset.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(Refusal::ContentType);
    }
    match media.to_ascii_lowercase().as_str() {
        "application/json" => Ok(()),
        "text/plain" if has_bearer_token(headers) && is_from(headers, trusted_origins) => Ok(()),
        "text/plain" => Err(Refusal::PlainText),
        "multipart/form-data" | "multipart/mixed" => Err(Refusal::Multipart),
        _ => Err(Refusal::ContentType),
    }
}

/// Headers that no page can set for another site without asking it first.
pub(super) const DELIBERATE: [HeaderName; 4] = [
    HeaderName::from_static("x-requested-with"),
    HeaderName::from_static("apollo-require-preflight"),
    HeaderName::from_static("x-apollo-operation-name"),
    HeaderName::from_static("graphql-require-preflight"),
];

/// Sees that no page of another site can have sent a GET.
///
/// Browsers ask first before they send JSON or a header of ours for a page of another site. What they say of
/// themselves in `Sec-Fetch-Mode` no page can set: with `cors` they name another site's page in `Origin`.
pub(super) fn check_read(headers: &HeaderMap, scheme: Scheme) -> Result<(), Refusal> {
    let is_json = content_type(headers).0.eq_ignore_ascii_case("application/json");
    let is_deliberate = DELIBERATE.iter().any(|name| headers.contains_key(name));
    let is_own_page = single(headers, &SEC_FETCH_MODE) == Some("cors") && is_same_origin(headers, scheme);
    if is_json || is_deliberate || is_own_page { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// Tells whether a WebSocket is to be made of a request.
pub(super) fn wants_socket(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::UPGRADE).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")))
}

/// Tells whether a request comes from a page of this server, which is reached by this scheme, or from no page at all.
pub(super) fn is_same_origin(headers: &HeaderMap, scheme: Scheme) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let host = single(headers, &header::HOST).and_then(|host| host.parse::<Authority>().ok());
    let own = host.and_then(|host| Origin::new(scheme, &host));
    own.is_some() && origin(headers) == own
}

/// Tells whether a request comes from a page of one of these origins.
pub(super) fn is_from(headers: &HeaderMap, origins: &[String]) -> bool {
    origin(headers)
        .is_some_and(|origin| origins.iter().any(|each| Origin::parse(each).as_ref() == Some(&origin)))
}

fn has_bearer_token(headers: &HeaderMap) -> bool {
    authorization(headers)
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
}

/// Splits `Content-Type` into the media type and the charset.
fn content_type(headers: &HeaderMap) -> (&str, Option<&str>) {
    let mut parts = single(headers, &header::CONTENT_TYPE).unwrap_or_default().split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let mut parameters = parts.filter_map(|part| part.split_once('='));
    let charset = parameters.find(|(name, _)| name.eq_ignore_ascii_case("charset")).map(|(_, value)| value);
    (media, charset)
}

fn origin(headers: &HeaderMap) -> Option<Origin> {
    single(headers, &header::ORIGIN).and_then(Origin::parse)
}

#[cfg(test)]
mod tests;

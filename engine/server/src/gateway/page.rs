//! The playground at `/`: the page and what it loads, as Vite built them (`engine/ui`).

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rust_embed::EmbeddedFile;

/// What was built; nothing, where there was no Node.
#[derive(rust_embed::RustEmbed)]
#[folder = "../ui/dist"]
#[allow_missing = true]
struct Built;

/// Served when nothing was built.
const UNBUILT: &str = include_str!("unbuilt.html");

/// Nothing leaves the origin; its WebSockets are `'self'` too.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Finds a file by its path.
type Find = fn(&str) -> Option<EmbeddedFile>;

/// Builds the routes of the page.
pub(super) fn router() -> Router {
    let page = |headers: HeaderMap| async move { page(Built::get, &headers) };
    let asset =
        |Path(name): Path<String>, headers: HeaderMap| async move { asset(Built::get, &name, &headers) };
    let licences = |headers: HeaderMap| async move { licences(Built::get, &headers) };
    Router::new()
        .route("/", get(page))
        .route("/licences.txt", get(licences))
        .route("/assets/{name}", get(asset))
}

/// Answers with the page, or with how to get it.
fn page(find: Find, headers: &HeaderMap) -> Response {
    let said = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match send(find, "index.html", headers) {
        Some(page) => (said, page).into_response(),
        None => (said, [(header::CONTENT_TYPE, HTML)], UNBUILT).into_response(),
    }
}

/// Answers with something that the page loads; what has a hash in its name never changes.
fn asset(find: Find, name: &str, headers: &HeaderMap) -> Response {
    file(find, &format!("assets/{name}"), "public, max-age=31536000, immutable", headers)
}

/// Answers with the licences of what the page is made of.
fn licences(find: Find, headers: &HeaderMap) -> Response {
    file(find, "licences.txt", "no-cache", headers)
}

/// Answers with a file, if it is there.
fn file(find: Find, path: &str, caching: &'static str, headers: &HeaderMap) -> Response {
    let said = [(header::CACHE_CONTROL, caching), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match send(find, path, headers) {
        Some(file) => (said, file).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Sends a file in the smallest form that the client takes, unless it has just that.
fn send(find: Find, path: &str, headers: &HeaderMap) -> Option<Response> {
    let media = media(path)?;
    let compressed = [("br", "br"), ("gzip", "gz")].into_iter().filter(|(coding, _)| takes(headers, coding));
    let mut compressed =
        compressed.filter_map(|(coding, suffix)| Some((find(&format!("{path}.{suffix}"))?, Some(coding))));
    let (file, coding) = compressed.next().or_else(|| Some((find(path)?, None)))?;
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let has =
        entries(headers, &header::IF_NONE_MATCH).any(|had| had == "*" || had.trim_start_matches("W/") == tag);
    let mut response = if has { StatusCode::NOT_MODIFIED.into_response() } else { file.data.into_response() };
    let said = response.headers_mut();
    said.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    said.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    said.extend(coding.map(|coding| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
    said.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    Some(response)
}

const HTML: &str = "text/html; charset=utf-8";

/// Tells what a file is by its name; a compressed one is none of its own.
fn media(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "html" => Some(HTML),
        "js" => Some("text/javascript; charset=utf-8"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

/// Tells whether a client takes a content coding that it names.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    entries(headers, &header::ACCEPT_ENCODING).any(|entry| {
        let (name, quality) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let quality = quality.trim().trim_start_matches(['q', 'Q', '=']).parse().unwrap_or(1.0_f32);
        name.trim().eq_ignore_ascii_case(coding) && quality > 0.0
    })
}

/// Lists what a header lists.
fn entries<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    //! What is sent of a file, to whom; `tests/suite/page.rs` asks for the real ones.

    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{page, takes};

    #[test]
    fn a_coding_is_taken_that_is_named_and_not_refused() {
        let check = |accepted: &'static str, coding: &str, expected: bool| {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes(&headers, coding), expected, "{coding} of {accepted}");
        };
        check("gzip, deflate, br, zstd", "br", true);
        check("gzip;q=0.5", "gzip", true);
        check("GZIP ; Q=0.5", "gzip", true);
        check("gzip;q=0", "gzip", false);
        check("br;q=0.000, gzip", "br", false);
        check("brotli", "br", false);
        check("", "gzip", false);
    }

    #[tokio::test]
    async fn a_build_without_the_page_says_how_to_get_it() {
        let response = page(|_| None, &HeaderMap::new());
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("hack/ui") && body.contains("/graphql"), "{body}");
    }
}

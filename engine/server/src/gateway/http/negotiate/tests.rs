//! What headers mean.

use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderName};

use super::{Accepted, Media, accepted, check_body, check_read};

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    lines.collect()
}

#[test]
fn the_answer_is_what_the_client_likes_best() {
    const RESPONSE: Option<Media> = Some(Media::GraphqlResponse);
    const JSON: Option<Media> = Some(Media::Json);
    for (accept, single, events) in [
        ("application/json", JSON, false),
        ("application/graphql-response+json", RESPONSE, false),
        ("APPLICATION/JSON; charset=utf-8", JSON, false),
        ("*/*", JSON, true),
        ("application/*", JSON, false),
        ("application/graphql-response+json, application/json", RESPONSE, false),
        ("application/json, application/graphql-response+json", RESPONSE, false),
        ("application/graphql-response+json;q=0.5, application/json", JSON, false),
        ("application/json;q=0.9, application/graphql-response+json;q=1.0", RESPONSE, false),
        ("application/json, */*", JSON, true),
        ("application/graphql-response+json, */*;q=0.1", RESPONSE, true),
        ("application/json;q=0, */*", RESPONSE, true),
        ("*/*;q=0", None, false),
        ("text/event-stream", None, true),
        ("text/event-stream, application/json", JSON, true),
        ("text/html, image/*;q=0.8", None, false),
        ("text/*", None, true),
        ("", None, false),
    ] {
        assert_eq!(accepted(&headers(&[("accept", accept)])), Accepted { single, events }, "{accept}");
    }
    assert_eq!(accepted(&headers(&[])), Accepted { single: JSON, events: true });
    let twice = headers(&[("accept", "text/html"), ("accept", "application/json")]);
    assert_eq!(accepted(&twice).single, JSON);
}

#[test]
fn a_body_is_json_or_comes_from_a_page_that_is_trusted() {
    let trusted = ["https://capact.example.com".to_owned()];
    let plain = ("content-type", "text/plain;charset=UTF-8");
    let bearer = ("authorization", "Bearer abc");
    let origin = ("origin", "https://capact.example.com");
    for (lines, is_read) in [
        (vec![("content-type", "application/json")], true),
        (vec![("content-type", "Application/JSON ; charset=\"UTF-8\"")], true),
        (vec![("content-type", "application/json; charset=latin1")], false),
        (vec![("content-type", "application/json5")], false),
        (vec![("content-type", "application/json"), ("content-encoding", "gzip")], false),
        (vec![("content-type", "application/json"), ("content-encoding", "identity")], true),
        (vec![("content-type", "multipart/form-data; boundary=x")], false),
        (vec![], false),
        (vec![plain], false),
        (vec![plain, bearer], false),
        (vec![plain, origin], false),
        (vec![plain, ("authorization", "Bearer "), origin], false),
        (vec![plain, ("authorization", "Basic abc"), origin], false),
        (vec![plain, bearer, ("origin", "https://capact.example.com.evil.example")], false),
        (vec![plain, bearer, origin], true),
    ] {
        assert_eq!(check_body(&headers(&lines), &trusted).is_ok(), is_read, "{lines:?}");
    }
    assert!(check_body(&headers(&[plain, bearer, origin]), &[]).is_err(), "nobody is trusted unasked");
}

#[test]
fn a_read_cannot_come_from_another_site() {
    let cors = ("sec-fetch-mode", "cors");
    let host = ("host", "ochre.example.com");
    for (lines, is_read) in [
        (vec![], false),
        (vec![("accept", "application/graphql-response+json")], false),
        (vec![("content-type", "text/plain")], false),
        (vec![("content-type", "application/json")], true),
        (vec![("x-requested-with", "curl")], true),
        (vec![("apollo-require-preflight", "true")], true),
        (vec![("sec-fetch-mode", "navigate")], false),
        (vec![("sec-fetch-mode", "no-cors")], false),
        (vec![host, cors], true),
        (vec![host, cors, ("origin", "https://ochre.example.com")], true),
        (vec![host, cors, ("origin", "https://ochre.example.com:443")], true),
        (vec![host, cors, ("origin", "http://ochre.example.com")], false),
        (vec![host, cors, ("origin", "https://ochre.example.com:8443")], false),
        (vec![host, cors, ("origin", "https://evil.example.com")], false),
        (vec![host, cors, ("origin", "null")], false),
        (vec![cors, ("origin", "https://")], false),
    ] {
        assert_eq!(check_read(&headers(&lines), Scheme::HTTPS).is_ok(), is_read, "{lines:?}");
    }
}

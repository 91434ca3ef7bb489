//! The access log: one line for each request, of what is known by its headers, and of the operation in it.
//!
//! Neither bodies nor the queries of URLs are in it: they hold parameters.

use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span};

use crate::gateway::ids::Ids;
use crate::gateway::record::{Operation, bounded, milliseconds};
use crate::gateway::spans;

/// Paths that are asked for every few seconds, and say nothing new.
const QUIET: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Names a request, lets it be answered, and writes its line.
pub(super) async fn log(mut request: Request, next: Next) -> Response {
    let is_quiet = QUIET.contains(&request.uri().path());
    let (ids, span) = Ids::open(request.headers(), is_quiet);
    request.extensions_mut().insert(ids.clone());
    let mut line = Line::begin(&request, ids.clone(), span.clone());
    let mut response = next.run(request).instrument(span).await;
    ids.write(response.headers_mut());
    line.status = Some(response.status());
    // A body that is sent in parts says it in the head.
    let said = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    line.bytes = response.body().size_hint().exact().or_else(said);
    line.operation = response.extensions_mut().remove().unwrap_or_default();
    response
}

/// A line that is written when the request is over, even if its client went away before.
struct Line {
    ids: Ids,
    span: Span,
    method: Method,
    path: String,
    began: Instant,
    status: Option<StatusCode>,
    bytes: Option<u64>,
    operation: Operation,
}

impl Line {
    fn begin(request: &Request, ids: Ids, span: Span) -> Self {
        let (method, path) = (request.method().clone(), bounded(request.uri().path()));
        let (began, operation) = (Instant::now(), Operation::default());
        Self { ids, span, method, path, began, status: None, bytes: None, operation }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { ids, span, method, path, began, status, bytes, operation } = self;
        if QUIET.contains(&path.as_str()) {
            return;
        }
        spans::end(span, operation, *status);
        tracing::info!(
            target: "access",
            method = method.as_str(),
            path,
            status = status.map(|status| status.as_u16()),
            bytes,
            operation = operation.kind(),
            name = operation.name,
            code = operation.code,
            duration.ms = milliseconds(*began),
            who = operation.who,
            request.id = &*ids.request,
            trace.id = ids.trace.id(),
            "{}",
            if status.is_some() { "answered" } else { "went away" }
        );
    }
}

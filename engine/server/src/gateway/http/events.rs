//! GraphQL over server-sent events, in distinct connections: each operation has its own response.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gateway::answer::Answer;

/// A sign of life.
const COMMENT: &str = ":\n\n";

/// That there are no more answers; the empty field makes browsers tell of it.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Sends the answers of an operation as they come, and then that there are no more.
///
/// The next is looked for when the one before is written, so a slow reader holds back only itself. When the
/// engine stops it is not said that there are no more: clients ask again, and another engine answers.
pub(super) fn send(
    answers: impl Stream<Item = Answer> + Send + 'static,
    keep_alive: Duration,
    stop: CancellationToken,
) -> Response {
    let events = stream::unfold(Some(Box::pin(answers)), move |answers| async move {
        let mut answers = answers?;
        Some(match timeout(keep_alive, answers.next()).await {
            Ok(Some(answer)) => (format!("event: next\ndata: {}\n\n", answer.to_json()), Some(answers)),
            Ok(None) => (COMPLETE.to_owned(), None),
            Err(_) => (COMMENT.to_owned(), Some(answers)),
        })
    });
    let events = events.take_until(stop.cancelled_owned());
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would keep the events back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}

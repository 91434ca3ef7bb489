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
use crate::gateway::buffer::{Answers, parts};

/// A sign of life.
const COMMENT: &str = ":\n\n";

/// That there are no more answers; the empty field makes browsers tell of it.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Sends the answers of an operation as they come, and then that there are no more.
///
/// The next is looked for when the one before is written, so a slow reader holds back only itself. One for which there
/// is no room until it is read is not sent, and the stream ends. When the
/// engine stops it is not said that there are no more: clients ask again, and another engine answers.
pub(super) fn send(
    told: impl Stream<Item = Answer> + Send + 'static,
    answers: Answers,
    keep_alive: Duration,
    stop: CancellationToken,
) -> Response {
    let events = stream::unfold(Some(Box::pin(told)), move |told| {
        let answers = answers.clone();
        async move {
            let mut told = told?;
            // The one before is written.
            answers.read();
            let heard = timeout(keep_alive, told.next()).await;
            Some(match heard {
                Ok(Some(answer)) => {
                    let event = format!("event: next\ndata: {}\n\n", answer.to_json());
                    match answers.print(event.len()) {
                        Ok(()) => (event, Some(told)),
                        Err(refusal) => {
                            let answer = Answer::from(refusal.error());
                            (format!("event: next\ndata: {}\n\n{COMPLETE}", answer.to_json()), None)
                        }
                    }
                }
                Ok(None) => (COMPLETE.to_owned(), None),
                Err(_) => (COMMENT.to_owned(), Some(told)),
            })
        }
    });
    let events = events.flat_map(|event| stream::iter(parts(event, ())));
    let events = events.take_until(stop.cancelled_owned());
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would keep the events back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}

//! What is kept of an operation when it has ended.

use std::time::Instant;

use async_graphql::parser::types::OperationType;
use tracing::Span;

use super::answer::Answer;
use super::ids::Ids;
use super::request::Prepared;
use super::spans;
use crate::identity::Caller;
use crate::metrics::Metrics;

/// The most characters of a name in a log line.
const MAX_NAME: usize = 128;

/// What is said of an operation to those who run the engine; nothing that is secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Operation {
    /// What it does; unknown when it is none.
    pub kind: Option<OperationType>,
    /// What its document calls it.
    pub name: Option<String>,
    /// Who asks.
    pub who: Option<String>,
    /// What went wrong first; `OK` when nothing did.
    pub code: Option<String>,
}

impl Operation {
    /// Names what it does.
    pub(super) fn kind(&self) -> &'static str {
        self.kind.map_or("none", |kind| match kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        })
    }

    fn is_subscription(&self) -> bool {
        self.kind == Some(OperationType::Subscription)
    }
}

/// An operation that is under way; it ends when this is dropped, however that comes.
#[derive(Debug)]
pub(super) struct Record {
    /// What it is called.
    pub ids: Ids,
    /// What it is.
    pub operation: Operation,
    began: Instant,
    metrics: Metrics,
    /// It outlives its request, or has none.
    lasts: bool,
    /// Its own, when it lasts.
    span: Span,
    is_handed_over: bool,
}

impl Record {
    /// Begins with what is not known to be an operation yet.
    pub(super) fn begin(ids: Ids, metrics: Metrics) -> Self {
        let (operation, began) = (Operation::default(), Instant::now());
        Self { ids, operation, began, metrics, lasts: false, span: Span::none(), is_handed_over: false }
    }

    /// Hears who asks.
    pub(super) fn asked_by(&mut self, caller: &Caller) {
        if let Caller::Person(person) = caller {
            self.operation.who = Some(bounded(&person.username));
        }
    }

    /// Hears what is asked.
    pub(super) fn asks(&mut self, prepared: &Prepared) {
        self.operation.kind = Some(prepared.kind);
        self.operation.name = prepared.name.as_deref().map(bounded);
    }

    /// Hears an answer, and names the request in its errors.
    pub(super) fn answered(&mut self, answer: Answer) -> Answer {
        self.ends_with(answer.code());
        answer.of(&self.ids.request)
    }

    /// Hears what went wrong; what did so first remains.
    pub(super) fn ends_with(&mut self, code: Option<&str>) {
        if matches!(self.operation.code.as_deref(), None | Some("OK")) {
            self.operation.code = Some(code.unwrap_or("OK").to_owned());
        }
    }

    /// Lets the operation outlive its request.
    pub(super) fn lasting(&mut self) -> Self {
        self.is_handed_over = true;
        let (ids, operation, metrics) = (self.ids.clone(), self.operation.clone(), self.metrics.clone());
        if operation.is_subscription() {
            metrics.subscribed();
        }
        let span = ids.span();
        Self { ids, operation, began: self.began, metrics, lasts: true, span, is_handed_over: false }
    }

    /// Gives the span of an operation that lasts.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.is_handed_over {
            return;
        }
        let Self { ids, operation, began, metrics, .. } = self;
        // A client that went away was told nothing.
        let code = operation.code.as_deref().unwrap_or(if self.lasts { "OK" } else { "ABORTED" });
        metrics.answered(operation.kind(), code, began.elapsed());
        if !self.lasts {
            return;
        }
        if operation.is_subscription() {
            metrics.unsubscribed();
        }
        spans::end(&self.span, operation, None);
        tracing::info!(
            target: "access",
            operation = operation.kind(),
            name = operation.name,
            code,
            duration.ms = milliseconds(*began),
            who = operation.who,
            request.id = &*ids.request,
            trace.id = ids.trace.id(),
            "ended"
        );
    }
}

/// Counts the time since then.
pub(super) fn milliseconds(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Takes as much of a text as a log line may have.
pub(super) fn bounded(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

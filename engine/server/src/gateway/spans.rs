//! What OpenTelemetry is told of a request: where it stands in its trace, and what came of it.
//!
//! Nothing without the feature `opentelemetry`, and nothing when nobody is told (`--otlp-endpoint`).

#[cfg(not(feature = "opentelemetry"))]
pub(super) use nobody::{end, join};
#[cfg(feature = "opentelemetry")]
pub(super) use somebody::{end, join};

#[cfg(feature = "opentelemetry")]
mod somebody {
    use axum::http::StatusCode;
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use crate::gateway::ids::Trace;
    use crate::gateway::record::Operation;

    /// Puts a span into the trace that a request brings, or into a new one; yields its place, if somebody is told.
    pub(in crate::gateway) fn join(span: &Span, brought: Option<Trace>) -> Option<Trace> {
        span.record("otel.kind", "server");
        if let Some(Trace { id, span: parent, is_sampled }) = brought {
            let flags = TraceFlags::default().with_sampled(is_sampled);
            let (id, parent) = (TraceId::from(id), SpanId::from(parent));
            let parent = SpanContext::new(id, parent, flags, true, TraceState::default());
            // It fails when nobody is told.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        let context = span.context();
        let place = context.span().span_context().clone();
        place.is_valid().then(|| Trace {
            id: u128::from_be_bytes(place.trace_id().to_bytes()),
            span: u64::from_be_bytes(place.span_id().to_bytes()),
            is_sampled: place.is_sampled(),
        })
    }

    /// Tells what came of an operation, or of a request that is none.
    pub(in crate::gateway) fn end(span: &Span, operation: &Operation, status: Option<StatusCode>) {
        let Operation { name, code, .. } = operation;
        if operation.kind.is_some() {
            span.context().span().update_name(operation.kind());
            span.set_attribute("graphql.operation.type", operation.kind());
        }
        if let Some(name) = name {
            span.set_attribute("graphql.operation.name", name.clone());
        }
        if let Some(status) = status {
            span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
        }
        let Some(code) = code else { return };
        span.set_attribute("ochre.code", code.clone());
        if code != "OK" {
            span.set_status(Status::error(code.clone()));
        }
    }
}

#[cfg(not(feature = "opentelemetry"))]
mod nobody {
    use axum::http::StatusCode;
    use tracing::Span;

    use crate::gateway::ids::Trace;
    use crate::gateway::record::Operation;

    /// Knows of no place in a trace.
    pub(in crate::gateway) const fn join(_: &Span, _: Option<Trace>) -> Option<Trace> {
        None
    }

    /// Tells nobody.
    pub(in crate::gateway) const fn end(_: &Span, _: &Operation, _: Option<StatusCode>) {}
}

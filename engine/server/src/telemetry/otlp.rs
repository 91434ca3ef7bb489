//! Spans, sent to a collector by OTLP over HTTP, on a thread of its own: when the collector is slow or away, spans are
//! lost and nothing else.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, Filtered, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// How long the last spans may take at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What sends spans; it sends the last when it is dropped.
pub(crate) struct Sending(Option<SdkTracerProvider>);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(PATIENCE)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last spans were not sent");
        }
    }
}

/// What turns spans of the program into those of OpenTelemetry.
type Spans<S> = Filtered<OpenTelemetryLayer<S, SdkTracer>, FilterFn, S>;

/// Tells a collector of spans, if one is named.
pub(super) fn layer<S>(endpoint: Option<&str>) -> anyhow::Result<(Option<Spans<S>>, Sending)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(endpoint) = endpoint else { return Ok((None, Sending(None))) };
    let address = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(address).build();
    let exporter = exporter.with_context(|| format!("no spans can be sent to --otlp-endpoint {endpoint}"))?;
    let provider =
        SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
    let told: fn(&Metadata<'_>) -> bool = is_told;
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("ochre"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(told).with_max_level_hint(LevelFilter::DEBUG));
    Ok((Some(spans), Sending(Some(provider))))
}

/// Says what sends the spans: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, or `ochre`.
fn resource() -> Resource {
    let version = || KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let told = Resource::builder().with_attribute(version()).build();
    match told.get(&"service.name".into()) {
        Some(Value::String(name)) if !name.as_str().starts_with("unknown_service") => told,
        _ => Resource::builder().with_attribute(version()).with_service_name("ochre").build(),
    }
}

/// Tells which spans are sent: requests, operations, what is done about an Action, and what the API server is asked
/// meanwhile; no log lines, and nothing that lasts as long as the process.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = target.starts_with("ochre") && *metadata.level() <= Level::INFO;
    let is_theirs = target.starts_with("kube_client::client");
    metadata.is_span() && (is_ours || is_theirs) && !matches!(metadata.name(), "engine" | "watch")
}

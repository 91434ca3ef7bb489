//! What is counted, in the text form that Prometheus reads. Labels have few values, whoever asks for whatever.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, Verdict};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::readiness::Readiness;

/// The media type of the text.
pub(crate) const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of the times that are told apart, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// All that is counted.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    subscriptions: Gauge,
    finished: Family<Labels<2>, Counter>,
    vanished: Counter,
}

impl Metrics {
    /// Begins to count; what is in the cache is counted when somebody looks.
    pub(crate) fn new(readiness: Readiness) -> Self {
        let mut registry = Registry::with_prefix("ochre");
        let requests = Family::default();
        registry.register(
            "graphql_requests",
            "GraphQL requests that ended, with the code of what went wrong first",
            requests.clone(),
        );
        let durations = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        registry.register_with_unit(
            "graphql_request_duration",
            "How long GraphQL requests took, subscriptions to their end",
            Unit::Seconds,
            durations.clone(),
        );
        let subscriptions = Gauge::default();
        registry.register(
            "graphql_subscriptions",
            "GraphQL subscriptions that are followed now",
            subscriptions.clone(),
        );
        let finished = Family::default();
        registry.register(
            "action_runs_finished",
            "Runs of Actions that this process saw end",
            finished.clone(),
        );
        let vanished = Counter::default();
        registry.register(
            "action_runs_vanished",
            "Runs whose Action was gone before this process saw how they ended",
            vanished.clone(),
        );
        registry.register_collector(Box::new(Phases(readiness)));
        Self { registry: Arc::new(registry), requests, durations, subscriptions, finished, vanished }
    }

    /// Counts an operation that has ended.
    pub(crate) fn answered(&self, operation: &'static str, code: &str, took: Duration) {
        let label = || ("operation", operation.to_owned());
        self.durations.get_or_create(&[label()]).observe(took.as_secs_f64());
        self.requests.get_or_create(&[label(), ("code", code.to_owned())]).inc();
    }

    /// Counts a subscription that begins.
    pub(crate) fn subscribed(&self) {
        self.subscriptions.inc();
    }

    /// Counts a subscription that ends.
    pub(crate) fn unsubscribed(&self) {
        self.subscriptions.dec();
    }

    /// Counts a run that has ended.
    pub(crate) fn finished(&self, status: &ActionStatus) {
        let verdict = status.outcome.as_ref().map_or(Verdict::None, |outcome| outcome.verdict);
        let labels = [("phase", status.phase.as_str().to_owned()), ("verdict", verdict.as_str().to_owned())];
        self.finished.get_or_create(&labels).inc();
    }

    /// Counts a run whose end is not known, since its Action is gone.
    pub(crate) fn vanished(&self) {
        self.vanished.inc();
    }

    /// Writes all of it.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

/// How many Actions are in which phase, by the cache; nothing before it is there.
struct Phases(Readiness);

impl fmt::Debug for Phases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Phases")
    }
}

impl Collector for Phases {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(actions) = self.0.actions() else { return Ok(()) };
        let mut counts = Phase::ALL.map(|phase| (phase, 0_u64));
        for action in actions.cache().state() {
            let now = action.status.as_ref().map(|status| status.phase).unwrap_or_default();
            for (_, count) in counts.iter_mut().filter(|(phase, _)| *phase == now) {
                *count += 1;
            }
        }
        let help = "Actions in a phase";
        let mut gauges = encoder.encode_descriptor("actions", help, None, MetricType::Gauge)?;
        for (phase, count) in counts {
            let count = ConstGauge::new(count);
            count.encode(gauges.encode_family(&[("phase", phase.as_str())])?)?;
        }
        Ok(())
    }
}

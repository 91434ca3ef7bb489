//! What is told of what the process does: log lines on standard error, for people on a terminal and as JSON for
//! machines; and spans, to a collector of OpenTelemetry.

#[cfg(feature = "opentelemetry")]
mod otlp;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

#[cfg(feature = "opentelemetry")]
use otlp::{Sending, layer};
#[cfg(not(feature = "opentelemetry"))]
use unbuilt::{Sending, layer};

/// They would log the parameters of Actions: one when it renders, one when it cannot read an answer.
const QUIET: &str = "handlebars=off,kube_client::client=error,kube_client::client::tls=warn";

/// Begins to tell; `filter` has the form of `RUST_LOG`. What is returned sends the last spans when it is dropped.
pub(crate) fn init(filter: &str, otlp_endpoint: Option<&str>) -> anyhow::Result<Sending> {
    let (spans, sending) = layer(otlp_endpoint)?;
    let filter = EnvFilter::try_new(format!("{filter},{QUIET}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{QUIET}")));
    let lines = fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry().with(spans).with(lines.compact().with_filter(filter)).init();
    } else {
        registry().with(spans).with(lines.json().with_filter(filter)).init();
    }
    Ok(sending)
}

#[cfg(not(feature = "opentelemetry"))]
mod unbuilt {
    //! Without OpenTelemetry.

    use anyhow::bail;
    use tracing_subscriber::layer::Identity;

    /// Nothing that is sent.
    pub(crate) type Sending = ();

    /// Tells nobody of spans; fails when somebody is to be told.
    pub(super) fn layer(endpoint: Option<&str>) -> anyhow::Result<(Identity, Sending)> {
        if endpoint.is_some() {
            bail!(
                "this ochre is built without OpenTelemetry, so --otlp-endpoint (OCHRE_OTLP_ENDPOINT) cannot be; leave it \
                 out, or build with `cargo build --features opentelemetry`"
            );
        }
        Ok((Identity::new(), ()))
    }
}

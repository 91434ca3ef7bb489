//! What the gateway may be told at its start.

use std::time::Duration;

use crate::identity::Authentication;

/// How much a request may ask for, and a connection may hold.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits of the gateway")]
pub struct Limits {
    /// The most bytes of a request's body, and of a message on a WebSocket.
    #[arg(long = "limit-body", env = "OCHRE_LIMIT_BODY", default_value_t = Self::default().body)]
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 2 * 1024 * 1024 }
    }
}

/// What the gateway is told at its start.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GatewayOptions {
    /// How it is found out who asks; what they may is then asked of the cluster, before and again when it runs.
    #[arg(long, env = "OCHRE_AUTHENTICATION", value_enum, default_value_t = Authentication::Anonymous)]
    pub authentication: Authentication,
    /// How much may be asked for.
    #[command(flatten)]
    pub limits: Limits,
    /// An origin, such as `https://backups.example.com`, whose pages may send text/plain with a bearer token; may be
    /// given several times.
    #[arg(
        long = "trusted-origin",
        env = "OCHRE_TRUSTED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub trusted_origins: Vec<String>,
}

/// Reads a duration in Go's syntax.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if duration.is_negative() {
        return Err("it is negative".to_owned());
    }
    Ok(duration.into())
}

//! What the gateway may be told at its start.

use std::time::Duration;

use clap::ArgAction;
use clap::builder::BoolishValueParser;

use crate::identity::Authentication;

/// How much a request may ask for, and a connection may hold.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits of the gateway")]
pub struct Limits {
    /// The most bytes of a request's body, and of a message on a WebSocket.
    #[arg(long = "limit-body", env = "OCHRE_LIMIT_BODY", default_value_t = Self::default().body, value_name = "NUMBER")]
    pub body: usize,
    /// The most tokens of a document.
    #[arg(long = "limit-tokens", env = "OCHRE_LIMIT_TOKENS", default_value_t = Self::default().tokens, value_name = "NUMBER")]
    pub tokens: usize,
    /// How deep brackets may nest in a document, and selections with fragments put in their places.
    #[arg(long = "limit-nesting", env = "OCHRE_LIMIT_NESTING", default_value_t = Self::default().nesting, value_name = "NUMBER")]
    pub nesting: usize,
    /// How many fields may be within each other.
    #[arg(long = "limit-depth", env = "OCHRE_LIMIT_DEPTH", default_value_t = Self::default().depth, value_name = "NUMBER")]
    pub depth: usize,
    /// The most fields of an operation, with fragments put in their places.
    #[arg(long = "limit-fields", env = "OCHRE_LIMIT_FIELDS", default_value_t = Self::default().fields, value_name = "NUMBER")]
    pub fields: usize,
    /// The most fields at the top of an operation.
    #[arg(long = "limit-root-fields", env = "OCHRE_LIMIT_ROOT_FIELDS", default_value_t = Self::default().root_fields, value_name = "NUMBER")]
    pub root_fields: usize,
    /// The most aliases of an operation.
    #[arg(long = "limit-aliases", env = "OCHRE_LIMIT_ALIASES", default_value_t = Self::default().aliases, value_name = "NUMBER")]
    pub aliases: usize,
    /// The most directives of an operation.
    #[arg(long = "limit-directives", env = "OCHRE_LIMIT_DIRECTIVES", default_value_t = Self::default().directives, value_name = "NUMBER")]
    pub directives: usize,
    /// How many lists of fields, interfaces or possible types may be within each other in an introspection.
    #[arg(long = "limit-introspection", env = "OCHRE_LIMIT_INTROSPECTION", default_value_t = Self::default().introspection, value_name = "NUMBER")]
    pub introspection: usize,
    /// The most operations at a time on one WebSocket.
    #[arg(long = "limit-operations", env = "OCHRE_LIMIT_OPERATIONS", default_value_t = Self::default().operations, value_name = "NUMBER")]
    pub operations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 2 * 1024 * 1024,
            tokens: 15_000,
            nesting: 50,
            depth: 12,
            fields: 1000,
            root_fields: 20,
            aliases: 30,
            directives: 50,
            introspection: 2,
            operations: 100,
        }
    }
}

/// What the gateway is told at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayOptions {
    /// How it is found out who asks; what they may is then asked of the cluster, before and again when it runs.
    #[arg(long, env = "OCHRE_AUTHENTICATION", value_enum, default_value_t = Authentication::Anonymous)]
    pub authentication: Authentication,
    /// For how long it is remembered whose a token is and what its owner may, at most a minute, in Go's syntax.
    #[arg(long, env = "OCHRE_REMEMBER", default_value = "10s", value_parser = duration)]
    pub remember: Duration,
    /// Whether there is a page at `/` to try the gateway with.
    #[arg(long, env = "OCHRE_PLAYGROUND", default_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    pub playground: bool,
    /// How much may be asked for.
    #[command(flatten)]
    pub limits: Limits,
    /// An origin, such as `https://backups.example.com`, whose pages may use WebSockets, and send text/plain with a
    /// bearer token; may be given several times.
    #[arg(
        long = "trusted-origin",
        env = "OCHRE_TRUSTED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub trusted_origins: Vec<String>,
    /// How often something is sent on a connection where nothing happens, in Go's syntax.
    #[arg(long, env = "OCHRE_KEEP_ALIVE", default_value = "12s", value_parser = duration)]
    pub keep_alive: Duration,
    /// How long a client may take to begin on a WebSocket, in Go's syntax.
    #[arg(long, env = "OCHRE_INIT_TIMEOUT", default_value = "3s", value_parser = duration)]
    pub init_timeout: Duration,
    /// How long a client on a WebSocket may take to read what it is sent, in Go's syntax.
    #[arg(long, env = "OCHRE_WRITE_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub write_timeout: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            authentication: Authentication::default(),
            remember: Duration::from_secs(10),
            playground: true,
            limits: Limits::default(),
            trusted_origins: Vec::new(),
            keep_alive: Duration::from_secs(12),
            init_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// Reads a duration in Go's syntax.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if duration.is_negative() {
        return Err("it is negative".to_owned());
    }
    Ok(duration.into())
}

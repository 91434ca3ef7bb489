//! What the gateway may be told at its start.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgAction;
use clap::builder::{BoolishValueParser, RangedU64ValueParser};

use ochre_core::decide::Access;

use crate::identity::{Authentication, SetupError};

/// How much a request may ask for, and a connection may hold.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits of the gateway")]
pub struct Limits {
    /// The most bytes of a request's body, and of a message on a WebSocket.
    #[arg(long = "limit-body", env = "OCHRE_LIMIT_BODY", default_value_t = Self::default().body, value_name = "NUMBER")]
    pub body: usize,
    /// The most bytes of bodies and messages that are kept in memory, over all connections, and no less than one may
    /// have; one caller has a quarter.
    #[arg(long = "limit-buffer", env = "OCHRE_LIMIT_BUFFER", default_value_t = Self::default().buffer, value_name = "NUMBER")]
    pub buffer: usize,
    /// The most bytes of answers that are kept in memory while they are made and until they are read, over all
    /// connections, and no less than one may cost; one caller has a quarter.
    #[arg(long = "limit-answers", env = "OCHRE_LIMIT_ANSWERS", default_value_t = Self::default().answers, value_name = "NUMBER")]
    pub answers: usize,
    /// The most bytes of Actions that are kept in memory; beyond it those of the namespace that has most are kept in brief.
    #[arg(long = "limit-actions", env = "OCHRE_LIMIT_ACTIONS", default_value_t = Self::default().actions, value_name = "NUMBER")]
    pub actions: usize,
    /// The most bytes of other objects of the cluster that are kept in memory; beyond it those of the namespace that has
    /// most are kept in brief.
    #[arg(long = "limit-watched", env = "OCHRE_LIMIT_WATCHED", default_value_t = Self::default().watched, value_name = "NUMBER")]
    pub watched: usize,
    /// The most values in the JSON of a request, or of a message on a WebSocket.
    #[arg(long = "limit-values", env = "OCHRE_LIMIT_VALUES", default_value_t = Self::default().values, value_name = "NUMBER")]
    pub values: usize,
    /// The most bytes of a document, and of any other string in the JSON of a request or message.
    #[arg(long = "limit-text", env = "OCHRE_LIMIT_TEXT", default_value_t = Self::default().text, value_name = "NUMBER")]
    pub text: usize,
    /// The most bytes of a name, or of a number, in a document.
    #[arg(long = "limit-name", env = "OCHRE_LIMIT_NAME", default_value_t = Self::default().name, value_name = "NUMBER")]
    pub name: usize,
    /// The most tokens of a document.
    #[arg(long = "limit-tokens", env = "OCHRE_LIMIT_TOKENS", default_value_t = Self::default().tokens, value_name = "NUMBER")]
    pub tokens: usize,
    /// The most operations and fragments of a document.
    #[arg(long = "limit-definitions", env = "OCHRE_LIMIT_DEFINITIONS", default_value_t = Self::default().definitions, value_name = "NUMBER")]
    pub definitions: usize,
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
    /// The most that an answer may cost: one for every field and item, and one more for every 64 bytes of a value.
    #[arg(long = "limit-cost", env = "OCHRE_LIMIT_COST", default_value_t = Self::default().cost, value_name = "NUMBER")]
    pub cost: usize,
    /// How long a query or a mutation may take, in Go's syntax.
    #[arg(long = "limit-time", env = "OCHRE_LIMIT_TIME", default_value = "30s", value_parser = duration)]
    pub time: Duration,
    /// The most requests of one caller in a second, over all connections.
    #[arg(long = "limit-requests", env = "OCHRE_LIMIT_REQUESTS", default_value_t = Self::default().requests, value_name = "NUMBER")]
    pub requests: NonZeroU32,
    /// The most wrong tokens and passwords from one address in a second.
    #[arg(long = "limit-guesses", env = "OCHRE_LIMIT_GUESSES", default_value_t = Self::default().guesses, value_name = "NUMBER")]
    pub guesses: NonZeroU32,
    /// The most Backups, and the most Restores, of Actions of one namespace that Velero has not ended, those of canceled
    /// Actions too; further ones wait.
    #[arg(long = "limit-at-work", env = "OCHRE_LIMIT_AT_WORK", default_value_t = Self::default().at_work, value_name = "NUMBER", value_parser = at_least(1))]
    pub at_work: usize,
    /// The most subscriptions of one caller, over all connections.
    #[arg(long = "limit-subscriptions", env = "OCHRE_LIMIT_SUBSCRIPTIONS", default_value_t = Self::default().subscriptions, value_name = "NUMBER")]
    pub subscriptions: usize,
    /// The most operations at a time on one WebSocket.
    #[arg(long = "limit-operations", env = "OCHRE_LIMIT_OPERATIONS", default_value_t = Self::default().operations, value_name = "NUMBER")]
    pub operations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 2 * 1024 * 1024,
            buffer: 64 * 1024 * 1024,
            answers: 64 * 1024 * 1024,
            actions: 96 * 1024 * 1024,
            watched: 48 * 1024 * 1024,
            values: 15_000,
            text: 256 * 1024,
            name: 256,
            tokens: 15_000,
            definitions: 200,
            nesting: 50,
            depth: 12,
            fields: 1000,
            root_fields: 20,
            aliases: 30,
            directives: 50,
            introspection: 2,
            cost: 150_000,
            time: Duration::from_secs(30),
            requests: NonZeroU32::MIN.saturating_add(199),
            guesses: NonZeroU32::MIN.saturating_add(49),
            at_work: 2,
            subscriptions: 100,
            operations: 100,
        }
    }
}

/// How connections are taken.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connections of the gateway")]
pub struct Connections {
    /// The most connections at a time; others wait.
    #[arg(long = "limit-connections", env = "OCHRE_LIMIT_CONNECTIONS", default_value_t = Self::default().most, value_name = "NUMBER", value_parser = at_least(1))]
    pub most: usize,
    /// The most connections at a time on which it is not known yet who asks; one more ends the oldest. Where that is not found out in
    /// the time of --read-timeout, what is under way is answered, and the connection ends.
    #[arg(long = "limit-unidentified", env = "OCHRE_LIMIT_UNIDENTIFIED", default_value_t = Self::default().unidentified, value_name = "NUMBER", value_parser = at_least(1))]
    pub unidentified: usize,
    /// The most bytes of a request's head, at least 8192.
    #[arg(long = "limit-headers", env = "OCHRE_LIMIT_HEADERS", default_value_t = Self::default().headers, value_name = "NUMBER", value_parser = at_least(8192))]
    pub headers: usize,
    /// How long a client may take to send a request's head, and then its body, in Go's syntax; and how long an HTTP/1
    /// connection may be idle.
    #[arg(long, env = "OCHRE_READ_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub read_timeout: Duration,
    /// A file with the certificate and those above it, in PEM; it may be replaced while the gateway runs.
    #[arg(long, env = "OCHRE_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// A file with the certificate's private key, in PEM.
    #[arg(long, env = "OCHRE_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Lets the gateway listen beyond loopback without TLS: tokens go over the wire in clear, unless something before
    /// it speaks TLS.
    #[arg(long, env = "OCHRE_INSECURE_HTTP")]
    pub insecure_http: bool,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: 10_000,
            unidentified: 256,
            headers: 32 * 1024,
            read_timeout: Duration::from_secs(30),
            tls_cert: None,
            tls_key: None,
            insecure_http: false,
        }
    }
}

impl Connections {
    /// Names the files of the certificate and its key.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }
}

/// What becomes of documents that are not known beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Trust {
    /// They run.
    #[default]
    Off,
    /// They run, and a line in the log says which they are.
    Log,
    /// They do not run.
    Enforce,
}

/// Who may ask for the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Introspection {
    /// Whoever may ask at all.
    #[default]
    Everyone,
    /// Who may `get` `schemas.core.ochre.dev`.
    Granted,
    /// Nobody.
    Nobody,
}

/// Whose tokens are taken, and whom they name: as kube-apiserver is told, so that they are the same people.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Tokens of an issuer (--authentication oidc)")]
pub struct OidcOptions {
    /// The address of the OpenID Connect issuer, as it is in its tokens.
    #[arg(long, env = "OCHRE_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,
    /// For whom the tokens are.
    #[arg(long, env = "OCHRE_OIDC_AUDIENCE", value_name = "NAME")]
    pub oidc_audience: Option<String>,
    /// The claim that is the user's name.
    #[arg(long, env = "OCHRE_OIDC_USERNAME_CLAIM", default_value = "sub", value_name = "CLAIM")]
    pub oidc_username_claim: String,
    /// What is put before the user's name, `-` for nothing; without it, nothing before the claim `email`, and before
    /// any other the issuer and a `#`.
    #[arg(long, env = "OCHRE_OIDC_USERNAME_PREFIX", value_name = "TEXT", allow_hyphen_values = true)]
    pub oidc_username_prefix: Option<String>,
    /// The claim that names the user's groups; without it, there are none.
    #[arg(long, env = "OCHRE_OIDC_GROUPS_CLAIM", value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// What is put before each group's name.
    #[arg(long, env = "OCHRE_OIDC_GROUPS_PREFIX", default_value = "", value_name = "TEXT")]
    pub oidc_groups_prefix: String,
    /// A file with the certificates, in PEM, of those who vouch for the issuer's; without it, the machine's.
    #[arg(long, env = "OCHRE_OIDC_CA_FILE", value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self {
            oidc_issuer: None,
            oidc_audience: None,
            oidc_username_claim: "sub".to_owned(),
            oidc_username_prefix: None,
            oidc_groups_claim: None,
            oidc_groups_prefix: String::new(),
            oidc_ca_file: None,
        }
    }
}

impl OidcOptions {
    /// Names a flag with which something is said of an issuer.
    fn told(&self) -> Option<&'static str> {
        let untold = Self::default();
        [
            (self.oidc_issuer != untold.oidc_issuer, "--oidc-issuer"),
            (self.oidc_audience != untold.oidc_audience, "--oidc-audience"),
            (self.oidc_username_claim != untold.oidc_username_claim, "--oidc-username-claim"),
            (self.oidc_username_prefix != untold.oidc_username_prefix, "--oidc-username-prefix"),
            (self.oidc_groups_claim != untold.oidc_groups_claim, "--oidc-groups-claim"),
            (self.oidc_groups_prefix != untold.oidc_groups_prefix, "--oidc-groups-prefix"),
            (self.oidc_ca_file != untold.oidc_ca_file, "--oidc-ca-file"),
        ]
        .into_iter()
        .find_map(|(is_told, flag)| is_told.then_some(flag))
    }
}

/// What the gateway is told at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayOptions {
    /// How it is found out who asks, several with commas; what they may is then asked of the cluster, before and
    /// again when it runs. The sandbox is anonymous unless told otherwise.
    #[arg(long, env = "OCHRE_AUTHENTICATION", value_enum, value_delimiter = ',')]
    pub authentication: Vec<Authentication>,
    /// Whose tokens people bring.
    #[command(flatten)]
    pub oidc: OidcOptions,
    /// The file of names and passwords for --authentication basic, read at the start: lines `name:hash`, as
    /// `htpasswd -B` makes them, each with `:group,group` behind it for whoever has groups.
    #[arg(long, env = "OCHRE_BASIC_AUTH_FILE", value_name = "FILE")]
    pub basic_auth_file: Option<PathBuf>,
    /// Tells whoever is not known so as Capact's gateway did: with HTTP 200, and `missing credentials` or
    /// `wrong credentials` as the only error.
    #[arg(long, env = "OCHRE_CAPACT_UNAUTHORIZED")]
    pub capact_unauthorized: bool,
    /// For how long it is remembered whose a token is and what its owner may, at most a minute, in Go's syntax.
    #[arg(long, env = "OCHRE_REMEMBER", default_value = "10s", value_parser = duration)]
    pub remember: Duration,
    /// Whether there is a page at `/` to try the gateway with.
    #[arg(long, env = "OCHRE_PLAYGROUND", default_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    pub playground: bool,
    /// How much may be asked for.
    #[command(flatten)]
    pub limits: Limits,
    /// How connections are taken.
    #[command(flatten)]
    pub connections: Connections,
    /// An origin, such as `https://backups.example.com`, whose pages may ask (CORS), use WebSockets, and send
    /// text/plain with a bearer token; may be given several times.
    #[arg(
        long = "trusted-origin",
        env = "OCHRE_TRUSTED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub trusted_origins: Vec<String>,
    /// A name, without a port, by which the gateway may be called; may be given several times. On loopback those of
    /// this machine need none, and others are refused: a page could have its own name resolved to here.
    #[arg(long = "allowed-host", env = "OCHRE_ALLOWED_HOSTS", value_delimiter = ',', value_name = "NAME")]
    pub allowed_hosts: Vec<String>,
    /// Where it is written down who had what done, one line each, which `ochre audit verify` holds against each other;
    /// without it, nowhere.
    #[arg(long, env = "OCHRE_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// The documents that are known beforehand: a JSON object of their texts by their SHA-256.
    #[arg(long, env = "OCHRE_TRUSTED_DOCUMENTS", value_name = "FILE")]
    pub trusted_documents: Option<PathBuf>,
    /// What becomes of other documents.
    #[arg(long, env = "OCHRE_TRUST", value_enum, default_value_t = Trust::Off, requires = "trusted_documents")]
    pub trust: Trust,
    /// Who may ask for the schema; unless it is everyone, errors suggest no names either.
    #[arg(id = "who_introspects", long = "introspection", value_name = "WHO", env = "OCHRE_INTROSPECTION", value_enum, default_value_t = Introspection::Everyone)]
    pub introspection: Introspection,
    /// How often something is sent on a connection where nothing happens, in Go's syntax.
    #[arg(long, env = "OCHRE_KEEP_ALIVE", default_value = "12s", value_parser = duration)]
    pub keep_alive: Duration,
    /// How long a client may take to begin on a WebSocket, in Go's syntax.
    #[arg(long, env = "OCHRE_INIT_TIMEOUT", default_value = "3s", value_parser = duration)]
    pub init_timeout: Duration,
    /// How long a client may take to read what it is sent, in Go's syntax.
    #[arg(long, env = "OCHRE_WRITE_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub write_timeout: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            authentication: vec![Authentication::Anonymous],
            oidc: OidcOptions::default(),
            basic_auth_file: None,
            capact_unauthorized: false,
            remember: Duration::from_secs(10),
            playground: true,
            limits: Limits::default(),
            connections: Connections::default(),
            trusted_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            audit_log: None,
            trusted_documents: None,
            trust: Trust::default(),
            introspection: Introspection::default(),
            keep_alive: Duration::from_secs(12),
            init_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(10),
        }
    }
}

impl GatewayOptions {
    /// Tells whether the gateway may listen at an address: beyond loopback only when it knows who asks, and when
    /// nobody on the way reads how it knows.
    pub fn may_listen(&self, address: SocketAddr) -> bool {
        let is_private = self.connections.tls().is_some() || self.connections.insecure_http;
        let is_open = self.authentication.contains(&Authentication::Anonymous);
        address.ip().is_loopback() || (!is_open && is_private)
    }

    /// Sees that it is said how it is found out who asks.
    pub fn check_authentication(&self) -> Result<(), SetupError> {
        let is_open = self.authentication.contains(&Authentication::Anonymous);
        match self.authentication.len() {
            0 => return Err(SetupError::Untold),
            2.. if is_open => return Err(SetupError::NotAlone),
            _ => {}
        }
        let passwords = self.basic_auth_file.as_ref().map(|_| "--basic-auth-file");
        for (way, name, told) in
            [(Authentication::Oidc, "oidc", self.oidc.told()), (Authentication::Basic, "basic", passwords)]
        {
            if let Some(flag) = told.filter(|_| !self.authentication.contains(&way)) {
                return Err(SetupError::Unused(name, flag));
            }
        }
        Ok(())
    }

    /// Says whose rights a run has.
    pub(crate) fn access(&self) -> Access {
        let is_open = self.authentication.contains(&Authentication::Anonymous);
        if is_open { Access::Open } else { Access::Checked }
    }
}

/// Reads a number that is no smaller than another.
fn at_least(least: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=1 << 30)
}

/// Reads a duration in Go's syntax.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if duration.is_negative() {
        return Err("it is negative".to_owned());
    }
    Ok(duration.into())
}

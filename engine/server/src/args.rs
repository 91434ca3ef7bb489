//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ochre::options::{GatewayOptions, duration};

/// Backups and restores whose results can be believed: GraphQL in, Velero out.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    /// What to log, in the form of RUST_LOG.
    #[arg(long, global = true, env = "OCHRE_LOG", default_value = "info,kube_client=warn,kube_runtime=warn")]
    pub log: String,
    /// The address of an OpenTelemetry collector, such as `http://127.0.0.1:4318`, that is sent spans by OTLP over HTTP
    /// (to /v1/traces); without it, nothing is sent. The rest is said by OpenTelemetry's own OTEL_ variables. For builds
    /// with the feature `opentelemetry`.
    #[arg(long, global = true, env = "OCHRE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the engine, against any cluster.
    Serve(ServeArguments),
    /// Serves an in-memory cluster with a Velero, and the engine on it: to try, to teach, to test.
    Sandbox(SandboxArguments),
    /// Judges every backup that a Velero holds, whoever made it, and names the data that no good one holds.
    ///
    /// Nothing needs to be installed, and nothing is changed: the one thing it writes are DownloadRequests,
    /// by which Velero is asked for what a backup holds, and it clears them away. Exits with 0 when all is
    /// good, with 1 when there are gaps, and with 2 when it could not be told.
    Doctor(DoctorArguments),
    /// Prints the CustomResourceDefinitions.
    Crd,
    /// Prints the GraphQL schema.
    Schema,
    /// Looks at an audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Looks at a catalog, without any cluster.
    #[command(subcommand)]
    Catalog(CatalogCommand),
}

/// What the engine needs on any cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct EngineArguments {
    /// Where the GraphQL gateway listens; port 0 picks a free one.
    #[arg(long, env = "OCHRE_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The folder of the catalog; without it, the one that comes with the binary.
    #[arg(long, env = "OCHRE_CONTENT")]
    pub content: Option<PathBuf>,
    /// The namespace that Velero watches.
    #[arg(long, env = "OCHRE_VELERO_NAMESPACE", default_value = "velero")]
    pub velero_namespace: String,
    #[command(flatten)]
    /// What the gateway is told.
    pub options: GatewayOptions,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    /// What the engine needs.
    pub engine: EngineArguments,
    /// The cluster; without it and without KUBECONFIG, the one that the process runs in, else as kubectl finds it.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are answered, and nothing else; the gateway answers them too, on loopback.
    #[arg(long, env = "OCHRE_HEALTH_ADDRESS")]
    pub health_address: Option<SocketAddr>,
    /// Whether other engines may run beside this one, so that one of them leads; without it, in a cluster only.
    #[arg(long, env = "OCHRE_LEADER_ELECT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: Option<bool>,
    /// The namespace of the Lease; without it, the pod's, or that of the kubeconfig.
    #[arg(long, env = "OCHRE_NAMESPACE")]
    pub namespace: Option<String>,
    /// What the Lease calls this process; something is added that makes it unique.
    #[arg(long, env = "OCHRE_IDENTITY", default_value = "ochre")]
    pub identity: String,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The cluster; without it and without KUBECONFIG, the one that the process runs in, else as kubectl finds it.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace that Velero watches.
    #[arg(long, env = "OCHRE_VELERO_NAMESPACE", default_value = "velero")]
    pub velero_namespace: String,
    /// How long it may take, in Go's syntax; what was not read by then is UNKNOWN.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: std::time::Duration,
    /// How the report is written.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Writes nothing at all: backups are judged by their status alone, and are UNKNOWN where that does not do.
    #[arg(long)]
    pub no_files: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For machines.
    Json,
}

/// What `sandbox` takes.
#[derive(Debug, Args)]
pub(crate) struct SandboxArguments {
    #[command(flatten)]
    /// What the engine needs.
    pub engine: EngineArguments,
    /// Where the Kubernetes API listens; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:3001")]
    pub cluster_listen: SocketAddr,
    /// Where to write a kubeconfig for it; without it, beside the object store.
    #[arg(long)]
    pub kubeconfig_out: Option<PathBuf>,
    /// The folder of the object store; without it, a temporary one that goes with the process.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Serves just the cluster, without the engine.
    #[arg(long)]
    pub api_only: bool,
    /// Leaves out the small application that the examples save.
    #[arg(long)]
    pub no_demo_app: bool,
    /// Begins without Velero: its kinds are there, and nobody looks at them. The annotation
    /// `sandbox.ochre.dev/velero` on its namespace (`absent`, `present`) lets it die and come back.
    #[arg(long)]
    pub(crate) no_velero: bool,
    /// How long Velero stays in each phase, in Go's syntax; the annotation `sandbox.ochre.dev/step-delay`
    /// on a Backup or Restore goes before.
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub(crate) velero_step_delay: std::time::Duration,
    /// How every Backup and Restore ends: `failed-validation`, `failed`, `partially-failed` or `stuck`;
    /// the annotation `sandbox.ochre.dev/end` goes before.
    #[arg(long, value_parser = ending)]
    pub(crate) velero_end: Option<ochre_sandbox::velero::Ending>,
}

/// What to do with an audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Sees that no line was changed, left out or put in; exits with 1 when one was.
    Verify {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// The digest of a last line that was seen before; it must still be there.
        #[arg(long)]
        last: Option<String>,
    },
}

/// What to do with a catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Reports every problem of a catalog; exits with 1 when one is an error.
    Lint {
        /// The folder.
        folder: PathBuf,
    },
    /// Prints the Role that a ServiceAccount needs for what an Interface does beyond Velero's objects, as far as samples
    /// of its parameters tell.
    Rbac {
        /// The path of an Interface, such as `cap.interface.data.backup`; `@0.1.0` behind it names a revision.
        path: String,
        /// The folder of the catalog; without it, the one that comes with the binary.
        #[arg(long, env = "OCHRE_CONTENT")]
        content: Option<PathBuf>,
        /// The namespace of the Actions.
        #[arg(long, default_value = "default")]
        namespace: String,
        /// The ServiceAccount to bind it to.
        #[arg(long)]
        service_account: Option<String>,
    },
    /// Prints the workflow that would run.
    Render {
        /// The path of an Interface, such as `cap.interface.data.backup`; `@0.1.0` behind it names a revision.
        path: String,
        /// A file with the parameters, JSON or YAML; `-` is standard input.
        #[arg(long)]
        parameters: PathBuf,
        /// The folder of the catalog; without it, the one that comes with the binary.
        #[arg(long, env = "OCHRE_CONTENT")]
        content: Option<PathBuf>,
        /// The namespace that Velero watches.
        #[arg(long, default_value = "velero")]
        velero_namespace: String,
    },
}

fn ending(word: &str) -> Result<ochre_sandbox::velero::Ending, String> {
    ochre_sandbox::velero::Ending::parse(word)
        .ok_or_else(|| "it is one of failed-validation, failed, partially-failed and stuck".to_owned())
}

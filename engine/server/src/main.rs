//! The command line of ochre.

mod args;
mod catalog;
mod sandbox;
mod telemetry;
mod verify;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use args::{
    Arguments, AuditCommand, CatalogCommand, Command, DoctorArguments, EngineArguments, Output,
    ServeArguments,
};
use clap::Parser as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use ochre::content::{self, Content};
use ochre::doctor::Examination;
use ochre::options::GatewayOptions;
use ochre::{Election, Readiness, Serving, Times};
use ochre_core::action::definition;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn main() -> ExitCode {
    let Arguments { log, otlp_endpoint, command } = Arguments::parse();
    ochre::install_tls();
    // What is kept until the end sends the last spans then.
    let ended = telemetry::init(&log, otlp_endpoint.as_deref()).and_then(|_sending| run(command));
    match ended {
        Ok(code) => code,
        Err(error) => {
            // The reader may be gone; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "ochre: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => block_on(serve(arguments)).map(|()| ExitCode::SUCCESS),
        Command::Sandbox(arguments) => block_on(sandbox::run(arguments)).map(|()| ExitCode::SUCCESS),
        Command::Doctor(arguments) => block_on(doctor(arguments)),
        Command::Crd => print(&serde_saphyr::to_string(&definition())?),
        Command::Schema => print(&ochre::sdl()),
        Command::Audit(AuditCommand::Verify { file, last }) => verify::audit(&file, last.as_deref()),
        Command::Catalog(CatalogCommand::Lint { folder }) => catalog::lint(&folder),
        Command::Catalog(CatalogCommand::Rbac { path, content, namespace, service_account }) => {
            catalog::rbac(&path, content.as_deref(), &namespace, service_account.as_deref())
        }
        Command::Catalog(CatalogCommand::Render { path, parameters, content, velero_namespace }) => {
            catalog::render(&path, &parameters, content.as_deref(), velero_namespace)
        }
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Writes data to standard output, the only thing that goes there.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    let ServeArguments { engine, kubeconfig, health_address, leader_elect, namespace, identity } = arguments;
    let stop = stop_on_signal()?;
    let (Engine { content, velero_namespace, options }, listener) = prepare(engine).await?;
    let health = match health_address {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let Cluster { config, is_around_us } = Cluster::find(kubeconfig.as_deref()).await?;
    let election = leader_elect.unwrap_or(is_around_us).then(|| Election {
        namespace: namespace.unwrap_or_else(|| config.default_namespace.clone()),
        // A process that begins anew must not take itself for the one before, which may still act.
        identity: format!("{identity}-{}", Uuid::new_v4().simple()),
        times: Times::default(),
    });
    let client = Client::try_from(config)?;
    let playground = playground_url(&listener, &options)?;
    let mut ready = json!({"graphql": graphql_url(&listener, &options)?, "playground": playground});
    if let Some(health) = &health {
        ready["health"] = json!(format!("http://{}", health.local_addr()?));
    }
    let readiness = Readiness::default();
    let serving =
        Serving { client, content, velero_namespace, options, listener, health, election, readiness };
    let serving = ochre::serve(serving, stop).await?;
    print(&ready.to_string())?;
    Ok(serving.await?)
}

async fn doctor(arguments: DoctorArguments) -> anyhow::Result<ExitCode> {
    let DoctorArguments { kubeconfig, velero_namespace, timeout, output, no_files } = arguments;
    let until = stop_on_signal()?;
    let end = until.clone();
    tokio::spawn(async move {
        tokio::time::sleep(timeout).await;
        end.cancel();
    });
    let client = Client::try_from(Cluster::find(kubeconfig.as_deref()).await?.config)?;
    let how = Examination { velero_namespace, files: !no_files, patience: Duration::from_secs(15) };
    let report = ochre::doctor::examine(client, &how, &until).await?;
    print(&match output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report)?,
    })?;
    Ok(ExitCode::from(report.exit_code))
}

/// What the engine needs, read and checked.
struct Engine {
    content: Content,
    velero_namespace: String,
    options: GatewayOptions,
}

async fn prepare(arguments: EngineArguments) -> anyhow::Result<(Engine, TcpListener)> {
    let EngineArguments { listen, content, velero_namespace, options } = arguments;
    options.check_authentication()?;
    anyhow::ensure!(options.may_listen(listen), ochre::ServeError::NotLoopback(listen));
    let content = Content::new(content::load(content.as_deref())?)?;
    Ok((Engine { content, velero_namespace, options }, self::listen(listen).await?))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn graphql_url(listener: &TcpListener, options: &GatewayOptions) -> anyhow::Result<String> {
    Ok(format!("{}/graphql", origin(listener, options)?))
}

/// Where the playground is, unless it is off.
fn playground_url(listener: &TcpListener, options: &GatewayOptions) -> anyhow::Result<Option<String>> {
    let origin = origin(listener, options)?;
    Ok(options.playground.then(|| format!("{origin}/")))
}

fn origin(listener: &TcpListener, options: &GatewayOptions) -> anyhow::Result<String> {
    let scheme = if options.connections.tls().is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", listener.local_addr()?))
}

/// Which cluster to work on.
struct Cluster {
    config: Config,
    /// Whether this process runs in it.
    is_around_us: bool,
}

impl Cluster {
    async fn find(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = kubeconfig {
            let kubeconfig = Kubeconfig::read_from(path)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            return Ok(Self { config, is_around_us: false });
        }
        let is_around_us =
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && std::env::var_os("KUBECONFIG").is_none();
        let config = if is_around_us { Config::incluster()? } else { Config::infer().await? };
        Ok(Self { config, is_around_us })
    }
}

/// Cancels a token on SIGTERM and on Ctrl-C.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let token = stop.clone();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("stops");
        token.cancel();
    });
    Ok(stop)
}

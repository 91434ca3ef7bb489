//! The command line of ochre.

mod args;
mod catalog;
mod sandbox;
mod telemetry;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use args::{Arguments, CatalogCommand, Command, EngineArguments, ServeArguments};
use clap::Parser as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use ochre::Readiness;
use ochre::content::{self, Content};
use ochre_core::action::definition;
use ochre_core::decide::Settings;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let Arguments { log, command } = Arguments::parse();
    telemetry::init(&log);
    ochre::install_tls();
    match run(command) {
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
        Command::Serve(arguments) => block_on(serve(arguments)),
        Command::Sandbox(arguments) => block_on(sandbox::run(arguments)),
        Command::Crd => print(&serde_saphyr::to_string(&definition())?),
        Command::Schema => print(&ochre::sdl()),
        Command::Catalog(CatalogCommand::Lint { folder }) => catalog::lint(&folder),
        Command::Catalog(CatalogCommand::Render { path, parameters, content, velero_namespace }) => {
            catalog::render(&path, &parameters, content.as_deref(), velero_namespace)
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
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
    let ServeArguments { engine, kubeconfig } = arguments;
    let stop = stop_on_signal()?;
    let (engine, listener) = prepare(engine).await?;
    let client = client(kubeconfig.as_deref()).await?;
    print(&json!({"graphql": graphql_url(&listener)?}).to_string())?;
    ochre::serve(client, engine.content, engine.settings, listener, Readiness::default(), stop).await?;
    Ok(())
}

/// What the engine needs, read and checked.
struct Engine {
    content: Content,
    settings: Settings,
}

async fn prepare(arguments: EngineArguments) -> anyhow::Result<(Engine, TcpListener)> {
    let EngineArguments { listen, content, velero_namespace } = arguments;
    anyhow::ensure!(listen.ip().is_loopback(), ochre::ServeError::NotLoopback(listen));
    let content = Content::new(content::load(content.as_deref())?)?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    Ok((Engine { content, settings: Settings { velero_namespace } }, listener))
}

fn graphql_url(listener: &TcpListener) -> anyhow::Result<String> {
    Ok(format!("http://{}/graphql", listener.local_addr()?))
}

async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
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

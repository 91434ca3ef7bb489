//! The engine as a whole: gateway and controller beside each other, on any cluster.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use ochre_core::decide::Settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::content::Content;
use crate::controller;
use crate::gateway::{self, Gateway};
use crate::readiness::Readiness;
use crate::runner::{Runner, RunnerError};
use crate::store::Actions;

/// How long open requests may take after the engine was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Says why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Before there is authentication only this machine may ask.
    #[error(
        "{0} is not a loopback address; until authentication is built the engine listens on loopback only"
    )]
    NotLoopback(std::net::SocketAddr),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The HTTP client for Velero's files could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Http(#[from] reqwest::Error),
    /// The cluster refused what every run needs.
    #[error(transparent)]
    Runner(#[from] RunnerError),
}

/// Serves until told to stop; then ends what is under way and returns.
pub async fn serve(
    client: Client,
    content: Content,
    settings: Settings,
    listener: TcpListener,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let content = Arc::new(content);
    let gateway = Gateway::new(client.clone(), Arc::clone(&content), settings.clone(), readiness.clone());
    let http = axum::serve(listener, gateway::router(gateway))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let engine =
        engine(client, content, settings, readiness, stop.clone()).instrument(tracing::info_span!("engine"));
    // Dropping this future stops the open connections too.
    let _guard = stop.clone().drop_guard();
    let http = async {
        let mut http = std::pin::pin!(http.into_future());
        tokio::select! {
            ended = &mut http => ended,
            () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
        }
    };
    // Whichever ends takes the other with it.
    let (http, engine) = tokio::join!(http.inspect(|_| stop.cancel()), engine.inspect(|_| stop.cancel()));
    http?;
    engine
}

/// Runs the controller once the cluster has what it needs.
async fn engine(
    client: Client,
    content: Arc<Content>,
    settings: Settings,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let Some(()) = stop.run_until_cancelled(readiness.wait_for_kinds(&client)).await else {
        return Ok(());
    };
    let (triggers, triggered) = tokio::sync::mpsc::unbounded_channel();
    let runner = Runner::new(client.clone(), settings, content, triggers)?;
    runner.begin().await?;
    let (actions, changes) = Actions::watch(&client);
    let cache = actions.cache();
    readiness.watched(actions);
    tracing::info!("ready");
    controller::run(client, runner, changes, cache, triggered, stop).await;
    Ok(())
}

/// Installs the one TLS provider of the process; a second call changes nothing.
pub fn install_tls() {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

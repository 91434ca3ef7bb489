//! An in-memory Kubernetes API and a Velero that behaves like Velero: to try, to teach, to test.
//!
//! The two are joined by nothing but the API, as in a real cluster: [`api`] keeps objects and knows
//! no Velero, and [`velero`] is a client like any other. [`Sandbox`] starts both; [`demo`] is a small
//! application to back up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::Client;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use api::{Api, Asked, Fault};
use velero::{Settings, Velero};

pub mod api;
pub mod demo;
mod install;
pub mod velero;

pub use install::{InstallError, install};

#[cfg(test)]
mod tests;

/// Tells the time: `Timestamp::now`, or a test's own.
pub type Clock = fn() -> jiff::Timestamp;

/// Says how a sandbox is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the object store; it holds a folder per bucket, `velero` for the default location.
    pub data: PathBuf,
    /// Velero's namespace.
    pub velero_namespace: String,
    /// How long each phase of a Backup or Restore lasts.
    pub step_delay: Duration,
    /// How often storage locations are checked and backups in them made known; the real Velero takes a minute.
    pub sync_period: Duration,
    /// How many events a watch may lag behind before it is told 410 Gone.
    pub log_capacity: usize,
    /// How every Backup and Restore ends, where no annotation says otherwise.
    pub end: Option<velero::Ending>,
    /// Tells the time.
    pub clock: Clock,
}

/// Runs a cluster and a Velero in this process.
#[derive(Debug)]
pub struct Sandbox {
    api: Api,
    velero: Velero,
}

impl Options {
    /// Returns what suits a person who tries things, with the object store in a folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            velero_namespace: "velero".to_owned(),
            step_delay: Duration::from_millis(30),
            sync_period: Duration::from_secs(2),
            log_capacity: 10_000,
            end: None,
            clock: jiff::Timestamp::now,
        }
    }
}

impl Sandbox {
    /// Starts a cluster with Velero installed and running; downloads will be looked for below `public_url`.
    pub async fn start(options: Options, public_url: &str) -> kube::Result<Self> {
        let api = Api::new(options.log_capacity, options.clock);
        add_node(api.client()).await?;
        velero::install(api.client(), &options.velero_namespace).await?;
        let settings = Settings {
            data: options.data,
            namespace: options.velero_namespace,
            step_delay: options.step_delay,
            sync_period: options.sync_period,
            public_url: public_url.to_owned(),
            end: options.end,
            clock: options.clock,
        };
        // As the real one it has an account of its own, which admission policies know.
        let account = format!("system:serviceaccount:{}:velero", settings.namespace);
        let velero = Velero::new(api.client_as(&account), settings);
        velero.start().await?;
        Ok(Self { api, velero })
    }

    /// Returns the cluster's API and Velero's downloads as one router.
    pub fn router(&self) -> Router {
        self.velero.downloads().fallback_service(self.api.router())
    }

    /// Returns a client that calls the API in this process, without a socket.
    pub fn client(&self) -> Client {
        self.api.client()
    }

    /// Returns a client for a ServiceAccount, with a new token of it, that calls the API in this process.
    pub async fn client_of(&self, namespace: &str, account: &str) -> kube::Result<Client> {
        let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(self.client(), namespace);
        let request = TokenRequest::default();
        let made = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = made.status.and_then(|status| status.token).unwrap_or_default();
        Ok(self.api.client_with(&token))
    }

    /// Returns the simulator, to stop and start it.
    pub fn velero(&self) -> &Velero {
        &self.velero
    }

    /// Serves the router until the token is cancelled; open watches end then.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        self.serve_router(self.router(), listener, shutdown).await
    }

    /// Serves the same cluster to somebody whose requests meet the faults of a plan. Everybody's watches end
    /// with the token.
    pub async fn serve_faulty(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
        plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve_router(api::faulty(self.router(), plan), listener, shutdown).await
    }

    async fn serve_router(
        &self,
        router: Router,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let api = self.api.clone();
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                shutdown.cancelled().await;
                // An open watch would hold its connection, and the shutdown, for ever.
                api.close();
            })
            .await
    }

    /// Stops Velero and ends every watch.
    pub async fn shutdown(&self) {
        self.velero.stop().await;
        self.api.close();
    }
}

/// Adds the node that runs the pods.
async fn add_node(client: Client) -> kube::Result<()> {
    let node = Node {
        metadata: ObjectMeta { name: Some("node1".to_owned()), ..ObjectMeta::default() },
        ..Node::default()
    };
    kube::Api::all(client).create(&PostParams::default(), &node).await?;
    Ok(())
}

/// Writes a kubeconfig for an API that listens at an address; JSON, which is YAML.
pub fn kubeconfig(address: SocketAddr) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ochre-sandbox", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "ochre-sandbox", "user": {}}],
        "contexts": [{"name": "ochre-sandbox", "context": {"cluster": "ochre-sandbox", "user": "ochre-sandbox"}}],
        "current-context": "ochre-sandbox",
    });
    format!("{config:#}\n")
}

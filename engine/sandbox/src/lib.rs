//! An in-memory Kubernetes API and a Velero that behaves like Velero: to try, to teach, to test.
//!
//! The two are joined by nothing but the API, as in a real cluster: `api` keeps objects and knows
//! no Velero, and Velero is a client like any other.

use std::net::SocketAddr;

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub mod api;

/// Tells the time: `Timestamp::now`, or a test's own.
pub type Clock = fn() -> jiff::Timestamp;

/// Serves a router until the token is cancelled; `api`'s watches end with it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    api: &api::Api,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let api = api.clone();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            shutdown.cancelled().await;
            // An open watch would hold its connection, and the shutdown, for ever.
            api.close();
        })
        .await
}

/// Writes a kubeconfig for an API that listens at an address; JSON, which is YAML.
pub fn kubeconfig(address: SocketAddr) -> String {
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ochre-sandbox", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "ochre-sandbox", "user": {}}],
        "contexts": [{"name": "ochre-sandbox", "context": {"cluster": "ochre-sandbox", "user": "ochre-sandbox"}}],
        "current-context": "ochre-sandbox",
    });
    format!("{config:#}\n")
}

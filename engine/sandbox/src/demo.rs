//! A small application to back up: a database in the namespace `chat`, bystanders beside it, another in `shop`.

use kube::Client;

use crate::InstallError;

const MANIFESTS: &str = include_str!("demo.yaml");

/// Creates the application; objects that exist stay as they are.
pub async fn install(client: Client) -> Result<(), InstallError> {
    crate::install(&client, MANIFESTS).await
}

//! A small application to back up: a database in the namespace `chat`, bystanders beside it, another in `shop`.

use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};

const MANIFESTS: &str = include_str!("demo.yaml");

/// Says why the application is not there.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The manifests are not YAML.
    #[error("the demonstration's manifests cannot be read: {0}")]
    Manifest(#[from] serde_saphyr::Error),
    /// The API refused an object.
    #[error("the demonstration's {kind} {name} was refused: {source}")]
    Refused {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What the API said.
        source: kube::Error,
    },
}

/// Creates the application; objects that exist stay as they are.
pub async fn install(client: Client) -> Result<(), DemoError> {
    let objects: Vec<DynamicObject> = serde_saphyr::from_str(MANIFESTS)?;
    for object in objects {
        let types = object.types.clone().unwrap_or_default();
        let (group, version) = types.api_version.rsplit_once('/').unwrap_or(("", &types.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => {
                return Err(DemoError::Refused {
                    kind: types.kind,
                    name: object.metadata.name.unwrap_or_default(),
                    source,
                });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

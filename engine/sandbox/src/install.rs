//! Creates the objects of a manifest.

use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};

/// Says why what a manifest holds is not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The manifest is not YAML.
    #[error("the manifest cannot be read: {0}")]
    Manifest(#[from] serde_saphyr::Error),
    /// The API refused an object.
    #[error("{kind} {name} was refused: {source}")]
    Refused {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What the API said.
        source: kube::Error,
    },
}

/// Creates every object of a YAML text, in order; objects that exist stay as they are.
pub async fn install(client: &Client, manifest: &str) -> Result<(), InstallError> {
    let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(manifest)?;
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
                let name = object.metadata.name.unwrap_or_default();
                return Err(InstallError::Refused { kind: types.kind, name, source });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

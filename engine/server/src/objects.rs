//! Objects of kinds for which there is no type here, as JSON.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use ochre_core::velero::GROUP;
use serde_json::Value;

/// Opens a kind of Velero's in the namespace that it watches.
pub(crate) fn velero(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Lists all objects, but for what nobody here reads.
pub(crate) async fn list(objects: &Api<DynamicObject>) -> kube::Result<Vec<Value>> {
    let listed = objects.list(&ListParams::default()).await?;
    let objects = listed.items.into_iter().map(|mut object| {
        object.metadata.managed_fields = None;
        serde_json::to_value(object).map_err(kube::Error::SerdeError)
    });
    objects.collect()
}

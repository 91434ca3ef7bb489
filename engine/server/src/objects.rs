//! Objects of kinds for which there is no type here, as JSON.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use ochre_core::velero::{GROUP, UNREADABLE};
use serde_json::{Value, json};

use crate::guarded::Guarded;

/// Opens a kind of Velero's in the namespace that it watches.
pub(crate) fn velero<K>(client: &Client, namespace: &str, kind: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
{
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Lists all objects, but for what nobody here reads. One that cannot be read says so beside its metadata.
pub(crate) async fn list(objects: &Api<Guarded<DynamicObject>>) -> kube::Result<Vec<Value>> {
    let listed = objects.list(&ListParams::default()).await?;
    let objects = listed.items.into_iter().map(|object| match object.0 {
        Ok(object) => serde_json::to_value(object).map_err(kube::Error::SerdeError),
        Err(unreadable) => Ok(json!({"metadata": unreadable.metadata, UNREADABLE: unreadable.why})),
    });
    objects.collect()
}

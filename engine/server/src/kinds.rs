//! Which kinds the cluster has, and what they are called.

use std::collections::HashMap;
use std::sync::Mutex;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client, Resource};

use crate::guarded::Guarded;

/// A kind that the cluster has.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// What a client needs to know of it.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// All its names: plural, plural with group, singular, kind, short ones.
    pub names: Vec<String>,
}

/// The kinds of the cluster, read once per group and version.
#[derive(Default)]
pub(crate) struct Kinds {
    known: Mutex<HashMap<(String, String), Kind>>,
}

impl Kinds {
    /// Finds a kind; `None` when the cluster has none of that name.
    pub(crate) async fn find(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> kube::Result<Option<Kind>> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.known().get(&key) {
            return Ok(Some(known.clone()));
        }
        let list = if api_version.contains('/') {
            client.list_api_group_resources(api_version).await
        } else {
            client.list_core_api_resources(api_version).await
        };
        let list = match list {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut known = self.known();
        // Subresources such as `pods/log` have kinds of their own and are no kinds of the cluster.
        for resource in list.resources.iter().filter(|resource| !resource.name.contains('/')) {
            known.insert((api_version.to_owned(), resource.kind.clone()), described(api_version, resource));
        }
        Ok(known.get(&key).cloned())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Kind>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Kind {
    /// Tells whether only the metadata of its objects is anybody's business.
    pub(crate) fn is_secret(&self) -> bool {
        self.resource.kind == "Secret" && self.resource.group.is_empty()
    }

    /// Opens the API of the kind, in a namespace where the kind has any.
    pub(crate) fn api(&self, client: Client, namespace: Option<&str>) -> Api<Guarded<DynamicObject>> {
        self.api_of(client, namespace)
    }

    /// Opens the API of the metadata of the kind's objects.
    pub(crate) fn metadata_api(
        &self,
        client: Client,
        namespace: Option<&str>,
    ) -> Api<Guarded<PartialObjectMeta<DynamicObject>>> {
        self.api_of(client, namespace)
    }

    fn api_of<K>(&self, client: Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }
}

fn described(api_version: &str, resource: &APIResource) -> Kind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, &resource.kind);
    let mut names = vec![resource.name.clone(), resource.kind.clone()];
    if !group.is_empty() {
        names.push(format!("{}.{group}", resource.name));
    }
    names.extend(Some(resource.singular_name.clone()).filter(|name| !name.is_empty()));
    names.extend(resource.short_names.iter().flatten().cloned());
    Kind {
        resource: ApiResource::from_gvk_with_plural(&gvk, &resource.name),
        namespaced: resource.namespaced,
        names,
    }
}

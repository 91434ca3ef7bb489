//! Which kinds the cluster has, and what they are called.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client};
use ochre_core::decide::Resource;

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
    /// All of them, when they were last read.
    all: tokio::sync::Mutex<Option<(Instant, Names)>>,
}

/// The names of all kinds.
#[derive(Clone, Default)]
struct Names {
    /// Group, and names without it.
    kinds: Vec<(String, Vec<String>)>,
    /// The groups and versions that do not answer.
    silent: Vec<String>,
}

/// How long all kinds count as known; one that is not among them is looked for at once.
const FRESH: Duration = Duration::from_secs(10);
/// How many groups and versions are read at a time, and how long each may take: other runs wait for it.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);

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
        let kinds = kinds_of(client, api_version).await?;
        let mut known = self.known();
        known.extend(
            kinds.into_iter().map(|kind| ((api_version.to_owned(), kind.resource.kind.clone()), kind)),
        );
        Ok(known.get(&key).cloned())
    }

    /// Tells which names, as Velero's filters have them, stand for a kind.
    pub(crate) async fn resolve(
        &self,
        client: &Client,
        names: BTreeSet<String>,
    ) -> kube::Result<Vec<(String, Resource)>> {
        let mut all = self.all.lock().await;
        let known = all
            .take()
            .filter(|(read, known)| read.elapsed() < FRESH && names.iter().all(|name| known.has(name)));
        let (read, known) = match known {
            Some(known) => known,
            None => (Instant::now(), Names::read(client, PATIENCE).await?),
        };
        let found =
            names.into_iter().map(|name| (known.find(&name), name)).map(|(found, name)| (name, found));
        let found = found.collect();
        *all = Some((read, known));
        Ok(found)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Kind>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Names {
    /// Reads the names of all kinds; a group and version that does not answer in time is silent.
    async fn read(client: &Client, patience: Duration) -> kube::Result<Self> {
        let core = client.list_core_api_versions().await?.versions;
        let groups = client.list_api_groups().await?.groups;
        let versions =
            groups.into_iter().flat_map(|group| group.versions).map(|version| version.group_version);
        let lists = futures::stream::iter(core.into_iter().chain(versions)).map(|version| async move {
            let kinds = tokio::time::timeout(patience, kinds_of(client, &version)).await;
            (version, kinds)
        });
        let mut all = Self::default();
        let mut lists = lists.buffer_unordered(AT_ONCE);
        while let Some((version, kinds)) = lists.next().await {
            match kinds {
                Ok(Ok(kinds)) => {
                    all.kinds.extend(kinds.into_iter().map(|kind| (kind.resource.group, kind.names)));
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        version,
                        "does not tell its kinds"
                    );
                }
                Err(_) => tracing::warn!(version, "does not tell its kinds in time"),
            }
            all.silent.push(version);
        }
        all.silent.sort_unstable();
        Ok(all)
    }

    /// Tells whether a name stands for a kind: one of its own, with the beginning of its group or without.
    fn has(&self, name: &str) -> bool {
        let (resource, of) = name.split_once('.').unwrap_or((name, ""));
        self.kinds.iter().any(|(group, names)| {
            group.starts_with(of) && names.iter().any(|known| known.eq_ignore_ascii_case(resource))
        })
    }

    fn find(&self, name: &str) -> Resource {
        match self.silent.first() {
            _ if self.has(name) => Resource::Known,
            Some(silent) => Resource::Unclear(silent.clone()),
            None => {
                Resource::unknown(name, self.kinds.iter().flat_map(|(_, names)| names).map(String::as_str))
            }
        }
    }
}

impl Kind {
    /// Tells whether no more than the metadata of its objects is read.
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
        K: kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }
}

/// Reads the kinds of a group and version; none where the cluster does not have it.
async fn kinds_of(client: &Client, api_version: &str) -> kube::Result<Vec<Kind>> {
    let list = if api_version.contains('/') {
        client.list_api_group_resources(api_version).await
    } else {
        client.list_core_api_resources(api_version).await
    };
    let list = match list {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Subresources such as `pods/log` have kinds of their own and are no kinds of the cluster.
    let kinds = list.resources.iter().filter(|resource| !resource.name.contains('/'));
    Ok(kinds.map(|resource| described(api_version, resource)).collect())
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

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;

    /// A cluster of two groups, of which one never answers.
    async fn answer(path: String) -> Value {
        let resource = |name: &str, kind: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": []});
        let group = |name: &str| {
            let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
            json!({"name": name, "versions": [version]})
        };
        match path.as_str() {
            "/api" => json!({"versions": ["v1"], "serverAddressByClientCIDRs": []}),
            "/apis" => json!({"groups": [group("apps"), group("metrics.k8s.io")]}),
            "/api/v1" => {
                json!({"groupVersion": "v1", "resources": [resource("pods", "Pod"), resource("pods/log", "Log")]})
            }
            "/apis/apps/v1" => {
                json!({"groupVersion": "apps/v1", "resources": [resource("deployments", "Deployment")]})
            }
            _ => std::future::pending().await,
        }
    }

    #[tokio::test]
    async fn a_group_that_never_answers_keeps_no_other_kind_from_being_known() {
        let service = service_fn(|request: http::Request<Body>| async move {
            let answer = answer(request.uri().path().to_owned()).await;
            Ok::<_, BoxError>(http::Response::new(Body::from(answer.to_string().into_bytes())))
        });
        let names = Names::read(&Client::new(service, "default"), Duration::from_millis(50)).await.unwrap();
        for known in ["pods", "Pod", "deployments", "deployments.apps", "deployments.app"] {
            assert_eq!(names.find(known), Resource::Known, "{known}");
        }
        for unclear in ["nodes", "log", "pods.apps"] {
            assert_eq!(names.find(unclear), Resource::Unclear("metrics.k8s.io/v1".to_owned()), "{unclear}");
        }
        let all = Names { silent: Vec::new(), ..names };
        assert_eq!(all.find("deploymets"), Resource::unknown("deploymets", ["deployments"]));
    }
}

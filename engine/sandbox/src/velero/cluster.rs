//! How the simulator sees the cluster: through the API alone, kind by kind, as plain JSON.

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::api::parse_deep;

/// Names a kind as the API serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) namespaced: bool,
}

/// Calls the API.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
}

/// Follows the objects of a kind that still need something.
pub(crate) struct Follow {
    events: BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>>,
    interesting: fn(&Value) -> bool,
    /// Those objects, by name, as they were last seen.
    pub(crate) live: BTreeMap<String, Value>,
}

impl Resource {
    /// Names one of Velero's own kinds, of version v1.
    pub(crate) fn velero(plural: &str, kind: &str) -> Self {
        Self::new("velero.io", "v1", plural, kind, true)
    }

    pub(crate) fn new(group: &str, version: &str, plural: &str, kind: &str, namespaced: bool) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            singular: kind.to_lowercase(),
            short_names: Vec::new(),
            namespaced,
        }
    }

    /// Returns `plural.group`, or the plural alone in the core group.
    pub(crate) fn name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Tells whether a user's word means this kind: plural, singular, kind or short name, with or without group.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        let same_group = group.is_empty() || group == self.group;
        let names = [&self.plural, &self.singular, &self.kind.to_lowercase()];
        same_group
            && (names.iter().any(|one| *one == name) || self.short_names.iter().any(|short| short == name))
    }

    fn path(&self, namespace: &str, name: &str) -> String {
        let mut path = if self.group.is_empty() { "/api/".to_owned() } else { "/apis/".to_owned() };
        path.push_str(&self.api_version());
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

impl Cluster {
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Discovers every kind in its preferred version.
    pub(crate) async fn resources(&self) -> kube::Result<Vec<Resource>> {
        let mut resources = Vec::new();
        let core = self.client.list_core_api_resources("v1").await?;
        resources.extend(core.resources.iter().filter_map(|resource| from_discovery("", "v1", resource)));
        for group in self.client.list_api_groups().await?.groups {
            let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else {
                continue;
            };
            let list = self.client.list_api_group_resources(&version.group_version).await?;
            let found = list.resources.iter();
            resources
                .extend(found.filter_map(|resource| from_discovery(&group.name, &version.version, resource)));
        }
        Ok(resources)
    }

    /// Reads the version of the cluster.
    pub(crate) async fn version(&self) -> kube::Result<k8s_openapi::apimachinery::pkg::version::Info> {
        self.client.apiserver_version().await
    }

    pub(crate) async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<Value>> {
        match self.call(Method::GET, &resource.path(namespace, name), "application/json", None).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Lists the objects of a kind in a namespace, or (where that is empty) in all.
    pub(crate) async fn list(&self, resource: &Resource, namespace: &str) -> kube::Result<Vec<Value>> {
        let mut list =
            self.call(Method::GET, &resource.path(namespace, ""), "application/json", None).await?;
        let Value::Array(mut items) = list["items"].take() else {
            return Ok(Vec::new());
        };
        // Lists of built-in kinds leave out what the list itself says.
        for item in &mut items {
            item["apiVersion"] = json!(resource.api_version());
            item["kind"] = json!(resource.kind);
        }
        Ok(items)
    }

    pub(crate) async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> kube::Result<Value> {
        self.call(Method::POST, &resource.path(namespace, ""), "application/json", Some(object)).await
    }

    /// Changes an object by a JSON merge patch.
    pub(crate) async fn merge(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> kube::Result<Value> {
        self.call(Method::PATCH, &resource.path(namespace, name), "application/merge-patch+json", Some(patch))
            .await
    }

    /// Deletes an object; one that is gone already is no error.
    pub(crate) async fn delete(&self, resource: &Resource, namespace: &str, name: &str) -> kube::Result<()> {
        match self.call(Method::DELETE, &resource.path(namespace, name), "application/json", None).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Follows the objects of a kind in a namespace that are interesting.
    pub(crate) fn follow(
        &self,
        resource: &Resource,
        namespace: &str,
        interesting: fn(&Value) -> bool,
    ) -> Follow {
        let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &resource.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        Follow {
            events: watcher(api, watcher::Config::default()).default_backoff().boxed(),
            interesting,
            live: BTreeMap::new(),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> kube::Result<Value> {
        let body = body.map(ToString::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(body)
            .map_err(kube::Error::HttpError)?;
        let answer = self.client.request_text(request).await?;
        parse_deep(answer.as_bytes()).map_err(kube::Error::SerdeError)
    }
}

impl Follow {
    /// Waits for the next change, and takes with it those that are there already.
    pub(crate) async fn changed(&mut self) {
        let first = self.events.next().await;
        self.take(first);
        while let Some(next) = self.events.next().now_or_never() {
            self.take(next);
        }
    }

    fn take(&mut self, event: Option<watcher::Result<watcher::Event<DynamicObject>>>) {
        match event {
            Some(Ok(watcher::Event::Init)) => self.live.clear(),
            Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                let object = serde_json::to_value(&object).unwrap_or_default();
                if (self.interesting)(&object) {
                    self.live.insert(name, object);
                } else {
                    self.live.remove(&name);
                }
            }
            Some(Ok(watcher::Event::Delete(object))) => {
                self.live.remove(object.metadata.name.as_deref().unwrap_or_default());
            }
            Some(Ok(watcher::Event::InitDone)) | None => {}
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "watch was interrupted");
            }
        }
    }
}

fn from_discovery(group: &str, version: &str, resource: &APIResource) -> Option<Resource> {
    if resource.name.contains('/') || !resource.verbs.iter().any(|verb| verb == "list") {
        return None;
    }
    Some(Resource {
        singular: resource.singular_name.clone(),
        short_names: resource.short_names.clone().unwrap_or_default(),
        ..Resource::new(group, version, &resource.name, &resource.kind, resource.namespaced)
    })
}

//! Puts the objects of a backup back into a cluster, one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::archive::{ItemKey, entry};
use super::cluster::{Cluster, Resource};
use super::collect::priority_class;
use super::filter::Filter;
use super::item::{self, Destination};
use super::results::Results;
use super::{is_deleting, name};

/// Kinds that come before all others, in this order.
const FIRST: &[&str] = &[
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "storageclasses.storage.k8s.io",
    "volumesnapshotclasses.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshots.snapshot.storage.k8s.io",
    "datauploads.velero.io",
    "persistentvolumes",
    "persistentvolumeclaims",
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "serviceaccounts",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "secrets",
    "configmaps",
    "limitranges",
    "priorityclasses.scheduling.k8s.io",
    "pods",
    "replicasets.apps",
    "clusterclasses.cluster.x-k8s.io",
    "endpoints",
    "services",
];
/// How often, and how long, a namespace that is going is waited for.
const TERMINATING_POLL: Duration = Duration::from_secs(1);
const TERMINATING_TIMEOUT: u32 = 600;

/// Restores the objects of one backup.
pub(crate) struct Recreation<'a> {
    cluster: &'a Cluster,
    restore: &'a Value,
    objects: &'a BTreeMap<ItemKey, Value>,
    filter: Filter,
    destination: Destination<'a>,
    resources: Vec<Resource>,
    done: BTreeSet<ItemKey>,
    namespaces: BTreeSet<String>,
    /// How many namespaces were absent; each counts as an item.
    namespaces_made: usize,
    /// Volumes that a claim must get anew: their data was copied, or they had none and would be deleted.
    provisioned_anew: BTreeSet<String>,
    /// Volumes whose data was copied.
    copied: &'a BTreeSet<String>,
    results: Results,
    list: BTreeMap<String, BTreeSet<String>>,
}

/// Holds what a restore did.
pub(crate) struct Outcome {
    pub(crate) results: Results,
    /// The resource list: what became of each object.
    pub(crate) list: Value,
    pub(crate) restored: usize,
}

impl<'a> Recreation<'a> {
    pub(crate) async fn new(
        cluster: &'a Cluster,
        restore: &'a Value,
        objects: &'a BTreeMap<ItemKey, Value>,
        copied: &'a BTreeSet<String>,
    ) -> kube::Result<Self> {
        let spec = &restore["spec"];
        Ok(Self {
            cluster,
            restore,
            objects,
            filter: Filter::read(spec),
            destination: Destination {
                backup: spec["backupName"].as_str().unwrap_or_default(),
                restore: name(restore),
                namespaces: &spec["namespaceMapping"],
                preserve_node_ports: spec["preserveNodePorts"] == true,
            },
            resources: cluster.resources().await?,
            done: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            namespaces_made: 0,
            provisioned_anew: BTreeSet::new(),
            copied,
            results: Results::default(),
            list: BTreeMap::new(),
        })
    }

    /// Restores what the filters take, kind by kind.
    pub(crate) async fn run(&mut self) -> kube::Result<()> {
        let kinds: BTreeSet<&str> = self.objects.keys().map(|(kind, _, _)| kind.as_str()).collect();
        let rank = |kind: &str| FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len());
        let mut kinds: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "namespaces").collect();
        kinds.sort_by_key(|kind| (rank(kind), *kind));
        for kind in kinds {
            for (key, object) in self.objects.iter().filter(|((of, _, _), _)| of == kind) {
                // A definition restored a moment ago may have brought the kind.
                let Some(resource) = self.resource(kind) else {
                    break;
                };
                let in_scope = !resource.namespaced || self.filter.namespaces.takes(&key.1);
                if in_scope && self.filter.looks_for(&resource) && self.filter.selects(object) {
                    self.restore(key).await?;
                }
            }
            if kind == FIRST[0] {
                self.resources = self.cluster.resources().await?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Outcome {
        Outcome {
            results: self.results,
            list: json!(self.list),
            restored: self.done.len() + self.namespaces_made,
        }
    }

    fn resource(&self, kind: &str) -> Option<Resource> {
        self.resources.iter().find(|resource| resource.name() == kind).cloned()
    }

    /// Restores one object, after those that it cannot do without.
    async fn restore(&mut self, key: &ItemKey) -> kube::Result<()> {
        let (Some(resource), Some(object)) = (self.resource(&key.0), self.objects.get(key)) else {
            return Ok(());
        };
        if item::is_done(&key.0, object) || !self.filter.allows(&resource) || !self.done.insert(key.clone()) {
            return Ok(());
        }
        for needed in needs(key, object) {
            Box::pin(self.restore(&needed)).await?;
        }
        let namespace = self.destination.namespace(&key.1).to_owned();
        if !namespace.is_empty() && !self.ensure_namespace(&key.1, &namespace).await? {
            self.note(&resource, &namespace, &key.2, "failed");
            return Ok(());
        }
        let is_deleted = object["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
        if key.0 == "persistentvolumes" && (is_deleted || self.copied.contains(&key.2)) {
            self.provisioned_anew.insert(key.2.clone());
            self.note(&resource, "", &key.2, "skipped");
            return Ok(());
        }
        let mut prepared = self.destination.prepare(&key.0, object);
        let volume = prepared["spec"]["volumeName"].as_str();
        if key.0 == "persistentvolumeclaims"
            && volume.is_some_and(|volume| self.provisioned_anew.contains(volume))
            && let Some(spec) = prepared["spec"].as_object_mut()
        {
            spec.remove("volumeName");
        }
        let result = match self.cluster.get(&resource, &namespace, &key.2).await? {
            Some(existing) => {
                // Its controller has written into it since, which Velero takes for a difference.
                let is_another =
                    item::has_controller(&key.0) && existing["metadata"]["uid"] != object["metadata"]["uid"];
                let same = !is_another && item::is_same(&existing, &prepared);
                self.meet(&resource, &namespace, &existing, &prepared, same).await
            }
            None => match self.cluster.create(&resource, &namespace, &prepared).await {
                Ok(_) => "created",
                Err(error) => {
                    let place = entry(&namespace, &key.2);
                    self.results
                        .errors
                        .add(&namespace, format!("error restoring {}/{place}: {error}", key.0));
                    "failed"
                }
            },
        };
        self.note(&resource, &namespace, &key.2, result);
        Ok(())
    }

    /// Decides about an object that exists already.
    async fn meet(
        &mut self,
        resource: &Resource,
        namespace: &str,
        existing: &Value,
        prepared: &Value,
        same: bool,
    ) -> &'static str {
        let update = self.restore["spec"]["existingResourcePolicy"] == "update";
        if same && !update {
            return "skipped";
        }
        if !update {
            self.results.warnings.add(
                namespace,
                format!(
                    "could not restore, {}:{} already exists. Warning: the in-cluster version is different than the backed-up version",
                    resource.kind,
                    name(existing)
                ),
            );
            return "failed";
        }
        match self.cluster.merge(resource, namespace, name(existing), prepared).await {
            Ok(_) if same => "skipped",
            Ok(_) => "updated",
            Err(error) => {
                let message = format!("could not update {}:{}: {error}", resource.kind, name(existing));
                self.results.warnings.add(namespace, message);
                "failed"
            }
        }
    }

    /// Creates a namespace that is absent, as it was if the backup knows it; waits for one that is going.
    async fn ensure_namespace(&mut self, original: &str, namespace: &str) -> kube::Result<bool> {
        if self.namespaces.contains(namespace) {
            return Ok(true);
        }
        let resource = Resource::new("", "v1", "namespaces", "Namespace", false);
        let mut waited = 0;
        while self.cluster.get(&resource, "", namespace).await?.is_some_and(|found| is_deleting(&found)) {
            if waited == TERMINATING_TIMEOUT {
                let message = format!(
                    "timed out waiting for terminating namespace {namespace} to disappear before restoring"
                );
                self.results.errors.add(namespace, message);
                return Ok(false);
            }
            waited += 1;
            tokio::time::sleep(TERMINATING_POLL).await;
        }
        if self.cluster.get(&resource, "", namespace).await?.is_none() {
            let stored = self.objects.get(&("namespaces".to_owned(), String::new(), original.to_owned()));
            let metadata = stored.map_or_else(|| json!({}), |stored| stored["metadata"].clone());
            let object = json!({"metadata": {"name": namespace, "annotations": metadata["annotations"], "labels": metadata["labels"]}});
            self.cluster.create(&resource, "", &object).await?;
            self.note(&resource, "", namespace, "created");
            self.namespaces_made += 1;
        }
        self.namespaces.insert(namespace.to_owned());
        Ok(true)
    }

    fn note(&mut self, resource: &Resource, namespace: &str, name: &str, result: &str) {
        let line = format!("{}/{}", resource.api_version(), resource.kind);
        let item = format!("{}({result})", entry(namespace, name));
        self.list.entry(line).or_default().insert(item);
    }
}

/// Names the objects that must come before one: a claim's volume, a pod's claims and PriorityClass.
fn needs(key: &ItemKey, object: &Value) -> Vec<ItemKey> {
    match key.0.as_str() {
        "persistentvolumeclaims" => {
            let volume = object["spec"]["volumeName"].as_str();
            let volume =
                volume.map(|volume| ("persistentvolumes".to_owned(), String::new(), volume.to_owned()));
            volume.into_iter().collect()
        }
        "pods" => {
            let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
            let claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
            claims
                .map(|claim| ("persistentvolumeclaims".to_owned(), key.1.clone(), claim.to_owned()))
                .chain(priority_class(object))
                .collect()
        }
        _ => Vec::new(),
    }
}

//! What goes into a backup: the objects that are selected, and those that they need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::archive::{Item, ItemKey};
use super::cluster::{Cluster, Resource};
use super::filter::Filter;
use super::results::Results;
use super::{is_deleting, name, namespace, phase};

/// Holds what was found for a backup.
pub(crate) struct Collection {
    pub(crate) items: Vec<Item>,
    resources: Vec<Resource>,
}

/// Finds the objects that a filter selects, and the namespaces of those.
pub(crate) async fn collect(
    cluster: &Cluster,
    filter: &Filter,
    results: &mut Results,
) -> kube::Result<Collection> {
    let mut resources = cluster.resources().await?;
    resources.sort();
    let mut items = Vec::new();
    for resource in resources.iter().filter(|resource| filter.looks_for(resource)) {
        if resource.name() == "namespaces" {
            continue;
        }
        for object in cluster.list(resource, "").await? {
            let in_scope = !resource.namespaced || filter.namespaces.takes(namespace(&object));
            if in_scope && filter.selects(&object) && !is_left_out(&object) {
                items.push(Item { resource: resource.clone(), object });
            }
        }
    }
    let namespaces = resources.iter().find(|resource| resource.name() == "namespaces");
    if let Some(resource) = namespaces.filter(|resource| filter.looks_for(resource)) {
        let namespaces = collect_namespaces(cluster, resource, filter, &items, results).await?;
        items.extend(namespaces);
    }
    Ok(Collection { items, resources })
}

impl Collection {
    /// Adds what the items need: a pod's claims, a claim's volume, a custom resource's definition.
    pub(crate) async fn add_needed(&mut self, cluster: &Cluster, filter: &Filter) -> kube::Result<()> {
        let mut present: BTreeSet<_> = self.items.iter().map(Item::key).collect();
        let mut next = 0;
        while next < self.items.len() {
            for key in needs(&self.items[next]) {
                let Some(resource) = self.resources.iter().find(|resource| resource.name() == key.0) else {
                    continue;
                };
                if !filter.allows(resource) || present.contains(&key) {
                    continue;
                }
                if let Some(object) = cluster.get(resource, &key.1, &key.2).await?
                    && !is_left_out(&object)
                {
                    present.insert(key);
                    self.items.push(Item { resource: resource.clone(), object });
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// Writes the resource list: every object under its version and kind.
    pub(crate) fn resource_list(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut list: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for item in &self.items {
            list.entry(item.line()).or_default().insert(item.entry());
        }
        list
    }

    /// Says of every claim in the backup what became of its data. Nothing here can save data: there are no nodes.
    pub(crate) async fn volume_info(
        &self,
        cluster: &Cluster,
        backup: &Value,
        results: &mut Results,
    ) -> kube::Result<Vec<Value>> {
        let mut info = Vec::new();
        let pods = Resource::new("", "v1", "pods", "Pod", true);
        let claims = self.items.iter().filter(|item| item.resource.name() == "persistentvolumeclaims");
        for claim in claims.map(|item| &item.object) {
            let Some(volume) = claim["spec"]["volumeName"].as_str() else {
                continue;
            };
            let pods = cluster.list(&pods, namespace(claim)).await?;
            let pod = pods.iter().find(|pod| claims_of(pod).any(|used| used == name(claim)));
            let reason = skipped_reason(backup, pod, results);
            let volume = self
                .items
                .iter()
                .find(|item| item.resource.name() == "persistentvolumes" && name(&item.object) == volume);
            let volume = volume.map_or(&Value::Null, |item| &item.object);
            info.push(json!({
                "pvcName": name(claim), "pvcNamespace": namespace(claim), "pvName": claim["spec"]["volumeName"],
                "snapshotDataMoved": false, "preserveLocalSnapshot": false, "skipped": true, "skippedReason": reason,
                "pvInfo": {
                    "reclaimPolicy": volume["spec"]["persistentVolumeReclaimPolicy"], "labels": volume["metadata"]["labels"],
                },
            }));
        }
        Ok(info)
    }
}

/// Says why a claim's data is not in the backup, and warns or fails where Velero does.
fn skipped_reason(backup: &Value, pod: Option<&Value>, results: &mut Results) -> String {
    let no_snapshot = "volumeSnapshot: no applicable volumesnapshotter found;";
    let Some(pod) = pod else {
        return no_snapshot.to_owned();
    };
    if backup["spec"]["defaultVolumesToFsBackup"] != true {
        return format!("podvolume: opted out due to annotation in pod {};{no_snapshot}", name(pod));
    }
    if phase(pod) == "Running" {
        let error = "daemonset pod not found in running state in node";
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        results.errors.add(
            namespace(pod),
            format!(" name: /{} message: /Error backing up item error: /{error} {node}", name(pod)),
        );
        return format!("podvolume: {error} {node};{no_snapshot}");
    }
    let status = format!(
        "pod is not in the expected status, name={}, namespace={}, phase={}",
        name(pod),
        namespace(pod),
        phase(pod)
    );
    results
        .warnings
        .add(namespace(pod), format!(" name: /{} message: /Skip pod volume error: /{status}", name(pod)));
    format!("podvolume: {status};{no_snapshot}")
}

/// Takes the namespaces that are selected themselves, and those of the selected objects.
async fn collect_namespaces(
    cluster: &Cluster,
    resource: &Resource,
    filter: &Filter,
    items: &[Item],
    results: &mut Results,
) -> kube::Result<Vec<Item>> {
    let namespaces = cluster.list(resource, "").await?;
    for named in filter.namespaces.named() {
        if !namespaces.iter().any(|namespace| name(namespace) == named) {
            results.errors.velero.push(format!(
                " resource: /namespaces message: /fail to get the namespace {named} specified in backup.Spec.IncludedNamespaces"
            ));
        }
    }
    let used: BTreeSet<&str> = items.iter().map(|item| namespace(&item.object)).collect();
    let taken = namespaces.into_iter().filter(|namespace| {
        let active = phase(namespace) == "Active";
        let by_label = filter.has_selectors() && filter.selects(namespace);
        // With selectors and no names, a namespace comes only for itself or its contents.
        let by_name = filter.namespaces.takes(name(namespace))
            && !(filter.namespaces.is_everything() && filter.has_selectors());
        used.contains(name(namespace)) || (active && (by_label || by_name) && !is_left_out(namespace))
    });
    Ok(taken.map(|object| Item { resource: resource.clone(), object }).collect())
}

/// Names the objects without which an object is of little use.
fn needs(item: &Item) -> Vec<ItemKey> {
    let object = &item.object;
    match item.resource.name().as_str() {
        "pods" => claims_of(object)
            .map(|claim| {
                ("persistentvolumeclaims".to_owned(), namespace(object).to_owned(), claim.to_owned())
            })
            .collect(),
        "persistentvolumeclaims" if phase(object) == "Bound" => {
            let volume = object["spec"]["volumeName"].as_str();
            volume
                .map(|volume| ("persistentvolumes".to_owned(), String::new(), volume.to_owned()))
                .into_iter()
                .collect()
        }
        resource => vec![(
            "customresourcedefinitions.apiextensions.k8s.io".to_owned(),
            String::new(),
            resource.to_owned(),
        )],
    }
}

fn claims_of(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

fn is_left_out(object: &Value) -> bool {
    object["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true" || is_deleting(object)
}

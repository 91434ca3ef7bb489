//! What goes into a backup: the objects that are selected, and those that they need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

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

    /// Lists the items of a kind.
    pub(crate) fn of(&self, resource: &str) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.resource.name() == resource)
    }

    /// Finds an item.
    pub(crate) fn find(&self, resource: &str, of: &str, called: &str) -> Option<&Item> {
        self.of(resource).find(|item| namespace(&item.object) == of && name(&item.object) == called)
    }
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
            .chain(priority_class(object))
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

/// Names the PriorityClass of a pod.
pub(super) fn priority_class(pod: &Value) -> Option<ItemKey> {
    let class = pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty())?;
    Some(("priorityclasses.scheduling.k8s.io".to_owned(), String::new(), class.to_owned()))
}

fn claims_of(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

fn is_left_out(object: &Value) -> bool {
    object["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true" || is_deleting(object)
}

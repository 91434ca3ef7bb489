//! Which namespaces, resources and objects a backup or restore takes.

use serde_json::Value;

use super::cluster::Resource;

/// Includes and excludes names; no includes at all mean everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    includes: Vec<String>,
    excludes: Vec<String>,
}

/// Decides what a Backup or Restore takes.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) namespaces: Names,
    resources: Names,
    cluster_scoped: Names,
    namespace_scoped: Names,
    include_cluster_resources: Option<bool>,
    selectors: Vec<Value>,
}

impl Names {
    pub(crate) fn read(includes: &Value, excludes: &Value) -> Self {
        Self { includes: strings(includes), excludes: strings(excludes) }
    }

    /// Tells whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        self.excludes.is_empty() && self.includes_all()
    }

    /// Returns the names that are included one by one.
    pub(crate) fn named(&self) -> impl Iterator<Item = &String> {
        self.includes.iter().filter(|name| !name.contains('*'))
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        let is = |pattern: &String| matches(pattern, name);
        !self.excludes.iter().any(is) && (self.includes_all() || self.includes.iter().any(is))
    }

    fn takes_resource(&self, resource: &Resource) -> bool {
        let is = |word: &String| word == "*" || resource.is_called(word);
        !self.excludes.iter().any(is) && (self.includes_all() || self.includes.iter().any(is))
    }

    fn includes_all(&self) -> bool {
        self.includes.is_empty() || self.includes.iter().any(|name| name == "*")
    }
}

impl Filter {
    /// Reads the filters of a Backup's or Restore's spec.
    pub(crate) fn read(spec: &Value) -> Self {
        let mut selectors: Vec<Value> = spec["orLabelSelectors"].as_array().cloned().unwrap_or_default();
        if spec["labelSelector"].is_object() {
            selectors.push(spec["labelSelector"].clone());
        }
        Self {
            namespaces: Names::read(&spec["includedNamespaces"], &spec["excludedNamespaces"]),
            resources: Names::read(&spec["includedResources"], &spec["excludedResources"]),
            cluster_scoped: Names::read(
                &spec["includedClusterScopedResources"],
                &spec["excludedClusterScopedResources"],
            ),
            namespace_scoped: Names::read(
                &spec["includedNamespaceScopedResources"],
                &spec["excludedNamespaceScopedResources"],
            ),
            include_cluster_resources: spec["includeClusterResources"].as_bool(),
            selectors,
        }
    }

    pub(crate) fn has_selectors(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// Tells whether objects of a kind are taken when something else needs them.
    pub(crate) fn allows(&self, resource: &Resource) -> bool {
        let scoped = if resource.namespaced { &self.namespace_scoped } else { &self.cluster_scoped };
        let hidden = !resource.namespaced
            && resource.name() != "namespaces"
            && self.include_cluster_resources == Some(false);
        !hidden && self.resources.takes_resource(resource) && scoped.takes_resource(resource)
    }

    /// Tells whether objects of a kind are looked for. Of cluster scope they are only asked for, or with all namespaces.
    pub(crate) fn looks_for(&self, resource: &Resource) -> bool {
        let asked_for =
            self.include_cluster_resources == Some(true) || !self.cluster_scoped.includes.is_empty();
        let in_scope = resource.namespaced
            || resource.name() == "namespaces"
            || asked_for
            || self.namespaces.is_everything();
        in_scope && self.allows(resource)
    }

    /// Tells whether an object's labels are selected.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.selectors.is_empty() || self.selectors.iter().any(|selector| selected(selector, labels))
    }
}

/// Tells whether labels fit a label selector as it stands in an object.
fn selected(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|expression| {
            let value = expression["key"].as_str().and_then(|key| labels.get(key));
            let listed = value.is_some_and(|value| {
                expression["values"].as_array().is_some_and(|values| values.contains(value))
            });
            match expression["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                _ => false,
            }
        })
}

/// Compares a name with a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            rest.is_empty()
                || (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| matches(rest, tail))
        }),
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

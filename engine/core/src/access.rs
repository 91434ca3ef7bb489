//! What a person must be allowed to do before a Velero object is created for them.
//!
//! Backups and restores are verbs on the virtual resource `targets.core.ochre.dev`, asked for with the
//! namespace as namespace and as name: a RoleBinding there grants them, and a ClusterRoleBinding with
//! `resourceNames` still does when the namespace is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::action::GROUP;
use crate::expression::is_literal;
use crate::selector::is_dns_label;
use crate::velero::{API_VERSION, Item, Selection};
use crate::workflow::{Verb, Workflow};

/// One thing that a person must be allowed to do, as a SubjectAccessReview asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for Kubernetes' own first one.
    pub group: &'static str,
    /// The plural of the kind.
    pub resource: &'static str,
    /// The part of the resource.
    pub subresource: Option<&'static str>,
    /// The namespace; without one, all and what lies in none.
    pub namespace: Option<String>,
    /// The object's name; without one, any.
    pub name: Option<String>,
}

impl Right {
    /// Asks for a verb on an Action; without a name, on any in the namespace.
    pub fn action(verb: &'static str, namespace: &str, name: Option<&str>) -> Self {
        Self {
            verb,
            group: GROUP,
            resource: "actions",
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: name.map(str::to_owned),
        }
    }

    /// Asks to see the GraphQL schema.
    pub const fn schema() -> Self {
        Self {
            verb: "get",
            group: GROUP,
            resource: "schemas",
            subresource: None,
            namespace: None,
            name: None,
        }
    }

    /// Asks for `backup` or `restore` of a namespace; without one, of the whole cluster.
    pub fn target(verb: &'static str, namespace: Option<&str>) -> Self {
        let namespace = namespace.map(str::to_owned);
        Self {
            verb,
            group: GROUP,
            resource: "targets",
            subresource: None,
            name: namespace.clone(),
            namespace,
        }
    }

    /// Asks for the use of a ServiceAccount: to act as it is Kubernetes' own verb `impersonate`.
    pub fn account(namespace: &str, name: &str) -> Self {
        Self {
            verb: "impersonate",
            group: "",
            resource: "serviceaccounts",
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// Asks to run commands in the pods of a namespace, as hooks do.
    fn exec(namespace: Option<&str>) -> Self {
        Self {
            verb: "create",
            group: "",
            resource: "pods",
            subresource: Some("exec"),
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(part) = self.subresource {
            write!(f, "/{part}")?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) if self.resource != "targets" => {
                write!(f, " {name} in {namespace}")
            }
            (Some(namespace), _) => write!(f, " in {namespace}"),
            (None, _) => write!(f, " in the whole cluster"),
        }
    }
}

/// Lists what somebody must be allowed who has a Backup of this spec made.
pub fn backup_rights(spec: &Value) -> BTreeSet<Right> {
    let places = if asks_for_cluster_kinds(spec) { None } else { named(&spec["includedNamespaces"]) };
    rights("backup", &places.unwrap_or_else(everywhere), has_hooks(spec))
}

/// Lists what somebody must be allowed who has a Restore of this spec made, which takes these items of a Backup.
///
/// It is every namespace that something is taken out of, and every one that something is put into. What lies
/// in no namespace needs the whole cluster, but for the volumes that come along with the rest.
pub fn restore_rights(spec: &Value, items: &[&Item]) -> BTreeSet<Right> {
    let selection = Selection::of(spec);
    let both = |place: Option<&str>| [place.map(str::to_owned), selection.destination(place)];
    let included = &spec["includedNamespaces"];
    let is_all =
        included.as_array().is_none_or(|names| names.is_empty() || names.iter().any(|name| name == "*"));
    // What is named counts whether the Backup holds it or not; who names patterns may mean anything.
    let asked = if is_all { BTreeSet::new() } else { named(included).unwrap_or_else(everywhere) };
    let mut places: BTreeSet<Option<String>> =
        asked.iter().flat_map(|place| both(place.as_deref())).collect();
    for item in items {
        match (item.namespace.as_deref(), item.kind.as_str()) {
            (None, "Namespace") => places.extend(both(Some(&item.name))),
            // It comes with its claim.
            (None, "PersistentVolume") => {}
            (place, _) => places.extend(both(place)),
        }
    }
    if asks_for_cluster_kinds(spec) {
        places.extend(everywhere());
    }
    rights("restore", &places, has_hooks(spec))
}

/// Lists what somebody must be allowed who looks at a Backup or a Restore of this spec that is not theirs.
pub fn view_rights(spec: &Value) -> BTreeSet<Right> {
    let selection = Selection::of(spec);
    let places = named(&spec["includedNamespaces"]).unwrap_or_else(everywhere);
    let destinations = places.iter().map(|place| selection.destination(place.as_deref()));
    rights("restore", &destinations.chain(places.iter().cloned()).collect(), false)
}

/// Lists what somebody must be allowed who has a workflow read one of Velero's objects that it has not made.
///
/// Of other kinds than these two nobody can tell whose they are, and some hold addresses of what is saved.
pub fn read_rights(object: &Value) -> BTreeSet<Right> {
    match object["kind"].as_str() {
        Some("Backup" | "Restore") if object["apiVersion"] == API_VERSION => view_rights(&object["spec"]),
        _ => velero_rights(),
    }
}

/// Lists what somebody must be allowed who has a workflow run in a namespace with a ServiceAccount's rights, as far
/// as that is known before it runs.
///
/// Expressions are not known yet, nor what a Backup holds; both are asked for when a step begins.
pub fn known_rights(workflow: &Workflow, namespace: &str, account: Option<&str>) -> BTreeSet<Right> {
    let needed = account.filter(|_| workflow.beyond_velero().next().is_some());
    let account = needed.map(|name| Right::account(namespace, name));
    let created = workflow.steps.iter().filter_map(|step| step.resource.as_ref());
    let created =
        created.filter(|resource| resource.action == Verb::Create).map(|resource| &resource.manifest);
    created
        .filter(|manifest| manifest["apiVersion"] == API_VERSION && is_literal(&manifest["spec"]))
        .flat_map(|manifest| match manifest["kind"].as_str() {
            Some("Backup") => backup_rights(&manifest["spec"]),
            Some("Restore") => restore_rights(&manifest["spec"], &[]),
            _ => BTreeSet::new(),
        })
        .chain(account)
        .collect()
}

/// Names objects of a kind in a namespace: `apiVersion`, kind, namespace.
pub type Place = (String, String, String);

/// Lists which verbs on what a ServiceAccount needs that workflows run with in a namespace.
pub fn account_verbs(workflows: &[Workflow], namespace: &str) -> BTreeMap<Place, BTreeSet<&'static str>> {
    let steps = workflows.iter().flat_map(Workflow::beyond_velero);
    let mut needed: BTreeMap<Place, BTreeSet<&'static str>> = BTreeMap::new();
    for resource in steps.filter_map(|step| step.resource.as_ref()) {
        let text =
            |pointer: &str| resource.manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let own = text("/metadata/namespace").unwrap_or_else(|| namespace.to_owned());
        let place = (text("/apiVersion").unwrap_or_default(), text("/kind").unwrap_or_default(), own);
        let verbs: &[&str] = match resource.action {
            Verb::Get => &["get"],
            Verb::Wait => &["get", "list", "watch"],
            Verb::Create => &["get", "list", "watch", "create"],
            Verb::Delete => &["get", "list", "watch", "delete"],
        };
        needed.entry(place).or_default().extend(verbs);
    }
    needed
}

/// Lists what somebody must be allowed who has anything else done in Velero's namespace: all of it.
pub fn velero_rights() -> BTreeSet<Right> {
    ["backup", "restore"].into_iter().map(|verb| Right::target(verb, None)).collect()
}

/// Lists the verb on each place, and commands in its pods where there are hooks.
fn rights(verb: &'static str, places: &BTreeSet<Option<String>>, hooks: bool) -> BTreeSet<Right> {
    // Who has the whole is asked for no part of it.
    let whole = everywhere();
    let places = if places.contains(&None) { &whole } else { places };
    let targets = places.iter().map(|place| Right::target(verb, place.as_deref()));
    let commands = places.iter().filter(|_| hooks).map(|place| Right::exec(place.as_deref()));
    targets.chain(commands).collect()
}

fn everywhere() -> BTreeSet<Option<String>> {
    BTreeSet::from([None])
}

/// Reads a list of namespaces; `None` when it means all, or might.
fn named(list: &Value) -> Option<BTreeSet<Option<String>>> {
    let names = list.as_array().filter(|names| !names.is_empty())?;
    // Velero takes patterns too.
    let one =
        |name: &Value| name.as_str().filter(|name| is_dns_label(name)).map(|name| Some(name.to_owned()));
    names.iter().map(one).collect()
}

/// Tells whether a spec asks for kinds that lie in no namespace.
fn asks_for_cluster_kinds(spec: &Value) -> bool {
    let scoped = spec["includedClusterScopedResources"].as_array();
    spec["includeClusterResources"] == true || scoped.is_some_and(|kinds| !kinds.is_empty())
}

fn has_hooks(spec: &Value) -> bool {
    spec["hooks"]["resources"].as_array().is_some_and(|hooks| !hooks.is_empty())
}

#[cfg(test)]
mod tests;

//! What a person must be allowed to do before a Velero object is created for them.
//!
//! Backups and restores are verbs on the virtual resource `targets.core.ochre.dev`, asked for with the
//! namespace as namespace and as name: a RoleBinding there grants them, and a ClusterRoleBinding with
//! `resourceNames` still does when the namespace is gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::action::GROUP;
use crate::expression::is_literal;
use crate::selector::is_dns_label;
use crate::velero::{self, API_VERSION, Item, Selection, admits_secrets};
use crate::workflow::{Verb, Workflow};

mod writes;

pub use writes::{Manner, Write};

/// One thing that a person must be allowed to do, as a SubjectAccessReview asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for Kubernetes' own first one.
    pub group: Cow<'static, str>,
    /// The plural of the kind.
    pub resource: Cow<'static, str>,
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
            group: Cow::Borrowed(GROUP),
            resource: Cow::Borrowed("actions"),
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: name.map(str::to_owned),
        }
    }

    /// Asks to see the GraphQL schema.
    pub const fn schema() -> Self {
        Self {
            verb: "get",
            group: Cow::Borrowed(GROUP),
            resource: Cow::Borrowed("schemas"),
            subresource: None,
            namespace: None,
            name: None,
        }
    }

    /// Asks for `backup`, `restore` or `escalate` of a namespace; without one, of the whole cluster.
    ///
    /// `escalate` is to have a restore write there what one may not write oneself, as RBAC's own verb is for roles.
    pub fn target(verb: &'static str, namespace: Option<&str>) -> Self {
        let namespace = namespace.map(str::to_owned);
        Self {
            verb,
            group: Cow::Borrowed(GROUP),
            resource: Cow::Borrowed("targets"),
            subresource: None,
            name: namespace.clone(),
            namespace,
        }
    }

    /// Asks for the same in the whole cluster.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        // A namespace is its own name.
        let name = self.name.clone().filter(|_| self.resource != "targets");
        Self { namespace: None, name, ..self.clone() }
    }

    /// Asks for the use of a ServiceAccount: to act as it is Kubernetes' own verb `impersonate`.
    pub fn account(namespace: &str, name: &str) -> Self {
        Self {
            verb: "impersonate",
            group: Cow::Borrowed(""),
            resource: Cow::Borrowed("serviceaccounts"),
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// Asks to read Secrets of a namespace; without one, of all.
    fn secrets(verb: &'static str, namespace: Option<&str>) -> Self {
        Self {
            verb,
            group: Cow::Borrowed(""),
            resource: Cow::Borrowed("secrets"),
            subresource: None,
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }

    /// Asks to read a ConfigMap.
    fn config_map(namespace: &str, name: &str) -> Self {
        Self {
            verb: "get",
            group: Cow::Borrowed(""),
            resource: Cow::Borrowed("configmaps"),
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// Asks for the use of a storage location: a verb of ochre's own, as Kubernetes has it for others.
    pub fn storage_location(namespace: &str, name: &str) -> Self {
        Self {
            verb: "use",
            group: Cow::Borrowed(velero::GROUP),
            resource: Cow::Borrowed("backupstoragelocations"),
            subresource: None,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// Asks to run commands in the pods of a namespace, as hooks do.
    fn exec(namespace: Option<&str>) -> Self {
        Self {
            verb: "create",
            group: Cow::Borrowed(""),
            resource: Cow::Borrowed("pods"),
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

/// Lists what a caller must be allowed who has a Backup of this spec made, in Velero's namespace.
///
/// A Backup that holds Secrets is a way to keep them, so it takes the right to read them.
pub fn backup_rights(spec: &Value, velero_namespace: &str) -> BTreeSet<Right> {
    let places = if asks_for_cluster_kinds(spec) { None } else { named(&spec["includedNamespaces"]) };
    let places = places.unwrap_or_else(everywhere);
    let mut rights = rights("backup", &places, has_hooks(spec));
    if admits_secrets(spec) {
        rights.extend(places.iter().flat_map(|place| {
            ["get", "list"].into_iter().map(|verb| Right::secrets(verb, place.as_deref()))
        }));
    }
    rights.extend(rules_named(spec, velero_namespace));
    rights
}

/// Lists what a caller must be allowed who has a Restore of this spec made, in Velero's namespace, which takes these
/// items of a Backup.
///
/// It is every namespace that something is taken out of, and every one that something is put into. What lies
/// in no namespace needs the whole cluster, but for the volumes that come along with the rest. A Secret that
/// goes to another namespace is read from its own. What is written there is asked for apart ([`Write`]).
pub fn restore_rights(spec: &Value, items: &[&Item], velero_namespace: &str) -> BTreeSet<Right> {
    let selection = Selection::of(spec);
    let both = |place: Option<&str>| [place.map(str::to_owned), selection.destination(place)];
    // What is named counts whether the Backup holds it or not; a pattern may mean anything.
    let asked = if asks_for_all(spec) {
        BTreeSet::new()
    } else {
        named(&spec["includedNamespaces"]).unwrap_or_else(everywhere)
    };
    let mut places: BTreeSet<Option<String>> =
        asked.iter().flat_map(|place| both(place.as_deref())).collect();
    let mut secrets = BTreeSet::new();
    for item in items {
        match (item.namespace.as_deref(), item.api_version.as_str(), item.kind.as_str()) {
            (None, "v1", "Namespace") => places.extend(both(Some(&item.name))),
            // It comes with its claim.
            (None, "v1", "PersistentVolume") => {}
            (place, version, kind) => {
                places.extend(both(place));
                if (version, kind) == ("v1", "Secret")
                    && place.map(str::to_owned) != selection.destination(place)
                {
                    secrets.insert(Right::secrets("get", place));
                }
            }
        }
    }
    if asks_for_cluster_kinds(spec) {
        places.extend(everywhere());
    }
    let mut rights = rights("restore", &places, has_hooks(spec));
    rights.extend(secrets);
    rights.extend(rules_named(spec, velero_namespace));
    rights
}

/// Lists what a caller must be allowed who is told anything of a Backup that a Restore of theirs names.
///
/// It is what both have in common; a Backup of everything is told of to whom the Restore's own part of it belongs.
pub fn sight_rights(backup: &Value, restore: &Value) -> BTreeSet<Right> {
    let asked = if asks_for_all(restore) { None } else { named(&restore["includedNamespaces"]) };
    let places = match (named(&backup["includedNamespaces"]), asked) {
        (Some(held), Some(asked)) => {
            let common: BTreeSet<_> = held.intersection(&asked).cloned().collect();
            if common.is_empty() { held } else { common }
        }
        (Some(places), None) | (None, Some(places)) => places,
        (None, None) => everywhere(),
    };
    rights("restore", &places, false)
}

/// Says how a caller gets along without these rights, beside asking for them.
pub fn way_around(missing: &[&Right]) -> Option<&'static str> {
    let reads_secrets = |right: &&Right| right.resource == "secrets" && matches!(right.verb, "get" | "list");
    if missing.iter().all(reads_secrets) {
        return Some("leave the Secrets out with excludeResources: secrets");
    }
    let is_whole = |right: &&Right| right.namespace.is_none();
    missing.iter().any(is_whole).then_some("name the namespaces with includeNamespaces")
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
pub fn known_rights(
    workflow: &Workflow,
    namespace: &str,
    account: Option<&str>,
    velero_namespace: &str,
) -> BTreeSet<Right> {
    let needed = account.filter(|_| workflow.beyond_velero().next().is_some());
    let account = needed.map(|name| Right::account(namespace, name));
    let created = workflow.steps.iter().filter_map(|step| step.resource.as_ref());
    let created =
        created.filter(|resource| resource.action == Verb::Create).map(|resource| &resource.manifest);
    created
        .filter(|manifest| manifest["apiVersion"] == API_VERSION && is_literal(&manifest["spec"]))
        .flat_map(|manifest| match manifest["kind"].as_str() {
            Some("Backup") => backup_rights(&manifest["spec"], velero_namespace),
            Some("Restore") => restore_rights(&manifest["spec"], &[], velero_namespace),
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

/// Lists what a caller must be allowed who has anything else done in Velero's namespace: all of it, since Velero does
/// with its own rights what it finds there, and what is there leads to what is in every Backup.
pub fn velero_rights() -> BTreeSet<Right> {
    ["backup", "escalate", "restore"].into_iter().map(|verb| Right::target(verb, None)).collect()
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

/// Lists the rights to the ConfigMaps of Velero's namespace whose rules a spec names: naming one has Velero read it.
fn rules_named(spec: &Value, velero_namespace: &str) -> impl Iterator<Item = Right> {
    let names = ["resourceModifier", "resourcePolicy"].map(|field| spec[field]["name"].as_str());
    names.into_iter().flatten().map(move |name| Right::config_map(velero_namespace, name))
}

/// Tells whether a Restore names no namespaces.
fn asks_for_all(spec: &Value) -> bool {
    let names = spec["includedNamespaces"].as_array();
    names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name == "*"))
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

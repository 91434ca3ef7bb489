//! What a Backup's or Restore's filters let through, read as Velero reads them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::{Item, SavedObject};
use crate::selector;

/// What a spec selects from a Backup, beside labels.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selection {
    included_namespaces: Option<Vec<String>>,
    excluded_namespaces: Option<Vec<String>>,
    included_resources: Option<Vec<String>>,
    excluded_resources: Option<Vec<String>>,
    included_namespace_scoped_resources: Option<Vec<String>>,
    excluded_namespace_scoped_resources: Option<Vec<String>>,
    include_cluster_resources: Option<bool>,
    namespace_mapping: Option<BTreeMap<String, String>>,
    label_selector: Option<LabelSelector>,
    or_label_selectors: Option<Vec<LabelSelector>>,
    restore_status: Option<Statuses>,
}

/// Of which kinds a Restore writes the status too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Statuses {
    included_resources: Option<Vec<String>>,
    excluded_resources: Option<Vec<String>>,
}

impl Selection {
    /// Reads the filters of a Backup's or Restore's spec.
    pub fn of(spec: &Value) -> Self {
        Self::deserialize(spec).unwrap_or_default()
    }

    /// Lists the label selectors; several are alternatives.
    pub fn selectors(&self) -> Vec<&LabelSelector> {
        self.label_selector.iter().chain(self.or_label_selectors.iter().flatten()).collect()
    }

    /// Tells whether a namespace is let through.
    pub fn admits_namespace(&self, namespace: &str) -> bool {
        let included = self.included_namespaces.as_ref().filter(|included| !included.is_empty());
        !names_one(self.excluded_namespaces.as_ref(), &[namespace])
            && included.is_none_or(|names| names.iter().any(|name| name == "*" || name == namespace))
    }

    /// Tells whether namespaces and kinds let an item through; `names` are all names of its kind.
    pub fn admits(&self, item: &Item, names: &[String]) -> bool {
        let namespace = match (&item.namespace, self.include_cluster_resources) {
            (Some(namespace), _) => self.admits_namespace(namespace),
            (None, Some(included)) => included,
            // With namespaces chosen, Velero restores of what is cluster-scoped what comes along with the rest: the
            // volumes of claims, and what `may_come_along`.
            (None, None) => self.takes_all_namespaces() || item.kind == "PersistentVolume",
        };
        namespace && self.admits_kind(names)
    }

    /// Tells whether an item that lies in no namespace is not asked for, and may be added by a plugin of Velero to what
    /// is (the PriorityClass of a pod); `names` are all names of its kind.
    pub fn may_come_along(&self, item: &Item, names: &[String]) -> bool {
        let is_added = item.namespace.is_none() && self.include_cluster_resources != Some(false);
        is_added && !self.admits(item, names) && self.admits_kind(names)
    }

    /// Tells whether a namespaced kind is let through; `names` are all its names.
    pub fn admits_kind<Name: AsRef<str>>(&self, names: &[Name]) -> bool {
        let admitted = |included: &Option<Vec<String>>, excluded: &Option<Vec<String>>| {
            let all = included.as_ref().is_none_or(Vec::is_empty);
            (all || names_one(included.as_ref(), names)) && !names_one(excluded.as_ref(), names)
        };
        admitted(&self.included_resources, &self.excluded_resources)
            && admitted(&self.included_namespace_scoped_resources, &self.excluded_namespace_scoped_resources)
    }

    /// Tells whether a kind is named among those that are let through; `names` are all its names.
    pub fn names_kind(&self, names: &[String]) -> bool {
        self.lists_kinds() && names_one(self.included_resources.as_ref(), names)
    }

    /// Tells whether kinds are let through one by one, and not all of them.
    pub fn lists_kinds(&self) -> bool {
        self.included_resources
            .as_ref()
            .is_some_and(|kinds| !kinds.is_empty() && !kinds.iter().any(|kind| kind == "*"))
    }

    /// Tells whether a kind is named among those that are left out; `names` are all its names.
    pub fn leaves_out(&self, names: &[String]) -> bool {
        names_one(self.excluded_resources.as_ref(), names)
    }

    /// Finds a name among the namespaces and kinds that are let through that Velero may read in another way than this
    /// engine: all but `*` itself and ASCII letters, digits, `-` and `.`.
    pub fn unclear(&self) -> Option<&str> {
        let kinds = self.included_resources.iter().chain(&self.included_namespace_scoped_resources);
        let mut names = self.included_namespaces.iter().chain(kinds).flatten();
        names.find(|name| !is_plain(name)).map(String::as_str)
    }

    /// Lists the names of kinds that are let through and are none of these.
    pub fn unknown(&self, known: &BTreeSet<&String>) -> impl Iterator<Item = &String> {
        let is_known = |kind: &str| known.iter().any(|name| name.eq_ignore_ascii_case(kind));
        self.included_resources.iter().flatten().filter(move |kind| !is_known(kind))
    }

    /// Finds a kind that is let through under a name that means this one to Velero, and is none of its names here: with
    /// its singular and a group, or with the beginning of a group.
    pub fn other_spelling(&self, group: &str, names: &[String]) -> Option<&str> {
        let mut kinds = self.included_resources.iter().flatten();
        kinds.find(|kind| is_other_spelling(kind, group, names)).map(String::as_str)
    }

    /// Tells whether the status of a kind is written too; what is left out counts only by its full name, the
    /// first with a group, or the plural of a kind without.
    pub fn restores_status(&self, names: &[String]) -> bool {
        let Some(of) = &self.restore_status else { return false };
        let included = of.included_resources.iter().flatten();
        let mut included = included.peekable();
        let full = names.iter().find(|name| name.contains('.')).or_else(|| names.first());
        let excluded = of.excluded_resources.iter().flatten().any(|kind| Some(kind) == full);
        let is_in = |kind: &String| {
            !is_plain(kind)
                || kind == "*"
                || names.iter().any(|name| resource(name).eq_ignore_ascii_case(resource(kind)))
        };
        !excluded && (included.peek().is_none() || included.any(is_in))
    }

    /// Tells whether every volume is restored that is in the Backup, and not only those of claims.
    pub fn takes_all_volumes(&self) -> bool {
        self.include_cluster_resources == Some(true) || self.takes_all_namespaces()
    }

    fn takes_all_namespaces(&self) -> bool {
        let namespaces = self.included_namespaces.as_ref();
        namespaces.is_none_or(|names| names.is_empty() || names.iter().any(|name| name == "*"))
    }

    /// Tells whether the labels let an object of a tarball through.
    pub fn admits_labels(&self, saved: &SavedObject) -> bool {
        let selectors = self.selectors();
        selectors.is_empty()
            || selectors.iter().any(|wanted| selector::matches(wanted, |key| saved.label(key)))
    }

    /// Names the objects of a tarball that the labels let through: group, kind, namespace and name.
    pub fn admitted_by_labels<'read>(
        &self,
        contents: &'read [SavedObject],
    ) -> BTreeSet<(&'read str, &'read str, Option<&'read str>, &'read str)> {
        let identity = |saved: &'read SavedObject| {
            (saved.group.as_str(), saved.kind.as_str(), saved.namespace.as_deref(), saved.name.as_str())
        };
        contents.iter().filter(|saved| self.admits_labels(saved)).map(identity).collect()
    }

    /// Tells whether namespaces themselves were asked for.
    pub(super) fn asks_for_namespaces(&self) -> bool {
        let asked = self.included_resources.iter().flatten();
        asked.into_iter().any(|kind| matches!(kind.as_str(), "namespaces" | "namespace" | "ns"))
    }

    /// Tells whether anything is restored into another namespace.
    pub fn maps_namespaces(&self) -> bool {
        self.namespace_mapping.as_ref().is_some_and(|mapping| !mapping.is_empty())
    }

    /// Tells whether anything may be restored into a namespace.
    pub fn leads_to(&self, namespace: &str) -> bool {
        let included = self.included_namespaces.iter().flatten();
        self.takes_all_namespaces()
            || included.into_iter().any(|from| self.destination(Some(from)).as_deref() == Some(namespace))
    }

    /// Names the namespace that an item of the Backup is restored into.
    pub fn destination(&self, namespace: Option<&str>) -> Option<String> {
        let namespace = namespace?;
        let mapped = self.namespace_mapping.as_ref().and_then(|mapping| mapping.get(namespace));
        Some(mapped.map_or_else(|| namespace.to_owned(), Clone::clone))
    }
}

/// Lists the names of kinds that a Backup's or Restore's spec has; a pattern is none.
pub fn named_kinds(spec: &Value) -> BTreeSet<String> {
    const LISTS: [&str; 8] = [
        "/includedResources",
        "/excludedResources",
        "/includedNamespaceScopedResources",
        "/excludedNamespaceScopedResources",
        "/includedClusterScopedResources",
        "/excludedClusterScopedResources",
        "/restoreStatus/includedResources",
        "/restoreStatus/excludedResources",
    ];
    let listed = LISTS.iter().filter_map(|list| spec.pointer(list)?.as_array()).flatten();
    let ordered = spec["orderedResources"].as_object().into_iter().flat_map(|kinds| kinds.keys());
    let names = listed.filter_map(Value::as_str).chain(ordered.map(String::as_str));
    names.filter(|name| !name.is_empty() && !name.contains(['*', '?', '[', '{'])).map(str::to_owned).collect()
}

/// Tells whether a Backup of this spec takes Secrets, or might.
pub fn admits_secrets(spec: &Value) -> bool {
    const NAMES: [&str; 2] = ["secrets", "secret"];
    let selection = Selection::of(spec);
    let included = |list: &Option<Vec<String>>| {
        let all = list.as_ref().is_none_or(Vec::is_empty);
        let is_it = |name: &String| NAMES.iter().any(|known| known.eq_ignore_ascii_case(resource(name)));
        all || list.iter().flatten().any(|name| name == "*" || !is_plain(name) || is_it(name))
    };
    let excluded = |list: &Option<Vec<String>>| {
        let is_it = |name: &String| name == "*" || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
        list.iter().flatten().any(is_it)
    };
    let Selection { included_resources, excluded_resources, .. } = &selection;
    included(included_resources)
        && included(&selection.included_namespace_scoped_resources)
        && !excluded(excluded_resources)
        && !excluded(&selection.excluded_namespace_scoped_resources)
}

/// Tells whether Velero takes a name for a kind that does not have it: it completes groups.
fn is_other_spelling(kind: &str, group: &str, names: &[String]) -> bool {
    let Some((_, of)) = kind.split_once('.') else { return false };
    !names.iter().any(|name| name.eq_ignore_ascii_case(kind))
        && names.iter().any(|name| resource(name).eq_ignore_ascii_case(resource(kind)))
        && group.to_lowercase().starts_with(&of.to_lowercase())
}

/// Takes a kind's name without its group.
fn resource(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Tells whether a name is `*`, or has only characters that mean the same to Velero: it knows patterns, and takes letters
/// beyond ASCII for lower-case ones (`İ` for `i`).
fn is_plain(name: &str) -> bool {
    name == "*" || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Tells whether a list of a spec means one of these names.
fn names_one<Name: AsRef<str>>(list: Option<&Vec<String>>, names: &[Name]) -> bool {
    let mut entries = list.into_iter().flatten();
    entries.any(|asked| asked == "*" || names.iter().any(|name| name.as_ref().eq_ignore_ascii_case(asked)))
}

//! What clients ask before anything else: the version, the groups and their resources.

use serde_json::{Value, json};

use super::failure::Failure;
use super::store::Store;

/// The Kubernetes version whose manners the API has.
pub(crate) const KUBERNETES_VERSION: &str = "v1.36.4";

pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": KUBERNETES_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "ochre/sandbox",
    })
}

pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

pub(crate) fn groups(store: &Store) -> Value {
    let mut names: Vec<&str> =
        store.kinds().map(|kind| kind.group.as_str()).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let groups: Vec<Value> = names.into_iter().filter_map(|name| describe(store, name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub(crate) fn group(store: &Store, name: &str) -> Result<Value, Failure> {
    let mut group = describe(store, name).ok_or(Failure::NoRoute)?;
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Ok(group)
}

pub(crate) fn resources(store: &Store, group: &str, version: &str) -> Result<Value, Failure> {
    let resources: Vec<Value> = store
        .kinds()
        .filter(|kind| kind.group == group)
        .filter_map(|kind| kind.version(version).map(|version| kind.discovery(version)))
        .flatten()
        .collect();
    if resources.is_empty() {
        return Err(store.absent(group));
    }
    let mut list = json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
        list["groupVersion"] = json!(format!("{group}/{version}"));
    }
    Ok(list)
}

fn describe(store: &Store, name: &str) -> Option<Value> {
    let mut versions: Vec<&str> = Vec::new();
    for version in store.kinds().filter(|kind| kind.group == name).flat_map(|kind| &kind.versions) {
        if !versions.contains(&version.name.as_str()) {
            versions.push(&version.name);
        }
    }
    // Stable versions before the others, the highest first.
    versions.sort_by_key(|version| {
        (version.contains("alpha"), version.contains("beta"), std::cmp::Reverse(*version))
    });
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let preferred = versions.first().map(entry)?;
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

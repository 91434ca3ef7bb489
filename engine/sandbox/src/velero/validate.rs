//! What the server fills into a Backup's spec, and what it refuses in it.

use serde_json::{Value, json};

use super::cluster::Resource;
use super::{Server, Trouble, name, phase};

const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

impl Server {
    /// Fills in what the server defaults, and lists what is wrong with the spec.
    pub(super) async fn prepare(&self, backup: &Value, problems: &mut Vec<String>) -> Result<Value, Trouble> {
        let spec = &backup["spec"];
        let mut defaults = json!({});
        for (field, default) in [
            ("ttl", json!("720h0m0s")),
            ("csiSnapshotTimeout", json!("10m0s")),
            ("itemOperationTimeout", json!("4h0m0s")),
            ("defaultVolumesToFsBackup", json!(false)),
            ("snapshotMoveData", json!(false)),
            ("includedNamespaces", json!(["*"])),
            ("volumeGroupSnapshotLabelKey", json!("velero.io/volume-group")),
        ] {
            if spec[field].is_null() {
                defaults[field] = default;
            }
        }
        self.exclude(spec, &mut defaults).await?;
        let location = self.choose_location(spec, problems).await?;
        defaults["storageLocation"] = json!(location);
        check(spec, problems);
        let version = self.cluster.version().await?;
        Ok(json!({
            "metadata": {
                "labels": {"velero.io/storage-location": location},
                "annotations": {
                    "velero.io/resource-timeout": "10m0s",
                    "velero.io/source-cluster-k8s-gitversion": version.git_version,
                    "velero.io/source-cluster-k8s-major-version": version.major,
                    "velero.io/source-cluster-k8s-minor-version": version.minor,
                },
            },
            "spec": defaults,
        }))
    }

    /// Excludes snapshots, and the namespaces that ask for it by a label.
    async fn exclude(&self, spec: &Value, defaults: &mut Value) -> Result<(), Trouble> {
        let with = |field: &str, names: &[&str]| {
            let mut list: Vec<Value> = spec[field].as_array().cloned().unwrap_or_default();
            list.extend(
                names
                    .iter()
                    .map(|name| json!(name))
                    .filter(|name| !spec[field].as_array().is_some_and(|old| old.contains(name))),
            );
            Value::Array(list)
        };
        if uses_old_filters(spec) && uses_new_filters(spec) {
            // Refused; nothing is filled in.
        } else if uses_old_filters(spec) {
            defaults["excludedResources"] = with("excludedResources", &[SNAPSHOTS, SNAPSHOT_CONTENTS]);
        } else {
            defaults["excludedClusterScopedResources"] =
                with("excludedClusterScopedResources", &[SNAPSHOT_CONTENTS]);
            defaults["excludedNamespaceScopedResources"] =
                with("excludedNamespaceScopedResources", &[SNAPSHOTS]);
        }
        let namespaces =
            self.cluster.list(&Resource::new("", "v1", "namespaces", "Namespace", false), "").await?;
        let excluded: Vec<&str> = namespaces
            .iter()
            .filter(|namespace| namespace["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true")
            .map(name)
            .collect();
        if !excluded.is_empty() {
            defaults["excludedNamespaces"] = with("excludedNamespaces", &excluded);
        }
        Ok(())
    }

    /// Returns the location that the spec names, or the default one, and checks that it can be written to.
    async fn choose_location(&self, spec: &Value, problems: &mut Vec<String>) -> Result<String, Trouble> {
        let location = match spec["storageLocation"].as_str().filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => self.default_location().await?,
        };
        match self.location(&location).await? {
            None => problems.push(format!(
                "an existing backup storage location was not specified at backup creation time and the default {location} was not found. Please address this issue (see `velero backup-location -h` for options) and create a new backup. Error: BackupStorageLocation.velero.io {location:?} not found"
            )),
            Some(found) if found["spec"]["accessMode"] == "ReadOnly" => problems.push(format!(
                "backup can't be created because backup storage location {location} is currently in read-only mode"
            )),
            Some(found) if phase(&found) != "Available" => {
                let phase = Some(phase(&found)).filter(|phase| !phase.is_empty()).unwrap_or("Unknown");
                problems.push(format!("backup can't be created because BackupStorageLocation {location} is in {phase} status."));
            }
            Some(_) => {}
        }
        Ok(location)
    }
}

fn uses_old_filters(spec: &Value) -> bool {
    let listed = |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
    listed("includedResources") || listed("excludedResources") || spec["includeClusterResources"].is_boolean()
}

fn uses_new_filters(spec: &Value) -> bool {
    let scoped = [
        "includedClusterScopedResources",
        "excludedClusterScopedResources",
        "includedNamespaceScopedResources",
        "excludedNamespaceScopedResources",
    ];
    scoped.into_iter().any(|field| spec[field].as_array().is_some_and(|list| !list.is_empty()))
}

fn check(spec: &Value, problems: &mut Vec<String>) {
    let listed = |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
    if spec["labelSelector"].is_object() && listed("orLabelSelectors") {
        problems.push(
            "encountered labelSelector as well as orLabelSelectors in backup spec, only one can be specified"
                .to_owned(),
        );
    }
    if uses_old_filters(spec) && uses_new_filters(spec) {
        problems.push("include-resources, exclude-resources and include-cluster-resources are old filter parameters.\ninclude-cluster-scoped-resources, exclude-cluster-scoped-resources, include-namespace-scoped-resources and exclude-namespace-scoped-resources are new filter parameters.\nThey cannot be used together".to_owned());
    }
    for (includes, excludes, word) in [
        ("includedResources", "excludedResources", "resource"),
        ("includedNamespaces", "excludedNamespaces", "namespace"),
    ] {
        let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
        let (included, excluded) = (list(includes), list(excludes));
        if included.len() > 1 && included.contains(&json!("*")) {
            problems.push(format!("Invalid included/excluded {word} lists: includes list must either contain '*' only, or a non-empty list of items"));
        }
        if excluded.contains(&json!("*")) {
            problems
                .push(format!("Invalid included/excluded {word} lists: excludes list cannot contain '*'"));
        }
        for both in included.iter().filter(|name| excluded.contains(name)) {
            problems.push(format!("Invalid included/excluded {word} lists: excludes list cannot contain an item in the includes list: {}", both.as_str().unwrap_or_default()));
        }
    }
}

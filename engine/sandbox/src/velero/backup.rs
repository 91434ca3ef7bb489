//! The way of a Backup from ready to its end.

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::cluster::Resource;
use super::collect::{Collection, collect};
use super::ending::{self, Ending};
use super::filter::Filter;
use super::results::Results;
use super::{Server, Trouble, archive, left, name, phase, timestamp};

const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const HOUR: i64 = 3600;

/// Names the kind.
pub(crate) fn resource() -> Resource {
    Resource::velero("backups", "Backup")
}

/// Returns the key of one of a backup's files.
pub(crate) fn key(backup: &str, file: &str) -> String {
    format!("backups/{backup}/{file}")
}

/// Tells whether a backup has ended well enough to be restored.
pub(crate) fn is_good(backup: &Value) -> bool {
    matches!(phase(backup), "Completed" | "PartiallyFailed")
}

impl Server {
    pub(super) async fn run_backups(self) {
        let wanted: fn(&Value) -> bool = |backup| {
            matches!(
                phase(backup),
                "ReadyToStart" | "Finalizing" | "FinalizingPartiallyFailed"
            )
        };
        let mut backups = self.cluster.follow(&resource(), self.namespace(), wanted);
        loop {
            let Some(name) = backups.live.keys().next().cloned() else {
                backups.changed().await;
                continue;
            };
            if let Err(trouble) = self.go_on_with_backup(&name).await {
                left("Backup", &name, &trouble);
            }
            backups.live.remove(&name);
        }
    }

    async fn go_on_with_backup(&self, name: &str) -> Result<(), Trouble> {
        // What was followed may be old; only what is now counts.
        let Some(backup) = self.get(&resource(), name).await? else {
            return Ok(());
        };
        match phase(&backup) {
            "ReadyToStart" => self.start_backup(backup).await,
            "Finalizing" | "FinalizingPartiallyFailed" => self.finish_backup(&backup).await,
            _ => Ok(()),
        }
    }

    async fn start_backup(&self, backup: Value) -> Result<(), Trouble> {
        self.step(&backup).await;
        let mut problems = Vec::new();
        let changes = self.prepare(&backup, &mut problems).await?;
        let now = self.now();
        let mut prepared = backup;
        json_patch::merge(&mut prepared, &changes);
        let lifetime = prepared["spec"]["ttl"]
            .as_str()
            .and_then(|ttl| ttl.parse::<kube::core::Duration>().ok());
        let lifetime = lifetime.map_or(720 * HOUR, |ttl| {
            i64::try_from(std::time::Duration::from(ttl).as_secs()).unwrap_or(720 * HOUR)
        });
        let expiration = timestamp(now + jiff::SignedDuration::from_secs(lifetime));
        let mut status = json!({"expiration": expiration, "formatVersion": "1.1.0", "version": 1});
        if Ending::of(&prepared) == Some(Ending::FailedValidation) {
            problems.push(format!(
                "asked to fail validation by the annotation {}",
                ending::END
            ));
        }
        if problems.is_empty() {
            status["phase"] = json!("InProgress");
            status["startTimestamp"] = json!(timestamp(now));
        } else {
            status["phase"] = json!("FailedValidation");
            status["validationErrors"] = json!(problems);
        }
        let mut patch = changes;
        patch["status"] = status;
        let backup = self.patch(&resource(), name(&prepared), &patch).await?;
        if problems.is_empty() {
            self.run_backup(&backup).await
        } else {
            Ok(())
        }
    }

    async fn run_backup(&self, backup: &Value) -> Result<(), Trouble> {
        self.step(backup).await;
        let reason = match self.store_backup(backup).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Store(error)) => error.to_string(),
            Err(trouble @ Trouble::Api(_)) => return Err(trouble),
        };
        let status = ending::failed("backup", &reason, &self.timestamp());
        self.patch_status(&resource(), name(backup), status).await?;
        Ok(())
    }

    /// Collects and stores the objects, up to the phase Finalizing. What the store refuses fails the Backup.
    async fn store_backup(&self, backup: &Value) -> Result<(), Trouble> {
        let refuse = |reason: String| Trouble::Store(std::io::Error::other(reason));
        let bucket = self
            .bucket_of(backup)
            .await?
            .ok_or_else(|| refuse("the storage location is gone".to_owned()))?;
        match bucket.exists(&key(name(backup), "velero-backup.json")) {
            Ok(false) => {}
            Ok(true) => return Err(refuse("backup already exists in object storage".to_owned())),
            Err(error) => {
                return Err(refuse(format!(
                    "error checking if backup already exists in object storage: {error}"
                )));
            }
        }
        match Ending::of(backup) {
            Some(Ending::Failed) => {
                return Err(refuse(format!(
                    "asked to fail by the annotation {}",
                    ending::END
                )));
            }
            Some(Ending::Stuck) => std::future::pending().await,
            Some(Ending::FailedValidation | Ending::PartiallyFailed) | None => {}
        }
        let filter = Filter::read(&backup["spec"]);
        let mut results = Results::default();
        let mut collection = collect(&self.cluster, &filter, &mut results).await?;
        let total = collection.items.len();
        let progress = if total == 0 {
            json!({})
        } else {
            json!({"totalItems": total})
        };
        self.patch_status(&resource(), name(backup), json!({"progress": progress}))
            .await?;
        self.step(backup).await;
        collection.add_needed(&self.cluster, &filter).await?;
        let volumes = collection
            .volume_info(&self.cluster, backup, &mut results)
            .await?;
        let total = collection.items.len();
        let progress = if total == 0 {
            json!({})
        } else {
            json!({"itemsBackedUp": total, "totalItems": total})
        };
        let status = json!({"hookStatus": {}, "progress": progress});
        let backup = self.patch_status(&resource(), name(backup), status).await?;
        self.step(&backup).await;
        ending::add_results(&backup, &mut results);
        let failed = results.errors.count() > 0;
        let mut status =
            json!({"phase": if failed { "FinalizingPartiallyFailed" } else { "Finalizing" }});
        add_counts(&mut status, &results);
        let mut stored = backup.clone();
        json_patch::merge(&mut stored, &json!({"status": status}));
        self.write_files(&bucket, &stored, &collection, &volumes, &results)?;
        let backup = self
            .patch_status(&resource(), name(&backup), status)
            .await?;
        self.finish_backup(&backup).await
    }

    fn write_files(
        &self,
        bucket: &Bucket,
        backup: &Value,
        collection: &Collection,
        volumes: &[Value],
        results: &Results,
    ) -> std::io::Result<()> {
        let name = name(backup);
        let seconds = u64::try_from(self.now().as_second()).unwrap_or(0);
        let items = collection.items.iter();
        let lines =
            items.map(|item| format!("Backed up {} {}", item.resource.name(), item.entry()));
        let log = results.log("backup", name, lines);
        bucket.write(
            &key(name, &format!("{name}.tar.gz")),
            &archive::pack(&collection.items, seconds)?,
        )?;
        let json = |value: &Value| value.to_string().into_bytes();
        for (file, bytes) in [
            ("logs.gz", log.into_bytes()),
            ("results.gz", serde_json::to_vec(results)?),
            (
                "resource-list.json.gz",
                serde_json::to_vec(&collection.resource_list())?,
            ),
            ("volumeinfo.json.gz", serde_json::to_vec(volumes)?),
            ("podvolumebackups.json.gz", json(&json!([]))),
            ("volumesnapshots.json.gz", json(&json!([]))),
            ("itemoperations.json.gz", json(&json!([]))),
        ] {
            bucket.write_gzip(&key(name, &format!("{name}-{file}")), &bytes)?;
        }
        // The description comes last: with it the backup exists.
        bucket.write(&key(name, "velero-backup.json"), &json(backup))
    }

    /// Ends a Backup that was stored.
    async fn finish_backup(&self, backup: &Value) -> Result<(), Trouble> {
        self.step(backup).await;
        let failed = phase(backup) == "FinalizingPartiallyFailed";
        let status = json!({
            "phase": if failed { "PartiallyFailed" } else { "Completed" }, "completionTimestamp": self.timestamp(),
        });
        let mut stored = backup.clone();
        json_patch::merge(&mut stored, &json!({"status": status}));
        if let Some(bucket) = self.bucket_of(backup).await? {
            bucket.write(
                &key(name(backup), "velero-backup.json"),
                stored.to_string().as_bytes(),
            )?;
        }
        self.patch_status(&resource(), name(backup), status).await?;
        Ok(())
    }

    /// Fills in what the server defaults, and lists what is wrong with the spec.
    async fn prepare(&self, backup: &Value, problems: &mut Vec<String>) -> Result<Value, Trouble> {
        let spec = &backup["spec"];
        let mut defaults = json!({});
        for (field, default) in [
            ("ttl", json!("720h0m0s")),
            ("csiSnapshotTimeout", json!("10m0s")),
            ("itemOperationTimeout", json!("4h0m0s")),
            ("defaultVolumesToFsBackup", json!(false)),
            ("snapshotMoveData", json!(false)),
            ("includedNamespaces", json!(["*"])),
            (
                "volumeGroupSnapshotLabelKey",
                json!("velero.io/volume-group"),
            ),
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
        if uses_old_filters(spec) {
            defaults["excludedResources"] =
                with("excludedResources", &[SNAPSHOTS, SNAPSHOT_CONTENTS]);
        } else {
            defaults["excludedClusterScopedResources"] =
                with("excludedClusterScopedResources", &[SNAPSHOT_CONTENTS]);
            defaults["excludedNamespaceScopedResources"] =
                with("excludedNamespaceScopedResources", &[SNAPSHOTS]);
        }
        let namespaces = self
            .cluster
            .list(
                &Resource::new("", "v1", "namespaces", "Namespace", false),
                "",
            )
            .await?;
        let excluded: Vec<&str> = namespaces
            .iter()
            .filter(|namespace| {
                namespace["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true"
            })
            .map(name)
            .collect();
        if !excluded.is_empty() {
            defaults["excludedNamespaces"] = with("excludedNamespaces", &excluded);
        }
        Ok(())
    }

    /// Returns the location that the spec names, or the default one, and checks that it can be written to.
    async fn choose_location(
        &self,
        spec: &Value,
        problems: &mut Vec<String>,
    ) -> Result<String, Trouble> {
        let location = match spec["storageLocation"]
            .as_str()
            .filter(|name| !name.is_empty())
        {
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

/// Writes how many warnings and errors there are; none are left out.
pub(crate) fn add_counts(status: &mut Value, results: &Results) {
    for (field, count) in [
        ("warnings", results.warnings.count()),
        ("errors", results.errors.count()),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
}

fn uses_old_filters(spec: &Value) -> bool {
    let listed = |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
    listed("includedResources")
        || listed("excludedResources")
        || spec["includeClusterResources"].is_boolean()
}

fn check(spec: &Value, problems: &mut Vec<String>) {
    let listed = |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
    if spec["labelSelector"].is_object() && listed("orLabelSelectors") {
        problems.push("encountered labelSelector as well as orLabelSelectors in backup spec, only one can be specified".to_owned());
    }
    let scoped = [
        "includedClusterScopedResources",
        "excludedClusterScopedResources",
        "includedNamespaceScopedResources",
        "excludedNamespaceScopedResources",
    ];
    if uses_old_filters(spec) && scoped.into_iter().any(listed) {
        problems.push("include-resources, exclude-resources and include-cluster-resources are old filter parameters; they cannot be used together with the new, scoped ones".to_owned());
    }
    for (includes, excludes, word) in [
        ("includedNamespaces", "excludedNamespaces", "namespace"),
        ("includedResources", "excludedResources", "resource"),
    ] {
        let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
        let (included, excluded) = (list(includes), list(excludes));
        if included.len() > 1 && included.contains(&json!("*")) {
            problems.push(format!("Invalid included/excluded {word} lists: includes list must either contain '*' only, or a non-empty list of items"));
        }
        if excluded.contains(&json!("*")) {
            problems.push(format!(
                "Invalid included/excluded {word} lists: excludes list cannot contain '*'"
            ));
        }
        for both in included.iter().filter(|name| excluded.contains(name)) {
            problems.push(format!("Invalid included/excluded {word} lists: excludes list cannot contain an item in the includes list: {}", both.as_str().unwrap_or_default()));
        }
    }
}

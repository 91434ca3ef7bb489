//! The way of a Restore: validated, its items created in Velero's order, finalized.

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::cluster::Resource;
use super::data::Data;
use super::ending::{self, Ending};
use super::recreate::{Outcome, Recreation};
use super::results::Results;
use super::{Server, Trouble, archive, backup, deletion, is_deleting, left, name, phase};

/// Kinds that are never restored.
const NEVER_RESTORED: [&str; 9] = [
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
];

/// Names the kind.
pub(crate) fn resource() -> Resource {
    Resource::velero("restores", "Restore")
}

/// Returns the key of one of a restore's files.
pub(crate) fn key(restore: &str, file: &str) -> String {
    format!("restores/{restore}/{file}")
}

impl Server {
    pub(super) async fn run_restores(self) {
        let wanted: fn(&Value) -> bool = |restore| {
            !is_deleting(restore)
                && matches!(phase(restore), "" | "New" | "Finalizing" | "FinalizingPartiallyFailed")
        };
        let mut restores = self.cluster.follow(&resource(), self.namespace(), wanted);
        loop {
            let Some(name) = restores.live.keys().next().cloned() else {
                restores.changed().await;
                continue;
            };
            if let Err(trouble) = self.go_on_with_restore(&name).await {
                left("Restore", &name, &trouble);
            }
            restores.live.remove(&name);
        }
    }

    async fn go_on_with_restore(&self, name: &str) -> Result<(), Trouble> {
        // What was followed may be old; only what is now counts.
        let Some(restore) = self.get(&resource(), name).await? else {
            return Ok(());
        };
        match phase(&restore) {
            "" | "New" if !is_deleting(&restore) => self.start_restore(restore).await,
            "Finalizing" | "FinalizingPartiallyFailed" => self.finish_restore(&restore).await,
            _ => Ok(()),
        }
    }

    async fn start_restore(&self, restore: Value) -> Result<(), Trouble> {
        let finalizers = json!({"metadata": {"finalizers": [deletion::FINALIZER]}});
        let restore = self.patch(&resource(), name(&restore), &finalizers).await?;
        self.step(&restore).await;
        let mut problems = Vec::new();
        let mut patch = json!({"spec": defaults(&restore["spec"])});
        check(&restore["spec"], &patch["spec"]["excludedResources"], &mut problems);
        let backup = self.choose_backup(&restore, &mut problems).await?;
        if self.ending(&restore) == Some(Ending::FailedValidation) {
            problems.push(format!("asked to fail validation by the annotation {}", ending::END));
        }
        if problems.is_empty() {
            patch["status"] = json!({"phase": "InProgress", "startTimestamp": self.timestamp()});
            patch["spec"]["backupName"] = json!(backup.as_ref().map(name));
        } else {
            patch["status"] = json!({"phase": "FailedValidation", "validationErrors": problems});
        }
        let restore = self.patch(&resource(), name(&restore), &patch).await?;
        match backup {
            Some(backup) if problems.is_empty() => self.run_restore(&restore, &backup).await,
            _ => Ok(()),
        }
    }

    async fn run_restore(&self, restore: &Value, backup: &Value) -> Result<(), Trouble> {
        self.step(restore).await;
        let reason = match self.restore_items(restore, backup).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Store(error)) => error.to_string(),
            Err(trouble @ Trouble::Api(_)) => return Err(trouble),
        };
        let status = ending::failed("restore", &reason, &self.timestamp());
        self.patch_status(&resource(), name(restore), status).await?;
        Ok(())
    }

    /// Creates the objects and writes the files, up to the phase Finalizing.
    async fn restore_items(&self, restore: &Value, backup: &Value) -> Result<(), Trouble> {
        let refuse = |reason: String| Trouble::Store(std::io::Error::other(reason));
        let bucket =
            self.bucket_of(backup).await?.ok_or_else(|| refuse("the storage location is gone".to_owned()))?;
        let key_of_tarball = backup::key(name(backup), &format!("{}.tar.gz", name(backup)));
        let tarball = bucket.read(&key_of_tarball).map_err(|error| {
            let start = "error downloading backup: error copying Backup to temp file: rpc error: code = Unknown desc = error getting object";
            refuse(match error.kind() {
                std::io::ErrorKind::NotFound => format!(
                    "{start} {key_of_tarball}: operation error S3: GetObject, https response error StatusCode: 404, RequestID: , HostID: , NoSuchKey: "
                ),
                _ => format!("{start} {key_of_tarball}: {error}"),
            })
        })?;
        let objects =
            archive::unpack(&tarball).map_err(|error| refuse(format!("error extracting backup: {error}")))?;
        match self.ending(restore) {
            Some(Ending::Failed) => {
                return Err(refuse(format!("asked to fail by {}", ending::END)));
            }
            Some(Ending::Stuck) => std::future::pending().await,
            Some(Ending::FailedValidation | Ending::PartiallyFailed) | None => {}
        }
        let data = Data::read(&bucket, name(backup))?;
        let mut recreation = Recreation::new(&self.cluster, restore, &objects, &data.volumes).await?;
        recreation.run().await?;
        let Outcome { mut results, list, restored } = recreation.finish();
        if objects.is_empty() {
            let folder = format!("/tmp/{}/resources", self.now().as_nanosecond());
            let message = format!("zero items to be restored: directory {folder:?}: does not exist");
            results.warnings.velero.push(message);
        } else {
            let progress = match restored {
                0 => json!({}),
                _ => json!({"itemsRestored": restored, "totalItems": restored}),
            };
            self.patch_status(&resource(), name(restore), json!({"progress": progress})).await?;
        }
        self.restore_data(restore, &data, &list).await?;
        self.step(restore).await;
        ending::add_results(restore, self.ending(restore), &mut results);
        self.write_restore_files(&bucket, name(restore), &list, &results)?;
        let failed = results.errors.count() > 0;
        let mut status = json!({"phase": if failed { "FinalizingPartiallyFailed" } else { "Finalizing" }});
        backup::add_counts(&mut status, &results);
        let restore = self.patch_status(&resource(), name(restore), status).await?;
        self.finish_restore(&restore).await
    }

    fn write_restore_files(
        &self,
        bucket: &Bucket,
        name: &str,
        list: &Value,
        results: &Results,
    ) -> std::io::Result<()> {
        let of = format!("restore={}/{name}", self.namespace());
        let log = results.log(&self.timestamp(), &of, ["restore completed".to_owned()].into_iter());
        for (file, bytes) in [
            (format!("restore-{name}-logs.gz"), log.into_bytes()),
            (format!("restore-{name}-results.gz"), serde_json::to_vec(results)?),
            (format!("restore-{name}-resource-list.json.gz"), list.to_string().into_bytes()),
            (format!("restore-{name}-itemoperations.json.gz"), b"[]".to_vec()),
            (format!("{name}-volumeinfo.json.gz"), b"[]".to_vec()),
        ] {
            bucket.write_gzip(&key(name, &file), &bytes)?;
        }
        Ok(())
    }

    /// Ends a Restore whose objects are there.
    async fn finish_restore(&self, restore: &Value) -> Result<(), Trouble> {
        self.step(restore).await;
        let restore = self.patch_status(&resource(), name(restore), json!({"hookStatus": {}})).await?;
        self.step(&restore).await;
        let failed = phase(&restore) == "FinalizingPartiallyFailed";
        let status = json!({
            "phase": if failed { "PartiallyFailed" } else { "Completed" }, "completionTimestamp": self.timestamp(),
        });
        self.patch_status(&resource(), name(&restore), status).await?;
        Ok(())
    }

    /// Finds the Backup that is to be restored, by its name or as the newest good one of a Schedule.
    async fn choose_backup(
        &self,
        restore: &Value,
        problems: &mut Vec<String>,
    ) -> Result<Option<Value>, Trouble> {
        let text = |field: &str| restore["spec"][field].as_str().filter(|text| !text.is_empty());
        let backup = match (text("backupName"), text("scheduleName")) {
            (Some(backup), None) => {
                let found = self.get(&backup::resource(), backup).await?;
                if found.is_none() {
                    let namespace = self.namespace();
                    problems.push(format!(
                        "Error retrieving backup: can't find backup {namespace}/{backup}: Backup.velero.io {backup:?} not found"
                    ));
                }
                found
            }
            (None, Some(schedule)) => {
                let mut backups = self.cluster.list(&backup::resource(), self.namespace()).await?;
                backups.retain(|backup| backup["metadata"]["labels"]["velero.io/schedule-name"] == schedule);
                if backups.is_empty() {
                    problems.push("No backups found for schedule".to_owned());
                }
                let completed = backups.into_iter().filter(|backup| phase(backup) == "Completed");
                let newest = completed.max_by_key(|backup| backup["status"]["startTimestamp"].to_string());
                if newest.is_none() {
                    problems.push("No completed backups found for schedule".to_owned());
                }
                newest
            }
            _ => {
                problems.push(
                    "Either a backup or schedule must be specified as a source for the restore, but not both"
                        .to_owned(),
                );
                None
            }
        };
        if let Some(backup) = &backup {
            let location = backup["spec"]["storageLocation"].as_str().unwrap_or_default();
            let found = self.location(location).await?;
            if found.is_none_or(|found| phase(&found) != "Available") {
                problems.push(format!(
                    "Error retrieving backup: the BSL {location} is unavailable, cannot retrieve the backup"
                ));
            }
        }
        Ok(backup)
    }
}

fn defaults(spec: &Value) -> Value {
    let mut excluded = spec["excludedResources"].as_array().cloned().unwrap_or_default();
    for kind in NEVER_RESTORED {
        if !excluded.contains(&json!(kind)) {
            excluded.push(json!(kind));
        }
    }
    let mut defaults = json!({"excludedResources": excluded});
    if spec["itemOperationTimeout"].is_null() {
        defaults["itemOperationTimeout"] = json!("4h0m0s");
    }
    defaults
}

fn check(spec: &Value, excluded: &Value, problems: &mut Vec<String>) {
    let included: Vec<&str> =
        spec["includedResources"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for kind in included.iter().filter(|kind| NEVER_RESTORED.contains(kind)) {
        problems.push(format!("{kind} are non-restorable resources"));
    }
    let mut both: Vec<&str> = included;
    both.retain(|kind| excluded.as_array().is_some_and(|excluded| excluded.contains(&json!(kind))));
    both.sort_unstable();
    problems.extend(both.iter().map(|kind| {
        format!("Invalid included/excluded resource lists: excludes list cannot contain an item in the includes list: {kind}")
    }));
    if spec["labelSelector"].is_object()
        && spec["orLabelSelectors"].as_array().is_some_and(|list| !list.is_empty())
    {
        problems.push("encountered labelSelector as well as orLabelSelectors in restore spec, only one can be specified".to_owned());
    }
    match spec["existingResourcePolicy"].as_str() {
        None | Some("" | "none" | "update") => {}
        Some(policy) => problems.push(format!("Invalid ExistingResourcePolicy: {policy}")),
    }
}

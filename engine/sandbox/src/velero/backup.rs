//! The way of a Backup from ready to its end.

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::cluster::Resource;
use super::collect::{Collection, collect};
use super::copies::Copies;
use super::ending::{self, Ending};
use super::filter::Filter;
use super::hooks::Hooks;
use super::results::Results;
use super::{Server, Trouble, archive, left, name, phase, timestamp};

const HOUR: i64 = 3600;

/// What a backup holds, before it is stored.
struct Contents {
    collection: Collection,
    hooks: Hooks,
    copies: Copies,
    results: Results,
}

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
        let wanted: fn(&Value) -> bool =
            |backup| matches!(phase(backup), "ReadyToStart" | "Finalizing" | "FinalizingPartiallyFailed");
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
        let lifetime =
            prepared["spec"]["ttl"].as_str().and_then(|ttl| ttl.parse::<kube::core::Duration>().ok());
        let lifetime = lifetime.map_or(720 * HOUR, |ttl| {
            i64::try_from(std::time::Duration::from(ttl).as_secs()).unwrap_or(720 * HOUR)
        });
        let expiration = timestamp(now + jiff::SignedDuration::from_secs(lifetime));
        let mut status = json!({"expiration": expiration, "formatVersion": "1.1.0", "version": 1});
        if self.ending(&prepared) == Some(Ending::FailedValidation) {
            problems.push(format!("asked to fail validation by the annotation {}", ending::END));
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
        if problems.is_empty() { self.run_backup(&backup).await } else { Ok(()) }
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
        let bucket =
            self.bucket_of(backup).await?.ok_or_else(|| refuse("the storage location is gone".to_owned()))?;
        match bucket.exists(&key(name(backup), "velero-backup.json")) {
            Ok(false) => {}
            Ok(true) => return Err(refuse("backup already exists in object storage".to_owned())),
            Err(error) => {
                return Err(refuse(format!(
                    "error checking if backup already exists in object storage: {error}"
                )));
            }
        }
        match self.ending(backup) {
            Some(Ending::Failed) => {
                return Err(refuse(format!("asked to fail by {}", ending::END)));
            }
            Some(Ending::Stuck) => std::future::pending().await,
            Some(Ending::FailedValidation | Ending::PartiallyFailed) | None => {}
        }
        let (backup, contents) = self.fill(backup).await?;
        self.step(&backup).await;
        let failed = contents.results.errors.count() > 0;
        let mut status = json!({"phase": if failed { "FinalizingPartiallyFailed" } else { "Finalizing" }});
        add_counts(&mut status, &contents.results);
        let mut stored = backup.clone();
        json_patch::merge(&mut stored, &json!({"status": status}));
        self.write_files(&bucket, &stored, &contents)?;
        let backup = self.patch_status(&resource(), name(&backup), status).await?;
        self.finish_backup(&backup).await
    }

    /// Collects the contents, and shows the progress of it.
    async fn fill(&self, backup: &Value) -> Result<(Value, Contents), Trouble> {
        let filter = Filter::read(&backup["spec"]);
        let mut results = Results::default();
        let mut collection = collect(&self.cluster, &filter, &mut results).await?;
        let total = collection.items.len();
        let progress = if total == 0 { json!({}) } else { json!({"totalItems": total}) };
        self.patch_status(&resource(), name(backup), json!({"progress": progress})).await?;
        self.step(backup).await;
        collection.add_needed(&self.cluster, &filter).await?;
        let hooks = Hooks::run(backup, &collection.items, &mut results);
        let copies = self.copy_volumes(backup, &collection, &hooks, &mut results).await?;
        ending::add_results(backup, self.ending(backup), &mut results);
        let total = collection.items.len();
        let progress =
            if total == 0 { json!({}) } else { json!({"itemsBackedUp": total, "totalItems": total}) };
        let status = json!({"hookStatus": hooks.status(), "progress": progress});
        let backup = self.patch_status(&resource(), name(backup), status).await?;
        let contents = Contents { collection, hooks, copies, results };
        Ok((backup, contents))
    }

    fn write_files(&self, bucket: &Bucket, backup: &Value, contents: &Contents) -> std::io::Result<()> {
        let Contents { collection, hooks, copies, results } = contents;
        let name = name(backup);
        let seconds = u64::try_from(self.now().as_second()).unwrap_or(0);
        let items = collection.items.iter();
        let lines = items.map(|item| format!("Backed up {} {}", item.resource.name(), item.entry()));
        let lines = std::iter::once("Setting up backup log".to_owned()).chain(lines);
        let log = results.log(&self.timestamp(), &format!("backup={}/{name}", self.namespace()), lines);
        let packed = collection.items.iter().filter(|item| !hooks.dropped.contains(&item.key()));
        let tarball = archive::pack(packed, seconds)?;
        bucket.write(&key(name, &format!("{name}.tar.gz")), &tarball)?;
        let json = |value: &Value| value.to_string().into_bytes();
        for (file, bytes) in [
            ("logs.gz", log.into_bytes()),
            ("results.gz", serde_json::to_vec(results)?),
            ("resource-list.json.gz", serde_json::to_vec(&collection.resource_list())?),
            ("volumeinfo.json.gz", serde_json::to_vec(&copies.info)?),
            ("podvolumebackups.json.gz", serde_json::to_vec(&some(&copies.made))?),
            ("volumesnapshots.json.gz", json(&Value::Null)),
            ("itemoperations.json.gz", json(&json!([]))),
        ] {
            bucket.write_gzip(&key(name, &format!("{name}-{file}")), &bytes)?;
        }
        // The description comes last: with it the backup exists.
        bucket.write(&key(name, "velero-backup.json"), &json(&described(backup)))
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
            let description = described(&stored).to_string();
            bucket.write(&key(name(backup), "velero-backup.json"), description.as_bytes())?;
        }
        self.patch_status(&resource(), name(backup), status).await?;
        Ok(())
    }
}

/// Describes a backup as Go writes it: a part that is no pointer is there though it is empty.
fn described(backup: &Value) -> Value {
    let mut backup = backup.clone();
    for part in ["hooks", "metadata"] {
        if backup["spec"][part].is_null() {
            backup["spec"][part] = json!({});
        }
    }
    let ttl = backup["spec"]["ttl"].as_str().and_then(|ttl| ttl.parse::<kube::core::Duration>().ok());
    if let Some(ttl) = ttl {
        let seconds = std::time::Duration::from(ttl).as_secs();
        backup["spec"]["ttl"] = json!(format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60));
    }
    backup
}

/// Go writes a list that nobody made as null.
fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// Writes how many warnings and errors there are; none are left out.
pub(crate) fn add_counts(status: &mut Value, results: &Results) {
    for (field, count) in [("warnings", results.warnings.count()), ("errors", results.errors.count())] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
}

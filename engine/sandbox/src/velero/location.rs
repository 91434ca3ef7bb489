//! Storage locations: whether they can be used, and what backups they hold.

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::cluster::Resource;
use super::{Server, Trouble, backup, left, name, phase};

/// A location that did not change is marked as checked this often, as in Velero.
const VALIDATION_PERIOD: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Names the kind.
pub(crate) fn resource() -> Resource {
    Resource::velero("backupstoragelocations", "BackupStorageLocation")
}

impl Server {
    pub(super) async fn run_locations(self) {
        loop {
            tokio::time::sleep(self.settings.sync_period).await;
            if let Err(error) = self.check_locations().await {
                left("BackupStorageLocation", "", &Trouble::Api(error));
            }
            if let Err(trouble) = self.sync().await {
                left("Backup", "", &trouble);
            }
            if let Err(error) = self.purge_downloads().await {
                left("DownloadRequest", "", &Trouble::Api(error));
            }
        }
    }

    /// Checks every location and says in its status how it is.
    pub(super) async fn check_locations(&self) -> kube::Result<()> {
        for location in self.cluster.list(&resource(), self.namespace()).await? {
            let bucket = Bucket::of(&self.settings.data, &location);
            // Somebody makes the bucket before Velero uses it: for the simulator, that is itself, once.
            if location["status"]["lastValidationTime"].is_null()
                && let Err(error) = bucket.create()
            {
                tracing::warn!(
                    location = name(&location),
                    error = &error as &dyn std::error::Error,
                    "bucket not made"
                );
            }
            let (phase_now, message) = match bucket.check() {
                Ok(()) => ("Available", Value::Null),
                Err(problem) => (
                    "Unavailable",
                    json!(format!("BackupStorageLocation {:?} is unavailable: {problem}", name(&location))),
                ),
            };
            let last = location["status"]["lastValidationTime"]
                .as_str()
                .and_then(|last| last.parse::<jiff::Timestamp>().ok());
            let due = last.is_none_or(|last| self.now().duration_since(last) >= VALIDATION_PERIOD);
            if due || phase(&location) != phase_now || location["status"]["message"] != message {
                let status =
                    json!({"phase": phase_now, "message": message, "lastValidationTime": self.timestamp()});
                self.patch_status(&resource(), name(&location), status).await?;
            }
        }
        Ok(())
    }

    /// Returns the name of the location that is used where none is named.
    pub(super) async fn default_location(&self) -> kube::Result<String> {
        let locations = self.cluster.list(&resource(), self.namespace()).await?;
        let default = locations.iter().find(|location| location["spec"]["default"] == true);
        Ok(default.map_or("default", name).to_owned())
    }

    /// Makes the cluster's Backups agree with those in the buckets.
    pub(super) async fn sync(&self) -> Result<(), Trouble> {
        for location in self.cluster.list(&resource(), self.namespace()).await? {
            if phase(&location) != "Available" {
                continue;
            }
            let bucket = Bucket::of(&self.settings.data, &location);
            // The cluster is looked at first: a Backup that ends meanwhile has its files by then.
            let known = self.cluster.list(&backup::resource(), self.namespace()).await?;
            let stored = bucket.backups()?;
            for missing in stored.iter().filter(|stored| !known.iter().any(|backup| name(backup) == *stored))
            {
                self.sync_backup(&bucket, name(&location), missing).await?;
            }
            for backup in &known {
                let here = backup["metadata"]["labels"]["velero.io/storage-location"]
                    == location["metadata"]["name"];
                if here && backup::is_good(backup) && !stored.iter().any(|stored| stored == name(backup)) {
                    self.cluster.delete(&backup::resource(), self.namespace(), name(backup)).await?;
                }
            }
        }
        Ok(())
    }

    async fn sync_backup(&self, bucket: &Bucket, location: &str, backup: &str) -> Result<(), Trouble> {
        let Ok(stored) = bucket.read_json(&backup::key(backup, "velero-backup.json")) else {
            tracing::warn!(backup, "the description of a backup in the bucket cannot be read");
            return Ok(());
        };
        let expiration =
            stored["status"]["expiration"].as_str().and_then(|end| end.parse::<jiff::Timestamp>().ok());
        if !matches!(phase(&stored), "Completed" | "PartiallyFailed" | "Failed")
            || expiration.is_some_and(|end| end < self.now())
        {
            return Ok(());
        }
        let mut labels = stored["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert("velero.io/storage-location".to_owned(), json!(location));
        let mut spec = stored["spec"].clone();
        spec["storageLocation"] = json!(location);
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": backup, "namespace": self.namespace(), "labels": labels,
                "annotations": stored["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
            },
            "spec": spec, "status": stored["status"],
        });
        match self.cluster.create(&backup::resource(), self.namespace(), &object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            result => Ok(result.map(|_| ())?),
        }
    }
}

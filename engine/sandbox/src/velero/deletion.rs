//! Deletion: of a backup by request, of a restore's files by finalizer.

use serde_json::{Value, json};

use super::cluster::Resource;
use super::{Server, Trouble, backup, is_deleting, left, name, phase, restore};

/// The finalizer by which a Restore waits for its files to be removed.
pub(crate) const FINALIZER: &str = "restores.velero.io/external-resources-finalizer";

/// Names the kind.
fn resource() -> Resource {
    Resource::velero("deletebackuprequests", "DeleteBackupRequest")
}

impl Server {
    pub(super) async fn run_deletions(self) {
        // One in progress was left by a simulator that died.
        let new: fn(&Value) -> bool = |request| phase(request) != "Processed";
        let going: fn(&Value) -> bool = |restore| is_deleting(restore) && has_finalizer(restore);
        let mut requests = self.cluster.follow(&resource(), self.namespace(), new);
        let mut restores = self.cluster.follow(&restore::resource(), self.namespace(), going);
        loop {
            tokio::select! {
                () = requests.changed() => {}
                () = restores.changed() => {}
            }
            for (name, restore) in std::mem::take(&mut restores.live) {
                if let Err(trouble) = self.let_restore_go(&restore).await {
                    left("Restore", &name, &trouble);
                }
            }
            for name in std::mem::take(&mut requests.live).into_keys() {
                if let Err(trouble) = self.delete_backup(&name).await {
                    left("DeleteBackupRequest", &name, &trouble);
                }
            }
        }
    }

    async fn delete_backup(&self, request: &str) -> Result<(), Trouble> {
        // What was followed may be old; only what is now counts.
        let request = self.get(&resource(), request).await?;
        let Some(request) = request.filter(|request| phase(request) != "Processed") else {
            return Ok(());
        };
        let backup_name = request["spec"]["backupName"].as_str().unwrap_or_default();
        let backup = self.get(&backup::resource(), backup_name).await?;
        let problem = match &backup {
            None => Some("backup not found".to_owned()),
            Some(backup) => self.undeletable(backup).await?,
        };
        let (Some(backup), None) = (backup, &problem) else {
            let problem = format!("backup deletion failed: {}", problem.unwrap_or_default());
            let status = json!({"phase": "Processed", "errors": [problem]});
            self.patch_status(&resource(), name(&request), status).await?;
            return Ok(());
        };
        self.patch_status(&resource(), name(&request), json!({"phase": "InProgress"})).await?;
        let backup =
            self.patch_status(&backup::resource(), name(&backup), json!({"phase": "Deleting"})).await?;
        self.step(&backup).await;
        if let Some(bucket) = self.bucket_of(&backup).await? {
            bucket.remove(&format!("backups/{backup_name}"))?;
        }
        for restore in self.cluster.list(&restore::resource(), self.namespace()).await? {
            if restore["spec"]["backupName"] == backup_name {
                self.cluster.delete(&restore::resource(), self.namespace(), name(&restore)).await?;
                self.let_restore_go(&restore).await?;
            }
        }
        self.cluster.delete(&backup::resource(), self.namespace(), backup_name).await?;
        self.patch_status(&resource(), name(&request), json!({"phase": "Processed"})).await?;
        for other in self.cluster.list(&resource(), self.namespace()).await? {
            if other["spec"]["backupName"] == backup_name {
                self.cluster.delete(&resource(), self.namespace(), name(&other)).await?;
            }
        }
        Ok(())
    }

    /// Says why a backup cannot be deleted now.
    async fn undeletable(&self, backup: &Value) -> Result<Option<String>, Trouble> {
        if matches!(phase(backup), "InProgress" | "ReadyToStart" | "Queued" | "Finalizing") {
            return Ok(Some("backup is still in progress".to_owned()));
        }
        let location = backup["spec"]["storageLocation"].as_str().unwrap_or_default();
        Ok(match self.location(location).await? {
            None => Some(format!("backup storage location {location} not found")),
            Some(found) if found["spec"]["accessMode"] == "ReadOnly" => Some(format!(
                "cannot delete backup because backup storage location {location} is currently in read-only mode"
            )),
            Some(found) if phase(&found) != "Available" => Some(format!(
                "cannot delete backup because backup storage location {location} is currently in Unavailable state"
            )),
            Some(_) => None,
        })
    }

    /// Removes a Restore's files, then its finalizer.
    async fn let_restore_go(&self, restore: &Value) -> Result<(), Trouble> {
        let backup = restore["spec"]["backupName"].as_str().unwrap_or_default();
        if let Some(backup) = self.get(&backup::resource(), backup).await?
            && let Some(bucket) = self.bucket_of(&backup).await?
        {
            bucket.remove(&format!("restores/{}", name(restore)))?;
        }
        let kept = restore["metadata"]["finalizers"].as_array().into_iter().flatten();
        let kept: Vec<&Value> = kept.filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": kept}});
        match self.patch(&restore::resource(), name(restore), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => Ok(result.map(|_| ())?),
        }
    }
}

fn has_finalizer(restore: &Value) -> bool {
    restore["metadata"]["finalizers"].as_array().is_some_and(|list| list.contains(&json!(FINALIZER)))
}

//! The queue: new Backups wait in line, and one at a time becomes ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Server, Trouble, backup, left, name, phase};

/// How long to wait after the API refused, such as for a Backup that was just deleted.
const RETRY_PERIOD: Duration = Duration::from_secs(1);

impl Server {
    pub(super) async fn run_queue(self) {
        let mut backups = self.cluster.follow(&backup::resource(), self.namespace(), waits_or_works);
        loop {
            backups.changed().await;
            let mut phases = backups.live.values().map(phase);
            // Nobody can be queued or moved up: what changed is only a place, or how far a Backup is.
            if phases.clone().any(is_at_work) && !phases.any(is_new) {
                continue;
            }
            let names: Vec<String> = backups.live.keys().cloned().collect();
            while let Err(trouble) = self.move_up(&names).await {
                left("Backup", "", &trouble);
                tokio::time::sleep(RETRY_PERIOD).await;
            }
        }
    }

    /// Looks at the Backups anew: queues the new ones, and makes the first ready if none is at work.
    async fn move_up(&self, names: &[String]) -> Result<(), Trouble> {
        let mut waiting = Vec::new();
        let mut working = false;
        let mut new = Vec::new();
        for name in names {
            let Some(backup) = self.get(&backup::resource(), name).await? else {
                continue;
            };
            match phase(&backup) {
                phase if is_new(phase) => new.push(backup),
                phase if is_at_work(phase) => working = true,
                "Queued" => waiting.push(backup),
                _ => {}
            }
        }
        waiting.sort_by_key(position);
        new.sort_by_key(|backup| backup["metadata"]["creationTimestamp"].to_string());
        for backup in new {
            let last = waiting.last().map_or(0, position);
            let status = json!({"phase": "Queued", "queuePosition": last + 1});
            self.step(&backup).await;
            waiting.push(self.patch_status(&backup::resource(), name(&backup), status).await?);
        }
        if working || waiting.is_empty() {
            return Ok(());
        }
        let first = waiting.remove(0);
        self.step(&first).await;
        let status = json!({"phase": "ReadyToStart", "queuePosition": null});
        self.patch_status(&backup::resource(), name(&first), status).await?;
        for backup in waiting {
            let status = json!({"queuePosition": position(&backup) - 1});
            self.patch_status(&backup::resource(), name(&backup), status).await?;
        }
        Ok(())
    }
}

fn waits_or_works(backup: &Value) -> bool {
    let phase = phase(backup);
    phase == "Queued" || is_new(phase) || is_at_work(phase)
}

fn is_new(phase: &str) -> bool {
    matches!(phase, "" | "New")
}

fn is_at_work(phase: &str) -> bool {
    matches!(phase, "ReadyToStart" | "InProgress")
}

fn position(backup: &Value) -> i64 {
    backup["status"]["queuePosition"].as_i64().unwrap_or(0)
}

//! Small answers: the server's version, and that a schedule is accepted.

use serde_json::{Value, json};

use super::cluster::Resource;
use super::{Server, Trouble, VERSION, left, phase};

impl Server {
    /// Answers ServerStatusRequests and enables Schedules; a Schedule's time never comes here.
    pub(super) async fn run_requests(self) {
        let new: fn(&Value) -> bool = |object| matches!(phase(object), "" | "New");
        let questions = Resource::velero("serverstatusrequests", "ServerStatusRequest");
        let schedules = Resource::velero("schedules", "Schedule");
        let mut asked = self.cluster.follow(&questions, self.namespace(), new);
        // Paused schedules are not looked at: their phase stays empty.
        let active: fn(&Value) -> bool =
            |schedule| matches!(phase(schedule), "" | "New") && schedule["spec"]["paused"] != true;
        let mut pending = self.cluster.follow(&schedules, self.namespace(), active);
        loop {
            tokio::select! {
                () = asked.changed() => {}
                () = pending.changed() => {}
            }
            for name in std::mem::take(&mut asked.live).into_keys() {
                let status = json!({
                    "phase": "Processed", "processedTimestamp": self.timestamp(), "serverVersion": VERSION, "plugins": [],
                });
                self.answer(&questions, &name, status).await;
            }
            for name in std::mem::take(&mut pending.live).into_keys() {
                self.answer(&schedules, &name, json!({"phase": "Enabled"})).await;
            }
        }
    }

    async fn answer(&self, resource: &Resource, name: &str, status: Value) {
        if let Err(error) = self.patch_status(resource, name, status).await {
            left(&resource.kind, name, &Trouble::Api(error));
        }
    }
}

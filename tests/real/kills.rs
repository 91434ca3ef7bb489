//! The engine killed as a process, at any instant: nothing is lost, and nothing is made twice.

use std::time::Duration;

use kube::api::ListParams;
use ochre_core::action::LABEL_UID;
use ochre_core::phase::Phase;
use ochre_tests::{Process, World};
use serde_json::json;

/// How often it is killed, and over how long a time the instants are spread; a run takes a second or two.
const KILLS: u32 = 20;
const SPAN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_engine_killed_at_any_instant_ends_every_run_once() {
    let world = World::start().await;
    for number in 0..KILLS {
        let name = format!("run-{number}");
        let first = Process::start(&world).await;
        let parameters = json!({
            "action": "backup", "name": name, "includeNamespaces": "chat", "includeResources": "configmaps",
        });
        let action = world.apply_action(&name, parameters).await;
        // Spread evenly, so that every part of a run is met; the machine adds the chance.
        tokio::time::sleep(SPAN * number / KILLS).await;
        first.kill().await;
        let second = Process::start(&world).await;
        let status = world.ended(&name).await;
        assert_eq!(status.phase, Phase::Succeeded, "kill {number}: {status:#?}");
        let mine = ListParams::default().labels(&format!("{LABEL_UID}={}", action.metadata.uid.unwrap()));
        let made = world.velero("Backup").list(&mine).await.unwrap().items.len();
        assert_eq!(made, 1, "kill {number}: one Backup");
        second.kill().await;
    }
}

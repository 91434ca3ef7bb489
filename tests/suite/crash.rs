//! Killing the engine at any write loses no run and creates nothing twice.

use kube::api::ListParams;
use ochre_core::action::LABEL_UID;
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Fuse, Side, World};
use serde_json::json;

/// More writes than any run makes; the test ends before, at the first run that none of them stops.
const MANY: usize = 100;

/// Kills an engine at each write of a run in turn, and lets another end the run.
async fn check(side: Side, kind: &str, parameters: serde_json::Value) {
    let mut stopped = 0;
    for at in 1..MANY {
        let world = World::start().await;

        if kind == "Restore" {
            saved_and_lost(&world).await;
        }
        let fuse = Fuse::new(at, side);
        let first = world.fused_engine(&fuse).await;

        let action = world.apply_action("nightly", parameters.clone()).await;

        tokio::select! {
            () = fuse.blown() => {}
            _ = world.ended("nightly") => {}
        }
        let blown = fuse.is_blown();
        first.kill().await;
        let second = world.engine().await;
        let status = world.succeeded("nightly").await;
        assert_eq!(status.outcome.unwrap().verdict, Verdict::Complete, "write {at} {side:?}");
        let uid = action.metadata.uid.unwrap();
        let mine = ListParams::default().labels(&format!("{LABEL_UID}={uid}"));
        assert_eq!(
            world.velero(kind).list(&mine).await.unwrap().items.len(),
            1,
            "write {at} {side:?}: one {kind}"
        );
        second.drain().await;
        if !blown {
            break;
        }
        stopped = at;
    }
    // Mark, workflow, finalizer, object, statuses, a file's request: fewer writes would mean that none was stopped.
    assert!((6..MANY - 1).contains(&stopped), "{stopped} writes were stopped");
}

async fn saved_and_lost(world: &World) {
    let engine = world.engine().await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"});
    world.apply_action("before", parameters).await;
    assert_eq!(world.ended("before").await.phase, Phase::Succeeded);
    engine.drain().await;
    world.lose_application().await;
}

fn backup() -> serde_json::Value {
    json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"})
}

fn restore() -> serde_json::Value {
    json!({"action": "restore", "name": "mongo"})
}

#[tokio::test]
async fn a_backup_survives_a_crash_just_before_each_write() {
    check(Side::Before, "Backup", backup()).await;
}

#[tokio::test]
async fn a_backup_survives_a_crash_just_after_each_write() {
    check(Side::After, "Backup", backup()).await;
}

#[tokio::test]
async fn a_restore_survives_a_crash_just_before_each_write() {
    check(Side::Before, "Restore", restore()).await;
}

#[tokio::test]
async fn a_restore_survives_a_crash_just_after_each_write() {
    check(Side::After, "Restore", restore()).await;
}

//! What a backup really holds of the data in volumes, and that nobody takes it for more.

use kube::api::{DynamicObject, Patch, PatchParams};
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Engine, World, uncounted};
use serde_json::{Value, json};

use crate::endings::check;

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

/// Scales the database, and waits until it has so many pods.
pub(crate) async fn scale(world: &World, replicas: u64) {
    let sets = world.api("apps/v1", "StatefulSet", Some("chat"));
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    sets.patch("mongodb", &PatchParams::default(), &patch).await.unwrap();
    let has_that_many = |set: Option<&DynamicObject>| {
        set.is_some_and(|set| set.data["status"]["readyReplicas"].as_u64().unwrap_or_default() == replicas)
    };
    world.object(sets, "mongodb", has_that_many).await;
}

async fn world() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

async fn back_up(engine: &Engine, parameters: Value) {
    let mut given = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.create("backup", None, given).await.data();
}

#[tokio::test]
async fn a_backup_lists_what_it_saved_claim_by_claim() {
    let (world, engine) = world().await;
    back_up(&engine, json!({})).await;
    let status = world.ended("backup").await;
    check(&status, Phase::Succeeded, None, Verdict::Complete);
    let volumes = &status.steps[0].volumes;
    assert_eq!((volumes.len(), status.steps[0].volume_count), (1, 1));
    assert_eq!(volumes[0].claim.as_deref(), Some("data-mongodb-0"));
    assert_eq!((volumes[0].saved, volumes[0].how.as_deref()), (true, Some("kopia")));
    assert!(volumes[0].snapshot_id.is_some(), "{volumes:?}");
}

#[tokio::test]
async fn a_workload_scaled_to_0_leaves_a_gap_that_is_named() {
    let (world, engine) = world().await;
    scale(&world, 0).await;
    back_up(&engine, json!({})).await;
    let status = world.ended("backup").await;
    let message = check(&status, Phase::Succeeded, None, Verdict::WithGaps);
    insta::assert_snapshot!(uncounted(&message), @"saved N items, without the data of PersistentVolumeClaim chat/data-mongodb-0 (StatefulSet chat/mongodb is scaled to 0, so no pod mounts it; scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot))");
    assert_eq!(status.steps[0].volumes[0].reason.as_deref(), Some("ScaledDown"));
    assert_eq!(status.outcome.unwrap().gaps[0].object, "PersistentVolumeClaim chat/data-mongodb-0");
}

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

/// Ends a backup, and compares the end and why the only volume was not saved.
async fn ended(world: &World, phase: Phase, reason: Option<&str>, verdict: Verdict, gap: &str) -> String {
    let status = world.ended("backup").await;
    let message = check(&status, phase, reason, verdict);
    let volumes = &status.steps[0].volumes;
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    assert_eq!(volumes[0].reason.as_deref(), Some(gap), "{volumes:?}");
    message
}

#[tokio::test]
async fn a_workload_scaled_to_0_fails_the_backup_that_must_have_its_data() {
    let (world, engine) = world().await;
    scale(&world, 0).await;
    back_up(&engine, json!({})).await;
    let message = ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps, "ScaledDown").await;
    insta::assert_snapshot!(uncounted(&message), @"step backup: Velero says Completed: saved N items, without the data of PersistentVolumeClaim chat/data-mongodb-0 (StatefulSet chat/mongodb is scaled to 0, so no pod mounts it; scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot))");
    let gaps = world.status("backup").await.outcome.unwrap().gaps;
    assert_eq!(gaps[0].object, "PersistentVolumeClaim chat/data-mongodb-0");
    assert_eq!(world.velero_names("Backup").await, ["mongo"], "what is in it may still be restored");
}

#[tokio::test]
async fn a_gap_may_be_a_warning_or_nothing() {
    for (coverage, verdict) in [("warn", Verdict::WithGaps), ("off", Verdict::Complete)] {
        let (world, engine) = world().await;
        scale(&world, 0).await;
        back_up(&engine, json!({"coverage": coverage})).await;
        check(&world.ended("backup").await, Phase::Succeeded, None, verdict);
    }
}

#[tokio::test]
async fn a_gap_that_the_claim_accepts_is_none() {
    let (world, engine) = world().await;
    scale(&world, 0).await;
    let accept = json!({"core.ochre.dev/coverage": "accept"});
    annotate(&world, "PersistentVolumeClaim", "data-mongodb-0", accept).await;
    back_up(&engine, json!({})).await;
    ended(&world, Phase::Succeeded, None, Verdict::Complete, "ScaledDown").await;
}

#[tokio::test]
async fn a_volume_that_its_pod_opts_out_is_a_gap() {
    let (world, engine) = world().await;
    let excluded = json!({"backup.velero.io/backup-volumes-excludes": "data"});
    annotate(&world, "Pod", "mongodb-0", excluded).await;
    back_up(&engine, json!({})).await;
    ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps, "OptedOut").await;
}

#[tokio::test]
async fn a_volume_that_no_pod_asks_for_is_a_gap() {
    let (world, engine) = world().await;
    back_up(&engine, json!({"volumes": "annotated"})).await;
    ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps, "NotOptedIn").await;
}

#[tokio::test]
async fn a_folder_of_the_node_is_a_gap() {
    let (world, engine) = world().await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "chat", "labels": {"app": "web"}},
            "spec": {
                "containers": [{"name": "web", "image": "frontend:1.0", "volumeMounts": [{"name": "logs", "mountPath": "/logs"}]}],
                "volumes": [{"name": "logs", "hostPath": {"path": "/var/log/web"}}],
            },
        }))
        .await;
    running(&world, "web").await;
    back_up(&engine, json!({"selector": "app=web"})).await;
    let message = ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps, "HostPath").await;
    assert!(message.contains("volume logs of Pod chat/web"), "{message}");
}

#[tokio::test]
async fn a_pod_that_a_failed_hook_dropped_is_found_out() {
    let (world, engine) = world().await;
    let hook = json!([{"exec": {"command": ["sh", "-c", "exit 3"], "onError": "Fail"}}]);
    let hooks = json!({"resources": [{"name": "freeze", "pre": hook}]});
    back_up(&engine, json!({"hooks": hooks, "allowPartial": true})).await;
    ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::Partial, "PodDropped").await;
}

#[tokio::test]
async fn a_claim_that_the_selection_misses_is_a_gap() {
    let (world, engine) = world().await;
    let claims = world.api("v1", "PersistentVolumeClaim", Some("chat"));
    let unlabel = Patch::Merge(json!({"metadata": {"labels": null}}));
    claims.patch("data-mongodb-0", &PatchParams::default(), &unlabel).await.unwrap();
    back_up(&engine, json!({"excludeResources": "pods"})).await;
    ended(&world, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps, "NotSelected").await;
}

#[tokio::test]
async fn whoever_leaves_claims_out_by_kind_asks_for_no_data() {
    let (world, engine) = world().await;
    back_up(&engine, json!({"excludeResources": "persistentvolumeclaims"})).await;
    check(&world.ended("backup").await, Phase::Succeeded, None, Verdict::Complete);
}

async fn annotate(world: &World, kind: &str, name: &str, annotations: Value) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    world.api("v1", kind, Some("chat")).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until a pod of the namespace `chat` runs.
async fn running(world: &World, pod: &str) {
    let runs = |pod: Option<&DynamicObject>| pod.is_some_and(|pod| pod.data["status"]["phase"] == "Running");
    world.object(world.api("v1", "Pod", Some("chat")), pod, runs).await;
}

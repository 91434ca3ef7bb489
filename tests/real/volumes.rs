//! Real volumes with real data, and every way in which a backup or a restore can be without it.

use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Engine, SHOP, World};
use serde_json::{Value, json};

pub(super) async fn start() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

/// Backs the database up, and waits for the end.
pub(super) async fn back_up(world: &World, engine: &Engine, more: Value) -> ActionStatus {
    let mut given = json!({"action": "backup", "name": "shop", "selector": SHOP});
    given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    engine.create("nightly", None, given).await.data();
    world.ended("nightly").await
}

/// Compares an end; yields everything that is said of it.
pub(super) fn check(status: &ActionStatus, phase: Phase, reason: Option<&str>, verdict: Verdict) -> String {
    let outcome = status.outcome.as_ref().unwrap();
    assert_eq!(
        (status.phase, status.steps[0].reason.as_deref(), outcome.verdict),
        (phase, reason, verdict),
        "{status:#?}"
    );
    let gaps = outcome.gaps.iter().map(|gap| format!("{}: {}", gap.object, gap.reason));
    gaps.chain(status.message.clone()).collect::<Vec<_>>().join("\n")
}

/// Fails unless all of this is said.
pub(super) fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not said in: {said}");
    }
}

pub(super) fn annotated(set: &mut Value, annotations: Value) {
    set["spec"]["template"]["metadata"]["annotations"] = annotations;
}

/// A pod of the database's labels with one volume.
pub(super) fn pod(volume: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "store", "labels": {"app": "shop-db"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "web", "image": "local/busybox:1", "command": ["sleep", "infinity"],
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }],
            "volumes": [volume],
        },
    })
}

/// A claim of the database's labels, bound to a volume of its own.
async fn claim(world: &World, name: &str, source: Value) {
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "",
        },
    });
    volume["spec"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    world.create(volume).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "store", "labels": {"app": "shop-db"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "", "volumeName": name,
            },
        }))
        .await;
    let claims = world.api("v1", "PersistentVolumeClaim", Some("store"));
    let is_bound = |claim: Option<&kube::api::DynamicObject>| {
        claim.is_some_and(|claim| claim.data["status"]["phase"] == "Bound")
    };
    world.object(claims, name, is_bound).await.unwrap();
}

#[tokio::test]
async fn rows_come_back_from_a_destroyed_namespace_and_volume() {
    let (world, engine) = start().await;
    let sum = world.open_shop().await;
    let status = back_up(&world, &engine, json!({})).await;
    check(&status, Phase::Succeeded, None, Verdict::Complete);
    let volume = &status.steps[0].volumes[0];
    assert!(volume.saved && volume.bytes.unwrap() > 1_000_000 && volume.snapshot_id.is_some(), "{volume:?}");
    assert_eq!(volume.claim.as_deref(), Some("data-shop-db-0"));

    world.lose_shop().await;
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    check(&world.ended("back").await, Phase::Succeeded, None, Verdict::Complete);
    // It answers already: a restore ends when what was ready is ready.
    assert_eq!(world.shop_sum().await, sum);
}

#[tokio::test]
async fn a_database_scaled_to_nothing_is_not_saved() {
    let (world, engine) = start().await;
    world.open_shop().await;
    world.kubectl(&["-n", "store", "scale", "statefulset", "shop-db", "--replicas=0"]).await;
    world.kubectl(&["-n", "store", "wait", "--for=delete", "pod/shop-db-0", "--timeout=60s"]).await;
    let status = back_up(&world, &engine, json!({})).await;
    let said = check(&status, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps);
    says(&said, &["PersistentVolumeClaim store/data-shop-db-0", "scale"]);

    let warned = json!({"action": "backup", "name": "warned", "selector": SHOP, "coverage": "warn"});
    engine.create("warned", None, warned).await.data();
    check(&world.ended("warned").await, Phase::Succeeded, None, Verdict::WithGaps);
}

#[tokio::test]
async fn an_inline_host_path_is_not_saved() {
    let (world, engine) = start().await;
    world.open_shop().await;
    world.create(pod(json!({"name": "files", "hostPath": {"path": "/tmp"}}))).await;
    world.object(world.api("v1", "Pod", Some("store")), "web", ochre_tests::is_ready).await.unwrap();
    let said = check(
        &back_up(&world, &engine, json!({})).await,
        Phase::Failed,
        Some("CoverageGaps"),
        Verdict::WithGaps,
    );
    says(&said, &["volume files of Pod store/web", "hostPath"]);
}

#[tokio::test]
async fn a_host_path_volume_is_not_saved() {
    let (world, engine) = start().await;
    world.open_shop().await;
    claim(&world, "old", json!({"hostPath": {"path": "/tmp"}})).await;
    world.create(pod(json!({"name": "files", "persistentVolumeClaim": {"claimName": "old"}}))).await;
    world.object(world.api("v1", "Pod", Some("store")), "web", ochre_tests::is_ready).await.unwrap();
    let said = check(
        &back_up(&world, &engine, json!({})).await,
        Phase::Failed,
        Some("CoverageGaps"),
        Verdict::WithGaps,
    );
    says(&said, &["PersistentVolumeClaim store/old", "hostPath"]);
}

#[tokio::test]
async fn a_claim_that_nobody_mounts_is_not_saved_unless_its_owner_accepts_it() {
    let (world, engine) = start().await;
    world.open_shop().await;
    let node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]});
    let local = json!({
        "local": {"path": "/tmp"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
    });
    claim(&world, "lonely", local).await;
    let status = back_up(&world, &engine, json!({})).await;
    let said = check(&status, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps);
    says(&said, &["PersistentVolumeClaim store/lonely", "mount"]);

    let accept = "core.ochre.dev/coverage=accept";
    world.kubectl(&["-n", "store", "annotate", "persistentvolumeclaim", "lonely", accept]).await;
    engine.create("again", None, json!({"action": "backup", "name": "again", "selector": SHOP})).await.data();
    check(&world.ended("again").await, Phase::Succeeded, None, Verdict::Complete);
}

#[tokio::test]
async fn a_volume_that_opted_out_is_not_saved() {
    let (world, engine) = start().await;
    let out = json!({"backup.velero.io/backup-volumes-excludes": "data"});
    world.open_shop_with(|set| annotated(set, out)).await;
    let status = back_up(&world, &engine, json!({})).await;
    let said = check(&status, Phase::Failed, Some("CoverageGaps"), Verdict::WithGaps);
    says(&said, &["PersistentVolumeClaim store/data-shop-db-0", "backup-volumes-excludes"]);
}

#[tokio::test]
async fn a_restore_over_a_living_database_changes_no_row() {
    let (world, engine) = start().await;
    world.open_shop().await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.sql("delete from shop.orders where id > 100").await;
    let fewer = world.shop_sum().await;
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    check(&world.ended("back").await, Phase::Failed, Some("Exists"), Verdict::None);
    assert!(world.velero_names("Restore").await.is_empty());
    let keep = json!({"action": "restore", "name": "shop", "existing": "keep"});
    engine.create("kept", None, keep).await.data();
    let status = world.ended("kept").await;
    assert_ne!(status.outcome.unwrap().verdict, Verdict::Complete, "nothing came back");
    assert_eq!(world.shop_sum().await, fewer);
}

#[tokio::test]
async fn a_restore_says_that_it_waits_for_a_volume() {
    let (world, engine) = start().await;
    let sum = world.open_shop().await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.lose_shop_without_a_volume().await;
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    let told = |status: &ActionStatus| {
        status
            .message
            .as_deref()
            .is_some_and(|message| message.contains("no PersistentVolume of storage class `local`"))
    };
    let waiting = world.until("back", told).await;
    assert_eq!(waiting.phase, Phase::Running);
    world.volume("second", "local").await;
    check(&world.ended("back").await, Phase::Succeeded, None, Verdict::Complete);
    assert_eq!(world.shop_sum().await, sum);
}

#[tokio::test]
async fn a_pod_that_hangs_after_a_restore_is_named_with_its_cure() {
    let (world, engine) = start().await;
    // The database's folder is the volume's root, and MariaDB closes it to all others.
    world
        .open_shop_with(|set| {
            let mount = &mut set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0];
            mount.as_object_mut().unwrap().remove("subPath");
        })
        .await;
    world.kubectl(&["-n", "store", "exec", "shop-db-0", "--", "chmod", "700", "/var/lib/mysql"]).await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.lose_shop().await;
    let hasty = json!({"action": "restore", "name": "shop", "readyTimeout": "10s"});
    engine.create("back", None, hasty).await.data();
    let said = check(&world.ended("back").await, Phase::Failed, Some("NotReady"), Verdict::Partial);
    says(&said, &["Pod store/shop-db-0", "restore-wait", "secCtxRunAsUser"]);
}

#[tokio::test]
async fn data_that_is_damaged_in_the_store_fails_the_restore() {
    let (world, engine) = start().await;
    world.open_shop().await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.lose_shop().await;
    let kept = world.damage_repository("store");
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    let status = world.ended("back").await;
    world.mend_repository(kept);
    let said = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
    says(&said, &["pod volume restore failed"]);
}

#[tokio::test]
async fn two_backups_at_once_both_end() {
    let (world, engine) = start().await;
    world.open_shop().await;
    for name in ["one", "two"] {
        let parameters = json!({"action": "backup", "name": name, "selector": SHOP});
        engine.create(name, None, parameters).await.data();
    }
    for name in ["one", "two"] {
        check(&world.ended(name).await, Phase::Succeeded, None, Verdict::Complete);
    }
}

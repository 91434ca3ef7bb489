//! The data of volumes, held against recordings of a Velero with a node agent.

use super::*;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../tests-data/velero-1.18.3/coverage/", $name, ".json"))
    };
}

fn app() -> Value {
    json!({"app": "db"})
}

/// The application of the recordings: a StatefulSet with a claim of its own and a scratch volume.
fn database() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": "shop", "name": "db", "labels": app()},
        "spec": {
            "serviceName": "db", "selector": {"matchLabels": app()},
            "template": {
                "metadata": {"labels": app()},
                "spec": {"containers": [{"name": "mariadb"}], "volumes": [{"name": "scratch", "emptyDir": {}}]},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": app()}, "spec": {"storageClassName": "local"}}],
        },
    })
}

fn volume(name: &str, class: &str, source: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"storageClassName": class, (source): {"path": "/data"}},
    })
}

async fn world() -> World {
    let world = World::new().await;
    world.create(&namespace("shop")).await;
    world.create(&volume("pv1", "local", "local")).await;
    world.create(&database()).await;
    world
}

fn spec() -> Value {
    json!({
        "defaultVolumesToFsBackup": true, "includedNamespaces": ["shop"], "labelSelector": {"matchLabels": app()},
    })
}

/// Leaves of a volume info what two runs share.
fn shared(info: &Value) -> Value {
    let mut info = redacted(info);
    for entry in info.as_array_mut().unwrap() {
        let about = entry["pvbInfo"].as_object_mut();
        if let Some(about) = about {
            about.retain(|field, _| !["snapshotHandle", "size", "incrementalSize"].contains(&field.as_str()));
        }
    }
    info
}

/// Backs up, and compares the volume info and the pods in the list with a recording.
async fn check(world: &World, spec: Value, recording: &str) -> Value {
    let recording: Value = serde_json::from_str(recording).unwrap();
    let status = end(&world.back_up("b", spec).await);
    let info = world.gzip_json("backups/b/b-volumeinfo.json.gz");
    assert_eq!(shared(&info), shared(&recording["volumes"]));
    let list = world.gzip_json("backups/b/b-resource-list.json.gz");
    for kind in ["v1/Pod", "v1/PersistentVolumeClaim", "v1/PersistentVolume"] {
        assert_eq!(list[kind], recording["list"][kind], "{kind}");
    }
    status
}

#[tokio::test(start_paused = true)]
async fn the_volumes_of_a_running_pod_are_copied_as_recorded() {
    let world = world().await;
    let status = check(&world, spec(), recording!("good")).await;
    assert_eq!(status["phase"], "Completed");
    let copies = world.gzip_json("backups/b/b-podvolumebackups.json.gz");
    assert_eq!(copies.as_array().unwrap().len(), 2);
    assert_eq!(copies[0]["metadata"]["labels"]["velero.io/backup-name"], "b");
    assert_eq!(copies[0]["status"]["phase"], "Completed");
}

#[tokio::test(start_paused = true)]
async fn a_workload_scaled_to_0_has_its_volume_skipped_as_recorded() {
    let world = world().await;
    world.merge("statefulsets", "shop", "db", json!({"spec": {"replicas": 0}})).await;
    check(&world, spec(), recording!("scaled")).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_its_pod_opts_out_is_skipped_as_recorded() {
    let world = world().await;
    let annotation = json!({"backup.velero.io/backup-volumes-excludes": "data"});
    world.merge("pods", "shop", "db-0", json!({"metadata": {"annotations": annotation}})).await;
    check(&world, spec(), recording!("optedout")).await;
}

#[tokio::test(start_paused = true)]
async fn host_paths_are_passed_over_as_recorded() {
    let world = world().await;
    world.create(&volume("hp1", "hp", "hostPath")).await;
    for (name, class) in [("hp", "hp"), ("lonely", "local")] {
        world
            .create(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"namespace": "shop", "name": name, "labels": app()}, "spec": {"storageClassName": class},
            }))
            .await;
    }
    world
        .create(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web", "labels": app()},
            "spec": {"containers": [{"name": "web"}], "volumes": [
                {"name": "d", "persistentVolumeClaim": {"claimName": "hp"}}, {"name": "h", "hostPath": {"path": "/data"}},
            ]},
        }))
        .await;
    let status = check(&world, spec(), recording!("hostpaths")).await;
    assert_eq!((&status["phase"], &status["warnings"]), (&json!("Completed"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_drops_the_pod_and_its_data_as_recorded() {
    for (on_error, recording, errors) in
        [("Fail", recording!("hookfail"), 2), ("Continue", recording!("hookcontinue"), 1)]
    {
        let world = world().await;
        let mut spec = spec();
        let hook = json!([{"exec": {"command": ["sh", "-c", "exit 3"], "onError": on_error}}]);
        spec["hooks"] = json!({"resources": [{"name": "db", "pre": hook}]});
        let status = check(&world, spec, recording).await;
        assert_eq!((&status["phase"], &status["errors"]), (&json!("PartiallyFailed"), &json!(errors)));
        assert_eq!(status["hookStatus"]["hooksFailed"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_claim_waits_for_a_free_volume() {
    let world = world().await;
    world.back_up("b", spec()).await;
    world.delete("namespaces", "", "shop").await;
    let waits = |restore: &Value| restore["status"]["progress"]["totalItems"].is_u64();
    world.run(&restore::resource(), "r", json!({"backupName": "b"}), json!({}), waits).await;
    let pod = world.get("pods", "shop", "db-0").await.unwrap();
    assert_eq!(pod["status"]["conditions"][0]["reason"], "Unschedulable", "{pod}");
    let restore = world.get("restores", "velero", "r").await.unwrap();
    assert_eq!(phase(&restore), "InProgress");
    world.create(&volume("pv2", "local", "local")).await;
    let states = world.follow(&restore::resource(), "r", &restore, is_over).await;
    assert_eq!(phase(states.last().unwrap()), "Completed");
    let claim = world.get("persistentvolumeclaims", "shop", "data-db-0").await.unwrap();
    assert_eq!(claim["spec"]["volumeName"], "pv2", "the old volume is somebody's data");
    let list = world.gzip_json("restores/r/restore-r-resource-list.json.gz");
    assert_eq!(list["v1/PersistentVolume"], json!(["pv1(skipped)"]));
    let set = world.get("statefulsets", "shop", "db").await.unwrap();
    assert_eq!(set["status"]["readyReplicas"], 1);
    let pod = world.get("pods", "shop", "db-0").await.unwrap();
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"], "the pod is adopted");
}

#[tokio::test(start_paused = true)]
async fn a_restored_deployment_keeps_its_pods() {
    let world = World::new().await;
    world.create(&namespace("shop")).await;
    world
        .create(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web", "labels": app()},
            "spec": {"replicas": 2, "selector": {"matchLabels": app()}, "template": {
                "metadata": {"labels": app()}, "spec": {"containers": [{"name": "web"}]},
            }},
        }))
        .await;
    let pods = || async {
        let pods = Resource::new("", "v1", "pods", "Pod", true);
        let pods = world.cluster.list(&pods, "shop").await.unwrap();
        pods.iter().map(|pod| super::super::name(pod).to_owned()).collect::<Vec<_>>()
    };
    let before = pods().await;
    assert_eq!(before.len(), 2);
    world.back_up("b", spec()).await;
    world.delete("deployments", "shop", "web").await;
    assert!(pods().await.is_empty());
    world.restore("r", json!({"backupName": "b"})).await;
    assert_eq!(pods().await, before);
    let web = world.get("deployments", "shop", "web").await.unwrap();
    assert_eq!(web["status"]["readyReplicas"], 2);
    world.merge("deployments", "shop", "web", json!({"spec": {"replicas": 1}})).await;
    assert_eq!(pods().await.len(), 1);
}

//! Every ending that was seen on the real server.

use super::*;

const ENDINGS: &str = include_str!("../../../tests-data/velero-1.18.3/endings.jsonl");

/// Returns the recorded status of an object.
pub(super) fn recorded(object: &str) -> Value {
    let lines = ENDINGS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines.into_iter().find(|line| line["object"] == object).unwrap();
    redacted(&found["status"])
}

fn labelled(value: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"a": value}}})
}

#[tokio::test(start_paused = true)]
async fn backups_that_are_refused_end_as_recorded() {
    let world = World::new().await;
    let both = json!({"labelSelector": {"matchLabels": {"a": "b"}}, "orLabelSelectors": [{"matchLabels": {"a": "c"}}]});
    for (name, spec) in [("bad-bsl", json!({"storageLocation": "nowhere"})), ("bad-sel", both)] {
        let states = world.back_up(name, spec).await;
        assert_eq!(end(&states), recorded(&format!("Backup/{name}")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_selection_completes() {
    let world = World::new().await;
    let status = end(&world.back_up("empty", labelled("none")).await);
    assert_eq!(
        (&status["phase"], &status["progress"], &status["errors"]),
        (&json!("Completed"), &json!({}), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_namespace_fails_partially() {
    let world = World::new().await;
    let states = world.back_up("no-ns", json!({"includedNamespaces": ["nope"]})).await;
    assert_eq!(end(&states), recorded("Backup/no-ns"));
    let results = world.gzip_json("backups/no-ns/no-ns-results.gz");
    assert!(results["errors"]["velero"][0].as_str().unwrap().contains("namespace nope"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_the_bucket_has_fails() {
    let world = World::new().await;
    world.back_up("empty", labelled("none")).await;
    world.delete("backups", "velero", "empty").await;
    let states = world.back_up("empty", labelled("none")).await;
    assert_eq!(end(&states), recorded("Backup/empty"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_fails_the_backup() {
    let world = World::new().await;
    std::fs::remove_dir_all(world.folder()).unwrap();
    let status = end(&world.back_up("s3down", labelled("b")).await);
    let reason = status["failureReason"].as_str().unwrap();
    assert_eq!(status["phase"], "Failed");
    assert!(
        reason.starts_with(
            "backup execution failed: error checking if backup already exists in object storage: "
        ),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unusable_location_refuses_backups_and_restores() {
    let world = World::new().await;
    world.back_up("good", labelled("b")).await;
    std::fs::remove_dir_all(world.folder()).unwrap();
    let location = world.get("backupstoragelocations", "velero", "default").await.unwrap();
    let unavailable = world
        .follow(&super::super::location::resource(), "default", &location, |found| {
            phase(found) == "Unavailable"
        })
        .await;
    assert!(unavailable.last().unwrap()["status"]["message"].as_str().unwrap().contains("is unavailable"));
    let status = end(&world.back_up("b", json!({})).await);
    assert_eq!(
        status["validationErrors"],
        json!(["backup can't be created because BackupStorageLocation default is in Unavailable status."])
    );
    let status = end(&world.restore("r", json!({"backupName": "good"})).await);
    assert_eq!(status["phase"], "FailedValidation");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_location_refuses_backups() {
    let world = World::new().await;
    world
        .merge("backupstoragelocations", "velero", "default", json!({"spec": {"accessMode": "ReadOnly"}}))
        .await;
    let status = end(&world.back_up("b", json!({})).await);
    assert_eq!(
        status["validationErrors"],
        json!([
            "backup can't be created because backup storage location default is currently in read-only mode"
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn restores_of_what_is_not_there_end_as_recorded() {
    let world = World::new().await;
    let status = end(&world.restore("none", json!({"backupName": "none-such"})).await);
    assert_eq!(status, recorded("Restore/none"));
    world.back_up("bad-sel", json!({"labelSelector": {}, "orLabelSelectors": [{}]})).await;
    let status = end(&world.restore("from-failed", json!({"backupName": "bad-sel"})).await);
    assert_eq!(status, recorded("Restore/from-failed"));
}

/// Creates a pod with a claim; its phase is `Running` where a node is named.
async fn pod(world: &World, node: Option<&str>) {
    let claim = json!({"persistentVolumeClaim": {"claimName": "data"}, "name": "data"});
    world.create(&namespace("chat")).await;
    world
        .create(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "chat"},
            "spec": {"volumeName": "pv"},
        }))
        .await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db-0", "namespace": "chat"},
        "spec": {"containers": [], "volumes": [claim], "nodeName": node},
    });
    world.create(&pod).await;
    if node.is_some() {
        let calls = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(world.sandbox.client(), "chat");
        let status = kube::api::Patch::Merge(json!({"status": {"phase": "Running"}}));
        calls.patch_status("db-0", &kube::api::PatchParams::default(), &status).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_on_a_pending_pod_ends_as_recorded() {
    let world = World::new().await;
    pod(&world, None).await;
    let hook = |on_error: &str| json!([{"exec": {"command": ["/bin/true"], "onError": on_error}}]);
    for (on_error, errors, in_tarball) in [("Fail", 2, false), ("Continue", 1, true)] {
        let hooks =
            json!({"resources": [{"name": "h", "includedNamespaces": ["chat"], "pre": hook(on_error)}]});
        let name = on_error.to_lowercase();
        let status =
            end(&world.back_up(&name, json!({"includedNamespaces": ["chat"], "hooks": hooks})).await);
        let recorded = recorded("Backup/hook");
        assert_eq!((&status["phase"], &status["hookStatus"]), (&recorded["phase"], &recorded["hookStatus"]));
        assert_eq!(status["errors"], errors);
        let tarball = world.bucket().read(&format!("backups/{name}/{name}.tar.gz")).unwrap();
        let objects = super::super::archive::unpack(&tarball).unwrap();
        assert_eq!(objects.keys().any(|(kind, _, _)| kind == "pods"), in_tarball);
        let list = world.gzip_json(&format!("backups/{name}/{name}-resource-list.json.gz"));
        assert_eq!(list["v1/Pod"], json!(["chat/db-0"]), "the list names it all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_that_cannot_be_saved_say_so() {
    for (node, phase, warnings, errors, reason) in [
        (None, "Completed", json!(1), Value::Null, "pod is not in the expected status"),
        (
            Some("node-1"),
            "PartiallyFailed",
            Value::Null,
            json!(1),
            "daemonset pod not found in running state in node node-1",
        ),
    ] {
        let world = World::without_node().await;
        pod(&world, node).await;
        let spec = json!({"includedNamespaces": ["chat"], "defaultVolumesToFsBackup": true});
        let status = end(&world.back_up("b", spec).await);
        assert_eq!(
            (&status["phase"], &status["warnings"], &status["errors"]),
            (&json!(phase), &warnings, &errors)
        );
        let info = world.gzip_json("backups/b/b-volumeinfo.json.gz");
        assert_eq!((&info[0]["pvcName"], &info[0]["skipped"]), (&json!("data"), &json!(true)));
        assert!(info[0]["skippedReason"].as_str().unwrap().contains(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn endings_can_be_asked_for() {
    let world = World::new().await;
    world.create(&config_map("default", "one", &json!({"a": "b"}))).await;
    for (annotation, value, expected) in [
        ("end", "failed-validation", json!({"phase": "FailedValidation"})),
        ("end", "failed", json!({"phase": "Failed"})),
        ("end", "partially-failed", json!({"phase": "PartiallyFailed", "errors": 1})),
        ("warn", "careful", json!({"phase": "Completed", "warnings": 1})),
        ("end", "whatever", json!({"phase": "Completed"})),
    ] {
        let annotations = json!({format!("sandbox.ochre.dev/{annotation}"): value});
        world.back_up(&format!("good-{annotation}-{value}"), labelled("b")).await;
        for (resource, spec) in [
            (backup::resource(), labelled("b")),
            (restore::resource(), json!({"backupName": format!("good-{annotation}-{value}")})),
        ] {
            let status = end(&world
                .run(&resource, &format!("{annotation}-{value}"), spec, annotations.clone(), is_over)
                .await);
            for field in ["phase", "errors", "warnings"] {
                assert_eq!(status[field], expected[field], "{} {value}: {field}", resource.kind);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_of_the_wrong_shape_is_refused_by_the_definition() {
    let world = World::new().await;
    let object = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "b"}, "spec": {"ttl": 3, "unknown": 1}});
    let refused = world.cluster.create(&backup::resource(), "velero", &object).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.reason == "Invalid" && status.message.contains("spec.ttl"))
    );
}

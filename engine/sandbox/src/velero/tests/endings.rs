//! Every ending that was seen on the real server.

use super::*;

const ENDINGS: &str = include_str!("../../../tests-data/velero-1.18.3/endings.jsonl");

/// Returns the recorded status of an object.
fn recorded(object: &str) -> Value {
    let lines = ENDINGS
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines
        .into_iter()
        .find(|line| line["object"] == object)
        .unwrap();
    redacted(&found["status"])
}

fn labelled(value: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"a": value}}})
}

#[tokio::test(start_paused = true)]
async fn backups_that_are_refused_end_as_recorded() {
    let world = World::new().await;
    let both = json!({"labelSelector": {"matchLabels": {"a": "b"}}, "orLabelSelectors": [{"matchLabels": {"a": "c"}}]});
    for (name, spec) in [
        ("bad-bsl", json!({"storageLocation": "nowhere"})),
        ("bad-sel", both),
    ] {
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
    let states = world
        .back_up("no-ns", json!({"includedNamespaces": ["nope"]}))
        .await;
    assert_eq!(end(&states), recorded("Backup/no-ns"));
    let results = world.gzip_json("backups/no-ns/no-ns-results.gz");
    assert!(
        results["errors"]["velero"][0]
            .as_str()
            .unwrap()
            .contains("namespace nope")
    );
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
    let location = world
        .get("backupstoragelocations", "velero", "default")
        .await
        .unwrap();
    let unavailable = world
        .follow(
            &super::super::location::resource(),
            "default",
            &location,
            |found| phase(found) == "Unavailable",
        )
        .await;
    assert!(
        unavailable.last().unwrap()["status"]["message"]
            .as_str()
            .unwrap()
            .contains("is unavailable")
    );
    let status = end(&world.back_up("b", json!({})).await);
    assert_eq!(
        status["validationErrors"],
        json!([
            "backup can't be created because BackupStorageLocation default is in Unavailable status."
        ])
    );
    let status = end(&world.restore("r", json!({"backupName": "good"})).await);
    assert_eq!(status["phase"], "FailedValidation");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_location_refuses_backups() {
    let world = World::new().await;
    world
        .merge(
            "backupstoragelocations",
            "velero",
            "default",
            json!({"spec": {"accessMode": "ReadOnly"}}),
        )
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
    let status = end(&world
        .restore("none", json!({"backupName": "none-such"}))
        .await);
    assert_eq!(status, recorded("Restore/none"));
    world
        .back_up(
            "bad-sel",
            json!({"labelSelector": {}, "orLabelSelectors": [{}]}),
        )
        .await;
    let status = end(&world
        .restore("from-failed", json!({"backupName": "bad-sel"}))
        .await);
    assert_eq!(status, recorded("Restore/from-failed"));
}

#[tokio::test(start_paused = true)]
async fn a_velero_that_dies_fails_what_was_in_progress_when_it_is_back() {
    let world = World::new().await;
    let stuck = json!({"sandbox.ochre.dev/end": "stuck"});
    let in_progress: fn(&Value) -> bool = |object| phase(object) == "InProgress";
    world
        .run(&backup::resource(), "big2", json!({}), stuck, in_progress)
        .await;
    world.sandbox.velero().stop().await;
    let waiting = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "later", "namespace": "velero"}, "spec": {}});
    world.create(&waiting).await;
    let dead = world.get("backups", "velero", "big2").await.unwrap();
    assert_eq!(phase(&dead), "InProgress");
    world.sandbox.velero().start().await.unwrap();
    let failed = world.get("backups", "velero", "big2").await.unwrap();
    assert_eq!(redacted(&failed["status"]), recorded("Backup/big2"));
    let later = world.get("backups", "velero", "later").await.unwrap();
    if !is_over(&later) {
        world
            .follow(&backup::resource(), "later", &later, is_over)
            .await;
    }
    assert_eq!(
        phase(&world.get("backups", "velero", "later").await.unwrap()),
        "Completed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_velero_that_dies_in_any_phase_comes_to_an_end() {
    // Each pair is a phase to die in, and what becomes of the Backup or Restore afterwards.
    let world = World::new().await;
    world.create(&namespace("one")).await;
    world.create(&config_map("one", "map", &json!({}))).await;
    world
        .back_up("source", json!({"includedNamespaces": ["one"]}))
        .await;
    for (index, (resource, until, expected)) in [
        (
            backup::resource(),
            (|object| phase(object) == "Queued") as fn(&Value) -> bool,
            "Completed",
        ),
        (
            backup::resource(),
            |object| phase(object) == "ReadyToStart",
            "Completed",
        ),
        (
            backup::resource(),
            |object| phase(object) == "InProgress",
            "Failed",
        ),
        (
            backup::resource(),
            |object| object["status"]["progress"]["itemsBackedUp"].is_number(),
            "Failed",
        ),
        (
            backup::resource(),
            |object| phase(object) == "Finalizing",
            "Completed",
        ),
        (
            restore::resource(),
            |object| object["metadata"]["finalizers"].is_array(),
            "Completed",
        ),
        (
            restore::resource(),
            |object| phase(object) == "InProgress",
            "Failed",
        ),
        (
            restore::resource(),
            |object| phase(object) == "Finalizing",
            "Completed",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = if resource.kind == "Backup" {
            json!({"includedNamespaces": ["one"]})
        } else {
            json!({"backupName": "source"})
        };
        let name = format!("try-{index}");
        let slow = json!({"sandbox.ochre.dev/step-delay": "1s"});
        let states = world.run(&resource, &name, spec, slow, until).await;
        world.sandbox.velero().stop().await;
        let dead = world.get(&resource.plural, "velero", &name).await.unwrap();
        assert_eq!(
            &dead,
            states.last().unwrap(),
            "nothing changes while Velero is dead"
        );
        world.sandbox.velero().start().await.unwrap();
        let states = world.follow(&resource, &name, &dead, is_over).await;
        assert_eq!(phase(states.last().unwrap()), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn endings_can_be_asked_for() {
    let world = World::new().await;
    for (annotation, value, expected) in [
        (
            "end",
            "failed-validation",
            json!({"phase": "FailedValidation"}),
        ),
        ("end", "failed", json!({"phase": "Failed"})),
        (
            "end",
            "partially-failed",
            json!({"phase": "PartiallyFailed", "errors": 1}),
        ),
        (
            "warn",
            "careful",
            json!({"phase": "Completed", "warnings": 1}),
        ),
        ("end", "whatever", json!({"phase": "Completed"})),
    ] {
        let annotations = json!({format!("sandbox.ochre.dev/{annotation}"): value});
        world
            .back_up(&format!("good-{annotation}-{value}"), labelled("b"))
            .await;
        for (resource, spec) in [
            (backup::resource(), labelled("b")),
            (
                restore::resource(),
                json!({"backupName": format!("good-{annotation}-{value}")}),
            ),
        ] {
            let status = end(&world
                .run(
                    &resource,
                    &format!("{annotation}-{value}"),
                    spec,
                    annotations.clone(),
                    is_over,
                )
                .await);
            for field in ["phase", "errors", "warnings"] {
                assert_eq!(
                    status[field], expected[field],
                    "{} {value}: {field}",
                    resource.kind
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_of_the_wrong_shape_is_refused_by_the_definition() {
    let world = World::new().await;
    let object = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "b"}, "spec": {"ttl": 3, "unknown": 1}});
    let refused = world
        .cluster
        .create(&backup::resource(), "velero", &object)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.reason == "Invalid" && status.message.contains("spec.ttl"))
    );
}

//! A Velero that dies and comes back.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_velero_that_dies_fails_what_was_in_progress_when_it_is_back() {
    let world = World::new().await;
    let stuck = json!({"sandbox.ochre.dev/end": "stuck"});
    let in_progress: fn(&Value) -> bool = |object| phase(object) == "InProgress";
    world.run(&backup::resource(), "big2", json!({}), stuck, in_progress).await;
    world.sandbox.velero().stop().await;
    let waiting = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "later", "namespace": "velero"}, "spec": {}});
    world.create(&waiting).await;
    let dead = world.get("backups", "velero", "big2").await.unwrap();
    assert_eq!(phase(&dead), "InProgress");
    world.sandbox.velero().start().await.unwrap();
    let failed = world.get("backups", "velero", "big2").await.unwrap();
    assert_eq!(redacted(&failed["status"]), super::endings::recorded("Backup/big2"));
    let later = world.get("backups", "velero", "later").await.unwrap();
    if !is_over(&later) {
        world.follow(&backup::resource(), "later", &later, is_over).await;
    }
    assert_eq!(phase(&world.get("backups", "velero", "later").await.unwrap()), "Completed");
}

#[tokio::test(start_paused = true)]
async fn a_velero_that_dies_in_any_phase_comes_to_an_end() {
    // Each pair is a phase to die in, and what becomes of the Backup or Restore afterwards.
    let world = World::new().await;
    world.create(&namespace("one")).await;
    world.create(&config_map("one", "map", &json!({}))).await;
    world.back_up("source", json!({"includedNamespaces": ["one"]})).await;
    for (index, (resource, until, expected)) in [
        (backup::resource(), (|object| phase(object) == "Queued") as fn(&Value) -> bool, "Completed"),
        (backup::resource(), |object| phase(object) == "ReadyToStart", "Completed"),
        (backup::resource(), |object| phase(object) == "InProgress", "Failed"),
        (backup::resource(), |object| object["status"]["progress"]["itemsBackedUp"].is_number(), "Failed"),
        (backup::resource(), |object| phase(object) == "Finalizing", "Completed"),
        (restore::resource(), |object| object["metadata"]["finalizers"].is_array(), "Completed"),
        (restore::resource(), |object| phase(object) == "InProgress", "Failed"),
        (restore::resource(), |object| phase(object) == "Finalizing", "Completed"),
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
        assert_eq!(&dead, states.last().unwrap(), "nothing changes while Velero is dead");
        world.sandbox.velero().start().await.unwrap();
        let states = world.follow(&resource, &name, &dead, is_over).await;
        assert_eq!(phase(states.last().unwrap()), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_backups_at_once_all_end() {
    let world = World::new().await;
    world.create(&namespace("one")).await;
    world.create(&config_map("one", "map", &json!({}))).await;
    let runs = (0..20).map(|index| {
        let world = &world;
        async move {
            let states = world.back_up(&format!("b{index}"), json!({"includedNamespaces": ["one"]})).await;
            phase(states.last().unwrap()).to_owned()
        }
    });
    let phases = futures::future::join_all(runs).await;
    assert!(phases.iter().all(|phase| phase == "Completed"), "{phases:?}");
}

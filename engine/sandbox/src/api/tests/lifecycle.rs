use super::*;

async fn exists(world: &World, kind: &str, name: &str) -> bool {
    world.of(kind).get_opt(name).await.unwrap().is_some()
}

async fn delete(world: &World, kind: &str, name: &str) {
    world.of(kind).delete(name, &DeleteParams::default()).await.unwrap();
}

async fn owned(world: &World, name: &str, owner: &DynamicObject) {
    let reference =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid()});
    let metadata = json!({"name": name, "ownerReferences": [reference]});
    world.create("v1/ConfigMap", json!({"metadata": metadata})).await.unwrap();
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let world = World::new().await;
    let maps = world.of("v1/ConfigMap");
    world.create("v1/ConfigMap", json!({"metadata": {"name": "a", "finalizers": ["x.io/y"]}})).await.unwrap();
    let deleted = maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(deleted.left().unwrap().metadata.deletion_timestamp.is_some());
    assert!(exists(&world, "v1/ConfigMap", "a").await);
    let marked = maps.get("a").await.unwrap().resource_version().unwrap();
    let mut watch = world.watch(WatchParams::default(), &marked).await;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "deleted a", "letting go is one event");
    assert!(!exists(&world, "v1/ConfigMap", "a").await);
}

#[tokio::test]
async fn what_loses_its_owner_is_collected() {
    let world = World::new().await;
    let owner = world.config_map("owner", json!({})).await;
    owned(&world, "child", &owner).await;
    let child = world.of("v1/ConfigMap").get("child").await.unwrap();
    owned(&world, "grandchild", &child).await;
    delete(&world, "v1/ConfigMap", "owner").await;
    assert!(world.names("v1/ConfigMap", "", "").await.is_empty());
    // Its owner is gone already when it comes.
    owned(&world, "late", &owner).await;
    assert!(!exists(&world, "v1/ConfigMap", "late").await);
}

#[tokio::test]
async fn orphans_stay() {
    let world = World::new().await;
    let owner = world.config_map("owner", json!({})).await;
    owned(&world, "child", &owner).await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    world.of("v1/ConfigMap").delete("owner", &orphan).await.unwrap();
    assert!(world.of("v1/ConfigMap").get("child").await.unwrap().owner_references().is_empty());
}

#[tokio::test]
async fn a_namespace_goes_with_its_contents() {
    let world = World::new().await;
    world.config_map("a", json!({})).await;
    delete(&world, "v1/Namespace", "chat").await;
    assert!(!exists(&world, "v1/Namespace", "chat").await);
    assert!(!exists(&world, "v1/ConfigMap", "a").await);
}

#[tokio::test]
async fn a_finalizer_inside_holds_a_namespace() {
    let world = World::new().await;
    world
        .create("v1/ConfigMap", json!({"metadata": {"name": "held", "finalizers": ["x.io/y"]}}))
        .await
        .unwrap();
    delete(&world, "v1/Namespace", "chat").await;
    let namespace = world.of("v1/Namespace").get("chat").await.unwrap();
    assert_eq!(namespace.data["status"]["phase"], "Terminating");
    assert_eq!(
        refusal(world.create("v1/ConfigMap", json!({"metadata": {"name": "new"}})).await),
        "403 Forbidden: configmaps \"new\" is forbidden: unable to create new content in namespace chat because it is being terminated"
    );
    let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    world.of("v1/ConfigMap").patch("held", &PatchParams::default(), &patch).await.unwrap();
    assert!(!exists(&world, "v1/Namespace", "chat").await);
}

#[tokio::test]
async fn claims_bind_and_release_volumes() {
    for (policy, after) in [("Retain", Some("Released")), ("Delete", None)] {
        let world = World::new().await;
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"persistentVolumeReclaimPolicy": policy, "capacity": {"storage": "1Gi"}}});
        world
            .create(
                "v1/PersistentVolumeClaim",
                json!({"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}}),
            )
            .await
            .unwrap();
        world.create("v1/PersistentVolume", volume).await.unwrap();
        let claim = world.of("v1/PersistentVolumeClaim").get("data").await.unwrap();
        assert_eq!(
            (&claim.data["status"]["phase"], &claim.data["status"]["capacity"]["storage"]),
            (&json!("Bound"), &json!("1Gi"))
        );
        let volume = world.of("v1/PersistentVolume").get("pv").await.unwrap();
        assert_eq!(
            (&volume.data["status"]["phase"], &volume.data["spec"]["claimRef"]["name"]),
            (&json!("Bound"), &json!("data"))
        );
        delete(&world, "v1/PersistentVolumeClaim", "data").await;
        let volume = world.of("v1/PersistentVolume").get_opt("pv").await.unwrap();
        assert_eq!(
            volume.as_ref().and_then(|volume| volume.data["status"]["phase"].as_str()),
            after,
            "{policy}"
        );
    }
}

use super::*;

#[tokio::test]
async fn a_watch_follows_a_selection() {
    let world = World::new().await;
    let start = world.config_map("before", json!({"in": "yes"})).await.resource_version().unwrap();
    let mut watch = world.watch(WatchParams::default().labels("in=yes"), &start).await;
    world.config_map("a", json!({"in": "yes"})).await;
    world.config_map("other", json!({})).await;
    let maps = world.of("v1/ConfigMap");
    for labels in [json!({"more": "x"}), json!({"in": null}), json!({"in": "yes"})] {
        let patch = json!({"metadata": {"labels": labels}});
        maps.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(event(&watch.try_next().await.unwrap().unwrap()));
    }
    assert_eq!(seen, ["added a", "modified a", "deleted a", "added a", "deleted a"]);
}

#[tokio::test]
async fn a_watch_from_nothing_starts_with_what_is() {
    let world = World::new().await;
    world.config_map("a", json!({})).await;
    let mut watch = world.watch(WatchParams::default(), "0").await;
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "added a");
}

#[tokio::test]
async fn a_version_older_than_the_log_is_gone() {
    let world = World::with_log(3).await;
    let start = world.config_map("a", json!({})).await.resource_version().unwrap();
    let mut watch = world.watch(WatchParams::default(), &start).await;
    for name in ["b", "c", "d", "e"] {
        world.config_map(name, json!({})).await;
    }
    // The open watch has fallen behind as well: nobody read it.
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "error 410 Expired");
    assert!(watch.try_next().await.unwrap().is_none());
    // Neither can a watch start there, nor at a version of some other cluster that is yet to come.
    for version in [start.as_str(), "99999999999999999"] {
        let mut late = world.watch(WatchParams::default(), version).await;
        assert_eq!(event(&late.try_next().await.unwrap().unwrap()), "error 410 Expired");
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() {
    let world = World::new().await;
    world.config_map("a", json!({})).await;
    let mut watch = world.watch(WatchParams::default().initial_events(), "0").await;
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "added a");
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "bookmark [\"k8s.io/initial-events-end\"]");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_and_ends_at_its_timeout() {
    let world = World::new().await;
    let start = world.config_map("a", json!({})).await.resource_version().unwrap();
    let mut watch = world.watch(WatchParams::default().timeout(100), &start).await;
    assert_eq!(event(&watch.try_next().await.unwrap().unwrap()), "bookmark []");
    assert!(watch.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn closing_ends_watches() {
    let world = World::new().await;
    let start = world.config_map("a", json!({})).await.resource_version().unwrap();
    let mut watch = world.watch(WatchParams::default(), &start).await;
    world.api.close();
    assert!(watch.try_next().await.unwrap().is_none());
}

//! Thousands of objects in one backup.

use futures::StreamExt as _;
use futures::stream;
use ochre_core::phase::Verdict;
use serde_json::json;

use super::volumes::start;

const NAMESPACE: &str = "many";
const OBJECTS: usize = 2000;

#[tokio::test]
async fn two_thousand_objects_are_counted_and_come_back() {
    let (world, engine) = start().await;
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await;
    let made = stream::iter(0..OBJECTS).map(|number| {
        world.create(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("map-{number}"), "namespace": NAMESPACE, "labels": {"app": "many"}},
            "data": {"number": number.to_string()},
        }))
    });
    assert_eq!(made.buffer_unordered(16).count().await, OBJECTS);
    let given =
        json!({"action": "backup", "name": "many", "includeNamespaces": NAMESPACE, "selector": "app=many"});
    engine.create("many", None, given).await.data();
    let status = world.succeeded("many").await;
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Complete);
    assert_eq!(status.progress.as_deref(), Some("2001/2001 items"), "the namespace and all in it");

    world.delete_namespaces(&[NAMESPACE.to_owned()]).await;
    engine.create("back", None, json!({"action": "restore", "name": "many"})).await.data();
    world.succeeded("back").await;
    let maps = world.api("v1", "ConfigMap", Some(NAMESPACE));
    let found = maps.list_metadata(&kube::api::ListParams::default().labels("app=many")).await.unwrap();
    assert_eq!(found.items.len(), OBJECTS);
}

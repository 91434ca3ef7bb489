//! What is deleted, and what holds on.

use kube::api::DynamicObject;
use serde_json::json;

use super::script::Script;

const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const BACKUPS: &str = "/apis/velero.io/v1/namespaces/same/backups";

#[tokio::test]
async fn what_is_deleted() {
    let mut script = Script::start().await;
    let made = script.quietly("POST", MAPS, json!({"metadata": {"name": "one"}})).await;
    let one = &format!("{MAPS}/one");
    script.delete(one, json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})).await;
    script.delete(one, json!({"preconditions": {"resourceVersion": "1"}})).await;
    script.delete(one, json!({"propagationPolicy": "Never"})).await;
    script.delete(one, json!({"propagationPolicy": "Orphan", "orphanDependents": true})).await;
    script.delete(one, json!({"dryRun": ["All"]})).await;
    script.delete(one, json!({"dryRun": ["Some"]})).await;
    script.delete(one, json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": made["metadata"]["uid"]}})).await;
    script.delete(one, json!({})).await;
    script.quietly("POST", MAPS, json!({"metadata": {"name": "held", "finalizers": ["x.io/y"]}})).await;
    let held = &format!("{MAPS}/held");
    script.delete(held, json!({})).await;
    script.delete(held, json!({})).await;
    script.patch("merge", held, json!({"metadata": {"finalizers": ["x.io/y", "x.io/z"]}})).await;
    script.patch("merge", held, json!({"data": {"a": "b"}})).await;
    script.post(MAPS, json!({"metadata": {"name": "held"}})).await;
    script.patch("merge", held, json!({"metadata": {"finalizers": null}})).await;
    script.get(held).await;

    for name in ["a", "b", "c"] {
        script.quietly("POST", MAPS, json!({"metadata": {"name": name, "labels": {"in": "set"}}})).await;
    }
    script.delete(&format!("{MAPS}?labelSelector=in%3Dset&fieldSelector=metadata.name!=c"), json!({})).await;
    script.delete(&format!("{MAPS}?labelSelector=in%3Dset"), json!({})).await;
    script.delete(&format!("{MAPS}?labelSelector=in%3Dset"), json!({})).await;

    let backup = |name: &str| json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name, "labels": {"in": "set"}}});
    script.quietly("POST", BACKUPS, backup("one")).await;
    script.quietly("POST", BACKUPS, backup("two")).await;
    script.delete(&format!("{BACKUPS}/one"), json!({})).await;
    script.delete(&format!("{BACKUPS}?labelSelector=in%3Dset"), json!({})).await;
    script.send("DELETE", &format!("{BACKUPS}/none"), "application/json", "{bad".to_owned()).await;
    script.compare("what-is-deleted");
}

#[tokio::test]
async fn what_a_namespace_takes_with_it() {
    let mut script = Script::start().await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["x.io/y"]}});
    script.quietly("POST", MAPS, held).await;
    let gone = script.quietly("POST", MAPS, json!({"metadata": {"name": "gone"}})).await;
    script.delete("/api/v1/namespaces/same", json!({})).await;
    script.post(MAPS, json!({"metadata": {"name": "new"}})).await;
    script.until_gone(&gone).await;
    // One after the other.
    let maps = script.world.api("v1", "ConfigMap", Some("same"));
    let is_deleted =
        |map: Option<&DynamicObject>| map.is_some_and(|map| map.metadata.deletion_timestamp.is_some());
    script.world.object(maps, "held", is_deleted).await;
    script.get(&format!("{MAPS}/held")).await;
    script.quietly("PATCH", &format!("{MAPS}/held"), json!({"metadata": {"finalizers": null}})).await;
    script.compare("what-a-namespace-takes-with-it");
}

#[tokio::test]
async fn what_goes_with_its_owner() {
    let mut script = Script::start().await;
    for (policy, left) in [("Background", false), ("Foreground", false), ("Orphan", true)] {
        let owner = script.quietly("POST", MAPS, json!({"metadata": {"name": "owner"}})).await;
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
        let belonging = script
            .quietly("POST", MAPS, json!({"metadata": {"name": "owned", "ownerReferences": [reference]}}))
            .await;
        script.delete(&format!("{MAPS}/owner"), json!({"propagationPolicy": policy})).await;
        script.until_gone(&owner).await;
        if left {
            script.get(&format!("{MAPS}/owned")).await;
        } else {
            script.until_gone(&belonging).await;
        }
    }
    script.compare("what-goes-with-its-owner");
}

//! The four kinds of patch.

use serde_json::{Value, json};

use super::script::Script;

const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const ONE: &str = "/api/v1/namespaces/same/configmaps/one";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/same/deployments/one";
const ACTION: &str = "/apis/core.ochre.dev/v1alpha1/namespaces/same/actions/one";

#[tokio::test]
async fn what_a_patch_does() {
    let mut script = Script::start().await;
    let object = json!({"metadata": {"name": "one", "labels": {"a": "b"}, "finalizers": ["x.io/a", "x.io/b"]}, "data": {"a": "b", "c": "d"}});
    let made = script.quietly("POST", MAPS, object).await;
    script.patch("merge", ONE, json!({"data": {"a": null, "e": "f"}})).await;
    script.patch("merge", ONE, json!({"data": {"e": "f"}})).await;
    script.patch("merge", ONE, json!({"metadata": {"name": "two"}})).await;
    script.patch("merge", ONE, json!({"metadata": {"uid": "mine"}})).await;
    script
        .patch("merge", ONE, json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}))
        .await;
    script.patch("merge", ONE, json!({"metadata": {"labels": null}, "data": null})).await;
    script.patch("merge", ONE, json!({"data": {"a": 3}})).await;
    script.patch("merge", ONE, json!({"metadata": {"finalizers": ["no-domain"]}})).await;
    script.patch("merge", ONE, json!(["no", "object"])).await;
    script.patch("merge", &format!("{MAPS}/none"), json!({})).await;
    script.patch("merge", &format!("{ONE}?dryRun=All"), json!({"data": {"dry": "run"}})).await;
    script.send("PATCH", ONE, "application/merge-patch+json", "{bad".to_owned()).await;
    script.send("PATCH", ONE, "application/json", "{}".to_owned()).await;
    script.patch("json", ONE, json!([{"op": "add", "path": "/data", "value": {"g": "h"}}])).await;
    script.patch("json", ONE, json!([{"op": "test", "path": "/data/g", "value": "i"}])).await;
    script.patch("json", ONE, json!([{"op": "remove", "path": "/data/none"}])).await;
    script.patch("json", ONE, json!([{"op": "replace", "path": "/data/g", "value": "j"}, {"op": "remove", "path": "/metadata/finalizers/0"}])).await;
    script.patch("json", ONE, json!([{"op": "none", "path": "/data/g"}])).await;
    script.patch("json", ONE, json!({"op": "remove", "path": "/data/g"})).await;
    script.patch("strategic-merge", ONE, json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.io/b"]}, "data": {"$patch": "replace", "k": "l"}})).await;
    script.patch("merge", ONE, json!({"metadata": {"finalizers": null}})).await;
    script.compare("what-a-patch-does");
}

#[tokio::test]
async fn what_a_patch_of_a_workload_does() {
    let mut script = Script::start().await;
    let object = json!({
        "metadata": {"name": "one"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "one"}},
            "template": {
                "metadata": {"labels": {"app": "one"}},
                "spec": {"containers": [
                    {"name": "a", "image": "x:1", "env": [{"name": "A", "value": "1"}]}, {"name": "b", "image": "y:1"},
                ]},
            },
        },
    });
    script.quietly("POST", "/apis/apps/v1/namespaces/same/deployments", object).await;
    let containers =
        json!([{"name": "b", "image": "y:2"}, {"name": "a", "env": [{"name": "B", "value": "2"}]}]);
    change_containers(&mut script, "strategic-merge", containers).await;
    let containers = json!([{"name": "b", "$patch": "delete"}]);
    change_containers(&mut script, "strategic-merge", containers).await;
    let containers = json!([{"name": "c", "image": "z:1"}]);
    let answer = change_containers(&mut script, "merge", containers).await;
    // A workload's controller writes into it meanwhile, so its generation alone is looked at.
    let before = answer["metadata"]["generation"].clone();
    let answer = script
        .quietly_patched(
            "merge",
            DEPLOYMENT,
            json!({"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 9}}),
        )
        .await;
    assert_eq!(answer["metadata"]["generation"], before);
    script.compare("what-a-patch-of-a-workload-does");
}

/// Patches the containers of the workload, and writes down what became of them.
async fn change_containers(script: &mut Script, kind: &str, containers: Value) -> Value {
    let body = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let answer = script.quietly_patched(kind, DEPLOYMENT, body).await;
    let containers = answer["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter();
    let shown: Vec<_> = containers
        .map(|container| json!({"name": container["name"], "image": container["image"], "env": container["env"]}))
        .collect();
    script.note(&format!("generation {}: {}", answer["metadata"]["generation"], json!(shown)));
    answer
}

#[tokio::test]
async fn what_an_apply_does() {
    let mut script = Script::start().await;
    let object = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data});
    let mine = &format!("{ONE}?fieldManager=mine");
    let yours = &format!("{ONE}?fieldManager=yours");
    script.patch("apply", ONE, object(json!({}))).await;
    script.patch("apply", mine, object(json!({"a": "b", "c": "d"}))).await;
    script.patch("apply", mine, object(json!({"a": "b", "c": "d"}))).await;
    script.patch("apply", yours, object(json!({"a": "x", "e": "f"}))).await;
    script.patch("apply", yours, object(json!({"a": "x", "c": "x", "e": "f"}))).await;
    script.patch("apply", &format!("{yours}&force=true"), object(json!({"a": "x", "e": "f"}))).await;
    script.patch("apply", mine, object(json!({}))).await;
    script.patch("apply", mine, json!({"metadata": {"name": "one"}})).await;
    script
        .patch("apply", mine, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}))
        .await;
    script.patch("apply", mine, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "managedFields": [{"manager": "x"}]}})).await;
    script.patch("merge", &format!("{ONE}?force=true"), json!({})).await;
    script.send("PATCH", mine, "application/apply-patch+yaml", "{bad".to_owned()).await;
    let action = json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "one"},
        "spec": {"actionRef": {"path": "cap.interface.data.backup"}},
    });
    script.patch("apply", &format!("{ACTION}?fieldManager=mine"), action).await;
    let status = json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "one"},
        "spec": {"run": true}, "status": {"phase": "INITIAL"},
    });
    script.patch("apply", &format!("{ACTION}/status?fieldManager=engine"), status).await;
    script.compare("what-an-apply-does");
}

//! Creates and updates, and what refuses them.

use serde_json::{Value, json};

use super::script::Script;

const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const ACTIONS: &str = "/apis/core.ochre.dev/v1alpha1/namespaces/same/actions";
const BACKUPS: &str = "/apis/velero.io/v1/namespaces/same/backups";

fn action(name: &str, spec: Value) -> Value {
    let mut action = json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
        "spec": {"actionRef": {"path": "cap.interface.data.backup"}},
    });
    for (key, value) in spec.as_object().unwrap() {
        action["spec"][key] = value.clone();
    }
    action
}

#[tokio::test]
async fn what_is_created() {
    let mut script = Script::start().await;
    script.post(MAPS, json!({"metadata": {"name": "one"}, "data": {"a": "b"}})).await;
    script.post(MAPS, json!({"metadata": {"name": "one"}})).await;
    script.post(MAPS, json!({"metadata": {"generateName": "made-"}})).await;
    script.post(MAPS, json!({"metadata": {}})).await;
    script.post(MAPS, json!({"metadata": {"name": "One_"}})).await;
    script.post(MAPS, json!({"metadata": {"name": "a".repeat(254)}})).await;
    script.post(MAPS, json!({"metadata": {"name": "x", "namespace": "default"}})).await;
    script.post(MAPS, json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}})).await;
    script.post(MAPS, json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}})).await;
    script.post(MAPS, json!({"metadata": {"name": "x", "resourceVersion": "1"}})).await;
    script
        .post(
            MAPS,
            json!({"metadata": {"name": "x", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"}}),
        )
        .await;
    script.post(MAPS, json!({"metadata": {"name": "y", "labels": {"-bad": "_bad_"}}})).await;
    script.post(MAPS, json!({"metadata": {"name": "y", "labels": {"app": 3}}})).await;
    script.post(MAPS, json!({"metadata": {"name": "y"}, "data": {"a": 3}})).await;
    script.post(MAPS, json!({"metadata": {"name": "y"}, "data": ["a"]})).await;
    script.post(MAPS, json!([])).await;
    script.post(MAPS, json!("text")).await;
    script.post("/api/v1/namespaces/none/configmaps", json!({"metadata": {"name": "x"}})).await;
    script.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await;
    script.post(&format!("{MAPS}?dryRun=None"), json!({"metadata": {"name": "dry"}})).await;
    script.get(&format!("{MAPS}/dry")).await;
    script.send("POST", MAPS, "application/json", "{bad".to_owned()).await;
    script.send("POST", MAPS, "application/json", String::new()).await;
    script.send("POST", MAPS, "text/plain", "{}".to_owned()).await;
    script.send("POST", MAPS, "application/yaml", "metadata: {name: of-yaml}\ndata: {a: b}".to_owned()).await;
    script.send("POST", &format!("{MAPS}/one"), "application/json", "{}".to_owned()).await;
    script.send("PUT", MAPS, "application/json", "{}".to_owned()).await;
    script.send("PATCH", MAPS, "application/merge-patch+json", "{}".to_owned()).await;
    script.send("POST", "/api/v1/configmaps", "application/json", "{}".to_owned()).await;
    script.send_as("GET", &format!("{MAPS}/one"), "", "text/plain", String::new()).await;
    script.compare("what-is-created");
}

#[tokio::test]
async fn what_a_definition_refuses() {
    let mut script = Script::start().await;
    script.post(ACTIONS, action("good", json!({}))).await;
    script.post(ACTIONS, action("good", json!({}))).await;
    script.post(ACTIONS, action("bad", json!({"actionRef": {}}))).await;
    script.post(ACTIONS, action("bad", json!({"actionRef": {"path": ""}}))).await;
    script.post(ACTIONS, action("bad", json!({"actionRef": {"path": "Cap.x"}}))).await;
    script
        .post(ACTIONS, action("bad", json!({"actionRef": {"path": format!("cap.{}", "x".repeat(300))}})))
        .await;
    script.post(ACTIONS, action("bad", json!({"actionRef": null}))).await;
    script.post(ACTIONS, action("bad", json!({"actionRef": "text"}))).await;
    script.post(ACTIONS, action("bad", json!({"run": "yes"}))).await;
    script.post(ACTIONS, action("bad", json!({"input": []}))).await;
    script.post(ACTIONS, action("bad", json!({"attempt": 0}))).await;
    script.post(ACTIONS, action("bad", json!({"attempt": 10_000}))).await;
    script.post(ACTIONS, action("bad", json!({"approvals": [{"step": "a", "attempt": 1}]}))).await;
    script.post(ACTIONS, action(&"long".repeat(20), json!({}))).await;
    script
        .post(
            ACTIONS,
            json!({"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "bad"}}),
        )
        .await;
    script.post(ACTIONS, json!({"metadata": {"name": "bad"}})).await;
    script
        .post(
            ACTIONS,
            json!({"apiVersion": "core.ochre.dev/v1", "kind": "Action", "metadata": {"name": "bad"}}),
        )
        .await;
    script
        .post(
            ACTIONS,
            json!({"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Actor", "metadata": {"name": "bad"}}),
        )
        .await;
    script.post(ACTIONS, action("unknown", json!({"unknown": 1, "input": {"more": 2}}))).await;
    let strict = format!("{ACTIONS}?fieldValidation=Strict");
    script.post(&strict, action("bad", json!({"unknown": 1, "input": {"more": 2}}))).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"spec": {"attempt": 0}})).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"spec": {"attempt": 3, "unknown": 1}})).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"spec": {"attempt": 2}})).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"spec": null})).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"metadata": {"labels": {"a": 3}}})).await;
    script.patch("merge", &format!("{ACTIONS}/good/status"), json!({"status": {"phase": "NEVER"}})).await;
    script.patch("merge", &format!("{ACTIONS}/good/status"), json!({"spec": {"run": true}, "metadata": {"labels": {"a": "b"}}, "status": {"phase": "RUNNING", "attempt": 1}})).await;
    script.patch("merge", &format!("{ACTIONS}/good"), json!({"spec": {"run": true}})).await;
    script
        .patch(
            "merge",
            &format!("{ACTIONS}/good"),
            json!({"spec": {"cancel": true}, "status": {"phase": "FAILED"}}),
        )
        .await;
    script.patch("strategic-merge", &format!("{ACTIONS}/good"), json!({"spec": {"cancel": false}})).await;
    script.send("POST", ACTIONS, "application/json", "{bad".to_owned()).await;
    script.send("POST", ACTIONS, "text/plain", "{}".to_owned()).await;
    script.post(BACKUPS, json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "made"}, "status": {"phase": "Completed"}})).await;
    script.patch("merge", &format!("{BACKUPS}/made"), json!({"status": {"phase": "Failed"}})).await;
    script.patch("merge", &format!("{BACKUPS}/made"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    script.patch("merge", &format!("{BACKUPS}/made/status"), json!({"status": {"phase": "Failed"}})).await;
    script.compare("what-a-definition-refuses");
}

#[tokio::test]
async fn what_is_updated() {
    let mut script = Script::start().await;
    let first = script.quietly("POST", MAPS, json!({"metadata": {"name": "one"}, "data": {"a": "b"}})).await;
    let one = &format!("{MAPS}/one");
    script.put(one, json!({"metadata": {"name": "one", "labels": {"new": "yes"}}, "data": {"a": "c"}})).await;
    let mut stale = first.clone();
    stale["data"] = json!({"a": "d"});
    script.put(one, stale.clone()).await;
    stale["metadata"]["resourceVersion"] = json!(null);
    stale["metadata"]["uid"] = json!("another");
    script.put(one, stale).await;
    script.put(one, json!({"metadata": {"name": "two"}})).await;
    script.put(one, json!({"metadata": {"name": "one", "namespace": "default"}})).await;
    script.put(one, json!({"data": {}})).await;
    script.put(&format!("{MAPS}/none"), json!({"metadata": {"name": "none"}})).await;
    script.put(one, json!({"metadata": {"name": "one", "resourceVersion": "text"}})).await;
    let mut fixed = json!({"metadata": {"name": "fixed"}, "immutable": true, "data": {"a": "b"}});
    script.quietly("POST", MAPS, fixed.clone()).await;
    fixed["data"]["a"] = json!("c");
    script.put(&format!("{MAPS}/fixed"), fixed).await;

    let first = script.quietly("POST", ACTIONS, action("one", json!({}))).await;
    let one = &format!("{ACTIONS}/one");
    script.put(one, action("one", json!({"run": true}))).await;
    let mut newer = first.clone();
    newer["spec"]["run"] = json!(true);
    newer["status"] = json!({"phase": "FAILED"});
    script.put(one, newer.clone()).await;
    script.put(one, newer.clone()).await;
    let mut seen = script.get(one).await;
    seen["status"] = json!({"phase": "INITIAL"});
    seen["spec"]["run"] = json!(false);
    let seen = script.put(&format!("{one}/status"), seen).await;
    let mut seen = seen;
    seen["metadata"]["labels"] = json!({"a": "b"});
    script.put(one, seen).await;
    script.compare("what-is-updated");
}

#[tokio::test]
async fn what_the_server_fills_in() {
    let mut script = Script::start().await;
    script.post("/api/v1/namespaces/same/secrets", json!({"metadata": {"name": "secret"}, "data": {"a": "Yg=="}, "stringData": {"c": "d", "a": "e"}})).await;
    script
        .post("/api/v1/namespaces/same/secrets", json!({"metadata": {"name": "bad"}, "data": {"a": "%"}}))
        .await;
    script
        .patch(
            "merge",
            "/api/v1/namespaces/same/secrets/secret",
            json!({"stringData": {"f": "g"}, "data": {"a": null}}),
        )
        .await;
    script.post("/api/v1/namespaces/same/serviceaccounts", json!({"metadata": {"name": "account"}})).await;
    script.post("/api/v1/namespaces", json!({"metadata": {"name": "same-too", "labels": {"a": "b"}}})).await;
    script.post("/apis/coordination.k8s.io/v1/namespaces/same/leases", json!({"metadata": {"name": "lease"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.123456Z"}})).await;
    script.post("/apis/rbac.authorization.k8s.io/v1/namespaces/same/roles", json!({"metadata": {"name": "role"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})).await;
    script.post("/apis/rbac.authorization.k8s.io/v1/namespaces/same/rolebindings", json!({"metadata": {"name": "binding"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "role"}, "subjects": [{"kind": "ServiceAccount", "name": "account"}]})).await;
    script
        .post(
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"metadata": {"name": "same"}, "provisioner": "same.ochre.dev/none"}),
        )
        .await;
    script
        .post("/apis/scheduling.k8s.io/v1/priorityclasses", json!({"metadata": {"name": "same"}, "value": 3}))
        .await;
    // Nothing else takes these away.
    script.delete("/apis/storage.k8s.io/v1/storageclasses/same", json!({})).await;
    script.delete("/apis/scheduling.k8s.io/v1/priorityclasses/same", json!({})).await;
    script.compare("what-the-server-fills-in");
}

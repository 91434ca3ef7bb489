//! What is read, and selected.

use serde_json::{Value, json};

use super::script::Script;

const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const ACTIONS: &str = "/apis/core.ochre.dev/v1alpha1/namespaces/same/actions";
const BACKUPS: &str = "/apis/velero.io/v1/namespaces/same/backups";

#[tokio::test]
async fn what_there_is_not() {
    let mut script = Script::start().await;
    for path in [
        "/api/v1/namespaces/same/configmaps/none",
        "/api/v1/namespaces/none",
        "/api/v1/namespaces/none/configmaps",
        "/api/v1/namespaces/none/configmaps/none",
        "/api/v1/configmaps/none",
        "/apis/apps/v1/namespaces/same/deployments/none",
        "/apis/core.ochre.dev/v1alpha1/namespaces/same/actions/none",
        "/apis/velero.io/v1/namespaces/same/backups/none",
        "/apis/velero.io/v1/namespaces/same/backups/none/status",
        "/apis/velero.io/v1/backups/none",
        "/apis/velero.io/v2/namespaces/same/backups",
        "/apis/none.io/v1/namespaces/same/nones",
        "/apis/none.io/v1",
        "/apis/none.io",
        "/api/v1/nones",
        "/api/v2",
        "/none",
    ] {
        script.get(path).await;
    }
    script.compare("what-there-is-not");
}

#[tokio::test]
async fn what_is_selected() {
    let mut script = Script::start().await;
    for (name, labels) in [
        ("both", json!({"app": "chat", "tier": "front"})),
        ("app", json!({"app": "chat"})),
        ("other", json!({"app": "shop", "empty": ""})),
        ("none", json!({"same": "yes"})),
    ] {
        let mut labels = labels;
        labels["same"] = json!("yes");
        script.quietly("POST", MAPS, json!({"metadata": {"name": name, "labels": labels}})).await;
    }
    for selector in [
        "app",
        "!app,same",
        "app=chat",
        "app==chat",
        "app!=chat,same",
        "app in (chat, shop),tier",
        "app notin (chat),same",
        "app notin (chat, shop),same=yes",
        "empty=",
        "empty",
        "same,!empty,app=chat,tier=front",
        "app=none",
    ] {
        let encoded =
            selector.replace(' ', "%20").replace('=', "%3D").replace('!', "%21").replace(',', "%2C");
        let answer = script.quietly("GET", &format!("{MAPS}?labelSelector={encoded}"), json!(null)).await;
        let names = answer["items"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        script.note(&format!("{selector}: {}", names.join(" ")));
    }
    for selector in ["app=chat=x", "app%20in%20(chat", "%3D", "app%20near%20chat", "-a", "a=-", "in%20(a)"] {
        // What it says of a selector is in the words of its parser.
        let request = format!("{MAPS}?labelSelector={selector}");
        let (code, _, answer) = script.call("GET", &request, "", "application/json", String::new()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        script.note(&format!("labelSelector={selector}: {code} {}", answer["reason"]));
    }
    for selector in
        ["metadata.name=app", "metadata.name!=app", "metadata.name%3D%3Dapp", "metadata.namespace=same"]
    {
        let path = format!("{MAPS}?labelSelector=same&fieldSelector={selector}");
        let answer = script.quietly("GET", &path, json!(null)).await;
        let names = answer["items"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        script.note(&format!("{selector}: {}", names.join(" ")));
    }
    script.get(&format!("{MAPS}?fieldSelector=data.a=b")).await;
    script.get(&format!("{MAPS}?fieldSelector=metadata.name")).await;
    script.get(&format!("{ACTIONS}?fieldSelector=spec.run=true")).await;
    script.get("/api/v1/namespaces/same/pods?fieldSelector=spec.image=x").await;
    script.get("/api/v1/namespaces/same/pods?fieldSelector=status.phase=Running,spec.nodeName=x").await;
    script.get("/api/v1/namespaces/same/secrets?fieldSelector=type=kubernetes.io/none").await;
    script.get(&format!("{MAPS}?labelSelector=app%3Dchat")).await;
    script.get(&format!("{BACKUPS}?labelSelector=app")).await;
    script.get(&format!("{MAPS}?resourceVersion=none")).await;
    script.get(&format!("{MAPS}?limit=none")).await;
    script.compare("what-is-selected");
}

//! What is seen as it happens.

use serde_json::json;

use super::script::Script;

const MAPS: &str = "/api/v1/namespaces/same/configmaps";
const BACKUPS: &str = "/apis/velero.io/v1/namespaces/same/backups";

#[tokio::test]
async fn what_a_watch_shows() {
    let mut script = Script::start().await;
    let labelled = |name: &str, app: &str| json!({"metadata": {"name": name, "labels": {"app": app}}, "data": {"is": app}});
    script.quietly("POST", MAPS, labelled("before", "chat")).await;
    script.quietly("POST", MAPS, labelled("another", "chat")).await;
    script.quietly("POST", MAPS, labelled("else", "shop")).await;
    let list = script.quietly("GET", &format!("{MAPS}?labelSelector=app"), json!(null)).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    script.quietly("POST", MAPS, labelled("after", "chat")).await;
    script.quietly("PATCH", &format!("{MAPS}/before"), json!({"data": {"is": "changed"}})).await;
    script.quietly("PATCH", &format!("{MAPS}/before"), json!({"data": {"is": "changed"}})).await;
    script
        .quietly("PATCH", &format!("{MAPS}/before"), json!({"metadata": {"labels": {"app": "shop"}}}))
        .await;
    script.quietly("PATCH", &format!("{MAPS}/else"), json!({"metadata": {"labels": {"app": "chat"}}})).await;
    script.quietly("DELETE", &format!("{MAPS}/after"), json!(null)).await;
    for query in [
        format!("resourceVersion={version}"),
        String::new(),
        "resourceVersion=0".to_owned(),
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true".to_owned(),
        "fieldSelector=metadata.name=another".to_owned(),
    ] {
        let path = format!("{MAPS}?watch=true&timeoutSeconds=1&labelSelector=app%3Dchat&{query}");
        script.get(&path).await;
    }
    script.get(&format!("{MAPS}/another?watch=true&timeoutSeconds=1")).await;
    script.get(&format!("{MAPS}?watch=true&timeoutSeconds=1&resourceVersion=text")).await;
    script.get(&format!("{MAPS}?watch=true&timeoutSeconds=1&sendInitialEvents=true")).await;
    script.compare("what-a-watch-shows");
}

#[tokio::test]
async fn what_a_watch_of_a_custom_kind_shows() {
    let mut script = Script::start().await;
    let backup = json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "one"}, "spec": {"ttl": "1h0m0s"}});
    let made = script.quietly("POST", BACKUPS, backup).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    script.quietly("PATCH", &format!("{BACKUPS}/one"), json!({"status": {"phase": "New"}})).await;
    script.quietly("PATCH", &format!("{BACKUPS}/one"), json!({"metadata": {"finalizers": ["x.io/y"]}})).await;
    script.quietly("DELETE", &format!("{BACKUPS}/one"), json!(null)).await;
    script.quietly("PATCH", &format!("{BACKUPS}/one"), json!({"metadata": {"finalizers": null}})).await;
    script.get(&format!("{BACKUPS}?watch=true&timeoutSeconds=1&resourceVersion={version}")).await;
    script.get(&format!("{BACKUPS}?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")).await;
    script.compare("what-a-watch-of-a-custom-kind-shows");
}

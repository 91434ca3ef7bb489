//! What `kubectl get` prints.

use serde_json::json;

use super::script::Script;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn what_a_table_shows() {
    let mut script = Script::start().await;
    let maps = "/api/v1/namespaces/same/configmaps";
    let secrets = "/api/v1/namespaces/same/secrets";
    let actions = "/apis/core.ochre.dev/v1alpha1/namespaces/same/actions";
    let backups = "/apis/velero.io/v1/namespaces/same/backups";
    let labels = json!({"same": "yes"});
    script
        .quietly(
            "POST",
            maps,
            json!({"metadata": {"name": "one", "labels": labels}, "data": {"a": "b", "c": "d"}}),
        )
        .await;
    script
        .quietly(
            "POST",
            secrets,
            json!({"metadata": {"name": "one", "labels": labels}, "stringData": {"a": "b"}}),
        )
        .await;
    script.quietly("POST", actions, json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "one", "labels": labels},
        "spec": {"actionRef": {"path": "cap.interface.data.backup"}},
    })).await;
    script.quietly("PATCH", &format!("{actions}/one/status"), json!({"status": {"phase": "INITIAL"}})).await;
    script.quietly("POST", backups, json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "one", "labels": labels}})).await;
    for kind in [maps, secrets, actions, backups] {
        script.send_as("GET", &format!("{kind}?labelSelector=same"), "", TABLE, String::new()).await;
    }
    script.send_as("GET", &format!("{maps}/one?includeObject=Object"), "", TABLE, String::new()).await;
    script.send_as("GET", &format!("{maps}/one?includeObject=None"), "", TABLE, String::new()).await;
    script.send_as("GET", &format!("{actions}/one"), "", METADATA, String::new()).await;
    script.send_as("GET", &format!("{actions}?labelSelector=same"), "", METADATA_LIST, String::new()).await;
    script.send_as("GET", &format!("{maps}?labelSelector=same"), "", METADATA_LIST, String::new()).await;
    let watch = "watch=true&timeoutSeconds=1&labelSelector=same";
    script.send_as("GET", &format!("{maps}?{watch}"), "", TABLE, String::new()).await;
    script.send_as("GET", &format!("{maps}?{watch}"), "", METADATA, String::new()).await;
    script.send_as("GET", "/apis/velero.io/v1/namespaces/same/backups/none", "", TABLE, String::new()).await;
    script.compare("what-a-table-shows");
}

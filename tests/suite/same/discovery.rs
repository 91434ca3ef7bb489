//! What a cluster says of itself.

use serde_json::{Value, json};

use super::script::Script;

/// What both clusters serve, by group and version. The real one serves more.
const SERVED: [(&str, &[&str]); 14] = [
    (
        "/api/v1",
        &[
            "configmaps",
            "endpoints",
            "events",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    ),
    ("/apis/apps/v1", &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("/apis/batch/v1", &["cronjobs", "jobs"]),
    ("/apis/rbac.authorization.k8s.io/v1", &["clusterrolebindings", "clusterroles", "rolebindings", "roles"]),
    ("/apis/storage.k8s.io/v1", &["storageclasses"]),
    ("/apis/networking.k8s.io/v1", &["ingresses", "networkpolicies"]),
    ("/apis/discovery.k8s.io/v1", &["endpointslices"]),
    ("/apis/coordination.k8s.io/v1", &["leases"]),
    ("/apis/policy/v1", &["poddisruptionbudgets"]),
    ("/apis/scheduling.k8s.io/v1", &["priorityclasses"]),
    (
        "/apis/admissionregistration.k8s.io/v1",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        ],
    ),
    ("/apis/apiextensions.k8s.io/v1", &["customresourcedefinitions"]),
    ("/apis/core.ochre.dev/v1alpha1", &["actions"]),
    (
        "/apis/velero.io/v1",
        &[
            "backups",
            "restores",
            "schedules",
            "backupstoragelocations",
            "downloadrequests",
            "deletebackuprequests",
            "serverstatusrequests",
            "podvolumebackups",
            "podvolumerestores",
            "backuprepositories",
            "volumesnapshotlocations",
        ],
    ),
];

#[tokio::test]
async fn what_a_cluster_serves() {
    let mut script = Script::start().await;
    let versions = script.quietly("GET", "/api", Value::Null).await;
    script.note(&format!("/api: {} {}", versions["kind"], versions["versions"]));
    let groups = script.quietly("GET", "/apis", Value::Null).await;
    script.note(&format!("/apis: {} {}", groups["kind"], groups["apiVersion"]));
    for (path, plurals) in SERVED {
        if let Some((group, version)) = path.strip_prefix("/apis/").and_then(|path| path.split_once('/')) {
            let found = groups["groups"].as_array().unwrap().iter().find(|found| found["name"] == group);
            let found = found.unwrap_or_else(|| panic!("{group} is not served"));
            let served = format!("{group}/{version}");
            assert!(
                found["versions"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({"groupVersion": served, "version": version}))
            );
            let alone = script.quietly("GET", &format!("/apis/{group}"), Value::Null).await;
            script.note(&format!(
                "/apis/{group}: {} {} {}",
                alone["kind"], alone["apiVersion"], alone["preferredVersion"]
            ));
        }
        let list = script.quietly("GET", path, Value::Null).await;
        script.note(&format!(
            "{path}: {} {:?} {}",
            list["kind"],
            list.get("apiVersion"),
            list["groupVersion"]
        ));
        let mut resources: Vec<&Value> = list["resources"].as_array().unwrap().iter().collect();
        resources.sort_by_key(|resource| resource["name"].to_string());
        for resource in resources {
            let (plural, subresource) = split(resource["name"].as_str().unwrap());
            // Of the subresources the sandbox has the status alone.
            if plurals.contains(&plural) && subresource.is_none_or(|subresource| subresource == "status") {
                let mut resource = resource.clone();
                // Their order means nothing.
                resource["verbs"].as_array_mut().unwrap().sort_by_key(Value::to_string);
                // A digest of the real server's own storage.
                resource.as_object_mut().unwrap().remove("storageVersionHash");
                script.note(&resource.to_string());
            }
        }
    }
    script.compare("what-a-cluster-serves");
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('/').map_or((name, None), |(plural, subresource)| (plural, Some(subresource)))
}

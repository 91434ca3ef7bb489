//! What the API itself fills into objects of built-in kinds.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::object;

/// Tells whether objects of a kind hold others, and go only when these are gone.
pub(super) fn holds_contents(resource: &str) -> bool {
    matches!(resource, "namespaces" | "customresourcedefinitions.apiextensions.k8s.io")
}

/// Writes into an object that holds others that these are going.
pub(super) fn mark_terminating(resource: &str, object: &mut Value, now: Timestamp) {
    match resource {
        "namespaces" => object["status"]["phase"] = json!("Terminating"),
        "customresourcedefinitions.apiextensions.k8s.io" => {
            let condition = json!({
                "type": "Terminating", "status": "True", "reason": "InstanceDeletionInProgress",
                "message": "CustomResource deletion is in progress", "lastTransitionTime": object::timestamp(now),
            });
            if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
                conditions.push(condition);
            }
        }
        _ => {}
    }
}

/// Fills in what the real server defaults, as far as others look at it.
pub(super) fn complete(resource: &str, new: &mut Value, old: Option<&Value>) {
    match resource {
        "namespaces" => {
            new["metadata"]["labels"]["kubernetes.io/metadata.name"] = new["metadata"]["name"].clone();
            default(new, "/spec", "finalizers", json!(["kubernetes"]));
            default(new, "/status", "phase", json!("Active"));
        }
        "secrets" => {
            encode_string_data(new);
            default(new, "", "type", json!("Opaque"));
        }
        "services" => complete_service(new, old),
        "pods" | "persistentvolumeclaims" => default(new, "/status", "phase", json!("Pending")),
        "persistentvolumes" => {
            default(new, "/spec", "persistentVolumeReclaimPolicy", json!("Retain"));
            default(new, "/status", "phase", json!("Available"));
        }
        "storageclasses.storage.k8s.io" => {
            default(new, "", "reclaimPolicy", json!("Delete"));
            default(new, "", "volumeBindingMode", json!("Immediate"));
        }
        "priorityclasses.scheduling.k8s.io" => {
            default(new, "", "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        "deployments.apps" | "statefulsets.apps" | "replicasets.apps" => {
            default(new, "/spec", "replicas", json!(1));
        }
        _ => {}
    }
}

fn default(object: &mut Value, parent: &str, field: &str, value: Value) {
    if let Some(name) = parent.strip_prefix('/')
        && !object[name].is_object()
    {
        object[name] = json!({});
    }
    let parent = object.pointer_mut(parent);
    if let Some(entry) = parent.filter(|parent| parent[field].is_null()) {
        entry[field] = value;
    }
}

fn encode_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData"))
    else {
        return;
    };
    for (key, text) in texts {
        let bytes = text.as_str().unwrap_or_default().as_bytes().to_vec();
        secret["data"][key] = json!(ByteString(bytes));
    }
}

/// Gives a Service its address, derived from its uid so that a new Service has a new one.
fn complete_service(service: &mut Value, old: Option<&Value>) {
    default(service, "/spec", "type", json!("ClusterIP"));
    if service["spec"]["type"] == "ExternalName" || !service["spec"]["clusterIP"].is_null() {
        return;
    }
    let kept = old.map(|old| old["spec"]["clusterIP"].clone()).filter(Value::is_string);
    let address = kept.unwrap_or_else(|| json!(new_address(object::uid(service))));
    service["spec"]["clusterIPs"] = json!([address]);
    service["spec"]["clusterIP"] = address;
}

fn new_address(uid: &str) -> String {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(6).collect();
    let number = u32::from_str_radix(&digits, 16).unwrap_or_default();
    format!("10.{}.{}.{}", 96 + (number >> 16) % 16, (number >> 8) % 256, 1 + number % 254)
}

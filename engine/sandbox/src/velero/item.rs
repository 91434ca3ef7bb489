//! What a restore changes in an object before it is created, and when two objects count as equal.

use serde_json::{Map, Value, json};

/// Says where a restored object goes.
pub(crate) struct Destination<'a> {
    pub(crate) backup: &'a str,
    pub(crate) restore: &'a str,
    /// Maps namespaces of the backup to others.
    pub(crate) namespaces: &'a Value,
    pub(crate) preserve_node_ports: bool,
}

impl Destination<'_> {
    /// Returns the namespace in the cluster for one of the backup.
    pub(crate) fn namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.namespaces[namespace].as_str().unwrap_or(namespace)
    }

    /// Strips what belonged to the old object and labels the new one.
    pub(crate) fn prepare(&self, resource: &str, object: &Value) -> Value {
        let mut object = object.clone();
        reset(&mut object);
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            object["metadata"]["namespace"] = json!(self.namespace(namespace));
        }
        match resource {
            "persistentvolumes" => {
                unbind(&mut object);
                let claim = &mut object["spec"]["claimRef"];
                if let Some(namespace) = claim["namespace"].as_str() {
                    claim["namespace"] = json!(self.namespace(namespace));
                }
                remove(claim, &["uid", "resourceVersion"]);
                if object["spec"]["claimRef"].is_null() {
                    remove(&mut object["spec"], &["claimRef"]);
                }
            }
            "persistentvolumeclaims" => unbind(&mut object),
            "services" => self.prepare_service(&mut object),
            "pods" => prepare_pod(&mut object),
            "jobs.batch" => prepare_job(&mut object),
            _ => {}
        }
        object["metadata"]["labels"]["velero.io/backup-name"] = json!(label_value(self.backup));
        object["metadata"]["labels"]["velero.io/restore-name"] = json!(label_value(self.restore));
        object
    }

    fn prepare_service(&self, service: &mut Value) {
        if service["spec"]["clusterIP"] != "None" {
            remove(&mut service["spec"], &["clusterIP", "clusterIPs"]);
        }
        if !self.preserve_node_ports {
            remove(&mut service["spec"], &["healthCheckNodePort"]);
            for port in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
                remove(port, &["nodePort"]);
            }
        }
    }
}

/// Compares an object of the cluster with a prepared one, but for what a restore strips and its labels.
pub(crate) fn is_same(in_cluster: &Value, prepared: &Value) -> bool {
    let mut in_cluster = in_cluster.clone();
    reset(&mut in_cluster);
    for label in ["velero.io/backup-name", "velero.io/restore-name"] {
        in_cluster["metadata"]["labels"][label] = prepared["metadata"]["labels"][label].clone();
    }
    without_empty(&in_cluster) == without_empty(prepared)
}

/// Tells whether a controller writes into the objects of a kind, which shows in who owns their fields.
pub(crate) fn has_controller(resource: &str) -> bool {
    matches!(resource, "deployments.apps" | "statefulsets.apps" | "daemonsets.apps" | "replicasets.apps")
}

/// Tells whether an object has done its work, so that a restore would do it again.
pub(crate) fn is_done(resource: &str, object: &Value) -> bool {
    match resource {
        "pods" => matches!(super::phase(object), "Succeeded" | "Failed"),
        "jobs.batch" => object["status"]["completionTime"].is_string(),
        _ => false,
    }
}

/// Cuts a name to a label's length as Velero does: a digest keeps long names apart.
pub(crate) fn label_value(name: &str) -> String {
    use sha2::{Digest, Sha256};
    if name.len() <= 63 {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let hex = format!("{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]);
    let start: String = name.chars().take(57).collect();
    format!("{start}{hex}")
}

/// Removes status and what the server writes; field owners stay, since Velero writes them back.
fn reset(object: &mut Value) {
    remove(object, &["status"]);
    let fields = [
        "generateName",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
    ];
    remove(&mut object["metadata"], &fields);
}

/// Removes the marks of the volume controller.
fn unbind(object: &mut Value) {
    let marks = [
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.kubernetes.io/selected-node",
    ];
    if object["metadata"]["annotations"].is_object() {
        remove(&mut object["metadata"]["annotations"], &marks);
    }
}

/// Removes a pod's node, and the token that its service account was given.
fn prepare_pod(pod: &mut Value) {
    remove(&mut pod["spec"], &["nodeName", "priority"]);
    let is_token = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
        volumes.retain(|volume| !is_token(&volume["name"]));
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| !is_token(&mount["name"]));
            }
        }
    }
    if pod["spec"]["initContainers"].is_null() {
        remove(&mut pod["spec"], &["initContainers"]);
    }
}

/// Removes the labels by which a job finds its pods; the server makes new ones.
fn prepare_job(job: &mut Value) {
    let labels = ["controller-uid", "batch.kubernetes.io/controller-uid"];
    for pointer in ["/spec/selector/matchLabels", "/spec/template/metadata/labels", "/metadata/labels"] {
        if let Some(found) = job.pointer_mut(pointer) {
            remove(found, &labels);
        }
    }
}

fn remove(value: &mut Value, fields: &[&str]) {
    if let Value::Object(entries) = value {
        for field in fields {
            entries.remove(*field);
        }
    }
}

/// Drops nulls, empty lists and empty maps: to Kubernetes they are the same as nothing.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.iter().map(|(key, value)| (key.clone(), without_empty(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_empty).collect(),
        _ => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(entries) => entries.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

//! A node's kubelet: pods run and are ready as soon as what they need is there.

use serde_json::{Value, json};

use super::object;
use super::store::{Key, Store};

/// What keeps a pod from being ready.
enum Lack {
    /// A volume: the scheduler says so.
    Volume(String),
    /// A Secret of a container's environment: the kubelet says so.
    Secret(String),
}

impl Store {
    /// Finds the node on which pods run.
    pub(super) fn node(&self) -> Option<String> {
        self.list("nodes", None).first().map(|node| object::name(node).to_owned())
    }

    /// Runs a pod, or says what it waits for.
    pub(super) fn run_pod(&mut self, key: &Key) {
        let (Some(node), Some(pod)) = (self.node(), self.get(key)) else { return };
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if ended || is_ready(&pod) || object::is_deleting(&pod) {
            return;
        }
        let lack = self.lack(&pod);
        let mut seen = (*pod).clone();
        if !matches!(lack, Some(Lack::Volume(_))) {
            seen["spec"]["nodeName"] = json!(node);
        }
        // The same word at another time is no news.
        let since = pod["status"]["conditions"][0]["lastTransitionTime"].as_str().unwrap_or_default();
        if pod["status"] != status(&pod, lack.as_ref(), since) {
            seen["status"] = status(&pod, lack.as_ref(), &object::timestamp(self.now));
            self.put(key, seen);
        }
    }

    /// Looks again at the pods of a namespace that wait for something.
    pub(super) fn run_waiting_pods(&mut self, namespace: &str) {
        for pod in self.list("pods", Some(namespace)) {
            if !is_ready(&pod) {
                self.run_pod(&Key::new("pods", namespace, object::name(&pod)));
            }
        }
    }

    fn lack(&self, pod: &Value) -> Option<Lack> {
        let namespace = object::namespace(pod);
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
            match self.get(&Key::new("persistentvolumeclaims", namespace, claim)) {
                Some(claim) if claim["status"]["phase"] == "Bound" => {}
                Some(_) => {
                    let words = "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.";
                    return Some(Lack::Volume(words.to_owned()));
                }
                None => return Some(Lack::Volume(format!("persistentvolumeclaim {claim:?} not found"))),
            }
        }
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let sources = containers.flat_map(|container| container["envFrom"].as_array().into_iter().flatten());
        let mut secrets = sources.filter_map(|source| source["secretRef"]["name"].as_str());
        let missing = secrets.find(|secret| self.get(&Key::new("secrets", namespace, secret)).is_none())?;
        Some(Lack::Secret(missing.to_owned()))
    }
}

/// Tells whether a pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn status(pod: &Value, lack: Option<&Lack>, now: &str) -> Value {
    let condition = |kind: &str, truth: bool| {
        let status = if truth { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now})
    };
    if let Some(Lack::Volume(words)) = lack {
        let mut scheduled = condition("PodScheduled", false);
        scheduled["reason"] = json!("Unschedulable");
        scheduled["message"] = json!(words);
        return json!({"phase": "Pending", "conditions": [scheduled], "qosClass": "BestEffort"});
    }
    let runs = lack.is_none();
    let state = match lack {
        Some(Lack::Secret(secret)) => json!({"waiting": {
            "reason": "CreateContainerConfigError", "message": format!("secret {secret:?} not found"),
        }}),
        _ => json!({"running": {"startedAt": now}}),
    };
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let statuses = containers.map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "", "ready": runs, "started": runs,
            "restartCount": 0, "lastState": {}, "state": state,
        })
    });
    json!({
        "phase": if runs { "Running" } else { "Pending" }, "qosClass": "BestEffort", "startTime": now,
        "conditions": [
            condition("Initialized", true), condition("Ready", runs), condition("ContainersReady", runs),
            condition("PodScheduled", true),
        ],
        "containerStatuses": statuses.collect::<Vec<_>>(),
    })
}

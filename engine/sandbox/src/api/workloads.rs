//! The controllers of workloads: StatefulSets, Deployments and ReplicaSets get their pods, and say how many are ready.
//!
//! Without a Node there is nobody to run pods, and none are made.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::builtin;
use super::object;
use super::store::{Key, Store};

const PODS: &str = "pods";
const CLAIMS: &str = "persistentvolumeclaims";
const REPLICA_SETS: &str = "replicasets.apps";
pub(super) const STATEFUL_SETS: &str = "statefulsets.apps";
pub(super) const DEPLOYMENTS: &str = "deployments.apps";

impl Store {
    /// Gives a workload the pods that it asks for.
    pub(super) fn run_workload(&mut self, key: &Key) {
        let Some(workload) = self.get(key).filter(|workload| !object::is_deleting(workload)) else { return };
        if self.node().is_none() || self.is_going(&key.namespace) {
            return;
        }
        match key.resource.as_str() {
            STATEFUL_SETS => self.run_stateful_set(key, &workload),
            DEPLOYMENTS => self.run_deployment(key, &workload),
            REPLICA_SETS => self.run_replica_set(key, &workload),
            _ => return,
        }
        self.report(key);
    }

    /// Lets the controller of a pod or ReplicaSet look again.
    pub(super) fn tell_controller(&mut self, dependent: &Value) {
        if let Some(owner) = controller(dependent).and_then(|uid| self.holder(uid)) {
            self.run_workload(&owner);
        }
    }

    fn is_going(&self, namespace: &str) -> bool {
        let namespace = self.get(&Key::new("namespaces", "", namespace));
        namespace.is_none_or(|namespace| object::is_deleting(&namespace))
    }

    fn run_stateful_set(&mut self, key: &Key, set: &Value) {
        let wanted = replicas(set);
        for number in 0..wanted {
            let pod = format!("{}-{number}", key.name);
            let mut template = set["spec"]["template"].clone();
            let volumes = self.claim_volumes(key, set, &pod);
            let spec = &mut template["spec"];
            let mut all = spec["volumes"].as_array().cloned().unwrap_or_default();
            all.splice(0..0, volumes);
            spec["volumes"] = json!(all);
            template["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(pod);
            self.ensure_owned(&Key::new(PODS, &key.namespace, &pod), template, set);
        }
        for pod in self.owned(PODS, key, set) {
            let number = pod.strip_prefix(&format!("{}-", key.name)).and_then(|number| number.parse().ok());
            if number.is_none_or(|number: usize| number >= wanted) {
                self.begin_delete(&Key::new(PODS, &key.namespace, &pod));
            }
        }
    }

    /// Makes the claims that a pod of a StatefulSet has for its own.
    fn claim_volumes(&mut self, key: &Key, set: &Value, pod: &str) -> Vec<Value> {
        let templates = set["spec"]["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        let make = |template: Value| {
            let volume = object::name(&template).to_owned();
            let claim = format!("{volume}-{pod}");
            let place = Key::new(CLAIMS, &key.namespace, &claim);
            if self.get(&place).is_none() {
                self.make(&place, template, "v1", "PersistentVolumeClaim");
            }
            json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
        };
        templates.into_iter().map(make).collect()
    }

    fn run_deployment(&mut self, key: &Key, deployment: &Value) {
        let spec = &deployment["spec"];
        let mut template = spec["template"].clone();
        let digest = format!("{:x}", Sha256::digest(template.to_string()));
        let hash = &digest[..10];
        template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
        let mut selector = spec["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = json!(hash);
        let current = Key::new(REPLICA_SETS, &key.namespace, &format!("{}-{hash}", key.name));
        let set = json!({
            "metadata": {"labels": template["metadata"]["labels"]},
            "spec": {"replicas": spec["replicas"], "selector": selector, "template": template},
        });
        self.ensure_owned(&current, set, deployment);
        for name in self.owned(REPLICA_SETS, key, deployment) {
            let place = Key::new(REPLICA_SETS, &key.namespace, &name);
            let wanted = if place == current { spec["replicas"].clone() } else { json!(0) };
            if let Some(set) = self.get(&place).filter(|set| set["spec"]["replicas"] != wanted) {
                let mut scaled = (*set).clone();
                scaled["spec"]["replicas"] = wanted;
                self.put(&place, scaled);
            }
        }
    }

    fn run_replica_set(&mut self, key: &Key, set: &Value) {
        self.adopt_pods(key, set);
        let pods = self.owned(PODS, key, set);
        let wanted = replicas(set);
        for surplus in pods.iter().skip(wanted) {
            self.begin_delete(&Key::new(PODS, &key.namespace, surplus));
        }
        for _ in pods.len()..wanted {
            let suffix = Uuid::new_v4().simple().to_string();
            let pod = Key::new(PODS, &key.namespace, &format!("{}-{}", key.name, &suffix[..5]));
            self.ensure_owned(&pod, set["spec"]["template"].clone(), set);
        }
    }

    /// Takes the pods that nobody controls and that the selector means.
    fn adopt_pods(&mut self, key: &Key, set: &Value) {
        for pod in self.list(PODS, Some(&key.namespace)) {
            if controller(&pod).is_none() && is_meant(set, &pod) {
                self.adopt(&Key::new(PODS, &key.namespace, object::name(&pod)), set);
            }
        }
    }

    /// Makes an object that a controller owns, or adopts the one that is there.
    fn ensure_owned(&mut self, key: &Key, mut new: Value, owner: &Value) {
        let Some(there) = self.get(key) else {
            new["metadata"]["ownerReferences"] = json!([reference(owner)]);
            let (version, kind) =
                if key.resource == PODS { ("v1", "Pod") } else { ("apps/v1", "ReplicaSet") };
            self.make(key, new, version, kind);
            return;
        };
        if controller(&there).is_none() {
            self.adopt(key, owner);
        }
    }

    fn adopt(&mut self, key: &Key, owner: &Value) {
        if let Some(orphan) = self.get(key) {
            let mut adopted = (*orphan).clone();
            adopted["metadata"]["ownerReferences"] = json!([reference(owner)]);
            self.put(key, adopted);
        }
    }

    fn owned(&self, resource: &str, key: &Key, owner: &Value) -> Vec<String> {
        let here = self.list(resource, Some(&key.namespace)).into_iter();
        here.filter(|dependent| {
            controller(dependent) == Some(object::uid(owner)) && !object::is_deleting(dependent)
        })
        .map(|dependent| object::name(&dependent).to_owned())
        .collect()
    }

    fn make(&mut self, key: &Key, mut new: Value, version: &str, kind: &str) {
        new["apiVersion"] = json!(version);
        new["kind"] = json!(kind);
        let metadata = &mut new["metadata"];
        metadata["name"] = json!(key.name);
        metadata["namespace"] = json!(key.namespace);
        metadata["uid"] = json!(Uuid::new_v4().to_string());
        metadata["creationTimestamp"] = json!(object::timestamp(self.now));
        if key.resource == REPLICA_SETS {
            metadata["generation"] = json!(1);
        }
        builtin::complete(&key.resource, &mut new, None);
        self.put(key, new);
    }

    /// Writes into a workload's status how many pods it has, and how many are ready.
    fn report(&mut self, key: &Key) {
        let Some(workload) = self.get(key) else { return };
        let (mut total, mut ready) = (0, 0);
        if key.resource == DEPLOYMENTS {
            for set in self.owned(REPLICA_SETS, key, &workload) {
                let set = self.get(&Key::new(REPLICA_SETS, &key.namespace, &set));
                let count = |field: &str| {
                    set.as_ref().and_then(|set| set["status"][field].as_u64()).unwrap_or_default()
                };
                total += count("replicas");
                ready += count("readyReplicas");
            }
        } else {
            let pods = self.owned(PODS, key, &workload);
            total += pods.len() as u64;
            let is_ready = |pod: &String| {
                self.get(&Key::new(PODS, &key.namespace, pod))
                    .is_some_and(|pod| super::kubelet::is_ready(&pod))
            };
            ready += pods.iter().filter(|pod| is_ready(pod)).count() as u64;
        }
        let mut status = json!({"replicas": total, "observedGeneration": workload["metadata"]["generation"]});
        if ready > 0 {
            status["readyReplicas"] = json!(ready);
            status["availableReplicas"] = json!(ready);
        }
        if workload["status"] == status {
            return;
        }
        let mut told = (*workload).clone();
        told["status"] = status;
        self.put(key, told);
        self.tell_controller(&workload);
    }
}

fn replicas(workload: &Value) -> usize {
    workload["spec"]["replicas"].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(1)
}

fn controller(dependent: &Value) -> Option<&str> {
    let owners = dependent["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

fn reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

fn is_meant(workload: &Value, pod: &Value) -> bool {
    let labels = workload["spec"]["selector"]["matchLabels"].as_object();
    labels
        .is_some_and(|labels| labels.iter().all(|(label, value)| pod["metadata"]["labels"][label] == *value))
}

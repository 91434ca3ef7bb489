//! The built-in controllers: garbage collection, namespaces, definitions and volume binding; pods have their own.
//!
//! They act within the write that gives them cause, so that nobody has to wait for them. What they
//! do are writes of their own, which watchers see one after another.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::definition;
use super::object;
use super::store::{Change, Key, Store};
use super::workloads::{DEPLOYMENTS, STATEFUL_SETS};

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";

impl Store {
    /// Lets the controllers react until nothing is left to do.
    pub(super) fn settle(&mut self) {
        while let Some(change) = self.unsettled.pop_front() {
            if change.deleted {
                self.react_to_removal(&change);
            } else {
                self.react_to_write(&change);
            }
        }
    }

    fn react_to_write(&mut self, change: &Change) {
        // A later write of the same object brings its own change.
        if self.get(&change.key).is_none_or(|now| !std::sync::Arc::ptr_eq(&now, &change.object)) {
            return;
        }
        self.check_owners(change);
        match change.key.resource.as_str() {
            "namespaces" if object::is_deleting(&change.object) => {
                self.empty_namespace(&change.key);
            }
            DEFINITIONS => self.follow_definition(change),
            CLAIMS => {
                self.bind(&change.key);
                self.run_waiting_pods(&change.key.namespace);
            }
            "secrets" => self.run_waiting_pods(&change.key.namespace),
            "pods" => {
                self.run_pod(&change.key);
                self.tell_controller(&change.object);
            }
            STATEFUL_SETS | DEPLOYMENTS | "replicasets.apps" => {
                self.run_workload(&change.key);
                self.tell_controller(&change.object);
            }
            VOLUMES => self.bind_waiting_claim(&change.object),
            _ => {}
        }
    }

    fn react_to_removal(&mut self, change: &Change) {
        for dependent in self.dependents(object::uid(&change.object)) {
            self.check_owners_of(&dependent);
        }
        match change.key.resource.as_str() {
            CLAIMS => self.release_volume(&change.object),
            "pods" | "replicasets.apps" => self.tell_controller(&change.object),
            _ => {}
        }
        let namespace = Key::new("namespaces", "", &change.key.namespace);
        if self.get(&namespace).is_some_and(|namespace| object::is_deleting(&namespace)) {
            self.finish_namespace(&namespace);
        }
        let definition = Key::new(DEFINITIONS, "", &change.key.resource);
        if self.get(&definition).is_some_and(|definition| object::is_deleting(&definition)) {
            self.finish_definition(&definition);
        }
    }

    fn check_owners(&mut self, change: &Change) {
        if object::owners(&change.object).next().is_some() && !object::is_deleting(&change.object) {
            self.check_owners_of(&change.key);
        }
    }

    /// Deletes an object whose owners are all gone; drops the references to those that are.
    fn check_owners_of(&mut self, key: &Key) {
        let Some(found) = self.get(key) else { return };
        let lives = |store: &Self, owner: &str| {
            let holder = store.holder(owner);
            // An owner must be in the same namespace, or in none.
            holder.is_some_and(|holder| holder.namespace.is_empty() || holder.namespace == key.namespace)
        };
        let (living, gone): (Vec<&str>, Vec<&str>) =
            object::owners(&found).partition(|owner| lives(self, owner));
        if living.is_empty() {
            self.begin_delete(key);
        } else {
            for owner in gone {
                self.drop_owner(key, owner);
            }
        }
    }

    fn empty_namespace(&mut self, key: &Key) {
        for (resource, object) in self.contents(&key.name) {
            self.begin_delete(&Key::new(&resource, &key.name, object::name(&object)));
        }
        self.finish_namespace(key);
    }

    fn finish_namespace(&mut self, key: &Key) {
        let held = self.get(key).is_some_and(|namespace| object::has_finalizers(&namespace));
        if !held && self.contents(&key.name).is_empty() {
            self.remove(key);
        }
    }

    fn follow_definition(&mut self, change: &Change) {
        if object::is_deleting(&change.object) {
            for object in self.list(&change.key.name, None) {
                let key = Key::new(&change.key.name, object::namespace(&object), object::name(&object));
                self.begin_delete(&key);
            }
            self.finish_definition(&change.key);
        } else if let Ok(kind) = definition::read(&change.object) {
            self.serve(kind);
        }
    }

    fn finish_definition(&mut self, key: &Key) {
        let held = self.get(key).is_some_and(|definition| object::has_finalizers(&definition));
        if !held && self.list(&key.name, None).is_empty() {
            self.stop_serving(&key.name);
            self.remove(key);
        }
    }

    /// Binds a claim to the volume that it names, else to a free one of its class, else to one made for it.
    fn bind(&mut self, key: &Key) {
        let Some(claim) = self.get(key).filter(|claim| claim["status"]["phase"] != "Bound") else { return };
        let named = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty());
        let found = match named {
            Some(name) => self.get(&Key::new(VOLUMES, "", name)),
            None => self.list(VOLUMES, None).into_iter().find(|volume| is_offered(volume, &claim)),
        };
        let volume = found.or_else(|| if named.is_none() { self.provision(&claim) } else { None });
        let Some(volume) = volume.filter(|volume| is_free_for(volume, &claim)) else { return };
        let mut bound = (*volume).clone();
        bound["spec"]["claimRef"] = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": key.namespace, "name": key.name,
            "uid": object::uid(&claim), "resourceVersion": claim["metadata"]["resourceVersion"],
        });
        bound["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] = json!("yes");
        bound["status"] = json!({"phase": "Bound"});
        self.put(&Key::new(VOLUMES, "", object::name(&volume)), bound);
        let mut claim = (*claim).clone();
        claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
        claim["spec"]["volumeName"] = volume["metadata"]["name"].clone();
        claim["status"] = json!({
            "phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": volume["spec"]["capacity"],
        });
        self.put(key, claim);
    }

    /// Makes a volume for a claim whose class has somebody who does that.
    fn provision(&mut self, claim: &Value) -> Option<Arc<Value>> {
        let class = self.get(&Key::new(CLASSES, "", claim["spec"]["storageClassName"].as_str()?))?;
        if class["provisioner"] == "kubernetes.io/no-provisioner" {
            return None;
        }
        let name = format!("pvc-{}", object::uid(claim));
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": name, "uid": Uuid::new_v4().to_string(), "creationTimestamp": object::timestamp(self.now),
            },
            "spec": {
                "accessModes": claim["spec"]["accessModes"], "capacity": claim["spec"]["resources"]["requests"],
                "local": {"path": format!("/volumes/{name}")}, "storageClassName": class["metadata"]["name"],
                "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
            },
            "status": {"phase": "Available"},
        });
        Some(self.put(&Key::new(VOLUMES, "", &name), volume))
    }

    /// Looks for a claim that waits for a volume.
    fn bind_waiting_claim(&mut self, volume: &Value) {
        if volume["status"]["phase"] == "Bound" {
            return;
        }
        let is_meant = |claim: &Value| {
            claim["spec"]["volumeName"] == volume["metadata"]["name"]
                || (claim["spec"]["volumeName"].is_null() && is_offered(volume, claim))
        };
        let waiting = self.list(CLAIMS, None).into_iter().find(|claim| {
            claim["status"]["phase"] != "Bound" && is_meant(claim) && is_free_for(volume, claim)
        });
        if let Some(claim) = waiting {
            self.bind(&Key::new(CLAIMS, object::namespace(&claim), object::name(&claim)));
        }
    }

    /// Releases or deletes the volume of a claim that is gone.
    fn release_volume(&mut self, claim: &Value) {
        let Some(name) = claim["spec"]["volumeName"].as_str() else {
            return;
        };
        let key = Key::new(VOLUMES, "", name);
        let Some(volume) = self.get(&key) else { return };
        if volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"] {
            return;
        }
        if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
            self.begin_delete(&key);
        } else {
            let mut released = (*volume).clone();
            released["status"] = json!({"phase": "Released"});
            self.put(&key, released);
        }
    }
}

/// Tells whether a volume is there for any claim of its class.
fn is_offered(volume: &Value, claim: &Value) -> bool {
    let class = |object: &Value| object["spec"]["storageClassName"].as_str().unwrap_or_default().to_owned();
    volume["status"]["phase"] == "Available" && class(volume) == class(claim) && is_free_for(volume, claim)
}

/// Tells whether a volume has no claim, or awaits just this one.
fn is_free_for(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    reference.is_null()
        || (reference["name"] == claim["metadata"]["name"]
            && reference["namespace"] == claim["metadata"]["namespace"]
            && (reference["uid"].is_null() || reference["uid"] == claim["metadata"]["uid"]))
}

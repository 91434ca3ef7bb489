//! The objects of the cluster, so that before can be held against after.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use ochre_core::action::{Action, ActionStatus};
use ochre_core::phase::Phase;
use serde_json::{Value, json};

use crate::World;

/// The kinds that applications of the suites are made of.
const KINDS: [(&str, &str); 8] = [
    ("v1", "Namespace"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
];
/// The same, and what their controllers make, in an order in which nothing is made again.
const LOST: [(&str, &str, Option<&str>); 9] = [
    ("apps/v1", "StatefulSet", Some("chat")),
    ("apps/v1", "Deployment", Some("chat")),
    ("apps/v1", "ReplicaSet", Some("chat")),
    ("v1", "Pod", Some("chat")),
    ("v1", "Service", Some("chat")),
    ("v1", "ConfigMap", Some("chat")),
    ("v1", "Secret", Some("chat")),
    ("v1", "PersistentVolumeClaim", Some("chat")),
    ("v1", "PersistentVolume", None),
];
/// What the cluster assigns, and what Velero strips or adds.
const ASSIGNED: [&str; 6] =
    ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"];
const ADDED_LABELS: [&str; 2] = ["velero.io/backup-name", "velero.io/restore-name"];
const BINDING: [&str; 2] = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];

impl World {
    /// Lists the objects of the namespaces (and of none) that a selector fits, as `Kind namespace/name`.
    ///
    /// What the engine itself keeps in the namespaces of Actions is not among them.
    pub async fn objects(&self, selector: &str) -> BTreeMap<String, Value> {
        let parameters = ListParams::default().labels(selector);
        let mut found = BTreeMap::new();
        for (api_version, kind) in KINDS {
            for object in self.api(api_version, kind, None).list(&parameters).await.unwrap() {
                let object = serde_json::to_value(&object).unwrap();
                let metadata = &object["metadata"];
                let name = metadata["name"].as_str().unwrap();
                let place = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/"));
                if !place.as_deref().is_some_and(|place| ["default/", "kube-system/"].contains(&place)) {
                    found.insert(format!("{kind} {}{name}", place.unwrap_or_default()), object);
                }
            }
        }
        found
    }

    /// Deletes every object of the small application, and waits until it is gone.
    pub async fn lose_application(&self) {
        self.lose("helm.sh/chart=mongodb-10.3.1").await;
    }

    /// Deletes what a selector fits in the namespace `chat`, and the pods of it, and waits until it is gone.
    pub async fn lose(&self, selector: &str) {
        let fitting = ListParams::default().labels(selector);
        let now = DeleteParams::default().grace_period(0);
        let mut going = Vec::new();
        for (api_version, kind, namespace) in LOST {
            let api = self.api(api_version, kind, namespace);
            let found = api.list_metadata(&fitting).await.unwrap().items;
            going.extend(found.into_iter().map(|object| (api.clone(), object)));
            api.delete_collection(&now, &fitting).await.unwrap();
        }
        for (api, object) in going {
            let (name, uid) = (object.metadata.name.unwrap(), object.metadata.uid.unwrap());
            self.gone(api, &name, &uid).await;
        }
    }

    /// Reads an object of the namespace `chat`.
    pub async fn in_chat(&self, api_version: &str, kind: &str, name: &str) -> Option<DynamicObject> {
        self.api(api_version, kind, Some("chat")).get_opt(name).await.unwrap()
    }

    /// Changes the data of a ConfigMap in the namespace `chat`.
    pub async fn change_config(&self, name: &str, data: Value) {
        let maps = self.api("v1", "ConfigMap", Some("chat"));
        let patch = Patch::Merge(json!({"data": data}));
        maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Changes the spec of an Action as kubectl would.
    pub async fn patch_action(&self, name: &str, patch: Value) -> Action {
        self.actions("default").patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Reads the status of an Action.
    pub async fn status(&self, name: &str) -> ActionStatus {
        self.actions("default").get(name).await.unwrap().status.unwrap_or_default()
    }

    /// Waits until there is no Action of a name.
    pub async fn until_absent(&self, name: &str) {
        let is_absent = |action: Option<&Action>| action.is_none();
        self.within(Box::pin(await_condition(self.actions("default"), name, is_absent))).await.unwrap();
    }

    /// Waits until an Action is gone.
    pub async fn action_gone(&self, action: &Action) {
        let name = action.metadata.name.as_deref().unwrap();
        let actions = self.api("core.ochre.dev/v1alpha1", "Action", Some("default"));
        self.gone(actions, name, action.metadata.uid.as_deref().unwrap()).await;
    }
}

/// Strips from an object what a restored one need not share with it.
pub fn normalized(object: &Value) -> Value {
    let mut object = object.clone();
    remove(&mut object, &["status"]);
    remove(&mut object["metadata"], &ASSIGNED);
    remove(&mut object["metadata"]["labels"], &ADDED_LABELS);
    remove(&mut object["metadata"]["annotations"], &BINDING);
    remove(&mut object["spec"], &["clusterIP", "clusterIPs", "volumeName"]);
    remove(&mut object["spec"]["claimRef"], &["uid", "resourceVersion"]);
    without_empty(object)
}

/// Lists the words of an Action's history.
pub fn words(status: &ActionStatus) -> Vec<&str> {
    status.history.iter().map(|entry| entry.what.as_str()).collect()
}

fn remove(value: &mut Value, fields: &[&str]) {
    if let Value::Object(entries) = value {
        for field in fields {
            entries.remove(*field);
        }
    }
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, without_empty(value)))
            .filter(|(_, value)| !value.is_null() && *value != json!({}))
            .collect(),
        other => other,
    }
}

/// Leaves out of a message how many objects there are: a real cluster's controllers make more than the sandbox's.
pub fn uncounted(message: &str) -> String {
    let counted = regex_lite::Regex::new("[0-9]+ (items|created|skipped)").unwrap();
    counted.replace_all(message, "N $1").into_owned()
}

/// Fails unless a run failed in its first step for a reason; yields what it says.
pub fn refused(status: &ActionStatus, reason: &str) -> String {
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    assert_eq!(status.steps[0].reason.as_deref(), Some(reason), "{status:#?}");
    status.message.clone().unwrap()
}

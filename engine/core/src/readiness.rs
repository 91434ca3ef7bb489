//! Whether what was ready when it was saved is ready again, and what it hangs at if not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::velero::{LABEL_RESTORE_NAME, Role, SavedObject, Selection, is_ready, ready_pods};

/// What a Restore brought: kind, the namespace it was restored into, and name.
pub type Brought<'read> = BTreeSet<(&'read str, &'read str, &'read str)>;

/// A pod that was ready when it was saved, and that a Restore brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The namespace that it was restored into.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// What makes such pods, if anything does.
    pub maker: Option<Maker>,
}

/// What makes pods, and how many of them were ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many of its pods were ready.
    pub ready: u64,
    /// Whether the Restore brought it too.
    pub brought: bool,
}

/// What a pod hangs at, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hang {
    /// The pod or workload, such as `Pod shop/db-0`.
    pub object: String,
    /// What it waits for, and what to do.
    pub reason: String,
}

impl Maker {
    /// Names the `apiVersion` of its kind.
    pub fn api_version(&self) -> &'static str {
        match self.kind.as_str() {
            "Job" | "CronJob" => "batch/v1",
            "ReplicationController" => "v1",
            _ => "apps/v1",
        }
    }
}

/// Lists the pods that were ready, among those that a Restore brought.
pub fn expected(contents: &[SavedObject], selection: &Selection, brought: &Brought<'_>) -> Vec<Expected> {
    let workloads: BTreeMap<(&str, &str, &str), &SavedObject> = contents
        .iter()
        .filter(|saved| matches!(saved.role, Role::Workload(_)))
        .map(|saved| ((namespace(saved), saved.kind.as_str(), saved.name.as_str()), saved))
        .collect();
    let find = |of: &SavedObject| {
        let (kind, name) = of.controller.as_ref()?;
        workloads.get(&(namespace(of), kind, name)).copied()
    };
    let pods = contents.iter().filter(|saved| matches!(&saved.role, Role::Pod(pod) if pod.ready));
    let expected = pods.filter_map(|saved| {
        let namespace = selection.destination(saved.namespace.as_deref())?;
        let came = |kind: &str, name: &str| brought.contains(&(kind, namespace.as_str(), name));
        // What a Deployment has made counts by the Deployment.
        let maker = find(saved).map(|direct| find(direct).unwrap_or(direct));
        let maker = maker.and_then(|maker| match &maker.role {
            Role::Workload(workload) => Some(Maker {
                kind: maker.kind.clone(),
                name: maker.name.clone(),
                ready: workload.ready,
                brought: came(&maker.kind, &maker.name),
            }),
            _ => None,
        });
        came("Pod", &saved.name).then(|| Expected { namespace, pod: saved.name.clone(), maker })
    });
    expected.collect()
}

fn namespace(saved: &SavedObject) -> &str {
    saved.namespace.as_deref().unwrap_or_default()
}

/// What lives now, in the namespace of an expected pod.
#[derive(Clone, Copy, Debug)]
pub struct Live<'read> {
    /// The pods.
    pub pods: &'read [Value],
    /// What is of the kind of the pod's maker.
    pub makers: &'read [Value],
}

/// Tells whether an object is the one that a Restore brought, and not an older one of that name.
fn is_from(live: &Value, restore: &str) -> bool {
    live["metadata"]["labels"][LABEL_RESTORE_NAME] == restore
}

/// Tells whether an expected pod is there as the Restore brought it.
pub fn is_there(expected: &Expected, pods: &[Value], restore: &str) -> bool {
    pods.iter().any(|live| live["metadata"]["name"] == expected.pod.as_str() && is_from(live, restore))
}

/// Says what an expected pod hangs at; `None` when it, or what replaced it, is ready.
pub fn hang(expected: &Expected, live: Live<'_>, restore: &str, velero_namespace: &str) -> Option<Hang> {
    let Expected { namespace, pod, maker } = expected;
    let Live { pods, makers } = live;
    let same = |live: &&Value| live["metadata"]["name"] == pod.as_str() && is_from(live, restore);
    if let Some(live) = pods.iter().find(same) {
        let done = is_ready(live) || live["status"]["phase"] == "Succeeded";
        return (!done).then(|| Hang {
            object: format!("Pod {namespace}/{pod}"),
            reason: what_it_waits_for(live, velero_namespace),
        });
    }
    let Some(maker) = maker else {
        let reason = "it is gone, and nothing makes it again".to_owned();
        return Some(Hang { object: format!("Pod {namespace}/{pod}"), reason });
    };
    let live = makers.iter().find(|live| {
        live["metadata"]["name"] == maker.name.as_str() && (!maker.brought || is_from(live, restore))
    });
    let ready = live.map(ready_pods).unwrap_or_default();
    if ready >= maker.ready {
        return None;
    }
    let waiting = pods.iter().find(|live| {
        let made = live["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.strip_prefix(&maker.name).is_some_and(|rest| rest.starts_with('-')));
        made && !is_ready(live)
    });
    let why = waiting.map(|live| {
        let name = live["metadata"]["name"].as_str().unwrap_or_default();
        format!("; its Pod {name}: {}", what_it_waits_for(live, velero_namespace))
    });
    Some(Hang {
        object: format!("{} {namespace}/{}", maker.kind, maker.name),
        reason: format!("{ready} of {} pods are ready{}", maker.ready, why.unwrap_or_default()),
    })
}

/// Says what a pod waits for, and the likely cure.
pub fn what_it_waits_for(pod: &Value, velero_namespace: &str) -> String {
    if let Some(words) = unscheduled(pod) {
        return words;
    }
    let statuses = |field: &str| pod["status"][field].as_array().map(Vec::as_slice).unwrap_or_default();
    for container in statuses("initContainerStatuses") {
        let ended = &container["state"]["terminated"];
        if ended["exitCode"] == 0 {
            continue;
        }
        let name = container["name"].as_str().unwrap_or_default();
        if name == "restore-wait" && container["state"]["running"].is_object() {
            return format!(
                "its init container restore-wait does not see the restored data; likely the root of a volume has a mode such as 0700, which restore-wait may not read as user 1000: create in the namespace {velero_namespace} a ConfigMap with the labels `velero.io/plugin-config: \"\"` and `velero.io/pod-volume-restore: RestoreItemAction` and the data `secCtxRunAsUser: \"0\"`, delete what was restored, and restore again"
            );
        }
        return waiting(container)
            .unwrap_or_else(|| format!("its init container {name} has not ended; see its log"));
    }
    for container in statuses("containerStatuses") {
        if let Some(words) = waiting(container) {
            return words;
        }
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
    format!("it is {phase} and not ready; see its events, its log and its readiness probe")
}

/// Says why no node takes a pod.
fn unscheduled(pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let scheduled = conditions.into_iter().find(|condition| condition["type"] == "PodScheduled")?;
    if scheduled["status"] != "False" {
        return None;
    }
    let words = scheduled["message"].as_str().unwrap_or("no node takes it");
    let volume = words.contains("persistent volume") || words.contains("PersistentVolume");
    let cure = if volume {
        "no free PersistentVolume fits its claim: create one of the claim's storage class and size"
    } else {
        "make room on a node, or change what the pod asks for"
    };
    Some(format!("it cannot be scheduled ({words}); {cure}"))
}

/// Says what a container waits for.
fn waiting(container: &Value) -> Option<String> {
    let state = &container["state"]["waiting"];
    let reason = state["reason"].as_str().filter(|reason| *reason != "PodInitializing")?;
    let name = container["name"].as_str().unwrap_or_default();
    let words = state["message"].as_str().map(|words| format!(": {words}")).unwrap_or_default();
    let cure = match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            "see whether the image still exists and the node may pull it"
        }
        "CrashLoopBackOff" => "see its log; what it needs may not be restored yet, or its data may not fit",
        "CreateContainerConfigError" => {
            "create what it names; it was not in the backup, or was left out of the restore"
        }
        "ContainerCreating" => "see the pod's events: a volume may not be mountable",
        _ => "see the pod's events",
    };
    Some(format!("its container {name} waits ({reason}{words}); {cure}"))
}

#[cfg(test)]
mod tests;

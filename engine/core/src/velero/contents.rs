//! The objects of a Backup's tarball, each read for no more than it is judged by.

use std::collections::BTreeSet;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use super::files::text_weight;
use crate::shallow::shallow_field;

/// Annotation: accepts that the data of a claim, or of a pod's volumes without a claim, is not saved.
pub const ANNOTATION_COVERAGE: &str = "core.ochre.dev/coverage";
/// What [`ANNOTATION_COVERAGE`] says to accept it.
const ACCEPT: &str = "accept";
/// Velero's annotations of pods: the volumes to copy although not all are, and those not to copy.
const OPT_IN: &str = "backup.velero.io/backup-volumes";
const OPT_OUT: &str = "backup.velero.io/backup-volumes-excludes";
/// Velero's annotations of any object: whether its status is restored, and what plugins add to it, whatever the Restore
/// says.
const RESTORE_STATUS: &str = "velero.io/restore-status";
const MUST_INCLUDE: &str = "restore.velero.io/must-include-additional-items";

/// One object of a tarball.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedObject {
    /// Its API group; empty for Kubernetes' own first one.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, when it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels when it was saved; a map would take ten times as much.
    pub labels: Box<[(String, String)]>,
    /// What controls it: kind and name.
    pub controller: Option<(String, String)>,
    /// Whether its owner accepts that its data is not saved.
    pub accepts_gap: bool,
    /// Whether it asks that its status be restored too.
    pub asks_for_status: bool,
    /// Whether it asks that what Velero's plugins add to it be restored, past all filters.
    pub must_include: bool,
    /// What it has to do with data.
    pub role: Role,
}

/// What an object has to do with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It runs, and mounts volumes.
    Pod(SavedPod),
    /// It stands for a volume; the name of that one, once it is bound.
    Claim(Option<String>),
    /// It is a volume.
    Volume {
        /// Whether it is a folder of the node.
        host_path: bool,
        /// The claim that it is bound to: namespace and name.
        claim: Option<(String, String)>,
    },
    /// It stands for a snapshot of a volume; the name of its content, once it has one.
    Snapshot(Option<String>),
    /// It is a snapshot; what stands for it: namespace and name.
    SnapshotContent(Option<(String, String)>),
    /// It leads to pods; whether it chooses them itself.
    Service {
        /// Whether it chooses them itself, by a selector.
        selects: bool,
    },
    /// It makes pods.
    Workload(Workload),
    /// Nothing.
    Other,
}

/// A pod, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPod {
    /// Its phase.
    pub phase: String,
    /// Whether it was ready.
    pub ready: bool,
    /// Its volumes.
    pub volumes: Vec<PodVolume>,
    /// The volumes that it asks to have copied.
    pub opted_in: BTreeSet<String>,
    /// The volumes that it asks not to have copied.
    pub opted_out: BTreeSet<String>,
}

/// What makes pods, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How many pods it was to have; `None` where that is not its to say.
    pub replicas: Option<u64>,
    /// How many pods it had.
    pub pods: u64,
    /// How many of them were ready.
    pub ready: u64,
    /// The volumes of its pods.
    pub volumes: Vec<PodVolume>,
    /// The names of its templates for claims, of which each pod gets its own.
    pub claims: Vec<String>,
    /// The number of its first pod.
    pub first: u64,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodVolume {
    /// Its name in the pod.
    pub name: String,
    /// Where its data lives.
    pub source: Source,
}

/// Where the data of a pod's volume lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the volume of this claim.
    Claim(String),
    /// In a claim that comes and goes with the pod.
    Ephemeral,
    /// In this folder of the node.
    HostPath(String),
    /// Elsewhere, by a kind of volume such as `nfs`.
    Elsewhere(String),
    /// Nowhere: it comes and goes with the pod, or is no data of its own.
    Scratch,
}

/// What is looked at of an object; the data of Secrets and ConfigMaps is not even kept while it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default, deserialize_with = "shallow_field")]
    api_version: Value,
    #[serde(deserialize_with = "shallow_field")]
    kind: Value,
    #[serde(deserialize_with = "shallow_field")]
    metadata: Value,
    #[serde(default, deserialize_with = "shallow_field")]
    spec: Value,
    #[serde(default, deserialize_with = "shallow_field")]
    status: Value,
}

impl SavedObject {
    /// Reads an object of a tarball from its JSON.
    pub fn from_json(json: impl Read) -> Result<Self, serde_json::Error> {
        let Form { api_version, kind, metadata, spec, status } = serde_json::from_reader(json)?;
        let object = [("apiVersion", api_version), ("kind", kind), ("metadata", metadata)];
        Ok(Self::read(&object.into_iter().chain([("spec", spec), ("status", status)]).collect()))
    }

    /// Finds a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Says how many bytes it takes in memory, about.
    pub fn weight(&self) -> usize {
        let texts = [&self.group, &self.kind, &self.name].into_iter().chain(&self.namespace);
        let controller = self.controller.iter().flat_map(|(kind, name)| [kind, name]);
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let role = match &self.role {
            Role::Pod(pod) => {
                let named = pod.opted_in.iter().chain(&pod.opted_out).chain([&pod.phase]);
                named.map(|name| text_weight(name)).sum::<usize>() + volumes_weight(&pod.volumes)
            }
            Role::Workload(workload) => {
                workload.claims.iter().map(|claim| text_weight(claim)).sum::<usize>()
                    + volumes_weight(&workload.volumes)
            }
            Role::Claim(Some(name)) | Role::Snapshot(Some(name)) => text_weight(name),
            Role::Volume { claim: Some((namespace, name)), .. }
            | Role::SnapshotContent(Some((namespace, name))) => text_weight(namespace) + text_weight(name),
            Role::Claim(None)
            | Role::Volume { claim: None, .. }
            | Role::Snapshot(None)
            | Role::SnapshotContent(None)
            | Role::Service { .. }
            | Role::Other => 0,
        };
        let texts = texts.chain(controller).chain(labels).map(|text| text_weight(text)).sum::<usize>();
        size_of::<Self>() + texts + role
    }

    /// Reads an object of a tarball.
    pub fn read(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        Self {
            group: group(object["apiVersion"].as_str().unwrap_or_default()).to_owned(),
            namespace: metadata["namespace"].as_str().map(str::to_owned),
            name: text(&metadata["name"]),
            labels: labels(metadata).unwrap_or_default(),
            controller: owners
                .into_iter()
                .find(|owner| owner["controller"] == true)
                .map(|owner| (text(&owner["kind"]), text(&owner["name"]))),
            accepts_gap: accepts_gap(metadata)
                || template(object, &kind).is_some_and(|template| accepts_gap(&template["metadata"])),
            // As Velero reads it.
            asks_for_status: metadata["annotations"][RESTORE_STATUS]
                .as_str()
                .is_some_and(|asks| asks.trim().eq_ignore_ascii_case("true")),
            must_include: !metadata["annotations"][MUST_INCLUDE].is_null(),
            role: role(object, &kind),
            kind,
        }
    }
}

/// Reads the labels; none where one is no text.
fn labels(metadata: &Value) -> Option<Box<[(String, String)]>> {
    let entries = metadata["labels"].as_object()?;
    entries.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

impl std::fmt::Display for SavedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Names the API group of a group and version.
pub fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Tells whether the owner of an object accepts that its data is not saved.
pub fn accepts_gap(metadata: &Value) -> bool {
    metadata["annotations"][ANNOTATION_COVERAGE] == ACCEPT
}

/// Tells whether objects of a kind hold data, mount it or make pods that do.
pub fn concerns_data(kind: &str) -> bool {
    kind == "Pod" || kind == "PersistentVolumeClaim" || makes_pods(kind)
}

fn makes_pods(kind: &str) -> bool {
    const KINDS: [&str; 7] =
        ["StatefulSet", "Deployment", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"];
    KINDS.contains(&kind)
}

fn role(object: &Value, kind: &str) -> Role {
    let spec = &object["spec"];
    match kind {
        "Pod" => Role::Pod(pod(object)),
        "PersistentVolumeClaim" => {
            Role::Claim(spec["volumeName"].as_str().filter(|name| !name.is_empty()).map(str::to_owned))
        }
        "PersistentVolume" => {
            Role::Volume { host_path: spec["hostPath"].is_object(), claim: reference(&spec["claimRef"]) }
        }
        "VolumeSnapshot" => {
            Role::Snapshot(object["status"]["boundVolumeSnapshotContentName"].as_str().map(str::to_owned))
        }
        "VolumeSnapshotContent" => Role::SnapshotContent(reference(&spec["volumeSnapshotRef"])),
        "Service" => Role::Service {
            selects: spec["selector"].as_object().is_some_and(|selector| !selector.is_empty()),
        },
        _ => {
            template(object, kind).map_or(Role::Other, |template| Role::Workload(workload(object, template)))
        }
    }
}

/// Reads which object is referred to: namespace and name.
fn reference(to: &Value) -> Option<(String, String)> {
    Some((to["namespace"].as_str()?.to_owned(), to["name"].as_str()?.to_owned()))
}

fn pod(object: &Value) -> SavedPod {
    let annotations = &object["metadata"]["annotations"];
    let names = |annotation: &str| {
        let list = annotations[annotation].as_str().unwrap_or_default().split(',');
        list.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    SavedPod {
        phase: object["status"]["phase"].as_str().unwrap_or_default().to_owned(),
        ready: is_ready(object),
        volumes: volumes(&object["spec"]),
        opted_in: names(OPT_IN),
        opted_out: names(OPT_OUT),
    }
}

/// Tells whether a pod says that it is ready.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Counts the ready pods of a live or saved workload: a DaemonSet has a word of its own for them.
pub fn ready_pods(workload: &Value) -> u64 {
    let status = &workload["status"];
    [&status["readyReplicas"], &status["numberReady"], &status["ready"]]
        .into_iter()
        .find_map(Value::as_u64)
        .unwrap_or_default()
}

fn workload(object: &Value, template: &Value) -> Workload {
    let (spec, status) = (&object["spec"], &object["status"]);
    let replicas = spec["replicas"].as_u64();
    let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
    Workload {
        replicas,
        pods: status["replicas"].as_u64().or(replicas).unwrap_or_default(),
        ready: ready_pods(object),
        volumes: volumes(&template["spec"]),
        claims: claims.filter_map(|claim| claim["metadata"]["name"].as_str().map(str::to_owned)).collect(),
        first: spec["ordinals"]["start"].as_u64().unwrap_or_default(),
    }
}

fn template<'object>(object: &'object Value, kind: &str) -> Option<&'object Value> {
    let pointer = if kind == "CronJob" { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
    makes_pods(kind).then(|| object.pointer(pointer)).flatten()
}

fn volumes(spec: &Value) -> Vec<PodVolume> {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let read = volumes.map(|volume| {
        let name = volume["name"].as_str().unwrap_or_default().to_owned();
        PodVolume { source: source(volume, spec), name }
    });
    read.collect()
}

fn source(volume: &Value, spec: &Value) -> Source {
    const SCRATCH: [&str; 8] =
        ["emptyDir", "configMap", "secret", "projected", "downwardAPI", "csi", "image", "gitRepo"];
    let entries = volume.as_object().into_iter().flatten();
    let Some((kind, of)) = entries.into_iter().find(|(field, _)| *field != "name") else {
        return Source::Scratch;
    };
    match kind.as_str() {
        "persistentVolumeClaim" => Source::Claim(of["claimName"].as_str().unwrap_or_default().to_owned()),
        "ephemeral" => Source::Ephemeral,
        // What a pod only reads of its node is not the pod's data, and a socket or device is none.
        "hostPath" if is_only_read(volume, spec) || is_no_folder(of) => Source::Scratch,
        "hostPath" => Source::HostPath(of["path"].as_str().unwrap_or_default().to_owned()),
        kind if SCRATCH.contains(&kind) => Source::Scratch,
        kind => Source::Elsewhere(kind.to_owned()),
    }
}

fn volumes_weight(volumes: &[PodVolume]) -> usize {
    let each = volumes.iter().map(|volume| {
        let source = match &volume.source {
            Source::Claim(text) | Source::HostPath(text) | Source::Elsewhere(text) => text_weight(text),
            Source::Ephemeral | Source::Scratch => 0,
        };
        size_of::<PodVolume>() + text_weight(&volume.name) + source
    });
    each.sum()
}

fn is_no_folder(host_path: &Value) -> bool {
    matches!(host_path["type"].as_str(), Some("Socket" | "CharDevice" | "BlockDevice"))
}

fn is_only_read(volume: &Value, spec: &Value) -> bool {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| spec[field].as_array().into_iter().flatten());
    let mounts = containers.flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    let mut of_it = mounts.filter(|mount| mount["name"] == volume["name"]).peekable();
    of_it.peek().is_some() && of_it.all(|mount| mount["readOnly"] == true)
}

#[cfg(test)]
mod tests;

//! Backups of volumes file by file: which volumes of which pods, and what Velero says of the others.
//!
//! A node with a kubelet has a node agent too; no bytes are copied, since no pod here writes any.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::archive::Item;
use super::cluster::{Cluster, Resource};
use super::collect::Collection;
use super::hooks::Hooks;
use super::item::label_value;
use super::results::Results;
use super::{Server, Trouble, name, namespace, phase};

const NO_SNAPSHOT: &str = "volumeSnapshot: no applicable volumesnapshotter found;";
const NOT_BY_SNAPSHOT: &str =
    "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;";
/// Kinds of volumes that are never copied; of a hostPath nobody says a word.
const NEVER_COPIED: [&str; 5] = ["hostPath", "secret", "configMap", "projected", "downwardAPI"];
/// What every volume of a claim holds.
const BYTES: u64 = 1 << 20;

/// What became of the data of volumes.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The PodVolumeBackups.
    pub(crate) made: Vec<Value>,
    /// What the volume info says of each volume.
    pub(crate) info: Vec<Value>,
}

/// Names the kind.
pub(crate) fn resource() -> Resource {
    Resource::velero("podvolumebackups", "PodVolumeBackup")
}

impl Server {
    /// Copies the volumes of the pods in a backup.
    pub(super) async fn copy_volumes(
        &self,
        backup: &Value,
        collection: &Collection,
        hooks: &Hooks,
        results: &mut Results,
    ) -> Result<Copies, Trouble> {
        let mut copying = Copying {
            cluster: &self.cluster,
            backup,
            collection,
            results,
            why: BTreeMap::new(),
            volumes: vec![],
        };
        for pod in collection.of("pods") {
            copying.look_at(pod, hooks.dropped.contains(&pod.key())).await?;
        }
        let (why, volumes) = (copying.why, copying.volumes);
        let mut copies = Copies::default();
        for (pod, volume, claim) in volumes {
            let made = self.pod_volume_backup(backup, pod, volume, claim.map(|claim| &claim.object));
            copies.made.push(self.cluster.create(&resource(), self.namespace(), &made).await?);
        }
        copies.info = info(collection, &why, &copies.made);
        Ok(copies)
    }

    /// Writes a PodVolumeBackup that is done.
    fn pod_volume_backup(&self, backup: &Value, pod: &Value, volume: &str, claim: Option<&Value>) -> Value {
        let now = self.timestamp();
        let mut labels = json!({
            "velero.io/backup-name": label_value(name(backup)), "velero.io/backup-uid": backup["metadata"]["uid"],
        });
        let mut metadata = json!({
            "generateName": format!("{}-", name(backup)),
            "ownerReferences": [{
                "apiVersion": "velero.io/v1", "kind": "Backup", "name": name(backup), "uid": backup["metadata"]["uid"],
                "controller": true,
            }],
        });
        let mut progress = json!({});
        if let Some(claim) = claim {
            labels["velero.io/pvc-uid"] = claim["metadata"]["uid"].clone();
            metadata["annotations"] = json!({"velero.io/pvc-name": name(claim)});
            progress = json!({"totalBytes": BYTES, "bytesDone": BYTES});
        }
        metadata["labels"] = labels;
        json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": metadata,
            "spec": {
                "node": pod["spec"]["nodeName"], "volume": volume, "uploaderType": "kopia", "repoIdentifier": "",
                "backupStorageLocation": backup["spec"]["storageLocation"],
                "pod": {
                    "kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": pod["metadata"]["uid"],
                },
            },
            "status": {
                "phase": "Completed", "snapshotID": Uuid::new_v4().simple().to_string(), "progress": progress,
                "startTimestamp": now, "completionTimestamp": now,
            },
        })
    }
}

/// A copying under way.
struct Copying<'a> {
    cluster: &'a Cluster,
    backup: &'a Value,
    collection: &'a Collection,
    results: &'a mut Results,
    /// Why the volume of a claim is not copied, by namespace and claim.
    why: BTreeMap<(String, String), String>,
    /// Pod, volume and claim of what is copied.
    volumes: Vec<(&'a Value, &'a str, Option<&'a Item>)>,
}

impl<'a> Copying<'a> {
    async fn look_at(&mut self, pod: &'a Item, dropped: bool) -> Result<(), Trouble> {
        let pod = &pod.object;
        let volumes: Vec<&'a Value> = pod["spec"]["volumes"].as_array().into_iter().flatten().collect();
        let (wanted, others): (Vec<&Value>, Vec<&Value>) =
            volumes.into_iter().partition(|volume| self.is_wanted(pod, volume));
        for volume in others {
            self.skip(
                pod,
                volume,
                format!("podvolume: opted out due to annotation in pod {};{NO_SNAPSHOT}", name(pod)),
            );
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let trouble = if dropped { None } else { self.trouble(pod).await? };
        for volume in wanted {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str();
            let claim =
                claim.and_then(|claim| self.collection.find("persistentvolumeclaims", namespace(pod), claim));
            if dropped {
                self.skip(pod, volume, NOT_BY_SNAPSHOT.to_owned());
            } else if let Some(trouble) = &trouble {
                self.skip(pod, volume, format!("podvolume: {trouble};{NO_SNAPSHOT}"));
            } else if claim.is_some_and(|claim| self.is_host_path(&claim.object)) {
                self.skip(pod, volume, NOT_BY_SNAPSHOT.to_owned());
                let (pod_name, space, volume) =
                    (name(pod), namespace(pod), volume["name"].as_str().unwrap_or_default());
                let words = format!(
                    "Volume {volume} in pod {space}/{pod_name} is a hostPath volume which is not supported for pod volume backup, skipping"
                );
                self.results
                    .warnings
                    .add(space, format!(" resource: /pods name: /{pod_name} message: /{words}"));
            } else {
                self.volumes.push((pod, volume["name"].as_str().unwrap_or_default(), claim));
            }
        }
        Ok(())
    }

    fn skip(&mut self, pod: &Value, volume: &Value, why: String) {
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            self.why.insert((namespace(pod).to_owned(), claim.to_owned()), why);
        }
    }

    fn is_wanted(&self, pod: &Value, volume: &Value) -> bool {
        let named = |annotation: &str| {
            let names = pod["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
            names.split(',').any(|name| volume["name"] == name.trim())
        };
        if NEVER_COPIED.iter().any(|kind| volume[*kind].is_object()) {
            return false;
        }
        if self.backup["spec"]["defaultVolumesToFsBackup"] == true {
            !named("backup.velero.io/backup-volumes-excludes")
        } else {
            named("backup.velero.io/backup-volumes")
        }
    }

    fn is_host_path(&self, claim: &Value) -> bool {
        let volume = claim["spec"]["volumeName"].as_str().unwrap_or_default();
        let volume = self.collection.find("persistentvolumes", "", volume);
        volume.is_some_and(|volume| volume.object["spec"]["hostPath"].is_object())
    }

    /// Says why no volume of a pod can be copied, and warns or fails where Velero does.
    async fn trouble(&mut self, pod: &Value) -> Result<Option<String>, Trouble> {
        let (pod_name, space) = (name(pod), namespace(pod));
        if phase(pod) != "Running" {
            let words = format!(
                "pod is not in the expected status, name={pod_name}, namespace={space}, phase={}",
                phase(pod)
            );
            self.results
                .warnings
                .add(space, format!(" name: /{pod_name} message: /Skip pod volume error: /{words}"));
            return Ok(Some(words));
        }
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let nodes = Resource::new("", "v1", "nodes", "Node", false);
        if !node.is_empty() && self.cluster.get(&nodes, "", node).await?.is_some() {
            return Ok(None);
        }
        let words = format!("daemonset pod not found in running state in node {node}");
        self.results
            .errors
            .add(space, format!(" name: /{pod_name} message: /Error backing up item error: /{words}"));
        Ok(Some(words))
    }
}

/// Writes the volume info: what was skipped, then what was copied.
fn info(collection: &Collection, why: &BTreeMap<(String, String), String>, made: &[Value]) -> Vec<Value> {
    let mut skipped = Vec::new();
    let mut copied: Vec<Value> = made.iter().map(copied_info).collect();
    for claim in collection.of("persistentvolumeclaims").map(|item| &item.object) {
        let Some(volume) = claim["spec"]["volumeName"].as_str() else { continue };
        let found = collection.find("persistentvolumes", "", volume);
        let found = found.map_or(&Value::Null, |item| &item.object);
        let mut about = json!({
            "pvcName": name(claim), "pvcNamespace": namespace(claim), "pvName": volume,
            "pvInfo": {
                "reclaimPolicy": found["spec"]["persistentVolumeReclaimPolicy"], "labels": found["metadata"]["labels"],
            },
        });
        let own = made.iter().position(|made| {
            made["metadata"]["annotations"]["velero.io/pvc-name"] == name(claim)
                && made["spec"]["pod"]["namespace"] == namespace(claim)
        });
        if let Some(index) = own {
            for (field, value) in about.as_object().into_iter().flatten() {
                copied[index][field] = value.clone();
            }
            continue;
        }
        let why = why.get(&(namespace(claim).to_owned(), name(claim).to_owned()));
        about["snapshotDataMoved"] = json!(false);
        about["preserveLocalSnapshot"] = json!(false);
        about["skipped"] = json!(true);
        about["skippedReason"] = json!(why.map_or(NO_SNAPSHOT, String::as_str));
        skipped.push(about);
    }
    skipped.extend(copied);
    skipped
}

fn copied_info(made: &Value) -> Value {
    let (spec, status) = (&made["spec"], &made["status"]);
    let mut info = json!({
        "backupMethod": "PodVolumeBackup", "snapshotDataMoved": false, "preserveLocalSnapshot": false, "skipped": false,
        "startTimestamp": status["startTimestamp"], "completionTimestamp": status["completionTimestamp"],
        "result": "succeeded",
        "pvbInfo": {
            "snapshotHandle": status["snapshotID"], "uploaderType": spec["uploaderType"], "volumeName": spec["volume"],
            "podName": spec["pod"]["name"], "podNamespace": spec["pod"]["namespace"], "nodeName": spec["node"],
            "Phase": status["phase"],
        },
    });
    if status["progress"]["totalBytes"].is_u64() {
        info["pvbInfo"]["size"] = status["progress"]["totalBytes"].clone();
    }
    info
}

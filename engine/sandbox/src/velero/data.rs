//! Brings the copied data of volumes back: each volume waits for its pod to have a node, and is then done.

use std::collections::BTreeSet;

use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::bucket::Bucket;
use super::cluster::Resource;
use super::item::label_value;
use super::{Server, Trouble, backup, name};

/// What a backup holds of the data of volumes.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// The PodVolumeBackups.
    copies: Vec<Value>,
    /// The PersistentVolumes whose data was copied.
    pub(crate) volumes: BTreeSet<String>,
}

impl Data {
    /// Reads what a backup's files say; one without such files, made by hand, holds none.
    pub(crate) fn read(bucket: &Bucket, of: &str) -> std::io::Result<Self> {
        let read = |file: &str| -> std::io::Result<Vec<Value>> {
            let key = backup::key(of, &format!("{of}-{file}.json.gz"));
            if bucket.exists(&key)? {
                // Go writes a list that nobody made as null.
                let list: Option<Vec<Value>> = serde_json::from_slice(&bucket.read_gzip(&key)?)?;
                Ok(list.unwrap_or_default())
            } else {
                Ok(vec![])
            }
        };
        let volumes = read("volumeinfo")?
            .iter()
            .filter(|info| info["pvbInfo"].is_object())
            .filter_map(|info| info["pvName"].as_str().map(str::to_owned))
            .collect();
        Ok(Self { copies: read("podvolumebackups")?, volumes })
    }
}

impl Server {
    /// Restores the data of the pods that a restore made.
    pub(super) async fn restore_data(
        &self,
        restore: &Value,
        data: &Data,
        list: &Value,
    ) -> Result<(), Trouble> {
        let resource = Resource::velero("podvolumerestores", "PodVolumeRestore");
        let mut under_way = Vec::new();
        for copy in &data.copies {
            let pod = &copy["spec"]["pod"];
            let source = pod["namespace"].as_str().unwrap_or_default();
            let target = restore["spec"]["namespaceMapping"][source].as_str().unwrap_or(source);
            let called = pod["name"].as_str().unwrap_or_default();
            let made = format!("{target}/{called}(created)");
            if list["v1/Pod"].as_array().is_some_and(|pods| pods.iter().any(|pod| *pod == json!(made))) {
                let wanted = self.pod_volume_restore(restore, copy, source, target);
                let created = self.cluster.create(&resource, self.namespace(), &wanted).await?;
                under_way.push((created, target.to_owned(), called.to_owned()));
            }
        }
        for (created, namespace, pod) in under_way {
            self.until_scheduled(&namespace, &pod).await;
            let status = json!({"phase": "Completed", "completionTimestamp": self.timestamp()});
            self.patch_status(&resource, name(&created), status).await?;
        }
        Ok(())
    }

    fn pod_volume_restore(&self, restore: &Value, copy: &Value, source: &str, target: &str) -> Value {
        let uid = &restore["metadata"]["uid"];
        json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore",
            "metadata": {
                "generateName": format!("{}-", name(restore)),
                "labels": {"velero.io/restore-name": label_value(name(restore)), "velero.io/restore-uid": uid},
                "ownerReferences": [{
                    "apiVersion": "velero.io/v1", "kind": "Restore", "name": name(restore), "uid": uid, "controller": true,
                }],
            },
            "spec": {
                "backupStorageLocation": copy["spec"]["backupStorageLocation"], "repoIdentifier": "",
                "pod": {"kind": "Pod", "name": copy["spec"]["pod"]["name"], "namespace": target},
                "snapshotID": copy["status"]["snapshotID"], "sourceNamespace": source, "uploaderType": "kopia",
                "volume": copy["spec"]["volume"],
            },
            "status": {"startTimestamp": self.timestamp()},
        })
    }

    /// Waits, however long it takes, until a pod has a node or is gone.
    async fn until_scheduled(&self, namespace: &str, pod: &str) {
        let pods = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
        let pods: Api<DynamicObject> = Api::namespaced_with(self.cluster.client(), namespace, &pods);
        let is_scheduled =
            |pod: Option<&DynamicObject>| pod.is_none_or(|pod| pod.data["spec"]["nodeName"].is_string());
        if let Err(error) = await_condition(pods, pod, is_scheduled).await {
            tracing::warn!(error = &error as &dyn std::error::Error, pod, "the pod cannot be watched");
        }
    }
}

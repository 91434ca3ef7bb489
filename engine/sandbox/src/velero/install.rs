//! What `velero install` leaves in a cluster: the kinds, the namespace and the default storage location.

use kube::Client;
use serde_json::{Value, json};

use super::cluster::{Cluster, Resource};

/// Velero's kinds, one a line: version, plural, kind, short name, printer columns.
#[rustfmt::skip]
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    ("v1", "backuprepositories", "BackupRepository", "", "Repository-Type=.spec.repositoryType"),
    ("v1", "backups", "Backup", "", ""),
    ("v1", "backupstoragelocations", "BackupStorageLocation", "bsl", "Phase=.status.phase Last-Validated=.status.lastValidationTime Default=.spec.default"),
    ("v1", "deletebackuprequests", "DeleteBackupRequest", "", "BackupName=.spec.backupName Status=.status.phase"),
    ("v1", "downloadrequests", "DownloadRequest", "", ""),
    ("v1", "podvolumebackups", "PodVolumeBackup", "", "Status=.status.phase Storage-Location=.spec.backupStorageLocation Node=.spec.node"),
    ("v1", "podvolumerestores", "PodVolumeRestore", "", "Status=.status.phase Storage-Location=.spec.backupStorageLocation"),
    ("v1", "restores", "Restore", "", ""),
    ("v1", "schedules", "Schedule", "", "Status=.status.phase Schedule=.spec.schedule LastBackup=.status.lastBackup Paused=.spec.paused"),
    ("v1", "serverstatusrequests", "ServerStatusRequest", "ssr", ""),
    ("v1", "volumesnapshotlocations", "VolumeSnapshotLocation", "vsl", ""),
    ("v2alpha1", "datadownloads", "DataDownload", "", "Status=.status.phase"),
    ("v2alpha1", "datauploads", "DataUpload", "", "Status=.status.phase"),
];

/// The fields of specs that are closed, as all are in the real definitions: others are pruned.
/// A type is `s` text, `b` truth, `l` list of texts, `o` map, `m` list of maps; `?` lets null in.
const SPECS: &[(&str, &str)] = &[
    (
        "Backup",
        "metadata:o includedNamespaces:l? excludedNamespaces:l? includedResources:l? excludedResources:l? \
         includeClusterResources:b? includedClusterScopedResources:l? excludedClusterScopedResources:l? \
         includedNamespaceScopedResources:l? excludedNamespaceScopedResources:l? labelSelector:o? orLabelSelectors:m? \
         snapshotVolumes:b? ttl:s hooks:o storageLocation:s volumeSnapshotLocations:l defaultVolumesToRestic:b? \
         defaultVolumesToFsBackup:b? orderedResources:o? csiSnapshotTimeout:s itemOperationTimeout:s resourcePolicy:o \
         snapshotMoveData:b? datamover:s uploaderConfig:o? volumeGroupSnapshotLabelKey:s",
    ),
    (
        "Restore",
        "backupName:s scheduleName:s includedNamespaces:l? excludedNamespaces:l? includedResources:l? \
         excludedResources:l? namespaceMapping:o labelSelector:o? orLabelSelectors:m? restorePVs:b? restoreStatus:o? \
         preserveNodePorts:b? includeClusterResources:b? hooks:o existingResourcePolicy:s? itemOperationTimeout:s \
         resourceModifier:o? uploaderConfig:o?",
    ),
];

/// Installs Velero's kinds, a namespace for it and the storage location `default`; what is there stays.
pub async fn install(client: Client, namespace: &str) -> kube::Result<()> {
    let cluster = Cluster::new(client);
    let definitions = Resource::new(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        false,
    );
    for (version, plural, kind, short_name, columns) in KINDS {
        let definition = definition(version, plural, kind, short_name, columns);
        ensure(&cluster, &definitions, "", &definition).await?;
    }
    let namespaces = Resource::new("", "v1", "namespaces", "Namespace", false);
    ensure(&cluster, &namespaces, "", &json!({"metadata": {"name": namespace}})).await?;
    let location = json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "labels": {"component": "velero"}},
        "spec": {"provider": "velero.io/aws", "default": true, "objectStorage": {"bucket": "velero"}},
    });
    let locations = Resource::velero("backupstoragelocations", "BackupStorageLocation");
    ensure(&cluster, &locations, namespace, &location).await
}

async fn ensure(cluster: &Cluster, resource: &Resource, namespace: &str, object: &Value) -> kube::Result<()> {
    match cluster.create(resource, namespace, object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Writes a definition. As in the real ones, status is no subresource.
fn definition(version: &str, plural: &str, kind: &str, short_name: &str, columns: &str) -> Value {
    let short_names: Vec<&str> = short_name.split_whitespace().collect();
    let columns = columns.split_whitespace().filter_map(|column| column.split_once('='));
    let mut columns: Vec<Value> = columns
        .map(|(name, path)| json!({"name": name.replace('-', " "), "type": "string", "jsonPath": path}))
        .collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.velero.io"), "labels": {"component": "velero"}},
        "spec": {
            "group": "velero.io", "scope": "Namespaced",
            "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
                "shortNames": short_names,
            },
            "versions": [{
                "name": version, "served": true, "storage": true, "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec_schema(kind), "status": open_schema()},
                }},
            }],
        },
    })
}

/// Writes the schema of a spec: closed where its fields are known, else open.
fn spec_schema(kind: &str) -> Value {
    let Some((_, fields)) = SPECS.iter().find(|(of, _)| *of == kind) else {
        return open_schema();
    };
    let fields = fields.split_whitespace().filter_map(|field| field.split_once(':'));
    let properties = fields.map(|(name, code)| {
        let mut schema = match code.trim_end_matches('?') {
            "s" => json!({"type": "string"}),
            "b" => json!({"type": "boolean"}),
            "l" => json!({"type": "array", "items": {"type": "string"}}),
            "m" => json!({"type": "array", "items": open_schema()}),
            _ => open_schema(),
        };
        if code.ends_with('?') {
            schema["nullable"] = json!(true);
        }
        (name.to_owned(), schema)
    });
    json!({"type": "object", "properties": properties.collect::<serde_json::Map<_, _>>()})
}

fn open_schema() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

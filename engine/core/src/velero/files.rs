//! The files that Velero keeps beside a Backup or Restore, as far as the engine reads them.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::SavedObject;

/// A file that a DownloadRequest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// Names everything in a Backup.
    BackupResourceList,
    /// The tarball of a Backup, read for what its objects are judged by.
    BackupContents,
    /// Says which volumes' data a Backup holds.
    BackupVolumeInfos,
    /// The warnings and errors of a Backup.
    BackupResults,
    /// Names everything in a Restore and what became of it.
    RestoreResourceList,
    /// The warnings and errors of a Restore.
    RestoreResults,
}

impl DocumentKind {
    /// Names the kind as `DownloadRequest.spec.target.kind` does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackupResourceList => "BackupResourceList",
            Self::BackupContents => "BackupContents",
            Self::BackupVolumeInfos => "BackupVolumeInfos",
            Self::BackupResults => "BackupResults",
            Self::RestoreResourceList => "RestoreResourceList",
            Self::RestoreResults => "RestoreResults",
        }
    }
}

/// What such a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A resource list.
    Items(Vec<Item>),
    /// The objects of a tarball.
    Contents(Vec<SavedObject>),
    /// What became of the data of volumes.
    Volumes(Vec<Volume>),
    /// Warnings and errors.
    Results(Results),
}

/// One object of a resource list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, when it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What the Restore did with it; a Backup's list has none.
    pub outcome: Option<ItemOutcome>,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What a Restore did with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemOutcome {
    /// It was absent and is there now.
    Created,
    /// It was patched to what the Backup holds.
    Updated,
    /// It was there already, and equal.
    Skipped,
    /// It was not restored.
    Failed,
}

/// What the volume info says of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The namespace of its claim or pod.
    pub namespace: String,
    /// The name of its claim, when it has one.
    pub claim: Option<String>,
    /// The name of its PersistentVolume, when it has one.
    pub persistent: Option<String>,
    /// The pod that mounts it and its name there, when its files were copied.
    pub mount: Option<(String, String)>,
    /// What became of its data.
    pub fate: Fate,
}

/// What became of a volume's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the Backup.
    Saved(Copied),
    /// It was to be saved, and was not; says how.
    Failed(String),
    /// It was not to be saved; says why.
    Skipped(String),
}

/// How a volume's data was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// By what, such as `kopia` or `CSISnapshot`.
    pub how: String,
    /// How many bytes there were, where that is known.
    pub bytes: Option<u64>,
    /// The snapshot that holds them.
    pub snapshot_id: Option<String>,
}

/// The warnings and errors of a Backup or Restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Results {
    /// What Velero warned of.
    pub warnings: Messages,
    /// What failed.
    pub errors: Messages,
}

/// Messages by where they belong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Messages {
    /// Of Velero itself.
    pub velero: Option<Vec<String>>,
    /// Of cluster-scoped objects.
    pub cluster: Option<Vec<String>>,
    /// Of objects in namespaces.
    pub namespaces: Option<BTreeMap<String, Vec<String>>>,
}

impl Messages {
    /// Lists every message, each with its namespace when it has one.
    pub fn lines(&self) -> Vec<String> {
        let global = self.velero.iter().chain(&self.cluster).flatten().cloned();
        let namespaced = self.namespaces.iter().flatten().flat_map(|(namespace, messages)| {
            messages.iter().map(move |message| format!("{namespace}: {message}"))
        });
        global.chain(namespaced).collect()
    }

    /// Lists the messages of one namespace, or of the cluster-scoped objects.
    pub fn of<'a>(&'a self, namespace: Option<&str>) -> impl Iterator<Item = &'a String> {
        let messages = match namespace {
            Some(namespace) => self.namespaces.as_ref().and_then(|all| all.get(namespace)),
            None => self.cluster.as_ref(),
        };
        messages.into_iter().flatten()
    }
}

/// Says why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not JSON of the expected form.
    #[error("{0} is not what Velero writes: {1}")]
    Form(&'static str, #[source] serde_json::Error),
    /// An entry of a resource list has no readable form.
    #[error("the resource list names `{key}`, which is no kind")]
    Kind {
        /// The key as it stands.
        key: String,
    },
}

impl Document {
    /// Reads a file of JSON. A tarball is none: its objects are read one by one.
    pub fn read(kind: DocumentKind, json: impl Read) -> Result<Self, FileError> {
        match kind {
            DocumentKind::BackupResourceList | DocumentKind::RestoreResourceList => {
                read_items(json).map(Self::Items)
            }
            DocumentKind::BackupVolumeInfos => read_volumes(json).map(Self::Volumes),
            DocumentKind::BackupResults | DocumentKind::RestoreResults => {
                read_results(json).map(Self::Results)
            }
            DocumentKind::BackupContents => {
                let object = SavedObject::from_json(json);
                let object = object.map_err(|error| FileError::Form("an object of the tarball", error))?;
                Ok(Self::Contents(vec![object]))
            }
        }
    }

    /// Says how many bytes it takes in memory, about.
    pub fn weight(&self) -> u64 {
        let bytes: usize = match self {
            Self::Items(items) => items.iter().map(Item::weight).sum(),
            Self::Contents(objects) => objects.iter().map(SavedObject::weight).sum(),
            Self::Volumes(volumes) => volumes.iter().map(Volume::weight).sum(),
            Self::Results(results) => {
                let lines = [&results.warnings, &results.errors].into_iter().flat_map(Messages::lines);
                lines.map(|line| text_weight(&line)).sum()
            }
        };
        (bytes + size_of::<Self>()) as u64
    }
}

impl Item {
    fn weight(&self) -> usize {
        let texts = [&self.api_version, &self.kind, &self.name].into_iter().chain(&self.namespace);
        size_of::<Self>() + texts.map(|text| text_weight(text)).sum::<usize>()
    }
}

impl Volume {
    fn weight(&self) -> usize {
        let mount = self.mount.iter().flat_map(|(pod, name)| [pod, name]);
        let texts = [&self.namespace].into_iter().chain(&self.claim).chain(&self.persistent).chain(mount);
        let fate = match &self.fate {
            Fate::Saved(copied) => {
                text_weight(&copied.how) + copied.snapshot_id.as_deref().map_or(0, text_weight)
            }
            Fate::Failed(why) | Fate::Skipped(why) => text_weight(why),
        };
        size_of::<Self>() + fate + texts.map(|text| text_weight(text)).sum::<usize>()
    }
}

/// Says how many bytes a text takes: its own, its length, and what an allocator adds.
pub(super) const fn text_weight(text: &str) -> usize {
    text.len() + 24 + 16
}

/// Reads a resource list: `{"apps/v1/StatefulSet": ["chat/mongodb(created)"]}`.
pub fn parse_item_list(json: &[u8]) -> Result<Vec<Item>, FileError> {
    read_items(json)
}

fn read_items(json: impl Read) -> Result<Vec<Item>, FileError> {
    // A Backup that holds nothing has a list that is `null`.
    let list: Option<BTreeMap<String, Vec<String>>> =
        serde_json::from_reader(json).map_err(|error| FileError::Form("the resource list", error))?;
    let mut items = Vec::new();
    for (key, entries) in list.unwrap_or_default() {
        let (api_version, kind) = key.rsplit_once('/').ok_or_else(|| FileError::Kind { key: key.clone() })?;
        items.reserve_exact(entries.len());
        items.extend(entries.into_iter().map(|entry| item(api_version, kind, &entry)));
    }
    items.sort_unstable();
    Ok(items)
}

/// Reads a volume info file.
pub fn parse_volumes(json: &[u8]) -> Result<Vec<Volume>, FileError> {
    read_volumes(json)
}

fn read_volumes(json: impl Read) -> Result<Vec<Volume>, FileError> {
    let volumes: Option<Vec<VolumeInfo>> =
        serde_json::from_reader(json).map_err(|error| FileError::Form("the volume info", error))?;
    Ok(volumes.unwrap_or_default().into_iter().map(Volume::from).collect())
}

/// Reads a results file.
pub fn parse_results(json: &[u8]) -> Result<Results, FileError> {
    read_results(json)
}

fn read_results(json: impl Read) -> Result<Results, FileError> {
    serde_json::from_reader(json).map_err(|error| FileError::Form("the results file", error))
}

/// One entry of a volume info file.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeInfo {
    pvc_namespace: String,
    pvc_name: String,
    pv_name: String,
    backup_method: String,
    result: String,
    skipped: bool,
    skipped_reason: String,
    pvb_info: Option<SnapshotInfo>,
    snapshot_data_movement_info: Option<SnapshotInfo>,
    csi_snapshot_info: Option<SnapshotInfo>,
    native_snapshot_info: Option<SnapshotInfo>,
}

/// What the volume info says of a snapshot, whoever took it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SnapshotInfo {
    snapshot_handle: Option<String>,
    size: Option<u64>,
    uploader_type: Option<String>,
    volume_name: String,
    pod_name: String,
    pod_namespace: String,
    // Velero writes this one with a capital.
    #[serde(alias = "Phase")]
    phase: Option<String>,
}

impl From<VolumeInfo> for Volume {
    fn from(info: VolumeInfo) -> Self {
        let copied = info.pvb_info.as_ref();
        let mount = copied.map(|copied| (copied.pod_name.clone(), copied.volume_name.clone()));
        let namespace = match copied {
            Some(copied) if info.pvc_namespace.is_empty() => copied.pod_namespace.clone(),
            _ => info.pvc_namespace.clone(),
        };
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        let (claim, persistent) = (named(&info.pvc_name), named(&info.pv_name));
        Self { namespace, claim, persistent, mount, fate: info.fate() }
    }
}

impl VolumeInfo {
    fn fate(self) -> Fate {
        if self.skipped || self.backup_method.is_empty() {
            return Fate::Skipped(self.skipped_reason.trim_end_matches(';').to_owned());
        }
        let snapshot = self
            .pvb_info
            .or(self.snapshot_data_movement_info)
            .or(self.csi_snapshot_info)
            .or(self.native_snapshot_info)
            .unwrap_or_default();
        let phase = snapshot.phase.filter(|phase| !phase.is_empty());
        let completed = phase.as_deref().is_none_or(|phase| phase == "Completed");
        if self.result != "succeeded" || !completed {
            let word = phase.unwrap_or(self.result);
            return Fate::Failed(format!("{} {word}", self.backup_method).trim_end().to_owned());
        }
        Fate::Saved(Copied {
            how: snapshot.uploader_type.unwrap_or(self.backup_method),
            bytes: snapshot.size,
            snapshot_id: snapshot.snapshot_handle,
        })
    }
}

fn item(api_version: &str, kind: &str, entry: &str) -> Item {
    let outcomes = [
        ("(created)", ItemOutcome::Created),
        ("(updated)", ItemOutcome::Updated),
        ("(skipped)", ItemOutcome::Skipped),
        ("(failed)", ItemOutcome::Failed),
    ];
    let (path, outcome) = outcomes
        .iter()
        .find_map(|(suffix, outcome)| Some((entry.strip_suffix(suffix)?, Some(*outcome))))
        .unwrap_or((entry, None));
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, path),
    };
    Item {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace,
        name: name.to_owned(),
        outcome,
    }
}

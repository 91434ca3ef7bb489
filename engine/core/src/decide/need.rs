//! What must be observed, and what has been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::access::Right;
use crate::action::ManifestRef;
use crate::hint::did_you_mean;
use crate::velero::{Document, DocumentKind};
use crate::workflow::Workflow;

/// How many rights are asked for before it is looked whether one is missing.
pub const RIGHTS_AT_ONCE: usize = 32;

/// Something that must be observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The workflow that the catalog yields for the Action's spec.
    Rendering,
    /// An object, and to be told when it changes.
    Object(ObjectKey),
    /// An object as it is now.
    Look(ObjectKey),
    /// Every object of a kind in a namespace, and to be told when one changes.
    List(ListKey),
    /// All names of a kind: plural, with group, singular, short.
    Names(ListKey),
    /// Whether the cluster has kinds of these names, as Velero's filters name them.
    Resources(BTreeSet<String>),
    /// Which of these objects live.
    Live(BTreeSet<ObjectKey>),
    /// A file that Velero keeps.
    Document(DocumentKey),
    /// Whether the one who had the Action run (`status.runBy`) has all of these rights. They are asked for in order,
    /// [`RIGHTS_AT_ONCE`] at a time, until one of these is missing.
    Rights(BTreeSet<Right>),
    /// Which of these rights that one has.
    EachRight(BTreeSet<Right>),
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; ignored for a kind that is cluster-scoped.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The ServiceAccount of the Action's namespace whose rights it is reached with; without one, the engine's own.
    pub account: Option<String>,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Names the objects of a kind in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListKey {
    /// Their `apiVersion`.
    pub api_version: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace; without one, all.
    pub namespace: Option<String>,
}

/// Says whether the cluster has a kind of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// It has one.
    Known,
    /// It has none; a guess what was meant.
    Unknown(Option<String>),
    /// It may have one: this API group does not answer.
    Unclear(String),
}

impl Resource {
    /// Says that the cluster has none of a name, beside those that it has.
    pub fn unknown<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::Unknown(did_you_mean(name, names))
    }
}

/// Names a file that Velero keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Which one.
    pub kind: DocumentKind,
    /// The Backup or Restore it belongs to.
    pub object: String,
    /// The name of the DownloadRequest that asks for it.
    pub request: String,
}

/// What is known of a file that Velero keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentState {
    /// Velero was asked and has not answered.
    Pending {
        /// When it counts as unavailable.
        until: Timestamp,
    },
    /// There is no room for it as yet: other runs read large files.
    Crowded {
        /// When to look again.
        until: Timestamp,
    },
    /// It was read.
    Read(Arc<Document>),
    /// It cannot be read; says why.
    Unavailable(String),
}

impl DocumentState {
    /// Says that a file was read.
    pub fn read(document: Document) -> Self {
        Self::Read(Arc::new(document))
    }
}

/// A workflow, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The Implementation that was chosen.
    pub implementation: ManifestRef,
    /// Why this one.
    pub reason: String,
    /// The digest of the catalog.
    pub catalog_digest: String,
    /// The workflow.
    pub workflow: Workflow,
    /// The workflow's own digest.
    pub digest: String,
}

/// What came of rendering: a workflow, or what is wrong with the spec.
pub type Rendering = Result<Rendered, String>;

/// What has been observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What rendering came to.
    pub rendering: Option<Rendering>,
    /// Objects; `None` when the cluster is sure not to have it.
    pub objects: BTreeMap<ObjectKey, Option<Value>>,
    /// Lists of objects.
    pub lists: BTreeMap<ListKey, Vec<Value>>,
    /// The names of kinds; empty when the cluster has no such kind.
    pub names: BTreeMap<ListKey, Vec<String>>,
    /// Whether the cluster has kinds of these names.
    pub resources: BTreeMap<String, Resource>,
    /// Which objects live; `None` for one that does not.
    pub live: BTreeMap<ObjectKey, Option<Value>>,
    /// Files.
    pub documents: BTreeMap<DocumentKey, DocumentState>,
    /// Rights, and whether the one who had the Action run has them.
    pub rights: BTreeMap<Right, bool>,
    /// What the cluster did not take.
    pub refused: BTreeMap<ObjectKey, Refusal>,
}

/// Derives the name of what a step creates: `<prefix, at most 50>-<10 hex of the parts>`.
pub fn derived_name(prefix: &str, parts: &[&str]) -> String {
    let prefix: String = prefix.chars().take(50).collect();
    let digest = format!("{:x}", Sha256::digest(parts.join("/")));
    format!("{}-{}", prefix.trim_end_matches(['-', '.']), &digest[..10])
}

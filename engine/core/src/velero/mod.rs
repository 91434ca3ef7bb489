//! What Velero's kinds mean: what must be true before one is created, and what its end says.
//!
//! Everything here follows Velero 1.18's `velero.io/v1` API and the files it keeps in its bucket.

mod contents;
mod files;
mod selection;
mod source;
mod truth;

use serde::Deserialize;
use serde_json::Value;

pub use contents::{
    ANNOTATION_COVERAGE, PodVolume, Role, SavedObject, SavedPod, Source as DataSource, Workload, accepts_gap,
    concerns_data, group, is_ready, ready_pods,
};
pub use files::{
    Copied, Document, DocumentKind, Fate, FileError, Item, ItemOutcome, Results, Volume, parse_item_list,
    parse_results, parse_volumes,
};
pub use selection::{Selection, admits_secrets, named_kinds};
pub use source::{
    Source, choose_backup, default_location, location_problem, named_location, storage_location, stored_in,
};
pub use truth::{
    BackupFiles, Findings, backup_findings, empty_selectors, is_in_the_way, is_restorable, left_as_is,
    restore_findings,
};

/// The group of every Velero kind.
pub const GROUP: &str = "velero.io";
/// The `apiVersion` of the Velero kinds that the engine creates.
pub const API_VERSION: &str = "velero.io/v1";
/// Beside an object's metadata: why the rest of it cannot be read. No object has such a field of itself.
pub const UNREADABLE: &str = "unreadable";
/// Label: the logical name of a Backup, the same for every attempt.
pub const LABEL_BACKUP_NAME: &str = "core.ochre.dev/backup-name";

/// Velero's own label on what a Schedule made: the Schedule's name.
pub const LABEL_SCHEDULE_NAME: &str = "velero.io/schedule-name";
/// Velero's own label on what a Restore brought: the Restore's name.
pub const LABEL_RESTORE_NAME: &str = "velero.io/restore-name";

/// Tells whether a kind of this group and version is Velero's, on which the engine works by its own rights.
pub fn is_velero(api_version: &str) -> bool {
    api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

/// Names the outputs that a finished step on such an object has.
pub fn outputs(api_version: &str, kind: &str) -> &'static [&'static str] {
    match (api_version, kind) {
        (API_VERSION, "Backup") => &["name", "namespace", "items", "kinds", "warnings", "errors"],
        (API_VERSION, "Restore") => &[
            "name",
            "namespace",
            "backupName",
            "items",
            "created",
            "updated",
            "skipped",
            "leftAsIs",
            "failed",
            "leftAsIsNames",
            "failedNames",
            "warnings",
            "errors",
        ],
        _ => &["name", "namespace"],
    }
}

/// Tells whether Velero has not ended a Backup or a Restore.
pub fn is_at_work(object: &Value) -> bool {
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    !matches!(phase, "Completed" | "PartiallyFailed" | "Failed" | "FailedValidation" | "Deleting")
}

/// The status that Backups and Restores share.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Velero's own word; empty until it has looked at the object.
    pub phase: String,
    /// Why it was refused.
    pub validation_errors: Vec<String>,
    /// Why it failed.
    pub failure_reason: String,
    /// How many warnings there were.
    pub warnings: u64,
    /// How many errors there were.
    pub errors: u64,
    /// How far it is.
    pub progress: Progress,
    /// When Velero began, RFC 3339.
    pub start_timestamp: Option<String>,
}

/// How far a Backup or a Restore is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Progress {
    /// How many items there are.
    pub total_items: u64,
    /// How many are in the Backup.
    pub items_backed_up: u64,
    /// How many the Restore is through with.
    pub items_restored: u64,
}

impl Status {
    /// Reads the status of a Backup or Restore; what does not have its form reads as empty.
    pub fn of(object: &Value) -> Self {
        Self::deserialize(&object["status"]).unwrap_or_default()
    }

    /// Says, in Velero's own words, why it did not end well.
    pub fn complaint(&self) -> Option<String> {
        if !self.validation_errors.is_empty() {
            return Some(self.validation_errors.join("; "));
        }
        (!self.failure_reason.is_empty()).then(|| self.failure_reason.clone())
    }
}

//! Judges a finished Backup as a whole.

use serde_json::Value;

use super::{Covered, Evidence, coverage};
use crate::action::Gap;
use crate::velero::{
    BackupFiles, DocumentKind, Findings, Item, Results, SavedObject, Selection, Status, Volume,
    backup_findings, concerns_data,
};

/// What the files of a finished Backup say, those that [`files_of`] asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'read> {
    /// Its resource list.
    pub items: &'read [Item],
    /// Its warnings and errors.
    pub results: Option<&'read Results>,
    /// Its tarball.
    pub contents: Option<&'read [SavedObject]>,
    /// Its volume info.
    pub volumes: Option<&'read [Volume]>,
}

/// What a finished Backup is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Of every volume, whether its data is in it.
    pub covered: Vec<Covered>,
    /// Of the whole.
    pub findings: Findings,
}

/// Names the files, beside its resource list, that a finished Backup is judged by.
pub fn files_of(backup: &Value, items: &[Item], data: bool) -> Vec<DocumentKind> {
    let status = Status::of(backup);
    let data = data && items.iter().any(|item| concerns_data(&item.kind));
    let mut kinds = Vec::new();
    if status.warnings + status.errors > 0 {
        kinds.push(DocumentKind::BackupResults);
    }
    if data || has_several_selectors(backup) {
        kinds.push(DocumentKind::BackupContents);
    }
    if data {
        kinds.push(DocumentKind::BackupVolumeInfos);
    }
    kinds
}

/// Judges a Backup that Velero calls Completed or PartiallyFailed by its files.
pub fn judge(backup: &Value, files: Files<'_>) -> Judged {
    let Files { items, results, contents, volumes } = files;
    let covered = match (contents, volumes) {
        (Some(contents), Some(volumes)) => {
            coverage(&Evidence { spec: &backup["spec"], items, contents, volumes })
        }
        _ => Vec::new(),
    };
    let unsaved: Vec<Gap> = covered.iter().filter_map(unsaved).collect();
    let contents = contents.filter(|_| has_several_selectors(backup));
    let findings = backup_findings(backup, BackupFiles { items, contents, unsaved: &unsaved, results });
    Judged { covered, findings }
}

fn has_several_selectors(backup: &Value) -> bool {
    Selection::of(&backup["spec"]).selectors().len() > 1
}

fn unsaved(covered: &Covered) -> Option<Gap> {
    let gap = covered.gap()?;
    Some(Gap { object: covered.to_string(), reason: gap.to_string() })
}

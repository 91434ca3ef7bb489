//! What must be true before a Backup or a Restore is created.

use serde_json::Value;

use super::{LABEL_BACKUP_NAME, Status, UNREADABLE};

/// What a Restore may be made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'list> {
    /// A Backup that may be restored: the newest good one.
    Good(&'list Value),
    /// There are such Backups, but none may be restored; says why, and what to do.
    Refused(String),
    /// No Backup of that name is known; Velero may still find it in the bucket.
    Unknown,
}

/// Chooses the Backup that a name stands for: the newest good one of its attempts.
///
/// A Backup belongs to the name when its label says so, or when it has just that name (one that
/// the velero command line made). `partial` also accepts a `PartiallyFailed` one.
pub fn choose_backup<'list>(backups: &'list [Value], name: &str, partial: bool) -> Source<'list> {
    let named: Vec<&Value> = backups.iter().filter(|backup| belongs(backup, name)).collect();
    let good = named
        .iter()
        .filter(|backup| match Status::of(backup).phase.as_str() {
            "Completed" => true,
            "PartiallyFailed" => partial,
            _ => false,
        })
        .max_by_key(|backup| Status::of(backup).start_timestamp);
    if let Some(backup) = good {
        return Source::Good(backup);
    }
    let newest = named.iter().max_by_key(|backup| backup["metadata"]["creationTimestamp"].as_str());
    newest.map_or(Source::Unknown, |backup| Source::Refused(refusal(backup)))
}

fn belongs(backup: &Value, name: &str) -> bool {
    let metadata = &backup["metadata"];
    metadata["name"] == name || metadata["labels"][LABEL_BACKUP_NAME] == name
}

fn refusal(backup: &Value) -> String {
    let name = backup["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(why) = backup[UNREADABLE].as_str() {
        return format!("Backup {name} cannot be read: {why}; mend or delete it");
    }
    let status = Status::of(backup);
    let why = status.complaint().map(|complaint| format!(": {complaint}")).unwrap_or_default();
    match status.phase.as_str() {
        "PartiallyFailed" => format!(
            "Backup {name} is PartiallyFailed (errors: {}); to restore what is in it, ask with allowPartial",
            status.errors
        ),
        "Failed" | "FailedValidation" => format!(
            "Backup {name} is {}{why}; there is nothing good to restore under this name",
            status.phase
        ),
        "Deleting" => format!("Backup {name} is being deleted"),
        phase => {
            let phase = if phase.is_empty() { "New" } else { phase };
            format!("Backup {name} is still {phase}; restore it when it has ended")
        }
    }
}

/// Names the storage location that a spec asks for: its own, else the default one.
pub fn storage_location<'spec>(spec: &'spec Value, locations: &'spec [Value]) -> &'spec str {
    let named = spec["storageLocation"].as_str().filter(|name| !name.is_empty());
    let default = || {
        let location = locations.iter().find(|location| location["spec"]["default"] == true)?;
        location["metadata"]["name"].as_str()
    };
    named.or_else(default).unwrap_or("default")
}

/// Says why a storage location cannot be used now; `None` when it can.
pub fn location_problem(name: &str, locations: &[Value], writes: bool) -> Option<String> {
    let Some(location) = locations.iter().find(|location| location["metadata"]["name"] == name) else {
        let known: Vec<&str> =
            locations.iter().filter_map(|location| location["metadata"]["name"].as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Some(format!("the storage location {name} does not exist; there are: {known}"));
    };
    if let Some(why) = location[UNREADABLE].as_str() {
        return Some(format!("the storage location {name} cannot be read: {why}; mend it"));
    }
    let status = &location["status"];
    if writes && location["spec"]["accessMode"] == "ReadOnly" {
        return Some(format!("the storage location {name} is ReadOnly"));
    }
    match status["phase"].as_str() {
        Some("Available") => None,
        Some(phase) => {
            let message = status["message"].as_str().unwrap_or("Velero gives no reason");
            Some(format!("the storage location {name} is {phase}: {message}"))
        }
        None => Some(format!("Velero has not looked at the storage location {name} yet")),
    }
}

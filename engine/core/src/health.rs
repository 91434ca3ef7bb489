//! How an object is doing: knowledge about kinds, from the object alone.

use serde_json::Value;

use crate::action::StepProgress;
use crate::velero;

/// How an object is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody has begun with it.
    Pending,
    /// Somebody is at it.
    Running,
    /// It is what it was meant to be.
    Succeeded,
    /// Some of it is.
    Partial,
    /// It will never be.
    Failed,
}

/// What an object says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it is doing.
    pub health: Health,
    /// The same in the object's own word, such as `Finalizing`.
    pub word: String,
    /// What it says about it, in its own words.
    pub message: Option<String>,
    /// How far it is.
    pub progress: Option<StepProgress>,
    /// How many warnings it has.
    pub warnings: u64,
    /// How many errors it has.
    pub errors: u64,
}

/// Judges an object: built in for `velero.io` kinds, by its conditions for anything else.
pub fn health(object: &Value) -> Report {
    let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/'));
    match (group, object["kind"].as_str()) {
        (Some((velero::GROUP, _)), Some("Backup" | "Restore")) => backup_or_restore(object),
        (Some((velero::GROUP, _)), Some(_)) => velero_phase(object),
        _ => by_conditions(object),
    }
}

/// Judges a Backup or a Restore.
pub(crate) fn backup_or_restore(object: &Value) -> Report {
    if let Some(why) = object[velero::UNREADABLE].as_str() {
        // Not an end that says it is good.
        let why = format!("it cannot be read: {why}; mend or delete it");
        return plain(Health::Running, "Unreadable", Some(&why));
    }
    let status = velero::Status::of(object);
    let health = match status.phase.as_str() {
        "" | "New" | "Queued" | "ReadyToStart" => Health::Pending,
        "Completed" if status.errors == 0 => Health::Succeeded,
        // Hooks may fail while Velero already writes the word.
        "Completed" | "PartiallyFailed" => Health::Partial,
        "Failed" | "FailedValidation" => Health::Failed,
        // Deleting and phases that a later Velero may add: not an end that says it is good.
        _ => Health::Running,
    };
    let done = status.progress.items_backed_up.max(status.progress.items_restored);
    let progress = (status.progress.total_items > 0).then(|| StepProgress {
        done,
        total: status.progress.total_items,
        unit: "items".to_owned(),
    });
    let word = if status.phase.is_empty() { "New".to_owned() } else { status.phase.clone() };
    let message = status.complaint().or_else(|| match status.phase.as_str() {
        "" | "New" => {
            Some("waits for Velero to look at it; if it does not, see whether Velero runs".to_owned())
        }
        // Not at which place: that changes with every other Backup's end, and each change would be a write.
        "Queued" => Some("waits in Velero's queue".to_owned()),
        "Deleting" => Some("somebody asked Velero to delete it".to_owned()),
        _ => None,
    });
    Report { health, word, message, progress, warnings: status.warnings, errors: status.errors }
}

/// The other kinds of Velero have a phase and a message.
fn velero_phase(object: &Value) -> Report {
    let status = &object["status"];
    let phase = status["phase"].as_str().unwrap_or_default();
    let health = match phase {
        "" | "New" => Health::Pending,
        "Completed" | "Processed" | "Available" | "Enabled" | "Ready" => Health::Succeeded,
        "Failed" | "FailedValidation" | "Canceled" | "Unavailable" | "NotReady" => Health::Failed,
        _ => Health::Running,
    };
    plain(health, phase, status["message"].as_str())
}

/// Kinds that say nothing about themselves: they are what they are.
const SILENT: [&str; 13] = [
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "PriorityClass",
    "NetworkPolicy",
    "Endpoints",
    "EndpointSlice",
    "LimitRange",
];

/// Conditions whose truth is an end: (type, health when `True`).
const ENDS: [(&str, Health); 7] = [
    ("Failed", Health::Failed),
    ("Stalled", Health::Failed),
    ("Complete", Health::Succeeded),
    ("Completed", Health::Succeeded),
    ("Succeeded", Health::Succeeded),
    ("Ready", Health::Succeeded),
    ("Available", Health::Succeeded),
];

fn by_conditions(object: &Value) -> Report {
    if SILENT.contains(&object["kind"].as_str().unwrap_or_default()) {
        return plain(Health::Succeeded, "Exists", None);
    }
    let status = &object["status"];
    let behind = match (status["observedGeneration"].as_i64(), object["metadata"]["generation"].as_i64()) {
        (Some(observed), Some(wanted)) => observed < wanted,
        _ => false,
    };
    if behind {
        return plain(
            Health::Running,
            "Progressing",
            Some("its controller has not seen its newest form yet"),
        );
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (kind, health) in ENDS {
        let Some(condition) = conditions.iter().find(|condition| condition["type"] == kind) else { continue };
        let message = condition["message"].as_str();
        match condition["status"].as_str() {
            Some("True") => return plain(health, kind, message),
            // KEP-1623: Succeeded=False is an end too, the others are only not yet true.
            Some("False") if kind == "Succeeded" => return plain(Health::Failed, kind, message),
            _ => {}
        }
    }
    let message = "none of its conditions says that it is done; `until` can say when it is";
    plain(Health::Running, "Progressing", Some(message))
}

fn plain(health: Health, word: &str, message: Option<&str>) -> Report {
    Report {
        health,
        word: if word.is_empty() { "New" } else { word }.to_owned(),
        message: message.filter(|message| !message.is_empty()).map(str::to_owned),
        progress: None,
        warnings: 0,
        errors: 0,
    }
}

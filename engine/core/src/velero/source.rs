//! What must be true before a Backup or a Restore is created.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{LABEL_BACKUP_NAME, Status, UNREADABLE};
use crate::action::{LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use crate::health::{Health, backup_or_restore};

/// How many names a message lists.
const NAMES: usize = 10;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'list> {
    /// A Backup that may be restored: the newest good one of its series.
    Good(&'list Value),
    /// The newest Backup of a series of which none may be restored.
    Bad(&'list Value),
    /// A Backup that an Action of another namespace made.
    Foreign(&'list Value),
    /// Backups that several Actions made, the newest of each.
    Ambiguous(Vec<&'list Value>),
    /// No Backup of that name is known; Velero may still find it in the bucket.
    Unknown,
}

/// Chooses the Backup that a name stands for, to an Action of a namespace: the newest good one of its series.
///
/// A series is what one Action made under a name, in several attempts, as the labels say that the engine writes. The
/// Backup of just that name says which series is meant; one that no Action made is a series by itself. Without it, the
/// series is that of the namespace. No other Backup is taken, whatever its labels say. `partial` also accepts a
/// `PartiallyFailed` one.
///
/// The Backups must be those of one storage location ([`stored_in`]): labels come out of its bucket, so that those who
/// write that of another could name any series.
pub fn choose_backup<'list>(
    backups: &[&'list Value],
    name: &str,
    partial: bool,
    namespace: &str,
) -> Source<'list> {
    let backups = backups.iter().copied();
    let labelled = backups.clone().filter(|backup| label(backup, LABEL_BACKUP_NAME) == Some(name));
    let exact = backups.clone().find(|backup| backup["metadata"]["name"] == name);
    let foreign = exact.filter(|exact| label(exact, LABEL_NAMESPACE).is_some_and(|other| other != namespace));
    let Some(exact) = exact.filter(|_| foreign.is_none()) else {
        let mut series: BTreeMap<Option<&str>, Vec<&Value>> = BTreeMap::new();
        for backup in labelled.filter(|backup| label(backup, LABEL_NAMESPACE) == Some(namespace)) {
            series.entry(label(backup, LABEL_UID)).or_default().push(backup);
        }
        let mut series: Vec<&Value> = series.values().filter_map(|series| newest(series, partial)).collect();
        return match (series.pop(), series.is_empty()) {
            // Another's Backup of that very name hides no series of the namespace.
            (None, _) => foreign.map_or(Source::Unknown, Source::Foreign),
            (Some(only), true) => judged(only, partial),
            (Some(last), false) => Source::Ambiguous(series.into_iter().chain([last]).collect()),
        };
    };
    let made_by = label(exact, LABEL_UID);
    let of_it = labelled.filter(|backup| made_by.is_some() && label(backup, LABEL_UID) == made_by);
    let series: Vec<&Value> = of_it.filter(|backup| *backup != exact).chain([exact]).collect();
    newest(&series, partial).map_or(Source::Unknown, |newest| judged(newest, partial))
}

impl<'list> Source<'list> {
    /// Lists the Backups of which something is told.
    pub fn told_of(&self) -> Vec<&'list Value> {
        match self {
            Self::Good(backup) | Self::Bad(backup) | Self::Foreign(backup) => vec![backup],
            Self::Ambiguous(backups) => backups.clone(),
            Self::Unknown => Vec::new(),
        }
    }

    /// Says why none may be restored, and what to do.
    pub fn refusal(&self, name: &str) -> Option<String> {
        match self {
            Self::Good(_) | Self::Unknown => None,
            Self::Bad(backup) => Some(refusal(backup)),
            Self::Foreign(backup) => {
                let label = |label| self::label(backup, label).unwrap_or_default();
                let (namespace, action) = (label(LABEL_NAMESPACE), label(LABEL_NAME));
                Some(format!(
                    "Backup {name} was made by the Action {namespace}/{action}; restore it with an Action in the \
                     namespace {namespace}"
                ))
            }
            Self::Ambiguous(backups) => {
                let names = backups.iter().filter_map(|backup| backup["metadata"]["name"].as_str());
                let mut names: Vec<&str> = names.collect();
                names.sort_unstable();
                names.truncate(NAMES);
                Some(format!(
                    "{} Actions made Backups under the name {name}; give the exact name of one: {}",
                    backups.len(),
                    names.join(", ")
                ))
            }
        }
    }
}

fn label<'b>(backup: &'b Value, label: &str) -> Option<&'b str> {
    backup["metadata"]["labels"][label].as_str()
}

fn is_good(backup: &Value, partial: bool) -> bool {
    match backup_or_restore(backup).health {
        Health::Succeeded => true,
        Health::Partial => partial,
        Health::Pending | Health::Running | Health::Failed => false,
    }
}

/// Finds the newest good Backup of a series, else the newest.
fn newest<'list>(series: &[&'list Value], partial: bool) -> Option<&'list Value> {
    let good = series.iter().filter(|backup| is_good(backup, partial));
    good.max_by_key(|backup| Status::of(backup).start_timestamp)
        .or_else(|| series.iter().max_by_key(|backup| backup["metadata"]["creationTimestamp"].as_str()))
        .copied()
}

fn judged(backup: &Value, partial: bool) -> Source<'_> {
    if is_good(backup, partial) { Source::Good(backup) } else { Source::Bad(backup) }
}

fn refusal(backup: &Value) -> String {
    let name = backup["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(why) = backup[UNREADABLE].as_str() {
        return format!("Backup {name} cannot be read: {why}; mend or delete it");
    }
    let status = Status::of(backup);
    let why = status.complaint().map(|complaint| format!(": {complaint}")).unwrap_or_default();
    match status.phase.as_str() {
        phase if backup_or_restore(backup).health == Health::Partial => format!(
            "Backup {name} is {phase} (errors: {}); to restore what is in it, ask with allowPartial",
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
    named_location(spec["storageLocation"].as_str(), locations)
}

/// Names a storage location that is asked for by name, else the default one.
pub fn named_location<'name>(name: Option<&'name str>, locations: &'name [Value]) -> &'name str {
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| default_location(locations))
}

/// Names the default storage location.
pub fn default_location(locations: &[Value]) -> &str {
    let location = locations.iter().find(|location| location["spec"]["default"] == true);
    location.and_then(|location| location["metadata"]["name"].as_str()).unwrap_or("default")
}

/// Lists the Backups of a storage location.
pub fn stored_in<'list>(backups: &'list [Value], location: &str, locations: &[Value]) -> Vec<&'list Value> {
    backups.iter().filter(|backup| storage_location(&backup["spec"], locations) == location).collect()
}

/// Says why a storage location cannot be used now; `None` when it can.
pub fn location_problem(name: &str, locations: &[Value], writes: bool) -> Option<String> {
    let Some(location) = locations.iter().find(|location| location["metadata"]["name"] == name) else {
        let mut known: Vec<&str> =
            locations.iter().filter_map(|location| location["metadata"]["name"].as_str()).collect();
        known.sort_unstable();
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

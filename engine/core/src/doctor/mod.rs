//! Judges every Backup that a Velero holds, and says what of the cluster's data they hold together.
//!
//! A Backup is judged by [`coverage::judge`](crate::coverage::judge), as it is after a run: whoever made it.

mod backup;
mod claim;
mod due;
mod location;
mod policy;
mod schedule;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::coverage::Judged;
pub use backup::{Backup, must_be_read, out_of_reach};
pub use claim::Claim;
pub use location::Location;
pub use policy::Policy;
pub use schedule::Schedule;

/// What was seen of a cluster and its Velero.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    /// Its Backups.
    pub backups: Vec<Value>,
    /// What the files of the Backups say, by name; of those that [`must_be_read`].
    pub held: BTreeMap<String, Held>,
    /// The PersistentVolumeClaims of the whole cluster.
    pub claims: Vec<Value>,
    /// Velero's BackupStorageLocations.
    pub locations: Vec<Value>,
    /// Velero's Schedules.
    pub schedules: Vec<Value>,
    /// What a cluster that has Actions lacks of manifests/admission, as kind and name, or why that is not known.
    pub missing_policies: Option<Result<Vec<String>, String>>,
}

/// What the files of a Backup say.
#[derive(Clone, Debug)]
pub enum Held {
    /// What it is worth.
    Read(Judged),
    /// They could not be read; says why.
    Unreadable(String),
}

/// What is good, what is not, and what to do about it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the cluster was looked at.
    pub at: Timestamp,
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    /// 0: all is good. 1: there are gaps. 2: none is known, but not everything could be told.
    pub exit_code: u8,
    /// Every Backup, the newest first.
    pub backups: Vec<Backup>,
    /// Every claim of the cluster.
    pub claims: Vec<Claim>,
    /// Every storage location.
    pub locations: Vec<Location>,
    /// Every schedule.
    pub schedules: Vec<Schedule>,
    /// The admission policies; none where there are no Actions.
    pub policies: Vec<Policy>,
}

/// What a line of the report means for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Standing {
    /// It is as it should be.
    Good,
    /// It is not: its findings say what to do.
    Gap,
    /// Nobody can tell.
    Unknown,
    /// A Backup that is not good, but a newer one took its place.
    Superseded,
    /// Its owner accepts that it is not saved.
    Accepted,
    /// There is nothing to judge: it runs, it goes, it has no volume yet.
    NotJudged,
}

impl Standing {
    /// Names it as the report carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Gap => "GAP",
            Self::Unknown => "UNKNOWN",
            Self::Superseded => "SUPERSEDED",
            Self::Accepted => "ACCEPTED",
            Self::NotJudged => "NOT_JUDGED",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, such as `PersistentVolumeClaim chat/data`.
    pub object: String,
    /// Why, in one CamelCase word for machines.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

/// Judges what was seen.
pub fn examine(seen: &Seen, now: Timestamp) -> Report {
    let backups = backup::judge_all(seen, now);
    let claims = claim::judge_all(seen, &backups, now);
    let locations: Vec<Location> = seen.locations.iter().map(|it| location::judge(it, seen, now)).collect();
    let schedules: Vec<Schedule> =
        seen.schedules.iter().map(|it| schedule::judge(it, seen, &backups, now)).collect();
    let missing = seen.missing_policies.as_ref();
    let policies = missing.map(|missing| policy::judge_all(missing.as_deref().map_err(String::as_str)));
    let policies = policies.unwrap_or_default();
    let velero_namespace = seen.velero_namespace.clone();
    let mut report =
        Report { at: now, velero_namespace, exit_code: 0, backups, claims, locations, schedules, policies };
    report.exit_code = if report.findings(Standing::Gap).next().is_some() {
        1
    } else {
        u8::from(report.findings(Standing::Unknown).next().is_some()) * 2
    };
    report
}

impl Report {
    /// Lists what was found about the lines of a standing, each with what the line is about.
    pub fn findings(&self, standing: Standing) -> impl Iterator<Item = (String, &Finding)> {
        let backups =
            self.backups.iter().map(|it| (format!("Backup {}", it.name), it.standing, &it.findings));
        let claims = self.claims.iter().map(|it| (it.to_string(), it.standing, &it.findings));
        let locations = self
            .locations
            .iter()
            .map(|it| (format!("BackupStorageLocation {}", it.name), it.standing, &it.findings));
        let schedules =
            self.schedules.iter().map(|it| (format!("Schedule {}", it.name), it.standing, &it.findings));
        let lines = locations.chain(schedules).chain(backups).chain(claims);
        lines
            .filter(move |(_, found, _)| *found == standing)
            .flat_map(|(name, _, findings)| findings.iter().map(move |finding| (name.clone(), finding)))
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

fn age(since: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    since.map(|since| now.duration_since(since).as_secs().max(0))
}

/// Writes a duration as kubectl writes ages.
fn in_words(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

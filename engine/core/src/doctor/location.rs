//! Whether a storage location works.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Finding, Seen, Standing, age, in_words, name, time};
use crate::velero::location_problem;

/// Velero looks at a location every minute. One that was not looked at for so long says nothing any more.
const STALE: SignedDuration = SignedDuration::from_hours(1);

/// One BackupStorageLocation, judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Its name.
    pub name: String,
    /// What it means for the whole.
    pub standing: Standing,
    /// Velero's word for it.
    pub phase: Option<String>,
    /// Whether it is used where none is named.
    pub default: bool,
    /// Whether nothing can be written there.
    pub read_only: bool,
    /// When Velero last looked at it.
    pub last_validated_at: Option<Timestamp>,
    /// How long ago that is.
    pub age_seconds: Option<i64>,
    /// Why it does not work.
    pub findings: Vec<Finding>,
}

pub(super) fn judge(location: &Value, seen: &Seen, now: Timestamp) -> Location {
    let (spec, status) = (&location["spec"], &location["status"]);
    let validated = time(&status["lastValidationTime"]);
    let finding = problem(location, seen, validated, now);
    Location {
        name: name(location).to_owned(),
        standing: if finding.is_none() { Standing::Good } else { Standing::Gap },
        phase: status["phase"].as_str().map(str::to_owned),
        default: spec["default"] == true,
        read_only: spec["accessMode"] == "ReadOnly",
        last_validated_at: validated,
        age_seconds: age(validated, now),
        findings: finding.into_iter().collect(),
    }
}

fn problem(location: &Value, seen: &Seen, validated: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let object = format!("BackupStorageLocation {}", name(location));
    if let Some(message) = location_problem(name(location), &seen.locations, false) {
        let (reason, cure) = match location["status"]["phase"].as_str() {
            Some(_) => ("Unavailable", "mend the bucket, its address or its credentials"),
            None => ("NotLookedAt", "see whether Velero runs"),
        };
        return Some(Finding { object, reason, message, cure: cure.to_owned() });
    }
    // Whoever chose how often Velero looks chose this too.
    let chosen = location["spec"]["validationFrequency"].is_string();
    let since = validated.map(|validated| now.duration_since(validated));
    since.filter(|since| *since > STALE && !chosen).map(|since| Finding {
        object,
        reason: "NotLookedAt",
        message: format!("Velero has not looked at it for {}", in_words(since.as_secs())),
        cure: "see whether Velero runs".to_owned(),
    })
}

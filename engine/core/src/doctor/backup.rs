//! What each Backup is worth.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Finding, Held, Seen, Standing, age, in_words, name, time};
use crate::coverage::{State, Subject};
use crate::health::{Health, health};
use crate::phase::Verdict;
use crate::velero::{LABEL_BACKUP_NAME, LABEL_SCHEDULE_NAME, UNREADABLE, location_problem, storage_location};

/// The fields of a spec that say what is saved; Backups that agree in them are of one series.
const SELECTION: [&str; 12] = [
    "includedNamespaces",
    "excludedNamespaces",
    "includedResources",
    "excludedResources",
    "includeClusterResources",
    "includedClusterScopedResources",
    "excludedClusterScopedResources",
    "includedNamespaceScopedResources",
    "excludedNamespaceScopedResources",
    "labelSelector",
    "orLabelSelectors",
    "resourcePolicy",
];

/// One Backup, judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Its name.
    pub name: String,
    /// Whose it is: `Schedule nightly`, or `Backup mongo` for the attempts of one run.
    pub series: Option<String>,
    /// Velero's word for it.
    pub phase: String,
    /// Ours; none while it runs, and when it goes.
    pub verdict: Option<Verdict>,
    /// What it means for the whole.
    pub standing: Standing,
    /// When Velero began with it.
    pub started_at: Option<Timestamp>,
    /// How long ago that is.
    pub age_seconds: Option<i64>,
    /// When Velero will delete it.
    pub expires_at: Option<Timestamp>,
    /// Where it is stored.
    pub location: Option<String>,
    /// How many objects are in it.
    pub items: Option<u64>,
    /// How many warnings there were.
    pub warnings: u64,
    /// How many errors there were.
    pub errors: u64,
    /// The verdict in a sentence.
    pub message: String,
    /// The claims whose data is in it, as `namespace/name`.
    pub saved_claims: Vec<String>,
    /// What is not good about it.
    pub findings: Vec<Finding>,
}

/// How far a Backup is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Whole,
    Partial,
    Failed,
    Running,
    Deleting,
    Expired,
    Unreadable,
}

/// Tells whether a Backup is judged by its files.
pub fn must_be_read(backup: &Value, now: Timestamp) -> bool {
    matches!(stage(backup, now), Stage::Whole | Stage::Partial)
}

/// Says why the files of a Backup are out of reach, so that nobody needs to ask for them.
pub fn out_of_reach(backup: &Value, locations: &[Value]) -> Option<String> {
    location_problem(storage_location(&backup["spec"], locations), locations, false)
}

/// Tells whether a Backup is one that Velero restores from without being asked twice.
pub(super) fn is_whole(backup: &Value, now: Timestamp) -> bool {
    stage(backup, now) == Stage::Whole
}

/// Says when Velero began with a Backup, or somebody asked for it.
pub(super) fn began(backup: &Value) -> Option<Timestamp> {
    time(&backup["status"]["startTimestamp"]).or_else(|| time(&backup["metadata"]["creationTimestamp"]))
}

/// Judges every Backup, the newest first.
pub(super) fn judge_all(seen: &Seen, now: Timestamp) -> Vec<Backup> {
    let mut newest_first: Vec<&Value> = seen.backups.iter().collect();
    // Velero's times are in seconds: of two that began together, the one that ended later is newer.
    newest_first.sort_by_key(|backup| {
        let ended = time(&backup["status"]["completionTimestamp"]);
        (Reverse(began(backup)), Reverse(ended), name(backup))
    });
    let mut followed: BTreeSet<String> = BTreeSet::new();
    let judged = newest_first.into_iter().map(|backup| {
        let mut line = judge(backup, seen.held.get(name(backup)), now);
        if line.verdict.is_some() && !followed.insert(key(backup)) && line.standing != Standing::Good {
            line.standing = Standing::Superseded;
        }
        line
    });
    judged.collect()
}

fn judge(backup: &Value, held: Option<&Held>, now: Timestamp) -> Backup {
    let report = health(backup);
    let stage = stage(backup, now);
    let (verdict, message) = verdict(backup, stage, held, now);
    let judged = match held {
        Some(Held::Read(judged)) => Some(judged),
        Some(Held::Unreadable(_)) | None => None,
    };
    let covered = judged.map(|judged| judged.covered.as_slice()).unwrap_or_default();
    let saved_claims = covered.iter().filter_map(|volume| match (&volume.subject, &volume.state) {
        (Subject::Claim(claim), State::Saved(_)) => Some(format!("{}/{claim}", volume.namespace)),
        _ => None,
    });
    let gaps = covered.iter().filter_map(|volume| {
        let gap = volume.gap()?;
        Some(Finding {
            object: volume.to_string(),
            reason: gap.reason.as_str(),
            message: gap.message.clone(),
            cure: gap.cure.to_owned(),
        })
    });
    let own = verdict.and_then(|verdict| finding(name(backup), verdict, &message));
    Backup {
        name: name(backup).to_owned(),
        series: series(backup),
        phase: report.word,
        verdict,
        standing: match verdict {
            None => Standing::NotJudged,
            Some(Verdict::Complete | Verdict::WithWarnings) => Standing::Good,
            Some(Verdict::Unknown) => Standing::Unknown,
            Some(_) => Standing::Gap,
        },
        started_at: began(backup),
        age_seconds: age(began(backup), now),
        expires_at: time(&backup["status"]["expiration"]),
        location: backup["spec"]["storageLocation"].as_str().map(str::to_owned),
        items: judged
            .and_then(|judged| judged.findings.outputs.get("items")?.as_u64())
            .or_else(|| backup["status"]["progress"]["itemsBackedUp"].as_u64()),
        warnings: report.warnings,
        errors: report.errors,
        saved_claims: saved_claims.collect(),
        findings: own.into_iter().chain(gaps).collect(),
        message,
    }
}

fn stage(backup: &Value, now: Timestamp) -> Stage {
    if !backup[UNREADABLE].is_null() {
        return Stage::Unreadable;
    }
    let status = &backup["status"];
    if !backup["metadata"]["deletionTimestamp"].is_null() || status["phase"] == "Deleting" {
        return Stage::Deleting;
    }
    if time(&status["expiration"]).is_some_and(|end| end <= now) {
        return Stage::Expired;
    }
    match health(backup).health {
        Health::Succeeded => Stage::Whole,
        Health::Partial => Stage::Partial,
        Health::Failed => Stage::Failed,
        Health::Pending | Health::Running => Stage::Running,
    }
}

fn verdict(backup: &Value, stage: Stage, held: Option<&Held>, now: Timestamp) -> (Option<Verdict>, String) {
    let report = health(backup);
    let said = || report.message.clone();
    match (stage, held) {
        (Stage::Unreadable, _) => {
            (Some(Verdict::Unknown), said().unwrap_or_else(|| "it cannot be read".to_owned()))
        }
        (Stage::Deleting, _) => (None, "Velero deletes it".to_owned()),
        (Stage::Expired, _) => (None, "it has expired, and Velero will delete it".to_owned()),
        (Stage::Running, _) => {
            let since = age(began(backup), now).map(in_words).unwrap_or_default();
            (None, said().unwrap_or_else(|| format!("Velero is at it, since {since}")))
        }
        (Stage::Failed, _) => {
            (Some(Verdict::None), said().unwrap_or_else(|| "Velero gives no reason".to_owned()))
        }
        (Stage::Whole, Some(Held::Read(judged))) => {
            (Some(judged.findings.verdict), judged.findings.message.clone())
        }
        (Stage::Partial, Some(Held::Read(judged))) => {
            (Some(judged.findings.verdict.at_most_partial()), judged.findings.message.clone())
        }
        (Stage::Whole | Stage::Partial, unread) => {
            let why = match unread {
                Some(Held::Unreadable(why)) => why,
                Some(Held::Read(_)) | None => "nobody tried",
            };
            let verdict = if stage == Stage::Partial { Verdict::Partial } else { Verdict::Unknown };
            (Some(verdict), format!("what is in it could not be read: {why}"))
        }
    }
}

/// Says what is wrong with the Backup as a whole; its volumes speak for themselves.
fn finding(name: &str, verdict: Verdict, message: &str) -> Option<Finding> {
    let (reason, cure) = match verdict {
        Verdict::Complete | Verdict::WithWarnings | Verdict::WithGaps | Verdict::Preview => return None,
        Verdict::None => ("Failed", "mend what Velero names and back up again".to_owned()),
        Verdict::Partial => {
            ("PartiallyFailed", format!("see `velero backup logs {name}`, mend it and back up again"))
        }
        Verdict::Empty => ("Empty", "see whether its namespaces and selectors name what there is".to_owned()),
        Verdict::Unknown => (
            "Unreadable",
            "see whether Velero runs and its storage location is Available, and look again".to_owned(),
        ),
    };
    let object = format!("Backup {name}");
    Some(Finding { object, reason, message: message.to_owned(), cure })
}

/// Names the series as a person would.
fn series(backup: &Value) -> Option<String> {
    let labels = &backup["metadata"]["labels"];
    let schedule = labels[LABEL_SCHEDULE_NAME].as_str().map(|name| format!("Schedule {name}"));
    schedule.or_else(|| labels[LABEL_BACKUP_NAME].as_str().map(|name| format!("Backup {name}")))
}

/// Tells Backups that follow each other from those that stand beside each other.
fn key(backup: &Value) -> String {
    series(backup).unwrap_or_else(|| {
        let selected = SELECTION.map(|field| backup["spec"][field].to_string());
        selected.join("\n")
    })
}

//! Whether a schedule works.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Backup, Finding, Seen, Standing, age, due, in_words, name, time};
use crate::phase::Verdict;
use crate::velero::{Status, location_problem, storage_location};

/// How late Velero may be with a schedule.
const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// One Schedule, judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// What it means for the whole.
    pub standing: Standing,
    /// When it runs, as a cron expression.
    pub schedule: String,
    /// Velero's word for it.
    pub phase: Option<String>,
    /// Whether somebody paused it.
    pub paused: bool,
    /// When it last made a Backup.
    pub last_backup_at: Option<Timestamp>,
    /// How long ago that is.
    pub age_seconds: Option<i64>,
    /// The newest of its Backups that has ended.
    pub last_backup: Option<String>,
    /// What that is worth.
    pub last_verdict: Option<Verdict>,
    /// Why it does not work.
    pub findings: Vec<Finding>,
}

pub(super) fn judge(schedule: &Value, seen: &Seen, backups: &[Backup], now: Timestamp) -> Schedule {
    let series = format!("Schedule {}", name(schedule));
    let last =
        backups.iter().find(|backup| backup.series.as_ref() == Some(&series) && backup.verdict.is_some());
    let (spec, status) = (&schedule["spec"], &schedule["status"]);
    let ran = time(&status["lastBackup"]);
    let found = problems(schedule, seen, last, now);
    let finding = |(reason, message, cure): Problem| Finding {
        object: series.clone(),
        reason,
        message,
        cure: cure.replace("NAME", name(schedule)),
    };
    Schedule {
        name: name(schedule).to_owned(),
        standing: if found.is_empty() { Standing::Good } else { Standing::Gap },
        schedule: spec["schedule"].as_str().unwrap_or_default().to_owned(),
        phase: status["phase"].as_str().map(str::to_owned),
        paused: spec["paused"] == true,
        last_backup_at: ran,
        age_seconds: age(ran, now),
        last_backup: last.map(|backup| backup.name.clone()),
        last_verdict: last.and_then(|backup| backup.verdict),
        findings: found.into_iter().map(finding).collect(),
    }
}

/// A reason, a sentence and a cure.
type Problem = (&'static str, String, &'static str);

fn problems(schedule: &Value, seen: &Seen, last: Option<&Backup>, now: Timestamp) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(stopped) = stopped(schedule, now) {
        found.push(stopped);
    } else {
        let template = &schedule["spec"]["template"];
        let location = storage_location(template, &seen.locations);
        if let Some(problem) = location_problem(location, &seen.locations, true) {
            let cure = "mend the location, or name another in the schedule's template";
            found.push(("LocationUnusable", problem, cure));
        }
        found.extend(late(schedule, now));
    }
    if let Some(last) = last.filter(|last| last.standing == Standing::Gap) {
        let verdict = last.verdict.map_or("", Verdict::as_str);
        let message = format!("its last Backup {} is {verdict}", last.name);
        found.push(("LastBackupNotGood", message, "do what the report says of that Backup"));
    }
    found
}

/// Says why a schedule does not run at all.
fn stopped(schedule: &Value, now: Timestamp) -> Option<Problem> {
    if schedule["spec"]["paused"] == true {
        let cure = "let it run (`velero schedule unpause NAME`), or delete it";
        return Some(("Paused", "somebody paused it".to_owned(), cure));
    }
    let status = Status::of(schedule);
    match status.phase.as_str() {
        "FailedValidation" => {
            let why = status.complaint().unwrap_or_else(|| "it gives no reason".to_owned());
            Some(("FailedValidation", format!("Velero refuses it: {why}"), "mend its spec"))
        }
        "" | "New" => {
            let since = now.duration_since(time(&schedule["metadata"]["creationTimestamp"])?);
            let message = format!("Velero has not looked at it for {}", in_words(since.as_secs()));
            (since > GRACE).then_some(("NotLookedAt", message, "see whether Velero runs"))
        }
        _ => None,
    }
}

/// Says that a schedule runs late: it never ran although it was due, or missed two times on end.
fn late(schedule: &Value, now: Timestamp) -> Option<Problem> {
    const CURE: &str = "see whether Velero runs and works through its queue (`velero backup get`)";
    let status = &schedule["status"];
    let ran = time(&status["lastBackup"]);
    let skipped = time(&status["lastSkipped"]);
    let from = ran.max(skipped).or_else(|| time(&schedule["metadata"]["creationTimestamp"]))?;
    let due = due::after(schedule["spec"]["schedule"].as_str()?, from)?;
    let passed = |at: Timestamp| now.duration_since(at) > GRACE + due.blur;
    match ran {
        Some(ran) if passed(due.second) => {
            let message = format!(
                "it made its last Backup {} ago, and was due twice since",
                in_words(now.duration_since(ran).as_secs())
            );
            Some(("Late", message, CURE))
        }
        None if passed(due.first) => {
            let message = format!(
                "it never ran, and was due {} ago",
                in_words(now.duration_since(due.first).as_secs())
            );
            Some(("NeverRan", message, CURE))
        }
        Some(_) | None => None,
    }
}

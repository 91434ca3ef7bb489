//! What the end of a Backup or a Restore means for its step: the truth about it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::before::unknown;
use super::files::{Read, read};
use super::note::cut;
use super::resource::finished;
use super::step::{At, Progress};
use super::{Blocked, ObjectKey, Run};
use crate::action::{Outcome, StepStatus, StepVolume};
use crate::coverage::{self, Covered, Judged, State, Subject};
use crate::health::{Health, Report};
use crate::phase::Verdict;
use crate::velero::{self, Copied, DocumentKind, Fate, Findings, Item, ItemOutcome, Selection};
use crate::workflow::{Coverage, Existing, Expect};

/// How many volumes a status lists.
const VOLUMES: usize = 50;

impl Run<'_> {
    /// Judges a Backup that Velero calls Completed or PartiallyFailed.
    pub(super) fn after_backup(
        &mut self,
        at: &mut At<'_>,
        expect: &Expect,
        backup: &Value,
        report: &Report,
    ) -> Result<Progress, Blocked> {
        let name = backup["metadata"]["name"].as_str().unwrap_or_default();
        let pending = || reading(report, format!("Velero is done; reads what the Backup {name} holds"));
        let unreadable = |why: String| self::unreadable(report, expect, name, &why);
        let items = read!(self.items(at, DocumentKind::BackupResourceList, name)?, pending(), unreadable);
        let mut files = coverage::Files { items, ..coverage::Files::default() };
        for kind in coverage::files_of(backup, items, expect.coverage != Coverage::Off) {
            match kind {
                DocumentKind::BackupContents => {
                    files.contents = Some(read!(self.contents(at, name)?, pending(), unreadable));
                }
                DocumentKind::BackupVolumeInfos => {
                    files.volumes = Some(read!(self.volumes(at, name)?, pending(), unreadable));
                }
                kind => files.results = Some(read!(self.results(at, kind, name)?, pending(), unreadable)),
            }
        }
        let Judged { covered, findings } = coverage::judge(backup, files);
        show(at.status, covered);
        Ok(conclude(at, expect, backup, report, findings))
    }

    /// Judges a Restore that Velero calls Completed or PartiallyFailed.
    pub(super) fn after_restore(
        &mut self,
        at: &At<'_>,
        expect: &Expect,
        restore: &Value,
        report: &Report,
    ) -> Result<Progress, Blocked> {
        let name = restore["metadata"]["name"].as_str().unwrap_or_default();
        let pending = || reading(report, format!("Velero is done; reads what the Restore {name} did"));
        let unreadable = |why: String| self::unreadable(report, expect, name, &why);
        let items = read!(self.items(at, DocumentKind::RestoreResourceList, name)?, pending(), unreadable);
        let results = read!(self.results(at, DocumentKind::RestoreResults, name)?, pending(), unreadable);
        let left = velero::left_as_is(items, results);
        let tolerated = match expect.existing {
            Existing::Keep => left.iter().map(ToString::to_string).collect(),
            Existing::Refuse | Existing::Update => self.harmless(&left, &Selection::of(&restore["spec"]))?,
        };
        let mut absent = self.absent(items)?;
        if absent.iter().any(|name| name.starts_with("PersistentVolume ")) {
            // A volume whose data was copied is not made again: its claim gets another, with the data.
            let backup = restore["spec"]["backupName"].as_str().unwrap_or_default();
            let volumes = read!(self.volumes(at, backup)?, pending(), unreadable);
            let saved = volumes.iter().filter(|volume| matches!(volume.fate, Fate::Saved(_)));
            for name in saved.filter_map(|volume| volume.persistent.as_ref()) {
                absent.remove(&format!("PersistentVolume {name}"));
            }
        }
        let findings = velero::restore_findings(restore, items, results, &tolerated, &absent);
        let end = conclude(at, expect, restore, report, findings);
        self.until_ready(at, expect, restore, items, end)
    }

    /// Names what Velero skipped although it is not there.
    fn absent(&mut self, items: &[Item]) -> Result<BTreeSet<String>, Blocked> {
        let skipped: Vec<&Item> =
            items.iter().filter(|item| item.outcome == Some(ItemOutcome::Skipped)).collect();
        let places: BTreeSet<ObjectKey> = skipped.iter().map(|item| place(item)).collect();
        self.see(&places)?;
        let lives = |item: &Item| self.observed.live.get(&place(item)).is_some_and(Option::is_some);
        Ok(skipped.into_iter().filter(|item| !lives(item)).map(ToString::to_string).collect())
    }

    /// Names those of the left objects that no Restore is there to bring back.
    fn harmless(&mut self, left: &[&Item], selection: &Selection) -> Result<BTreeSet<String>, Blocked> {
        let blocking = self.blocking(&left.iter().map(|item| place(item)).collect(), selection)?;
        Ok(left.iter().filter(|item| !blocking.contains(&place(item))).map(ToString::to_string).collect())
    }
}

/// Tells where an item of a Restore's list lives.
fn place(item: &Item) -> ObjectKey {
    ObjectKey {
        api_version: item.api_version.clone(),
        kind: item.kind.clone(),
        namespace: item.namespace.clone(),
        name: item.name.clone(),
        account: None,
    }
}

/// Shows the volumes in the status, those without their data first.
fn show(status: &mut StepStatus, mut covered: Vec<Covered>) {
    covered.sort_by_key(|volume| volume.gap().is_none());
    status.volume_count = covered.len() as u64;
    status.volumes = covered.into_iter().take(VOLUMES).map(shown).collect();
}

fn shown(covered: Covered) -> StepVolume {
    let (claim, mount) = match covered.subject {
        Subject::Claim(claim) => (Some(claim), None),
        Subject::Mounted(kind, name, volume) => (None, Some(format!("{kind}/{name}/{volume}"))),
    };
    let volume = StepVolume { namespace: covered.namespace, claim, mount, ..StepVolume::default() };
    let accepted = matches!(covered.state, State::Accepted(_));
    match covered.state {
        State::Saved(Copied { how, bytes, snapshot_id }) => {
            StepVolume { saved: true, how: Some(how), bytes, snapshot_id, ..volume }
        }
        State::Gap(gap) | State::Accepted(gap) => StepVolume {
            accepted,
            message: Some(cut(gap.to_string())),
            reason: Some(gap.reason.as_str().to_owned()),
            ..volume
        },
        State::Unbound => StepVolume { reason: Some("Unbound".to_owned()), ..volume },
    }
}

/// Turns what was found into the end of the step.
fn conclude(at: &At<'_>, expect: &Expect, object: &Value, report: &Report, findings: Findings) -> Progress {
    let partial = report.health == Health::Partial;
    let verdict = if partial { findings.verdict.at_most_partial() } else { findings.verdict };
    let reason = match verdict {
        // Whatever is in it: Velero itself says that it is not whole.
        _ if partial && !expect.partial => Some("PartiallyFailed"),
        Verdict::Empty if !expect.empty => Some("Empty"),
        _ if findings.lacks_data && expect.coverage == Coverage::Required => Some("CoverageGaps"),
        Verdict::Partial if !expect.partial => Some("NotAllRestored"),
        Verdict::Unknown | Verdict::None => Some("Unknown"),
        _ => None,
    };
    let outcome = Outcome { verdict, gaps: findings.gaps, warnings: report.warnings, errors: report.errors };
    let mut outputs = findings.outputs;
    outputs.insert("warnings".to_owned(), json!(report.warnings));
    outputs.insert("errors".to_owned(), json!(report.errors));
    match reason {
        None => finished(at, object, Some(findings.message), Some((outcome, outputs))),
        Some(reason) => Progress::Failed {
            reason,
            message: format!("Velero says {}: {}", report.word, findings.message),
            outcome: Some(outcome),
            outputs,
        },
    }
}

fn reading(report: &Report, message: String) -> Progress {
    Progress::Reading { reason: report.word.clone(), message, until: None }
}

/// What cannot be read is never success; what failed anyway keeps its own reason.
fn unreadable(report: &Report, expect: &Expect, name: &str, why: &str) -> Progress {
    if report.health == Health::Partial && !expect.partial {
        let outcome = Outcome {
            verdict: Verdict::Partial,
            gaps: Vec::new(),
            warnings: report.warnings,
            errors: report.errors,
        };
        return Progress::Failed {
            reason: "PartiallyFailed",
            message: format!(
                "Velero says {} (errors: {}), and which they are could not be read: {why}",
                report.word, report.errors
            ),
            outcome: Some(outcome),
            outputs: Map::new(),
        };
    }
    unknown(format!(
        "Velero says {}, but what is in {name} could not be read, so nobody knows: {why}",
        report.word
    ))
}

//! How a step with a Backup or a Restore begins and ends: the truth about it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::resource::finished;
use super::step::{At, Progress};
use super::{Blocked, DocumentKey, DocumentState, ListKey, Need, ObjectKey, Run, after, derived_name};
use crate::action::{Outcome, StepVolume};
use crate::health::{Health, Report};
use crate::phase::Verdict;
use crate::schema::parse_duration;
use crate::velero::{
    self, BackupFiles, Document, DocumentKind, Findings, Item, LabelledItem, Results, Selection, Source,
    Volume,
};
use crate::workflow::{Existing, Expect};

/// How long a Restore waits for its Backup to appear when nothing says otherwise.
const SYNC_TIMEOUT: Duration = Duration::from_secs(300);
/// How many names a message lists.
const NAMES: usize = 5;

/// How many volumes a status lists.
const VOLUMES: usize = 50;

/// What reading a file came to.
enum Read<T> {
    Is(T),
    Pending,
    Unavailable(String),
}

/// Takes what was read, or returns from the function with what is to be said instead.
macro_rules! read {
    ($read:expr, $pending:expr, $unavailable:expr) => {
        match $read {
            Read::Is(value) => value,
            Read::Pending => return Ok($pending),
            Read::Unavailable(why) => return Ok($unavailable(why)),
        }
    };
}

impl<'a> Run<'a> {
    /// Says what keeps a Backup from being created.
    pub(super) fn before_backup(&mut self, manifest: &Value) -> Result<Option<Progress>, Blocked> {
        let locations = self.velero_list("BackupStorageLocation")?;
        let name = velero::storage_location(&manifest["spec"], locations);
        let asked = manifest["spec"]["storageLocation"].is_string();
        let known = locations.iter().find(|location| location["metadata"]["name"] == name);
        let hopeless = (asked && known.is_none() && !locations.is_empty())
            || known.is_some_and(|location| location["spec"]["accessMode"] == "ReadOnly");
        Ok(velero::location_problem(name, locations, true).map(|problem| {
            if hopeless {
                Progress::failed("LocationUnusable", problem)
            } else {
                Progress::Waiting { reason: "LocationUnavailable", message: problem }
            }
        }))
    }

    /// Says what keeps a Restore from being created, and names the Backup that it restores.
    pub(super) fn before_restore(
        &mut self,
        at: &At<'_>,
        expect: &Expect,
        manifest: &mut Value,
    ) -> Result<Option<Progress>, Blocked> {
        let Some(name) = manifest["spec"]["backupName"].as_str().map(str::to_owned) else {
            return Ok(Some(Progress::failed(
                "BadWorkflow",
                "the Restore names no Backup in spec.backupName",
            )));
        };
        let backup = match velero::choose_backup(self.velero_list("Backup")?, &name, expect.partial) {
            Source::Good(backup) => backup,
            Source::Refused(why) => return Ok(Some(Progress::failed("BackupNotRestorable", why))),
            Source::Unknown => return Ok(Some(self.unknown_backup(at, expect, &name))),
        };
        let locations = self.velero_list("BackupStorageLocation")?;
        let location = velero::storage_location(&backup["spec"], locations);
        if let Some(problem) = velero::location_problem(location, locations, false) {
            return Ok(Some(Progress::Waiting { reason: "LocationUnavailable", message: problem }));
        }
        manifest["spec"]["backupName"] = backup["metadata"]["name"].clone();
        if expect.existing == Existing::Refuse {
            return self.refuse_existing(at, expect, backup, &manifest["spec"]);
        }
        Ok(None)
    }

    /// A Backup that nobody knows may still be found in the bucket by Velero.
    fn unknown_backup(&mut self, at: &At<'_>, expect: &Expect, name: &str) -> Progress {
        let timeout =
            expect.sync_timeout.as_deref().and_then(|text| parse_duration(text).ok()).unwrap_or(SYNC_TIMEOUT);
        let deadline = after(at.began(self.now), timeout);
        if self.now >= deadline {
            return Progress::failed(
                "NotFound",
                format!(
                    "Velero knows no Backup {name}, and found none in its bucket within {} s",
                    timeout.as_secs()
                ),
            );
        }
        self.look_again_at(deadline);
        Progress::Waiting {
            reason: "BackupUnknown",
            message: format!(
                "Velero knows no Backup {name}; waits {} s for it to be found in the bucket",
                timeout.as_secs()
            ),
        }
    }

    /// Holds what would be restored against what lives, before Velero writes anything.
    fn refuse_existing(
        &mut self,
        at: &At<'_>,
        expect: &Expect,
        backup: &Value,
        spec: &Value,
    ) -> Result<Option<Progress>, Blocked> {
        let name = backup["metadata"]["name"].as_str().unwrap_or_default();
        let pending = Some(Progress::Waiting {
            reason: "ReadingBackup",
            message: format!("reads what the Backup {name} holds"),
        });
        let unreadable = |why: String| {
            Some(unknown(format!(
                "what the Backup {name} holds could not be read, so nothing was restored: {why}"
            )))
        };
        let items = read!(self.items(at, DocumentKind::BackupResourceList, name)?, pending, unreadable);
        let selection = Selection::of(spec);
        let mut wanted = self.admitted(items, &selection)?;
        if !selection.selectors().is_empty() {
            let contents = read!(self.contents(at, name)?, pending, unreadable);
            wanted.retain(|item| selection.admits_labels(item, contents));
        }
        if wanted.is_empty() && !expect.empty {
            return Ok(Some(empty(format!(
                "the filters select none of the {} items of the Backup {name}, so nothing was restored",
                items.len()
            ))));
        }
        let places: BTreeSet<ObjectKey> = wanted
            .iter()
            .map(|item| ObjectKey {
                api_version: item.api_version.clone(),
                kind: item.kind.clone(),
                namespace: selection.destination(item.namespace.as_deref()),
                name: item.name.clone(),
            })
            .collect();
        let blocking = self.blocking(&places, &selection)?;
        Ok((!blocking.is_empty()).then(|| {
            let named: Vec<String> = blocking.iter().take(NAMES).map(ToString::to_string).collect();
            let more = if blocking.len() > NAMES { format!(" and {} more", blocking.len() - NAMES) } else { String::new() };
            Progress::failed("Exists", format!(
                "what the Backup {name} would bring back lives already ({}): {}{more}; nothing was restored: delete it, or ask with existing: keep or update",
                blocking.len(), named.join(", ")
            ))
        }))
    }

    /// Keeps the items that the namespaces and kinds of a selection let through.
    fn admitted(&mut self, items: &'a [Item], selection: &Selection) -> Result<Vec<&'a Item>, Blocked> {
        let mut wanted = Vec::new();
        for item in items {
            let key =
                ListKey { api_version: item.api_version.clone(), kind: item.kind.clone(), namespace: None };
            let Some(names) = self.observed.names.get(&key) else {
                // Ask for the names of all kinds at once.
                for item in items {
                    let key = ListKey {
                        api_version: item.api_version.clone(),
                        kind: item.kind.clone(),
                        namespace: None,
                    };
                    let need = Need::Names(key.clone());
                    if !self.observed.names.contains_key(&key) && !self.needs.contains(&need) {
                        self.needs.push(need);
                    }
                }
                return Err(Blocked);
            };
            if velero::is_restorable(item) && selection.admits(item, names) {
                wanted.push(item);
            }
        }
        Ok(wanted)
    }

    /// Names those of these objects that live and stand in a Restore's way.
    fn blocking(
        &mut self,
        places: &BTreeSet<ObjectKey>,
        selection: &Selection,
    ) -> Result<Vec<ObjectKey>, Blocked> {
        let unseen: BTreeSet<ObjectKey> =
            places.iter().filter(|key| !self.observed.live.contains_key(key)).cloned().collect();
        if !unseen.is_empty() {
            return self.need(Need::Live(unseen));
        }
        let blocks = |key: &&ObjectKey| {
            let live = self.observed.live.get(*key).and_then(Option::as_ref);
            live.is_some_and(|live| velero::is_in_the_way(live, selection))
        };
        Ok(places.iter().filter(blocks).cloned().collect())
    }

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
        let mut files = BackupFiles { items, ..BackupFiles::default() };
        if report.warnings + report.errors > 0 {
            files.results =
                Some(read!(self.results(at, DocumentKind::BackupResults, name)?, pending(), unreadable));
        }
        if Selection::of(&backup["spec"]).selectors().len() > 1 {
            files.contents = Some(read!(self.contents(at, name)?, pending(), unreadable));
        }
        if velero::asks_for_data(&backup["spec"], items) {
            let volumes = read!(self.volumes(at, name)?, pending(), unreadable);
            files.volumes = Some(volumes);
            at.status.volumes = volumes.iter().take(VOLUMES).map(shown).collect();
        }
        Ok(conclude(at, expect, backup, report, velero::backup_findings(backup, files)))
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
        let findings = velero::restore_findings(restore, items, results, &tolerated);
        Ok(conclude(at, expect, restore, report, findings))
    }

    /// Names those of the left objects that no Restore is there to bring back.
    fn harmless(&mut self, left: &[&Item], selection: &Selection) -> Result<BTreeSet<String>, Blocked> {
        let place = |item: &Item| ObjectKey {
            api_version: item.api_version.clone(),
            kind: item.kind.clone(),
            namespace: item.namespace.clone(),
            name: item.name.clone(),
        };
        let blocking = self.blocking(&left.iter().map(|item| place(item)).collect(), selection)?;
        Ok(left.iter().filter(|item| !blocking.contains(&place(item))).map(ToString::to_string).collect())
    }

    fn velero_list(&mut self, kind: &str) -> Result<&'a [Value], Blocked> {
        self.list(ListKey {
            api_version: velero::API_VERSION.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.settings.velero_namespace.clone()),
        })
    }

    fn items(&mut self, at: &At<'_>, kind: DocumentKind, object: &str) -> Result<Read<&'a [Item]>, Blocked> {
        Ok(match self.read(at, kind, object)? {
            Read::Is(Document::Items(items)) => Read::Is(items),
            other => other.wrong(),
        })
    }

    fn contents(&mut self, at: &At<'_>, object: &str) -> Result<Read<&'a [LabelledItem]>, Blocked> {
        Ok(match self.read(at, DocumentKind::BackupContents, object)? {
            Read::Is(Document::Contents(contents)) => Read::Is(contents),
            other => other.wrong(),
        })
    }

    fn volumes(&mut self, at: &At<'_>, object: &str) -> Result<Read<&'a [Volume]>, Blocked> {
        Ok(match self.read(at, DocumentKind::BackupVolumeInfos, object)? {
            Read::Is(Document::Volumes(volumes)) => Read::Is(volumes),
            other => other.wrong(),
        })
    }

    fn results(
        &mut self,
        at: &At<'_>,
        kind: DocumentKind,
        object: &str,
    ) -> Result<Read<&'a Results>, Blocked> {
        Ok(match self.read(at, kind, object)? {
            Read::Is(Document::Results(results)) => Read::Is(results),
            other => other.wrong(),
        })
    }

    fn read(&mut self, at: &At<'_>, kind: DocumentKind, object: &str) -> Result<Read<&'a Document>, Blocked> {
        let attempt = at.status.attempt.to_string();
        let request =
            derived_name(self.name(), &[self.uid(), &at.step.name, &attempt, kind.as_str(), object]);
        let key = DocumentKey { kind, object: object.to_owned(), request };
        Ok(match self.document(key)? {
            DocumentState::Pending { .. } => Read::Pending,
            DocumentState::Read(document) => Read::Is(document),
            DocumentState::Unavailable(why) => Read::Unavailable(why.clone()),
        })
    }
}

impl<T> Read<T> {
    /// A file that was read is always of the kind that was asked for, or it is unreadable.
    fn wrong<U>(self) -> Read<U> {
        match self {
            Self::Is(_) => Read::Unavailable("the file is of another kind".to_owned()),
            Self::Pending => Read::Pending,
            Self::Unavailable(why) => Read::Unavailable(why),
        }
    }
}

fn shown(volume: &Volume) -> StepVolume {
    StepVolume {
        namespace: volume.namespace.clone(),
        claim: volume.claim.clone(),
        saved: volume.saved,
        reason: volume.reason.clone(),
        bytes: None,
        snapshot_id: None,
    }
}

/// Turns what was found into the end of the step.
fn conclude(at: &At<'_>, expect: &Expect, object: &Value, report: &Report, findings: Findings) -> Progress {
    let partial = report.health == Health::Partial;
    let verdict = match findings.verdict {
        Verdict::Complete | Verdict::WithWarnings | Verdict::WithGaps if partial => Verdict::Partial,
        verdict => verdict,
    };
    let reason = match verdict {
        // Whatever is in it: Velero itself says that it is not whole.
        _ if partial && !expect.partial => Some("PartiallyFailed"),
        Verdict::Empty if !expect.empty => Some("Empty"),
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
    Progress::Running { reason: report.word.clone(), message: Some(message) }
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
                "Velero says PartiallyFailed (errors: {}), and which they are could not be read: {why}",
                report.errors
            ),
            outcome: Some(outcome),
            outputs: serde_json::Map::new(),
        };
    }
    unknown(format!(
        "Velero says {}, but what is in {name} could not be read, so nobody knows: {why}",
        report.word
    ))
}

fn unknown(message: String) -> Progress {
    ended(Verdict::Unknown, "Unknown", message)
}

fn empty(message: String) -> Progress {
    ended(Verdict::Empty, "Empty", message)
}

fn ended(verdict: Verdict, reason: &'static str, message: String) -> Progress {
    let outcome = Outcome { verdict, gaps: Vec::new(), warnings: 0, errors: 0 };
    Progress::Failed { reason, message, outcome: Some(outcome), outputs: serde_json::Map::new() }
}

//! Which Backup holds the data of each claim.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::backup::{began, is_whole};
use super::{Backup, Finding, Held, Seen, Standing, age, name, time};
use crate::coverage::{State, Subject};
use crate::phase::Verdict;
use crate::velero::{LABEL_RESTORE_NAME, accepts_gap};

/// One claim of the cluster, judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it means for the whole.
    pub standing: Standing,
    /// The newest Backup that is whole and holds its data.
    pub last_good_backup: Option<String>,
    /// When that was taken.
    pub saved_at: Option<Timestamp>,
    /// How long ago that is.
    pub age_seconds: Option<i64>,
    /// How many bytes are in it, where that is known.
    pub bytes: Option<u64>,
    /// Why there is none.
    pub findings: Vec<Finding>,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PersistentVolumeClaim {}/{}", self.namespace, self.name)
    }
}

/// What a Backup says of a claim.
struct Word<'seen> {
    backup: &'seen Value,
    state: &'seen State,
}

/// What Backups say of claims, the newest first.
type Words<'seen> = BTreeMap<(&'seen str, &'seen str), Vec<Word<'seen>>>;

/// Judges every claim, in order of namespace and name.
pub(super) fn judge_all(seen: &Seen, backups: &[Backup], now: Timestamp) -> Vec<Claim> {
    let words = words(seen, backups);
    // What comes and goes with a pod is nobody's to keep.
    let lasting = seen.claims.iter().filter(|claim| !comes_with_a_pod(claim));
    let mut claims: Vec<Claim> = lasting.map(|claim| judge(claim, &words, backups, now)).collect();
    claims.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    claims
}

fn words<'seen>(seen: &'seen Seen, backups: &[Backup]) -> Words<'seen> {
    let objects: BTreeMap<&str, &Value> = seen.backups.iter().map(|it| (name(it), it)).collect();
    let mut words = Words::new();
    for line in backups.iter().filter(|line| line.verdict.is_some()) {
        let Some((backup, Held::Read(judged))) =
            objects.get(line.name.as_str()).copied().zip(seen.held.get(&line.name))
        else {
            continue;
        };
        for volume in &judged.covered {
            if let Subject::Claim(claim) = &volume.subject {
                let said = words.entry((volume.namespace.as_str(), claim.as_str())).or_default();
                said.push(Word { backup, state: &volume.state });
            }
        }
    }
    words
}

fn judge(claim: &Value, words: &Words<'_>, backups: &[Backup], now: Timestamp) -> Claim {
    let namespace = claim["metadata"]["namespace"].as_str().unwrap_or_default();
    let said = words.get(&(namespace, name(claim))).map(Vec::as_slice).unwrap_or_default();
    let good = said.iter().find_map(|word| match word.state {
        State::Saved(copied) if is_whole(word.backup, now) && is_of(word.backup, claim) => {
            Some((word.backup, copied))
        }
        _ => None,
    });
    let saved_at = good.and_then(|(backup, _)| began(backup));
    let mut line = Claim {
        namespace: namespace.to_owned(),
        name: name(claim).to_owned(),
        standing: Standing::Good,
        last_good_backup: good.map(|(backup, _)| name(backup).to_owned()),
        saved_at,
        age_seconds: age(saved_at, now),
        bytes: good.and_then(|(_, copied)| copied.bytes),
        findings: Vec::new(),
    };
    if good.is_some() {
        return line;
    }
    if claim["status"]["phase"] != "Bound" {
        line.standing = Standing::NotJudged;
    } else if accepts_gap(&claim["metadata"]) {
        line.standing = Standing::Accepted;
    } else if let Some(unread) = unread(claim, backups) {
        line.standing = Standing::Unknown;
        line.findings.push(Finding {
            object: line.to_string(),
            reason: "Unreadable",
            message: format!("Backup {} may hold its data, and could not be read", unread.name),
            cure: "look again when that can be read".to_owned(),
        });
    } else {
        line.standing = Standing::Gap;
        line.findings.push(why(claim, said, line.to_string()));
    }
    line
}

/// Finds a Backup that may hold the data of a claim, for all that anybody knows.
fn unread<'line>(claim: &Value, backups: &'line [Backup]) -> Option<&'line Backup> {
    let created = time(&claim["metadata"]["creationTimestamp"]);
    let restored = is_restored(claim);
    backups
        .iter()
        .find(|line| line.verdict == Some(Verdict::Unknown) && (restored || line.started_at >= created))
}

/// Says why no good Backup holds the data of a claim.
fn why(claim: &Value, said: &[Word<'_>], object: String) -> Finding {
    let saved = |of_it: bool| {
        let mut saved = said.iter().filter(|word| matches!(word.state, State::Saved(_)));
        saved.find(|word| is_of(word.backup, claim) == of_it).map(|word| name(word.backup))
    };
    if let Some(partial) = saved(true) {
        let message = format!("only Backup {partial} holds its data, and that is PartiallyFailed");
        let cure = "mend what failed and back up again; a restore from it needs allowPartial".to_owned();
        return Finding { object, reason: "OnlyPartial", message, cure };
    }
    if let Some(earlier) = saved(false) {
        let message = format!("Backup {earlier} holds the data of an earlier claim of that name");
        return Finding { object, reason: "OlderThanClaim", message, cure: "back up again".to_owned() };
    }
    let gap = said.iter().find_map(|word| match word.state {
        State::Gap(gap) | State::Accepted(gap) => Some((word.backup, gap)),
        State::Saved(_) | State::Unbound => None,
    });
    if let Some((backup, gap)) = gap {
        let message = format!("no backup holds its data; of Backup {}: {}", name(backup), gap.message);
        return Finding { object, reason: gap.reason.as_str(), message, cure: gap.cure.to_owned() };
    }
    let cure = "select it in a Backup or Schedule, or accept it: annotation core.ochre.dev/coverage: accept"
        .to_owned();
    Finding { object, reason: "NotSelected", message: "no backup selects it".to_owned(), cure }
}

/// Tells whether a Backup can hold the data of this very claim: one that Velero restored has its data
/// from before.
fn is_of(backup: &Value, claim: &Value) -> bool {
    is_restored(claim) || began(backup) >= time(&claim["metadata"]["creationTimestamp"])
}

fn is_restored(claim: &Value) -> bool {
    claim["metadata"]["labels"][LABEL_RESTORE_NAME].is_string()
}

fn comes_with_a_pod(claim: &Value) -> bool {
    let owners = claim["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| owner["controller"] == true && owner["kind"] == "Pod")
}

//! What the end of a Backup or Restore really means: `Completed` is not yet the user's truth.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value, json};

use super::{Item, ItemOutcome, Results, SavedObject, Selection, group};
use crate::action::Gap;
use crate::phase::Verdict;
use crate::selector;

/// How many names a list in the status keeps.
const NAMES: usize = 20;
/// How many kinds the status counts apart.
const KINDS: usize = 50;

/// What was found about a finished Backup or Restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The one word for it.
    pub verdict: Verdict,
    /// What is not there and why.
    pub gaps: Vec<Gap>,
    /// Whether data that should be there is not.
    pub lacks_data: bool,
    /// A sentence for a person.
    pub message: String,
    /// What later steps may use.
    pub outputs: Map<String, Value>,
}

/// Names the selectors that matched nothing in a Backup's tarball.
pub fn empty_selectors(selection: &Selection, contents: &[SavedObject]) -> Vec<String> {
    selection
        .selectors()
        .into_iter()
        .filter(|wanted| !contents.iter().any(|item| selector::matches(wanted, |key| item.label(key))))
        .map(print)
        .collect()
}

/// What is known of a finished Backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupFiles<'read> {
    /// Everything that is in it.
    pub items: &'read [Item],
    /// The objects of its tarball; needed for several selectors.
    pub contents: Option<&'read [SavedObject]>,
    /// The data that it does not hold.
    pub unsaved: &'read [Gap],
    /// Warnings and errors; needed when there are any.
    pub results: Option<&'read Results>,
}

/// Judges a finished Backup from what its files say.
pub fn backup_findings(backup: &Value, files: BackupFiles<'_>) -> Findings {
    let selection = Selection::of(&backup["spec"]);
    let unmatched: Vec<String> =
        files.contents.map(|contents| empty_selectors(&selection, contents)).unwrap_or_default();
    let count = files.items.len();
    let (verdict, said) = if !selection.asks_for_namespaces() && is_nothing(files.items) {
        (Verdict::Empty, "the selection matched nothing: the backup is empty".to_owned())
    } else if !unmatched.is_empty() {
        (Verdict::Empty, format!("saved {count} items, but nothing for selector {}", unmatched.join(", ")))
    } else if let [gap, others @ ..] = files.unsaved {
        let more = if others.is_empty() { String::new() } else { format!(", and of {} more", others.len()) };
        let Gap { object, reason } = gap;
        (Verdict::WithGaps, format!("saved {count} items, without the data of {object} ({reason}){more}"))
    } else {
        (plain_verdict(super::Status::of(backup).warnings), format!("saved {count} items"))
    };
    let unmatched = unmatched
        .into_iter()
        .map(|selector| Gap { object: format!("selector {selector}"), reason: "matched nothing".to_owned() });
    let mut outputs = Map::new();
    outputs.insert("items".to_owned(), json!(count));
    outputs.insert("kinds".to_owned(), json!(count_kinds(files.items)));
    Findings {
        verdict,
        gaps: unmatched.chain(files.unsaved.iter().cloned()).take(NAMES).collect(),
        lacks_data: !files.unsaved.is_empty(),
        message: with_results(said, files.results),
        outputs,
    }
}

/// Judges a finished Restore from its own list and results.
///
/// An item counts as left as it was when the list says `(failed)` and a warning says that it
/// "already exists"; a `(failed)` one without such a warning failed.
///
/// `absent` names what Velero skipped and what does not live: a claim's volume to be provisioned anew, say.
pub fn restore_findings(
    restore: &Value,
    items: &[Item],
    results: &Results,
    tolerated: &BTreeSet<String>,
    absent: &BTreeSet<String>,
) -> Findings {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut left = Vec::new();
    let mut failed = Vec::new();
    for item in items {
        let what = match item.outcome {
            Some(ItemOutcome::Created) => "created",
            Some(ItemOutcome::Updated) => "updated",
            Some(ItemOutcome::Skipped) => "skipped",
            Some(ItemOutcome::Failed) | None if is_left_as_is(item, results) => {
                left.push(item.to_string());
                "leftAsIs"
            }
            Some(ItemOutcome::Failed) | None => {
                failed.push(item.to_string());
                "failed"
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    let count = |what: &str| counts.get(what).copied().unwrap_or_default();
    let mut outputs = Map::new();
    outputs.insert("items".to_owned(), json!(items.len()));
    for what in ["created", "updated", "skipped", "leftAsIs", "failed"] {
        outputs.insert(what.to_owned(), json!(count(what)));
    }
    outputs.insert("leftAsIsNames".to_owned(), json!(first(&left)));
    outputs.insert("failedNames".to_owned(), json!(first(&failed)));
    outputs.insert("backupName".to_owned(), restore["spec"]["backupName"].clone());
    let gaps = gaps(&left, &failed, absent);
    let disturbing = left.iter().filter(|name| !tolerated.contains(*name)).count();
    let verdict = if is_nothing(items) {
        Verdict::Empty
    } else if !failed.is_empty() || disturbing > 0 {
        Verdict::Partial
    } else {
        restored_verdict(super::Status::of(restore).warnings, absent)
    };
    let said = format!(
        "{} created, {} updated, {} skipped, {} left as they were, {} failed",
        count("created"),
        count("updated"),
        count("skipped"),
        count("leftAsIs"),
        count("failed")
    );
    Findings { verdict, gaps, lacks_data: false, message: with_results(said, Some(results)), outputs }
}

/// Tells whether Velero restores such objects at all; a kind of the same name in another group is another.
pub fn is_restorable(item: &Item) -> bool {
    const NEVER: [(&str, &str); 9] = [
        ("", "Node"),
        ("", "Event"),
        ("events.k8s.io", "Event"),
        (super::GROUP, "Backup"),
        (super::GROUP, "Restore"),
        (super::GROUP, "ResticRepository"),
        (super::GROUP, "BackupRepository"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "VolumeAttachment"),
    ];
    !NEVER.contains(&(group(&item.api_version), item.kind.as_str()))
}

/// Tells whether an object that lives where a Restore would put one stands in its way.
///
/// What controllers make themselves does not: it is made again, and equal or not is theirs to say.
/// A namespace and a definition are there to hold others. A Released volume is nobody's any more;
/// Velero leaves it, and the Restore's own list names it afterwards. A Restore into other namespaces
/// shares what is cluster-scoped with the original.
pub fn is_in_the_way(live: &Value, selection: &Selection) -> bool {
    let metadata = &live["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let owned = metadata["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true));
    let is_shared = selection.maps_namespaces() && metadata["namespace"].is_null();
    let made_by_kubernetes = match live["kind"].as_str().unwrap_or_default() {
        "Namespace" | "CustomResourceDefinition" | "Endpoints" | "EndpointSlice" => true,
        "ServiceAccount" => name == "default",
        "ConfigMap" => name == "kube-root-ca.crt",
        "PersistentVolume" => live["status"]["phase"] == "Released",
        _ => false,
    };
    !owned && !is_shared && !made_by_kubernetes
}

/// Lists what a Restore left as it was.
pub fn left_as_is<'list>(items: &'list [Item], results: &Results) -> Vec<&'list Item> {
    items.iter().filter(|item| is_left_as_is(item, results)).collect()
}

fn is_left_as_is(item: &Item, results: &Results) -> bool {
    if !matches!(item.outcome, Some(ItemOutcome::Failed) | None) {
        return false;
    }
    let words = format!("{}:{} already exists", item.kind, item.name);
    results.warnings.of(item.namespace.as_deref()).any(|warning| warning.contains(&words))
}

fn restored_verdict(warnings: u64, absent: &BTreeSet<String>) -> Verdict {
    if absent.is_empty() { plain_verdict(warnings) } else { Verdict::WithGaps }
}

fn gaps(left: &[String], failed: &[String], absent: &BTreeSet<String>) -> Vec<Gap> {
    let absent = absent.iter().map(|name| (name, "Velero skipped it, and it is not there"));
    let left = left.iter().map(|name| (name, "it was there already and was left as it was"));
    let failed = failed.iter().map(|name| (name, "it was not restored"));
    failed
        .chain(absent)
        .chain(left)
        .take(NAMES)
        .map(|(object, reason)| Gap { object: object.clone(), reason: reason.to_owned() })
        .collect()
}

/// Writes a selector as a person would.
fn print(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let key = &expression.key;
        let values = expression.values.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

/// A backup of a selection that matched nothing may still hold the namespaces it looked into.
fn is_nothing(items: &[Item]) -> bool {
    items.iter().all(|item| match (item.kind.as_str(), item.name.as_str()) {
        // Kubernetes makes these in every namespace.
        ("Namespace", _) | ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default") => true,
        _ => false,
    })
}

fn plain_verdict(warnings: u64) -> Verdict {
    if warnings > 0 { Verdict::WithWarnings } else { Verdict::Complete }
}

fn count_kinds(items: &[Item]) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for item in items {
        let key = format!("{}/{}", item.api_version, item.kind);
        if kinds.len() < KINDS || kinds.contains_key(&key) {
            *kinds.entry(key).or_default() += 1;
        }
    }
    kinds
}

fn first(names: &[String]) -> &[String] {
    &names[..names.len().min(NAMES)]
}

/// Adds the first words of what Velero complained of.
fn with_results(said: String, results: Option<&Results>) -> String {
    let Some(results) = results else { return said };
    let errors = results.errors.lines();
    let lines = if errors.is_empty() { results.warnings.lines() } else { errors };
    match lines.as_slice() {
        [] => said,
        [only] => format!("{said}; Velero: {only}"),
        [first, others @ ..] => format!("{said}; Velero: {first} (and {} more)", others.len()),
    }
}

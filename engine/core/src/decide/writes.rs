//! What a Restore would write, held against what the one may write who had the Action run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::allowed::{Answer, not_asked, too_many};
use super::files::{Read, read};
use super::step::{At, Progress};
use super::{Access, Blocked, ListKey, ObjectKey, Run};
use crate::access::{Manner, Right, Write};
use crate::action::GROUP;
use crate::velero::{Item, Role, SavedObject, Selection, group};

/// How many names a message lists.
const NAMES: usize = 10;

/// What is written, and the rights that this takes.
type Asked<'k> = (Write<'k>, BTreeSet<Right>);

/// Where a Restore takes things from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'b> {
    /// The name of its Backup.
    pub backup: &'b str,
    /// Whether this is in the default storage location: administrators alone write its bucket.
    pub is_default: bool,
}

/// What a Restore writes.
pub(super) struct Written<'w, 'a> {
    /// All items of the Backup.
    pub items: &'a [Item],
    /// Those that are asked for.
    pub wanted: &'w mut Vec<&'a Item>,
    /// Those that plugins of Velero may add.
    pub along: &'w mut Vec<&'a Item>,
}

/// The group of the kinds that stand for snapshots of volumes.
const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
/// The names of claims, the plural first.
const CLAIMS: [&str; 3] = ["persistentvolumeclaims", "persistentvolumeclaim", "pvc"];

/// The objects of a tarball, found by group, kind, namespace and name.
struct Packed<'r>(HashMap<Identity<'r>, &'r SavedObject>);

type Identity<'r> = (&'r str, &'r str, Option<&'r str>, &'r str);

impl<'a> Run<'a> {
    /// Says what keeps the caller from having these items written, if anything does.
    ///
    /// A caller must be allowed to write each kind themselves, or to `escalate` in its namespace. Whatever labels leave
    /// out is asked for as well: they are not what separates tenants. A claim's own volume comes along with it. What
    /// controllers make anew, and what plugins of Velero may add, is left out of the Restore where the caller may not
    /// write it.
    pub(super) fn may_write(
        &mut self,
        at: &At<'_>,
        origin: Origin<'_>,
        spec: &mut Value,
        Written { items: all, wanted, along }: Written<'_, 'a>,
    ) -> Result<Option<Progress>, Blocked> {
        let backup = origin.backup;
        if self.settings.access == Access::Open {
            return Ok(None);
        }
        let selection = Selection::of(spec);
        let Some(items) = self.beyond_escalation(wanted, &selection)? else { return Ok(None) };
        let pending = Some(Progress::Waiting {
            reason: "ReadingBackup",
            message: format!("reads what the Backup {backup} holds"),
        });
        let unreadable = |why: String| {
            let message =
                format!("what the Backup {backup} holds could not be read, so nothing was restored: {why}");
            Some(super::before::unknown(message))
        };
        let contents = read!(self.contents(at, backup)?, pending, unreadable);
        if let Some(obstacle) = unlisted(contents, all).or_else(|| must_include(contents, &selection)) {
            return Ok(Some(obstacle));
        }
        let packed = Packed::of(contents);
        let mut items = self.without_volumes(items, wanted, &packed, spec, origin)?;
        items.extend(self.snapshot_contents(all, &packed, &selection, origin));
        items.extend(along.iter());
        let mut writes: BTreeMap<Write<'a>, bool> = BTreeMap::new();
        // What the cluster has no kind for cannot be restored, unless its definition comes along.
        let defines = wanted.iter().any(|item| item.kind == "CustomResourceDefinition");
        for item in items {
            let names = self.names(item);
            if names.is_empty() && !defines {
                continue;
            }
            let asks = packed.0.get(&identity(item)).is_some_and(|saved| saved.asks_for_status);
            *writes.entry(Write::of(item, names, &selection)).or_default() |=
                asks || selection.restores_status(names);
        }
        let updates = !matches!(spec["existingResourcePolicy"].as_str(), None | Some("none" | ""));
        let asked = writes.into_iter().map(|(write, restores_status)| {
            let rights = write.rights(Manner { updates, restores_status });
            (write, rights)
        });
        let of = |write: &Write<'_>, item: &Item| {
            group(&item.api_version) == write.group && item.kind == write.kind
        };
        let is_spare = |write: &Write<'_>| {
            let of_kind: Vec<_> = wanted.iter().filter(|item| of(write, item)).collect();
            let is_made_anew = || {
                !of_kind.is_empty()
                    && !selection.names_kind(self.names_of(write, wanted))
                    && of_kind.iter().all(|item| packed.makes_anew(item, wanted, &selection))
            };
            along.iter().any(|item| of(write, item)) || is_made_anew()
        };
        let (spare, needed): (Vec<Asked<'_>>, Vec<Asked<'_>>) = asked.partition(|(write, _)| is_spare(write));
        if let Some(obstacle) = self.needed(&needed)? {
            return Ok(Some(obstacle));
        }
        let mut kinds: BTreeMap<(&str, &str), (Write<'a>, BTreeSet<Right>)> = BTreeMap::new();
        for (write, rights) in spare {
            let kind = (write.group, write.kind);
            kinds.entry(kind).or_insert_with(|| (write, BTreeSet::new())).1.extend(rights);
        }
        for (write, rights) in kinds.into_values() {
            if !self.may(rights)? {
                leave_out(spec, write.resource());
                wanted.retain(|item| !of(&write, item));
                along.retain(|item| !of(&write, item));
            }
        }
        Ok(None)
    }

    /// Keeps the items that go where the caller may not `escalate`; the namespace itself comes along. `None` where the
    /// caller may in the whole cluster.
    fn beyond_escalation(
        &mut self,
        wanted: &[&'a Item],
        selection: &Selection,
    ) -> Result<Option<Vec<&'a Item>>, Blocked> {
        let written = |item: &&&'a Item| !(item.api_version == "v1" && item.kind == "Namespace");
        let written: Vec<&'a Item> = wanted.iter().filter(written).copied().collect();
        let places: BTreeSet<Option<String>> =
            written.iter().map(|item| selection.destination(item.namespace.as_deref())).collect();
        let escalate = |place: Option<&str>| Right::target("escalate", place);
        if self.may([escalate(None)].into())? {
            return Ok(None);
        }
        let places = places.iter().flatten().map(|place| escalate(Some(place))).collect();
        // Of too many, none is taken to be had.
        let lacks = self.lacking(BTreeSet::clone(&places))?.unwrap_or(places);
        let lacks: BTreeSet<&str> = lacks.iter().filter_map(|right| right.namespace.as_deref()).collect();
        let lacks = |item: &&'a Item| {
            selection.destination(item.namespace.as_deref()).is_none_or(|place| lacks.contains(&*place))
        };
        Ok(Some(written.into_iter().filter(lacks).collect()))
    }

    /// Lists the snapshots that come with claims or with what stands for them, and may be another's: Velero restores
    /// them past all filters.
    fn snapshot_contents(
        &self,
        items: &'a [Item],
        packed: &Packed<'_>,
        selection: &Selection,
        origin: Origin<'_>,
    ) -> Vec<&'a Item> {
        let contents = items.iter().filter(|item| is_snapshot_content(item));
        let contents: HashMap<&str, &Item> = contents.map(|item| (item.name.as_str(), item)).collect();
        let by_claims = selection.admits_kind(&CLAIMS);
        let restored = items.iter().filter(|item| {
            group(&item.api_version) == SNAPSHOTS
                && item.kind == "VolumeSnapshot"
                && item.namespace.as_deref().is_some_and(|namespace| selection.admits_namespace(namespace))
                && (by_claims || selection.admits_kind(self.names(item)))
        });
        let others = restored.filter_map(|snapshot| {
            let Role::Snapshot(Some(name)) = &packed.0.get(&identity(snapshot))?.role else { return None };
            let content = *contents.get(name.as_str())?;
            let Role::SnapshotContent(Some((namespace, name))) = &packed.0.get(&identity(content))?.role
            else {
                return Some(content);
            };
            let is_its_own = snapshot.namespace.as_ref() == Some(namespace) && snapshot.name == *name;
            (!is_its_own || !origin.is_default).then_some(content)
        });
        others.collect()
    }

    /// Leaves out the volumes that come along with their claims, and those that Velero does not restore.
    fn without_volumes(
        &mut self,
        items: Vec<&'a Item>,
        wanted: &[&'a Item],
        packed: &Packed<'_>,
        spec: &Value,
        origin: Origin<'_>,
    ) -> Result<Vec<&'a Item>, Blocked> {
        let selection = Selection::of(spec);
        let (volumes, mut items): (Vec<&'a Item>, Vec<&'a Item>) =
            items.into_iter().partition(|item| item.api_version == "v1" && item.kind == "PersistentVolume");
        let claims =
            wanted.iter().filter(|item| item.api_version == "v1" && item.kind == "PersistentVolumeClaim");
        let named: BTreeSet<(&str, (&str, &str))> = claims
            .filter_map(|claim| match &packed.0.get(&identity(claim))?.role {
                Role::Claim(Some(volume)) => {
                    Some((volume.as_str(), (claim.namespace.as_deref()?, &*claim.name)))
                }
                _ => None,
            })
            .collect();
        let keys: BTreeSet<ObjectKey> = volumes.iter().map(|volume| key(volume)).collect();
        let updates = spec["existingResourcePolicy"] == "update";
        if updates {
            self.see(&keys)?;
        }
        for volume in volumes {
            let name = volume.name.as_str();
            let claim = packed.0.get(&identity(volume)).and_then(|saved| match &saved.role {
                Role::Volume { claim: Some((namespace, name)), .. } => {
                    Some((namespace.as_str(), name.as_str()))
                }
                _ => None,
            });
            let claim = claim.filter(|claim| named.contains(&(name, *claim)));
            // One that was given to another claim since would be taken away from it.
            let live = self.observed.live.get(&key(volume)).and_then(Option::as_ref);
            let is_anothers = live.filter(|_| updates).zip(claim).is_some_and(|(live, (namespace, name))| {
                let held = &live["spec"]["claimRef"];
                let place = held["namespace"].as_str().map(str::to_owned);
                held["name"] != *name || place != selection.destination(Some(namespace))
            });
            let is_restored = selection.takes_all_volumes() || named.iter().any(|(named, _)| *named == name);
            if is_anothers || (is_restored && (claim.is_none() || !origin.is_default)) {
                items.push(volume);
            }
        }
        Ok(items)
    }

    /// Says which of these objects the caller may not write, if any.
    fn needed(&mut self, asked: &[Asked<'_>]) -> Result<Option<Progress>, Blocked> {
        let rights = asked.iter().flat_map(|(_, rights)| rights.iter().cloned()).collect();
        let (missing, unasked) = match self.ask(rights)? {
            Answer::Granted => return Ok(None),
            Answer::TooMany(count) => return Ok(Some(too_many(count))),
            Answer::Lacks { missing, unasked } => (missing, unasked),
        };
        let refused = asked.iter().filter(|(_, rights)| !rights.is_disjoint(&missing));
        let refused = refused.map(|(write, _)| write.resource()).collect();
        Ok(Some(self.may_not_write(&missing, unasked, &refused)))
    }

    fn may_not_write(&self, lacks: &BTreeSet<Right>, unasked: usize, kinds: &BTreeSet<String>) -> Progress {
        let caller = self.caller().unwrap_or("the one who had this Action run");
        let named: Vec<String> = lacks.iter().take(NAMES).map(ToString::to_string).collect();
        let more =
            if lacks.len() > NAMES { format!(" and {} more", lacks.len() - NAMES) } else { String::new() };
        // Velero restores the snapshots of what is restored whatever the Restore leaves out.
        let left_out =
            kinds.iter().flat_map(|kind| match kind.strip_suffix(&format!("contents.{SNAPSHOTS}")) {
                Some(_) => vec![CLAIMS[0], "volumesnapshots.snapshot.storage.k8s.io"],
                None => vec![kind.as_str()],
            });
        let kinds = left_out.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",");
        Progress::failed(
            "Forbidden",
            format!(
                "{caller} may not {}{more}{}, so nothing was restored; leave these kinds out with \
                 excludeResources: {kinds}, or ask for a role that has it, or for escalate on targets.{GROUP} there",
                named.join(", nor "),
                not_asked(unasked)
            ),
        )
    }

    /// Names a kind in all ways, the plural first; nothing where the cluster does not have it.
    pub(super) fn names(&self, item: &Item) -> &'a [String] {
        let key = ListKey { api_version: item.api_version.clone(), kind: item.kind.clone(), namespace: None };
        self.observed.names.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    fn names_of(&self, write: &Write<'_>, wanted: &[&'a Item]) -> &'a [String] {
        let of_it = |item: &&&Item| group(&item.api_version) == write.group && item.kind == write.kind;
        wanted.iter().find(of_it).map(|item| self.names(item)).unwrap_or_default()
    }
}

impl<'r> Packed<'r> {
    fn of(contents: &'r [SavedObject]) -> Self {
        Self(contents.iter().map(|saved| (identity_of(saved), saved)).collect())
    }

    /// Tells whether a controller makes an object anew, from what is restored with it.
    ///
    /// By the kind and by what makes it, never by an owner in general: whatever is owned so could be anything.
    fn makes_anew(&self, item: &Item, wanted: &[&Item], selection: &Selection) -> bool {
        let namespace = item.namespace.as_deref();
        let saved = self.0.get(&identity(item));
        let controller = saved.and_then(|saved| saved.controller.as_ref());
        let controller = controller.map(|(kind, name)| (kind.as_str(), name.as_str()));
        let maker = match (group(&item.api_version), item.kind.as_str(), controller) {
            ("", "Endpoints", _) => ("", "Service", namespace, item.name.as_str()),
            ("discovery.k8s.io", "EndpointSlice", Some(("Service", name))) => {
                ("", "Service", namespace, name)
            }
            ("apps", "ControllerRevision", Some((kind @ ("StatefulSet" | "DaemonSet"), name))) => {
                ("apps", kind, namespace, name)
            }
            _ => return false,
        };
        self.0.get(&maker).is_some_and(|saved| {
            !matches!(saved.role, Role::Service { selects: false })
                && selection.admits_labels(saved)
                && wanted.iter().any(|item| identity(item) == maker)
        })
    }
}

fn identity_of(saved: &SavedObject) -> Identity<'_> {
    (&saved.group, &saved.kind, saved.namespace.as_deref(), &saved.name)
}

fn identity(item: &Item) -> Identity<'_> {
    (group(&item.api_version), &item.kind, item.namespace.as_deref(), &item.name)
}

fn key(volume: &Item) -> ObjectKey {
    ObjectKey {
        api_version: volume.api_version.clone(),
        kind: volume.kind.clone(),
        namespace: None,
        name: volume.name.clone(),
        account: None,
    }
}

/// Tells whether an item is a snapshot of a volume: Velero restores those of claims past all filters.
pub(super) fn is_snapshot_content(item: &Item) -> bool {
    group(&item.api_version) == SNAPSHOTS && item.kind == "VolumeSnapshotContent"
}

/// Has a Restore leave out a kind.
pub(super) fn leave_out(spec: &mut Value, resource: String) {
    let excluded = &mut spec["excludedResources"];
    match excluded {
        Value::Array(kinds) if kinds.iter().any(|kind| *kind == resource) => {}
        Value::Array(kinds) => kinds.push(Value::String(resource)),
        _ => *excluded = json!([resource]),
    }
}

/// Refuses a Backup whose tarball holds what its list lacks: Velero restores the tarball.
fn unlisted(contents: &[SavedObject], items: &[Item]) -> Option<Progress> {
    let listed: HashSet<Identity<'_>> = items.iter().map(identity).collect();
    let saved = contents.iter().find(|saved| !listed.contains(&identity_of(saved)))?;
    Some(super::before::unknown(format!(
        "the Backup holds the {saved}, and its list of what it holds does not say so; nothing was restored: find out \
         who wrote into its bucket"
    )))
}

/// Refuses a Backup with an object that has what Velero's plugins add to it restored past all filters.
fn must_include(contents: &[SavedObject], selection: &Selection) -> Option<Progress> {
    let is_near =
        |namespace: &Option<String>| namespace.as_ref().is_none_or(|name| selection.admits_namespace(name));
    let saved = contents.iter().find(|saved| saved.must_include && is_near(&saved.namespace))?;
    Some(Progress::failed(
        "BadFilter",
        format!(
            "the {saved} of the Backup has the annotation restore.velero.io/must-include-additional-items, by which \
             Velero restores what the filters leave out; take it away and make a new backup, or ask for escalate on \
             targets.{GROUP}"
        ),
    ))
}

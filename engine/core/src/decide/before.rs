//! What must be true before a Backup or a Restore is created.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::files::{Read, read};
use super::step::{At, Progress};
use super::writes::{Origin, Written, leave_out};
use super::{Access, Blocked, ListKey, Need, ObjectKey, Run, later};
use crate::access::{Right, backup_rights, restore_rights, sight_rights};
use crate::action::{GROUP, Outcome};
use crate::phase::Verdict;
use crate::schema::parse_duration;
use crate::velero::{self, DocumentKind, Item, SavedObject, Selection, Source, group};
use crate::workflow::{Existing, Expect};

/// How long a Restore waits for its Backup to appear when nothing says otherwise.
const SYNC_TIMEOUT: Duration = Duration::from_secs(300);
/// How many names a message lists.
const NAMES: usize = 5;

impl<'a> Run<'a> {
    /// Says what keeps a Backup from being created.
    pub(super) fn before_backup(&mut self, manifest: &Value) -> Result<Option<Progress>, Blocked> {
        if let Some(obstacle) =
            self.forbidden(backup_rights(&manifest["spec"], &self.settings.velero_namespace))?
        {
            return Ok(Some(obstacle));
        }
        let locations = self.velero_list("BackupStorageLocation")?;
        let name = velero::storage_location(&manifest["spec"], locations);
        if let Some(obstacle) = self.may_use(name, locations)? {
            return Ok(Some(obstacle));
        }
        if let Some(problem) = self.unknown_kind(&manifest["spec"], &[])? {
            return Ok(Some(problem));
        }
        let asked = manifest["spec"]["storageLocation"].is_string();
        Ok(location_obstacle(name, locations, asked, true))
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
        if let Some(obstacle) = settle_status(&mut manifest["spec"]) {
            return Ok(Some(obstacle));
        }
        let locations = self.velero_list("BackupStorageLocation")?;
        let location = velero::named_location(expect.storage_location.as_deref(), locations);
        if let Some(obstacle) = self.may_use(location, locations)? {
            return Ok(Some(obstacle));
        }
        let is_named = expect.storage_location.is_some();
        if let Some(unusable @ Progress::Failed { .. }) =
            location_obstacle(location, locations, is_named, false)
        {
            return Ok(Some(unusable));
        }
        let stored = velero::stored_in(self.velero_list("Backup")?, location, locations);
        let source = velero::choose_backup(&stored, &name, expect.partial, self.namespace());
        // Nothing is told of a Backup to a caller who may not see it, not even that it is there.
        let told_of = source.told_of().into_iter();
        let sight = told_of.flat_map(|backup| sight_rights(&backup["spec"], &manifest["spec"])).collect();
        if !self.may(sight)? {
            return Ok(Some(self.unknown_backup(at, expect, &name, location)));
        }
        if let Some(why) = source.refusal(&name) {
            return Ok(Some(Progress::failed("BackupNotRestorable", why)));
        }
        let Source::Good(backup) = source else {
            return Ok(Some(self.unknown_backup(at, expect, &name, location)));
        };
        if let Some(unavailable) = location_obstacle(location, locations, is_named, false) {
            return Ok(Some(unavailable));
        }
        manifest["spec"]["backupName"] = backup["metadata"]["name"].clone();
        let maps = Selection::of(&manifest["spec"]).maps_namespaces();
        let is_checked = expect.existing == Existing::Refuse || self.settings.access == Access::Checked;
        if is_checked || maps || !velero::named_kinds(&manifest["spec"]).is_empty() {
            let origin = Origin {
                backup: backup["metadata"]["name"].as_str().unwrap_or_default(),
                is_default: location == velero::default_location(locations),
            };
            return self.check_items(at, expect, origin, &mut manifest["spec"]);
        }
        Ok(None)
    }

    /// Says what keeps the caller from using a storage location; the default one is for all.
    fn may_use(&mut self, location: &str, locations: &[Value]) -> Result<Option<Progress>, Blocked> {
        if location == velero::default_location(locations) {
            return Ok(None);
        }
        self.forbidden([Right::storage_location(&self.settings.velero_namespace, location)].into())
    }

    /// A Backup that is not known may still be found in the bucket by Velero.
    fn unknown_backup(&mut self, at: &At<'_>, expect: &Expect, name: &str, location: &str) -> Progress {
        let timeout =
            expect.sync_timeout.as_deref().and_then(|text| parse_duration(text).ok()).unwrap_or(SYNC_TIMEOUT);
        let deadline = later(at.began(self.now), timeout);
        if self.now >= deadline {
            let hidden = match self.settings.access {
                Access::Open => "",
                // The same words whether there is one or not.
                Access::Checked => {
                    "; one that holds other namespaces than you may restore, or too many to ask about, counts as none, \
                     unless includeNamespaces names yours"
                }
            };
            let waited = timeout.as_secs();
            let message = format!(
                "Velero knows no Backup {name} in the storage location {location}, and found none in its bucket within \
                 {waited} s; storageLocation names another{hidden}"
            );
            return Progress::failed("NotFound", message);
        }
        self.look_again_at(deadline);
        Progress::Waiting {
            reason: "BackupUnknown",
            message: format!(
                "Velero knows no Backup {name} in the storage location {location}; waits {} s for it to be found in the bucket",
                timeout.as_secs()
            ),
        }
    }

    /// Holds what would be restored against what may be and against what lives, before Velero writes anything.
    fn check_items(
        &mut self,
        at: &At<'_>,
        expect: &Expect,
        origin: Origin<'_>,
        spec: &mut Value,
    ) -> Result<Option<Progress>, Blocked> {
        let name = origin.backup;
        let pending = Some(Progress::Waiting {
            reason: "ReadingBackup",
            message: format!("reads what the Backup {name} holds"),
        });
        let unreadable = |why: String| {
            Some(unknown(format!(
                "what the Backup {name} holds could not be read, so nothing was restored: {why}"
            )))
        };
        let selection = Selection::of(spec);
        if let Some(name) = selection.unclear() {
            let message = format!(
                "`{name}` is a pattern, or has characters that Velero may read in another way; name each namespace and \
                 kind that is restored, with ASCII letters, digits, - and . only"
            );
            return Ok(Some(Progress::failed("BadFilter", message)));
        }
        let items = read!(self.items(at, DocumentKind::BackupResourceList, name)?, pending, unreadable);
        let mut wanted = self.admitted(items, &selection)?;
        if let Some(problem) = self.other_spelling(items, &selection) {
            return Ok(Some(problem));
        }
        if let Some(problem) = self.unknown_kind(spec, items)? {
            return Ok(Some(problem));
        }
        // Whatever labels leave out is asked for as well: they are not what separates tenants.
        let rights = restore_rights(spec, &wanted, &self.settings.velero_namespace);
        if let Some(obstacle) = self.forbidden(rights)? {
            return Ok(Some(obstacle));
        }
        if wanted.iter().any(|item| is_action(group(&item.api_version), &item.kind)) {
            let contents = read!(self.contents(at, name)?, pending, unreadable);
            if let Some(obstacle) = status_of_actions(contents, &selection) {
                return Ok(Some(obstacle));
            }
        }
        self.leave_out_in_full(items, &selection, spec);
        let mut along = self.along(items, &selection);
        if let Some(obstacle) =
            self.may_write(at, origin, spec, Written { items, wanted: &mut wanted, along: &mut along })?
        {
            return Ok(Some(obstacle));
        }
        let named: Vec<&Item> = wanted.iter().chain(&along).copied().collect();
        self.name_in_full(items, &named, &selection, spec);
        if selection.maps_namespaces() {
            let mut chosen = wanted.clone();
            if !selection.selectors().is_empty() {
                keep_labelled(&mut chosen, read!(self.contents(at, name)?, pending, unreadable), &selection);
            }
            if let Some(twice) = written_twice(&chosen, &selection) {
                return Ok(Some(twice));
            }
        }
        if expect.existing != Existing::Refuse {
            return Ok(None);
        }
        if !selection.selectors().is_empty() {
            let contents = read!(self.contents(at, name)?, pending, unreadable);
            keep_labelled(&mut wanted, contents, &selection);
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
                account: None,
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

    /// Names those of these objects that live and stand in a Restore's way.
    pub(super) fn blocking(
        &mut self,
        places: &BTreeSet<ObjectKey>,
        selection: &Selection,
    ) -> Result<Vec<ObjectKey>, Blocked> {
        self.see(places)?;
        let blocks = |key: &&ObjectKey| {
            let live = self.observed.live.get(*key).and_then(Option::as_ref);
            live.is_some_and(|live| velero::is_in_the_way(live, selection))
        };
        Ok(places.iter().filter(blocks).cloned().collect())
    }

    /// Looks which of these objects live.
    pub(super) fn see(&mut self, places: &BTreeSet<ObjectKey>) -> Result<(), Blocked> {
        let unseen: BTreeSet<ObjectKey> =
            places.iter().filter(|key| !self.observed.live.contains_key(key)).cloned().collect();
        if !unseen.is_empty() {
            return self.need(Need::Live(unseen));
        }
        Ok(())
    }

    pub(super) fn velero_list(&mut self, kind: &str) -> Result<&'a [Value], Blocked> {
        self.list(ListKey {
            api_version: velero::API_VERSION.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.settings.velero_namespace.clone()),
        })
    }
}

/// Says why a storage location cannot be used; one that cannot become right fails at once.
fn location_obstacle(name: &str, locations: &[Value], is_named: bool, writes: bool) -> Option<Progress> {
    let problem = velero::location_problem(name, locations, writes)?;
    let known = locations.iter().find(|location| location["metadata"]["name"] == name);
    let is_hopeless = (is_named && known.is_none() && !locations.is_empty())
        || (writes && known.is_some_and(|location| location["spec"]["accessMode"] == "ReadOnly"));
    Some(if is_hopeless {
        Progress::failed("LocationUnusable", problem)
    } else {
        Progress::Waiting { reason: "LocationUnavailable", message: problem }
    })
}

/// Sees that a Restore does not write the status of Actions: what became of a run is the engine's to say.
fn settle_status(spec: &mut Value) -> Option<Progress> {
    const NAMES: [&str; 3] = ["actions.core.ochre.dev", "actions", "action"];
    let statuses = spec["restoreStatus"].as_object_mut()?;
    let included = statuses.get("includedResources").and_then(Value::as_array);
    if included.into_iter().flatten().any(|kind| {
        kind.as_str().is_some_and(|kind| NAMES.iter().any(|name| name.eq_ignore_ascii_case(kind)))
    }) {
        let message =
            "restoreStatus names Actions, and what became of a run is the engine's to say; leave them out";
        return Some(Progress::failed("BadFilter", message));
    }
    let mut of = json!({"excludedResources": statuses.get("excludedResources")});
    leave_out(&mut of, NAMES[0].to_owned());
    statuses.insert("excludedResources".to_owned(), of["excludedResources"].take());
    None
}

/// Says what is wrong where Actions of a Backup ask that their status be restored.
fn status_of_actions(contents: &[SavedObject], selection: &Selection) -> Option<Progress> {
    let asks = |saved: &&SavedObject| {
        let admitted =
            saved.namespace.as_deref().is_none_or(|namespace| selection.admits_namespace(namespace));
        is_action(&saved.group, &saved.kind) && saved.asks_for_status && admitted
    };
    let saved = contents.iter().find(asks)?;
    Some(Progress::failed(
        "BadFilter",
        format!(
            "the {saved} of the Backup asks by an annotation that its status be restored, and what became of a run is \
             the engine's to say; leave Actions out with excludeResources: actions.{GROUP}"
        ),
    ))
}

fn is_action(group: &str, kind: &str) -> bool {
    group == GROUP && kind == "Action"
}

/// Keeps the items that the labels let through. An object that the tarball lacks cannot be restored.
fn keep_labelled(wanted: &mut Vec<&Item>, contents: &[SavedObject], selection: &Selection) {
    let labelled = selection.admitted_by_labels(contents);
    wanted.retain(|item| {
        let group = group(&item.api_version);
        labelled.contains(&(group, &*item.kind, item.namespace.as_deref(), &*item.name))
    });
}

/// Refuses a Restore that puts two objects into one place: Velero writes the first and is silent about the other.
fn written_twice(wanted: &[&Item], selection: &Selection) -> Option<Progress> {
    // Each namespace has these, and its controllers make them anew.
    const EVERYWHERE: [(&str, &str); 2] = [("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")];
    let mut places = BTreeSet::new();
    let twice = wanted.iter().find(|item| {
        let place = selection.destination(item.namespace.as_deref());
        place.is_some()
            && !EVERYWHERE.contains(&(&*item.kind, &*item.name))
            && !places.insert((group(&item.api_version), &item.kind, place, &item.name))
    })?;
    let destination = selection.destination(twice.namespace.as_deref()).unwrap_or_default();
    let message = format!(
        "two namespaces are restored into {destination}, and both have a {} {}, of which Velero would restore one alone; restore them one after another, or into namespaces of their own",
        twice.kind, twice.name
    );
    Some(Progress::failed("BadFilter", message))
}

/// Ends a step about which nobody knows.
pub(super) fn unknown(message: String) -> Progress {
    ended(Verdict::Unknown, "Unknown", message)
}

fn empty(message: String) -> Progress {
    ended(Verdict::Empty, "Empty", message)
}

fn ended(verdict: Verdict, reason: &'static str, message: String) -> Progress {
    let outcome = Outcome { verdict, gaps: Vec::new(), warnings: 0, errors: 0 };
    Progress::Failed { reason, message, outcome: Some(outcome), outputs: Map::new() }
}

//! Which items of a Backup a Restore's filters let through, in the names that the cluster has for their kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::step::Progress;
use super::writes::{is_snapshot_content, leave_out};
use super::{Access, Blocked, ListKey, Need, Resource, Run, later};
use crate::access::Write;
use crate::velero::{self, Item, Selection, group};

/// How soon to look again which kinds there are.
const AGAIN: Duration = Duration::from_secs(10);

impl<'a> Run<'a> {
    /// Refuses a name of a kind that neither the cluster has nor the Backup brings along: Velero takes it for one of which
    /// there is nothing.
    pub(super) fn unknown_kind(&mut self, spec: &Value, items: &[Item]) -> Result<Option<Progress>, Blocked> {
        let mut names = velero::named_kinds(spec);
        if names.is_empty() {
            return Ok(None);
        }
        let brought: BTreeSet<&str> = items.iter().flat_map(|item| self.brought(item)).collect();
        let is_brought = |name: &String| brought.iter().any(|known| known.eq_ignore_ascii_case(name));
        names.retain(|name| !is_brought(name));
        if names.iter().any(|name| !self.observed.resources.contains_key(name)) {
            return self.need(Need::Resources(names));
        }
        for name in &names {
            match self.observed.resources.get(name) {
                Some(Resource::Unknown(hint)) => {
                    let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    let message = format!("the cluster has no kind `{name}`{hint}");
                    return Ok(Some(Progress::failed("BadFilter", message)));
                }
                Some(Resource::Unclear(group)) => {
                    self.look_again_at(later(self.now, AGAIN));
                    let message = format!(
                        "whether the cluster has a kind `{name}` is not known, since its API group {group} does not answer"
                    );
                    return Ok(Some(Progress::Waiting { reason: "ApiUnavailable", message }));
                }
                Some(Resource::Known) | None => {}
            }
        }
        Ok(None)
    }

    /// Lists the names of an item's kind, and those of the one that it defines.
    fn brought<'i>(&self, item: &'i Item) -> impl Iterator<Item = &'i str> + use<'i, 'a>
    where
        'a: 'i,
    {
        let is_definition = item.kind == "CustomResourceDefinition";
        let plural = item.name.split('.').next().filter(|_| is_definition);
        let full = is_definition.then_some(item.name.as_str());
        self.names(item).iter().map(String::as_str).chain(plural).chain(full)
    }

    /// Refuses a kind that is named as Velero reads it and this engine does not.
    pub(super) fn other_spelling(&self, items: &[Item], selection: &Selection) -> Option<Progress> {
        let kinds: BTreeMap<(&str, &str), &Item> =
            items.iter().map(|item| ((item.api_version.as_str(), item.kind.as_str()), item)).collect();
        kinds.into_values().find_map(|item| {
            let names = self.names(item);
            let kind = selection.other_spelling(group(&item.api_version), names)?;
            let full = Write::of(item, names, selection).resource();
            let message = format!(
                "`{kind}` is no full name of a kind; write `{full}`, so that it means one kind alone"
            );
            Some(Progress::failed("BadFilter", message))
        })
    }

    /// Names the kinds of a Backup that a Restore leaves out as Velero takes them for no others: a short name is that of
    /// one kind to Velero, and of every kind that is called so here.
    pub(super) fn leave_out_in_full(&self, items: &'a [Item], selection: &Selection, spec: &mut Value) {
        if self.settings.access == Access::Open {
            return;
        }
        for kind in
            self.full_names(items.iter().filter(|item| selection.leaves_out(self.names(item))), selection)
        {
            leave_out(spec, kind);
        }
    }

    /// Names the kinds of items as Velero takes them for no others.
    fn full_names(&self, items: impl Iterator<Item = &'a Item>, selection: &Selection) -> BTreeSet<String> {
        items.map(|item| Write::of(item, self.names(item), selection).resource()).collect()
    }

    /// Keeps the items that the namespaces and kinds of a selection let through.
    pub(super) fn admitted(
        &mut self,
        items: &'a [Item],
        selection: &Selection,
    ) -> Result<Vec<&'a Item>, Blocked> {
        let kinds: BTreeSet<(&str, &str)> =
            items.iter().map(|item| (item.api_version.as_str(), item.kind.as_str())).collect();
        let keys = kinds.into_iter().map(|(api_version, kind)| ListKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
        });
        let unknown: Vec<Need> =
            keys.filter(|key| !self.observed.names.contains_key(key)).map(Need::Names).collect();
        if !unknown.is_empty() {
            self.needs.extend(unknown);
            return Err(Blocked);
        }
        let unknown = self.unknown(items, selection);
        let admits = |item: &&Item| {
            let names = self.names(item);
            selection.admits(item, if names.is_empty() { &unknown } else { names })
        };
        Ok(items.iter().filter(|item| velero::is_restorable(item)).filter(admits).collect())
    }

    /// Lists the items of kinds that plugins of Velero may add to what is wanted, and that can be left out.
    pub(super) fn along(&self, items: &'a [Item], selection: &Selection) -> Vec<&'a Item> {
        let can_be_left_out = items.iter().filter(|item| {
            item.namespace.is_none() && velero::is_restorable(item) && !is_snapshot_content(item)
        });
        can_be_left_out.filter(|item| selection.may_come_along(item, self.names(item))).collect()
    }

    /// Lists the names that may be those of kinds which the cluster does not know yet: their definition comes along.
    fn unknown(&self, items: &'a [Item], selection: &Selection) -> Vec<String> {
        if !items.iter().any(|item| item.kind == "CustomResourceDefinition") {
            return Vec::new();
        }
        let known: BTreeSet<&String> = items.iter().flat_map(|item| self.names(item)).collect();
        selection.unknown(&known).cloned().collect()
    }

    /// Names the kinds that a Restore brings back in full, so that Velero has no name left to read in its own way.
    pub(super) fn name_in_full(
        &self,
        items: &'a [Item],
        wanted: &[&'a Item],
        selection: &Selection,
        spec: &mut Value,
    ) {
        if self.settings.access == Access::Open || !selection.lists_kinds() || wanted.is_empty() {
            return;
        }
        let known = wanted.iter().copied().filter(|item| !self.names(item).is_empty());
        let mut kinds = self.full_names(known, selection);
        kinds.extend(self.unknown(items, selection));
        spec["includedResources"] = json!(kinds);
    }
}

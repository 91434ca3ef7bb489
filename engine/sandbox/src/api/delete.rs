//! Deletes: at once, or with what belongs to an object, or only marked while something holds it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::route::check_dry_run;
use super::store::{Key, Store};
use super::write::Place;
use super::{builtin, object};

/// What a caller may say with a delete.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    preconditions: Preconditions,
    pub(crate) propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    pub(crate) dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Checks what the caller must not say.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let refuse = |reason, field, message: String| {
            Err(Failure::options("DeleteOptions", Cause::new(reason, field, message)))
        };
        check_dry_run("DeleteOptions", self.dry_run.iter())?;
        match self.propagation_policy.as_deref() {
            Some(policy) if self.orphan_dependents.is_some() => {
                let message = format!(
                    "Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set"
                );
                refuse("FieldValueInvalid", "propagationPolicy", message)
            }
            None | Some("Foreground" | "Background" | "Orphan") => Ok(()),
            Some(policy) => {
                let message = format!(
                    "Unsupported value: {policy:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                );
                refuse("FieldValueNotSupported", "propagationPolicy", message)
            }
        }
    }
}

impl Preconditions {
    fn check(&self, place: &Place, found: &Value) -> Result<(), Failure> {
        let checks = [
            ("uid", "UID", &self.uid, "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", &self.resource_version, "modified"),
        ];
        for (field, word, wanted, meanwhile) in checks {
            let found = found["metadata"][field].as_str().unwrap_or_default();
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                let reason = format!(
                    "the {word} in the precondition ({wanted}) does not match the {word} in record ({found}). The object might have been {meanwhile}"
                );
                let resource = place.kind.qualified_kind();
                return Err(Failure::Conflict { resource, name: place.name.clone(), reason });
            }
        }
        Ok(())
    }
}

impl Store {
    /// Deletes an object; what holds it only lets it be marked. Yields what the caller is shown.
    pub(crate) fn delete(&mut self, place: &Place, options: &DeleteOptions) -> Result<Arc<Value>, Failure> {
        let old = self.find(place)?;
        options.preconditions.check(place, &old)?;
        if place.dry_run || !options.dry_run.is_empty() {
            return Ok(old);
        }
        let key = place.key();
        let waits = match options.propagation_policy.as_deref() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        let deleted = match waits {
            Some(finalizer) if !builtin::holds_contents(&key.resource) => {
                self.delete_in_order(&key, finalizer)
            }
            _ => self.begin_delete(&key),
        };
        self.settle();
        Ok(deleted.unwrap_or(old))
    }

    /// Deletes an object after what belongs to it was deleted, or let go.
    fn delete_in_order(&mut self, key: &Key, finalizer: &str) -> Option<Arc<Value>> {
        let mut held = (*self.get(key)?).clone();
        if let Some(finalizers) = held["metadata"]["finalizers"].as_array_mut() {
            finalizers.push(json!(finalizer));
        } else {
            held["metadata"]["finalizers"] = json!([finalizer]);
        }
        self.put(key, held);
        let marked = self.begin_delete(key)?;
        let uid = object::uid(&marked);
        if finalizer == "orphan" {
            self.orphan(uid);
        } else {
            for dependent in self.dependents(uid) {
                self.begin_delete(&dependent);
            }
        }
        let mut free = (*marked).clone();
        let kept = free["metadata"]["finalizers"].as_array().into_iter().flatten();
        let kept: Vec<Value> = kept.filter(|one| *one != finalizer).cloned().collect();
        if kept.is_empty() {
            self.remove(key);
        } else {
            free["metadata"]["finalizers"] = json!(kept);
            self.put(key, free);
        }
        Some(marked)
    }

    /// Marks an object as being deleted, or removes it where nothing holds it.
    pub(super) fn begin_delete(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = self.get(key)?;
        if !object::has_finalizers(&object) && !builtin::holds_contents(&key.resource) {
            return self.remove(key);
        }
        if object::is_deleting(&object) {
            return Some(object);
        }
        let mut marked = (*object).clone();
        marked["metadata"]["deletionTimestamp"] = json!(object::timestamp(self.now));
        // A namespace has no grace.
        if key.resource != "namespaces" {
            marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        }
        if let Some(generation) = marked["metadata"]["generation"].as_i64() {
            marked["metadata"]["generation"] = json!(generation + 1);
        }
        builtin::mark_terminating(&key.resource, &mut marked, self.now);
        Some(self.put(key, marked))
    }

    fn orphan(&mut self, owner: &str) {
        for key in self.dependents(owner) {
            self.drop_owner(&key, owner);
        }
    }

    /// Removes one owner reference from an object.
    pub(super) fn drop_owner(&mut self, key: &Key, owner: &str) {
        let Some(found) = self.get(key) else { return };
        let mut changed = (*found).clone();
        if let Some(owners) = changed["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|reference| reference["uid"] != owner);
            if owners.is_empty() {
                object::set(&mut changed["metadata"], "ownerReferences", Value::Null);
            }
        }
        self.put(key, changed);
    }
}

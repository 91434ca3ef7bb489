//! Create, update, patch and delete, with the rules that hold for every kind.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::{Cause, Failure};
use super::fields::{self, Writer};
use super::identity::{check_identity, check_shape, chosen_name};
use super::kind::{Kind, Version};
use super::object;
use super::patch::{PatchKind, merged};
use super::store::{Key, Store};
use super::{builtin, definition};

/// Says what a request is about: a kind in a version, perhaps a namespace and an object.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Arc<Kind>,
    pub(crate) version: Version,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) status: bool,
    pub(crate) dry_run: bool,
    /// Who writes.
    pub(crate) manager: String,
    /// Whether an apply takes fields from their owners.
    pub(crate) force: bool,
}

/// What a caller may say with a delete.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    preconditions: Preconditions,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Place {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.kind.resource(), &self.namespace, &self.name)
    }

    fn writer<'a>(&'a self, operation: &'static str, api_version: &'a str, time: &'a str) -> Writer<'a> {
        let (manager, status, custom) = (self.manager.as_str(), self.status, self.kind.custom);
        Writer { manager, operation, status, api_version, time, custom }
    }

    pub(super) fn invalid(&self, name: &str, causes: Vec<Cause>) -> Failure {
        Failure::invalid(&self.kind, name, causes)
    }
}

impl Store {
    /// Finds an object or says that it is not there.
    pub(crate) fn find(&self, place: &Place) -> Result<Arc<Value>, Failure> {
        self.get(&place.key()).ok_or_else(|| Failure::not_found(&place.kind, &place.name))
    }

    /// Creates an object.
    pub(crate) fn create(&mut self, place: &Place, new: Value) -> Result<Arc<Value>, Failure> {
        self.create_as(place, new, false)
    }

    fn create_as(&mut self, place: &Place, mut new: Value, applied: bool) -> Result<Arc<Value>, Failure> {
        check_identity(place, &mut new)?;
        let name = chosen_name(place, &new)?;
        self.check_namespace(place, &name)?;
        let place = Place { name: name.clone(), ..place.clone() };
        let key = place.key();
        if self.get(&key).is_some() {
            return Err(Failure::AlreadyExists { resource: key.resource, name });
        }
        if object::metadata(&new, "resourceVersion").is_some() {
            return Err(Failure::BadRequest(
                "resourceVersion should not be set on objects to be created".to_owned(),
            ));
        }
        if place.version.status {
            object::set(&mut new, "status", Value::Null);
        }
        let metadata = &mut new["metadata"];
        metadata["name"] = json!(name);
        let server_s =
            ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "managedFields"];
        for field in server_s {
            object::set(metadata, field, Value::Null);
        }
        metadata["uid"] = json!(Uuid::new_v4().to_string());
        metadata["creationTimestamp"] = json!(object::timestamp(self.now));
        if place.kind.generation {
            metadata["generation"] = json!(1);
        }
        if applied {
            let nothing = json!({"metadata": {"managedFields": []}});
            let merge = |_: &Value, wanted: &Value| wanted.clone();
            new = self.applied(&place, &nothing, &new, merge)?;
        }
        self.finish(&place, &mut new, None)?;
        if place.dry_run {
            return Ok(Arc::new(new));
        }
        let written = self.put(&key, new);
        self.settle();
        Ok(written)
    }

    /// Replaces an object, or only its status.
    pub(crate) fn update(&mut self, place: &Place, mut new: Value) -> Result<Arc<Value>, Failure> {
        let old = self.find(place)?;
        check_identity(place, &mut new)?;
        let conflict = |reason: String| Failure::conflict(&place.kind, &place.name, reason);
        match object::metadata(&new, "uid") {
            Some(uid) if uid != object::uid(&old) => {
                let found = object::uid(&old);
                let reason =
                    format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
                return Err(conflict(reason));
            }
            _ => {}
        }
        match object::metadata(&new, "resourceVersion") {
            Some(version) if version != old["metadata"]["resourceVersion"] => {
                return Err(Failure::modified(&place.kind, &place.name));
            }
            None if place.kind.custom => {
                let message = "Invalid value: 0: must be specified for an update";
                let cause = Cause::invalid("metadata.resourceVersion", message);
                return Err(place.invalid(&place.name, vec![cause]));
            }
            _ => {}
        }
        self.replace(place, &old, new, None)
    }

    /// Patches an object, or only its status.
    pub(crate) fn patch(
        &mut self,
        place: &Place,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Arc<Value>, Failure> {
        let old = match self.find(place) {
            Err(_) if kind == PatchKind::Apply && !place.status => {
                let mut new = patch.clone();
                object::set(&mut new["metadata"], "name", json!(place.name));
                return self.create_as(place, new, true);
            }
            found => found?,
        };
        let mut new = match kind {
            PatchKind::Apply => {
                self.applied(place, &old, patch, |old, wanted| merged(old, wanted, place.kind.custom))?
            }
            _ => kind.apply(&old, patch, place.kind.custom)?,
        };
        check_identity(place, &mut new)?;
        for field in ["resourceVersion", "uid"] {
            if new["metadata"][field] != old["metadata"][field] {
                return Err(Failure::modified(&place.kind, &place.name));
            }
        }
        let owners = (kind == PatchKind::Apply).then(|| new["metadata"]["managedFields"].clone());
        self.replace(place, &old, new, owners)
    }

    /// Merges what a manager applies into an object, unless others own what it would change.
    fn applied(
        &self,
        place: &Place,
        old: &Value,
        wanted: &Value,
        merge: impl FnOnce(&Value, &Value) -> Value,
    ) -> Result<Value, Failure> {
        let (api_version, time) = (place.kind.api_version(&place.version.name), object::timestamp(self.now));
        let writer = place.writer("Apply", &api_version, &time);
        fields::apply(old, wanted, &writer, place.force, merge).map_err(Failure::Owned)
    }

    /// Deletes an object; finalizers only let it be marked.
    pub(crate) fn delete(&mut self, place: &Place, options: &DeleteOptions) -> Result<Arc<Value>, Failure> {
        let old = self.find(place)?;
        let checks = [
            ("uid", "UID", &options.preconditions.uid),
            ("resourceVersion", "ResourceVersion", &options.preconditions.resource_version),
        ];
        for (field, word, wanted) in checks {
            let found = old["metadata"][field].as_str().unwrap_or_default();
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                let reason = format!(
                    "Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {found}"
                );
                return Err(Failure::conflict(&place.kind, &place.name, reason));
            }
        }
        if place.dry_run || !options.dry_run.is_empty() {
            return Ok(old);
        }
        if options.propagation_policy.as_deref() == Some("Orphan") {
            self.orphan(object::uid(&old));
        }
        let key = place.key();
        let deleted = self.begin_delete(&key).unwrap_or(old);
        self.settle();
        Ok(deleted)
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
        marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        builtin::mark_terminating(&key.resource, &mut marked, self.now);
        Some(self.put(key, marked))
    }

    /// Writes an object in the place of another. `owners` says who owns which field; else that is found out.
    fn replace(
        &mut self,
        place: &Place,
        old: &Arc<Value>,
        mut new: Value,
        owners: Option<Value>,
    ) -> Result<Arc<Value>, Failure> {
        if place.status {
            let status = new["status"].take();
            new = (**old).clone();
            object::set(&mut new, "status", status);
        } else if place.version.status {
            object::set(&mut new, "status", old["status"].clone());
        }
        for field in [
            "uid",
            "name",
            "namespace",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ] {
            object::set(&mut new["metadata"], field, old["metadata"][field].clone());
        }
        if let Some(owners) = owners {
            object::set(&mut new["metadata"], "managedFields", owners);
        } else {
            let (api_version, time) =
                (place.kind.api_version(&place.version.name), object::timestamp(self.now));
            fields::update(old, &mut new, &place.writer("Update", &api_version, &time));
        }
        self.finish(place, &mut new, Some(old))?;
        // A write that changes nothing is no event, as in the real server.
        if place.dry_run || new == **old {
            return Ok(Arc::new(new));
        }
        let key = place.key();
        if object::is_deleting(&new)
            && !object::has_finalizers(&new)
            && !builtin::holds_contents(&key.resource)
        {
            let last = self.remove_as(&key, new).unwrap_or_else(|| old.clone());
            self.settle();
            return Ok(last);
        }
        let written = self.put(&key, new);
        self.settle();
        Ok(written)
    }

    /// Completes and checks an object before it is written; `old` is what it replaces.
    fn finish(&self, place: &Place, new: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
        check_shape(place, new)?;
        new["apiVersion"] = json!(place.kind.api_version(&place.version.name));
        new["kind"] = json!(place.kind.kind);
        if place.kind.custom {
            if let Some(schema) = &place.version.schema {
                schema.complete(new);
                let causes = schema.validate(new, old);
                if !causes.is_empty() {
                    return Err(place.invalid(&place.name, causes));
                }
            }
        } else {
            builtin::complete(&place.kind.resource(), new, old);
            if place.kind.plural == "customresourcedefinitions" {
                definition::read(new).map_err(|causes| place.invalid(&place.name, causes))?;
                if old.is_none() {
                    definition::establish(new, self.now);
                }
            }
        }
        if let Some(old) = old
            && place.kind.generation
            && object::content_differs(new, old, place.version.status)
        {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        }
        Ok(())
    }

    fn check_namespace(&self, place: &Place, name: &str) -> Result<(), Failure> {
        if !place.kind.namespaced {
            return Ok(());
        }
        let namespace = self.get(&Key::new("namespaces", "", &place.namespace));
        match namespace {
            None => {
                Err(Failure::NotFound { resource: "namespaces".to_owned(), name: place.namespace.clone() })
            }
            Some(found) if object::is_deleting(&found) => Err(Failure::Terminating {
                resource: place.kind.resource(),
                name: name.to_owned(),
                namespace: place.namespace.clone(),
            }),
            Some(_) => Ok(()),
        }
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

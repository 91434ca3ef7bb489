//! Create, update, patch and delete, with the rules that hold for every kind.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::{Cause, Failure};
use super::fields::{self, Writer};
use super::identity::{check_change, check_identity, check_shape, chosen_name};
use super::kind::{Kind, Version};
use super::object;
use super::patch::{PatchKind, merged};
use super::schema::Schema;
use super::store::{Key, Store};
use super::user::User;
use super::{admission, builtin, definition};

/// Says what a request is about: a kind in a version, perhaps a namespace and an object.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the request")]
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Arc<Kind>,
    pub(crate) version: Version,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) status: bool,
    pub(crate) dry_run: bool,
    /// Whether fields that the kind does not know are refused.
    pub(crate) strict: bool,
    /// Who asks.
    pub(crate) user: User,
    /// By what name the writer owns fields.
    pub(crate) manager: String,
    /// Whether an apply takes fields from their owners.
    pub(crate) force: bool,
}

impl Place {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.kind.resource(), &self.namespace, &self.name)
    }

    fn writer<'a>(&'a self, operation: &'static str, api_version: &'a str, time: &'a str) -> Writer<'a> {
        let (manager, status, custom) = (self.manager.as_str(), self.status, self.kind.custom);
        Writer { manager, operation, status, api_version, time, custom }
    }

    /// Names the key under which the real server stores the object.
    fn stored_at(&self) -> String {
        let group = if self.kind.custom { format!("{}/", self.kind.group) } else { String::new() };
        let namespace = if self.kind.namespaced { format!("{}/", self.namespace) } else { String::new() };
        format!("/registry/{group}{}/{namespace}{}", self.kind.plural, self.name)
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
        if let Some(found) = self.get(&key) {
            let (resource, going) = (key.resource, object::is_deleting(&found));
            return Err(Failure::AlreadyExists { resource, name, going });
        }
        if object::metadata(&new, "resourceVersion").is_some() {
            return Err(Failure::Unclassified(
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
        if object::name(&new).is_empty() {
            let message = "was undeterminable: name must be provided";
            return Err(Failure::BadRequest(format!(
                "the name of the object ({} based on URL) {message}",
                place.name
            )));
        }
        let version = object::metadata(&new, "resourceVersion");
        match version.map(str::parse::<u64>) {
            Some(Err(error)) => return Err(Failure::Unclassified(format!("strconv.ParseUint: {error}"))),
            Some(Ok(_)) if version != old["metadata"]["resourceVersion"].as_str() => {
                return Err(Failure::modified(&place.kind, &place.name));
            }
            None if place.kind.custom => {
                let message = "Invalid value: 0: must be specified for an update";
                return Err(Failure::Invalid {
                    kind: place.kind.resource(),
                    name: place.name.clone(),
                    causes: vec![Cause::invalid("metadata.resourceVersion", message)],
                });
            }
            _ => {}
        }
        if let Some(uid) = object::metadata(&new, "uid").filter(|uid| *uid != object::uid(&old)) {
            let reason = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                place.stored_at(),
                object::uid(&old)
            );
            return Err(Failure::conflict(&place.kind, &place.name, reason));
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
                check_applied(place, patch)?;
                let mut new = patch.clone();
                object::set(&mut new["metadata"], "name", json!(place.name));
                return self.create_as(place, new, true);
            }
            found => found?,
        };
        let mut new = match kind {
            PatchKind::Apply => {
                check_applied(place, patch)?;
                self.applied(place, &old, patch, |old, wanted| merged(old, wanted, place.kind.custom))?
            }
            _ => kind.apply(&old, patch, place.kind.custom)?,
        };
        check_identity(place, &mut new)?;
        if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return Err(Failure::modified(&place.kind, &place.name));
        }
        if new["metadata"]["uid"] != old["metadata"]["uid"] {
            let message = format!("Invalid value: {}: field is immutable", new["metadata"]["uid"]);
            return Err(place.invalid(&place.name, vec![Cause::invalid("metadata.uid", message)]));
        }
        check_shape(place, &new).map_err(|failure| not_patched(failure, &new))?;
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
            // Who watches sees it as it was; only the caller sees it without what held it.
            self.remove(&key);
            self.settle();
            return Ok(Arc::new(new));
        }
        let written = self.put(&key, new);
        self.settle();
        Ok(written)
    }

    /// Completes and checks an object before it is written; `old` is what it replaces.
    fn finish(&self, place: &Place, new: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
        check_shape(place, new)?;
        if let Some(old) = old {
            check_change(place, old, new)?;
        }
        new["apiVersion"] = json!(place.kind.api_version(&place.version.name));
        new["kind"] = json!(place.kind.kind);
        if place.kind.custom {
            if let Some(schema) = &place.version.schema {
                check_known(place, schema, new)?;
                schema.complete(new);
                admission::stamp(self, place, new, old);
                let causes = schema.validate(new, old);
                if !causes.is_empty() {
                    return Err(place.invalid(&place.name, causes));
                }
                admission::check(self, place, new, old)?;
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
}

/// Refuses what is no object any more after a patch.
fn not_patched(failure: Failure, patched: &Value) -> Failure {
    let Failure::BadRequest(problem) = failure else { return failure };
    let message = format!("Invalid value: {:?}: {problem}", patched.to_string());
    Failure::Invalid {
        kind: String::new(),
        name: String::new(),
        causes: vec![Cause::invalid("patch", message)],
    }
}

/// Checks that what is applied says what it is, and owns nothing in advance.
fn check_applied(place: &Place, patch: &Value) -> Result<(), Failure> {
    let (version, kind) = (&patch["apiVersion"], &patch["kind"]);
    if version.is_null() || kind.is_null() {
        return Err(Failure::BadRequest("invalid object type: /, Kind=".to_owned()));
    }
    if !patch["metadata"]["managedFields"].is_null() {
        return Err(Failure::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    check_identity(place, &mut patch.clone())
}

/// Refuses fields that a schema does not know, where the caller wants that.
fn check_known(place: &Place, schema: &Schema, new: &Value) -> Result<(), Failure> {
    let unknown = if place.strict { schema.unknown_fields(new) } else { Vec::new() };
    if unknown.is_empty() {
        return Ok(());
    }
    let kind = &place.kind.kind;
    let fields: Vec<String> = unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
    Err(Failure::BadRequest(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
        place.version.name,
        fields.join(", ")
    )))
}

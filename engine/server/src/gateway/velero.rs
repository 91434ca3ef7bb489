//! What Velero has, as far as the one who asks may restore it: nobody needs rights in Velero's own namespace.

// On the struct itself the derive macros would drop it.
#![expect(clippy::struct_field_names, reason = "a Backup's name and its backupName differ")]

use std::cmp::Reverse;

use async_graphql::{ComplexObject, Context, InputObject, Object, Result, SimpleObject};
use ochre_core::access::{Right, view_rights};
use ochre_core::action::{LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use ochre_core::velero::{LABEL_BACKUP_NAME, LABEL_SCHEDULE_NAME, Status, UNREADABLE};
use serde_json::Value;

use super::error::GatewayError;
use super::operations::permitted;
use super::outputs::Action;
use super::pages::page_size;
use super::scalars::{Any, Timestamp};
use super::{Asked, Gateway};
use crate::identity::Caller;
use crate::objects;

/// Reads of Velero's objects.
pub(super) struct VeleroQuery;

/// Which Backups or Restores to list; all that is given must fit.
#[derive(Clone, Default, InputObject)]
pub(super) struct VeleroFilter {
    /// The name of the Backup: the logical one, or that of the object.
    pub backup_name: Option<String>,
    /// A namespace that was asked for by name.
    pub namespace: Option<String>,
    /// Velero's own word for where it stands, such as `Completed`.
    pub phase: Option<String>,
}

/// A Backup of Velero's, whoever made it.
///
/// `Completed` is Velero's word; whether the data is in it says the outcome of its Action, or `ochre doctor`.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Backup {
    #[graphql(skip)]
    object: Value,
    /// The name of the object.
    name: String,
    /// The name that a restore asks for; every attempt has the same.
    backup_name: String,
    /// The Schedule that made it.
    schedule: Option<String>,
    /// Where it is kept.
    storage_location: Option<String>,
    /// When Velero clears it away.
    expires_at: Option<Timestamp>,
    /// The namespaces that it was asked to hold; none means all.
    namespaces: Vec<String>,
    /// The namespaces that it leaves out.
    excluded_namespaces: Vec<String>,
    /// What became of it.
    status: VeleroStatus,
}

/// A Restore of Velero's, whoever made it.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Restore {
    #[graphql(skip)]
    object: Value,
    /// The name of the object.
    name: String,
    /// The Backup that it is made from.
    backup_name: Option<String>,
    /// The namespaces that it takes out of the Backup; none means all.
    namespaces: Vec<String>,
    /// Into which namespaces it puts what it takes out of others.
    namespace_mapping: Option<Any>,
    /// What became of it.
    status: VeleroStatus,
}

/// What became of a Backup or a Restore, in Velero's own words.
#[derive(SimpleObject)]
pub(super) struct VeleroStatus {
    /// Velero's own word for where it stands; `New` before Velero has seen it, `Unreadable` where nobody can tell.
    phase: String,
    /// Why it did not end well.
    reason: Option<String>,
    /// How many warnings there were.
    warnings: u64,
    /// How many errors there were.
    errors: u64,
    /// How many items are done.
    items_done: u64,
    /// How many items there are.
    items_total: u64,
    /// When it was created.
    created_at: Option<Timestamp>,
    /// When Velero began.
    started_at: Option<Timestamp>,
    /// When Velero ended.
    completed_at: Option<Timestamp>,
}

/// Where Velero keeps Backups.
#[derive(SimpleObject)]
pub(super) struct StorageLocation {
    /// Its name: what the parameter `storageLocation` takes.
    name: String,
    /// Whether Backups go there when nothing else is said.
    is_default: bool,
    /// The plugin that reaches it.
    provider: Option<String>,
    /// Whether Velero only reads it.
    is_read_only: bool,
    /// `Available` or `Unavailable`; null when Velero has not looked yet.
    phase: Option<String>,
    /// Why it is not available.
    message: Option<String>,
    /// When Velero last looked which Backups are there.
    last_synced_at: Option<Timestamp>,
    /// When Velero last looked whether it can be reached.
    last_validated_at: Option<Timestamp>,
}

#[Object]
impl VeleroQuery {
    /// Lists the Backups that the caller's Actions made, and those of which the caller may restore every namespace;
    /// the newest first.
    async fn backups(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many; at most 100.", default = 50)] first: i32,
        #[graphql(desc = "Which ones.")] filter: Option<VeleroFilter>,
    ) -> Result<Vec<Backup>> {
        let objects = visible(context, "Backup", first, &filter.unwrap_or_default()).await?;
        Ok(objects.into_iter().map(Backup::show).collect())
    }

    /// Lists the Restores that the caller's Actions made, and those of which the caller may restore every namespace;
    /// the newest first.
    async fn restores(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many; at most 100.", default = 50)] first: i32,
        #[graphql(desc = "Which ones.")] filter: Option<VeleroFilter>,
    ) -> Result<Vec<Restore>> {
        let objects = visible(context, "Restore", first, &filter.unwrap_or_default()).await?;
        Ok(objects.into_iter().map(Restore::show).collect())
    }

    /// Lists where Velero keeps Backups, by name.
    async fn storage_locations(&self, context: &Context<'_>) -> Result<Vec<StorageLocation>> {
        // Whoever sees what runs sees where it is kept.
        let at = permitted(context, "list", None).await?;
        let objects = at.gateway.velero("BackupStorageLocation").await?;
        Ok(objects.iter().map(StorageLocation::show).collect())
    }
}

#[ComplexObject]
impl Backup {
    /// The Action that made it; null when none did, when it is gone, or when the caller may not get it.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        maker(context, &self.object).await
    }
}

#[ComplexObject]
impl Restore {
    /// The Action that made it; null when none did, when it is gone, or when the caller may not get it.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        maker(context, &self.object).await
    }
}

impl Gateway {
    /// Lists Velero's objects of a kind, by name.
    async fn velero(&self, kind: &str) -> Result<Vec<Value>, GatewayError> {
        let objects = objects::velero(&self.client, &self.settings.velero_namespace, kind);
        let listed = objects::list(&objects).await;
        listed.map_err(|error| GatewayError::from_cluster(&format!("listing Velero's {kind}s"), &error))
    }

    /// Tells whether a caller may see a Backup or a Restore.
    async fn may_see(&self, caller: &Caller, object: &Value) -> Result<bool, GatewayError> {
        if let Some((namespace, name)) = made_by(object)
            && self.may(caller, &Right::action("get", namespace, Some(name))).await?
        {
            return Ok(true);
        }
        for right in view_rights(&object["spec"]) {
            if !self.may(caller, &right).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Lists the newest objects of a kind that fit and that the caller may see.
async fn visible(context: &Context<'_>, kind: &str, first: i32, filter: &VeleroFilter) -> Result<Vec<Value>> {
    let (gateway, caller) = (context.data::<Gateway>()?, &context.data::<Asked>()?.caller);
    let first = page_size("first", first)?;
    let mut objects = gateway.velero(kind).await?;
    objects.retain(|object| filter.fits(object));
    objects.sort_by_cached_key(|object| {
        Reverse(object["metadata"]["creationTimestamp"].as_str().map(str::to_owned))
    });
    let mut visible = Vec::new();
    for object in objects {
        if visible.len() == first {
            break;
        }
        if gateway.may_see(caller, &object).await? {
            visible.push(object);
        }
    }
    Ok(visible)
}

/// Finds the Action that made an object.
async fn maker(context: &Context<'_>, object: &Value) -> Result<Option<Action>> {
    let (gateway, caller) = (context.data::<Gateway>()?, &context.data::<Asked>()?.caller);
    let Some((namespace, name)) = made_by(object) else { return Ok(None) };
    if !gateway.may(caller, &Right::action("get", namespace, Some(name))).await? {
        return Ok(None);
    }
    let found = gateway.actions()?.get(namespace, name);
    // Another of the same name did not make it.
    let uid = object["metadata"]["labels"][LABEL_UID].as_str();
    Ok(found.filter(|action| action.metadata.uid.as_deref() == uid).map(Action))
}

/// Names the Action that made an object, by namespace and name.
fn made_by(object: &Value) -> Option<(&str, &str)> {
    let labels = &object["metadata"]["labels"];
    Some((labels[LABEL_NAMESPACE].as_str()?, labels[LABEL_NAME].as_str()?))
}

impl VeleroFilter {
    fn fits(&self, object: &Value) -> bool {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let named = [&metadata["name"], &metadata["labels"][LABEL_BACKUP_NAME], &spec["backupName"]];
        let has = |namespace: &str| texts(&spec["includedNamespaces"]).iter().any(|name| name == namespace);
        self.backup_name.as_deref().is_none_or(|name| named.into_iter().any(|known| known == name))
            && self.namespace.as_deref().is_none_or(has)
            && self.phase.as_deref().is_none_or(|phase| VeleroStatus::show(object).phase == phase)
    }
}

impl Backup {
    fn show(object: Value) -> Self {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let name = text(&metadata["name"]).unwrap_or_default();
        Self {
            backup_name: text(&metadata["labels"][LABEL_BACKUP_NAME]).unwrap_or_else(|| name.clone()),
            name,
            schedule: text(&metadata["labels"][LABEL_SCHEDULE_NAME]),
            storage_location: text(&spec["storageLocation"]),
            expires_at: instant(&object["status"]["expiration"]),
            namespaces: texts(&spec["includedNamespaces"]),
            excluded_namespaces: texts(&spec["excludedNamespaces"]),
            status: VeleroStatus::show(&object),
            object,
        }
    }
}

impl Restore {
    fn show(object: Value) -> Self {
        let spec = &object["spec"];
        Self {
            name: text(&object["metadata"]["name"]).unwrap_or_default(),
            backup_name: text(&spec["backupName"]),
            namespaces: texts(&spec["includedNamespaces"]),
            namespace_mapping: spec.get("namespaceMapping").cloned().map(Any),
            status: VeleroStatus::show(&object),
            object,
        }
    }
}

impl VeleroStatus {
    fn show(object: &Value) -> Self {
        let (said, status) = (&object["status"], Status::of(object));
        let (phase, reason) = match unreadable(object) {
            Some(why) => ("Unreadable".to_owned(), Some(why)),
            None if status.phase.is_empty() => ("New".to_owned(), status.complaint()),
            None => (status.phase.clone(), status.complaint()),
        };
        Self {
            phase,
            reason,
            warnings: status.warnings,
            errors: status.errors,
            items_done: status.progress.items_backed_up.max(status.progress.items_restored),
            items_total: status.progress.total_items,
            created_at: instant(&object["metadata"]["creationTimestamp"]),
            started_at: instant(&said["startTimestamp"]),
            completed_at: instant(&said["completionTimestamp"]),
        }
    }
}

impl StorageLocation {
    fn show(object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        Self {
            name: text(&object["metadata"]["name"]).unwrap_or_default(),
            is_default: spec["default"] == true,
            provider: text(&spec["provider"]),
            is_read_only: spec["accessMode"] == "ReadOnly",
            phase: text(&status["phase"]),
            message: unreadable(object).or_else(|| text(&status["message"])),
            last_synced_at: instant(&status["lastSyncedTime"]),
            last_validated_at: instant(&status["lastValidationTime"]),
        }
    }
}

/// Says why an object cannot be read.
fn unreadable(object: &Value) -> Option<String> {
    object[UNREADABLE].as_str().map(|why| format!("it cannot be read: {why}; mend or delete it"))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

fn instant(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok().map(Timestamp)
}

//! What Velero has, as far as the one who asks may restore it: nobody needs rights in Velero's own namespace.

// On the struct itself the derive macros would drop it.
#![expect(clippy::struct_field_names, reason = "a Backup's name and its backupName differ")]

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{ComplexObject, Context, InputObject, Object, Result, SimpleObject};
use futures::future;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::Resource as _;
use kube::core::DynamicObject;
use ochre_core::access::{Right, view_rights};
use ochre_core::action::{LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use ochre_core::code::Code;
use ochre_core::velero::{API_VERSION, LABEL_BACKUP_NAME, LABEL_SCHEDULE_NAME, Status};
use serde_json::Value;

use super::error::GatewayError;
use super::operations::permitted;
use super::outputs::Action;
use super::pages::page_size;
use super::scalars::{Any, Timestamp};
use super::{Asked, Gateway};
use crate::guarded::Guarded;
use crate::identity::Caller;

/// How many objects are judged at a time.
const AT_ONCE: usize = 8;
/// Of how many namespaces it is asked one by one, before the whole cluster.
const FEW: usize = 8;

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
    made_by: Option<MadeBy>,
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
    made_by: Option<MadeBy>,
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
        Ok(objects.iter().map(|object| Backup::show(object)).collect())
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
        Ok(objects.iter().map(|object| Restore::show(object)).collect())
    }

    /// Lists where Velero keeps Backups, by name.
    async fn storage_locations(&self, context: &Context<'_>) -> Result<Vec<StorageLocation>> {
        // Whoever sees what runs sees where it is kept.
        let at = permitted(context, "list", None).await?;
        let mut objects = at.gateway.velero("BackupStorageLocation").await?;
        objects.sort_by_key(|object| object.meta().name.clone());
        Ok(objects.iter().map(|object| StorageLocation::show(object)).collect())
    }
}

#[ComplexObject]
impl Backup {
    /// The Action that made it; null when none did, when it is gone, or when the caller may not get it.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        maker(context, self.made_by.as_ref()).await
    }
}

#[ComplexObject]
impl Restore {
    /// The Action that made it; null when none did, when it is gone, or when the caller may not get it.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        maker(context, self.made_by.as_ref()).await
    }
}

/// An object of Velero's, as the watch has it.
type Object = Guarded<DynamicObject>;

impl Gateway {
    /// Lists Velero's objects of a kind out of the cache of their watch: what is asked of the gateway asks the API server
    /// for no list, however often it is asked.
    async fn velero(&self, kind: &str) -> Result<Vec<Arc<Object>>, GatewayError> {
        let doing = format!("listing Velero's {kind}s");
        let found = self.watches.kinds.find(&self.client, API_VERSION, kind).await;
        let found = found.map_err(|error| GatewayError::from_cluster(&doing, &error))?;
        let upstream = |why: String| GatewayError::new(Code::UpstreamUnavailable, format!("{doing}: {why}"));
        let Some(found) = found else { return Err(upstream(format!("the cluster has no kind {kind}"))) };
        let cache = self.watches.look(&found, Some(&self.settings.velero_namespace)).await;
        Ok(cache.map_err(|error| upstream(error.to_string()))?.state())
    }
}

/// What a caller may see of Velero's objects, as far as it was asked for one field.
struct Sight<'g> {
    gateway: &'g Gateway,
    caller: &'g Caller,
    known: Mutex<HashMap<Right, bool>>,
}

impl Sight<'_> {
    /// Tells whether the caller may see a Backup or a Restore: one of an Action of a namespace whose Actions they may
    /// get, and one of which they may restore every namespace.
    async fn admits(&self, object: &Object) -> Result<bool, GatewayError> {
        if let Some(made_by) = MadeBy::of(object)
            && self.may(Right::action("get", &made_by.namespace, None)).await?
        {
            return Ok(true);
        }
        let everywhere = view_rights(&Value::Null);
        let wanted = view_rights(data(object, "spec"));
        if wanted.len() > FEW && self.all(everywhere).await? {
            return Ok(true);
        }
        self.all(wanted).await
    }

    /// Asks for rights until one is missing.
    async fn all(&self, rights: BTreeSet<Right>) -> Result<bool, GatewayError> {
        for right in rights {
            if !self.may(right).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks for a right once.
    async fn may(&self, right: Right) -> Result<bool, GatewayError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&right) {
            return Ok(*known);
        }
        // All callers together ask for so many at a time.
        let _turn = self.gateway.asking.acquire().await;
        let may = self.gateway.may(self.caller, &right).await?;
        known().insert(right, may);
        Ok(may)
    }
}

/// Lists the newest objects of a kind that fit and that the caller may see.
async fn visible(
    context: &Context<'_>,
    kind: &str,
    first: i32,
    filter: &VeleroFilter,
) -> Result<Vec<Arc<Object>>> {
    let (gateway, caller) = (context.data::<Gateway>()?, &context.data::<Asked>()?.caller);
    let first = page_size("first", first)?;
    let mut objects = gateway.velero(kind).await?;
    objects.retain(|object| filter.fits(object));
    objects.sort_by_cached_key(|object| {
        let metadata = object.meta();
        (Reverse(metadata.creation_timestamp.as_ref().map(|at| at.0)), metadata.name.clone())
    });
    let sight = &Sight { gateway, caller, known: Mutex::default() };
    let looks = objects.into_iter().map(|object| async move {
        let admits = sight.admits(&object).await;
        admits.map(|admits| admits.then_some(object))
    });
    let seen = stream::iter(looks).buffered(AT_ONCE).try_filter_map(future::ok);
    Ok(seen.take(first).try_collect().await?)
}

/// Finds the Action that made an object.
async fn maker(context: &Context<'_>, made_by: Option<&MadeBy>) -> Result<Option<Action>> {
    let (gateway, caller) = (context.data::<Gateway>()?, &context.data::<Asked>()?.caller);
    let Some(MadeBy { namespace, name, uid }) = made_by else { return Ok(None) };
    if !gateway.may(caller, &Right::action("get", namespace, Some(name))).await? {
        return Ok(None);
    }
    let found = gateway.actions()?.get(namespace, name);
    // Another of the same name did not make it.
    Ok(found.filter(|action| action.metadata.uid == *uid).map(Action))
}

/// The Action that made an object.
struct MadeBy {
    namespace: String,
    name: String,
    uid: Option<String>,
}

impl MadeBy {
    fn of(object: &Object) -> Option<Self> {
        let text = |name: &str| label(object, name).map(str::to_owned);
        Some(Self { namespace: text(LABEL_NAMESPACE)?, name: text(LABEL_NAME)?, uid: text(LABEL_UID) })
    }
}

fn label<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.meta().labels.as_ref()?.get(name).map(String::as_str)
}

/// Gives a part of an object; null where it cannot be read.
fn data<'o>(object: &'o Object, part: &str) -> &'o Value {
    object.0.as_ref().map_or(&Value::Null, |object| &object.data[part])
}

impl VeleroFilter {
    fn fits(&self, object: &Object) -> bool {
        let spec = data(object, "spec");
        let named =
            [object.meta().name.as_deref(), label(object, LABEL_BACKUP_NAME), spec["backupName"].as_str()];
        let has = |namespace: &str| texts(&spec["includedNamespaces"]).iter().any(|name| name == namespace);
        self.backup_name.as_deref().is_none_or(|name| named.contains(&Some(name)))
            && self.namespace.as_deref().is_none_or(has)
            && self.phase.as_deref().is_none_or(|phase| VeleroStatus::show(object).phase == phase)
    }
}

impl Backup {
    fn show(object: &Object) -> Self {
        let spec = data(object, "spec");
        let name = object.meta().name.clone().unwrap_or_default();
        let label = |name: &str| label(object, name).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            backup_name: label(LABEL_BACKUP_NAME).unwrap_or_else(|| name.clone()),
            name,
            schedule: label(LABEL_SCHEDULE_NAME),
            storage_location: text(&spec["storageLocation"]),
            expires_at: instant(&data(object, "status")["expiration"]),
            namespaces: texts(&spec["includedNamespaces"]),
            excluded_namespaces: texts(&spec["excludedNamespaces"]),
            status: VeleroStatus::show(object),
            made_by: MadeBy::of(object),
        }
    }
}

impl Restore {
    fn show(object: &Object) -> Self {
        let spec = data(object, "spec");
        Self {
            name: object.meta().name.clone().unwrap_or_default(),
            backup_name: text(&spec["backupName"]),
            namespaces: texts(&spec["includedNamespaces"]),
            namespace_mapping: spec.get("namespaceMapping").cloned().map(Any),
            status: VeleroStatus::show(object),
            made_by: MadeBy::of(object),
        }
    }
}

impl VeleroStatus {
    fn show(object: &Object) -> Self {
        let said = data(object, "status");
        let status = object.0.as_ref().map(|object| Status::of(&object.data)).unwrap_or_default();
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
            created_at: object.meta().creation_timestamp.as_ref().map(|at| Timestamp(at.0)),
            started_at: instant(&said["startTimestamp"]),
            completed_at: instant(&said["completionTimestamp"]),
        }
    }
}

impl StorageLocation {
    fn show(object: &Object) -> Self {
        let (spec, status) = (data(object, "spec"), data(object, "status"));
        Self {
            name: object.meta().name.clone().unwrap_or_default(),
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
fn unreadable(object: &Object) -> Option<String> {
    object.0.as_ref().err().map(|unreadable| format!("it cannot be read: {unreadable}; mend or delete it"))
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

//! Looks which objects of a backup live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::DynamicObject;
use ochre_core::decide::{ListKey, ObjectKey, Observed};
use serde_json::Value;

use super::{READ, Runner, RunnerError, json, metadata_json};
use crate::guarded::{self, Guarded};
use crate::kinds::Kind;

/// Up to how many objects of a kind are looked at one by one; more are listed.
const ONE_BY_ONE: usize = 3;

impl Runner {
    /// Looks which of these objects live, by their metadata where that is enough.
    pub(super) async fn live(
        &self,
        keys: BTreeSet<ObjectKey>,
        observed: &mut Observed,
    ) -> Result<(), RunnerError> {
        let mut groups: BTreeMap<ListKey, Vec<ObjectKey>> = BTreeMap::new();
        for key in keys {
            let group = ListKey {
                api_version: key.api_version.clone(),
                kind: key.kind.clone(),
                namespace: key.namespace.clone(),
            };
            groups.entry(group).or_default().push(key);
        }
        for (group, keys) in groups {
            let Some(kind) = self.watches.kinds.find(&self.client, &group.api_version, &group.kind).await?
            else {
                observed.live.extend(keys.into_iter().map(|key| (key, None)));
                continue;
            };
            let api = kind.api(self.client.clone(), group.namespace.as_deref());
            let found = look(&api, &kind, &keys).await;
            let found = found.map_err(|error| error.of(None, &kind, group.namespace.as_deref(), READ))?;
            let mut by_name: HashMap<String, Value> = found
                .into_iter()
                .map(|object| (object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), object))
                .collect();
            for key in keys {
                let object = by_name.remove(&key.name);
                observed.live.insert(key, object);
            }
        }
        Ok(())
    }
}

/// Reads objects of one kind. A volume's phase decides, so volumes are read whole.
async fn look(
    api: &Api<Guarded<DynamicObject>>,
    kind: &Kind,
    keys: &[ObjectKey],
) -> Result<Vec<Value>, RunnerError> {
    let whole = kind.resource.kind == "PersistentVolume";
    let mut found = Vec::new();
    if keys.len() > ONE_BY_ONE {
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let is_wanted =
            |metadata: &ObjectMeta| metadata.name.as_deref().is_some_and(|name| names.contains(name));
        if whole {
            let list = guarded::list(api, is_wanted).await?;
            return list.iter().map(|object| json(kind, object)).collect();
        }
        let list = guarded::list_metadata(api, is_wanted).await?;
        return list.iter().map(|object| metadata_json(kind, object)).collect();
    }
    for key in keys {
        if whole {
            found.extend(api.get_opt(&key.name).await?.map(|object| json(kind, &object)).transpose()?);
        } else {
            let object = guarded::get_metadata(api, &key.name).await?;
            found.extend(object.map(|object| metadata_json(kind, &object)).transpose()?);
        }
    }
    Ok(found)
}

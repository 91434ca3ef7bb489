//! Changes the cluster.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use ochre_core::action::{Action, FINALIZER, MARK};
use ochre_core::decide::{Effect, ObjectKey, Observed, Refusal};
use serde_json::{Value, json};

use super::account::user;
use super::{Runner, RunnerError, json as object_json};
use crate::acting::acting_as;
use crate::guarded::{self, Guarded};
use crate::kinds::Kind;
use crate::store::shown;

impl Runner {
    /// Does what was decided, and observes what came of it. Yields the Action when it was changed.
    pub(crate) async fn apply(
        &self,
        action: &Action,
        effects: Vec<Effect>,
        observed: &mut Observed,
    ) -> Result<Option<Action>, RunnerError> {
        let mut changed: Option<Action> = None;
        for effect in effects {
            match effect {
                Effect::Mark => {
                    let action = changed.as_ref().unwrap_or(action);
                    // Whatever else was changed in between, it is the same Action.
                    let uid = &action.metadata.uid;
                    let mark = json!({"uid": uid, "annotations": {(MARK): uid}});
                    changed = Some(self.patch(action, mark).await?);
                }
                Effect::Hold => {
                    let action = changed.as_ref().unwrap_or(action);
                    let mut finalizers = action.finalizers().to_vec();
                    finalizers.push(FINALIZER.to_owned());
                    changed = Some(self.hold(action, json!(finalizers)).await?);
                }
                Effect::Release => {
                    let action = changed.as_ref().unwrap_or(action);
                    let finalizers: Vec<&String> =
                        action.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
                    changed = Some(self.hold(action, json!(finalizers)).await?);
                }
                Effect::Create { key, manifest } => self.create(action, key, manifest, observed).await?,
                Effect::Delete { key, uid } => self.delete(action, key, uid, observed).await?,
            }
        }
        Ok(changed)
    }

    /// Replaces an Action's finalizers, if nobody changed the Action in between.
    async fn hold(&self, action: &Action, finalizers: Value) -> Result<Action, RunnerError> {
        let seen = &action.metadata.resource_version;
        self.patch(action, json!({"resourceVersion": seen, "finalizers": finalizers})).await
    }

    /// Patches an Action's metadata.
    async fn patch(&self, action: &Action, metadata: Value) -> Result<Action, RunnerError> {
        let actions: Api<Guarded<Action>> =
            Api::namespaced(self.client.clone(), &action.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"metadata": metadata}));
        Ok(shown(actions.patch(&action.name_any(), &PatchParams::default(), &patch).await?))
    }

    async fn create(
        &self,
        action: &Action,
        key: ObjectKey,
        manifest: Value,
        observed: &mut Observed,
    ) -> Result<(), RunnerError> {
        let Some(kind) = self.watches.kinds.find(&self.client, &key.api_version, &key.kind).await? else {
            let message = format!("the cluster has no kind {} in {}", key.kind, key.api_version);
            observed.refused.insert(key, Refusal::Permanent(message));
            return Ok(());
        };
        let user = user(action, &key);
        let api = kind.api(acting_as(&self.client, user.as_deref()), key.namespace.as_deref());
        let mut object: DynamicObject = serde_json::from_value(manifest)?;
        if !kind.namespaced {
            object.metadata.namespace = None;
        }
        match api.create(&PostParams::default(), &Guarded(Ok(object))).await {
            Ok(created) => {
                tracing::info!(object = %key, "created");
                observed.objects.insert(key, Some(object_json(&kind, &created)?));
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there =
                    api.get_opt(&key.name).await?.map(|object| object_json(&kind, &object)).transpose()?;
                observed.objects.insert(key, there);
            }
            Err(error) => {
                let refusal = self.refusal(error, user, &kind, key.namespace.as_deref(), &["create"]).await;
                observed.refused.insert(key, refusal);
            }
        }
        Ok(())
    }

    async fn delete(
        &self,
        action: &Action,
        key: ObjectKey,
        uid: String,
        observed: &mut Observed,
    ) -> Result<(), RunnerError> {
        let Some(kind) = self.watches.kinds.find(&self.client, &key.api_version, &key.kind).await? else {
            observed.objects.insert(key, None);
            return Ok(());
        };
        let user = user(action, &key);
        let api = kind.api(acting_as(&self.client, user.as_deref()), key.namespace.as_deref());
        let preconditions = Preconditions { uid: Some(uid), ..Preconditions::default() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match guarded::delete(&api, &key.name, &parameters).await {
            Ok(()) => {
                let left =
                    api.get_opt(&key.name).await?.map(|object| object_json(&kind, &object)).transpose()?;
                observed.objects.insert(key, left);
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                observed.objects.insert(key, None);
            }
            Err(error) => {
                let refusal = self.refusal(error, user, &kind, key.namespace.as_deref(), &["delete"]).await;
                observed.refused.insert(key, refusal);
            }
        }
        Ok(())
    }

    /// Tells what the cluster will refuse again from what it may take the next time.
    async fn refusal(
        &self,
        error: kube::Error,
        user: Option<String>,
        kind: &Kind,
        namespace: Option<&str>,
        verbs: &'static [&'static str],
    ) -> Refusal {
        match &error {
            // A quota and the like forbid things too, and no right helps against them.
            kube::Error::Api(status) if status.code == 403 && status.message.contains(" cannot ") => {
                if !self.knows_rights().await {
                    return Refusal::Passing(status.message.clone());
                }
                Refusal::Forbidden(RunnerError::from(error).of(user, kind, namespace, verbs).to_string())
            }
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 405 | 413 | 415 | 422) => {
                Refusal::Permanent(status.message.clone())
            }
            kube::Error::Api(status) => Refusal::Passing(status.message.clone()),
            other => Refusal::Passing(other.to_string()),
        }
    }
}

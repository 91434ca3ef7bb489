//! How the gateway changes Actions: spec only, and never against what somebody else just did.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use ochre_core::access::{Right, known_rights};
use ochre_core::action::{Action, ActionSpec, IDEMPOTENCY_KEY, RequestedBy};
use ochre_core::code::Code;
use ochre_core::expression::is_literal;
use ochre_core::phase::Phase;
use ochre_core::velero::is_velero;
use ochre_core::workflow::Workflow;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Gateway;
use super::error::GatewayError;
use super::inputs::ActionDetailsInput;
use super::patches::{
    cancel_patch, check_digest, conflict, create_again_patch, is_same, phase, rendered_digest, run_patch,
};
use super::spec::{check_name, spec};
use crate::identity::Caller;
use crate::index::By;

/// How often a change is tried again because somebody else changed the Action at the same time.
const TRIES: usize = 5;

/// What is to become of an Action that is there.
#[derive(Clone, Copy)]
enum Change<'c> {
    /// It is created again, with this spec.
    CreateAgain(&'c ActionSpec),
    /// It is run, with the digest of the workflow that the caller has seen.
    Run { digest: Option<&'c str> },
    /// It is canceled.
    Cancel,
}

impl Gateway {
    /// Creates an Action, or finds the same one unfinished.
    pub(super) async fn create(
        &self,
        namespace: &str,
        input: ActionDetailsInput,
        caller: &Caller,
        idempotency_key: Option<&str>,
    ) -> Result<Arc<Action>, GatewayError> {
        let name = input.name.clone();
        check_name(&name)?;
        let mut spec = spec(input)?;
        let key = idempotency_key.map(|key| digest(caller, key));
        if let Some(there) = key.as_deref().and_then(|key| self.created_with(namespace, key, caller)) {
            return replay(there, &name, &spec);
        }
        let workflow = self.content.check(namespace, &name, &spec, &self.settings)?;
        if spec.run {
            self.permit(caller, &Right::action("run", namespace, Some(&name))).await?;
            self.permit_targets(caller, namespace, &spec, &workflow).await?;
        }
        spec.requested_by = requested_by(caller, spec.run);
        if let Some(there) = self.actions()?.get(namespace, &name) {
            return self.again(there, &spec, caller).await;
        }
        let mut action = Action::new(&name, spec.clone());
        action.metadata.annotations =
            key.map(|digest| BTreeMap::from([(IDEMPOTENCY_KEY.to_owned(), digest)]));
        match self.actions()?.create(namespace, &action).await {
            Ok(created) => Ok(created),
            // Somebody else was faster; the cache had not seen it yet.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = self.latest(namespace, &name).await?;
                self.again(there, &spec, caller).await
            }
            Err(error) => {
                let place = format!("in the namespace {namespace}, which the NAMESPACE header names");
                Err(GatewayError::from_cluster(&format!("creating the Action {name} {place}"), &error))
            }
        }
    }

    /// Finds the Action that a caller created with a key. The annotation of another's Action says nothing.
    fn created_with(&self, namespace: &str, key: &str, caller: &Caller) -> Option<Arc<Action>> {
        let index = self.actions().ok()?.index();
        let mut all = index.all(namespace, By::Name);
        all.find(|action| is_created_with(action, key) && is_created_by(action, caller)).map(Arc::clone)
    }

    /// Answers a create for a name that is taken: with the same Action, which runs as it was compared.
    async fn again(
        &self,
        there: Arc<Action>,
        spec: &ActionSpec,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        let (namespace, name) = (there.namespace().unwrap_or_default(), there.name_any());
        if !self.may(caller, &Right::action("get", &namespace, Some(&name))).await? {
            let message = format!("the name {name} is taken; give another name");
            return Err(GatewayError::new(Code::Conflict, message));
        }
        self.change(there, caller, Change::CreateAgain(spec)).await
    }

    /// Asks for the run of an Action; asking again while it is unfinished changes nothing.
    ///
    /// With the digest of its workflow, that one runs or none. Without, an Action is refused that a person with fewer
    /// rights than the run takes has created or changed: the caller may not have seen what it has become.
    pub(super) async fn run(
        &self,
        namespace: &str,
        name: &str,
        digest: Option<&str>,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        self.change(self.find(namespace, name)?, caller, Change::Run { digest }).await
    }

    /// Asks for the end of a run.
    pub(super) async fn cancel(
        &self,
        namespace: &str,
        name: &str,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        self.change(self.find(namespace, name)?, caller, Change::Cancel).await
    }

    /// Sees that a caller may run an Action, and has seen what it is; words the patch that asks for it.
    async fn asking_for_run(
        &self,
        action: &Action,
        caller: &Caller,
        digest: Option<&str>,
    ) -> Result<Option<Value>, GatewayError> {
        let (namespace, name) = (action.namespace().unwrap_or_default(), action.name_any());
        let workflow = self.content.check(&namespace, &name, &action.spec, &self.settings).ok();
        if let Some(workflow) = &workflow {
            self.permit_targets(caller, &namespace, &action.spec, workflow).await?;
        }
        let patch = run_patch(action, caller, digest)?;
        match (digest, workflow) {
            (Some(digest), _) => check_digest(action, digest)?,
            (None, Some(workflow)) if patch.is_some() => self.check_author(action, &workflow, caller).await?,
            (None, _) => {}
        }
        Ok(patch)
    }

    /// Refuses a run for a caller of what a person with fewer rights has asked for.
    async fn check_author(
        &self,
        action: &Action,
        workflow: &Workflow,
        caller: &Caller,
    ) -> Result<(), GatewayError> {
        let by = action.spec.requested_by.as_ref();
        let author = by.and_then(|by| by.update.as_ref().or(by.create.as_ref()));
        let (Caller::Person(person), Some(author)) = (caller, author) else { return Ok(()) };
        if person.username == author.username {
            return Ok(());
        }
        let (namespace, name) = (action.namespace().unwrap_or_default(), action.name_any());
        let account = action.spec.service_account_name.as_deref();
        let mut rights = known_rights(workflow, &namespace, account, &self.settings.velero_namespace);
        rights.insert(Right::action("run", &namespace, Some(&name)));
        if restores_or_computes(workflow) {
            // What it writes is known only when it runs, by then with the caller's rights.
            rights.extend([Right::target("restore", None), Right::target("escalate", None)]);
        }
        for right in rights {
            if !self.may(&Caller::Person(author.clone()), &right).await? {
                let hint = rendered_digest(action).map_or_else(
                    || "look at it once it is rendered".to_owned(),
                    |digest| {
                        format!("look at its renderedAction and run it with workflowDigest: \"{digest}\"")
                    },
                );
                let what = format!("was last changed by {}, who may not {right}", author.username);
                return Err(conflict(&name, phase(action), &what, &hint));
            }
        }
        Ok(())
    }

    /// Deletes an Action that does not run.
    pub(super) async fn delete(&self, namespace: &str, name: &str) -> Result<Arc<Action>, GatewayError> {
        let mut seen = self.find(namespace, name)?;
        for _ in 0..TRIES {
            let phase = phase(&seen);
            if matches!(phase, Phase::Running | Phase::BeingCanceled) {
                return Err(conflict(name, phase, "runs", "cancel it first, or wait for its end"));
            }
            match self.actions()?.delete(&seen).await {
                Ok(()) => return Ok(seen),
                Err(kube::Error::Api(status)) if status.is_conflict() => seen = self.changed(&seen).await?,
                Err(error) => return Err(GatewayError::from_cluster("deleting the Action", &error)),
            }
        }
        Err(busy(name))
    }

    /// Sees that a caller may have made what a workflow makes, as far as that is known before it runs.
    async fn permit_targets(
        &self,
        caller: &Caller,
        namespace: &str,
        spec: &ActionSpec,
        workflow: &Workflow,
    ) -> Result<(), GatewayError> {
        let account = spec.service_account_name.as_deref();
        for right in known_rights(workflow, namespace, account, &self.settings.velero_namespace) {
            self.permit(caller, &right).await?;
        }
        Ok(())
    }

    /// Patches the spec of the very Action that was looked at; one that changed meanwhile is looked at again.
    async fn change(
        &self,
        mut seen: Arc<Action>,
        caller: &Caller,
        change: Change<'_>,
    ) -> Result<Arc<Action>, GatewayError> {
        for _ in 0..TRIES {
            if seen.is_unreadable() {
                let hint = "mend it with kubectl, or delete it";
                return Err(conflict(&seen.name_any(), phase(&seen), "cannot be read", hint));
            }
            let spec = match change {
                Change::CreateAgain(spec) => create_again_patch(&seen, spec, caller)?,
                Change::Run { digest } => self.asking_for_run(&seen, caller, digest).await?,
                Change::Cancel => cancel_patch(&seen, caller)?,
            };
            let Some(spec) = spec else { return Ok(seen) };
            match self.actions()?.patch(&seen, spec).await {
                Ok(changed) => return Ok(changed),
                Err(kube::Error::Api(status)) if status.is_conflict() => seen = self.changed(&seen).await?,
                Err(error) => {
                    let doing = if matches!(change, Change::Cancel) { "canceling" } else { "running" };
                    let doing = format!("{doing} the Action {}", seen.name_any());
                    return Err(GatewayError::from_cluster(&doing, &error));
                }
            }
        }
        Err(busy(&seen.name_any()))
    }

    /// Finds an Action as it has become; another of its name is not the one that the caller means.
    async fn changed(&self, seen: &Action) -> Result<Arc<Action>, GatewayError> {
        let latest = self.latest(&seen.namespace().unwrap_or_default(), &seen.name_any()).await?;
        if latest.metadata.uid != seen.metadata.uid {
            let what = "was deleted and is another now";
            return Err(conflict(&seen.name_any(), phase(&latest), what, "look at it, and ask again"));
        }
        Ok(latest)
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Arc<Action>, GatewayError> {
        self.actions()?.get(namespace, name).ok_or_else(|| not_found(namespace, name))
    }

    /// Finds an Action as somebody else has just written it, which the cache may not have seen.
    async fn latest(&self, namespace: &str, name: &str) -> Result<Arc<Action>, GatewayError> {
        let latest = self.actions()?.latest(namespace, name).await;
        let latest = latest.map_err(|error| GatewayError::from_cluster("reading the Action", &error))?;
        latest.ok_or_else(|| not_found(namespace, name))
    }
}

/// Answers a create whose key was used before.
fn replay(there: Arc<Action>, name: &str, spec: &ActionSpec) -> Result<Arc<Action>, GatewayError> {
    if there.name_any() == name && is_same(&there.spec, spec) {
        return Ok(there);
    }
    let message = format!(
        "the Idempotency-Key was used for the Action {}, which is another; give every request a key of its own",
        there.name_any()
    );
    Err(GatewayError::new(Code::Conflict, message))
}

fn is_created_by(action: &Action, caller: &Caller) -> bool {
    let by = action.spec.requested_by.as_ref().and_then(|by| by.create.as_ref());
    match caller {
        Caller::Person(person) => by.is_some_and(|by| by.username == person.username),
        Caller::Anybody => true,
    }
}

fn is_created_with(action: &Action, key: &str) -> bool {
    action.annotations().get(IDEMPOTENCY_KEY).is_some_and(|known| known == key)
}

/// Tells keys of different callers apart, and shows none of them.
fn digest(caller: &Caller, key: &str) -> String {
    let username = match caller {
        Caller::Person(person) => person.username.as_str(),
        Caller::Anybody => "",
    };
    format!("{:x}", Sha256::digest(format!("{username}\0{key}")))
}

/// Tells whether a workflow restores, or has a Velero object of which not all is known before it runs.
fn restores_or_computes(workflow: &Workflow) -> bool {
    let manifests =
        workflow.steps.iter().filter_map(|step| step.resource.as_ref()).map(|resource| &resource.manifest);
    let mut velero = manifests.filter(|manifest| manifest["apiVersion"].as_str().is_some_and(is_velero));
    velero.any(|manifest| manifest["kind"] != "Backup" || !is_literal(&manifest["spec"]))
}

/// Says who asks for a creation, and for the run.
fn requested_by(caller: &Caller, run: bool) -> Option<RequestedBy> {
    let Caller::Person(person) = caller else { return None };
    Some(RequestedBy {
        create: Some(person.clone()),
        run: run.then(|| person.clone()),
        ..RequestedBy::default()
    })
}

fn not_found(namespace: &str, name: &str) -> GatewayError {
    let message = format!("action not found: there is no Action {namespace}/{name}");
    GatewayError::new(Code::NotFound, message)
}

fn busy(name: &str) -> GatewayError {
    GatewayError::new(Code::Conflict, format!("the Action {name} changes too fast; try again"))
}

//! How the gateway changes Actions: spec only, and never against what somebody else just did.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use ochre_core::access::{Right, known_rights};
use ochre_core::action::{Action, ActionInput, ActionRef, ActionSpec, IDEMPOTENCY_KEY, RequestedBy};
use ochre_core::code::Code;
use ochre_core::phase::Phase;
use ochre_core::selector::is_dns_label;
use ochre_core::workflow::Workflow;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::Gateway;
use super::error::GatewayError;
use super::inputs::{ActionDetailsInput, ActionInputData};
use crate::identity::Caller;
use crate::index::By;

/// How often a change is tried again because somebody else changed the Action at the same time.
const TRIES: usize = 5;

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
        if let Some(there) = key.as_deref().and_then(|key| self.created_with(namespace, key)) {
            return replay(there, &name, &spec);
        }
        let workflow = self.content.check(namespace, &name, &spec, &self.settings)?;
        if spec.run {
            self.permit(caller, &Right::action("run", namespace, Some(&name))).await?;
            self.permit_targets(caller, namespace, &spec, &workflow).await?;
        }
        spec.requested_by = requested_by(caller, spec.run);
        if let Some(there) = self.actions()?.get(namespace, &name) {
            return self.again(&there, &spec, caller).await;
        }
        let mut action = Action::new(&name, spec.clone());
        action.metadata.annotations =
            key.map(|digest| BTreeMap::from([(IDEMPOTENCY_KEY.to_owned(), digest)]));
        match self.actions()?.create(namespace, &action).await {
            Ok(created) => Ok(created),
            // Somebody else was faster; the cache had not seen it yet.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = self.latest(namespace, &name).await?;
                self.again(&there, &spec, caller).await
            }
            Err(error) => {
                let place = format!("in the namespace {namespace}, which the NAMESPACE header names");
                Err(GatewayError::from_cluster(&format!("creating the Action {name} {place}"), &error))
            }
        }
    }

    /// Finds the Action that was created with a key.
    fn created_with(&self, namespace: &str, key: &str) -> Option<Arc<Action>> {
        let index = self.actions().ok()?.index();
        index.all(namespace, By::Name).find(|action| is_created_with(action, key)).map(Arc::clone)
    }

    /// Answers a create for a name that is taken.
    async fn again(
        &self,
        there: &Action,
        spec: &ActionSpec,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        let name = there.metadata.name.clone().unwrap_or_default();
        let phase = phase(there);
        if there.metadata.deletion_timestamp.is_some() {
            return Err(conflict(&name, phase, "is being deleted", "try again when it is gone"));
        }
        if there.is_unreadable() {
            return Err(conflict(&name, phase, "cannot be read", "delete it first, or give another name"));
        }
        if phase.is_terminal() {
            return Err(conflict(&name, phase, "has ended", "delete it first, or give another name"));
        }
        if !is_same(&there.spec, spec) {
            return Err(conflict(
                &name,
                phase,
                "exists with other input",
                "wait for its end, or give another name",
            ));
        }
        if spec.run && !there.spec.run {
            let namespace = there.metadata.namespace.clone().unwrap_or_default();
            return self.run(&namespace, &name, caller).await;
        }
        Ok(Arc::new(there.clone()))
    }

    /// Asks for the run of an Action; asking again while it is unfinished changes nothing.
    pub(super) async fn run(
        &self,
        namespace: &str,
        name: &str,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        if matches!(caller, Caller::Person(_)) {
            let seen = self.find(namespace, name)?;
            if let Ok(workflow) = self.content.check(namespace, name, &seen.spec, &self.settings) {
                self.permit_targets(caller, namespace, &seen.spec, &workflow).await?;
            }
        }
        self.change(namespace, name, "running", |action| {
            let phase = phase(action);
            if phase.is_terminal() {
                return Err(conflict(
                    name,
                    phase,
                    "has ended",
                    "create another, or delete it and create it again",
                ));
            }
            if action.spec.cancel {
                return Err(conflict(name, phase, "was canceled", "create another"));
            }
            let by = action.spec.requested_by.as_ref().and_then(|by| by.run.as_ref());
            Ok(match caller {
                Caller::Person(person) if !action.spec.run || by.is_none() => {
                    Some(json!({"run": true, "requestedBy": {"run": person}}))
                }
                Caller::Person(_) => None,
                Caller::Anybody => (!action.spec.run).then(|| json!({"run": true})),
            })
        })
        .await
    }

    /// Asks for the end of a run.
    pub(super) async fn cancel(
        &self,
        namespace: &str,
        name: &str,
        caller: &Caller,
    ) -> Result<Arc<Action>, GatewayError> {
        self.change(namespace, name, "canceling", |action| {
            let phase = phase(action);
            if phase.is_terminal() {
                return Err(conflict(name, phase, "has ended", "there is nothing to cancel"));
            }
            if !action.spec.run {
                return Err(conflict(
                    name,
                    phase,
                    "cannot be canceled, as it is not run",
                    "delete it instead",
                ));
            }
            Ok((!action.spec.cancel).then(|| match caller {
                Caller::Person(person) => json!({"cancel": true, "requestedBy": {"cancel": person}}),
                Caller::Anybody => json!({"cancel": true}),
            }))
        })
        .await
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
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    seen = self.latest(namespace, name).await?;
                }
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
        for right in known_rights(workflow, namespace, spec.service_account_name.as_deref()) {
            self.permit(caller, &right).await?;
        }
        Ok(())
    }

    async fn change(
        &self,
        namespace: &str,
        name: &str,
        doing: &str,
        wanted: impl Fn(&Action) -> Result<Option<Value>, GatewayError>,
    ) -> Result<Arc<Action>, GatewayError> {
        let mut seen = self.find(namespace, name)?;
        for _ in 0..TRIES {
            if seen.is_unreadable() {
                return Err(conflict(
                    name,
                    phase(&seen),
                    "cannot be read",
                    "mend it with kubectl, or delete it",
                ));
            }
            let Some(spec) = wanted(&seen)? else { return Ok(seen) };
            match self.actions()?.patch(&seen, spec).await {
                Ok(changed) => return Ok(changed),
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    seen = self.latest(namespace, name).await?;
                }
                Err(error) => {
                    return Err(GatewayError::from_cluster(&format!("{doing} the Action {name}"), &error));
                }
            }
        }
        Err(busy(name))
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

/// Tells whether two requests ask for the same.
fn is_same(there: &ActionSpec, asked: &ActionSpec) -> bool {
    there.action_ref == asked.action_ref
        && there.input == asked.input
        && there.service_account_name == asked.service_account_name
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

/// Says who asks for a creation, and for the run.
fn requested_by(caller: &Caller, run: bool) -> Option<RequestedBy> {
    let Caller::Person(person) = caller else { return None };
    Some(RequestedBy {
        create: Some(person.clone()),
        run: run.then(|| person.clone()),
        ..RequestedBy::default()
    })
}

fn spec(input: ActionDetailsInput) -> Result<ActionSpec, GatewayError> {
    let given = input.input.unwrap_or(ActionInputData {
        parameters: None,
        type_instances: None,
        action_policy: None,
    });
    let has_instances = given.type_instances.is_some_and(|instances| !instances.is_empty());
    let has_policy = given.action_policy.is_some_and(|policy| {
        let interface =
            policy.interface.is_some_and(|rules| !rules.rules.is_empty() || rules.default.is_some());
        interface || policy.type_instance.is_some_and(|rules| !rules.rules.is_empty())
    });
    let unbuilt = [
        (input.dry_run == Some(true), "dryRun"),
        (input.advanced_rendering == Some(true), "advancedRendering"),
        (
            input.rendered_action_override.is_some_and(|workflow| !workflow.0.is_null()),
            "renderedActionOverride",
        ),
        (has_instances, "input.typeInstances"),
        (has_policy, "input.actionPolicy"),
    ];
    if let Some((_, what)) = unbuilt.iter().find(|(used, _)| *used) {
        return Err(GatewayError::not_implemented(what));
    }
    Ok(ActionSpec {
        action_ref: ActionRef {
            path: input.action_ref.path.0,
            revision: input.action_ref.revision.map(|revision| revision.0),
        },
        input: ActionInput {
            parameters: parameters(given.parameters.map(|json| json.0))?,
            ..ActionInput::default()
        },
        run: input.run.unwrap_or_default(),
        service_account_name: input.service_account_name,
        attempt: 1,
        ..ActionSpec::default()
    })
}

fn parameters(given: Option<Value>) -> Result<Map<String, Value>, GatewayError> {
    match given {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(parameters)) => Ok(parameters),
        Some(other) => {
            let kind = match other {
                Value::Array(_) => "an array",
                Value::String(_) => "a string",
                Value::Number(_) => "a number",
                Value::Bool(_) | Value::Null | Value::Object(_) => "true or false",
            };
            Err(GatewayError::new(
                Code::BadUserInput,
                format!("input.parameters must be a JSON object, not {kind}"),
            ))
        }
    }
}

/// An Action's name is a label's value on what it creates.
fn check_name(name: &str) -> Result<(), GatewayError> {
    if is_dns_label(name) {
        return Ok(());
    }
    Err(GatewayError::new(
        Code::BadUserInput,
        "the name of an Action is a DNS label: at most 63 of a-z, 0-9 and -, and no - at its ends",
    ))
}

fn phase(action: &Action) -> Phase {
    action.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

fn conflict(name: &str, phase: Phase, what: &str, hint: &str) -> GatewayError {
    GatewayError::new(Code::Conflict, format!("the Action {name} {what} ({}); {hint}", phase.as_str()))
}

fn not_found(namespace: &str, name: &str) -> GatewayError {
    let message = format!("action not found: there is no Action {namespace}/{name}");
    GatewayError::new(Code::NotFound, message)
}

fn busy(name: &str) -> GatewayError {
    GatewayError::new(Code::Conflict, format!("the Action {name} changes too fast; try again"))
}

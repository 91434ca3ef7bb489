//! The patches of the specs of Actions that are there, and what stands against them.

use kube::ResourceExt as _;
use ochre_core::action::{Action, ActionSpec, UserInfo};
use ochre_core::code::Code;
use ochre_core::phase::Phase;
use serde_json::{Value, json};

use super::error::GatewayError;
use crate::identity::Caller;

/// Words the patch for a create of a name that is taken by the same, unfinished Action.
pub(super) fn create_again_patch(
    there: &Action,
    spec: &ActionSpec,
    caller: &Caller,
) -> Result<Option<Value>, GatewayError> {
    let (name, phase) = (there.name_any(), phase(there));
    if there.metadata.deletion_timestamp.is_some() {
        return Err(conflict(&name, phase, "is being deleted", "try again when it is gone"));
    }
    if phase.is_terminal() {
        return Err(conflict(&name, phase, "has ended", "delete it first, or give another name"));
    }
    if !is_same(&there.spec, spec) {
        let hint = "wait for its end, or give another name";
        return Err(conflict(&name, phase, "exists with other input", hint));
    }
    if spec.run { run_patch(there, caller, None) } else { Ok(None) }
}

/// Words the patch that asks for a run; none where it is asked for already.
pub(super) fn run_patch(
    action: &Action,
    caller: &Caller,
    digest: Option<&str>,
) -> Result<Option<Value>, GatewayError> {
    let (name, phase) = (action.name_any(), phase(action));
    if phase.is_terminal() {
        let hint = "create another, or delete it and create it again";
        return Err(conflict(&name, phase, "has ended", hint));
    }
    if action.spec.cancel {
        return Err(conflict(&name, phase, "was canceled", "create another"));
    }
    let by = action.spec.requested_by.as_ref().and_then(|by| by.run.as_ref());
    let mut spec = match caller {
        Caller::Person(person) if !action.spec.run || by.is_none() => {
            json!({"run": true, "requestedBy": {"run": replacing(by, person)}})
        }
        Caller::Anybody if !action.spec.run => json!({"run": true}),
        Caller::Person(_) | Caller::Anybody => return Ok(None),
    };
    if let Some(digest) = digest {
        spec["workflowDigest"] = json!(digest);
    }
    Ok(Some(spec))
}

/// Words the patch that asks for the end of a run; none where it is asked for already.
pub(super) fn cancel_patch(action: &Action, caller: &Caller) -> Result<Option<Value>, GatewayError> {
    let (name, phase) = (action.name_any(), phase(action));
    if phase.is_terminal() {
        return Err(conflict(&name, phase, "has ended", "there is nothing to cancel"));
    }
    if !action.spec.run {
        return Err(conflict(&name, phase, "cannot be canceled, as it is not run", "delete it instead"));
    }
    let by = action.spec.requested_by.as_ref().and_then(|by| by.cancel.as_ref());
    Ok((!action.spec.cancel).then(|| match caller {
        Caller::Person(person) => json!({"cancel": true, "requestedBy": {"cancel": replacing(by, person)}}),
        Caller::Anybody => json!({"cancel": true}),
    }))
}

/// Words one identity in place of another: a merge patch would leave what the other one has more.
fn replacing(old: Option<&UserInfo>, new: &UserInfo) -> Value {
    let mut wanted = json!({"groups": new.groups, "extra": new.extra, "username": new.username});
    if let (Some(Value::Object(old)), Some(extra)) =
        (old.and_then(|old| old.extra.as_ref()), wanted["extra"].as_object_mut())
    {
        for key in old.keys() {
            extra.entry(key).or_insert(Value::Null);
        }
    }
    wanted
}

/// Names the workflow that would run, if it is rendered from what is asked for now.
pub(super) fn rendered_digest(action: &Action) -> Option<&str> {
    let status = action.status.as_ref()?;
    let rendering = status.rendering.as_ref();
    let rendering = rendering.filter(|_| status.observed_generation == action.metadata.generation);
    rendering.map(|rendering| rendering.workflow_ref.digest.as_str())
}

/// Refuses an Action whose workflow is not the one that the caller means.
pub(super) fn check_digest(action: &Action, digest: &str) -> Result<(), GatewayError> {
    if action.spec.run && action.spec.workflow_digest.as_deref() == Some(digest) {
        return Ok(());
    }
    let (name, phase) = (action.name_any(), phase(action));
    match rendered_digest(action) {
        Some(rendered) if rendered == digest => Ok(()),
        Some(rendered) => {
            let what = format!("has another workflow, {rendered},");
            Err(conflict(&name, phase, &what, "look at its renderedAction, and ask with its own digest"))
        }
        None => Err(conflict(&name, phase, "is not rendered yet", "ask again when it is READY_TO_RUN")),
    }
}

/// Tells whether two requests ask for the same, apart from who asks and whether it is to run.
pub(super) fn is_same(there: &ActionSpec, asked: &ActionSpec) -> bool {
    let bare = |spec: &ActionSpec| ActionSpec {
        run: false,
        cancel: false,
        attempt: 1,
        workflow_digest: None,
        approvals: Vec::new(),
        requested_by: None,
        ..spec.clone()
    };
    bare(there) == bare(asked)
}

/// Reads where an Action stands.
pub(super) fn phase(action: &Action) -> Phase {
    action.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Words why an Action cannot be changed as it is, and what to do.
pub(super) fn conflict(name: &str, phase: Phase, what: &str, hint: &str) -> GatewayError {
    GatewayError::new(Code::Conflict, format!("the Action {name} {what} ({}); {hint}", phase.as_str()))
}

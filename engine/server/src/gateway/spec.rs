//! What `createAction` asks for, as the spec of an Action.

use ochre_core::action::{ActionInput, ActionRef, ActionSpec};
use ochre_core::code::Code;
use ochre_core::selector::is_dns_label;
use serde_json::{Map, Value};

use super::error::GatewayError;
use super::inputs::{ActionDetailsInput, ActionInputData};

/// Reads from a mutation what is asked for.
pub(super) fn spec(input: ActionDetailsInput) -> Result<ActionSpec, GatewayError> {
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
pub(super) fn check_name(name: &str) -> Result<(), GatewayError> {
    if is_dns_label(name) {
        return Ok(());
    }
    Err(GatewayError::new(
        Code::BadUserInput,
        "the name of an Action is a DNS label: at most 63 of a-z, 0-9 and -, and no - at its ends",
    ))
}

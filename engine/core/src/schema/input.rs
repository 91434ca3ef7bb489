//! The two forms in which parameters come, and the one in which they go on.

use serde_json::{Map, Value};

use super::{Schema, Violation};
use crate::action::MAX_PARAMETERS;
use crate::catalog::Parameter;
use crate::code::Code;

/// The deepest that parameters may nest.
pub const MAX_DEPTH: usize = 64;

/// Says why parameters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// They are too large.
    #[error("the parameters take {size} bytes, and may take {MAX_PARAMETERS}")]
    TooLarge {
        /// Their size as compact JSON.
        size: usize,
    },
    /// They nest too deep.
    #[error("the parameters nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The Interface forbids them.
    #[error("the parameters are not valid: {}", joined(.violations))]
    Invalid {
        /// Everything that it forbids.
        violations: Vec<Violation>,
    },
}

impl InputError {
    /// Classifies the error.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } | Self::TooDeep => Code::LimitExceeded,
            Self::Invalid { .. } => Code::BadUserInput,
        }
    }

    /// Lists what the Interface forbids.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::TooLarge { .. } | Self::TooDeep => &[],
            Self::Invalid { violations } => violations,
        }
    }
}

/// Checks parameters against an Interface and adds its defaults.
///
/// They are either flat or under the one name that the Interface gives them; what comes back is flat.
pub fn effective_parameters(
    parameter: Option<&Parameter>,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, InputError> {
    check_limits(given)?;
    let mut violations = Vec::new();
    find_expressions(given, "", &mut violations);
    let Some(parameter) = parameter else {
        violations.extend(given.keys().map(|name| Violation {
            pointer: format!("/{name}"),
            message: "the Interface takes no parameters".to_owned(),
            hint: None,
        }));
        return finish(Map::new(), violations);
    };
    let (inner, prefix) = unwrap_form(parameter, given);
    let Value::Object(_) = inner else {
        violations.push(Violation {
            pointer: prefix,
            message: "must be an object".to_owned(),
            hint: Some("send the object itself, not its JSON text".to_owned()).filter(|_| inner.is_string()),
        });
        return finish(Map::new(), violations);
    };
    let mut value = inner;
    complete(&parameter.schema, &mut value, &prefix, &mut violations);
    let Value::Object(value) = value else {
        return finish(Map::new(), violations);
    };
    finish(value, violations)
}

/// Gives parameters as the API returns them: the parameter's name and its JSON text.
pub fn named_parameters(parameter: &Parameter, given: &Map<String, Value>) -> Map<String, Value> {
    let (inner, _) = unwrap_form(parameter, given);
    Map::from_iter([(parameter.name.clone(), Value::String(inner.to_string()))])
}

/// Finds the parameters' object, and the pointer to it in what was sent.
fn unwrap_form(parameter: &Parameter, given: &Map<String, Value>) -> (Value, String) {
    match given.get(&parameter.name) {
        Some(inner) if given.len() == 1 => {
            let name = parameter.name.replace('~', "~0").replace('/', "~1");
            (inner.clone(), format!("/{name}"))
        }
        _ => (Value::Object(given.clone()), String::new()),
    }
}

fn complete(schema: &Schema, value: &mut Value, prefix: &str, violations: &mut Vec<Violation>) {
    schema.apply_defaults(value);
    violations.extend(
        schema
            .validate(value)
            .into_iter()
            .map(|violation| Violation { pointer: format!("{prefix}{}", violation.pointer), ..violation }),
    );
}

fn finish(
    value: Map<String, Value>,
    mut violations: Vec<Violation>,
) -> Result<Map<String, Value>, InputError> {
    if violations.is_empty() {
        return Ok(value);
    }
    violations.sort();
    Err(InputError::Invalid { violations })
}

fn check_limits(given: &Map<String, Value>) -> Result<(), InputError> {
    if given.values().any(|value| is_deeper(value, MAX_DEPTH)) {
        return Err(InputError::TooDeep);
    }
    // Maps of strings to JSON always serialise.
    let size = serde_json::to_string(given).map_or(usize::MAX, |text| text.len());
    if size > MAX_PARAMETERS {
        return Err(InputError::TooLarge { size });
    }
    Ok(())
}

pub(crate) fn is_deeper(value: &Value, depth: usize) -> bool {
    let Some(rest) = depth.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, rest)),
        Value::Object(object) => object.values().any(|item| is_deeper(item, rest)),
        _ => false,
    }
}

/// Only the catalog writes expressions: a key `$cel` in a parameter would be one.
fn find_expressions(object: &Map<String, Value>, pointer: &str, violations: &mut Vec<Violation>) {
    for (key, value) in object {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if key == "$cel" {
            violations.push(Violation {
                pointer: pointer.clone(),
                message: "expressions are not allowed in parameters".to_owned(),
                hint: None,
            });
        }
        find_in_value(value, &pointer, violations);
    }
}

fn find_in_value(value: &Value, pointer: &str, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(object) => find_expressions(object, pointer, violations),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_in_value(item, &format!("{pointer}/{index}"), violations);
            }
        }
        _ => {}
    }
}

fn joined(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(Violation::to_string).collect();
    texts.join("; ")
}

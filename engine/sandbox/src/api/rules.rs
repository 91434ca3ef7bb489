//! CEL rules of CustomResourceDefinitions.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::failure::Cause;
use super::schema::{Schema, SchemaError, join, shown};

impl Schema {
    /// Evaluates every rule that a value must keep, in depth.
    pub(super) fn check_rules(
        &self,
        schema: &Value,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        causes: &mut Vec<Cause>,
    ) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            causes.extend(self.check_rule(rule, value, old, path));
        }
        match value {
            Value::Object(entries) => {
                for (key, entry) in entries {
                    let child = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
                    if let Some(child) = child {
                        let old = old.and_then(|old| old.get(key));
                        self.check_rules(child, entry, old, &join(path, key), causes);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| correlated(schema, item, old));
                    self.check_rules(&schema["items"], item, old, &format!("{path}[{index}]"), causes);
                }
            }
            _ => {}
        }
    }

    fn check_rule(&self, rule: &Value, value: &Value, old: Option<&Value>, path: &str) -> Option<Cause> {
        let text = rule["rule"].as_str()?;
        let program = self.programs.get(text)?;
        // A transition rule says nothing about an object that has no predecessor.
        if old.is_none() && program.references().variables().contains(&"oldSelf") {
            return None;
        }
        let context = rule_context(value, old);
        let field =
            rule["fieldPath"].as_str().map_or_else(|| path.to_owned(), |field| format!("{path}{field}"));
        let reason = match rule["reason"].as_str() {
            Some("FieldValueForbidden") => "FieldValueForbidden",
            Some("FieldValueRequired") => "FieldValueRequired",
            Some("FieldValueDuplicate") => "FieldValueDuplicate",
            _ => "FieldValueInvalid",
        };
        let prefix = match reason {
            "FieldValueForbidden" => "Forbidden".to_owned(),
            "FieldValueRequired" => "Required value".to_owned(),
            "FieldValueDuplicate" => format!("Duplicate value: {}", shown(value)),
            // What is large is not shown.
            _ if value.is_object() || value.is_array() => "Invalid value".to_owned(),
            _ => format!("Invalid value: {}", shown(value)),
        };
        let message = match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => return None,
            Ok(cel::Value::Bool(false)) => self.message(rule, text, &context),
            Ok(_) => format!("rule evaluation error: `{text}` is neither true nor false"),
            Err(error) => format!("rule evaluation error: {error}: `{text}`"),
        };
        // The root has no name; the real server prints it so.
        let field = if field.is_empty() { "<nil>".to_owned() } else { field };
        Some(Cause::new(reason, field, format!("{prefix}: {message}")))
    }

    fn message(&self, rule: &Value, text: &str, context: &cel::Context<'_, '_>) -> String {
        let computed = rule["messageExpression"]
            .as_str()
            .and_then(|expression| self.programs.get(expression))
            .and_then(|program| match program.execute(context) {
                Ok(cel::Value::String(message)) => Some(message.to_string()),
                _ => None,
            });
        computed.unwrap_or_else(|| {
            rule["message"].as_str().map_or_else(|| format!("failed rule: {text}"), str::to_owned)
        })
    }
}

fn rule_context(value: &Value, old: Option<&Value>) -> cel::Context<'static, 'static> {
    let mut context = cel::Context::default();
    // Of Kubernetes' own functions, the one that a definition here uses. It is refused only where it is there already.
    let _ = context
        .add_function("sum", |cel::extractors::This(items): cel::extractors::This<Arc<Vec<cel::Value>>>| {
            sum(&items)
        });
    context.add_variable_from_value("self", to_cel(value));
    if let Some(old) = old {
        context.add_variable_from_value("oldSelf", to_cel(old));
    }
    context
}

/// Adds up whole numbers.
fn sum(items: &[cel::Value]) -> i64 {
    let numbers = items.iter().filter_map(|item| match item {
        cel::Value::Int(number) => Some(*number),
        _ => None,
    });
    numbers.sum()
}

/// Finds the predecessor of a list item: only items of a list that is a map have one.
fn correlated<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
    old.as_array()?
        .iter()
        .find(|other| keys.iter().filter_map(Value::as_str).all(|key| other.get(key) == item.get(key)))
}

/// Compiles the rules of a schema and of all schemas in it.
pub(super) fn compile_rules(
    schema: &Value,
    programs: &mut HashMap<String, cel::Program>,
) -> Result<(), SchemaError> {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        for text in [&rule["rule"], &rule["messageExpression"]].into_iter().filter_map(Value::as_str) {
            let program = cel::Program::compile(text)
                .map_err(|error| SchemaError::Rule { rule: text.to_owned(), problem: error.to_string() })?;
            programs.insert(text.to_owned(), program);
        }
    }
    let children = schema["properties"].as_object().into_iter().flat_map(Map::values);
    let others = ["items", "additionalProperties"].into_iter().filter_map(|key| schema.get(key));
    children.chain(others).try_for_each(|child| compile_rules(child, programs))
}

/// Turns JSON into CEL. Every whole number becomes an int, since CEL does not mix it with uint.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int),
        Value::String(text) => cel::Value::String(text.clone().into()),
        Value::Array(items) => cel::Value::List(items.iter().map(to_cel).collect::<Vec<_>>().into()),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (escaped(key), to_cel(value))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// Names a property as rules must: a word that CEL keeps for itself is escaped.
fn escaped(key: &str) -> String {
    const RESERVED: [&str; 19] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
    ];
    if RESERVED.contains(&key) { format!("__{key}__") } else { key.to_owned() }
}

//! Schemas of CustomResourceDefinitions: pruning, defaults, validation and CEL rules.
//!
//! A rule that does not compile refuses the definition, and one that cannot be evaluated refuses
//! the object, as in the real server: nothing is let through because it was not understood.

use std::collections::HashMap;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

use super::failure::Cause;

/// Holds a structural schema, compiled.
pub(crate) struct Schema {
    root: Value,
    validator: Validator,
    programs: HashMap<String, cel::Program>,
}

/// Says why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// The schema is not one.
    #[error("schema does not compile: {0}")]
    Schema(String),
    /// A CEL rule is not an expression.
    #[error("rule `{rule}` does not compile: {problem}")]
    Rule { rule: String, problem: String },
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles an `openAPIV3Schema`.
    pub(crate) fn compile(root: &Value) -> Result<Self, SchemaError> {
        // Draft 4 is the dialect of OpenAPI 3.0: `exclusiveMinimum` is a flag there.
        let validator = jsonschema::draft4::new(&to_json_schema(root, true))
            .map_err(|error| SchemaError::Schema(error.to_string()))?;
        let mut programs = HashMap::new();
        compile_rules(root, &mut programs)?;
        Ok(Self {
            root: root.clone(),
            validator,
            programs,
        })
    }

    /// Removes unknown fields and fills in defaults.
    pub(crate) fn complete(&self, object: &mut Value) {
        prune(&self.root, object, true);
        fill_defaults(&self.root, object);
    }

    /// Lists what is wrong with an object; `old` is what it replaces.
    pub(crate) fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self
            .validator
            .iter_errors(object)
            .map(|error| cause(&error))
            .collect();
        // Rules may assume the shape that the schema promises.
        if causes.is_empty() {
            self.check_rules(&self.root, object, old, "", &mut causes);
        }
        causes
    }

    fn check_rules(
        &self,
        schema: &Value,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        causes: &mut Vec<Cause>,
    ) {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            causes.extend(self.check_rule(rule, value, old, path));
        }
        match value {
            Value::Object(entries) => {
                for (key, entry) in entries {
                    let child = schema["properties"]
                        .get(key)
                        .or_else(|| schema.get("additionalProperties"));
                    if let Some(child) = child {
                        let old = old.and_then(|old| old.get(key));
                        self.check_rules(child, entry, old, &join(path, key), causes);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| correlated(schema, item, old));
                    self.check_rules(
                        &schema["items"],
                        item,
                        old,
                        &format!("{path}[{index}]"),
                        causes,
                    );
                }
            }
            _ => {}
        }
    }

    fn check_rule(
        &self,
        rule: &Value,
        value: &Value,
        old: Option<&Value>,
        path: &str,
    ) -> Option<Cause> {
        let text = rule["rule"].as_str()?;
        let program = self.programs.get(text)?;
        // A transition rule says nothing about an object that has no predecessor.
        if old.is_none() && program.references().variables().contains(&"oldSelf") {
            return None;
        }
        let context = rule_context(value, old);
        let field = rule["fieldPath"]
            .as_str()
            .map_or_else(|| path.to_owned(), |field| format!("{path}{field}"));
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
            _ => format!("Invalid value: {}", shown(value)),
        };
        let message = match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => return None,
            Ok(cel::Value::Bool(false)) => self.message(rule, text, &context),
            Ok(_) => format!("rule evaluation error: `{text}` is neither true nor false"),
            Err(error) => format!("rule evaluation error: {error}: `{text}`"),
        };
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
            rule["message"]
                .as_str()
                .map_or_else(|| format!("failed rule: {text}"), str::to_owned)
        })
    }
}

fn rule_context(value: &Value, old: Option<&Value>) -> cel::Context<'static, 'static> {
    let mut context = cel::Context::default();
    context.add_variable_from_value("self", to_cel(value));
    if let Some(old) = old {
        context.add_variable_from_value("oldSelf", to_cel(old));
    }
    context
}

/// Finds the predecessor of a list item: only items of a list that is a map have one.
fn correlated<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
    old.as_array()?.iter().find(|other| {
        keys.iter()
            .filter_map(Value::as_str)
            .all(|key| other.get(key) == item.get(key))
    })
}

fn compile_rules(
    schema: &Value,
    programs: &mut HashMap<String, cel::Program>,
) -> Result<(), SchemaError> {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for text in [&rule["rule"], &rule["messageExpression"]]
            .into_iter()
            .filter_map(Value::as_str)
        {
            let program = cel::Program::compile(text).map_err(|error| SchemaError::Rule {
                rule: text.to_owned(),
                problem: error.to_string(),
            })?;
            programs.insert(text.to_owned(), program);
        }
    }
    let children = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    let others = ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|key| schema.get(key));
    children
        .chain(others)
        .try_for_each(|child| compile_rules(child, programs))
}

/// Turns JSON into CEL. Every whole number becomes an int, since CEL does not mix it with uint.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(
            || cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            cel::Value::Int,
        ),
        Value::String(text) => cel::Value::String(text.clone().into()),
        Value::Array(items) => {
            cel::Value::List(items.iter().map(to_cel).collect::<Vec<_>>().into())
        }
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), to_cel(value)))
            .collect::<HashMap<_, _>>()
            .into(),
    }
}

/// Rewrites a structural schema as a JSON Schema. Of the root's metadata the API itself takes care.
fn to_json_schema(schema: &Value, root: bool) -> Value {
    let Value::Object(entries) = schema else {
        return schema.clone();
    };
    let mut result = Map::new();
    for (key, value) in entries {
        match key.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let kept = properties.filter(|(name, _)| !(root && *name == "metadata"));
                let children =
                    kept.map(|(name, child)| (name.clone(), to_json_schema(child, false)));
                result.insert(key.clone(), Value::Object(children.collect()));
            }
            "items" | "additionalProperties" | "not" => {
                result.insert(key.clone(), to_json_schema(value, false));
            }
            "allOf" | "anyOf" | "oneOf" => {
                let parts = value.as_array().into_iter().flatten();
                result.insert(
                    key.clone(),
                    parts.map(|part| to_json_schema(part, false)).collect(),
                );
            }
            // `format` is open in OpenAPI; `default` and `nullable` are not JSON Schema's.
            "format" | "default" | "nullable" | "description" | "example" => {}
            _ if key.starts_with("x-") => {}
            _ => {
                result.insert(key.clone(), value.clone());
            }
        }
    }
    if schema["x-kubernetes-int-or-string"] == true {
        result.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if schema["nullable"] == true {
        allow_null(&mut result);
    }
    Value::Object(result)
}

fn allow_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push(json!("null")),
        Some(one) => *one = json!([one.clone(), "null"]),
        None => {}
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}

/// Removes the fields that the schema does not know.
fn prune(schema: &Value, value: &mut Value, root: bool) {
    match value {
        Value::Object(entries) => {
            let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true
                || schema["additionalProperties"] == true;
            entries.retain(|key, _| {
                let always = embedded && ["apiVersion", "kind", "metadata"].contains(&key.as_str());
                always
                    || open
                    || schema["properties"].get(key).is_some()
                    || schema["additionalProperties"].is_object()
            });
            for (key, entry) in entries {
                if embedded && key == "metadata" {
                    continue;
                }
                let additional = schema
                    .get("additionalProperties")
                    .filter(|child| child.is_object());
                if let Some(child) = schema["properties"].get(key.as_str()).or(additional) {
                    prune(child, entry, false);
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            for item in items {
                prune(&schema["items"], item, false);
            }
        }
        _ => {}
    }
}

fn fill_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, child) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = child.get("default") {
                    let absent = entries
                        .get(key)
                        .is_none_or(|entry| entry.is_null() && child["nullable"] != true);
                    if absent {
                        entries.insert(key.clone(), default.clone());
                    }
                }
                if let Some(entry) = entries.get_mut(key) {
                    fill_defaults(child, entry);
                }
            }
            let additional = &schema["additionalProperties"];
            for (key, entry) in entries {
                if additional.is_object() && schema["properties"].get(key.as_str()).is_none() {
                    fill_defaults(additional, entry);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fill_defaults(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// Says a validation error in the words of the real server.
fn cause(error: &jsonschema::ValidationError<'_>) -> Cause {
    let path = dotted(error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            Cause::new("FieldValueRequired", join(&path, name), "Required value")
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(shown)
                .collect();
            let message = format!(
                "Unsupported value: {}: supported values: {}",
                shown(error.instance()),
                options.join(", ")
            );
            Cause::new("FieldValueNotSupported", path, message)
        }
        ValidationErrorKind::Type { .. } => {
            let message = format!(
                "Invalid value: {}: in body: {error}",
                shown(error.instance())
            );
            Cause::new("FieldValueTypeInvalid", path, message)
        }
        _ => Cause::invalid(
            path,
            format!(
                "Invalid value: {}: in body: {error}",
                shown(error.instance())
            ),
        ),
    }
}

/// Prints a value in a message; what is large is only named by its type.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "\"object\"".to_owned(),
        Value::Array(_) => "\"array\"".to_owned(),
        _ => value.to_string(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Turns the JSON pointer `/spec/steps/0/name` into `spec.steps[0].name`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.parse::<usize>().is_ok() {
            path = format!("{path}[{segment}]");
        } else {
            path = join(&path, &segment);
        }
    }
    path
}

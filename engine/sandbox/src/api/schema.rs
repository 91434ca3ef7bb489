//! Schemas of CustomResourceDefinitions: pruning, defaults, validation and CEL rules.
//!
//! A rule that does not compile refuses the definition, and one that cannot be evaluated refuses
//! the object, as in the real server: nothing is let through because it was not understood.

use std::collections::HashMap;

use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::failure::Cause;
use super::rules::compile_rules;

/// Holds a structural schema, compiled.
pub(crate) struct Schema {
    root: Value,
    validator: Validator,
    pub(super) programs: HashMap<String, cel::Program>,
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
        Ok(Self { root: root.clone(), validator, programs })
    }

    /// Removes unknown fields and fills in defaults.
    pub(crate) fn complete(&self, object: &mut Value) {
        prune(&self.root, object, true, "", &mut Vec::new());
        fill_defaults(&self.root, object);
    }

    /// Names the fields of an object that the schema does not know.
    pub(crate) fn unknown_fields(&self, object: &Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune(&self.root, &mut object.clone(), true, "", &mut unknown);
        unknown.sort_unstable();
        unknown
    }

    /// Lists what is wrong with an object; `old` is what it replaces.
    pub(crate) fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let errors = self.validator.iter_errors(object);
        let mut causes: Vec<Cause> = errors.map(|error| cause(&error, &self.root)).collect();
        // Of several rules that a text breaks, the first is named.
        causes.dedup_by(|later, first| later.field == first.field);
        // What was wrong before, as an older schema admitted it, is let be while it does not change.
        causes.retain(|cause| {
            old.is_none_or(|old| outside_lists(old, &cause.field) != outside_lists(object, &cause.field))
        });
        // Rules may assume the shape that the schema promises.
        if causes.iter().all(|cause| cause.reason == "FieldValueInvalid") {
            self.check_rules(&self.root, object, old, "", &mut causes);
        } else if !self.programs.is_empty() {
            let message = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            causes.push(Cause::invalid("<nil>", message));
        }
        causes
    }
}

/// Finds a field, or the outermost list that it is in: the items of a list are not told apart.
fn outside_lists<'v>(object: &'v Value, field: &str) -> Option<&'v Value> {
    let path = field.split('[').next().unwrap_or_default();
    path.split('.').try_fold(object, |value, name| value.get(name))
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
                let children = kept.map(|(name, child)| (name.clone(), to_json_schema(child, false)));
                result.insert(key.clone(), Value::Object(children.collect()));
            }
            "items" | "additionalProperties" | "not" => {
                result.insert(key.clone(), to_json_schema(value, false));
            }
            "allOf" | "anyOf" | "oneOf" => {
                let parts = value.as_array().into_iter().flatten();
                result.insert(key.clone(), parts.map(|part| to_json_schema(part, false)).collect());
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

/// Removes the fields that the schema does not know, and names them.
fn prune(schema: &Value, value: &mut Value, root: bool, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true
                || schema["additionalProperties"] == true;
            entries.retain(|key, _| {
                let always = embedded && ["apiVersion", "kind", "metadata"].contains(&key.as_str());
                let known = always
                    || open
                    || schema["properties"].get(key).is_some()
                    || schema["additionalProperties"].is_object();
                if !known {
                    unknown.push(join(path, key));
                }
                known
            });
            for (key, entry) in entries {
                if embedded && key == "metadata" {
                    continue;
                }
                let additional = schema.get("additionalProperties").filter(|child| child.is_object());
                if let Some(child) = schema["properties"].get(key.as_str()).or(additional) {
                    prune(child, entry, false, &join(path, key), unknown);
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            for (index, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, false, &format!("{path}[{index}]"), unknown);
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
                    let absent =
                        entries.get(key).is_none_or(|entry| entry.is_null() && child["nullable"] != true);
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
fn cause(error: &jsonschema::ValidationError<'_>, root: &Value) -> Cause {
    let path = dotted(error.instance_path().as_str());
    let found = shown(error.instance());
    let bound = |words: &str, limit: &Value| {
        let limit = limit.as_f64().unwrap_or_default();
        Cause::invalid(
            path.clone(),
            format!("Invalid value: {found}: {path} in body should be {words} {limit}"),
        )
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            Cause::new("FieldValueRequired", join(&path, name), "Required value")
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(shown).collect();
            let message = format!(
                "Unsupported value: {}: supported values: {}",
                shown(error.instance()),
                options.join(", ")
            );
            Cause::new("FieldValueNotSupported", path, message)
        }
        // To the real server null is nothing.
        ValidationErrorKind::Type { .. } if error.instance().is_null() && is_required(root, error) => {
            Cause::new("FieldValueRequired", path, "Required value")
        }
        ValidationErrorKind::Minimum { limit } => bound("greater than or equal to", limit),
        ValidationErrorKind::Maximum { limit } => bound("less than or equal to", limit),
        ValidationErrorKind::MinLength { limit } => Cause::invalid(
            path.clone(),
            format!("Invalid value: {found}: {path} in body should be at least {limit} chars long"),
        ),
        ValidationErrorKind::MaxLength { limit } => {
            Cause::new("FieldValueTooLong", path, format!("Too long: may not be more than {limit} bytes"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            let found = error.instance().as_array().map_or(0, Vec::len);
            Cause::new(
                "FieldValueTooMany",
                path,
                format!("Too many: {found}: must have at most {limit} items"),
            )
        }
        ValidationErrorKind::Pattern { pattern } => Cause::invalid(
            path.clone(),
            format!("Invalid value: {found}: {path} in body should match '{pattern}'"),
        ),
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(several) => {
                    several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
                }
            };
            let found = type_name(error.instance());
            let message =
                format!("Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}");
            Cause::new("FieldValueTypeInvalid", path, message)
        }
        _ => Cause::invalid(path, format!("Invalid value: {found}: in body: {error}")),
    }
}

/// Tells whether a value stands where the schema requires one.
fn is_required(root: &Value, error: &jsonschema::ValidationError<'_>) -> bool {
    let pointer = error.instance_path().as_str();
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let schema = parent.split('/').skip(1).fold(root, |schema, segment| {
        let property = schema["properties"].get(segment);
        property.unwrap_or_else(|| {
            if schema["items"].is_object() { &schema["items"] } else { &schema["additionalProperties"] }
        })
    });
    schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Prints a value in a message; what is large is only named by its type.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "\"object\"".to_owned(),
        Value::Array(_) => "\"array\"".to_owned(),
        _ => value.to_string(),
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
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

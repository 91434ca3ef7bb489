//! Applies the defaults that a schema gives.

use serde_json::Value;

use super::follow;

/// Schemas nest at most as deep as values may.
const MAX_DEPTH: usize = super::MAX_DEPTH;

pub(super) fn apply(document: &Value, value: &mut Value) {
    apply_at(document, document, value, MAX_DEPTH);
}

fn apply_at(document: &Value, schema: &Value, value: &mut Value, depth: usize) {
    if depth == 0 {
        return;
    }
    let schema = follow(document, schema);
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        apply_at(document, part, value, depth - 1);
    }
    match value {
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if !object.contains_key(name)
                    && let Some(default) = default_of(document, schema)
                {
                    object.insert(name.clone(), default.clone());
                }
                if let Some(value) = object.get_mut(name) {
                    apply_at(document, schema, value, depth - 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    apply_at(document, schema, item, depth - 1);
                }
            }
        }
        _ => {}
    }
}

/// What stands beside a `$ref` comes before what it refers to.
fn default_of<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let beside = schema.get("default");
    beside.or_else(|| follow(document, schema).get("default"))
}

//! Values that a schema accepts, to try templates on when the catalog loads.

use serde_json::{Map, Value, json};

use super::{Schema, follow};

/// The most samples of one property.
const MAX_CHOICES: usize = 8;

/// Makes valid parameters: the required ones alone for every choice of them, then each optional
/// property in each of its forms beside them. Empty when the schema is too clever for it.
pub(crate) fn samples(schema: &Schema) -> Vec<Map<String, Value>> {
    let document = schema.document();
    let required: Vec<&str> = document
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = document.get("properties").and_then(Value::as_object);
    let choices = |name: &str| {
        let property = properties.and_then(|p| p.get(name));
        property.map(|p| choices(document, p, MAX_CHOICES)).unwrap_or_default()
    };
    let mut bases = vec![Map::new()];
    for name in &required {
        bases = bases
            .iter()
            .flat_map(|base| choices(name).into_iter().map(move |value| with(base, name, value)))
            .take(MAX_CHOICES * MAX_CHOICES)
            .collect();
    }
    let mut candidates = bases.clone();
    for base in &bases {
        for name in properties.into_iter().flat_map(Map::keys) {
            if required.contains(&name.as_str()) {
                continue;
            }
            candidates.extend(choices(name).into_iter().map(|value| with(base, name, value)));
        }
    }
    let mut valid = Vec::new();
    for candidate in candidates {
        let mut value = Value::Object(candidate);
        schema.apply_defaults(&mut value);
        if schema.validate(&value).is_empty()
            && let Value::Object(object) = value
        {
            valid.push(object);
        }
    }
    valid
}

fn with(base: &Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    let mut copy = base.clone();
    copy.insert(name.to_owned(), value);
    copy
}

/// Lists values that a property's schema names or suggests.
fn choices(document: &Value, schema: &Value, depth: usize) -> Vec<Value> {
    let Some(depth) = depth.checked_sub(1) else {
        return Vec::new();
    };
    let schema = follow(document, schema);
    let listed = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(named) = listed("enum").or_else(|| listed("examples")) {
        return named.iter().take(MAX_CHOICES).cloned().collect();
    }
    let single = schema.get("const").or_else(|| schema.get("default"));
    if let Some(value) = single
        && !value.is_boolean()
    {
        return vec![value.clone()];
    }
    if let Some(alternatives) = listed("oneOf").or_else(|| listed("anyOf")) {
        return alternatives.iter().flat_map(|each| choices(document, each, depth)).collect();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => vec![json!(false), json!(true)],
        Some("integer" | "number") => vec![schema.get("minimum").cloned().unwrap_or(json!(1))],
        Some("array") => {
            let item = schema.get("items").map(|items| choices(document, items, depth));
            item.into_iter().flatten().map(|item| json!([item])).collect()
        }
        Some("object") => object(document, schema, depth),
        Some("string") => vec![string(schema)],
        _ => vec![json!("sample")],
    }
}

fn object(document: &Value, schema: &Value, depth: usize) -> Vec<Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut object = Map::new();
    for (name, property) in properties.into_iter().flatten() {
        if let Some(value) = choices(document, property, depth).into_iter().next() {
            object.insert(name.clone(), value);
        }
    }
    if object.is_empty() {
        let extra = schema.get("additionalProperties").filter(|extra| extra.is_object());
        let value = extra.and_then(|extra| choices(document, extra, depth).into_iter().next());
        object.extend(value.map(|value| ("sample".to_owned(), value)));
    }
    vec![Value::Object(object)]
}

fn string(schema: &Value) -> Value {
    match schema.get("format").and_then(Value::as_str) {
        Some("label-selector") => json!("app=sample"),
        Some("duration") => json!("1h"),
        _ => json!("sample"),
    }
}

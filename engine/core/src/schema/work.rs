//! How much a validator looks at for one value: a schema that goes on in the value by several ways at once does so again
//! at each of its levels.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::loops::{IN_PLACE, REFERENCES, pointer};

/// The most looks of a schema at a part of a value.
pub(super) const MOST: u64 = 2_000_000;

/// The deepest that one look leads to another: a validator calls itself for each.
const DEEPEST: usize = 1000;

/// Keywords whose schemas hold for each part of a value.
const IN_PARTS: [&str; 8] = [
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];

/// Keywords with a schema for each of some names.
const NAMED: [&str; 3] = ["patternProperties", "dependentSchemas", "dependencies"];

/// Tells whether a validator is done with a value within the bound.
pub(super) fn is_bounded(document: &Value, value: &Value) -> bool {
    Work { document, known: HashMap::new() }.looks(document, value, 0) <= MOST
}

struct Work<'a> {
    document: &'a Value,
    /// How much it is of a schema and a part of the value, by where both are in memory.
    known: HashMap<(*const Value, *const Value), u64>,
}

impl<'a> Work<'a> {
    /// Counts the looks; what refers to itself at one place of a value was refused before.
    fn looks(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> u64 {
        let key = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        // Beyond the bound it does not matter how much it is.
        if self.known.len() as u64 > MOST || depth > DEEPEST {
            return MOST + 1;
        }
        let mut sum = 1_u64;
        let mut add = |more: u64| sum = sum.saturating_add(more);
        if let Value::Object(keywords) = schema {
            for name in REFERENCES {
                let target =
                    keywords.get(name).and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
                if let Some(target) = target.and_then(|target| self.document.pointer(&pointer(target))) {
                    add(self.looks(target, value, depth + 1));
                }
            }
            for schema in IN_PLACE.iter().flat_map(|name| schemas(keywords, name)) {
                add(self.looks(schema, value, depth + 1));
            }
            if let Some((schema, names)) = keywords.get("propertyNames").zip(value.as_object()) {
                add(self.looks(schema, &Value::Null, depth + 1).saturating_mul(names.len() as u64));
            }
            let named = keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
            for (name, schema) in named {
                if let Some(part) = value.get(name) {
                    add(self.looks(schema, part, depth + 1));
                }
            }
            for schema in IN_PARTS.iter().flat_map(|name| schemas(keywords, name)) {
                for part in parts(value) {
                    add(self.looks(schema, part, depth + 1));
                }
            }
        }
        self.known.insert(key, sum);
        sum
    }
}

/// Lists the schemas of a keyword: itself, those of its list, or those of its names.
fn schemas<'a>(keywords: &'a Map<String, Value>, name: &str) -> Vec<&'a Value> {
    match keywords.get(name) {
        Some(Value::Array(schemas)) => schemas.iter().collect(),
        Some(Value::Object(named)) if NAMED.contains(&name) => named.values().collect(),
        schema => schema.into_iter().collect(),
    }
}

fn parts(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(entries) => entries.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

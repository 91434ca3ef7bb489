//! The schema of an Interface's parameters: compiled when the catalog loads, never fetched.

mod defaults;
mod format;
mod input;
mod references;
mod samples;
#[cfg(test)]
mod tests;
mod violation;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

pub(crate) use format::parse_duration;
pub use input::{InputError, MAX_DEPTH, effective_parameters, named_parameters};
pub use violation::Violation;

pub(crate) use references::{SchemaProblem, resolve};
pub(crate) use samples::samples;

/// A compiled JSON Schema (draft-07 or 2020-12) without references to anything outside it.
#[derive(Clone, Debug)]
pub struct Schema {
    document: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema whose `$ocfRefs` are resolved.
    pub(crate) fn compile(document: Value) -> Result<Self, SchemaProblem> {
        let problem = |pointer: String, message: String| SchemaProblem { pointer, message };
        let options = format::with_formats(jsonschema::options())
            // Patterns run on what users send: only an engine that takes linear time will do.
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .offline();
        let validator = options.build(&document).map_err(|error| {
            let pointer = error.instance_path().to_string();
            problem(pointer, format!("the schema is not valid: {error}"))
        })?;
        Ok(Self { document, validator })
    }

    /// Gives the schema as JSON, its `$ocfRefs` resolved.
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// Names the properties at the top of the schema.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        let properties = self.document.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// Adds the defaults of properties that are absent, in every object that is there.
    pub fn apply_defaults(&self, value: &mut Value) {
        defaults::apply(&self.document, value);
    }

    /// Lists everything about a value that the schema forbids.
    pub fn validate(&self, value: &Value) -> Vec<Violation> {
        violation::violations(self, value)
    }

    pub(super) const fn validator(&self) -> &Validator {
        &self.validator
    }
}

/// Follows the `$ref`s of a schema inside its document; loops end where they began.
pub(super) fn follow<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..16 {
        let target = schema.get("$ref").and_then(Value::as_str);
        let Some(pointer) = target.and_then(|target| target.strip_prefix('#')) else {
            return schema;
        };
        let Some(next) = document.pointer(pointer) else {
            return schema;
        };
        schema = next;
    }
    schema
}

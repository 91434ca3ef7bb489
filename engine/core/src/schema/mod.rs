//! The schema of an Interface's parameters: compiled when the catalog loads, never fetched.

mod defaults;
mod format;
mod input;
mod loops;
mod references;
mod samples;
#[cfg(test)]
mod tests;
mod violation;
mod work;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

pub(crate) use format::parse_duration;
pub use input::{InputError, MAX_DEPTH, effective_parameters, named_parameters};
pub use violation::Violation;

pub(crate) use input::is_deeper;
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
    pub(crate) fn compile(document: Value) -> Result<Self, Vec<SchemaProblem>> {
        check_form(&document)?;
        loops::check(&document)?;
        let options = format::with_formats(jsonschema::options())
            // Patterns run on what users send: only an engine that takes linear time will do.
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .offline();
        let validator = options.build(&document).map_err(|error| {
            vec![SchemaProblem {
                pointer: error.instance_path().to_string(),
                message: format!("the schema cannot be used: {error}"),
            }]
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

/// Checks a schema against the schema of schemas.
fn check_form(document: &Value) -> Result<(), Vec<SchemaProblem>> {
    let dialect = document.get("$schema").and_then(Value::as_str);
    let validator = match dialect.map(|dialect| dialect.trim_end_matches('#')) {
        None | Some("https://json-schema.org/draft/2020-12/schema") => {
            jsonschema::draft202012::meta::validator()
        }
        Some("http://json-schema.org/draft-07/schema") => jsonschema::draft7::meta::validator(),
        Some(other) => {
            return Err(vec![SchemaProblem {
                pointer: "/$schema".to_owned(),
                message: format!("`{other}` is neither draft-07 nor 2020-12"),
            }]);
        }
    };
    let violations = violation::described(None, validator.iter_errors(document));
    if violations.is_empty() {
        return Ok(());
    }
    let problem = |violation: Violation| SchemaProblem {
        message: format!("the schema is not valid: {} {}", violation.pointer, violation.message),
        pointer: violation.pointer,
    };
    Err(violations.into_iter().map(problem).collect())
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

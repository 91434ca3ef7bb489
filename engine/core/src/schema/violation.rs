//! Says in clear words what a schema forbids.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::Serialize;
use serde_json::Value;

use super::{Schema, format::Format, work};
use crate::hint::{did_you_mean, listed};

/// The longest excerpt of a value in a message.
const MAX_EXCERPT: usize = 80;

/// Schema keyword: what to tell when this part of the schema forbids a value.
const MESSAGE_KEYWORD: &str = "x-message";

/// Something about a value that its schema forbids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The place in the value, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Lists everything about a value that its schema forbids, sorted by place.
pub(super) fn violations(schema: &Schema, value: &Value) -> Vec<Violation> {
    if !work::is_bounded(schema.document(), value) {
        let message = format!("it takes the schema more than {} looks to judge this", work::MOST);
        let hint = Some("give less, or have the schema go on in a value by one way alone".to_owned());
        return vec![Violation { pointer: String::new(), message, hint }];
    }
    described(Some(schema.document()), schema.validator().iter_errors(value))
}

/// Describes errors, sorted by place; the schema's document, if it is known, helps.
pub(super) fn described<'a>(
    document: Option<&Value>,
    errors: impl Iterator<Item = ValidationError<'a>>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for error in errors {
        describe(document, &error, &mut violations);
    }
    violations.sort();
    violations.dedup();
    violations
}

fn describe(document: Option<&Value>, error: &ValidationError<'_>, violations: &mut Vec<Violation>) {
    let pointer = error.instance_path().to_string();
    let mut push = |pointer: String, message: String, hint: Option<String>| {
        violations.push(Violation { pointer, message, hint });
    };
    if let Some(message) = document.and_then(|document| authored(document, error)) {
        return push(pointer, message, None);
    }
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            push(child(&pointer, name), format!("`{name}` is required"), None);
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_properties(document, error);
            for name in unexpected {
                let hint = did_you_mean(name, known.iter().map(String::as_str))
                    .or_else(|| Some(format!("there are {}", listed(known.iter().map(String::as_str)))))
                    .filter(|_| !known.is_empty());
                push(child(&pointer, name), format!("`{name}` is not known here"), hint);
            }
        }
        // One wrong alternative among several says nothing; the nearest says most.
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            match nearest(context, error.instance()) {
                Some(nearest) => nearest.iter().for_each(|error| describe(document, error, violations)),
                None => push(pointer, alternatives(error, context), None),
            }
        }
        kind => {
            let (message, hint) = sentence(kind, error);
            push(pointer, message, hint);
        }
    }
}

/// What the schema's author wrote for this case.
fn authored(document: &Value, error: &ValidationError<'_>) -> Option<String> {
    let path = error.schema_path().to_string();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let part = document.pointer(parent)?;
    Some(part.get(MESSAGE_KEYWORD)?.as_str()?.to_owned())
}

fn sentence(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> (String, Option<String>) {
    let value = error.instance();
    let message = match kind {
        ValidationErrorKind::Enum { options } => {
            let texts: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
            let texts = texts.iter().map(String::as_str);
            let hint = value.as_str().and_then(|text| did_you_mean(text, texts.clone()));
            return (format!("{} is not one of {}", excerpt(value), listed(texts)), hint);
        }
        ValidationErrorKind::Constant { expected_value } => {
            format!("{} must be `{}`", excerpt(value), plain(expected_value))
        }
        ValidationErrorKind::Type { kind } => {
            format!("must be {}, not {}", types(kind), type_of(value))
        }
        ValidationErrorKind::Format { format } => {
            let reason = Format::named(format)
                .and_then(|format| format.check(value.as_str()?).err())
                .unwrap_or_else(|| format!("is not a valid {format}"));
            format!("{} {reason}", excerpt(value))
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("{} does not match {pattern}", excerpt(value))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("{} is longer than {limit} characters", excerpt(value))
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("{} is shorter than {limit} characters", excerpt(value))
        }
        ValidationErrorKind::MinItems { limit } => format!("needs at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("has more than {limit} items"),
        ValidationErrorKind::UniqueItems => "holds an item twice".to_owned(),
        ValidationErrorKind::PropertyNames { error } => {
            let (message, _) = sentence(error.kind(), error);
            format!("the key {message}")
        }
        ValidationErrorKind::FalseSchema => "is not allowed here".to_owned(),
        ValidationErrorKind::Not { .. } => "is a combination that is not allowed".to_owned(),
        _ => shorten(&error.to_string()),
    };
    (message, None)
}

/// Picks the alternative whose type fits: the one its author meant.
fn nearest<'a>(
    context: &'a [Vec<ValidationError<'static>>],
    value: &Value,
) -> Option<&'a Vec<ValidationError<'static>>> {
    let about_type = |error: &ValidationError<'_>| {
        matches!(error.kind(), ValidationErrorKind::Type { .. }) && **error.instance() == *value
    };
    let mut fitting = context.iter().filter(|errors| !errors.iter().any(about_type));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

fn alternatives(error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) -> String {
    let wanted: Vec<String> = context
        .iter()
        .flatten()
        .filter_map(|error| match error.kind() {
            ValidationErrorKind::Type { kind } => Some(types(kind)),
            _ => None,
        })
        .collect();
    if wanted.len() == context.len() {
        return format!("must be {}, not {}", wanted.join(" or "), type_of(error.instance()));
    }
    format!("{} fits none of the forms that are allowed", excerpt(error.instance()))
}

fn known_properties(document: Option<&Value>, error: &ValidationError<'_>) -> Vec<String> {
    let path = error.schema_path().to_string();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties =
        document.and_then(|document| document.pointer(parent)).and_then(|part| part.get("properties"));
    let properties = properties.and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

fn types(kind: &TypeKind) -> String {
    let article = |name: &str| match name {
        "array" | "integer" | "object" => format!("an {name}"),
        "null" => name.to_owned(),
        _ => format!("a {name}"),
    };
    let names: Vec<String> = match kind {
        TypeKind::Single(single) => vec![article(&single.to_string())],
        TypeKind::Multiple(several) => several.iter().map(|t| article(&t.to_string())).collect(),
    };
    names.join(" or ")
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn excerpt(value: &Value) -> String {
    format!("`{}`", shorten(&plain(value)))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_EXCERPT {
        return text.to_owned();
    }
    let start: String = text.chars().take(MAX_EXCERPT).collect();
    format!("{start}…")
}

fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

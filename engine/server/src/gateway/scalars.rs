//! The scalars of Capact's schema.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::Timestamp as Instant;
use ochre_core::action::MAX_PARAMETERS;
use ochre_core::code::Code;

use super::{json, scan};
use crate::options::Limits;

/// Any value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Any(pub serde_json::Value);

/// Any value.
#[Scalar(name = "Any")]
impl ScalarType for Any {
    fn parse(value: Value) -> InputValueResult<Self> {
        value.into_json().map(Self).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

/// JSON: as a string that holds it, or as the value itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Json(pub serde_json::Value);

/// JSON: as a string that holds it, or as the value itself.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        let json = match value {
            Value::String(text) => read(&text)?,
            other => other.into_json().map_err(InputValueError::custom)?,
        };
        Ok(Self(json))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Reads a text that holds JSON, if that is not more than any parameters may be.
fn read(text: &str) -> Result<serde_json::Value, InputValueError<Json>> {
    let passes = |message: String| {
        InputValueError::custom(message).with_extension("code", Code::LimitExceeded.as_str())
    };
    if text.len() > MAX_PARAMETERS {
        let message = format!("the string of JSON takes {} bytes, and may take {MAX_PARAMETERS}", text.len());
        return Err(passes(message));
    }
    scan::values(text.as_bytes(), &Limits::default()).map_err(|exceeded| passes(exceeded.to_string()))?;
    let read = json::read(text.as_bytes());
    read.map_err(|error| InputValueError::custom(format!("the string is not JSON: {error}")))
}

/// An instant, RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp(pub Instant);

/// An instant, RFC 3339.
#[Scalar(name = "Timestamp")]
impl ScalarType for Timestamp {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Declares a scalar that is a string.
macro_rules! text_scalar {
    ($type:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $type(pub(crate) String);

        #[doc = $doc]
        #[Scalar]
        impl ScalarType for $type {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    };
}

text_scalar!(Version, "The revision of a manifest, semver.");
text_scalar!(NodePath, "The path of a manifest, such as `cap.interface.data.backup`.");
text_scalar!(NameRegex, "A regular expression that is searched in a name.");
text_scalar!(NodePathPattern, "A regular expression that a whole path must match.");
text_scalar!(NodePrefix, "The path of a manifest without its last segment.");
text_scalar!(NodeName, "The last segment of a manifest's path.");
text_scalar!(VersionRange, "The versions that will do, such as `>=1.15`.");

/// The most bytes that a compiled pattern may take: each byte of a name takes a step for each of its states.
const MAX_PATTERN: usize = 8 * 1024;

/// Compiles a regular expression of a caller.
pub(super) fn compile(pattern: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
    regex_lite::RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build()
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn a_pattern_of_many_states_is_refused() {
        assert!(compile("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").is_ok());
        assert!(compile("(a{100}){100}").unwrap_err().to_string().contains("size limit"));
        assert!(compile(&"(".repeat(10_000)).is_err());
    }
}

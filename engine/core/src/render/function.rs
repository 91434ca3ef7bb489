//! The helpers that templates may call: pure functions from values to a value.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonTruthy, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::selector;

/// The hex digits that `hash` yields.
const HASH_DIGITS: usize = 10;

/// A helper by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// Joins texts; null is nothing.
    Concat,
    /// The first value that is not null.
    Default,
    /// Whether two values are the same.
    Eq,
    /// Whether a value is null, false, zero or empty.
    Not,
    /// Whether no value is null, false, zero or empty.
    And,
    /// Whether some value is not null, false, zero or empty.
    Or,
    /// An array of a comma text or an array, its texts trimmed, empty ones dropped.
    List,
    /// matchLabels and matchExpressions of a label selector.
    LabelSelector,
    /// An item of an array or object; null when there is none.
    Lookup,
    /// The beginning of a value's SHA-256.
    Hash,
}

impl Function {
    pub(super) const ALL: [Self; 10] = [
        Self::Concat,
        Self::Default,
        Self::Eq,
        Self::Not,
        Self::And,
        Self::Or,
        Self::List,
        Self::LabelSelector,
        Self::Lookup,
        Self::Hash,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::Default => "default",
            Self::Eq => "eq",
            Self::Not => "not",
            Self::And => "and",
            Self::Or => "or",
            Self::List => "list",
            Self::LabelSelector => "labelSelector",
            Self::Lookup => "lookup",
            Self::Hash => "hash",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }

    /// Says how many arguments it takes, if not that many.
    pub(super) fn check_arity(self, given: usize) -> Result<(), String> {
        let (least, most) = match self {
            Self::Not | Self::List | Self::LabelSelector | Self::Hash => (1, 1),
            Self::Eq | Self::Lookup => (2, 2),
            Self::Concat | Self::Default | Self::And | Self::Or => (2, 16),
        };
        if (least..=most).contains(&given) {
            return Ok(());
        }
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(format!("`{}` takes {wanted} arguments, not {given}", self.as_str()))
    }

    /// Computes its value.
    pub(super) fn evaluate(self, arguments: &[&Value]) -> Result<Value, String> {
        let first = arguments.first().copied().unwrap_or(&Value::Null);
        let second = arguments.get(1).copied().unwrap_or(&Value::Null);
        let truthy = |value: &&Value| value.is_truthy(false);
        Ok(match self {
            Self::Concat => arguments.iter().map(|each| text(each)).collect::<Result<String, _>>()?.into(),
            Self::Default => {
                let given = arguments.iter().find(|each| !each.is_null());
                given.map_or(Value::Null, |value| (*value).clone())
            }
            Self::Eq => json!(first == second),
            Self::Not => json!(!truthy(&first)),
            Self::And => json!(arguments.iter().all(truthy)),
            Self::Or => json!(arguments.iter().any(truthy)),
            Self::List => list(first)?,
            Self::LabelSelector => label_selector(first)?,
            Self::Lookup => item(first, second),
            Self::Hash => {
                let digest = format!("{:x}", Sha256::digest(first.to_string()));
                json!(digest[..HASH_DIGITS])
            }
        })
    }
}

impl HelperDef for Function {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let arguments: Vec<&Value> = helper.params().iter().map(PathAndJson::value).collect();
        self.evaluate(&arguments)
            .map(ScopedJson::Derived)
            .map_err(|reason| RenderErrorReason::Other(format!("`{}`: {reason}", self.as_str())).into())
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err("an array or object is not a text".to_owned()),
    }
}

fn list(value: &Value) -> Result<Value, String> {
    let trimmed = |text: &str| {
        let text = text.trim();
        (!text.is_empty()).then(|| json!(text))
    };
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(text) => Ok(text.split(',').filter_map(trimmed).collect()),
        Value::Array(items) => Ok(items
            .iter()
            .filter_map(|item| match item {
                Value::String(text) => trimmed(text),
                Value::Null => None,
                other => Some(other.clone()),
            })
            .collect()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err("needs a text with commas or an array".to_owned())
        }
    }
}

fn label_selector(value: &Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(text) => {
            let selector = selector::parse(text).map_err(|error| error.to_string())?;
            let mut object = Map::new();
            if let Some(labels) = selector.match_labels {
                object.insert("matchLabels".to_owned(), json!(labels));
            }
            if let Some(expressions) = selector.match_expressions {
                object.insert("matchExpressions".to_owned(), json!(expressions));
            }
            Ok(Value::Object(object))
        }
        _ => Err("needs a text".to_owned()),
    }
}

fn item(collection: &Value, key: &Value) -> Value {
    let found = match (collection, key) {
        (Value::Object(object), Value::String(key)) => object.get(key),
        (Value::Array(items), Value::Number(index)) => {
            index.as_u64().and_then(|index| items.get(usize::try_from(index).ok()?))
        }
        _ => None,
    };
    found.cloned().unwrap_or(Value::Null)
}

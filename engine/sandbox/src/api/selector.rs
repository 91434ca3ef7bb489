//! Label and field selectors, as they stand in a query.

use std::str::FromStr;

use serde_json::Value;

use super::failure::Failure;
use super::identity::{check_label_key, check_label_value};

/// Selects objects by labels and fields; the default selects everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelRequirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

#[derive(Clone, Debug)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// Parses the two query parameters.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self, Failure> {
        let labels = split_outside_parentheses(labels).map(str::parse).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Returns the fields that are asked about, in dotted form.
    pub(crate) fn fields(&self) -> impl Iterator<Item = String> {
        self.fields.iter().map(|field| field.path.join("."))
    }

    /// Tells whether an object is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(&object["metadata"]["labels"]))
            && self.fields.iter().all(|requirement| requirement.matches(object))
    }
}

impl LabelRequirement {
    fn matches(&self, labels: &Value) -> bool {
        let value = |key: &String| labels.get(key).and_then(Value::as_str);
        match self {
            Self::In(key, values) => value(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(key, values) => value(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
        }
    }
}

impl FromStr for LabelRequirement {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if let Some(key) = text.strip_prefix('!') {
            return Ok(Self::Missing(label_key(key)?));
        }
        if let Some(open) = text.find('(') {
            let values = text[open + 1..]
                .strip_suffix(')')
                .ok_or_else(|| bad(text, "a list that does not end with `)`"))?
                .split(',')
                .map(label_value)
                .collect::<Result<_, _>>()?;
            let mut words = text[..open].split_whitespace();
            return match (words.next(), words.next(), words.next()) {
                (Some(key), Some("in"), None) => Ok(Self::In(label_key(key)?, values)),
                (Some(key), Some("notin"), None) => Ok(Self::NotIn(label_key(key)?, values)),
                _ => Err(bad(text, "expected `key in (…)` or `key notin (…)`")),
            };
        }
        if let Some((key, value)) = text.split_once("!=") {
            return Ok(Self::NotIn(label_key(key)?, vec![label_value(value)?]));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Self::In(label_key(key)?, vec![label_value(value)?]));
        }
        label_key(text).map(Self::Exists)
    }
}

impl FieldRequirement {
    /// Compares as text; a field that is absent is the empty text, as in the real server.
    fn matches(&self, object: &Value) -> bool {
        let found = self
            .path
            .iter()
            .try_fold(object, |value, key| value.get(key))
            .map_or_else(String::new, |value| {
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            });
        (found == self.value) == self.equal
    }
}

impl FromStr for FieldRequirement {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (path, value, equal) = text
            .split_once("!=")
            .map(|(path, value)| (path, value, false))
            .or_else(|| text.split_once("==").map(|(path, value)| (path, value, true)))
            .or_else(|| text.split_once('=').map(|(path, value)| (path, value, true)))
            .ok_or_else(|| {
                Failure::BadRequest(format!("invalid selector: '{text}'; can't understand '{text}'"))
            })?;
        Ok(Self {
            path: path.trim().split('.').map(str::to_owned).collect(),
            value: value.trim().to_owned(),
            equal,
        })
    }
}

fn label_key(text: &str) -> Result<String, Failure> {
    let key = text.trim();
    check_label_key(key).map_err(|problem| bad(text, &problem))?;
    Ok(key.to_owned())
}

fn label_value(text: &str) -> Result<String, Failure> {
    let value = text.trim();
    check_label_value(value).map_err(|problem| bad(text, &problem))?;
    Ok(value.to_owned())
}

fn bad(text: &str, problem: &str) -> Failure {
    Failure::BadRequest(format!("unable to parse requirement `{text}`: {problem}"))
}

fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}

//! Parses a template's text and puts the values of slots in the place of their marks.

use serde_json::{Map, Value};

use super::TemplateError;
use super::slots::{MARK_END, MARK_START, Slot};
use crate::manifest::{Position, describe};

/// The longest excerpt of a line in a message.
const MAX_EXCERPT: usize = 60;

/// The slots of a text and the places of the expressions that filled them.
pub(super) struct Filler<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) sites: &'a [Position],
}

impl Filler<'_> {
    /// Parses a text with marks, and fills it.
    pub(super) fn parse(&self, text: &str) -> Result<Value, TemplateError> {
        let value: Value = crate::yaml::from_str(text).map_err(|error| self.not_yaml(text, &error))?;
        let mut path = Vec::new();
        Ok(self.fill(value, &mut path)?.unwrap_or(Value::Null))
    }

    /// Fills a value; null is left out of what it stands in.
    fn fill(&self, value: Value, path: &mut Vec<String>) -> Result<Option<Value>, TemplateError> {
        match value {
            Value::Null => Ok(None),
            Value::Bool(_) | Value::Number(_) => Ok(Some(value)),
            Value::String(text) => self.scalar(text, path),
            Value::Array(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    path.push(index.to_string());
                    filled.extend(self.fill(item, path)?);
                    path.pop();
                }
                Ok(Some(Value::Array(filled)))
            }
            Value::Object(object) => {
                let mut filled = Map::new();
                for (key, value) in object {
                    if key.contains(MARK_START) {
                        return Err(TemplateError::Key { position: self.position(&key) });
                    }
                    path.push(key.clone());
                    if let Some(value) = self.fill(value, path)? {
                        filled.insert(key, value);
                    }
                    path.pop();
                }
                Ok(Some(Value::Object(filled)))
            }
        }
    }

    fn scalar(&self, text: String, path: &[String]) -> Result<Option<Value>, TemplateError> {
        if !text.contains(MARK_START) {
            return Ok(Some(Value::String(text)));
        }
        let position = self.position(&text);
        let Some(slot) = self.whole(&text) else {
            return Err(TemplateError::Glued { position });
        };
        if !may_stand_at(path) {
            let pointer = format!("/{}", path.join("/"));
            return Err(TemplateError::Misplaced { pointer, position });
        }
        Ok(Some(slot.value.clone()).filter(|value| !value.is_null()))
    }

    /// Finds the slot of a text that is one mark and nothing else.
    fn whole(&self, text: &str) -> Option<&Slot> {
        let number = text.strip_prefix(MARK_START)?.strip_suffix(MARK_END)?;
        self.slots.get(number.parse::<usize>().ok()?)
    }

    /// Says where the first expression of a text is.
    fn position(&self, text: &str) -> Position {
        self.first_site(text).unwrap_or(Position::START)
    }

    fn first_site(&self, text: &str) -> Option<Position> {
        let (_, rest) = text.split_once(MARK_START)?;
        self.site(rest)
    }

    fn last_site(&self, text: &str) -> Option<Position> {
        let (_, rest) = text.rsplit_once(MARK_START)?;
        self.site(rest)
    }

    fn site(&self, rest: &str) -> Option<Position> {
        let (number, _) = rest.split_once(MARK_END)?;
        let slot = self.slots.get(number.parse::<usize>().ok()?)?;
        self.sites.get(slot.site).copied()
    }

    fn not_yaml(&self, text: &str, error: &serde_saphyr::Error) -> TemplateError {
        let line = error.location().map_or(0, |location| location.line());
        let line = usize::try_from(line).unwrap_or_default();
        let upto: Vec<&str> = text.lines().take(line).collect();
        let excerpt = upto.last().map(|line| line.trim()).unwrap_or_default();
        TemplateError::NotYaml {
            message: describe(error),
            excerpt: readable(excerpt).chars().take(MAX_EXCERPT).collect(),
            position: self.last_site(&upto.join("\n")),
        }
    }
}

/// Tells whether the value of an expression may stand somewhere in a workflow. What a step is, and
/// every CEL expression, is the catalog's to say: a parameter there would write the workflow.
fn may_stand_at(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["steps", _, "resource", "manifest", rest @ ..] => !rest.is_empty() && !rest.contains(&"$cel"),
        ["steps", _, "name" | "timeout"]
        | ["steps", _, "resource", "expect", _]
        | ["steps", _, "check", "message"] => true,
        _ => false,
    }
}

/// Shows marks as people wrote them.
fn readable(text: &str) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            MARK_START => {
                shown.push_str("{{…}}");
                inside = true;
            }
            MARK_END => inside = false,
            _ if inside => {}
            _ => shown.push(c),
        }
    }
    shown
}

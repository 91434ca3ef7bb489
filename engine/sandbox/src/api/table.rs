//! Table answers: what `kubectl get` prints.

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::kind::Version;

/// Describes a printer column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    path: Vec<Segment>,
    /// Whether entries are counted, not shown.
    counts: bool,
    kind: String,
    priority: i64,
}

/// Says how much of each object a row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowObject {
    None,
    Metadata,
    Object,
}

/// One step of a JSON path; the subset that printer columns use.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
    /// `[?(@.key=="value")]`
    Where(String, String),
}

impl Column {
    /// Parses the short form `Two_Words=.json.path` of the table of built-in kinds; `#` before a path counts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, path) = text.split_once('=')?;
        Some(Self {
            name: name.replace('_', " "),
            path: parse_path(path.trim_start_matches('#'))?,
            counts: path.starts_with('#'),
            kind: "string".to_owned(),
            priority: 0,
        })
    }

    /// Reads one of a CustomResourceDefinition's `additionalPrinterColumns`.
    pub(crate) fn from_definition(column: &Value) -> Option<Self> {
        Some(Self {
            name: column["name"].as_str()?.to_owned(),
            path: parse_path(column["jsonPath"].as_str()?)?,
            counts: false,
            kind: column["type"].as_str().unwrap_or("string").to_owned(),
            priority: column["priority"].as_i64().unwrap_or(0),
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match find(object, &self.path) {
            found if self.counts => json!(found.and_then(Value::as_object).map_or(0, serde_json::Map::len)),
            None | Some(Value::Null) => Value::Null,
            Some(Value::String(text)) if self.kind == "date" => json!(age(text, now)),
            Some(value @ (Value::Object(_) | Value::Array(_))) => json!(value.to_string()),
            Some(value) => value.clone(),
        }
    }
}

/// Renders objects as a Table; `version` is the list's resourceVersion, if it is a list.
pub(crate) fn render(
    version: &Version,
    objects: &[Value],
    row_object: RowObject,
    resource_version: &str,
    now: Timestamp,
) -> Value {
    let mut definitions =
        vec![json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})];
    for column in &version.columns {
        definitions.push(json!({
            "name": column.name, "type": column.kind, "format": "", "description": "", "priority": column.priority,
        }));
    }
    let ages = !version.columns.iter().any(|column| column.name == "Age");
    if ages {
        definitions
            .push(json!({"name": "Age", "type": "string", "format": "", "description": "", "priority": 0}));
    }
    let row = |object: &Value| {
        let mut cells = vec![object["metadata"]["name"].clone()];
        cells.extend(version.columns.iter().map(|column| column.cell(object, now)));
        if ages {
            let created = object["metadata"]["creationTimestamp"].as_str().unwrap_or_default();
            cells.push(json!(age(created, now)));
        }
        let mut row = json!({"cells": cells});
        match row_object {
            RowObject::None => row["object"] = Value::Null,
            RowObject::Metadata => row["object"] = metadata_only(object),
            RowObject::Object => row["object"] = object.clone(),
        }
        row
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": resource_version},
        "columnDefinitions": definitions, "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Cuts an object down to its metadata.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Prints how long ago a moment was, in its largest sensible unit.
fn age(moment: &str, now: Timestamp) -> String {
    let seconds = moment.parse::<Timestamp>().ok().and_then(|moment| (now - moment).total(Unit::Second).ok());
    match seconds {
        None => "<unknown>".to_owned(),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.0}s"),
        Some(seconds) if seconds < 7200.0 => format!("{:.0}m", (seconds / 60.0).floor()),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0}h", (seconds / 3600.0).floor()),
        Some(seconds) => format!("{:.0}d", (seconds / 86400.0).floor()),
    }
}

fn find<'a>(object: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, segment| match segment {
        Segment::Key(key) => value.get(key),
        Segment::Index(index) => value.get(index),
        Segment::Where(key, wanted) => {
            value.as_array()?.iter().find(|item| item.get(key).and_then(Value::as_str) == Some(wanted))
        }
    })
}

fn parse_path(text: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(bracket) = rest.strip_prefix('[') {
            let (inside, after) = bracket.split_once(']')?;
            segments.push(parse_bracket(inside)?);
            rest = after;
        } else {
            rest = rest.strip_prefix('.')?;
            let (key, after) = split_key(rest);
            segments.push(Segment::Key(key));
            rest = after;
        }
    }
    Some(segments)
}

fn parse_bracket(inside: &str) -> Option<Segment> {
    if let Some(filter) = inside.strip_prefix("?(@.").and_then(|rest| rest.strip_suffix(')')) {
        let (key, value) = filter.split_once("==")?;
        let value = value.trim().trim_matches(['"', '\'']);
        return Some(Segment::Where(key.trim().to_owned(), value.to_owned()));
    }
    match inside.parse() {
        Ok(index) => Some(Segment::Index(index)),
        Err(_) => Some(Segment::Key(inside.trim_matches(['"', '\'']).to_owned())),
    }
}

/// Splits at the next `.` or `[` that no backslash escapes.
fn split_key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => key.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (key, &text[at..]),
            _ => key.push(character),
        }
    }
    (key, "")
}

//! YAML with the place of every node, so that a problem can name it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::Position;

/// A YAML node and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) value: Node,
}

/// A text inside a file: says where in the file a place of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextPlace {
    start: Position,
    /// False when the text is folded, quoted or escaped: then only its start is known.
    literal: bool,
}

impl Node {
    /// Parses one YAML document.
    pub(crate) fn parse(text: &str) -> Result<Self, (Position, String)> {
        crate::yaml::from_str::<Self>(text).map_err(|error| {
            let position = error.location().map_or(Position::START, position_of);
            (position, describe(&error))
        })
    }

    /// Names what the node is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::String(_) => "a string",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    /// Finds the value of a mapping's key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// Finds the place of a JSON pointer, or of the deepest node on the way to it.
    pub(crate) fn position_at(&self, pointer: &str) -> Position {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &node.content {
                Content::Sequence(items) => token.parse().ok().and_then(|i: usize| items.get(i)),
                _ => node.get(&token),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.position
    }

    /// Drops the places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value) => Value::Number(value.clone()),
            Content::String(value) => Value::String(value.clone()),
            Content::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Moves the places of a document that was a text inside a file into that file.
    pub(crate) fn relocate(&mut self, place: TextPlace) {
        self.position = place.resolve(self.position);
        match &mut self.content {
            Content::Sequence(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Content::Mapping(entries) => entries.iter_mut().for_each(|entry| {
                entry.position = place.resolve(entry.position);
                entry.value.relocate(place);
            }),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::String(_) => {}
        }
    }
}

impl TextPlace {
    /// Locates the text of a string node; `source` is the file that the node is from.
    pub(crate) fn of(node: &Node, text: &str, source: &str) -> Self {
        // The node's place is its first line that is not empty.
        let leading = text.chars().take_while(|c| *c == '\n').count();
        let start =
            Position { line: node.position.line.saturating_sub(leading), column: node.position.column };
        let indent = start.column - 1;
        let mut lines = source.lines().skip(start.line.saturating_sub(1));
        let literal = text.lines().all(|line| {
            lines.next().is_some_and(|source| {
                let rest = source.chars().skip(indent).collect::<String>();
                rest == line
            })
        });
        if literal { Self { start, literal } } else { Self { start: node.position, literal } }
    }

    /// Says where in the file a place of the text is.
    pub(crate) const fn resolve(self, at: Position) -> Position {
        if !self.literal {
            return self.start;
        }
        Position { line: self.start.line + at.line - 1, column: self.start.column + at.column - 1 }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { position: position_of(spanned.referenced), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value)
            .map(Content::Number)
            .ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { position: position_of(key.referenced), key: key.value, value });
        }
        Ok(Content::Mapping(entries))
    }
}

fn position_of(location: Location) -> Position {
    let number = |value| usize::try_from(value).unwrap_or(usize::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

/// Says what is wrong without the place, which the problem carries, and without advice on the
/// parser's options, which an author of YAML does not have.
pub(crate) fn describe(error: &serde_saphyr::Error) -> String {
    let text = match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "the file holds more than one document; a manifest has its own file".to_owned()
        }
        other => other.to_string(),
    };
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    // Errors in what an alias stands for come wrapped.
    if text.contains("budget breached") || text.contains("alias replay limit") {
        return "the document is too large for a manifest, or its aliases stand for too much".to_owned();
    }
    text.to_owned()
}

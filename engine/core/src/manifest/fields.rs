//! Reads the fields of a mapping, and reports everything about them that is wrong.

use semver::Version;

use super::document::{Content, Entry, Node};
use super::{Position, Reporter};
use crate::hint::did_you_mean;

/// A mapping whose fields are being read; those nobody asked for are warned about at the end.
pub(crate) struct Fields<'a> {
    /// What the mapping is, such as `metadata`; empty at the top of a file.
    name: String,
    position: Position,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    reporter: &'a Reporter,
}

impl<'a> Fields<'a> {
    /// Begins to read a node that must be a mapping.
    pub(crate) fn of(node: &'a Node, name: &str, reporter: &'a Reporter) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            let what = if name.is_empty() { "the manifest" } else { name };
            let message = format!("{what} must be a mapping, not {}", node.kind());
            reporter.error(node.position, message, None);
            return None;
        };
        Some(Self { name: name.to_owned(), position: node.position, entries, known: Vec::new(), reporter })
    }

    /// Finds a field; null is as good as absent.
    pub(crate) fn optional(&mut self, field: &'static str) -> Option<&'a Node> {
        self.known.push(field);
        let entry = self.entries.iter().find(|entry| entry.key == field)?;
        (entry.value.content != Content::Null).then_some(&entry.value)
    }

    /// Finds a field that must be there.
    pub(crate) fn required(&mut self, field: &'static str) -> Option<&'a Node> {
        let found = self.optional(field);
        if found.is_none() {
            let message = format!("{} is missing", self.full(field));
            self.reporter.error(self.position, message, None);
        }
        found
    }

    /// Reads a string, if there is one.
    pub(crate) fn optional_text(&mut self, field: &'static str) -> Option<String> {
        let node = self.optional(field)?;
        self.text_of(node, field)
    }

    /// Reads a string that must be there and not be empty.
    pub(crate) fn text(&mut self, field: &'static str) -> Option<String> {
        let node = self.required(field)?;
        let text = self.text_of(node, field)?;
        if text.is_empty() {
            let message = format!("{} is empty", self.full(field));
            self.reporter.error(node.position, message, None);
            return None;
        }
        Some(text)
    }

    /// Reads a revision, if there is one.
    pub(crate) fn optional_revision(&mut self, field: &'static str) -> Option<Version> {
        let node = self.optional(field)?;
        let hint = || Some("a revision is three numbers, such as 0.1.0".to_owned());
        let Content::String(text) = &node.content else {
            let message = format!("{} must be a string, not {}", self.full(field), node.kind());
            self.reporter.error(node.position, message, hint());
            return None;
        };
        match Version::parse(text) {
            Ok(version) if version.pre.is_empty() && version.build.is_empty() => Some(version),
            Ok(_) | Err(_) => {
                let message = format!("{} `{text}` is not a revision", self.full(field));
                self.reporter.error(node.position, message, hint());
                None
            }
        }
    }

    /// Reads a revision that must be there.
    pub(crate) fn revision(&mut self, field: &'static str) -> Option<Version> {
        self.required(field)?;
        self.optional_revision(field)
    }

    /// Begins to read a mapping that may be there.
    pub(crate) fn optional_fields(&mut self, field: &'static str) -> Option<Self> {
        let node = self.optional(field)?;
        Self::of(node, &self.full(field), self.reporter)
    }

    /// Begins to read a mapping that must be there.
    pub(crate) fn fields(&mut self, field: &'static str) -> Option<Self> {
        let node = self.required(field)?;
        Self::of(node, &self.full(field), self.reporter)
    }

    /// Lists the entries of a mapping whose keys are names that the author gives.
    pub(crate) fn entries(&mut self, field: &'static str) -> &'a [Entry] {
        let Some(node) = self.optional(field) else {
            return &[];
        };
        if let Content::Mapping(entries) = &node.content {
            return entries;
        }
        let message = format!("{} must be a mapping, not {}", self.full(field), node.kind());
        self.reporter.error(node.position, message, None);
        &[]
    }

    /// Lists the items of a list that may be absent.
    pub(crate) fn items(&mut self, field: &'static str) -> &'a [Node] {
        let Some(node) = self.optional(field) else {
            return &[];
        };
        if let Content::Sequence(items) = &node.content {
            return items;
        }
        let message = format!("{} must be a list, not {}", self.full(field), node.kind());
        self.reporter.error(node.position, message, None);
        &[]
    }

    /// Names a field with the way to it.
    pub(crate) fn full(&self, field: &str) -> String {
        if self.name.is_empty() { field.to_owned() } else { format!("{}.{field}", self.name) }
    }

    /// Says where the mapping is.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// Warns about the fields that nobody asked for.
    pub(crate) fn finish(self) {
        for entry in self.entries {
            if self.known.iter().any(|known| *known == entry.key) {
                continue;
            }
            let message = format!("{} is not a known field and is ignored", self.full(&entry.key));
            let hint = did_you_mean(&entry.key, self.known.iter().copied());
            self.reporter.warning(entry.position, message, hint);
        }
    }

    fn text_of(&self, node: &Node, field: &str) -> Option<String> {
        if let Content::String(text) = &node.content {
            return Some(text.clone());
        }
        let message = format!("{} must be a string, not {}", self.full(field), node.kind());
        self.reporter.error(node.position, message, None);
        None
    }
}

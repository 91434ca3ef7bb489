//! Objects of the cluster and of the bucket, read without what nests too deep, or takes too much memory.
//!
//! serde_json gives up a whole text at its own limit, which would spoil a list or an archive for one object. What lies
//! deeper than [`MAX_DEPTH`] is passed over, which serde_json does without recursion; so is what comes after the first
//! [`MAX_BYTES`], but for what names the object.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most levels that an object may nest. serde_json reads 127, of which a list takes two.
pub const MAX_DEPTH: usize = 100;
/// The most bytes of memory that an object takes as JSON: `[0,0,…]` takes sixteen times its text. The cluster keeps no
/// object of more than 1.5 MB, so none of long texts comes near.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
/// What a value takes beside its text, and its place among others.
pub const VALUE: usize = size_of::<Value>();
/// What an entry of an object takes beside its name and value: nodes of a map are half empty.
pub const ENTRY: usize = 64;
/// What is kept of an object's metadata however large the rest is, as far as each is no longer than this.
const NAMES: [&str; 7] =
    ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "finalizers"];
const MAX_NAMES: usize = 4096;
/// The most levels of one field of an object.
const MAX_FIELD_DEPTH: usize = MAX_DEPTH - 1;

/// What was passed over of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Whether anything nests too deep.
    pub is_deep: bool,
    /// Whether it takes too much memory.
    pub is_large: bool,
}

/// Reads an object without what nests too deep or takes too much, and tells what was passed over.
pub fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Value, Cut), D::Error> {
    let mut read = Reading { left: MAX_BYTES, cut: Cut::default() };
    let object = Level { place: Place::Object, left: MAX_DEPTH, reading: &mut read };
    Ok((object.deserialize(deserializer)?, read.cut))
}

/// Reads a field of an object without what nests too deep.
pub fn shallow_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    // What is unpacked has a budget of its own.
    let mut read = Reading { left: usize::MAX, cut: Cut::default() };
    Level { place: Place::Within, left: MAX_FIELD_DEPTH, reading: &mut read }.deserialize(deserializer)
}

/// Measures the memory that a value takes.
pub fn bytes(value: &Value) -> usize {
    VALUE
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(bytes).sum(),
            Value::Object(entries) => {
                entries.iter().map(|(name, value)| ENTRY + name.len() + bytes(value)).sum()
            }
        }
}

/// How an object is read.
struct Reading {
    /// How many bytes of memory it may take yet.
    left: usize,
    cut: Cut,
}

impl Reading {
    /// Takes so many bytes; tells whether there are as many.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        // After the first that is too much nothing is kept, lest a part be taken for the whole.
        self.left = left.unwrap_or_default();
        self.cut.is_large |= left.is_none();
        !self.cut.is_large
    }
}

/// What is read at a place of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Object,
    Metadata,
    Within,
}

/// Reads a value that may nest so many levels more.
struct Level<'c> {
    place: Place,
    left: usize,
    reading: &'c mut Reading,
}

impl Level<'_> {
    /// Reads on one level deeper; nothing where that is too deep.
    fn within(&mut self, place: Place) -> Option<Level<'_>> {
        let left = self.left.checked_sub(1);
        self.reading.cut.is_deep |= left.is_none();
        Some(Level { place, left: left?, reading: self.reading })
    }

    /// Keeps a value of so many bytes beside itself, where there is room.
    fn keep(self, bytes: usize, value: impl FnOnce() -> Value) -> Value {
        if self.reading.take(VALUE + bytes) { value() } else { Value::Null }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.keep(0, || Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.keep(0, || value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.keep(0, || value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.keep(0, || Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(self.keep(value.len(), || Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(self.keep(value.len(), || Value::String(value)))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(self.keep(0, || Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        self.reading.take(VALUE);
        loop {
            let Some(within) = self.within(Place::Within) else {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Null);
            };
            match items.next_element_seed(within)? {
                Some(_) if self.reading.cut.is_large => {
                    while items.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Value::Array(read));
                }
                Some(item) => read.push(item),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        self.reading.take(VALUE);
        while let Some(key) = entries.next_key::<String>()? {
            // Who owns which field is of no interest here, as large as the rest, and nests deeper.
            let is_metadata = self.place == Place::Metadata;
            if is_metadata && key == "managedFields" {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            if is_metadata && NAMES.contains(&key.as_str()) {
                // An object is known by these, so they have bytes of their own.
                let mut own = Reading { left: MAX_NAMES, cut: Cut::default() };
                let within =
                    Level { place: Place::Within, left: self.left.saturating_sub(1), reading: &mut own };
                read.insert(key, entries.next_value_seed(within)?);
                self.reading.cut.is_deep |= own.cut.is_deep;
                self.reading.cut.is_large |= own.cut.is_large;
                continue;
            }
            let opens_metadata = self.place == Place::Object && key == "metadata";
            let fits = opens_metadata || self.reading.take(ENTRY + key.len());
            match self.within(if opens_metadata { Place::Metadata } else { Place::Within }) {
                Some(within) if fits => {
                    read.insert(key, entries.next_value_seed(within)?);
                }
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(read))
    }
}

//! Objects of the cluster and of the bucket, read without what nests too deep.
//!
//! serde_json gives up a whole text at its own limit, which would spoil a list or an archive for one object. What lies
//! deeper than [`MAX_DEPTH`] is passed over, which serde_json does without recursion.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most levels that an object may nest. serde_json reads 127, of which a list takes two.
pub const MAX_DEPTH: usize = 100;
/// The most levels of one field of an object.
const MAX_FIELD_DEPTH: usize = MAX_DEPTH - 1;

/// Reads an object without what nests too deep, and tells whether anything does.
pub fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Value, bool), D::Error> {
    let mut is_cut = false;
    let object = Level { place: Place::Object, left: MAX_DEPTH, is_cut: &mut is_cut };
    Ok((object.deserialize(deserializer)?, is_cut))
}

/// Reads a field of an object without what nests too deep.
pub fn shallow_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Level { place: Place::Within, left: MAX_FIELD_DEPTH, is_cut: &mut false }.deserialize(deserializer)
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
    /// Whether anything was passed over for its depth.
    is_cut: &'c mut bool,
}

impl Level<'_> {
    /// Reads on one level deeper; nothing where that is too deep.
    fn within(&mut self, place: Place) -> Option<Level<'_>> {
        let left = self.left.checked_sub(1);
        *self.is_cut |= left.is_none();
        Some(Level { place, left: left?, is_cut: self.is_cut })
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
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let Some(within) = self.within(Place::Within) else {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Null);
            };
            match items.next_element_seed(within)? {
                Some(item) => read.push(item),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            // Who owns which field is of no interest here, as large as the rest, and nests deeper.
            if self.place == Place::Metadata && key == "managedFields" {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let is_metadata = self.place == Place::Object && key == "metadata";
            match self.within(if is_metadata { Place::Metadata } else { Place::Within }) {
                Some(within) => {
                    read.insert(key, entries.next_value_seed(within)?);
                }
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(read))
    }
}

//! Small looks into an object's metadata.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Prints a moment as Kubernetes does: whole seconds, UTC.
pub(crate) fn timestamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a text field of the metadata, or nothing where it is absent or empty.
pub(crate) fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object["metadata"][field].as_str().filter(|text| !text.is_empty())
}

pub(crate) fn name(object: &Value) -> &str {
    metadata(object, "name").unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    metadata(object, "namespace").unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    metadata(object, "uid").unwrap_or_default()
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    metadata(object, "deletionTimestamp").is_some()
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Returns the uids of the owners that an object names.
pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
}

/// Sets a field to a value, or removes it where the value is null.
pub(crate) fn set(entries: &mut Value, field: &str, value: Value) {
    let Value::Object(entries) = entries else {
        return;
    };
    if value.is_null() {
        entries.remove(field);
    } else {
        entries.insert(field.to_owned(), value);
    }
}

/// Returns whether two objects differ in anything but metadata and, if `without_status`, status.
pub(crate) fn content_differs(left: &Value, right: &Value, without_status: bool) -> bool {
    let counts = |key: &str| key != "metadata" && !(without_status && key == "status");
    let content = |value: &Value| -> Map<String, Value> {
        let entries = value.as_object().into_iter().flatten();
        entries.filter(|(key, _)| counts(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    content(left) != content(right)
}

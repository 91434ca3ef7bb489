//! The kinds of patch.
//!
//! Server-side apply merges like the patch of its kind; who owns what is for [`super::fields`] to say.
//! A strategic merge knows the merge keys of the lists that common kinds have; other lists are replaced.

use serde_json::{Map, Value};

use super::answer::parse_json;
use super::failure::Failure;

/// Says how a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Keys by which a strategic merge pairs the items of a list; the first that every item has counts.
const MERGE_KEYS: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("env", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("ports", &["containerPort", "port"]),
    ("conditions", &["type"]),
    ("ownerReferences", &["uid"]),
    ("tolerations", &["key"]),
    ("secrets", &["name"]),
];

impl PatchKind {
    /// Reads the content type.
    pub(crate) fn parse(content_type: &str) -> Result<Self, Failure> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => Err(Failure::UnknownPatch),
        }
    }

    /// Reads the body; only an apply may be YAML.
    pub(crate) fn body(self, bytes: &[u8]) -> Result<Value, Failure> {
        let refuse =
            |form: &str, problem: String| Failure::BadRequest(format!("error decoding {form}: {problem}"));
        match (self, parse_json(bytes)) {
            (Self::Json, Ok(value @ Value::Array(_)))
            | (Self::Merge | Self::Strategic | Self::Apply, Ok(value @ Value::Object(_))) => Ok(value),
            (Self::Apply, _) => {
                serde_saphyr::from_slice(bytes).map_err(|error| refuse("YAML", error.to_string()))
            }
            (_, Ok(value)) => Err(refuse("patch", format!("{value} is none"))),
            (_, Err(problem)) => Err(refuse("patch", problem)),
        }
    }

    /// Returns the patched object.
    pub(crate) fn apply(self, object: &Value, patch: &Value, custom: bool) -> Result<Value, Failure> {
        let mut result = object.clone();
        match self {
            Self::Json => {
                let operations: json_patch::Patch =
                    serde_json::from_value(patch.clone()).map_err(|_| Failure::Unprocessable)?;
                json_patch::patch(&mut result, &operations).map_err(|_| Failure::Unprocessable)?;
            }
            Self::Strategic if custom => {
                return Err(Failure::UnsupportedMediaType(
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            }
            Self::Merge => json_patch::merge(&mut result, patch),
            Self::Strategic | Self::Apply => return Ok(merged(object, patch, custom)),
        }
        Ok(result)
    }
}

/// Merges a change into an object; the lists of custom kinds are replaced.
pub(super) fn merged(object: &Value, change: &Value, custom: bool) -> Value {
    let mut result = object.clone();
    if custom {
        json_patch::merge(&mut result, change);
    } else {
        strategic(&mut result, change, "");
    }
    result
}

/// Merges a patch into a value; `field` is the name under which the value stands.
fn strategic(value: &mut Value, patch: &Value, field: &str) {
    match (value, patch) {
        (value @ Value::Object(_), Value::Object(changes)) => strategic_object(value, changes),
        (Value::Array(items), Value::Array(changes)) if merge_key(field, changes).is_some() => {
            strategic_list(items, changes, merge_key(field, changes).unwrap_or_default());
        }
        (Value::Array(items), Value::Array(changes)) if field == "finalizers" => {
            let new = changes.iter().filter(|change| !items.contains(change)).cloned();
            let new: Vec<Value> = new.collect();
            items.extend(new);
        }
        (value, patch) => *value = without_directives(patch),
    }
}

fn strategic_object(value: &mut Value, changes: &Map<String, Value>) {
    if changes.get("$patch").is_some_and(|directive| directive == "replace") {
        *value = without_directives(&Value::Object(changes.clone()));
        return;
    }
    let Value::Object(entries) = value else {
        return;
    };
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(items)) = entries.get_mut(list) {
                items.retain(|item| !gone.contains(item));
                if items.is_empty() {
                    entries.remove(list);
                }
            }
        } else if key.starts_with('$') {
            // `$setElementOrder` comes last, and `$retainKeys` only steers what a merge does anyway.
        } else if change.is_null() {
            entries.remove(key);
        } else if let Some(entry) = entries.get_mut(key) {
            strategic(entry, change, key);
        } else {
            entries.insert(key.clone(), without_directives(change));
        }
    }
    for (key, order) in changes {
        let list = key.strip_prefix("$setElementOrder/").and_then(|list| entries.get_mut(list));
        if let (Some(Value::Array(items)), Some(order)) = (list, order.as_array()) {
            let names = |name: &Value, item: &Value| match name.as_object() {
                Some(keys) => keys.iter().all(|(key, value)| item.get(key) == Some(value)),
                None => name == item,
            };
            items.sort_by_key(|item| order.iter().position(|name| names(name, item)));
        }
    }
}

/// Merges a list by the key of its items; what a patch names comes first, in the patch's order.
fn strategic_list(items: &mut Vec<Value>, changes: &[Value], key: &str) {
    let mut named = Vec::new();
    for change in changes {
        let place = items.iter().position(|item| item.get(key) == change.get(key));
        let old = place.map(|place| items.remove(place));
        match (old, change["$patch"] == "delete") {
            (_, true) => {}
            (Some(mut item), false) => {
                strategic(&mut item, change, "");
                named.push(item);
            }
            (None, false) => named.push(without_directives(change)),
        }
    }
    items.splice(0..0, named);
}

/// Finds the key by which the items of a list are told apart.
pub(super) fn merge_key(field: &str, changes: &[Value]) -> Option<&'static str> {
    let (_, keys) = MERGE_KEYS.iter().find(|(name, _)| *name == field)?;
    keys.iter().copied().find(|key| changes.iter().all(|change| change.get(*key).is_some()))
}

/// Copies a patch's value without its directives and nulls.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
            .map(|(key, value)| (key.clone(), without_directives(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => {
            items.iter().filter(|item| item["$patch"] != "delete").map(without_directives).collect()
        }
        _ => value.clone(),
    }
}

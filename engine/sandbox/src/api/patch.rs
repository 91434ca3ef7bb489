//! The kinds of patch.
//!
//! Server-side apply merges like the patch of its kind; who owns what is for [`super::fields`] to say.
//! A strategic merge knows the merge keys of the lists that common kinds have; other lists are replaced.

use serde_json::{Map, Value};

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
            other => Err(Failure::UnsupportedMediaType(other.to_owned())),
        }
    }

    /// Reads the body; only an apply may be YAML.
    pub(crate) fn body(self, bytes: &[u8]) -> Result<Value, Failure> {
        let json = serde_json::from_slice(bytes);
        match (self, json) {
            (_, Ok(value)) => Ok(value),
            (Self::Apply, Err(_)) => {
                serde_saphyr::from_slice(bytes).map_err(|error| Failure::BadRequest(error.to_string()))
            }
            (_, Err(error)) => Err(Failure::BadRequest(format!("error decoding patch: {error}"))),
        }
    }

    /// Returns the patched object.
    pub(crate) fn apply(self, object: &Value, patch: &Value, custom: bool) -> Result<Value, Failure> {
        let mut result = object.clone();
        match self {
            Self::Json => {
                let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                    .map_err(|error| Failure::BadRequest(format!("error decoding patch: {error}")))?;
                json_patch::patch(&mut result, &operations).map_err(|error| Failure::Invalid {
                    kind: object["kind"].as_str().unwrap_or_default().to_owned(),
                    name: super::object::name(object).to_owned(),
                    causes: vec![super::failure::Cause::invalid("", error.to_string())],
                })?;
            }
            Self::Strategic if custom => {
                return Err(Failure::UnsupportedMediaType(
                    "application/strategic-merge-patch+json".to_owned(),
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
            }
        } else if key.starts_with('$') {
            // `$setElementOrder` and `$retainKeys` only steer what a merge does anyway.
        } else if change.is_null() {
            entries.remove(key);
        } else if let Some(entry) = entries.get_mut(key) {
            strategic(entry, change, key);
        } else {
            entries.insert(key.clone(), without_directives(change));
        }
    }
}

fn strategic_list(items: &mut Vec<Value>, changes: &[Value], key: &str) {
    for change in changes {
        let place = items.iter().position(|item| item.get(key) == change.get(key));
        match (place, change["$patch"] == "delete") {
            (Some(place), true) => {
                items.remove(place);
            }
            (Some(place), false) => strategic(&mut items[place], change, ""),
            (None, true) => {}
            (None, false) => items.push(without_directives(change)),
        }
    }
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

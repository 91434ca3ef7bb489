//! Who owns which field of an object: what server-side apply goes by.
//!
//! The owners stand in `metadata.managedFields`, in Kubernetes' own form. They are kept from the first apply on; what
//! an object had before belongs to `before-first-apply`, as on a real server that finds an object without owners. Lists
//! of built-in kinds are taken apart by the keys of [`super::patch`]; any other list is one field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::patch::merge_key;

/// What the API writes itself belongs to nobody.
const IDENTITY: [&str; 11] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// The way to a field: `f:name` for a field, `k:{"name":"a"}` for an item of a list.
type Path = Vec<String>;

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: &'static str,
    pub(super) status: bool,
    pub(super) api_version: &'a str,
    pub(super) time: &'a str,
    /// Whether the kind is custom, whose lists are not taken apart.
    pub(super) custom: bool,
}

/// A field that another owns and that is to have another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The other, as Kubernetes prints it.
    pub(crate) manager: String,
    /// The field, as Kubernetes prints it.
    pub(crate) field: String,
}

/// An entry of `managedFields`.
struct Owner {
    entry: Value,
    fields: BTreeSet<Path>,
}

impl Owner {
    fn all(object: &Value) -> Vec<Self> {
        let entries = object["metadata"]["managedFields"].as_array();
        let owner = |entry: &Value| {
            let mut fields = BTreeSet::new();
            unfold(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
            Self { entry: entry.clone(), fields }
        };
        entries.into_iter().flatten().map(owner).collect()
    }

    fn new(writer: &Writer<'_>) -> Self {
        let mut entry = json!({
            "manager": writer.manager, "operation": writer.operation, "apiVersion": writer.api_version,
            "time": writer.time, "fieldsType": "FieldsV1",
        });
        if writer.status {
            entry["subresource"] = json!("status");
        }
        Self { entry, fields: BTreeSet::new() }
    }

    fn is(&self, writer: &Writer<'_>) -> bool {
        self.entry["manager"] == writer.manager
            && self.entry["operation"] == writer.operation
            && self.entry["subresource"].is_string() == writer.status
    }

    fn printed(&self) -> String {
        let text = |field: &str| self.entry[field].as_str().unwrap_or_default();
        if text("operation") == "Apply" {
            return format!("\"{}\"", text("manager"));
        }
        format!("\"{}\" using {}", text("manager"), text("apiVersion"))
    }
}

/// Writes what a manager wants into an object, and yields nothing but what stands in its way.
///
/// `merge` is how the kind takes a change in. What the manager wanted before, and nobody else does, goes.
pub(super) fn apply(
    old: &Value,
    wanted: &Value,
    writer: &Writer<'_>,
    force: bool,
    merge: impl FnOnce(&Value, &Value) -> Value,
) -> Result<Value, Vec<Conflict>> {
    let (have, want) = (leaves(old, writer), leaves(wanted, writer));
    let mut owners = Owner::all(old);
    if owners.is_empty() {
        let before = Writer { manager: "before-first-apply", operation: "Update", ..*writer };
        owners.push(Owner { fields: have.keys().cloned().collect(), ..Owner::new(&before) });
    }
    let place = owners.iter().position(|owner| owner.is(writer)).unwrap_or_else(|| {
        owners.push(Owner::new(writer));
        owners.len() - 1
    });
    let mut mine = owners.remove(place);
    let changed: BTreeSet<&Path> =
        want.iter().filter(|(path, value)| have.get(*path) != Some(*value)).map(|(path, _)| path).collect();
    let mut conflicts = Vec::new();
    for owner in &owners {
        for path in owner.fields.iter().filter(|path| changed.contains(path)) {
            conflicts.push(Conflict { manager: owner.printed(), field: printed(path) });
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let mut new = merge(old, wanted);
    for owner in &mut owners {
        owner.fields.retain(|path| !changed.contains(path));
    }
    let is_others = |path: &Path| owners.iter().any(|owner| owner.fields.contains(path));
    for gone in mine.fields.iter().filter(|path| !want.contains_key(*path) && !is_others(path)) {
        remove(&mut new, gone);
    }
    let fields = want.into_keys().collect();
    if mine.fields != fields {
        mine = Owner { fields, ..Owner::new(writer) };
    }
    owners.insert(place, mine);
    write(&mut new, owners);
    Ok(new)
}

/// Gives the fields that a write has changed to its manager, where owners are kept; they are not the writer's to say.
pub(super) fn update(old: &Value, new: &mut Value, writer: &Writer<'_>) {
    let mut owners = Owner::all(old);
    if owners.is_empty() {
        return;
    }
    let (before, after) = (leaves(old, writer), leaves(new, writer));
    let changed: BTreeSet<Path> = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    for owner in &mut owners {
        owner.fields.retain(|path| !changed.contains(path) && after.contains_key(path));
    }
    if !changed.is_empty() {
        let mut mine = match owners.iter().position(|owner| owner.is(writer)) {
            Some(place) => owners.remove(place),
            None => Owner::new(writer),
        };
        mine.entry["time"] = json!(writer.time);
        mine.fields.extend(changed);
        owners.push(mine);
    }
    write(new, owners);
}

fn write(object: &mut Value, owners: Vec<Owner>) {
    let entries = owners.into_iter().filter(|owner| !owner.fields.is_empty()).map(|mut owner| {
        owner.entry["fieldsV1"] = fold(&owner.fields);
        owner.entry
    });
    object["metadata"]["managedFields"] = entries.collect();
}

/// Lists the fields that have a value of their own.
fn leaves(object: &Value, writer: &Writer<'_>) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    for (field, value) in object.as_object().into_iter().flatten() {
        // The status is written by writes of the status alone, where it is apart.
        if matches!(field.as_str(), "apiVersion" | "kind") || writer.status && field != "status" {
            continue;
        }
        let mut value = value.clone();
        if field == "metadata"
            && let Some(entries) = value.as_object_mut()
        {
            entries.retain(|name, _| !IDENTITY.contains(&name.as_str()));
        }
        collect(&value, field, vec![format!("f:{field}")], writer.custom, &mut found);
    }
    found
}

fn collect(value: &Value, field: &str, path: Path, custom: bool, found: &mut BTreeMap<Path, Value>) {
    let below = |step: String| path.iter().cloned().chain([step]).collect::<Path>();
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (name, value) in entries {
                collect(value, name, below(format!("f:{name}")), custom, found);
            }
        }
        Value::Object(_) | Value::Null if path.len() == 1 => {}
        Value::Array(items) if !custom && !items.is_empty() && merge_key(field, items).is_some() => {
            let key = merge_key(field, items).unwrap_or_default();
            for item in items {
                collect(item, "", below(format!("k:{}", json!({key: item[key]}))), custom, found);
            }
        }
        _ => {
            found.insert(path, value.clone());
        }
    }
}

fn remove(object: &mut Value, path: &[String]) {
    let [step, rest @ ..] = path else { return };
    if let Some(field) = step.strip_prefix("f:")
        && let Some(entries) = object.as_object_mut()
    {
        let Some(value) = entries.get_mut(field) else { return };
        remove(value, rest);
        // What holds nothing any more goes with what it held.
        let is_empty =
            value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        if rest.is_empty() || is_empty {
            entries.remove(field);
        }
    } else if let Some(key) = step.strip_prefix("k:")
        && let Some(items) = object.as_array_mut()
    {
        let Ok(Value::Object(key)) = serde_json::from_str(key) else { return };
        let Some(place) = items.iter().position(|item| key.iter().all(|(name, value)| item[name] == *value))
        else {
            return;
        };
        // An item without its key is none.
        if matches!(rest, [last] if key.keys().any(|name| last.strip_prefix("f:") == Some(name))) {
            items.remove(place);
        } else {
            remove(&mut items[place], rest);
        }
    }
}

/// Writes paths as FieldsV1.
fn fold(fields: &BTreeSet<Path>) -> Value {
    let mut root = json!({});
    for path in fields {
        let mut at = &mut root;
        for step in path {
            if !at[step].is_object() {
                at[step] = json!({});
            }
            at = &mut at[step];
        }
    }
    root
}

/// Reads paths from FieldsV1.
fn unfold(fields: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let entries = fields.as_object().into_iter().flatten().filter(|(step, _)| *step != ".");
    let mut is_leaf = !path.is_empty();
    for (step, below) in entries {
        is_leaf = false;
        path.push(step.clone());
        unfold(below, path, found);
        path.pop();
    }
    if is_leaf {
        found.insert(path.clone());
    }
}

/// Prints a path as Kubernetes does: `.spec.containers[name="a"].image`.
fn printed(path: &Path) -> String {
    let step = |step: &String| match (step.strip_prefix("f:"), step.strip_prefix("k:")) {
        (Some(field), _) => format!(".{field}"),
        (_, Some(key)) => {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let pairs: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        (None, None) => step.clone(),
    };
    path.iter().map(step).collect()
}

//! Reads a CustomResourceDefinition: what it serves, or what is wrong with it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::Cause;
use super::kind::{Kind, Version, resource};
use super::schema::Schema;
use super::table::Column;

/// Reads the kind that a definition describes.
pub(crate) fn read(definition: &Value) -> Result<Kind, Vec<Cause>> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    let mut causes = check_names(definition);
    let served = spec["versions"].as_array().into_iter().flatten().enumerate();
    let mut versions = Vec::new();
    for (index, version) in served.filter(|(_, version)| version["served"] == true) {
        match read_version(version) {
            Ok(version) => versions.push(version),
            Err(problem) => causes.push(Cause::invalid(format!("spec.versions[{index}].schema"), problem)),
        }
    }
    if versions.is_empty() && causes.is_empty() {
        causes.push(Cause::new("FieldValueRequired", "spec.versions", "Required value"));
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned);
    Ok(Kind {
        singular,
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        generation: true,
        custom: true,
        group,
        plural,
        kind,
        versions,
    })
}

/// Writes into a definition's status that it is served.
pub(crate) fn establish(definition: &mut Value, now: Timestamp) {
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": super::object::timestamp(now),
        })
    };
    let names = definition["spec"]["names"].clone();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> = versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    definition["status"] = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": names,
        "storedVersions": stored,
    });
}

/// Checks that the definition is named after what it defines.
fn check_names(definition: &Value) -> Vec<Cause> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let kind = text(&spec["names"]["kind"]);
    let fields = [("spec.group", &group), ("spec.names.plural", &plural), ("spec.names.kind", &kind)];
    let absent = fields.into_iter().filter(|(_, value)| value.is_empty());
    let mut causes: Vec<Cause> =
        absent.map(|(field, _)| Cause::new("FieldValueRequired", field, "Required value")).collect();
    let name = &definition["metadata"]["name"];
    if *name != resource(&plural, &group) {
        let message = format!("Invalid value: {name}: must be spec.names.plural+\".\"+spec.group");
        causes.push(Cause::invalid("metadata.name", message));
    }
    causes
}

fn read_version(version: &Value) -> Result<Version, String> {
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let schema = match version["schema"].get("openAPIV3Schema") {
        Some(schema) => Some(Arc::new(Schema::compile(schema).map_err(|error| error.to_string())?)),
        None => None,
    };
    Ok(Version {
        name: version["name"].as_str().unwrap_or_default().to_owned(),
        status: version["subresources"].get("status").is_some(),
        columns: columns.filter_map(Column::from_definition).collect(),
        schema,
    })
}

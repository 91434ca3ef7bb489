//! Names: which object a body means, and whether its name is one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::{Cause, Failure};
use super::object;
use super::write::Place;

/// Checks that the metadata has its types, and that what every built-in kind keeps in maps is a map.
pub(super) fn check_shape(place: &Place, new: &Value) -> Result<(), Failure> {
    let refuse = |problem: String| {
        let kind = &place.kind.kind;
        Failure::BadRequest(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {problem}",
            place.version.name
        ))
    };
    ObjectMeta::deserialize(&new["metadata"]).map_err(|error| refuse(format!("metadata: {error}")))?;
    // A ControllerRevision's data is any object of its owner's choice, and so is what is in a custom resource.
    if place.kind.custom || place.kind.plural == "controllerrevisions" {
        return Ok(());
    }
    let maps = ["spec", "status", "data", "stringData"];
    let wrong = maps.into_iter().find(|field| !new[*field].is_null() && !new[*field].is_object());
    wrong.map_or(Ok(()), |field| Err(refuse(format!("{field} is not an object"))))
}

/// Checks that the body says the same as the path, and writes the path's namespace into it.
pub(super) fn check_identity(place: &Place, new: &mut Value) -> Result<(), Failure> {
    if !new.is_object() {
        return Err(Failure::BadRequest("the object provided is not an object".to_owned()));
    }
    let expected = place.kind.api_version(&place.version.name);
    let wrong = |found: &Value, wanted: &str| found.as_str().is_some_and(|found| found != wanted);
    if wrong(&new["apiVersion"], &expected) || wrong(&new["kind"], &place.kind.kind) {
        return Err(Failure::BadRequest(format!(
            "the object provided is {} {}, the path is of {expected} {}",
            new["apiVersion"], new["kind"], place.kind.kind
        )));
    }
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    if !place.name.is_empty() && wrong(&new["metadata"]["name"], &place.name) {
        return Err(Failure::BadRequest(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object::name(new),
            place.name
        )));
    }
    match object::metadata(new, "namespace") {
        Some(namespace) if namespace != place.namespace => Err(Failure::BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
                .to_owned(),
        )),
        Some(_) => Ok(()),
        None => {
            let namespace = Some(&place.namespace).filter(|namespace| !namespace.is_empty());
            object::set(&mut new["metadata"], "namespace", json!(namespace));
            Ok(())
        }
    }
}

/// Returns the object's name, or one made from `generateName`.
pub(super) fn chosen_name(place: &Place, new: &Value) -> Result<String, Failure> {
    let name = match (object::metadata(new, "name"), object::metadata(new, "generateName")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => {
            let random = Uuid::new_v4().simple().to_string();
            format!("{prefix}{}", &random[..5])
        }
        (None, None) => {
            let cause = Cause::new(
                "FieldValueRequired",
                "metadata.name",
                "Required value: name or generateName is required",
            );
            return Err(place.invalid("", vec![cause]));
        }
    };
    if !is_name(&name, place.kind.group == "rbac.authorization.k8s.io") {
        let message = format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        );
        return Err(place.invalid(&name, vec![Cause::invalid("metadata.name", message)]));
    }
    Ok(name)
}

/// Tells whether a name is a DNS subdomain; those of roles may be any path segment.
fn is_name(name: &str, path_segment: bool) -> bool {
    if path_segment {
        return !name.contains(['/', '%']) && name != "." && name != "..";
    }
    let edge = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
    };
    let inside = |character: char| edge(Some(character)) || character == '-' || character == '.';
    name.len() <= 253 && name.chars().all(inside) && edge(name.chars().next()) && edge(name.chars().last())
}

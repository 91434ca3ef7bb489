//! Names: which object a body means, and whether its name is one.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::{Cause, Failure};
use super::object;
use super::write::Place;

/// Kubernetes' words for what a name must be.
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Checks that the metadata has its types, and that what every built-in kind keeps in maps is a map.
pub(super) fn check_shape(place: &Place, new: &Value) -> Result<(), Failure> {
    let refuse = |problem: String| {
        let kind = &place.kind.kind;
        Failure::BadRequest(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: json: {problem}",
            place.version.name
        ))
    };
    ObjectMeta::deserialize(&new["metadata"]).map_err(|error| refuse(format!("metadata: {error}")))?;
    check_metadata(place, new)?;
    // A ControllerRevision's data is any object of its owner's choice, and so is what is in a custom resource.
    if place.kind.custom || place.kind.plural == "controllerrevisions" {
        return Ok(());
    }
    let maps = ["spec", "status", "data", "stringData"];
    let wrong = maps.into_iter().find(|field| !new[*field].is_null() && !new[*field].is_object());
    if let Some(field) = wrong {
        return Err(refuse(format!("{field} is not an object")));
    }
    let texts = ["data", "stringData"].into_iter().filter_map(|field| new[field].as_object()).flatten();
    let holds_texts = matches!(place.kind.plural.as_str(), "configmaps" | "secrets");
    if let Some((key, _)) = texts.into_iter().find(|(_, value)| holds_texts && !value.is_string()) {
        return Err(refuse(format!("{key} is not a string")));
    }
    let mut bytes = new["data"].as_object().into_iter().flatten();
    let is_broken = |value: &Value| ByteString::deserialize(value).is_err();
    match bytes.find(|(_, value)| place.kind.plural == "secrets" && is_broken(value)) {
        Some(_) => {
            let words = "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data";
            Err(Failure::BadRequest(format!("{words} at input byte 0")))
        }
        None => Ok(()),
    }
}

/// Checks the labels and finalizers.
fn check_metadata(place: &Place, new: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    for (key, value) in new["metadata"]["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        for (text, problem) in [(key.as_str(), check_label_key(key)), (value, check_label_value(value))] {
            if let Err(problem) = problem {
                let message = format!("Invalid value: {text:?}: {problem}");
                causes.push(Cause::invalid("metadata.labels", message));
            }
        }
    }
    let finalizers = new["metadata"]["finalizers"].as_array().into_iter().flatten().enumerate();
    for (index, finalizer) in finalizers {
        let finalizer = finalizer.as_str().unwrap_or_default();
        if !finalizer.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer) {
            let message = format!(
                "Invalid value: {finalizer:?}: name is neither a standard finalizer name nor is it fully qualified"
            );
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), message));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(place.invalid(object::name(new), causes)) }
}

/// Checks what may not change: new finalizers of what is being deleted, the content of what is immutable.
pub(super) fn check_change(place: &Place, old: &Value, new: &Value) -> Result<(), Failure> {
    let refuse = |field: &str, message: String| {
        Err(place.invalid(&place.name, vec![Cause::new("FieldValueForbidden", field, message)]))
    };
    let finalizers =
        |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let (before, mut added) = (finalizers(old), finalizers(new));
    added.retain(|finalizer| !before.contains(finalizer));
    if object::is_deleting(old) && !added.is_empty() {
        let added = json!(added).to_string().trim_matches(['[', ']']).to_owned();
        let message = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{added}}}"
        );
        return refuse("metadata.finalizers", message);
    }
    if !place.kind.custom && old["immutable"] == true && old["data"] != new["data"] {
        return refuse("data", "Forbidden: field is immutable when `immutable` is set".to_owned());
    }
    Ok(())
}

/// Says what is wrong with the key of a label.
pub(super) fn check_label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !is_name(prefix, false)) {
        return Err(format!("prefix part {SUBDOMAIN}"));
    }
    if name.is_empty() || !is_label(name) {
        return Err("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')".to_owned());
    }
    Ok(())
}

/// Says what is wrong with the value of a label.
pub(super) fn check_label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_label(value) {
        return Ok(());
    }
    Err("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned())
}

fn is_label(text: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    let inside = |character: char| edge(Some(character)) || "-_.".contains(character);
    text.len() <= 63 && text.chars().all(inside) && edge(text.chars().next()) && edge(text.chars().last())
}

/// Checks that the body says the same as the path, and writes the path's namespace into it.
pub(super) fn check_identity(place: &Place, new: &mut Value) -> Result<(), Failure> {
    if !new.is_object() {
        return Err(Failure::BadRequest("the object provided is not an object".to_owned()));
    }
    let expected = place.kind.api_version(&place.version.name);
    let wrong = |found: &Value, wanted: &str| found.as_str().is_some_and(|found| found != wanted);
    let (version, kind) = (&new["apiVersion"], &new["kind"]);
    if place.kind.custom {
        check_custom_type(place, new, &expected)?;
    } else if wrong(kind, &place.kind.kind) || wrong(version, &expected) {
        let what = if wrong(version, &expected) { "no kind" } else { "converting" };
        let (kind, version) = (kind.as_str().unwrap_or_default(), version.as_str().unwrap_or_default());
        return Err(Failure::BadRequest(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {what} {kind:?} of {version:?}",
            place.kind.kind
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

/// Custom kinds must say what they are.
fn check_custom_type(place: &Place, new: &Value, expected: &str) -> Result<(), Failure> {
    let text = |field: &str| new[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() {
        return Err(Failure::BadRequest(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{new}'",
            place.kind.kind
        )));
    }
    if version != expected {
        return Err(Failure::BadRequest(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if kind != place.kind.kind {
        let message = format!("Invalid value: {kind:?}: must be {}", place.kind.kind);
        return Err(Failure::Invalid {
            kind: super::kind::resource(kind, &place.kind.group),
            name: object::name(new).to_owned(),
            causes: vec![Cause::invalid("kind", message)],
        });
    }
    Ok(())
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
        let problem = if name.len() > 253 { "must be no more than 253 characters" } else { SUBDOMAIN };
        let message = format!("Invalid value: {name:?}: {problem}");
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

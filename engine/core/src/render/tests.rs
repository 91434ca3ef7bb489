use serde_json::{Map, Value, json};

use super::{PrepareError, Prepared, prepare};
use crate::action::ActionRef;
use crate::catalog::Catalog;
use crate::fixtures::{catalog, content, context, load, object};

mod content_snapshots;
mod functions;
mod shape;
mod templates;

const BACKUP: &str = "cap.interface.data.backup";

fn run(
    catalog: &Catalog,
    path: &str,
    revision: Option<&str>,
    parameters: &Map<String, Value>,
) -> Result<Prepared, PrepareError> {
    let action_ref = ActionRef { path: path.to_owned(), revision: revision.map(str::to_owned) };
    prepare(catalog, &action_ref, parameters, &context())
}

fn backup(revision: &str, parameters: Value) -> Result<Prepared, PrepareError> {
    run(&load(content()), BACKUP, Some(revision), &object(parameters))
}

/// Renders the one template of a catalog of its own.
fn render(properties: &str, template: &str, parameters: Value) -> Result<Value, PrepareError> {
    let catalog = load(catalog(properties, template));
    let prepared = run(&catalog, "cap.interface.test.run", None, &object(parameters))?;
    Ok(serde_json::to_value(prepared.workflow).unwrap())
}

/// A template of one ConfigMap with this `data`.
fn config_map(data: &str) -> String {
    let data = data.replace('\n', "\n          ");
    format!(
        "apiVersion: core.ochre.dev/v1alpha1\nkind: Workflow\nsteps:\n  - name: write\n    resource:\n      action: create\n      manifest:\n        apiVersion: v1\n        kind: ConfigMap\n        data:\n          {data}"
    )
}

fn data(workflow: &Value) -> &Value {
    &workflow["steps"][0]["resource"]["manifest"]["data"]
}

fn check(properties: &str, template: &str, parameters: Value, expected: &Value) {
    let workflow = render(properties, &config_map(template), parameters)
        .unwrap_or_else(|error| panic!("{template}: {error}"));
    assert_eq!(data(&workflow), expected, "{template}");
}

#[test]
fn names_what_it_chose() {
    let prepared = backup("0.1.0", json!({"action": "backup", "name": "mongo"})).unwrap();
    assert_eq!(prepared.interface.revision, "0.1.0");
    assert_eq!(prepared.implementation.path, "cap.implementation.velero.data.backup");
    assert_eq!(prepared.reason, "the only Implementation");
    assert!(prepared.digest.starts_with("sha256:"));
    assert_eq!(prepared.digest.len(), 71);
}

#[test]
fn both_forms_of_input_are_one() {
    let flat = backup("0.2.0", json!({"action": "backup", "name": "mongo"})).unwrap();
    let nested = json!({"input-parameters": {"action": "backup", "name": "mongo"}});
    assert_eq!(backup("0.2.0", nested).unwrap(), flat);
    assert_eq!(flat.parameters["volumes"], json!("fs"));
}

#[test]
fn all_revisions_do_the_same_by_default() {
    for action in ["backup", "restore"] {
        let parameters = || json!({"action": action, "name": "mongo", "selector": "app in (a,b)"});
        let old = backup("0.1.0", parameters()).unwrap();
        for revision in ["0.2.0", "0.3.0"] {
            let new = backup(revision, parameters()).unwrap();
            assert_eq!(old.workflow, new.workflow);
            assert_eq!(old.digest, new.digest);
        }
    }
}

//! Catalogs for tests.

use serde_json::{Map, Value};

use crate::catalog::{Catalog, SourceFile};
use crate::render::Context;

macro_rules! content {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../och-content/", $path)))),*]
    };
}

/// The content that comes with ochre.
pub(crate) fn content() -> Vec<SourceFile> {
    files(&content![
        "core/meta/repo-metadata.yaml",
        "core/type/platform/kubernetes.yaml",
        "implementation/velero/data/backup.yaml",
        "interface/data.yaml",
        "interface/data/backup-0.1.0.yaml",
        "interface/data/backup-0.2.0.yaml",
        "interface/data/backup-0.3.0.yaml",
        "type/kubernetes/label-selector.yaml",
        "type/kubernetes/name-list.yaml",
    ])
}

/// Loads a catalog that must be without any problem.
pub(crate) fn load(files: Vec<SourceFile>) -> Catalog {
    let loaded = Catalog::load(files);
    assert_eq!(problems(&loaded.problems), "");
    loaded.catalog
}

/// Makes files of paths and texts.
pub(crate) fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |&(path, text): &(&str, &str)| SourceFile { path: path.to_owned(), text: text.to_owned() };
    files.iter().map(file).collect()
}

/// Prints problems, one on a line.
pub(crate) fn problems(problems: &[crate::manifest::Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Makes a manifest of a kind with metadata in its usual form.
pub(crate) fn manifest(kind: &str, name: &str, rest: &str) -> String {
    let license = match kind {
        "Implementation" => "\n  license: {name: Apache-2.0}",
        _ => "",
    };
    format!(
        "ocfVersion: 0.0.1\nrevision: 0.1.0\nkind: {kind}\nmetadata:\n  name: {name}\n  description: A test.\n  maintainers: [{{email: a@b.c}}]{license}\n{rest}"
    )
}

/// Makes a catalog of one Interface `cap.interface.test.run` with these properties, and of one
/// Implementation with this template.
pub(crate) fn catalog(properties: &str, template: &str) -> Vec<SourceFile> {
    let interface = format!(
        "spec:\n  output: {{}}\n  input:\n    parameters:\n      input:\n        jsonSchema:\n          value:\n            type: object\n            properties: {properties}\n"
    );
    let indented = template.replace('\n', "\n        ");
    let implementation = format!(
        "spec:\n  outputTypeInstanceRelations: {{}}\n  implements: [{{path: cap.interface.test.run}}]\n  action:\n    runnerInterface: workflow.run\n    args:\n      workflow: |\n        {indented}\n"
    );
    let group = "ocfVersion: 0.0.1\nkind: InterfaceGroup\nmetadata:\n  name: test\n  description: Tests.\n  maintainers: [{email: a@b.c}]\n";
    files(&[
        ("interface/test.yaml", group),
        ("interface/test/run.yaml", &manifest("Interface", "run", &interface)),
        ("implementation/test/run.yaml", &manifest("Implementation", "run", &implementation)),
    ])
}

/// A context that is the same in every test.
pub(crate) fn context() -> Context {
    Context {
        action_name: "backup-mongo".to_owned(),
        action_namespace: "apps".to_owned(),
        action_uid: "11111111-2222-3333-4444-555555555555".to_owned(),
        attempt: 1,
        velero_namespace: "velero".to_owned(),
    }
}

/// Turns a JSON object into parameters.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

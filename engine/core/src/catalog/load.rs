//! Loads a catalog: reads every file, checks every reference, compiles schemas and templates.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::index::{Declared, Index};
use super::{Catalog, Implementation, Interface, Loaded, Parameter, SourceFile};
use crate::action::ManifestRef;
use crate::manifest::{self, Manifest, Node, ParameterSource, Position, Problem, Reporter, Spec};
use crate::render::{CONTEXT, Template};
use crate::schema::{Schema, SchemaProblem, resolve};

pub(super) fn load(mut files: Vec<SourceFile>) -> Loaded {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let digest = digest(&files);
    let mut problems = Vec::new();
    let declared = read_all(&files, &mut problems);
    let index = Index::of(&declared);
    for each in &declared {
        check_references(&index, each);
    }
    let mut catalog = Catalog {
        digest,
        groups: BTreeMap::new(),
        interfaces: BTreeMap::new(),
        implementations: BTreeMap::new(),
    };
    add_interfaces(&mut catalog, &index, &declared);
    add_implementations(&mut catalog, &index, &declared);
    for each in declared {
        problems.extend(each.reporter.into_problems());
    }
    problems.sort();
    Loaded { catalog, problems }
}

fn digest(files: &[SourceFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        // Lengths keep one file's end from reading as another's beginning.
        for part in [&file.path, &file.text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    format!("sha256:{:x}", hash.finalize())
}

fn read_all(files: &[SourceFile], problems: &mut Vec<Problem>) -> Vec<Declared> {
    let mut declared = Vec::new();
    let mut paths = BTreeSet::new();
    for file in files {
        let reporter = Reporter::new(&file.path);
        if !paths.insert(&file.path) {
            reporter.error(Position::START, "the file was given twice", None);
        }
        let is_yaml = [".yaml", ".yml"].iter().any(|end| file.path.ends_with(end));
        let manifest = if is_yaml {
            manifest::read(&file.path, &file.text, &reporter)
        } else {
            let hint = Some("manifests end in .yaml".to_owned());
            reporter.warning(Position::START, "the file is not read", hint);
            None
        };
        match manifest {
            Some(manifest) => {
                let file = file.path.clone();
                declared.push(Declared { manifest, file, reporter });
            }
            None => problems.extend(reporter.into_problems()),
        }
    }
    declared
}

fn check_references(index: &Index, declared: &Declared) {
    let Declared { manifest, reporter, .. } = declared;
    for reference in &manifest.references {
        index.check(reference, reporter);
    }
    match &manifest.spec {
        Spec::Interface(_) => index.check_group(manifest, reporter),
        Spec::Type(schema) => {
            compile(index, schema, reporter);
        }
        Spec::Plain | Spec::Implementation(_) => {}
    }
}

/// Compiles a schema; reports where in the file it is wrong.
fn compile(index: &Index, schema: &Node, reporter: &Reporter) -> Option<Schema> {
    let report = |problem: SchemaProblem| {
        reporter.error(schema.position_at(&problem.pointer), problem.message, None);
    };
    let lookup = |path: &str, revision: Option<&str>| index.type_schema(path, revision);
    let document = match resolve(&schema.to_json(), &lookup) {
        Ok(document) => document,
        Err(problems) => {
            problems.into_iter().for_each(report);
            return None;
        }
    };
    match Schema::compile(document) {
        Ok(schema) => Some(schema),
        Err(problems) => {
            problems.into_iter().for_each(report);
            None
        }
    }
}

fn add_interfaces(catalog: &mut Catalog, index: &Index, declared: &[Declared]) {
    for each in declared {
        let Declared { manifest, reporter, .. } = each;
        match &manifest.spec {
            Spec::Plain if manifest.kind == manifest::Kind::InterfaceGroup => {
                if !reporter.has_errors() {
                    catalog.groups.insert(manifest.path.clone(), manifest.metadata.clone());
                }
            }
            Spec::Interface(parameters) => {
                let parameter = parameters.first().map(|p| parameter(index, p, reporter));
                let Some((revision, reference)) = good(manifest, reporter) else {
                    continue;
                };
                let interface = Interface {
                    reference,
                    metadata: manifest.metadata.clone(),
                    parameter: parameter.flatten(),
                };
                let revisions = catalog.interfaces.entry(manifest.path.clone()).or_default();
                revisions.insert(revision, interface);
            }
            Spec::Plain | Spec::Type(_) | Spec::Implementation(_) => {}
        }
    }
}

fn parameter(index: &Index, parameter: &manifest::Parameter, reporter: &Reporter) -> Option<Parameter> {
    let schema = match &parameter.source {
        ParameterSource::Inline(node) => {
            check_properties(parameter, &node.to_json(), reporter);
            compile(index, node, reporter)
        }
        ParameterSource::TypeRef(reference) => {
            let revision = index.revision_of(reference)?.to_string();
            let lookup = |path: &str, revision: Option<&str>| index.type_schema(path, revision);
            let found = index.type_schema(&reference.path, Some(&revision))?;
            check_properties(parameter, found, reporter);
            let resolved = resolve(found, &lookup).ok();
            let compiled = resolved.and_then(|document| Schema::compile(document).ok());
            if compiled.is_none() {
                let message = format!("Type `{}` has errors itself", reference.path);
                reporter.error(reference.position, message, None);
            }
            compiled
        }
    };
    Some(Parameter { name: parameter.name.clone(), schema: schema? })
}

/// Refuses what would make input or templates ambiguous.
fn check_properties(parameter: &manifest::Parameter, schema: &Value, reporter: &Reporter) {
    let place = |pointer: &str| match &parameter.source {
        ParameterSource::Inline(node) => node.position_at(pointer),
        ParameterSource::TypeRef(reference) => reference.position,
    };
    if schema.get("type") != Some(&Value::from("object")) {
        let message = format!("the schema of parameter `{}` must have type: object", parameter.name);
        reporter.error(place("/type"), message, None);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for name in properties.into_iter().flat_map(Map::keys) {
        let reason = if *name == parameter.name {
            "is named like its parameter, so nobody could tell which is meant"
        } else if name == CONTEXT {
            "is a name that templates have for themselves"
        } else {
            continue;
        };
        let hint = Some("rename it".to_owned());
        let at = place(&format!("/properties/{name}"));
        reporter.error(at, format!("property `{name}` {reason}"), hint);
    }
}

fn add_implementations(catalog: &mut Catalog, index: &Index, declared: &[Declared]) {
    for Declared { manifest, reporter, .. } in declared {
        let Spec::Implementation(action) = &manifest.spec else {
            continue;
        };
        let mut implements = Vec::new();
        for reference in &action.implements {
            let path = reference.path.clone();
            if let Some(revision) = index.revision_of(reference).map(|r| r.to_string()) {
                implements.push(ManifestRef { path, revision });
            }
        }
        let mut interfaces = Vec::new();
        for ManifestRef { path, revision } in &implements {
            interfaces.extend(catalog.interface(path, Some(revision)).ok());
        }
        // Without its Interfaces nobody knows which names a template may use.
        let complete = interfaces.len() == action.implements.len();
        let template = action
            .template
            .as_ref()
            .and_then(|(text, place)| Template::compile(text, *place, &interfaces, complete, reporter));
        if let (Some(template), Some((revision, reference))) = (template, good(manifest, reporter)) {
            let implementation =
                Implementation { reference, metadata: manifest.metadata.clone(), implements, template };
            let revisions = catalog.implementations.entry(manifest.path.clone()).or_default();
            revisions.insert(revision, implementation);
        }
    }
}

/// Names a manifest that may go into the catalog.
fn good(manifest: &Manifest, reporter: &Reporter) -> Option<(Version, ManifestRef)> {
    let revision = manifest.revision.clone().filter(|_| !reporter.has_errors())?;
    let reference = ManifestRef { path: manifest.path.clone(), revision: revision.to_string() };
    Some((revision, reference))
}

//! Loads a catalog: reads every file, checks every reference, compiles schemas and templates.

use std::collections::BTreeSet;

use semver::Version;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::index::{Declared, Index};
use super::{
    Attribute, Catalog, Implementation, Interface, Loaded, Parameter, ParameterSource, RepoMetadata,
    SourceFile, Type,
};
use crate::action::ManifestRef;
use crate::manifest::{
    self, Kind, Manifest, Node, Position, Problem, Reference, Reporter, Spec, TypeInstance,
};
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
    let mut catalog = Catalog { digest, ..Catalog::default() };
    for each in &declared {
        add_described(&mut catalog, &index, each);
    }
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
        Spec::Type(each) => {
            compile(index, &each.schema, reporter);
        }
        Spec::Plain | Spec::Unread(_) | Spec::Implementation(_) => {}
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

/// Adds what is only shown, and what others name.
fn add_described(catalog: &mut Catalog, index: &Index, Declared { manifest, reporter, .. }: &Declared) {
    let (path, metadata) = (manifest.path.clone(), manifest.metadata.clone());
    if manifest.kind == Kind::InterfaceGroup && !reporter.has_errors() {
        catalog.groups.insert(path, metadata);
        return;
    }
    let Some((revision, reference)) = good(manifest, reporter) else {
        return;
    };
    match (&manifest.spec, manifest.kind) {
        (Spec::Unread(spec), Kind::RepoMetadata) => {
            let repository = RepoMetadata { reference, metadata, spec: spec.clone() };
            catalog.repositories.entry(path).or_default().insert(revision, repository);
        }
        (Spec::Unread(spec), Kind::Attribute) => {
            let attribute = Attribute { reference, metadata, spec: spec.clone() };
            catalog.attributes.entry(path).or_default().insert(revision, attribute);
        }
        (Spec::Type(spec), _) => {
            let described = Type {
                reference,
                metadata,
                attributes: resolved(index, &manifest.attributes),
                additional_refs: spec.additional_refs.clone(),
                schema: spec.schema.to_json(),
            };
            catalog.types.entry(path).or_default().insert(revision, described);
        }
        _ => {}
    }
}

fn add_interfaces(catalog: &mut Catalog, index: &Index, declared: &[Declared]) {
    for Declared { manifest, reporter, .. } in declared {
        let Spec::Interface(spec) = &manifest.spec else {
            continue;
        };
        let parameter = spec.parameters.first().map(|p| parameter(index, p, reporter));
        let Some((revision, reference)) = good(manifest, reporter) else {
            continue;
        };
        let name = |reference: &Reference| index.resolve(reference);
        let named = |each: &TypeInstance<Reference>| each.try_map(name);
        let interface = Interface {
            reference,
            metadata: manifest.metadata.clone(),
            parameter: parameter.flatten(),
            input: spec.input.iter().filter_map(named).collect(),
            output: spec.output.iter().filter_map(named).collect(),
        };
        catalog.interfaces.entry(manifest.path.clone()).or_default().insert(revision, interface);
    }
}

fn parameter(index: &Index, parameter: &manifest::Parameter, reporter: &Reporter) -> Option<Parameter> {
    let (source, schema) = match &parameter.source {
        manifest::ParameterSource::Inline(node) => {
            let written = node.to_json();
            check_properties(parameter, &written, reporter);
            (ParameterSource::Inline(written), compile(index, node, reporter))
        }
        manifest::ParameterSource::TypeRef(reference) => {
            let exact = index.resolve(reference)?;
            let lookup = |path: &str, revision: Option<&str>| index.type_schema(path, revision);
            let found = index.type_schema(&exact.path, Some(&exact.revision))?;
            check_properties(parameter, found, reporter);
            let resolved = resolve(found, &lookup).ok();
            let compiled = resolved.and_then(|document| Schema::compile(document).ok());
            if compiled.is_none() {
                let message = format!("Type `{}` has errors itself", reference.path);
                reporter.error(reference.position, message, None);
            }
            (ParameterSource::Type(exact), compiled)
        }
    };
    Some(Parameter { name: parameter.name.clone(), source, schema: schema? })
}

/// Refuses what would make input or templates ambiguous.
fn check_properties(parameter: &manifest::Parameter, schema: &Value, reporter: &Reporter) {
    let place = |pointer: &str| match &parameter.source {
        manifest::ParameterSource::Inline(node) => node.position_at(pointer),
        manifest::ParameterSource::TypeRef(reference) => reference.position,
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
        let Spec::Implementation(spec) = &manifest.spec else {
            continue;
        };
        let implements = resolved(index, &spec.implements);
        let mut interfaces = Vec::new();
        for ManifestRef { path, revision } in &implements {
            interfaces.extend(catalog.interface(path, Some(revision)).ok());
        }
        // Without its Interfaces nobody knows which names a template may use.
        let complete = interfaces.len() == spec.implements.len();
        let Some((workflow, place)) = &spec.template else {
            continue;
        };
        let template = Template::compile(workflow, *place, &interfaces, complete, reporter);
        if let (Some(template), Some((revision, reference))) = (template, good(manifest, reporter)) {
            let name = |reference: &Reference| index.resolve(reference);
            let implementation = Implementation {
                reference,
                metadata: manifest.metadata.clone(),
                attributes: resolved(index, &manifest.attributes),
                app_version: spec.app_version.clone(),
                implements,
                requires: spec.requires.iter().map(|each| each.filter_map(name)).collect(),
                imports: spec.imports.clone(),
                relations: spec.relations.clone(),
                workflow: workflow.clone(),
                template,
            };
            catalog
                .implementations
                .entry(manifest.path.clone())
                .or_default()
                .insert(revision, implementation);
        }
    }
}

fn resolved(index: &Index, references: &[Reference]) -> Vec<ManifestRef> {
    references.iter().filter_map(|reference| index.resolve(reference)).collect()
}

/// Names a manifest that may go into the catalog.
fn good(manifest: &Manifest, reporter: &Reporter) -> Option<(Version, ManifestRef)> {
    let revision = manifest.revision.clone().filter(|_| !reporter.has_errors())?;
    let reference = ManifestRef { path: manifest.path.clone(), revision: revision.to_string() };
    Some((revision, reference))
}

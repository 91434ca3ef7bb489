//! Where the catalog comes from, and what the engine asks of it.

use std::path::{Path, PathBuf};

use ochre_core::action::{Action, ActionRef, ActionSpec, MAX_MESSAGE, ManifestRef};
use ochre_core::catalog::{Catalog, Loaded, SourceFile};
use ochre_core::code::Code;
use ochre_core::decide::{Rendered, Rendering, Settings};
use ochre_core::manifest::{Problem, Severity};
use ochre_core::render::{Context, PrepareError, Prepared, prepare, rehearse};
use ochre_core::workflow::Workflow;
use serde_json::{Value, json};

use crate::folder::{self, Folder, is_manifest};

/// The catalog that comes with the binary.
#[derive(rust_embed::RustEmbed)]
#[folder = "../../och-content"]
struct Embedded;

/// The most violations that one answer lists.
const MAX_VIOLATIONS: usize = 50;

/// The catalog that the engine works with.
pub struct Content {
    catalog: Catalog,
    problems: Vec<Problem>,
}

/// Says why a content folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file or folder could not be read.
    #[error("{path} could not be read: {source}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is more in the folder than a catalog has.
    #[error("{path} has {what}; give the content folder itself, and nothing but manifests in it")]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// How much more.
        what: String,
    },
    /// The catalog has errors.
    #[error("the catalog has errors:\n{0}")]
    Problems(String),
}

/// Says why an Action's spec is refused.
#[derive(Debug)]
pub struct Refused {
    /// What kind of error it is.
    pub code: Code,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// Every single violation: `{pointer, message}`.
    pub violations: Vec<Value>,
}

impl Content {
    /// Takes a catalog that has no errors.
    pub fn new(loaded: Loaded) -> Result<Self, ContentError> {
        let errors: Vec<String> = errors(&loaded).map(ToString::to_string).collect();
        if errors.is_empty() {
            Ok(Self { catalog: loaded.catalog, problems: loaded.problems })
        } else {
            Err(ContentError::Problems(errors.join("\n")))
        }
    }

    /// Gives the catalog.
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Lists what is probably not meant in its files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Makes the workflow for an Action's spec.
    pub fn prepare(&self, spec: &ActionSpec, context: &Context) -> Result<Prepared, Refused> {
        prepare(&self.catalog, &spec.action_ref, &spec.input.parameters, context)
            .map_err(|error| refused(&error))
    }

    /// Makes the workflow for an Action, as `decide` takes it.
    pub fn render(&self, action: &Action, settings: &Settings) -> Rendering {
        let context = Context {
            action_name: action.metadata.name.clone().unwrap_or_default(),
            action_namespace: action.metadata.namespace.clone().unwrap_or_default(),
            action_uid: action.metadata.uid.clone().unwrap_or_default(),
            attempt: action.spec.attempt,
            velero_namespace: settings.velero_namespace.clone(),
        };
        let prepared = self.prepare(&action.spec, &context).map_err(|refused| refused.message)?;
        Ok(Rendered {
            implementation: prepared.implementation,
            reason: prepared.reason,
            catalog_digest: self.catalog.digest().to_owned(),
            workflow: prepared.workflow,
            digest: prepared.digest,
        })
    }

    /// Checks a spec before an Action is created from it, and shows what it would do.
    pub fn check(
        &self,
        namespace: &str,
        name: &str,
        spec: &ActionSpec,
        settings: &Settings,
    ) -> Result<Workflow, Refused> {
        let context = Context {
            action_name: name.to_owned(),
            action_namespace: namespace.to_owned(),
            action_uid: String::new(),
            attempt: spec.attempt,
            velero_namespace: settings.velero_namespace.clone(),
        };
        let workflow = self.prepare(spec, &context)?.workflow;
        match workflow.missing_account(namespace, spec.service_account_name.as_deref()) {
            Some(message) => Err(Refused { code: Code::BadUserInput, message, violations: Vec::new() }),
            None => Ok(workflow),
        }
    }

    /// Renders what an Interface yields for samples of its parameters, and says by which Implementation.
    pub fn rehearse(
        &self,
        action_ref: &ActionRef,
        context: &Context,
    ) -> Result<(ManifestRef, Vec<Workflow>), Refused> {
        rehearse(&self.catalog, action_ref, context).map_err(|error| refused(&error))
    }

    /// Names the parameter of an Interface.
    pub fn parameter_name(&self, path: &str, revision: Option<&str>) -> Option<&str> {
        let interface = self.catalog.interface(path, revision).ok()?;
        interface.parameter.as_ref().map(|parameter| parameter.name.as_str())
    }
}

/// Lists the problems that keep a catalog from being used.
pub fn errors(loaded: &Loaded) -> impl Iterator<Item = &Problem> {
    loaded.problems.iter().filter(|problem| problem.severity == Severity::Error)
}

/// Reads the catalog of a folder; without one, that of the binary.
pub fn load(folder: Option<&Path>) -> Result<Loaded, ContentError> {
    let Folder { files, problems } = match folder {
        Some(folder) => folder::read(folder)?,
        None => Folder { files: embedded(), problems: Vec::new() },
    };
    let mut loaded = Catalog::load(files);
    loaded.problems.extend(problems);
    loaded.problems.sort();
    Ok(loaded)
}

fn embedded() -> Vec<SourceFile> {
    Embedded::iter()
        .filter(|path| is_manifest(Path::new(path.as_ref())))
        .filter_map(|path| {
            let text = String::from_utf8_lossy(&Embedded::get(&path)?.data).into_owned();
            Some(SourceFile { path: path.into_owned(), text })
        })
        .collect()
}

fn refused(error: &PrepareError) -> Refused {
    // A thousand wrong names are one mistake: the first ones say it.
    let violations = error.violations().iter().take(MAX_VIOLATIONS);
    Refused {
        code: error.code(),
        message: error.to_string().chars().take(MAX_MESSAGE).collect(),
        violations: violations
            .map(|violation| json!({"pointer": violation.pointer, "message": violation.message}))
            .collect(),
    }
}

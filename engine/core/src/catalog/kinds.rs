//! The manifests of a loaded catalog, kind by kind; what they name is found.

use serde_json::{Value, json};

use crate::action::ManifestRef;
use crate::manifest::{Import, Metadata, RUNNER, Relation, Requirement, TypeInstance};
use crate::render::Template;
use crate::schema::Schema;

/// What a repository says about itself.
#[derive(Clone, Debug)]
pub struct RepoMetadata {
    /// Its path and revision.
    pub reference: ManifestRef,
    /// What it says about itself.
    pub metadata: Metadata,
    pub(super) spec: Value,
}

/// A mark that Types and Implementations may carry.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its path and revision.
    pub reference: ManifestRef,
    /// What it says about itself.
    pub metadata: Metadata,
    pub(super) spec: Value,
}

/// The schema of a value.
#[derive(Clone, Debug)]
pub struct Type {
    /// Its path and revision.
    pub reference: ManifestRef,
    /// What it says about itself.
    pub metadata: Metadata,
    /// The Attributes that it carries.
    pub attributes: Vec<ManifestRef>,
    /// The paths below which it can be required too.
    pub additional_refs: Vec<String>,
    /// The schema as its file says it, `$ocfRefs` and all.
    pub schema: Value,
}

/// An action, and what it is given.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its path and revision.
    pub reference: ManifestRef,
    /// What it says about itself.
    pub metadata: Metadata,
    /// What it is given, unless it is given nothing.
    pub parameter: Option<Parameter>,
    /// The TypeInstances that it takes.
    pub input: Vec<TypeInstance>,
    /// The TypeInstances that it yields.
    pub output: Vec<TypeInstance>,
}

/// The input parameter of an Interface.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name that the Interface gives it.
    pub name: String,
    /// Where its schema is from.
    pub source: ParameterSource,
    /// What its value must look like.
    pub schema: Schema,
}

/// Where the schema of a parameter is from.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterSource {
    /// The Interface's own, as its file says it.
    Inline(Value),
    /// That of a Type.
    Type(ManifestRef),
}

/// How an Interface is done.
#[derive(Clone, Debug)]
pub struct Implementation {
    /// Its path and revision.
    pub reference: ManifestRef,
    /// What it says about itself.
    pub metadata: Metadata,
    /// The Attributes that it carries.
    pub attributes: Vec<ManifestRef>,
    /// The versions of the application that it is for.
    pub app_version: Option<String>,
    /// The revisions of Interfaces that it implements.
    pub implements: Vec<ManifestRef>,
    /// What must be there for it to be used.
    pub requires: Vec<Requirement>,
    /// The Interfaces that its workflow uses.
    pub imports: Vec<Import>,
    /// What becomes of the TypeInstances that its workflow yields.
    pub relations: Vec<Relation>,
    pub(super) workflow: String,
    pub(crate) template: Template,
}

impl RepoMetadata {
    /// Names the version of the hub that it is for.
    pub fn hub_version(&self) -> Option<&str> {
        self.text("/hubVersion")
    }

    /// Names the version of OCF that is meant where none is named.
    pub fn default_ocf_version(&self) -> Option<&str> {
        self.text("/ocfVersion/default")
    }

    /// Lists the versions of OCF in which its manifests may be written.
    pub fn supported_ocf_versions(&self) -> impl Iterator<Item = &str> {
        texts(&self.spec, "/ocfVersion/supported")
    }

    /// Says what the latest version of an application is: `stable` or `edge`.
    pub fn latest_points_to(&self) -> Option<&str> {
        self.text("/implementation/appVersion/semVerTaggingStrategy/latest/pointsTo")
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.spec.pointer(pointer).and_then(Value::as_str)
    }
}

impl Attribute {
    /// Lists the paths below which it can be named too.
    pub fn additional_refs(&self) -> impl Iterator<Item = &str> {
        texts(&self.spec, "/additionalRefs")
    }
}

impl Implementation {
    /// Names the Interface of what runs its workflow, as workflows do.
    pub const fn runner_interface(&self) -> &'static str {
        RUNNER
    }

    /// Gives what the runner is given: the workflow's template.
    pub fn arguments(&self) -> Value {
        json!({"workflow": self.workflow})
    }
}

fn texts<'v>(spec: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> + use<'v> {
    let items = spec.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str)
}

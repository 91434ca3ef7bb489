//! OCF 0.0.1 manifests: what a file of the catalog says, read with the place of everything in it.

mod document;
mod fields;
mod kinds;
mod parts;
mod problem;
mod specs;
#[cfg(test)]
mod tests;

use semver::Version;
use serde::Serialize;
use serde_json::Value;

pub use parts::{Import, Method, Relation, RequiredType, Requirement, TypeInstance, Verb};
pub use problem::{Position, Problem, Severity};

pub(crate) use document::{Node, TextPlace, describe};
pub(crate) use kinds::read;
pub(crate) use problem::Reporter;
pub(crate) use specs::RUNNER;

/// The `ocfVersion` of every manifest.
pub const OCF_VERSION: &str = "0.0.1";

/// The kinds of OCF manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// Describes the repository.
    RepoMetadata,
    /// Describes who publishes content.
    Vendor,
    /// A mark that other manifests may carry.
    Attribute,
    /// The schema of a value.
    Type,
    /// A folder of Interfaces.
    InterfaceGroup,
    /// An action, and what it is given.
    Interface,
    /// How an Interface is done.
    Implementation,
}

/// What every manifest says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its last path segment.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it is for.
    pub description: String,
    /// Where to read more.
    #[serde(rename = "documentationURL", skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// Where to get help.
    #[serde(rename = "supportURL", skip_serializing_if = "Option::is_none")]
    pub support_url: Option<String>,
    /// Its picture.
    #[serde(rename = "iconURL", skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
    /// Who keeps it.
    pub maintainers: Vec<Maintainer>,
    /// The license of an Implementation: its name, or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

/// Somebody who keeps a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Maintainer {
    /// The address.
    pub email: String,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The home page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A manifest as its file says it; references are not yet looked up, and what was wrong is absent.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) kind: Kind,
    /// `cap.`, the folder with dots, and the name.
    pub(crate) path: String,
    pub(crate) revision: Option<Version>,
    pub(crate) metadata: Metadata,
    /// Where `metadata.name` is: the place of problems with the manifest as a whole.
    pub(crate) position: Position,
    pub(crate) attributes: Vec<Reference>,
    /// All that it names, attributes too.
    pub(crate) references: Vec<Reference>,
    pub(crate) spec: Spec,
}

/// What only some kinds say.
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    Plain,
    /// For others, as it is written: of RepoMetadata, Vendors and Attributes.
    Unread(Value),
    Type(TypeSpec),
    Interface(InterfaceSpec),
    Implementation(Box<ImplementationSpec>),
}

/// What a value must look like.
#[derive(Clone, Debug)]
pub(crate) struct TypeSpec {
    pub(crate) schema: Node,
    /// The paths below which it can be required too.
    pub(crate) additional_refs: Vec<String>,
}

/// What an Interface is given, and what it yields.
#[derive(Clone, Debug, Default)]
pub(crate) struct InterfaceSpec {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) input: Vec<TypeInstance<Reference>>,
    pub(crate) output: Vec<TypeInstance<Reference>>,
}

/// An input parameter of an Interface.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) source: ParameterSource,
}

/// Where the schema of a parameter comes from.
#[derive(Clone, Debug)]
pub(crate) enum ParameterSource {
    Inline(Node),
    TypeRef(Reference),
}

/// How an Implementation does what it implements.
#[derive(Clone, Debug)]
pub(crate) struct ImplementationSpec {
    pub(crate) app_version: Option<String>,
    pub(crate) implements: Vec<Reference>,
    pub(crate) requires: Vec<Requirement<Reference>>,
    pub(crate) imports: Vec<Import>,
    pub(crate) relations: Vec<Relation>,
    /// The text of the template and where it is, unless that was wrong.
    pub(crate) template: Option<(String, TextPlace)>,
}

/// One manifest's mention of another.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    /// Without it, the latest.
    pub(crate) revision: Option<Version>,
    pub(crate) position: Position,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::RepoMetadata,
        Self::Vendor,
        Self::Attribute,
        Self::Type,
        Self::InterfaceGroup,
        Self::Interface,
        Self::Implementation,
    ];

    /// Names the kind as manifests do.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepoMetadata => "RepoMetadata",
            Self::Vendor => "Vendor",
            Self::Attribute => "Attribute",
            Self::Type => "Type",
            Self::InterfaceGroup => "InterfaceGroup",
            Self::Interface => "Interface",
            Self::Implementation => "Implementation",
        }
    }
}

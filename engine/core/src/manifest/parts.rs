//! What manifests say for whoever reads the catalog; loading it hardly needs this.
//!
//! `R` is how a part names a manifest: as its file does, and in a loaded catalog exactly.

use semver::Version;
use serde_json::Value;

use crate::action::ManifestRef;

/// A TypeInstance that an Interface takes or yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInstance<R = ManifestRef> {
    /// The name that the Interface gives it.
    pub name: String,
    /// Its Type.
    pub type_ref: R,
    /// What is done with one that is taken.
    pub verbs: Vec<Verb>,
}

/// What is done with a TypeInstance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Made.
    Create,
    /// Read.
    Get,
    /// Read together with others.
    List,
    /// Changed.
    Update,
    /// Deleted.
    Delete,
}

/// What must be there for an Implementation to be used: TypeInstances of Types below one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement<R = ManifestRef> {
    /// The path.
    pub prefix: String,
    /// Exactly one of these.
    pub one_of: Vec<RequiredType<R>>,
    /// At least one of these.
    pub any_of: Vec<RequiredType<R>>,
    /// All of these.
    pub all_of: Vec<RequiredType<R>>,
}

/// A Type of which a TypeInstance is required.
#[derive(Clone, Debug, PartialEq)]
pub struct RequiredType<R = ManifestRef> {
    /// The Type.
    pub type_ref: R,
    /// The name under which the workflow gets the TypeInstance.
    pub alias: Option<String>,
    /// What its value must be.
    pub value_constraints: Option<Value>,
}

/// Interfaces of one group that a workflow uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The path of the InterfaceGroup.
    pub group: String,
    /// Its name in the workflow.
    pub alias: Option<String>,
    /// The versions of the application that will do.
    pub app_version: Option<String>,
    /// The Interfaces.
    pub methods: Vec<Method>,
}

/// An Interface that a workflow uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its last path segment.
    pub name: String,
    /// Its revision; without it, the latest.
    pub revision: Option<Version>,
}

/// What became of a TypeInstance that a workflow yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The name of the TypeInstance.
    pub name: String,
    /// The names of those that it uses.
    pub uses: Vec<String>,
}

impl Verb {
    /// Every verb, in the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Get, Self::List, Self::Create, Self::Update, Self::Delete];

    /// Names the verb as manifests do.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl<R> TypeInstance<R> {
    /// Names the Type in another way, where there is one.
    pub(crate) fn try_map<S>(&self, name: impl Fn(&R) -> Option<S>) -> Option<TypeInstance<S>> {
        let type_ref = name(&self.type_ref)?;
        Some(TypeInstance { name: self.name.clone(), type_ref, verbs: self.verbs.clone() })
    }
}

impl<R> Requirement<R> {
    /// Names the Types in another way, where there is one.
    pub(crate) fn filter_map<S>(&self, name: impl Fn(&R) -> Option<S>) -> Requirement<S> {
        let required = |each: &RequiredType<R>| {
            Some(RequiredType {
                type_ref: name(&each.type_ref)?,
                alias: each.alias.clone(),
                value_constraints: each.value_constraints.clone(),
            })
        };
        Requirement {
            prefix: self.prefix.clone(),
            one_of: self.one_of.iter().filter_map(required).collect(),
            any_of: self.any_of.iter().filter_map(required).collect(),
            all_of: self.all_of.iter().filter_map(required).collect(),
        }
    }
}

//! The catalog: every manifest of a content folder, checked against every other.

mod error;
mod index;
mod kinds;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use semver::Version;

use crate::action::ManifestRef;
use crate::hint::{did_you_mean, listed};
use crate::manifest::{Metadata, Problem};

pub use error::CatalogError;
pub use kinds::{Attribute, Implementation, Interface, Parameter, ParameterSource, RepoMetadata, Type};

/// A file of the content folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, relative to the content root.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// A loaded catalog and everything that is wrong with its files.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The manifests that are good.
    pub catalog: Catalog,
    /// The problems, sorted by place; the manifests with errors are not in the catalog.
    pub problems: Vec<Problem>,
}

/// The good manifests of a content folder.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    digest: String,
    repositories: ByPath<RepoMetadata>,
    attributes: ByPath<Attribute>,
    types: ByPath<Type>,
    groups: BTreeMap<String, Metadata>,
    interfaces: ByPath<Interface>,
    implementations: ByPath<Implementation>,
}

/// The revisions of a manifest, from old to new.
pub type Revisions<T> = BTreeMap<Version, T>;

/// All manifests of a kind.
pub type ByPath<T> = BTreeMap<String, Revisions<T>>;

impl Catalog {
    /// Loads a catalog from the files of a content folder, and reports all their problems at once.
    pub fn load(files: impl IntoIterator<Item = SourceFile>) -> Loaded {
        load::load(files.into_iter().collect())
    }

    /// Identifies the content: `sha256:` and the digest of every path and text.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Finds what the repository says about itself; of several, the first by path.
    pub fn repo_metadata(&self) -> Option<(&str, &Revisions<RepoMetadata>)> {
        self.repositories.iter().next().map(|(path, revisions)| (path.as_str(), revisions))
    }

    /// Gives the Attributes.
    pub const fn attributes(&self) -> &ByPath<Attribute> {
        &self.attributes
    }

    /// Gives the Types.
    pub const fn types(&self) -> &ByPath<Type> {
        &self.types
    }

    /// Gives the Interfaces.
    pub const fn interfaces_by_path(&self) -> &ByPath<Interface> {
        &self.interfaces
    }

    /// Gives the Implementations.
    pub const fn implementations_by_path(&self) -> &ByPath<Implementation> {
        &self.implementations
    }

    /// Lists the InterfaceGroups by path.
    pub fn interface_groups(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.groups.iter().map(|(path, metadata)| (path.as_str(), metadata))
    }

    /// Lists every revision of every Interface, by path and then from old to new.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().flat_map(BTreeMap::values)
    }

    /// Lists every revision of every Implementation, by path and then from old to new.
    pub fn implementations(&self) -> impl Iterator<Item = &Implementation> {
        self.implementations.values().flat_map(BTreeMap::values)
    }

    /// Finds an Interface; without a revision, the latest.
    pub fn interface(&self, path: &str, revision: Option<&str>) -> Result<&Interface, CatalogError> {
        let Some(revisions) = self.interfaces.get(path) else {
            return Err(self.unknown_interface(path));
        };
        let found = match revision {
            None => revisions.values().next_back(),
            Some(text) => Version::parse(text).ok().and_then(|version| revisions.get(&version)),
        };
        found.ok_or_else(|| CatalogError::UnknownRevision {
            path: path.to_owned(),
            revision: revision.unwrap_or("latest").to_owned(),
            known: revisions.keys().map(Version::to_string).collect(),
        })
    }

    /// Lists the Implementations of one revision of an Interface.
    pub fn implementations_of(&self, interface: &ManifestRef) -> impl Iterator<Item = &Implementation> {
        self.implementations().filter(move |each| each.implements.contains(interface))
    }

    fn unknown_interface(&self, path: &str) -> CatalogError {
        let paths = || self.interfaces.keys().map(String::as_str);
        let group = path.rsplit_once('.').map_or(path, |(group, _)| group);
        let siblings: Vec<&str> = paths()
            .filter(|known| known.rsplit_once('.').is_some_and(|(parent, _)| parent == group))
            .collect();
        let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
        let name = last(path);
        let same: Vec<&str> = paths().filter(|known| last(known) == name).collect();
        let hint = match (did_you_mean(path, paths()), siblings.as_slice(), same.as_slice()) {
            (Some(hint), _, _) => hint,
            (None, [_, ..], _) => format!("`{group}` has {}", listed(siblings)),
            (None, [], [_, ..]) => format!("there is {}", listed(same)),
            (None, [], []) => "list the catalog to see what there is".to_owned(),
        };
        CatalogError::UnknownInterface { path: path.to_owned(), hint }
    }
}

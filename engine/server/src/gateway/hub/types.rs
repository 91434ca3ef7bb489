//! Types, and the Attributes and TypeInstances of others.

use async_graphql::{Enum, Interface, Object, SimpleObject};
use ochre_core::action::ManifestRef;
use ochre_core::catalog::{self, Catalog};
use ochre_core::manifest;

use super::metadata::{GenericMetadata, TypeMetadata};
use super::revisions::{looked_up, revisioned};
use crate::gateway::scalars::{NodePath, Version};

revisioned!(Type, TypeRevision, "The schema of a value.");
looked_up!(Type);

revisioned!(Attribute, AttributeRevision, "A mark that Types and Implementations may carry.");
looked_up!(Attribute);

/// A revision of a Type.
pub(in crate::gateway) struct TypeRevision<'c>(pub(super) &'c catalog::Type);

/// A revision of an Attribute.
pub(in crate::gateway) struct AttributeRevision<'c>(pub(super) &'c catalog::Attribute);

/// What a value must look like.
pub(in crate::gateway) struct TypeSpec<'c>(&'c catalog::Type);

/// Where an Attribute belongs.
#[derive(SimpleObject)]
pub(in crate::gateway) struct AttributeSpec {
    /// The paths below which it can be named too.
    additional_refs: Vec<NodePath>,
}

/// Names a Type exactly.
#[derive(Clone, SimpleObject)]
pub(in crate::gateway) struct TypeReference {
    /// Its path.
    path: NodePath,
    /// Its revision.
    revision: Version,
}

/// What every TypeInstance of an Interface or Implementation has.
#[derive(Interface)]
#[graphql(
    field(name = "name", ty = "String", desc = "The name that the manifest gives it."),
    field(name = "type_ref", ty = "TypeReference", desc = "Its Type.")
)]
pub(in crate::gateway) enum TypeInstanceFields {
    Input(InputTypeInstance),
    Output(OutputTypeInstance),
}

/// A TypeInstance that is taken.
#[derive(SimpleObject)]
pub(in crate::gateway) struct InputTypeInstance {
    /// The name that the manifest gives it.
    #[graphql(owned)]
    name: String,
    /// Its Type.
    #[graphql(owned)]
    type_ref: TypeReference,
    /// What is done with it.
    verbs: Vec<TypeInstanceOperationVerb>,
}

/// A TypeInstance that is yielded.
#[derive(SimpleObject)]
pub(in crate::gateway) struct OutputTypeInstance {
    /// The name that the manifest gives it.
    #[graphql(owned)]
    name: String,
    /// Its Type.
    #[graphql(owned)]
    type_ref: TypeReference,
}

/// What is done with a TypeInstance.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "manifest::Verb")]
pub(in crate::gateway) enum TypeInstanceOperationVerb {
    /// It is made.
    Create,
    /// It is read.
    Get,
    /// It is read together with others.
    List,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

/// A revision of a Type.
#[Object]
impl<'c> TypeRevision<'c> {
    /// The revision.
    async fn revision(&self) -> Version {
        Version(self.0.reference.revision.clone())
    }

    /// What it says about itself.
    async fn metadata(&self) -> TypeMetadata<'c> {
        let catalog::Type { reference, metadata, attributes, .. } = self.0;
        TypeMetadata { path: &reference.path, metadata, attributes }
    }

    /// What a value must look like.
    async fn spec(&self) -> TypeSpec<'c> {
        TypeSpec(self.0)
    }
}

/// What a value must look like.
#[Object]
impl TypeSpec<'_> {
    /// The paths below which it can be required too.
    async fn additional_refs(&self) -> Option<Vec<NodePath>> {
        Some(self.0.additional_refs.iter().cloned().map(NodePath).collect())
    }

    /// The JSON Schema, as a text.
    async fn json_schema(&self) -> String {
        self.0.schema.to_string()
    }
}

/// A revision of an Attribute.
#[Object]
impl<'c> AttributeRevision<'c> {
    /// The revision.
    async fn revision(&self) -> Version {
        Version(self.0.reference.revision.clone())
    }

    /// Where it belongs.
    async fn spec(&self) -> Option<AttributeSpec> {
        let additional_refs = self.0.additional_refs().map(str::to_owned).map(NodePath).collect();
        Some(AttributeSpec { additional_refs })
    }

    /// What it says about itself.
    async fn metadata(&self) -> GenericMetadata<'c> {
        GenericMetadata::show(&self.0.reference.path, &self.0.metadata)
    }
}

impl<'c> AttributeRevision<'c> {
    /// Finds the Attributes that a manifest carries.
    pub(super) fn named(catalog: &'c Catalog, references: &[ManifestRef]) -> Vec<Self> {
        let find = |reference: &ManifestRef| {
            let mut revisions = catalog.attributes().get(&reference.path)?.values();
            revisions.find(|each| each.reference == *reference).map(Self)
        };
        references.iter().filter_map(find).collect()
    }
}

impl TypeReference {
    pub(super) fn show(reference: &ManifestRef) -> Self {
        let ManifestRef { path, revision } = reference.clone();
        Self { path: NodePath(path), revision: Version(revision) }
    }
}

impl InputTypeInstance {
    pub(super) fn show(given: &manifest::TypeInstance) -> Self {
        let verbs = given.verbs.iter().map(|verb| (*verb).into()).collect();
        Self { name: given.name.clone(), type_ref: TypeReference::show(&given.type_ref), verbs }
    }
}

impl OutputTypeInstance {
    pub(super) fn show(made: &manifest::TypeInstance) -> Self {
        Self { name: made.name.clone(), type_ref: TypeReference::show(&made.type_ref) }
    }
}

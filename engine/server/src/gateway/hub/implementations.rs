//! Implementations.

use async_graphql::{Context, Object, Result, SimpleObject};
use ochre_core::action::ManifestRef;
use ochre_core::{catalog, manifest};

use super::catalog as loaded;
use super::interfaces::InterfaceRevision;
use super::metadata::ImplementationMetadata;
use super::revisions::{looked_up, revisioned};
use super::types::{InputTypeInstance, OutputTypeInstance, TypeReference};
use crate::gateway::scalars::{Any, NodeName, NodePath, NodePrefix, Version, VersionRange};

revisioned!(Implementation, ImplementationRevision, "How an Interface is done.");
looked_up!(Implementation);

/// A revision of an Implementation.
pub(in crate::gateway) struct ImplementationRevision<'c>(pub(super) &'c catalog::Implementation);

/// How an Implementation does what it implements.
pub(in crate::gateway) struct ImplementationSpec<'c>(&'c catalog::Implementation);

/// Names a revision of an Interface.
#[derive(SimpleObject)]
pub(in crate::gateway) struct InterfaceReference {
    /// Its path.
    path: NodePath,
    /// Its revision.
    revision: Version,
}

/// What must be there for an Implementation to be used: TypeInstances of Types below one path.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationRequirement {
    /// The path.
    prefix: NodePrefix,
    /// Exactly one of these.
    one_of: Vec<ImplementationRequirementItem>,
    /// At least one of these.
    any_of: Vec<ImplementationRequirementItem>,
    /// All of these.
    all_of: Vec<ImplementationRequirementItem>,
}

/// A Type of which a TypeInstance is required.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationRequirementItem {
    /// The Type.
    type_ref: TypeReference,
    /// What its value must be.
    value_constraints: Option<Any>,
    /// The name under which the workflow gets it.
    alias: Option<String>,
}

/// Interfaces of one group that a workflow uses.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationImport {
    /// The path of the InterfaceGroup.
    interface_group_path: NodePath,
    /// Its name in the workflow.
    alias: Option<String>,
    /// The versions of the application that will do.
    app_version: Option<VersionRange>,
    /// The Interfaces.
    methods: Vec<ImplementationImportMethod>,
}

/// An Interface that a workflow uses.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationImportMethod {
    /// The last segment of its path.
    name: NodeName,
    /// Its revision; without it, the latest.
    revision: Option<Version>,
}

/// What runs, and what it is given.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationAction {
    /// What runs it.
    runner_interface: String,
    /// What the runner is given: `{workflow}`, the template.
    args: Option<Any>,
}

/// What an Implementation takes beyond its Interfaces.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationAdditionalInput {
    /// The TypeInstances.
    type_instances: Option<Vec<InputTypeInstance>>,
    /// The parameters.
    parameters: Option<Vec<ImplementationAdditionalInputParameter>>,
}

/// A parameter that an Implementation takes beyond its Interfaces.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationAdditionalInputParameter {
    /// Its name.
    name: String,
    /// Its Type.
    type_ref: TypeReference,
}

/// What an Implementation yields beyond its Interfaces.
#[derive(SimpleObject)]
pub(in crate::gateway) struct ImplementationAdditionalOutput {
    /// The TypeInstances.
    type_instances: Vec<OutputTypeInstance>,
}

/// What becomes of a TypeInstance that a workflow yields.
#[derive(SimpleObject)]
pub(in crate::gateway) struct TypeInstanceRelationItem {
    /// The name of the TypeInstance.
    type_instance_name: String,
    /// The names of those that it uses.
    uses: Option<Vec<String>>,
}

/// A revision of an Implementation.
#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl<'c> ImplementationRevision<'c> {
    /// The revision.
    async fn revision(&self) -> Version {
        Version(self.0.reference.revision.clone())
    }

    /// What it says about itself.
    async fn metadata(&self) -> ImplementationMetadata<'c> {
        let catalog::Implementation { reference, metadata, attributes, .. } = self.0;
        ImplementationMetadata { path: &reference.path, metadata, attributes }
    }

    /// How it does what it implements.
    async fn spec(&self) -> ImplementationSpec<'c> {
        ImplementationSpec(self.0)
    }

    /// Lists the revisions of Interfaces that it implements.
    async fn interfaces<'a>(&self, context: &Context<'a>) -> Result<Vec<InterfaceRevision<'a>>> {
        let catalog = loaded(context)?;
        let find = |named: &ManifestRef| catalog.interface(&named.path, Some(&named.revision)).ok();
        Ok(self.0.implements.iter().filter_map(find).map(InterfaceRevision).collect())
    }
}

/// How an Implementation does what it implements.
#[Object]
impl ImplementationSpec<'_> {
    /// The versions of the application that it is for; `*` where it names none.
    async fn app_version(&self) -> VersionRange {
        VersionRange(self.0.app_version.clone().unwrap_or_else(|| "*".to_owned()))
    }

    /// The revisions of Interfaces that it implements.
    async fn implements(&self) -> Vec<InterfaceReference> {
        let named = self.0.implements.iter().cloned();
        named
            .map(|ManifestRef { path, revision }| InterfaceReference {
                path: NodePath(path),
                revision: Version(revision),
            })
            .collect()
    }

    /// What must be there for it to be used.
    async fn requires(&self) -> Vec<ImplementationRequirement> {
        self.0.requires.iter().map(ImplementationRequirement::show).collect()
    }

    /// The Interfaces that its workflow uses.
    async fn imports(&self) -> Option<Vec<ImplementationImport>> {
        Some(self.0.imports.iter().map(ImplementationImport::show).collect())
    }

    /// What runs, and what it is given.
    async fn action(&self) -> ImplementationAction {
        ImplementationAction {
            runner_interface: self.0.runner_interface().to_owned(),
            args: Some(Any(self.0.arguments())),
        }
    }

    /// What it takes beyond its Interfaces; no manifest may name such yet, so it is null.
    async fn additional_input(&self) -> Option<ImplementationAdditionalInput> {
        None
    }

    /// What it yields beyond its Interfaces; no manifest may name such yet, so it is null.
    async fn additional_output(&self) -> Option<ImplementationAdditionalOutput> {
        None
    }

    /// What becomes of the TypeInstances that its workflow yields.
    async fn output_type_instance_relations(&self) -> Vec<TypeInstanceRelationItem> {
        let relations = self.0.relations.iter().cloned();
        relations
            .map(|manifest::Relation { name, uses }| TypeInstanceRelationItem {
                type_instance_name: name,
                uses: Some(uses),
            })
            .collect()
    }
}

impl ImplementationRequirement {
    fn show(requirement: &manifest::Requirement) -> Self {
        let manifest::Requirement { prefix, one_of, any_of, all_of } = requirement;
        let show = |types: &[manifest::RequiredType]| {
            types.iter().map(ImplementationRequirementItem::show).collect::<Vec<_>>()
        };
        Self {
            prefix: NodePrefix(prefix.clone()),
            one_of: show(one_of),
            any_of: show(any_of),
            all_of: show(all_of),
        }
    }
}

impl ImplementationRequirementItem {
    fn show(required: &manifest::RequiredType) -> Self {
        Self {
            type_ref: TypeReference::show(&required.type_ref),
            value_constraints: required.value_constraints.clone().map(Any),
            alias: required.alias.clone(),
        }
    }
}

impl ImplementationImport {
    fn show(import: &manifest::Import) -> Self {
        let method = |each: &manifest::Method| ImplementationImportMethod {
            name: NodeName(each.name.clone()),
            revision: each.revision.as_ref().map(|revision| Version(revision.to_string())),
        };
        Self {
            interface_group_path: NodePath(import.group.clone()),
            alias: import.alias.clone(),
            app_version: import.app_version.clone().map(VersionRange),
            methods: import.methods.iter().map(method).collect(),
        }
    }
}

//! InterfaceGroups and Interfaces.

use async_graphql::{Context, Object, Result, SimpleObject};
use ochre_core::catalog::{self, Parameter, ParameterSource};
use ochre_core::manifest::Metadata;
use serde_json::Value;

use super::catalog as loaded;
use super::implementations::ImplementationRevision;
use super::metadata::GenericMetadata;
use super::paths::{InterfaceFilter, Paths};
use super::revisions::{looked_up, prefix, revisioned};
use super::types::{InputTypeInstance, OutputTypeInstance, TypeReference};
use crate::gateway::scalars::{Any, NodePath, Version};

revisioned!(Interface, InterfaceRevision, "An action, and what it is given.");
looked_up!(Interface);

/// A folder of Interfaces.
pub(in crate::gateway) struct InterfaceGroup<'c> {
    pub(super) path: &'c str,
    pub(super) metadata: &'c Metadata,
}

/// A revision of an Interface.
pub(in crate::gateway) struct InterfaceRevision<'c>(pub(super) &'c catalog::Interface);

/// What an Interface is given, and what it yields.
#[derive(SimpleObject)]
pub(in crate::gateway) struct InterfaceSpec<'c> {
    /// What it is given.
    input: InterfaceInput<'c>,
    /// What it yields.
    output: InterfaceOutput,
}

/// What an Interface is given.
#[derive(SimpleObject)]
pub(in crate::gateway) struct InterfaceInput<'c> {
    /// The parameters.
    parameters: Vec<InputParameter<'c>>,
    /// The TypeInstances.
    type_instances: Vec<Option<InputTypeInstance>>,
}

/// What an Interface yields.
#[derive(SimpleObject)]
pub(in crate::gateway) struct InterfaceOutput {
    /// The TypeInstances.
    type_instances: Vec<Option<OutputTypeInstance>>,
}

/// A parameter of an Interface.
pub(in crate::gateway) struct InputParameter<'c>(&'c Parameter);

/// A folder of Interfaces.
#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl<'c> InterfaceGroup<'c> {
    /// Its path.
    async fn path(&self) -> NodePath {
        NodePath(self.path.to_owned())
    }

    /// What it says about itself.
    async fn metadata(&self) -> GenericMetadata<'c> {
        GenericMetadata::show(self.path, self.metadata)
    }

    /// Lists the Interfaces in it by path.
    async fn interfaces<'a>(
        &self,
        context: &Context<'a>,
        #[graphql(desc = "Which ones.")] filter: Option<InterfaceFilter>,
    ) -> Result<Vec<Interface<'a>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        let all = loaded(context)?.interfaces_by_path();
        Ok(Interface::list(all, |path, _| prefix(path).0 == self.path && paths.fit(path)))
    }
}

/// A revision of an Interface.
#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl<'c> InterfaceRevision<'c> {
    /// The revision.
    async fn revision(&self) -> Version {
        Version(self.0.reference.revision.clone())
    }

    /// What it says about itself.
    async fn metadata(&self) -> GenericMetadata<'c> {
        GenericMetadata::show(&self.0.reference.path, &self.0.metadata)
    }

    /// What it is given, and what it yields.
    async fn spec(&self) -> InterfaceSpec<'c> {
        let catalog::Interface { parameter, input, output, .. } = self.0;
        InterfaceSpec {
            input: InterfaceInput {
                parameters: parameter.iter().map(InputParameter).collect(),
                type_instances: input.iter().map(InputTypeInstance::show).map(Some).collect(),
            },
            output: InterfaceOutput {
                type_instances: output.iter().map(OutputTypeInstance::show).map(Some).collect(),
            },
        }
    }

    /// Lists the revisions of Implementations that do it, by path and then from old to new.
    async fn implementation_revisions<'a>(
        &self,
        context: &Context<'a>,
    ) -> Result<Vec<ImplementationRevision<'a>>> {
        let found = loaded(context)?.implementations();
        let does = |each: &&catalog::Implementation| each.implements.contains(&self.0.reference);
        Ok(found.filter(does).map(ImplementationRevision).collect())
    }
}

/// A parameter of an Interface: either a schema of its own, or that of a Type.
#[Object]
impl InputParameter<'_> {
    /// The name that the Interface gives it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its own JSON Schema, as a text.
    async fn json_schema(&self) -> Option<Any> {
        match &self.0.source {
            ParameterSource::Inline(schema) => Some(Any(Value::String(schema.to_string()))),
            ParameterSource::Type(_) => None,
        }
    }

    /// Its Type.
    async fn type_ref(&self) -> Option<TypeReference> {
        match &self.0.source {
            ParameterSource::Inline(_) => None,
            ParameterSource::Type(reference) => Some(TypeReference::show(reference)),
        }
    }

    /// The JSON Schema that its value must satisfy, with the Types that it names in it: what a form is made from.
    async fn resolved_schema(&self) -> Option<Any> {
        Some(Any(self.0.schema.document().clone()))
    }
}

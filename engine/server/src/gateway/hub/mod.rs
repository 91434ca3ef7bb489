//! The catalog, as Capact's public hub shows it: read only, and the same for everybody.

mod implementations;
mod interfaces;
mod metadata;
mod paths;
mod problems;
mod repositories;
mod revisions;
mod types;

use async_graphql::{Context, Object, Result};
use ochre_core::catalog::Catalog;

use super::Gateway;
use super::scalars::NodePath;
use implementations::Implementation;
use interfaces::{Interface, InterfaceGroup};
use paths::{
    AttributeFilter, ImplementationFilter, InterfaceFilter, InterfaceGroupFilter, Paths, TypeFilter,
};
use problems::CatalogProblem;
use repositories::RepoMetadata;
use types::{Attribute, Type};

pub(super) use metadata::MetadataBaseFields;
pub(super) use types::TypeInstanceFields;

/// Reads of the catalog.
pub(super) struct HubQuery;

#[Object]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl HubQuery {
    /// What the repository of the catalog says about itself.
    async fn repo_metadata<'c>(&self, context: &Context<'c>) -> Result<Option<RepoMetadata<'c>>> {
        Ok(catalog(context)?.repo_metadata().map(|(path, revisions)| RepoMetadata { path, revisions }))
    }

    /// Lists the InterfaceGroups by path.
    async fn interface_groups<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Which ones.", default_with = "Some(InterfaceGroupFilter::default())")]
        filter: Option<InterfaceGroupFilter>,
    ) -> Result<Vec<InterfaceGroup<'c>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        let groups = catalog(context)?.interface_groups().filter(|(path, _)| paths.fit(path));
        Ok(groups.map(|(path, metadata)| InterfaceGroup { path, metadata }).collect())
    }

    /// Finds an InterfaceGroup; null when there is none.
    async fn interface_group<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Its path.")] path: NodePath,
    ) -> Result<Option<InterfaceGroup<'c>>> {
        let found = catalog(context)?.interface_groups().find(|(known, _)| *known == path.0);
        Ok(found.map(|(path, metadata)| InterfaceGroup { path, metadata }))
    }

    /// Lists the Interfaces by path.
    async fn interfaces<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Which ones.", default_with = "Some(InterfaceFilter::default())")] filter: Option<
            InterfaceFilter,
        >,
    ) -> Result<Vec<Interface<'c>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        Ok(Interface::list(catalog(context)?.interfaces_by_path(), |path, _| paths.fit(path)))
    }

    /// Finds an Interface; null when there is none.
    async fn interface<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Its path.")] path: NodePath,
    ) -> Result<Option<Interface<'c>>> {
        Ok(Interface::find(catalog(context)?.interfaces_by_path(), &path.0))
    }

    /// Lists the Types by path; one that can be required below a path that fits is among them.
    async fn types<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Which ones.", default_with = "Some(TypeFilter::default())")] filter: Option<
            TypeFilter,
        >,
    ) -> Result<Vec<Type<'c>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        Ok(Type::list(catalog(context)?.types(), |path, revisions| {
            let mut others = revisions.values().flat_map(|each| &each.additional_refs);
            paths.fit(path) || others.any(|other| paths.fit(other))
        }))
    }

    /// Finds a Type; null when there is none.
    #[graphql(name = "type")]
    async fn type_at<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Its path.")] path: NodePath,
    ) -> Result<Option<Type<'c>>> {
        Ok(Type::find(catalog(context)?.types(), &path.0))
    }

    /// Lists the Implementations by path.
    async fn implementations<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Which ones.", default_with = "Some(ImplementationFilter::default())")]
        filter: Option<ImplementationFilter>,
    ) -> Result<Vec<Implementation<'c>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        Ok(Implementation::list(catalog(context)?.implementations_by_path(), |path, _| paths.fit(path)))
    }

    /// Finds an Implementation; null when there is none.
    async fn implementation<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Its path.")] path: NodePath,
    ) -> Result<Option<Implementation<'c>>> {
        Ok(Implementation::find(catalog(context)?.implementations_by_path(), &path.0))
    }

    /// Lists the Attributes by path.
    async fn attributes<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Which ones.", default_with = "Some(AttributeFilter::default())")] filter: Option<
            AttributeFilter,
        >,
    ) -> Result<Vec<Attribute<'c>>> {
        let paths = Paths::of(filter.and_then(|filter| filter.path_pattern))?;
        Ok(Attribute::list(catalog(context)?.attributes(), |path, _| paths.fit(path)))
    }

    /// Finds an Attribute; null when there is none.
    async fn attribute<'c>(
        &self,
        context: &Context<'c>,
        #[graphql(desc = "Its path.")] path: NodePath,
    ) -> Result<Option<Attribute<'c>>> {
        Ok(Attribute::find(catalog(context)?.attributes(), &path.0))
    }

    /// Lists what is not right with the files of the catalog. A catalog with errors is not served, so they are warnings.
    async fn catalog_problems(&self, context: &Context<'_>) -> Result<Vec<CatalogProblem>> {
        let problems = context.data::<Gateway>()?.content.problems();
        Ok(problems.iter().map(CatalogProblem::show).collect())
    }
}

fn catalog<'c>(context: &Context<'c>) -> Result<&'c Catalog> {
    Ok(context.data::<Gateway>()?.content.catalog())
}

//! What manifests say about themselves.

use async_graphql::{Context, Interface, Object, Result, SimpleObject};
use ochre_core::action::ManifestRef;
use ochre_core::manifest;

use super::catalog;
use super::revisions::{name, prefix};
use super::types::AttributeRevision;
use crate::gateway::scalars::{NodeName, NodePath, NodePrefix};

/// What every manifest says about itself.
#[expect(clippy::duplicated_attributes, reason = "several fields have the same type")]
#[derive(Interface)]
#[graphql(
    field(name = "name", ty = "Option<NodeName>", desc = "The last segment of its path."),
    field(name = "prefix", ty = "Option<NodePrefix>", desc = "Its path without the last segment."),
    field(name = "path", ty = "Option<NodePath>", desc = "Its path."),
    field(name = "display_name", ty = "Option<String>", desc = "Its name for people."),
    field(name = "description", ty = "String", desc = "What it is for."),
    field(name = "maintainers", ty = "Vec<Maintainer>", desc = "Who keeps it."),
    field(
        name = "documentationURL",
        method = "documentation_url",
        ty = "Option<String>",
        desc = "Where to read more."
    ),
    field(name = "supportURL", method = "support_url", ty = "Option<String>", desc = "Where to get help."),
    field(name = "iconURL", method = "icon_url", ty = "Option<String>", desc = "Its picture.")
)]
pub(in crate::gateway) enum MetadataBaseFields<'c> {
    Generic(GenericMetadata<'c>),
    Implementation(ImplementationMetadata<'c>),
    Type(TypeMetadata<'c>),
}

/// Somebody who keeps a manifest.
#[derive(SimpleObject)]
pub(in crate::gateway) struct Maintainer {
    /// The name.
    name: Option<String>,
    /// The address.
    email: String,
    /// The home page.
    url: Option<String>,
}

/// The terms under which an Implementation may be used.
#[derive(SimpleObject)]
pub(in crate::gateway) struct License {
    /// Its name, or where it is.
    name: String,
}

/// Declares what a kind says about itself: what all kinds say, and what it alone does.
macro_rules! metadata {
    ($type:ident, $doc:literal, { $($field:tt)* }, { $($own:tt)* }) => {
        #[doc = $doc]
        pub(in crate::gateway) struct $type<'c> {
            pub(super) path: &'c str,
            pub(super) metadata: &'c manifest::Metadata,
            $($field)*
        }

        #[doc = $doc]
        #[Object]
        impl<'c> $type<'c> {
            /// Its path.
            async fn path(&self) -> NodePath {
                NodePath(self.path.to_owned())
            }

            /// The last segment of its path.
            async fn name(&self) -> NodeName {
                name(self.path)
            }

            /// Its path without the last segment.
            async fn prefix(&self) -> Option<NodePrefix> {
                Some(prefix(self.path))
            }

            /// Its name for people.
            async fn display_name(&self) -> Option<String> {
                self.metadata.display_name.clone()
            }

            /// What it is for.
            async fn description(&self) -> String {
                self.metadata.description.clone()
            }

            /// Who keeps it.
            async fn maintainers(&self) -> Vec<Maintainer> {
                self.metadata.maintainers.iter().map(Maintainer::show).collect()
            }

            /// Where to read more.
            #[graphql(name = "documentationURL")]
            async fn documentation_url(&self) -> Option<String> {
                self.metadata.documentation_url.clone()
            }

            /// Where to get help.
            #[graphql(name = "supportURL")]
            async fn support_url(&self) -> Option<String> {
                self.metadata.support_url.clone()
            }

            /// Its picture.
            #[graphql(name = "iconURL")]
            async fn icon_url(&self) -> Option<String> {
                self.metadata.icon_url.clone()
            }

            $($own)*
        }
    };
}

metadata!(GenericMetadata, "What a manifest says about itself.", {}, {});

metadata!(ImplementationMetadata, "What an Implementation says about itself.", { pub(super) attributes: &'c [ManifestRef], }, {
    /// The terms under which it may be used.
    async fn license(&self) -> License {
        License { name: self.metadata.license.clone().unwrap_or_default() }
    }

    /// The Attributes that it carries.
    #[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
    async fn attributes<'a>(&self, context: &Context<'a>) -> Result<Vec<AttributeRevision<'a>>> {
        Ok(AttributeRevision::named(catalog(context)?, self.attributes))
    }
});

metadata!(TypeMetadata, "What a Type says about itself.", { pub(super) attributes: &'c [ManifestRef], }, {
    /// The Attributes that it carries.
    #[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
    async fn attributes<'a>(&self, context: &Context<'a>) -> Result<Vec<AttributeRevision<'a>>> {
        Ok(AttributeRevision::named(catalog(context)?, self.attributes))
    }
});

impl Maintainer {
    fn show(maintainer: &manifest::Maintainer) -> Self {
        let manifest::Maintainer { email, name, url } = maintainer.clone();
        Self { name, email, url }
    }
}

impl<'c> GenericMetadata<'c> {
    pub(super) const fn show(path: &'c str, metadata: &'c manifest::Metadata) -> Self {
        Self { path, metadata }
    }
}

//! What has a path and revisions.

use crate::gateway::scalars::{NodeName, NodePrefix};

/// Declares a kind of manifest that has revisions; the catalog's type has the same name.
macro_rules! revisioned {
    ($type:ident, $revision:ident, $doc:literal) => {
        #[doc = $doc]
        pub(in crate::gateway) struct $type<'c> {
            pub(super) path: &'c str,
            pub(super) revisions: &'c ochre_core::catalog::Revisions<ochre_core::catalog::$type>,
        }

        #[doc = $doc]
        #[async_graphql::Object]
        impl<'c> $type<'c> {
            /// Its path.
            async fn path(&self) -> $crate::gateway::scalars::NodePath {
                $crate::gateway::scalars::NodePath(self.path.to_owned())
            }

            /// The last segment of its path.
            async fn name(&self) -> $crate::gateway::scalars::NodeName {
                $crate::gateway::hub::revisions::name(self.path)
            }

            /// Its path without the last segment.
            async fn prefix(&self) -> $crate::gateway::scalars::NodePrefix {
                $crate::gateway::hub::revisions::prefix(self.path)
            }

            /// Its highest revision; revisions compare as semver.
            async fn latest_revision(&self) -> Option<$revision<'c>> {
                self.revisions.values().next_back().map($revision)
            }

            /// One revision of it; null when there is none.
            async fn revision(
                &self,
                #[graphql(desc = "The revision.")] revision: $crate::gateway::scalars::Version,
            ) -> Option<$revision<'c>> {
                let found = self.revisions.iter().find(|(known, _)| known.to_string() == revision.0);
                found.map(|(_, found)| $revision(found))
            }

            /// Its revisions, from old to new.
            async fn revisions(&self) -> Vec<$revision<'c>> {
                self.revisions.values().map($revision).collect()
            }
        }
    };
}

/// Declares how a kind with revisions is looked up among all of its kind.
macro_rules! looked_up {
    ($type:ident) => {
        impl<'c> $type<'c> {
            pub(super) fn find(
                all: &'c ochre_core::catalog::ByPath<ochre_core::catalog::$type>,
                path: &str,
            ) -> Option<Self> {
                all.get_key_value(path).map(|(path, revisions)| Self { path, revisions })
            }

            pub(super) fn list(
                all: &'c ochre_core::catalog::ByPath<ochre_core::catalog::$type>,
                is_meant: impl Fn(&str, &ochre_core::catalog::Revisions<ochre_core::catalog::$type>) -> bool,
            ) -> Vec<Self> {
                let meant = all.iter().filter(|(path, revisions)| is_meant(path, revisions));
                meant.map(|(path, revisions)| Self { path, revisions }).collect()
            }
        }
    };
}

pub(super) use {looked_up, revisioned};

/// Takes the last segment of a path.
pub(super) fn name(path: &str) -> NodeName {
    NodeName(path.rsplit_once('.').map_or(path, |(_, name)| name).to_owned())
}

/// Takes a path without its last segment.
pub(super) fn prefix(path: &str) -> NodePrefix {
    NodePrefix(path.rsplit_once('.').map_or("", |(prefix, _)| prefix).to_owned())
}

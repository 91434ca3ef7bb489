//! Repositories of manifests.

use async_graphql::{Enum, Object, SimpleObject};
use ochre_core::catalog;
use ochre_core::manifest::OCF_VERSION;

use super::metadata::GenericMetadata;
use super::revisions::revisioned;
use crate::gateway::scalars::Version;

revisioned!(RepoMetadata, RepoMetadataRevision, "What the repository of the catalog says about itself.");

/// A revision of what a repository says about itself.
pub(in crate::gateway) struct RepoMetadataRevision<'c>(pub(super) &'c catalog::RepoMetadata);

/// How a repository is made.
#[derive(SimpleObject)]
pub(in crate::gateway) struct RepoMetadataSpec {
    /// The version of the hub that it is for; that of this server where it names none.
    hub_version: Version,
    /// The versions of OCF in which its manifests are written.
    ocf_version: RepoOCFVersion,
    /// What holds for its Implementations.
    implementation: RepoImplementationConfig,
}

/// The versions of OCF in which manifests are written.
#[derive(SimpleObject)]
#[graphql(name = "RepoOCFVersion")]
pub(in crate::gateway) struct RepoOCFVersion {
    /// Those that may be used.
    supported: Vec<Version>,
    /// The one that is meant where none is named.
    default: Version,
}

/// What holds for Implementations.
#[derive(SimpleObject)]
pub(in crate::gateway) struct RepoImplementationConfig {
    /// What holds for the versions of applications.
    app_version: RepoImplementationAppVersionConfig,
}

/// What holds for the versions of applications.
#[derive(SimpleObject)]
pub(in crate::gateway) struct RepoImplementationAppVersionConfig {
    /// How tags stand for versions.
    sem_ver_tagging_strategy: SemVerTaggingStrategy,
}

/// How tags stand for versions.
#[derive(SimpleObject)]
pub(in crate::gateway) struct SemVerTaggingStrategy {
    /// How `latest` does.
    latest: LatestSemVerTaggingStrategy,
}

/// How `latest` stands for a version.
#[derive(SimpleObject)]
pub(in crate::gateway) struct LatestSemVerTaggingStrategy {
    /// The tag that it is another name of; STABLE where the repository names none.
    points_to: SemVerTaggingStrategyTags,
}

/// Tags that stand for versions.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(in crate::gateway) enum SemVerTaggingStrategyTags {
    /// The latest that is proven.
    Stable,
    /// The latest of all.
    Edge,
}

/// A revision of what a repository says about itself.
#[Object]
impl<'c> RepoMetadataRevision<'c> {
    /// The revision.
    async fn revision(&self) -> Version {
        Version(self.0.reference.revision.clone())
    }

    /// What it says about itself.
    async fn metadata(&self) -> GenericMetadata<'c> {
        GenericMetadata::show(&self.0.reference.path, &self.0.metadata)
    }

    /// How the repository is made.
    async fn spec(&self) -> RepoMetadataSpec {
        RepoMetadataSpec::show(self.0)
    }
}

impl RepoMetadataSpec {
    fn show(repository: &catalog::RepoMetadata) -> Self {
        let version = |text: &str| Version(text.to_owned());
        let default = version(repository.default_ocf_version().unwrap_or(OCF_VERSION));
        let mut supported: Vec<Version> = repository.supported_ocf_versions().map(version).collect();
        if supported.is_empty() {
            supported.push(default.clone());
        }
        let points_to = match repository.latest_points_to() {
            Some("edge") => SemVerTaggingStrategyTags::Edge,
            Some(_) | None => SemVerTaggingStrategyTags::Stable,
        };
        let latest = LatestSemVerTaggingStrategy { points_to };
        let sem_ver_tagging_strategy = SemVerTaggingStrategy { latest };
        Self {
            hub_version: version(repository.hub_version().unwrap_or(env!("CARGO_PKG_VERSION"))),
            ocf_version: RepoOCFVersion { supported, default },
            implementation: RepoImplementationConfig {
                app_version: RepoImplementationAppVersionConfig { sem_ver_tagging_strategy },
            },
        }
    }
}

//! Which manifests are meant, by their paths.

use async_graphql::InputObject;
use ochre_core::code::Code;
use regex_lite::Regex;

use crate::gateway::error::GatewayError;
use crate::gateway::scalars::{NodePathPattern, compile};

/// Declares a filter by path; in Capact's schema every kind has its own.
macro_rules! path_filter {
    ($type:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Default, InputObject)]
        pub(super) struct $type {
            /// What a whole path must match; without it, all do.
            pub(super) path_pattern: Option<NodePathPattern>,
        }
    };
}

path_filter!(InterfaceGroupFilter, "Which InterfaceGroups to list.");
path_filter!(InterfaceFilter, "Which Interfaces to list.");
path_filter!(TypeFilter, "Which Types to list.");
path_filter!(ImplementationFilter, "Which Implementations to list.");
path_filter!(AttributeFilter, "Which Attributes to list.");

/// Knows which paths are meant.
pub(super) struct Paths(Option<Regex>);

impl Paths {
    pub(super) fn of(pattern: Option<NodePathPattern>) -> Result<Self, GatewayError> {
        let compiled = pattern.map(|pattern| compile(&format!("^(?:{})$", pattern.0))).transpose();
        let wrong = |error| GatewayError::new(Code::BadUserInput, format!("pathPattern: {error}"));
        compiled.map(Self).map_err(wrong)
    }

    pub(super) fn fit(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }
}

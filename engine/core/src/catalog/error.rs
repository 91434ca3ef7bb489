//! What can go wrong when a manifest is looked up.

use crate::code::Code;

/// Says why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No Interface has this path.
    #[error("there is no Interface `{path}` ({hint})")]
    UnknownInterface {
        /// The path.
        path: String,
        /// What was probably meant.
        hint: String,
    },
    /// The Interface has no such revision.
    #[error("Interface `{path}` has no revision {revision} (there are {})", .known.join(", "))]
    UnknownRevision {
        /// The Interface's path.
        path: String,
        /// The revision.
        revision: String,
        /// The revisions that it has, from old to new.
        known: Vec<String>,
    },
    /// Nothing implements the Interface.
    #[error("nothing in the catalog implements `{path}` {revision} (see `ochre catalog lint`)")]
    NotImplemented {
        /// The Interface's path.
        path: String,
        /// The Interface's revision.
        revision: String,
    },
}

impl CatalogError {
    /// Classifies the error.
    pub const fn code(&self) -> Code {
        match self {
            Self::UnknownInterface { .. } | Self::UnknownRevision { .. } | Self::NotImplemented { .. } => {
                Code::NotFound
            }
        }
    }
}

//! What can go wrong between an Action's input and its workflow.

use crate::action::ManifestRef;
use crate::catalog::CatalogError;
use crate::code::Code;
use crate::manifest::Position;
use crate::schema::{InputError, Violation};
use crate::workflow::WorkflowError;

/// Says why a workflow cannot be prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The Interface or an Implementation of it is not in the catalog.
    #[error(transparent)]
    Catalog(CatalogError),
    /// The parameters are not what the Interface asks for.
    #[error(transparent)]
    Input(InputError),
    /// The template and these parameters make no workflow.
    #[error("`{}` {} cannot be rendered: {source}{}", .implementation.path, .implementation.revision, place(.source))]
    Template {
        /// The Implementation whose template it is.
        implementation: ManifestRef,
        /// What went wrong.
        source: TemplateError,
    },
}

/// Says why a template yields no workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A helper could not work with what it was given.
    #[error("{message}")]
    Helper {
        /// The helper and its reason.
        message: String,
    },
    /// The output or the values in it are too large.
    #[error("the workflow takes more than {limit} bytes")]
    TooLarge {
        /// The most bytes that it may take.
        limit: usize,
    },
    /// The loops run too often.
    #[error("the template's loops run more than {limit} times")]
    TooManyIterations {
        /// How often they may run.
        limit: usize,
    },
    /// The output is not YAML.
    #[error("the template yields no valid YAML: {message}, in `{excerpt}`")]
    NotYaml {
        /// What the parser said.
        message: String,
        /// The line of the output.
        excerpt: String,
        /// The nearest expression before it.
        position: Option<Position>,
    },
    /// An expression stands beside other text in one scalar.
    #[error("an expression must be the whole value, and here other text is glued to it")]
    Glued {
        /// Where the expression is.
        position: Position,
    },
    /// An expression stands in a key.
    #[error("an expression cannot be a key")]
    Key {
        /// Where the expression is.
        position: Position,
    },
    /// An expression stands where a parameter could change what the workflow does.
    #[error("an expression cannot stand at {pointer}")]
    Misplaced {
        /// Where in the workflow it stands.
        pointer: String,
        /// Where the expression is.
        position: Position,
    },
    /// The output is YAML, and no workflow.
    #[error("the template yields no valid workflow: {0}")]
    Workflow(WorkflowError),
}

impl PrepareError {
    /// Classifies the error.
    pub const fn code(&self) -> Code {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Input(error) => error.code(),
            Self::Template { source, .. } => source.code(),
        }
    }

    /// Lists what the Interface forbids about the parameters.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Input(error) => error.violations(),
            Self::Catalog(_) | Self::Template { .. } => &[],
        }
    }
}

impl TemplateError {
    /// Classifies the error: limits and helpers speak about parameters, the rest about the catalog.
    pub const fn code(&self) -> Code {
        match self {
            Self::Helper { .. } => Code::BadUserInput,
            Self::TooLarge { .. } | Self::TooManyIterations { .. } => Code::LimitExceeded,
            Self::NotYaml { .. }
            | Self::Glued { .. }
            | Self::Key { .. }
            | Self::Misplaced { .. }
            | Self::Workflow(_) => Code::Internal,
        }
    }

    /// Says where in the Implementation's file it went wrong, if that is known.
    pub const fn position(&self) -> Option<Position> {
        match self {
            Self::NotYaml { position, .. } => *position,
            Self::Glued { position } | Self::Key { position } | Self::Misplaced { position, .. } => {
                Some(*position)
            }
            Self::Helper { .. }
            | Self::TooLarge { .. }
            | Self::TooManyIterations { .. }
            | Self::Workflow(_) => None,
        }
    }

    /// Says what the template's author can do.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Glued { .. } => {
                Some("write {{concat \"…\" name}}; give a script its values as positional arguments")
            }
            Self::Key { .. } => Some("write keys out, or put the whole mapping into a parameter"),
            Self::Misplaced { .. } => Some(
                "parameters may stand in a manifest, in `expect`, `timeout`, `name` and `message`; to decide on one use {{#if}}",
            ),
            Self::Helper { .. }
            | Self::TooLarge { .. }
            | Self::TooManyIterations { .. }
            | Self::NotYaml { .. }
            | Self::Workflow(_) => None,
        }
    }
}

fn place(error: &TemplateError) -> String {
    let position = error.position();
    position.map_or_else(String::new, |Position { line, column }| {
        format!(" (line {line}, column {column} of its file)")
    })
}

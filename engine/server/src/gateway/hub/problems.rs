//! What is not right with the catalog.

use async_graphql::{Enum, SimpleObject};
use ochre_core::manifest::{Problem, Severity};

/// Something that is not right with a file of the catalog.
#[derive(SimpleObject)]
pub(in crate::gateway) struct CatalogProblem {
    /// How bad it is.
    severity: CatalogProblemSeverity,
    /// The file, relative to the folder of the catalog.
    file: String,
    /// The line, counted from one.
    line: usize,
    /// The column, counted from one.
    column: usize,
    /// What is not right.
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Severity")]
pub(in crate::gateway) enum CatalogProblemSeverity {
    /// The manifest cannot be used.
    Error,
    /// The manifest is used, and is probably not what its author meant.
    Warning,
}

impl CatalogProblem {
    pub(super) fn show(problem: &Problem) -> Self {
        let Problem { file, line, column, severity, message, hint } = problem.clone();
        Self { severity: severity.into(), file, line, column, message, hint }
    }
}

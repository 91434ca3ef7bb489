//! What is wrong with a file of the catalog, and where.

use std::cell::RefCell;
use std::fmt;

/// A place in a file, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// Says how bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// The manifest is used, and is probably not what its author meant.
    Warning,
}

/// Something wrong with a file of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the content root.
    pub file: String,
    /// The line, counted from one.
    pub line: usize,
    /// The column, counted from one.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Reporter {
    file: String,
    problems: RefCell<Vec<Problem>>,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, message, hint } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        match hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl Reporter {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: RefCell::default() }
    }

    pub(crate) fn error(&self, at: Position, message: impl Into<String>, hint: Option<String>) {
        self.report(Severity::Error, at, message.into(), hint);
    }

    pub(crate) fn warning(&self, at: Position, message: impl Into<String>, hint: Option<String>) {
        self.report(Severity::Warning, at, message.into(), hint);
    }

    pub(crate) fn has_errors(&self) -> bool {
        let problems = self.problems.borrow();
        problems.iter().any(|p| p.severity == Severity::Error)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    fn report(&self, severity: Severity, at: Position, message: String, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            severity,
            message,
            hint,
        });
    }
}

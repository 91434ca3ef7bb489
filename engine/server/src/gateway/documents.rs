//! Trusted documents: those that are known beforehand, and go by the SHA-256 of their text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use async_graphql::ServerError;
use async_graphql::parser::parse_query;
use ochre_core::code::Code;
use sha2::{Digest as _, Sha256};

use super::answer::error;
use crate::options::Trust;

/// Says why there are no trusted documents.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The file cannot be read.
    #[error("the trusted documents {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("the trusted documents {path} are no JSON object of texts by their SHA-256: {source}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A document goes by the id of another.
    #[error("the trusted documents {path}: {id} is not the SHA-256 of its document, which is {found}")]
    Id {
        /// The file.
        path: PathBuf,
        /// What it is called.
        id: String,
        /// What it should be called.
        found: String,
    },
    /// A document is not GraphQL.
    #[error("the trusted documents {path}: {id} does not parse: {why}")]
    Document {
        /// The file.
        path: PathBuf,
        /// What it is called.
        id: String,
        /// What is wrong.
        why: String,
    },
}

/// The documents that are known, and what becomes of others.
pub(crate) struct Documents {
    trust: Trust,
    known: HashMap<String, String>,
}

impl Documents {
    /// Reads a JSON object of documents by their ids, with or without `sha256:` before them.
    pub(crate) fn open(path: Option<&Path>, trust: Trust) -> Result<Self, DocumentsError> {
        let Some(path) = path else { return Ok(Self { trust, known: HashMap::new() }) };
        let at = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|source| DocumentsError::Read { path: at(), source })?;
        let given: HashMap<String, String> =
            serde_json::from_str(&text).map_err(|source| DocumentsError::Form { path: at(), source })?;
        let mut known = HashMap::new();
        for (id, document) in given {
            let found = digest(&document);
            if bare(&id) != found {
                return Err(DocumentsError::Id { path: at(), id, found });
            }
            if let Err(error) = parse_query(&document) {
                return Err(DocumentsError::Document { path: at(), id, why: error.to_string() });
            }
            known.insert(found, document);
        }
        Ok(Self { trust, known })
    }

    /// Finds the document that a request stands for, by its text, its id, or both.
    pub(super) fn find(&self, text: Option<String>, id: Option<&str>) -> Result<String, ServerError> {
        let id = id.map(bare);
        let Some(text) = text else {
            let known = id.and_then(|id| self.known.get(id));
            // The word that clients know which then send the text.
            let message = "PersistedQueryNotFound: no document is known by this id; send its text";
            return known.cloned().ok_or_else(|| error(Code::NotFound, message, Vec::new()));
        };
        if id.is_none() && self.trust == Trust::Off {
            return Ok(text);
        }
        let found = digest(&text);
        if id.is_some_and(|id| id != found) {
            let message = format!("the id is not the SHA-256 of the document, which is {found}");
            return Err(error(Code::BadUserInput, message, Vec::new()));
        }
        match (self.trust, self.known.contains_key(&found)) {
            (Trust::Enforce, false) => {
                let message = format!(
                    "only documents run that the server knows; have this one added, whose SHA-256 is {found}"
                );
                return Err(error(Code::Forbidden, message, Vec::new()));
            }
            (Trust::Log, false) => {
                tracing::warn!(document.sha256 = found, "runs a document that is not known");
            }
            (Trust::Off, _) | (_, true) => {}
        }
        Ok(text)
    }
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn digest(document: &str) -> String {
    format!("{:x}", Sha256::digest(document))
}

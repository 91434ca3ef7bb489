//! The workflow of a run as its ConfigMap holds it: `edit` in the namespace is enough to replace it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Workflow, WorkflowError};
use crate::action::WorkflowRef;

/// The entry of the ConfigMap that holds the workflow.
pub const WORKFLOW_FILE: &str = "workflow.json";

/// Says why a stored workflow is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredWorkflowError {
    /// The ConfigMap, or its entry, is not there.
    #[error("the ConfigMap {0}, which holds the workflow of this run, is gone")]
    Missing(String),
    /// It holds something else than what was rendered.
    #[error(
        "the ConfigMap {name} does not hold the workflow of this run: its digest is {found}, that of the rendered one {rendered}"
    )]
    Changed {
        /// The ConfigMap.
        name: String,
        /// The digest of what it holds.
        found: String,
        /// The digest that the status has on record.
        rendered: String,
    },
    /// It holds what was rendered, by an engine that knew another form or other limits.
    #[error("the ConfigMap {name} holds a workflow that this engine does not run: {source}")]
    Unreadable {
        /// The ConfigMap.
        name: String,
        /// Why.
        source: WorkflowError,
    },
}

/// Reads the workflow that a ConfigMap holds, if it is the very one that was rendered.
pub fn stored_workflow(
    config_map: Option<&Value>,
    reference: &WorkflowRef,
) -> Result<Workflow, StoredWorkflowError> {
    let name = || reference.name.clone();
    let text = config_map.and_then(|map| map["data"][WORKFLOW_FILE].as_str());
    let text = text.ok_or_else(|| StoredWorkflowError::Missing(name()))?;
    let found = text_digest(text);
    if found != reference.digest {
        let rendered = reference.digest.clone();
        return Err(StoredWorkflowError::Changed { name: name(), found, rendered });
    }
    Workflow::read(text).map_err(|source| StoredWorkflowError::Unreadable { name: name(), source })
}

/// Identifies a workflow by the text of its compact JSON.
pub fn text_digest(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

//! What must be done.

use serde_json::Value;

use super::ObjectKey;

/// Something that must be done. Doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Writes the Action's uid into its mark.
    Mark,
    /// Puts the finalizer on the Action, so that a delete cancels first.
    Hold,
    /// Takes the finalizer off.
    Release,
    /// Creates an object; one that is there already is looked at instead.
    Create {
        /// Its key.
        key: ObjectKey,
        /// The whole object.
        manifest: Value,
    },
    /// Deletes an object, if it still has this uid.
    Delete {
        /// Its key.
        key: ObjectKey,
        /// Its uid.
        uid: String,
    },
}

/// Says why the cluster did not take an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether the same object would be refused again.
    pub permanent: bool,
    /// The cluster's own words.
    pub message: String,
}

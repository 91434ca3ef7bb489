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

impl Effect {
    /// Tells whether it changes more than the Action itself.
    pub const fn is_on_others(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Delete { .. })
    }
}

/// Says why the cluster did not take an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody lacks a right; says who and which.
    Forbidden(String),
    /// The same object would be refused again; in the cluster's own words.
    Permanent(String),
    /// The next time it may be taken; in the cluster's own words.
    Passing(String),
}

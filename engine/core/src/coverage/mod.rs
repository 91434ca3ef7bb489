//! What a Velero Backup really holds of the data in volumes: volume by volume, saved or not and why.
//!
//! [`coverage`] judges by what the bucket says alone, so it can judge any Backup, whoever made it; [`judge`]
//! says what the Backup is worth as a whole.

mod backup;
mod evidence;
mod judge;
mod reason;
#[cfg(test)]
mod tests;

use crate::velero::Copied;

pub use backup::{Files, Judged, files_of, judge};
pub use evidence::Evidence;
pub use judge::coverage;
pub use reason::Reason;

/// What became of the data of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The namespace of its claim or pod.
    pub namespace: String,
    /// What it is.
    pub subject: Subject,
    /// Whether its data is in the Backup.
    pub state: State,
}

/// What a volume is known as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The volume of this claim.
    Claim(String),
    /// A volume without a claim: what mounts it, as kind and name, and its name there.
    Mounted(String, String, String),
}

/// Whether the data of a volume is in a Backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Saved(Copied),
    /// It is not, and should be.
    Gap(Gap),
    /// It is not, and its owner says that this is right.
    Accepted(Gap),
    /// There is none: the claim has no volume yet.
    Unbound,
}

/// Why data is not in a Backup, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
    /// What to do about it.
    pub cure: &'static str,
}

impl Covered {
    /// Returns the gap that counts, if it is one.
    pub fn gap(&self) -> Option<&Gap> {
        match &self.state {
            State::Gap(gap) => Some(gap),
            State::Saved(_) | State::Accepted(_) | State::Unbound => None,
        }
    }
}

impl std::fmt::Display for Covered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, subject, .. } = self;
        match subject {
            Subject::Claim(name) => write!(f, "PersistentVolumeClaim {namespace}/{name}"),
            Subject::Mounted(kind, name, volume) => write!(f, "volume {volume} of {kind} {namespace}/{name}"),
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.message, self.cure)
    }
}

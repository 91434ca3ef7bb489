//! The same script of calls, backups and restores runs on the sandbox and on a real cluster, and both say the same.
//!
//! The snapshots were recorded on a real cluster. What differs is a bug of the sandbox, or is normalised in
//! `script` with its reason, and listed in ARCHITECTURE.md.

mod deletes;
mod discovery;
mod files;
mod patches;
mod reads;
mod script;
mod tables;
mod velero;
mod watches;
mod writes;

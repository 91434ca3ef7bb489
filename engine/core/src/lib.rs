//! What ochre knows, without a runtime, a client, a clock or a file system.
//!
//! The modules stand in the order in which data flows: an Action is created, its manifest found in
//! the catalog, its input checked, its template rendered into a workflow, and the workflow decided
//! upon, again and again, from what the cluster shows.

pub mod action;
pub mod code;
pub mod condition;
pub mod decide;
pub mod expression;
pub mod health;
pub mod phase;
pub mod selector;
pub mod velero;
pub mod workflow;

//! What ochre knows, without a runtime, a client, a clock or a file system.
//!
//! The modules stand in the order in which data flows: an Action is created, its manifest found in
//! the catalog, its input checked, its template rendered into a workflow, and the workflow decided
//! upon, again and again, from what the cluster shows.

pub mod code;
pub mod action;
pub mod phase;
pub mod yaml;
pub mod shallow;
pub mod manifest;
pub mod catalog;
pub mod schema;
pub mod selector;
pub mod policy;
pub mod render;
pub mod workflow;
pub mod expression;
pub mod velero;
pub mod access;
pub mod coverage;
pub mod readiness;
pub mod health;
pub mod condition;
pub mod decide;
pub mod doctor;
#[cfg(test)]
mod fixtures;
mod hint;

//! A world to run behaviour suites in: a cluster with a Velero, and an engine on it.
//!
//! Suites see it through GraphQL and the Kubernetes API only, so that the same bodies run on any
//! cluster; now it is the sandbox.

mod fuse;
mod graphql;
mod world;

pub use fuse::{Fuse, Side};
pub use graphql::Answer;
pub use world::{Engine, World};

//! A world to run behaviour suites in: a cluster with a Velero, and an engine on it.
//!
//! Suites see it through GraphQL and the Kubernetes API only, so that the same bodies run on the sandbox
//! and on a real cluster (`hack/cluster`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "it is a part of tests, which fail by panicking"
)]

mod accounts;
mod admission;
mod engine;
mod events;
mod fuse;
mod graphql;
mod hands;
mod issuer;
mod objects;
mod operations;
mod people;
mod process;
mod real;
mod rights;
mod shop;
mod socket;
mod world;

pub use accounts::{KEEPING, keeping, lent};
pub use engine::Engine;
pub use events::{Event, Events};
pub use fuse::{Fuse, Side};
pub use graphql::Answer;
pub use issuer::{Issuer, Signing, unsigned};
pub use objects::{normalized, refused, uncounted, words};
pub use people::{Person, edit, shipped};
pub use process::{Process, ochre};
pub use rights::{BASE, Rule, files, rules};
pub use shop::{SHOP, is_ready};
pub use socket::{Said, Socket};
pub use world::World;

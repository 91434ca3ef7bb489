//! The engine: the IO shell around `ochre-core`.
//!
//! The modules stand in the order in which data flows: a request comes in at the gateway and is
//! written to the store; the controller sees it, has the runner observe and act, and writes the status.

mod acting;
pub mod audit;
mod changes;
pub mod content;
mod controller;
pub mod doctor;
mod download;
mod folder;
mod gateway;
mod guarded;
mod identity;
mod index;
mod kept;
mod kinds;
mod leader;
mod listen;
mod metrics;
mod objects;
pub mod options;
mod places;
mod policies;
mod rate;
mod readiness;
mod runner;
mod serve;
mod store;
mod tls;
mod unpack;
mod watches;

#[cfg(fuzzing)]
pub use gateway::fuzzing;
pub use gateway::{DocumentsError, sdl};
pub use identity::{Authentication, SetupError};
pub use leader::{Election, Times};
pub use readiness::Readiness;
pub use serve::{ServeError, Serving, install_tls, serve};
pub use tls::TlsError;

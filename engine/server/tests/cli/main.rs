//! The binary, as scripts and people use it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may panic like the test")]

mod commands;
mod policies;
mod program;
mod sandbox;
mod serve;

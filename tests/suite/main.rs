//! The behaviour suites, as one test binary.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking, and read better with `json!` as an argument"
)]

mod access;
mod accounts;
mod admission;
mod answers;
mod audited;
mod buffers;
mod connections;
mod copies;
mod coverage;
mod crash;
mod doctor;
mod documents;
mod endings;
mod fairness;
mod faults;
mod gateway;
mod heads;
mod hostile;
mod http;
mod hub;
mod idempotency;
mod kept;
mod leader;
mod limits;
mod lists;
mod locations;
mod main_job;
mod manifests;
mod matrix;
mod oidc;
mod passwords;
mod page;
mod readiness;
mod refusals;
mod refused_runs;
mod restore_endings;
mod restored_actions;
mod restores;
mod run_binding;
mod same;
mod schema;
mod shell;
mod sockets;
mod subscriptions;
mod syntax;
mod tenants;
mod unreadable;
mod unseen;

/// A suite that nobody declares would be tested by nobody.
#[test]
fn every_suite_is_declared() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/suite");
    let declared = include_str!("main.rs");
    let suites = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for suite in suites.filter(|path| path.extension().is_some_and(|kind| kind == "rs")) {
        let name = suite.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "main" {
            continue;
        }
        assert!(declared.contains(&format!("\nmod {name};\n")), "{name} is not declared in main.rs");
    }
}

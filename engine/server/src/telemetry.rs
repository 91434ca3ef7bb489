//! Log lines: on standard error, for people on a terminal and as JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// It would log the parameters of Actions.
const QUIET: &str = "handlebars=off";

/// Begins to log; `filter` has the form of `RUST_LOG`.
pub(crate) fn init(filter: &str) {
    let filter = EnvFilter::try_new(format!("{filter},{QUIET}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{QUIET}")));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        lines.compact().init();
    } else {
        lines.json().init();
    }
}

//! What only a real cluster can show, as one test binary: `hack/test` leads into one.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking, and read better with `json!` as an argument"
)]

mod accounts;
mod failures;
mod formats;
mod hooks;
mod image;
mod kills;
mod many;
mod rights;
mod volumes;

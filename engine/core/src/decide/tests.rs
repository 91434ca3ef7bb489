//! Every run here is driven as the shell drives it: observe, decide, act, write the status.

#![expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]

mod access;
mod accounts;
mod along;
mod backup;
mod kinds;
mod laws;
mod lifecycle;
mod ready;
mod restore;
mod series;
mod steps;
mod world;
mod writes;

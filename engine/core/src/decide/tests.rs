//! Every run here is driven as the shell drives it: observe, decide, act, write the status.

mod backup;
mod laws;
mod lifecycle;
mod restore;
mod steps;
mod world;

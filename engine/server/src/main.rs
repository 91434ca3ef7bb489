//! The command line of ochre.
fn main() {}

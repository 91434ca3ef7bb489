//! The behaviour suites, as one test binary.

mod crash;

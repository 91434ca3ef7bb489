//! The behaviour suites.

//! A world to run behaviour suites in.

//! The engine: the IO shell around `ochre-core`.

//! What fuzzers lead (`hack/fuzz`): whatever comes in, nothing panics, and nothing takes long.

use std::sync::LazyLock;

use futures::executor::block_on;
use serde_json::json;

use super::documents::Documents;
use super::request::Parameters;
pub use super::socket::fuzzing::socket;
use super::{EngineSchema, builder};
use crate::options::{Limits, Trust};

/// The schema without what its fields work with: what is right fails in its field, what is wrong before.
static SCHEMA: LazyLock<EngineSchema> =
    LazyLock::new(|| builder().limit_recursive_depth(usize::MAX).finish());

/// Reads bytes as the body of a request, as the query of a URL, and as a document, and runs what comes of it.
pub fn request(bytes: &[u8]) {
    if let Ok(parameters) = Parameters::from_body(bytes, &Limits::default()) {
        run(parameters);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(parameters) = Parameters::from_url(Some(text)) {
        run(parameters);
    }
    if let Ok(parameters) = Parameters::from_json(json!({"query": text})) {
        run(parameters);
    }
}

/// Runs what was read.
pub(super) fn run(parameters: Parameters) {
    let Ok(documents) = Documents::open(None, Trust::Off) else { return };
    if let Ok(prepared) = parameters.prepare(&Limits::default(), &documents) {
        let _ = block_on(SCHEMA.execute(prepared.request));
    }
}

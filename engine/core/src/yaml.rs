//! YAML within bounds: a small text of aliases of aliases must not stand for a large document.

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Options};

/// The most bytes that a YAML document may take.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// The most nodes of a document, and the most that its aliases may repeat.
const MAX_NODES: usize = 100_000;
const MAX_REPEATED: usize = 10_000;

/// Reads one document of at most [`MAX_DOCUMENT`] bytes.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    if text.len() > MAX_DOCUMENT {
        return Err(serde::de::Error::custom(format!("the document takes more than {MAX_DOCUMENT} bytes")));
    }
    serde_saphyr::from_str_with_options(text, options())
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 3 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_recorded_anchor_events: MAX_REPEATED,
            max_recorded_anchor_bytes: MAX_DOCUMENT,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::Value;

    use super::{MAX_DOCUMENT, from_str};

    fn check_refused(text: &str, expected: &str) {
        let error = from_str::<Value>(text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_document_that_stands_for_more_than_it_says_is_refused() {
        // Each line names the one before ten times.
        let bomb = |line: &dyn Fn(usize) -> String| {
            (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |mut text, level| {
                let _ = writeln!(text, "a{level}: &a{level} {}", line(level - 1));
                text
            })
        };
        check_refused(
            &bomb(&|before| format!("[{}]", vec![format!("*a{before}"); 10].join(", "))),
            "budget breached",
        );
        let entries =
            |before: usize| (0..10).map(|key| format!("k{key}: *a{before}")).collect::<Vec<_>>().join(", ");
        check_refused(&bomb(&|before| format!("{{{}}}", entries(before))), "budget breached");
        let merged = (1..2000).fold("a0: &a0 {x: 1}\n".to_owned(), |mut text, level| {
            let _ = writeln!(text, "a{level}: &a{level} {{<<: *a{}, k{level}: 1}}", level - 1);
            text
        });
        check_refused(&merged, "budget breached");
        // An anchor around anchors keeps copies of what they hold.
        let nested = format!(
            "{}x{}",
            (0..60).map(|level| format!("&b{level} [")).collect::<Vec<_>>().concat(),
            "]".repeat(60)
        );
        let many = vec![nested; 200].join(",\n  ");
        check_refused(&format!("[{many}]"), "budget breached");
    }

    #[test]
    fn a_document_that_is_large_or_deep_is_refused() {
        check_refused(&format!("a: {}", "x".repeat(MAX_DOCUMENT)), "more than 1048576 bytes");
        check_refused(&"[".repeat(100_000), "recursion limit");
        check_refused(&"- ".repeat(100_000), "budget breached");
        check_refused(&"- x\n".repeat(200_000), "budget breached");
    }

    #[test]
    fn an_alias_may_stand_for_what_is_said_once() {
        let value: Value = from_str("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n").unwrap();
        assert_eq!(value["b"]["x"], 1);
        assert_eq!(value["c"]["x"], 1);
    }
}

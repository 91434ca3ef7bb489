//! A look at a text before anything parses it, so that no parser meets more than it can bear.

use super::measure::Exceeded;
use crate::options::Limits;

/// Sees that a document is not too long, has not too many tokens and definitions and none too long a name, and that
/// its brackets do not nest too deep.
///
/// What is no GraphQL counts as something, and is left to the parser.
pub(super) fn check(text: &str, limits: &Limits) -> Result<(), Exceeded> {
    let bytes = text.as_bytes();
    Exceeded::check("text", bytes.len(), limits.text)?;
    let (mut at, mut tokens, mut definitions, mut name, mut open, mut nesting) = (0, 0, 0, 0, 0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += rest.iter().take_while(|byte| !matches!(byte, b'\r' | b'\n')).count();
                continue;
            }
            b'{' | b'[' | b'(' => {
                definitions += usize::from(open == 0 && byte == b'{');
                open += 1;
                nesting = nesting.max(open);
                1
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                1
            }
            b'.' if rest.starts_with(b"...") => 3,
            b'"' if rest.starts_with(b"\"\"\"") => block_string(rest),
            b'"' => string(rest),
            _ if is_word(byte) => {
                let is_number = matches!(byte, b'-' | b'0'..=b'9');
                let word = rest.iter().take_while(|byte| is_word(**byte) || (is_number && **byte == b'.'));
                let length = word.count();
                name = name.max(length);
                length
            }
            _ => 1,
        };
        tokens += 1;
        at += length;
    }
    Exceeded::check("tokens", tokens, limits.tokens)?;
    Exceeded::check("definitions", definitions, limits.definitions)?;
    Exceeded::check("name", name, limits.name)?;
    Exceeded::check("nesting", nesting, limits.nesting)
}

/// What names and numbers are made of, and whatever is beyond ASCII.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | 0x80..)
}

/// Measures a string, which ends with its line at the latest.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') if !matches!(bytes.get(at + 1), Some(b'\r' | b'\n') | None) => at += 2,
            Some(b'"') => return at + 1,
            Some(b'\r' | b'\n') | None => return at,
            Some(_) => at += 1,
        }
    }
}

/// Sees that JSON has no text that is too long, and not too many values: each takes many times the memory of its text.
///
/// What is no JSON counts as something, and is left to the parser.
pub(super) fn values(json: &[u8], limits: &Limits) -> Result<(), Exceeded> {
    let (mut at, mut text, mut values) = (0, 0, 1);
    while let Some(&byte) = json.get(at) {
        match byte {
            // Strings have no line ends, and nothing is gained by one that is no string.
            b'"' => {
                let length = string(&json[at..]);
                text = text.max(length.saturating_sub(2));
                at += length;
            }
            b',' | b'[' | b'{' => {
                values += 1;
                at += 1;
            }
            _ => at += 1,
        }
    }
    Exceeded::check("text", text, limits.text)?;
    Exceeded::check("values", values, limits.values)
}

/// Measures a block string, which ends with the document at the latest.
fn block_string(bytes: &[u8]) -> usize {
    let mut at = 3;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\"\"\"") {
            return at + 3;
        }
        at += if bytes[at..].starts_with(b"\\\"\"\"") { 4 } else { 1 };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    //! What is counted.

    use super::{check, values};
    use crate::options::Limits;

    /// Counts something by what is refused.
    fn found(text: &str, limits: &Limits) -> usize {
        check(text, limits).err().map_or(0, |exceeded| exceeded.found)
    }

    /// Sees that so much is counted in each text, of what is limited to nothing.
    fn counts(limits: &Limits, texts: &[(&str, usize)]) {
        for (text, count) in texts {
            assert_eq!(found(text, limits), *count, "{text}");
        }
    }

    /// Counts tokens and nesting.
    fn counted(text: &str) -> (usize, usize) {
        let tokens = Limits { tokens: 0, ..Limits::default() };
        let nesting = Limits { nesting: 0, ..Limits::default() };
        (found(text, &tokens), found(text, &nesting))
    }

    #[test]
    fn names_and_numbers_are_measured_and_texts_are_not() {
        let limits = Limits { name: 0, ..Limits::default() };
        let texts = [
            ("{ a bcd ef }", 3),
            ("{ a(b: -1.25e+10) }", 9),
            ("\"a b\" # abc", 0),
            ("\"\"\"abc\"\"\" a", 1),
            ("...abc", 3),
        ];
        counts(&limits, &texts);
        let limits = Limits { text: 3, ..Limits::default() };
        assert_eq!((found("{a}", &limits), found("{a} ", &limits)), (0, 4));
    }

    #[test]
    fn tokens_and_brackets_are_counted_as_graphql_has_them() {
        for (text, tokens, nesting) in [
            ("", 0, 0),
            (" ,\t\r\n", 0, 0),
            ("# { { {\n# \"", 0, 0),
            ("{ a }", 3, 1),
            ("{a,b}", 4, 1),
            ("query A($a: [Int!]! = [1, -2.5e+3]) @b { a(b: {c: [$a]}) ...D }", 36, 4),
            ("\"{[(\"", 1, 0),
            ("\"\\\"{\" {", 2, 1),
            ("\"ends with its line {\n{", 2, 1),
            ("\"\"\"{ \"{\" \\\"\"\" {\n{\"\"\" {", 2, 1),
            ("\"\"\"never ends {", 1, 0),
            ("\"", 1, 0),
            ("\"\\", 1, 0),
            ("}}}{", 4, 1),
            ("{([)]}", 6, 3),
            ("\u{1f3c3} { ?", 3, 1),
            ("..", 2, 0),
        ] {
            assert_eq!(counted(text), (tokens, nesting), "{text}");
        }
    }

    #[test]
    fn operations_and_fragments_are_definitions_and_nothing_within_them_is() {
        let limits = Limits { definitions: 0, ..Limits::default() };
        let texts = [
            ("", 0),
            ("{ a { b } }", 1),
            ("query A($v: I = {a: {}}) @d(a: {}) { a(b: {}) } fragment F on A { b }", 2),
            ("# {\n\"{\" {", 1),
        ];
        counts(&limits, &texts);
    }

    #[test]
    fn no_json_has_more_values_than_are_counted() {
        for (json, counted) in [
            ("", 1),
            ("1", 1),
            ("[]", 2),
            ("[1, 2]", 3),
            ("{\"a,b\": [{}, \"[,\\\",{\"], \"c\": null}", 6),
            ("\"never ends, [", 1),
            ("[[[,,", 6),
        ] {
            let limits = Limits { values: 0, ..Limits::default() };
            assert_eq!(values(json.as_bytes(), &limits).unwrap_err().found, counted, "{json}");
        }
        let limits = Limits { text: 3, ..Limits::default() };
        assert_eq!(values(b"{\"a\": [\"abc\"]}", &limits), Ok(()));
        assert_eq!(values(b"{\"a\": [\"abcd\"]}", &limits).unwrap_err().name, "text");
    }
}

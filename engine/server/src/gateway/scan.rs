//! A look at a document's text before anything parses it, so that no parser meets more than it can bear.

use super::measure::Exceeded;
use crate::options::Limits;

/// Sees that a document has not too many tokens, and that its brackets do not nest too deep.
///
/// What is no GraphQL counts as something, and is left to the parser.
pub(super) fn check(text: &str, limits: &Limits) -> Result<(), Exceeded> {
    let bytes = text.as_bytes();
    let (mut at, mut tokens, mut open, mut nesting) = (0, 0, 0_usize, 0);
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
            b'-' | b'0'..=b'9' => rest.iter().take_while(|byte| is_word(**byte) || **byte == b'.').count(),
            _ if is_word(byte) => rest.iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        tokens += 1;
        at += length;
    }
    Exceeded::check("tokens", tokens, limits.tokens)?;
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

    use super::check;
    use crate::options::Limits;

    /// Counts tokens and nesting by what is refused.
    fn counted(text: &str) -> (usize, usize) {
        let found = |limits: &Limits| check(text, limits).err().map_or(0, |exceeded| exceeded.found);
        let tokens = Limits { tokens: 0, ..Limits::default() };
        let nesting = Limits { nesting: 0, ..Limits::default() };
        (found(&tokens), found(&nesting))
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
}

//! The text form of a label selector.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Says why a text is not a label selector, and where it stops being one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct SelectorError {
    /// The byte at which the wrong part begins, counted from zero.
    pub position: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Parses a label selector; the result is sorted, so that equal selectors are equal.
pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
    if text.trim().is_empty() {
        return fail(0, "the selector is empty; leave it out to select everything");
    }
    let mut parser = Parser { text, position: 0 };
    let mut selector = Collected::default();
    loop {
        parser.requirement(&mut selector)?;
        parser.skip_space();
        match parser.peek() {
            None => return Ok(selector.into_selector()),
            Some(',') => parser.position += 1,
            Some(other) => {
                return fail(parser.position, format!("expected `,` or the end, found `{other}`"));
            }
        }
    }
}

/// Says why a text is not a label key, if it is not.
pub fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && !is_dns_subdomain(prefix)
    {
        return Err(format!("`{prefix}` is not a DNS name, as the prefix of a label key must be"));
    }
    if name.is_empty() || !is_qualified(name) {
        return Err(format!(
            "`{name}` is not the name of a label: at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
        ));
    }
    Ok(())
}

/// Says why a text is not a label value, if it is not.
pub fn check_value(value: &str) -> Result<(), String> {
    if is_qualified(value) {
        return Ok(());
    }
    Err(format!(
        "`{value}` is not the value of a label: at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
    ))
}

/// Tells whether a text is a DNS-1123 label.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Tells whether a text is a DNS-1123 subdomain.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// An empty text qualifies: it is a label's value often enough.
fn is_qualified(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63
            && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
            && text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
}

fn fail<T>(position: usize, reason: impl Into<String>) -> Result<T, SelectorError> {
    let reason = reason.into();
    Err(SelectorError { position, reason })
}

/// The requirements read so far, without duplicates.
#[derive(Default)]
struct Collected {
    labels: BTreeMap<String, String>,
    expressions: BTreeSet<(String, &'static str, Vec<String>)>,
}

impl Collected {
    fn equal(&mut self, key: &str, value: &str) {
        // A key can stand in matchLabels once; `a=b,a=c` is legal and matches nothing.
        let first = self.labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        if first != value {
            self.demand(key, "In", [value.to_owned()].into());
        }
    }

    fn demand(&mut self, key: &str, operator: &'static str, values: BTreeSet<String>) {
        let values = values.into_iter().collect();
        self.expressions.insert((key.to_owned(), operator, values));
    }

    fn into_selector(self) -> LabelSelector {
        let expressions = self.expressions.into_iter();
        let expressions: Vec<_> = expressions
            .map(|(key, operator, values)| LabelSelectorRequirement {
                key,
                operator: operator.to_owned(),
                values: (!values.is_empty()).then_some(values),
            })
            .collect();
        LabelSelector {
            match_labels: (!self.labels.is_empty()).then_some(self.labels),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self, selector: &mut Collected) -> Result<(), SelectorError> {
        self.skip_space();
        if self.peek() == Some('!') {
            self.position += 1;
            let key = self.key()?;
            selector.demand(key, "DoesNotExist", BTreeSet::new());
            return Ok(());
        }
        let key = self.key()?;
        self.skip_space();
        let start = self.position;
        match self.peek() {
            None | Some(',') => selector.demand(key, "Exists", BTreeSet::new()),
            Some('=') => {
                self.position += if self.rest().starts_with("==") { 2 } else { 1 };
                let value = self.value()?;
                selector.equal(key, value);
            }
            Some('!') if self.rest().starts_with("!=") => {
                self.position += 2;
                let value = self.value()?;
                selector.demand(key, "NotIn", [value.to_owned()].into());
            }
            Some('<' | '>') => {
                return fail(start, "`<` and `>` cannot select Kubernetes objects by label");
            }
            Some(_) => {
                let operator = match self.word() {
                    "in" => "In",
                    "notin" => "NotIn",
                    "" => return fail(start, "expected `=`, `==`, `!=`, `in`, `notin` or `,`"),
                    word => {
                        let reason = format!(
                            "`{word}` is not an operator; there are `=`, `==`, `!=`, `in` and `notin`"
                        );
                        return fail(start, reason);
                    }
                };
                let values = self.values()?;
                selector.demand(key, operator, values);
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Result<&'a str, SelectorError> {
        self.skip_space();
        let start = self.position;
        let key = self.word();
        if key.is_empty() {
            return fail(start, "expected a label key");
        }
        check_key(key).or_else(|reason| fail(start, reason))?;
        Ok(key)
    }

    /// Reads a value, which may be empty.
    fn value(&mut self) -> Result<&'a str, SelectorError> {
        self.skip_space();
        let start = self.position;
        let value = self.word();
        check_value(value).or_else(|reason| fail(start, reason))?;
        Ok(value)
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.skip_space();
        let start = self.position;
        if self.peek() != Some('(') {
            return fail(start, "expected `(` and a list of values");
        }
        self.position += 1;
        self.skip_space();
        if self.peek() == Some(')') {
            return fail(start, "the list of values is empty");
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?.to_owned());
            self.skip_space();
            match self.peek() {
                Some(',') => self.position += 1,
                Some(')') => {
                    self.position += 1;
                    return Ok(values);
                }
                Some(other) => {
                    return fail(self.position, format!("expected `,` or `)`, found `{other}`"));
                }
                None => return fail(start, "the list of values is never closed"),
            }
        }
    }

    /// Reads up to the next space or sign.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let sign = |c: char| c.is_whitespace() || matches!(c, ',' | '=' | '!' | '(' | ')' | '<' | '>');
        let word = &rest[..rest.find(sign).unwrap_or(rest.len())];
        self.position += word.len();
        word
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }
}

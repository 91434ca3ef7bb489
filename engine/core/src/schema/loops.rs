//! Finds references by which a schema asks for itself at the same place of a value, or for too much: no validator would
//! end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::SchemaProblem;

/// Keywords whose schemas hold for the same place of a value.
pub(super) const IN_PLACE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
/// References, of all dialects.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The most schemas that one may be, with its references put in their places, and how deep in each other.
const MOST: u64 = 20_000;
const DEEPEST: usize = 500;

/// Refuses loops, references that could hide one, and those that unfold to too much.
pub(super) fn check(document: &Value) -> Result<(), Vec<SchemaProblem>> {
    let mut walk = Walk { document, done: BTreeSet::new(), problems: Vec::new() };
    walk.visit(document, "");
    if walk.problems.is_empty() {
        walk.weigh();
    }
    if walk.problems.is_empty() { Ok(()) } else { Err(walk.problems) }
}

struct Walk<'a> {
    document: &'a Value,
    /// The places from which no loop goes on.
    done: BTreeSet<String>,
    problems: Vec<SchemaProblem>,
}

impl Walk<'_> {
    /// Looks at every value of the document as if it were a schema.
    fn visit(&mut self, value: &Value, at: &str) {
        if value.is_object() {
            self.follow(at);
        }
        if !at.is_empty() && value.get("$id").is_some_and(Value::is_string) {
            self.report(at, "$id is only for the whole schema".to_owned());
        }
        each(value, at, &mut |child, at| self.visit(child, at));
    }

    /// Goes wherever a place leads without going on in the value, as far as there is no end.
    fn follow(&mut self, start: &str) {
        let mut open = vec![(start.to_owned(), false)];
        let mut on_the_way = BTreeSet::new();
        while let Some((at, is_left)) = open.pop() {
            if is_left {
                on_the_way.remove(&at);
                self.done.insert(at);
                continue;
            }
            if self.done.contains(&at) {
                continue;
            }
            if !on_the_way.insert(at.clone()) {
                self.report(&at, "the schema refers to itself without going on in the value".to_owned());
                self.done.insert(at);
                continue;
            }
            open.push((at.clone(), true));
            open.extend(self.leads_to(&at).into_iter().map(|next| (next, false)));
        }
    }

    /// Counts what a validator makes of the whole, bottom up. A reference back to what is being counted is followed only
    /// as far as a value goes, and counts one.
    fn weigh(&mut self) {
        let mut weights: BTreeMap<String, (u64, usize)> = BTreeMap::new();
        let mut begun = BTreeSet::new();
        let mut open = vec![(String::new(), None::<Vec<String>>)];
        while let Some((at, parts)) = open.pop() {
            if let Some(parts) = parts {
                let parts = parts.iter().map(|part| weights.get(part).copied().unwrap_or((1, 1)));
                let (weight, depth) = parts.fold((1, 0), |(sum, deepest), (weight, depth)| {
                    (weight.saturating_add(sum), depth.max(deepest))
                });
                if weight > MOST || depth >= DEEPEST {
                    let message = format!(
                        "the schema unfolds to more than {MOST} schemas, or {DEEPEST} in each other; refer to less, or \
                         not twice to the same"
                    );
                    return self.report(&at, message);
                }
                weights.insert(at, (weight, depth + 1));
            } else if begun.insert(at.clone()) {
                let mut parts = self.refers_to(&at);
                if let Some(value) = self.document.pointer(&at) {
                    each(value, &at, &mut |child, at| {
                        if child.is_object() || child.is_array() {
                            parts.push(at.to_owned());
                        }
                    });
                }
                open.push((at, Some(parts.clone())));
                open.extend(parts.into_iter().map(|part| (part, None)));
            }
        }
    }

    fn leads_to(&mut self, at: &str) -> Vec<String> {
        let mut found = self.refers_to(at);
        let Some(Value::Object(schema)) = self.document.pointer(at) else { return found };
        for name in IN_PLACE {
            let Some(value) = schema.get(name) else { continue };
            let place = format!("{at}/{name}");
            if value.is_array() || name.starts_with("depend") {
                each(value, &place, &mut |_, at| found.push(at.to_owned()));
            } else {
                found.push(place);
            }
        }
        found
    }

    fn refers_to(&mut self, at: &str) -> Vec<String> {
        let Some(Value::Object(schema)) = self.document.pointer(at) else { return Vec::new() };
        let mut found = Vec::new();
        for name in REFERENCES {
            match schema.get(name).and_then(Value::as_str).and_then(|target| target.strip_prefix('#')) {
                Some(target) if target.is_empty() || target.starts_with('/') => found.push(pointer(target)),
                Some(target) => {
                    let message = format!("`#{target}` is an anchor; name the place by a JSON pointer");
                    self.problems.push(SchemaProblem { pointer: format!("{at}/{name}"), message });
                }
                None => {}
            }
        }
        found
    }

    fn report(&mut self, at: &str, message: String) {
        self.problems.push(SchemaProblem { pointer: at.to_owned(), message });
    }
}

/// Reads the JSON pointer of a reference, which is part of a URI.
pub(super) fn pointer(target: &str) -> String {
    target.replace("%25", "%")
}

fn each(value: &Value, at: &str, visit: &mut dyn FnMut(&Value, &str)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                visit(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{at}/{index}"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

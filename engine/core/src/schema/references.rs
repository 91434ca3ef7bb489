//! Resolves `$ocfRefs`: names for Types of the catalog, beside a schema.

use serde_json::{Map, Value};

/// Something wrong inside a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaProblem {
    /// Where in the schema.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// Finds the schema of a Type by its path and revision, not yet resolved itself.
pub(crate) type TypeLookup<'a> = dyn Fn(&str, Option<&str>) -> Option<&'a Value> + 'a;

/// Types may name Types; deeper than this they probably name themselves.
const MAX_NESTING: usize = 16;

/// Puts the schemas of Types in the place of their names, so that the document stands alone.
pub(crate) fn resolve(root: &Value, lookup: &TypeLookup<'_>) -> Result<Value, Vec<SchemaProblem>> {
    let mut problems = Vec::new();
    let resolved = resolve_at(root, "", lookup, 0, &mut problems);
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

/// `base` is where the schema will stand in the document.
fn resolve_at(
    schema: &Value,
    base: &str,
    lookup: &TypeLookup<'_>,
    depth: usize,
    problems: &mut Vec<SchemaProblem>,
) -> Value {
    let mut resolved = rebase(schema, base, "", problems);
    let Some(references) = schema.get("$ocfRefs") else {
        return resolved;
    };
    let mut fail = |pointer: String, message: String| {
        problems.push(SchemaProblem { pointer, message });
    };
    let Some(references) = references.as_object() else {
        fail("/$ocfRefs".to_owned(), "$ocfRefs must be a mapping of names to Types".to_owned());
        return resolved;
    };
    let mut types = Map::new();
    for (name, reference) in references {
        let pointer = format!("/$ocfRefs/{}", escape(name));
        let text = |field: &str| reference.get(field).and_then(Value::as_str);
        let Some(path) = text("path").or_else(|| text("name")) else {
            fail(pointer, format!("$ocfRefs.{name} needs the path of a Type"));
            continue;
        };
        if depth == MAX_NESTING {
            fail(pointer, format!("`{path}` refers to itself, or to Types nested too deep"));
            continue;
        }
        let Some(found) = lookup(path, text("revision")) else {
            let revision = text("revision").map(|r| format!(" {r}"));
            let revision = revision.unwrap_or_default();
            fail(pointer, format!("there is no Type `{path}`{revision}, or it has errors itself"));
            continue;
        };
        let base = format!("{base}{pointer}");
        let mut inner = Vec::new();
        let found = resolve_at(found, &base, lookup, depth + 1, &mut inner);
        // The Type's own file is where its problems are told; here they have one place.
        if let Some(first) = inner.into_iter().next() {
            fail(pointer, first.message);
        }
        types.insert(name.clone(), found);
    }
    if let Some(object) = resolved.as_object_mut() {
        object.insert("$ocfRefs".to_owned(), Value::Object(types));
    }
    resolved
}

/// Copies a schema to its place in a larger document: its local references move with it, and its
/// `$schema` and `$id` stay behind.
fn rebase(schema: &Value, base: &str, at: &str, problems: &mut Vec<SchemaProblem>) -> Value {
    match schema {
        Value::Object(object) => {
            let mut copy = Map::new();
            for (key, value) in object {
                let pointer = format!("{at}/{}", escape(key));
                match (key.as_str(), value) {
                    ("$schema" | "$id", Value::String(_)) if !base.is_empty() => continue,
                    ("$ref", Value::String(target)) => match target.strip_prefix('#') {
                        Some(local) => {
                            copy.insert(key.clone(), format!("#{base}{local}").into());
                            continue;
                        }
                        None => problems.push(SchemaProblem {
                            pointer: pointer.clone(),
                            message: format!("`{target}` is outside the catalog; use $ocfRefs"),
                        }),
                    },
                    _ => {}
                }
                copy.insert(key.clone(), rebase(value, base, &pointer, problems));
            }
            Value::Object(copy)
        }
        Value::Array(items) => {
            let copy = items.iter().enumerate();
            copy.map(|(i, item)| rebase(item, base, &format!("{at}/{i}"), problems)).collect()
        }
        _ => schema.clone(),
    }
}

fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

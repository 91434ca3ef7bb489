//! Reads the few protobuf bodies that kubectl insists on: `create namespace`, `configmap`, `secret`, `serviceaccount`
//! and `token`.
//!
//! kubectl writes these kinds in protobuf only, without asking. Everything else comes as JSON.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

/// The form's name.
pub(crate) const FORM: &str = "application/vnd.kubernetes.protobuf";
/// The four bytes with which every such body starts.
const MAGIC: &[u8] = b"k8s\0";

/// Reads an envelope and the object in it; nothing where the kind or the bytes are not understood.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let meta = fields(find(&envelope, 1)?)?;
    let kind = text(find(&meta, 2)?)?;
    let object = fields(find(&envelope, 2)?)?;
    let mut value = json!({
        "apiVersion": text(find(&meta, 1)?)?, "kind": kind, "metadata": metadata(&fields(find(&object, 1)?)?)?,
    });
    match value["kind"].as_str()? {
        // How long a token lives, and for whom it is, is not heeded here.
        "Namespace" | "ServiceAccount" | "TokenRequest" => {}
        "ConfigMap" => value["data"] = map(&object, 2, |bytes| text(bytes).map(Value::String))?,
        "Secret" => {
            value["data"] = map(&object, 2, |bytes| Some(json!(ByteString(bytes.to_vec()))))?;
            value["type"] = json!(find(&object, 3).and_then(text));
        }
        _ => return None,
    }
    Some(value)
}

/// Reads an ObjectMeta: its names, labels and annotations.
fn metadata(meta: &[(u64, &[u8])]) -> Option<Value> {
    let mut value = json!({});
    for (number, name) in [(11, "labels"), (12, "annotations")] {
        let found = map(meta, number, |bytes| text(bytes).map(Value::String))?;
        if found != json!({}) {
            value[name] = found;
        }
    }
    for (number, name) in [(1, "name"), (2, "generateName"), (3, "namespace")] {
        if let Some(found) = find(meta, number).and_then(text).filter(|found| !found.is_empty()) {
            value[name] = json!(found);
        }
    }
    Some(value)
}

fn map(object: &[(u64, &[u8])], number: u64, value: impl Fn(&[u8]) -> Option<Value>) -> Option<Value> {
    let entries = object.iter().filter(|(found, _)| *found == number);
    let entries = entries.map(|(_, bytes)| {
        let entry = fields(bytes)?;
        Some((text(find(&entry, 1)?)?, value(find(&entry, 2).unwrap_or_default())?))
    });
    entries.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn find<'a>(fields: &[(u64, &'a [u8])], number: u64) -> Option<&'a [u8]> {
    fields.iter().find(|(found, _)| *found == number).map(|(_, bytes)| *bytes)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Splits a message into its fields; those that are numbers have no bytes.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(length)?;
        fields.push((tag >> 3, value));
        bytes = rest;
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a field that has bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend(bytes);
        field
    }

    fn body(kind: &str, object: &[Vec<u8>]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        let envelope = [field(1, &meta), field(2, &object.concat())].concat();
        [MAGIC, &envelope].concat()
    }

    #[test]
    fn kubectl_create_is_understood() {
        let label = [field(1, b"a"), field(2, b"b")].concat();
        let metadata = [field(1, b"chat"), field(11, &label)].concat();
        let data = [field(1, b"key"), field(2, b"value")].concat();
        for (kind, object, expected) in [
            (
                "Namespace",
                vec![field(1, &metadata)],
                json!({"metadata": {"name": "chat", "labels": {"a": "b"}}}),
            ),
            (
                "ConfigMap",
                vec![field(1, &metadata), field(2, &data)],
                json!({"metadata": {"name": "chat", "labels": {"a": "b"}}, "data": {"key": "value"}}),
            ),
            (
                "Secret",
                vec![field(1, &metadata), field(2, &data), field(3, b"Opaque")],
                json!({"metadata": {"name": "chat", "labels": {"a": "b"}}, "data": {"key": "dmFsdWU="}, "type": "Opaque"}),
            ),
        ] {
            let mut expected = expected;
            expected["apiVersion"] = json!("v1");
            expected["kind"] = json!(kind);
            assert_eq!(parse(&body(kind, &object)), Some(expected));
        }
        assert_eq!(parse(&body("Deployment", &[field(1, &metadata)])), None);
        assert_eq!(parse(b"k8s\0\x0a\xff"), None);
    }
}

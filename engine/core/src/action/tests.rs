//! What the definition admits, the types take.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::{Action, INSTANT, definition};

/// Writes values that a schema admits, in which each extreme of everything in it stands once at least.
fn extremes(schema: &JSONSchemaProps, path: &str) -> Vec<Value> {
    let mut values = match schema.type_.as_deref() {
        Some("object") if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {
            vec![json!({}), json!({"a": [null, 1.5e300, u64::MAX, i64::MIN, "", {"$serde_json": {}}]})]
        }
        Some("object") => objects(schema, path),
        Some("array") => {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { panic!("{path} of what") };
            let items = extremes(items, &format!("{path}[]")).into_iter().map(|item| json!([item]));
            items.chain([json!([])]).collect()
        }
        Some("integer") => {
            let bounds = [schema.minimum, schema.maximum].map(|bound| bound.expect(path));
            bounds.map(|bound| serde_json::from_str(&format!("{bound:.0}")).unwrap()).to_vec()
        }
        Some("boolean") => vec![json!(false), json!(true)],
        Some("string") => match (&schema.enum_, schema.format.as_deref()) {
            (Some(words), _) => words.iter().map(|word| word.0.clone()).collect(),
            (None, Some("date-time")) => {
                assert_eq!(schema.pattern.as_deref(), Some(INSTANT), "{path}");
                vec![json!("0000-01-01T00:00:00Z"), json!("8999-12-31T23:59:59.999999999Z")]
            }
            (None, None) => vec![json!(""), json!("\u{0}\u{10ffff}".repeat(200))],
            (None, Some(format)) => panic!("{path} has the format {format}"),
        },
        kind => panic!("{path} is {kind:?}"),
    };
    if schema.nullable == Some(true) {
        values.push(Value::Null);
    }
    values
}

/// Writes the whole object with each extreme of each field, and one with nothing but what it needs.
fn objects(schema: &JSONSchemaProps, path: &str) -> Vec<Value> {
    let fields = schema.properties.iter().flatten();
    let fields: Vec<(&String, Vec<Value>)> =
        fields.map(|(name, field)| (name, extremes(field, &format!("{path}.{name}")))).collect();
    let first = |(name, values): &(&String, Vec<Value>)| ((*name).clone(), values[0].clone());
    let whole: Map<String, Value> = fields.iter().map(first).collect();
    let needed: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| schema.required.iter().flatten().any(|needed| needed == *name))
        .map(first)
        .collect();
    let mut objects = vec![Value::Object(needed)];
    for (name, values) in fields {
        for value in values {
            let mut object = whole.clone();
            object.insert(name.clone(), value);
            objects.push(Value::Object(object));
        }
    }
    objects
}

#[test]
fn what_the_definition_admits_can_be_read() {
    let definition = definition();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let all = objects(schema, "");
    let text = all.iter().map(Value::to_string).collect::<String>();
    for extreme in ["4294967295", "9007199254740991", "-9007199254740991", "9999", "8999-12-31", "INITIAL"] {
        assert!(text.contains(extreme), "{extreme} is not tried");
    }
    assert!(all.len() > 150, "{}", all.len());
    for mut object in all {
        object["metadata"] = json!({"name": "a"});
        let read = serde_json::from_value::<Action>(object.clone());
        assert!(read.is_ok(), "{}: {object:#}", read.unwrap_err());
    }
}

#[test]
fn no_object_says_of_itself_that_it_cannot_be_read() {
    let object = json!({
        "metadata": {"name": "a"}, "spec": {"actionRef": {"path": "cap.a"}},
        "status": {"phase": "RUNNING", "isUnreadable": true, "is_unreadable": true},
    });
    assert!(!serde_json::from_value::<Action>(object).unwrap().is_unreadable());
    let stands_for = Action::unreadable(ObjectMeta::default(), None, "why");
    assert!(stands_for.is_unreadable());
    assert!(!serde_json::to_string(&stands_for).unwrap().contains("nreadable"));
}

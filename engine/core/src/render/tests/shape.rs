//! The law: no value of a parameter changes the shape of what is rendered.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{config_map, run};
use crate::catalog::Catalog;
use crate::fixtures::{catalog, load, object};

const TEMPLATE: &str = r#"plain: {{value}}
double: "{{value}}"
single: '{{value}}'
joined: {{concat "x-" value}}
nested: {deep: [{{value}}, 1]}
items:
{{#each list as |each|}}
  - {{each}}
{{/each}}
after: {{other}}"#;

fn shapes() -> Catalog {
    let properties = "{value: {type: string}, list: {type: array}, other: {type: integer}}";
    load(catalog(properties, &config_map(TEMPLATE)))
}

/// The workflow for a benign value, with the real one put into the places that are its own.
fn expected(catalog: &Catalog, value: &str) -> Value {
    let benign = object(json!({"value": "benign", "list": ["benign"], "other": 7}));
    let prepared = run(catalog, "cap.interface.test.run", None, &benign).unwrap();
    let mut workflow = serde_json::to_value(prepared.workflow).unwrap();
    let data = &mut workflow["steps"][0]["resource"]["manifest"]["data"];
    for pointer in ["/plain", "/double", "/single", "/nested/deep/0", "/items/0"] {
        *data.pointer_mut(pointer).unwrap() = json!(value);
    }
    data["joined"] = json!(format!("x-{value}"));
    workflow
}

fn check(catalog: &Catalog, value: &str) {
    let parameters = object(json!({"value": value, "list": [value], "other": 7}));
    let prepared = run(catalog, "cap.interface.test.run", None, &parameters).unwrap();
    let workflow = serde_json::to_value(prepared.workflow).unwrap();
    assert_eq!(workflow, expected(catalog, value), "{value:?}");
}

#[test]
fn hostile_values_stay_values() {
    let catalog = shapes();
    for value in [
        "",
        " ",
        "{{other}}",
        "{{{other}}}",
        "}}",
        "\"",
        "'",
        "\n",
        "a\nb: c",
        "- x",
        ": ",
        "x: y",
        "#",
        " # no",
        "&a",
        "*a",
        "!!int 1",
        "!tag",
        "|",
        ">",
        "%YAML",
        "---",
        "...",
        "[",
        "{",
        "]",
        "~",
        "null",
        "true",
        "yes",
        "012",
        "1e3",
        "$(x)",
        "${x}",
        "$cel",
        "{$cel: 1}",
        "\u{0}",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "é",
        "🦀",
        "\u{E000}0\u{E001}",
        "\u{E000}99\u{E001}",
        "\u{E000}",
        "\u{E001}",
        "\t",
        "\r\n",
        "\\",
        "@root",
        "../other",
    ] {
        check(&catalog, value);
    }
}

#[test]
fn a_template_written_in_a_parameter_is_text() {
    let catalog = shapes();
    check(&catalog, "x\n    resource:\n      action: delete");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_changes_the_shape(value in any::<String>()) {
        check(&shapes_once(), &value);
    }

    #[test]
    fn no_syntax_changes_the_shape(value in "[-{}:#&*!|>'\"%@`,\\[\\]?~$()./ \n\t\u{E000}\u{E001}0-3a]{0,40}") {
        check(&shapes_once(), &value);
    }

    #[test]
    fn any_json_arrives_as_it_was(value in json()) {
        let catalog = shapes_once();
        let parameters = object(json!({"value": "x", "list": [value], "other": 7}));
        let prepared = run(&catalog, "cap.interface.test.run", None, &parameters).unwrap();
        let workflow = serde_json::to_value(prepared.workflow).unwrap();
        let items = &workflow["steps"][0]["resource"]["manifest"]["data"]["items"];
        let expected = if value.is_null() { json!([]) } else { json!([value]) };
        prop_assert_eq!(items, &expected);
    }
}

fn shapes_once() -> Catalog {
    static SHAPES: std::sync::OnceLock<Catalog> = std::sync::OnceLock::new();
    SHAPES.get_or_init(shapes).clone()
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z{}: -]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

use serde_json::{Value, json};

use super::{InputError, Schema, effective_parameters, named_parameters, parse_duration, samples};
use crate::catalog::{Catalog, Parameter};
use crate::code::Code;
use crate::fixtures::{content, load, object};

const BACKUP: &str = "cap.interface.data.backup";

fn schema(document: Value) -> Schema {
    Schema::compile(document).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Tells everything that a schema of one property `x` forbids about a value of it.
fn told(property: &Value, value: &Value) -> Vec<String> {
    let schema = schema(json!({"type": "object", "properties": {"x": property}}));
    let violations = schema.validate(&json!({"x": value}));
    violations.iter().map(ToString::to_string).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "so that tables read well")]
fn check(property: Value, value: Value, expected: &[&str]) {
    let context = property.to_string();
    assert_eq!(told(&property, &value), expected, "{context}");
}

fn parameter(catalog: &Catalog) -> &Parameter {
    let interface = catalog.interface(BACKUP, Some("0.2.0")).unwrap();
    interface.parameter.as_ref().unwrap()
}

fn refused(parameters: Value) -> InputError {
    let catalog = load(content());
    effective_parameters(Some(parameter(&catalog)), &object(parameters)).unwrap_err()
}

fn violations(parameters: Value) -> Vec<String> {
    refused(parameters).violations().iter().map(ToString::to_string).collect()
}

#[test]
fn violations_are_in_clear_words() {
    check(json!({"type": "string"}), json!(1), &["/x: must be a string, not a number"]);
    check(
        json!({"type": ["string", "array"]}),
        json!(1),
        &["/x: must be a string or an array, not a number"],
    );
    check(
        json!({"enum": ["backup", "restore"]}),
        json!("bakup"),
        &["/x: `bakup` is not one of `backup`, `restore` (did you mean `backup`?)"],
    );
    check(json!({"const": 1}), json!(2), &["/x: `2` must be `1`"]);
    check(json!({"maxLength": 2}), json!("abc"), &["/x: `abc` is longer than 2 characters"]);
    check(json!({"pattern": "^a"}), json!("b"), &["/x: `b` does not match ^a"]);
    check(json!({"pattern": "^a", "x-message": "must begin with a"}), json!("b"), &["/x: must begin with a"]);
    check(json!({"minItems": 1}), json!([]), &["/x: needs at least 1 items"]);
    check(json!({"minimum": 1}), json!(0), &["/x: 0 is less than the minimum of 1"]);
    check(
        json!({"oneOf": [{"type": "string"}, {"type": "array"}]}),
        json!(1),
        &["/x: must be a string or an array, not a number"],
    );
    check(
        json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        json!(["a", 1]),
        &["/x/1: must be a string, not a number"],
    );
    check(
        json!({"required": ["a/b"], "properties": {"a/b": {}, "name": {}}, "additionalProperties": false}),
        json!({"nmae": 1, "something": 2}),
        &[
            "/x/a~1b: `a/b` is required",
            "/x/nmae: `nmae` is not known here (did you mean `name`?)",
            "/x/something: `something` is not known here (there are `a/b`, `name`)",
        ],
    );
    let long = "x".repeat(100);
    let expected = format!("/x: `{}…` does not match ^a", "x".repeat(80));
    check(json!({"pattern": "^a"}), json!(long), &[&expected]);
}

#[test]
fn formats_say_why() {
    check(
        json!({"format": "label-selector"}),
        json!("a=b c"),
        &["/x: `a=b c` is not a label selector: at byte 4: expected `,` or the end, found `c`"],
    );
    check(json!({"format": "label-selector"}), json!("a in (b, c)"), &[]);
    check(
        json!({"format": "duration"}),
        json!("1d"),
        &["/x: `1d` is not a duration: write it as 90s, 15m or 4h30m"],
    );
    check(json!({"format": "duration"}), json!("720h0m0s"), &[]);
    check(json!({"format": "dns-1123-subdomain"}), json!("a.b-c"), &[]);
    for (format, value) in [
        ("dns-1123-label", "a.b"),
        ("dns-1123-label", "-a"),
        ("dns-1123-label", ""),
        ("dns-1123-subdomain", "A"),
        ("dns-1123-subdomain", "a..b"),
    ] {
        let told = told(&json!({"format": format}), &json!(value));
        assert_eq!(told.len(), 1, "{value}");
        assert!(told[0].contains("lower-case letters"), "{told:?}");
    }
}

#[test]
fn durations_are_gos_and_positive() {
    for (text, seconds) in [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("720h", 2_592_000), ("+5s", 5)] {
        assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
    }
    for text in [
        "",
        "5",
        "-5m",
        "1d",
        "5m-3s",
        "NaNs",
        "infh",
        "1e9h",
        "9999999999999999999h",
        "h",
        "5 m",
        "µ",
        "0",
        "0s",
        "2562048h",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn defaults_reach_into_what_is_there() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "a": {"default": 1},
            "b": {"properties": {"c": {"default": 2}}},
            "d": {"type": "array", "items": {"properties": {"e": {"default": 3}}}},
            "f": {"$ref": "#/$defs/f"},
            "g": {"default": {}, "properties": {"h": {"default": 5}}},
        },
        "allOf": [{"properties": {"j": {"default": 6}}}],
        "$defs": {"f": {"default": 4}},
    }));
    for (given, expected) in [
        (json!({}), json!({"a": 1, "f": 4, "g": {"h": 5}, "j": 6})),
        (
            json!({"a": 0, "b": {}, "d": [{}, 1], "f": null, "j": 0}),
            json!({"a": 0, "b": {"c": 2}, "d": [{"e": 3}, 1], "f": null, "g": {"h": 5}, "j": 0}),
        ),
        (json!("text"), json!("text")),
    ] {
        let mut value = given.clone();
        schema.apply_defaults(&mut value);
        assert_eq!(value, expected, "{given}");
    }
}

#[test]
fn all_violations_of_an_input_come_at_once() {
    assert_eq!(
        violations(json!({
            "action": "bakup",
            "name": "Not_A_Name",
            "selector": "app==db,,x",
            "selectors": [],
            "volumes": 1,
            "ttl": "30d",
            "includeNamespaces": [1],
            "nmae": "x",
        })),
        [
            "/: give either `selector` or `selectors`, not both",
            "/action: `bakup` is not one of `backup`, `restore` (did you mean `backup`?)",
            "/includeNamespaces/0: must be a string, not a number",
            "/name: `Not_A_Name` is not a DNS label: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63 characters",
            "/nmae: `nmae` is not known here (did you mean `name`?)",
            "/selector: `app==db,,x` is not a label selector: at byte 8: expected a label key",
            "/selectors: needs at least 1 items",
            "/ttl: `30d` is not a duration: write it as 90s, 15m or 4h30m",
            "/volumes: `1` is not one of `fs`, `annotated`, `snapshot`, `none`",
            "/volumes: must be a string, not a number",
        ]
    );
    assert_eq!(violations(json!({})), ["/action: `action` is required", "/name: `name` is required"]);
}

#[test]
fn pointers_begin_where_the_caller_began() {
    assert_eq!(
        violations(json!({"input-parameters": {"action": "backup"}})),
        ["/input-parameters/name: `name` is required"]
    );
    assert_eq!(
        violations(json!({"input-parameters": "{}"})),
        ["/input-parameters: must be an object (send the object itself, not its JSON text)"]
    );
    let both = json!({"input-parameters": {"action": "backup", "name": "x"}, "name": "x"});
    assert_eq!(violations(both).first().unwrap(), "/action: `action` is required");
}

#[test]
fn names_have_at_most_58_characters() {
    let name = |length: usize| json!({"action": "backup", "name": "x".repeat(length)});
    let catalog = load(content());
    assert!(effective_parameters(Some(parameter(&catalog)), &object(name(58))).is_ok());
    assert_eq!(violations(name(59)).len(), 1);
}

#[test]
fn nobody_writes_expressions_in_parameters() {
    let parameters = json!({"action": "backup", "name": "x", "namespaceMapping": {"a": {"$cel": "1"}}, "selectors": [{"$cel": "x"}]});
    let violations = violations(parameters);
    for pointer in ["/namespaceMapping/a/$cel", "/selectors/0/$cel"] {
        let expected = format!("{pointer}: expressions are not allowed in parameters");
        assert!(violations.contains(&expected), "{violations:?}");
    }
}

#[test]
fn parameters_are_bounded() {
    let code = |parameters: Value| refused(parameters).code();
    assert_eq!(code(json!({"name": "x".repeat(128 * 1024)})), Code::LimitExceeded);
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert_eq!(code(json!({"name": deep})), Code::LimitExceeded);
    assert_eq!(code(json!({"name": "x".repeat(1024)})), Code::BadUserInput);
}

#[test]
fn an_interface_without_parameters_takes_none() {
    assert_eq!(effective_parameters(None, &object(json!({}))), Ok(object(json!({}))));
    let error = effective_parameters(None, &object(json!({"a": 1}))).unwrap_err();
    assert_eq!(error.to_string(), "the parameters are not valid: /a: the Interface takes no parameters");
}

#[test]
fn the_api_gets_a_name_and_a_text() {
    let catalog = load(content());
    let expected = json!({"input-parameters": "{\"action\":\"backup\",\"name\":\"mongo\"}"});
    for given in [
        json!({"action": "backup", "name": "mongo"}),
        json!({"input-parameters": {"action": "backup", "name": "mongo"}}),
    ] {
        let named = named_parameters(parameter(&catalog), &object(given));
        assert_eq!(Value::Object(named), expected);
    }
}

#[test]
fn schemas_that_cannot_be_used_are_refused() {
    for (document, pointer, message) in [
        (json!({"type": "strin"}), "/type", "`strin` is not one of"),
        (json!({"properties": {"a": {"minimum": "x"}}}), "/properties/a/minimum", "must be a number"),
        (
            json!({"$schema": "http://json-schema.org/draft-03/schema#"}),
            "/$schema",
            "neither draft-07 nor 2020-12",
        ),
        (json!({"$ref": "http://example.com/x"}), "", "cannot be used"),
        (json!({"properties": {"a": {"pattern": "(?=x)"}}}), "/properties/a/pattern", "cannot be used"),
    ] {
        let problems = Schema::compile(document.clone()).unwrap_err();
        let found = problems.iter().find(|p| p.message.contains(message));
        assert_eq!(found.map(|p| p.pointer.as_str()), Some(pointer), "{document}: {problems:?}");
    }
}

#[test]
fn samples_are_valid_and_reach_every_choice() {
    let catalog = load(content());
    let schema = &parameter(&catalog).schema;
    let samples = samples(schema);
    for (name, value) in
        [("action", "backup"), ("action", "restore"), ("volumes", "snapshot"), ("existing", "update")]
    {
        assert!(samples.iter().any(|s| s[name] == json!(value)), "{name} {value}");
    }
    for name in schema.properties() {
        assert!(samples.iter().any(|s| s.contains_key(name)), "{name}");
    }
    for sample in samples {
        assert_eq!(schema.validate(&Value::Object(sample)), []);
    }
}

#[test]
fn a_schema_that_asks_for_itself_at_the_same_place_is_refused() {
    let check = |schema: Value, expected: &str| {
        let problems = Schema::compile(schema.clone()).expect_err(expected);
        assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{schema}: {problems:?}");
    };
    let itself = "refers to itself";
    check(json!({"$ref": "#"}), itself);
    check(json!({"allOf": [{"$ref": "#"}]}), itself);
    check(
        json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
        itself,
    );
    check(json!({"if": {"$ref": "#/else"}, "else": {"$ref": "#/if"}}), itself);
    check(json!({"dependentSchemas": {"a": {"$ref": "#"}}}), itself);
    check(json!({"$dynamicRef": "#"}), itself);
    check(json!({"$anchor": "a", "allOf": [{"$ref": "#a"}]}), "is an anchor");
    check(json!({"properties": {"a": {"$id": "urn:a", "allOf": [{"$ref": "#"}]}}}), "$id is only for");
}

#[test]
fn a_schema_may_describe_a_tree() {
    let tree = json!({"type": "object", "properties": {"child": {"$ref": "#"}, "list": {"items": {"allOf": [{"$ref": "#"}]}}}});
    let schema = Schema::compile(tree).unwrap();
    assert!(schema.validate(&json!({"child": {"list": [{"child": {}}]}})).is_empty());
    assert!(!schema.validate(&json!({"child": {"list": [{"child": 1}]}})).is_empty());
}

/// References that double at each of so many levels, at one place of a value or on its way down.
fn doubling(levels: usize, on_the_way: bool) -> Value {
    let mut definitions = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/a{}", level + 1)});
        let next = if on_the_way { json!({"properties": {"p": next}}) } else { next };
        definitions.insert(format!("a{level}"), json!({"anyOf": [next, next]}));
    }
    definitions.insert(format!("a{levels}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/a0", "$defs": definitions})
}

#[test]
fn a_schema_that_unfolds_to_too_much_is_refused() {
    for on_the_way in [false, true] {
        Schema::compile(doubling(5, on_the_way)).unwrap();
        let problems = Schema::compile(doubling(28, on_the_way)).expect_err("it unfolds");
        assert!(problems[0].message.contains("unfolds to more than 20000 schemas"), "{problems:?}");
    }
    let mut chain = json!({"$defs": {}, "$ref": "#/$defs/a0"});
    for level in 0..5000 {
        chain["$defs"][format!("a{level}")] = json!({"$ref": format!("#/$defs/a{}", level + 1)});
    }
    chain["$defs"]["a5000"] = json!(true);
    let problems = Schema::compile(chain).expect_err("it is deep");
    assert!(problems[0].message.contains("or 500 in each other"), "{problems:?}");
}

/// A tree whose branches are described twice is looked at twice as often on each level.
#[test]
fn a_value_that_takes_a_schema_too_many_looks_is_not_valid() {
    let child = json!({"properties": {"child": {"$ref": "#"}}});
    let twice = Schema::compile(json!({"allOf": [child, child]})).unwrap();
    let nested = |levels| (0..levels).fold(json!({}), |value, _| json!({"child": value}));
    assert_eq!(twice.validate(&nested(10)), []);
    let violations = twice.validate(&nested(60));
    assert!(violations[0].message.contains("more than 2000000 looks"), "{violations:?}");
    let once = Schema::compile(json!({"allOf": [child], "maxProperties": 1})).unwrap();
    assert_eq!(once.validate(&nested(60)), []);
    let wide = json!({"child": {"child": (0..10_000).map(|_| json!({})).collect::<Vec<_>>()}});
    assert_eq!(once.validate(&wide), []);
}

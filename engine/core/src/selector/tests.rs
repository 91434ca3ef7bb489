use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{matches, parse};

fn check(text: &str, expected: &Value) {
    let selector = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::to_value(selector).unwrap(), *expected, "{text}");
}

fn check_error(text: &str, position: usize, reason: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.position, position, "{text}: {error}");
    assert!(error.reason.contains(reason), "{text}: {error}");
}

#[test]
fn parses_every_form() {
    let labels = |value: &Value| json!({ "matchLabels": value });
    let expressions = |value: &Value| json!({ "matchExpressions": value });
    check("a=b", &labels(&json!({"a": "b"})));
    check(" helm.sh/chart == mongodb-10.3.1 ", &labels(&json!({"helm.sh/chart": "mongodb-10.3.1"})));
    check("a=,b=c", &labels(&json!({"a": "", "b": "c"})));
    check("in=notin", &labels(&json!({"in": "notin"})));
    check("a!=b", &expressions(&json!([{"key": "a", "operator": "NotIn", "values": ["b"]}])));
    check("a", &expressions(&json!([{"key": "a", "operator": "Exists"}])));
    check("! a", &expressions(&json!([{"key": "a", "operator": "DoesNotExist"}])));
    check(
        "g in (i, h,h) ,g notin(x)",
        &expressions(&json!([
            {"key": "g", "operator": "In", "values": ["h", "i"]},
            {"key": "g", "operator": "NotIn", "values": ["x"]},
        ])),
    );
    check("a in (b,)", &expressions(&json!([{"key": "a", "operator": "In", "values": ["", "b"]}])));
    check(
        "a=b,c==d,e!=f,g in (h,i),j notin (k),l,!m",
        &json!({
            "matchLabels": {"a": "b", "c": "d"},
            "matchExpressions": [
                {"key": "e", "operator": "NotIn", "values": ["f"]},
                {"key": "g", "operator": "In", "values": ["h", "i"]},
                {"key": "j", "operator": "NotIn", "values": ["k"]},
                {"key": "l", "operator": "Exists"},
                {"key": "m", "operator": "DoesNotExist"},
            ],
        }),
    );
    check(
        "a=b,a=c,a=b",
        &json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["c"]}],
        }),
    );
}

#[test]
fn refuses_with_position_and_reason() {
    check_error("", 0, "leave it out");
    check_error("  ", 0, "leave it out");
    check_error(",a", 0, "expected a label key");
    check_error("a=b,", 4, "expected a label key");
    check_error("a=b c", 4, "expected `,`");
    check_error("a=b=c", 3, "expected `,`");
    check_error("a within (b)", 2, "`within` is not an operator");
    check_error("a in b", 5, "expected `(`");
    check_error("a in ()", 5, "empty");
    check_error("a in (b", 5, "never closed");
    check_error("a in (b c)", 8, "expected `,` or `)`");
    check_error("a>1", 1, "`<` and `>`");
    check_error("_a=b", 0, "not the name of a label");
    check_error("A_B.example/x/y=b", 0, "not a DNS name");
    check_error("a.b/=c", 0, "not the name of a label");
    check_error("a=-b", 2, "not the value of a label");
    check_error("app={{name}}", 4, "not the value of a label");
    check_error("ä=b", 0, "not the name of a label");
    check_error(&format!("a={}", "x".repeat(64)), 2, "at most 63");
}

#[test]
fn matches_as_kubernetes_does() {
    let labels: BTreeMap<String, String> =
        [("app", "db"), ("tier", "back")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    for (selector, expected) in [
        ("app=db", true),
        ("app=db,tier=front", false),
        ("app!=web", true),
        ("other!=web", true),
        ("app in (db,web)", true),
        ("app notin (db,web)", false),
        ("other notin (x)", true),
        ("tier", true),
        ("!tier", false),
        ("!other", true),
        ("app=db,app=web", false),
    ] {
        assert_eq!(
            matches(&parse(selector).unwrap(), |key| labels.get(key).map(String::as_str)),
            expected,
            "{selector}"
        );
    }
}

proptest! {
    #[test]
    fn never_panics(text in "[a-c=!,() ./><inotäß\n-]{0,24}") {
        if let Err(error) = parse(&text) {
            prop_assert!(text.is_char_boundary(error.position));
        }
    }

    #[test]
    fn order_does_not_matter(mut parts in prop::collection::vec("[a-c](=[x-z]|!=[x-z]| in \\([x-z],[x-z]\\)|)", 1..5)) {
        // Of two different `=` on one key the first stands in matchLabels; sets of one hold none.
        parts.sort();
        parts.dedup_by_key(|part| part.chars().next());
        let forward = parse(&parts.join(",")).unwrap();
        parts.reverse();
        prop_assert_eq!(forward, parse(&parts.join(",")).unwrap());
    }
}

//! Whatever an expression says: it is parsed, evaluated and dropped on a small stack, within a budget.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Budget, MAX_LENGTH, Scope, evaluate};

/// Half of what a worker thread of the engine has.
const STACK: usize = 1024 * 1024;

/// Evaluates on a small stack, with a large object in sight.
fn run(expression: &str, object: &Value) -> Result<Value, String> {
    let (expression, object) = (expression.to_owned(), object.clone());
    let work = move || {
        let scope = Scope { object: Some(object), ..Scope::default() };
        evaluate("when", &expression, &scope).map_err(|error| error.problem)
    };
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
}

fn large() -> Value {
    object(2000, 1_000_000)
}

fn object(items: usize, text: usize) -> Value {
    let items: Vec<Value> =
        (0..items).map(|index| json!({"name": format!("item-{index}"), "n": index})).collect();
    json!({"items": items, "text": "a".repeat(text)})
}

fn check_refused(expression: &str, expected: &str) {
    let problem = run(expression, &large()).expect_err(expression);
    assert!(problem.contains(expected), "{expression:.60}: {problem}");
}

#[test]
fn what_nests_too_deep_is_refused_before_it_overflows_the_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        let count = (MAX_LENGTH - inner.len()) / (open.len() + close.len());
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    let pairs = [
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("size([", "1", "])"),
        ("[1].map(x,", "1", ")"),
        ("[1].all(x,", "true", ")"),
        ("'a'.contains(", "'a'", ")"),
        ("[1][", "0", "]"),
        ("!(", "true", ")"),
        ("true?(", "1", "):1"),
    ];
    for (open, inner, close) in pairs {
        let result = run(&nested(open, inner, close), &large());
        assert!(result.is_err(), "{open}");
        // Without its end, the parser's recovery has its turn.
        assert!(run(&open.repeat(MAX_LENGTH / open.len()), &large()).is_err(), "{open}");
    }
    let _ = run(&nested("(", "1", ")"), &large());
    for unit in [
        "(",
        "!",
        "-",
        "1+",
        "1-",
        "true&&",
        "true||",
        "true?1:",
        "true?",
        "1 in ",
        "a.",
        "a[0]",
        "[1].map(x,x).",
        "{",
        "a?b:",
        "1==",
        "''+",
        "r'",
        "\"\"\"",
        "`",
        "a{",
        ".",
    ] {
        let text = unit.repeat(MAX_LENGTH / unit.len() - 1);
        // Some of these are good: that they end is what matters.
        let _ = run(&format!("{text}1"), &large());
        let _ = run(&text, &large());
    }
}

#[test]
fn what_costs_too_much_is_given_up() {
    let nested = |depth: usize| {
        let list = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
        (0..depth).fold("true".to_owned(), |inner, level| format!("{list}.all(x{level},{inner})"))
    };
    assert_eq!(run(&nested(3), &json!({})), Ok(json!(true)));
    check_refused(&nested(6), "more than 1000000 steps");
    check_refused(&nested(12), "nests deeper than 20 levels");
    check_refused("[object.text].map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x)", "more than 1000000 steps");
    check_refused(
        "[object.items].map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x)",
        "more than 1000000 steps",
    );
    for expression in [
        "object.items.all(a, object.items.all(b, a.name != b.n))",
        "object.items.map(a, object.items)",
        "object.items.filter(a, object.items.exists_one(b, a == b)) == []",
        "object.items.all(a, object.text.contains('b') || true)",
        "object.items.all(a, object == object)",
        "object.items.all(a, a.nothing || object.items.all(b, b.nothing))",
        "object.items.all(a, object.text + a)",
        "object.items.all(a, [object.text] == [] || true)",
        "object.items.all(a, size(object.text + 'x') > 1)",
        "object.text.matches('(a*)*b') || object.text.matches('(a|b|c)*d')",
        "object.items.all(a, a.name.matches('(x{20}){20}') || true)",
    ] {
        check_refused(expression, "more than 1000000 steps");
    }
    check_refused("'a'.matches('((a{100}){100}){100}')", "exceeded size limit");
}

#[test]
fn what_is_useful_is_within_the_budget() {
    let check = |expression: &str, expected: Value| {
        assert_eq!(run(expression, &large()), Ok(expected), "{expression}");
    };
    check("object.items.all(i, i.name.startsWith('item-') && i.n >= 0)", json!(true));
    check("object.items.filter(i, i.name.matches('^item-19[0-9]{2}$')).size()", json!(100));
    check("object.items.exists(i, i.n == 1999 && object.items[i.n].name in ['item-1999'])", json!(true));
    check("object.items.map(i, {'name': i.name, 'next': i.n + 1})[7].next", json!(8));
    check("[10, 20].all(x, object.items.exists(i, i.n == x))", json!(true));
}

#[test]
fn expressions_share_the_budget_of_their_scope() {
    let scope = Scope { object: Some(large()), budget: Budget::default(), ..Scope::default() };
    let ends: Vec<bool> =
        (0..100).map(|_| evaluate("when", "size(object.items) > 0", &scope.clone()).is_ok()).collect();
    assert!(ends[0] && !ends[99], "{ends:?}");
}

#[test]
fn functions_that_are_not_known_to_be_cheap_are_refused() {
    check_refused("optional.of(1).hasValue()", "calls `hasValue`");
    check_refused("cel.bind(x, 1, x)", "calls `bind`");
    check_refused("max(1, 2)", "calls `max`");
    check_refused("a.b{c: 1}", "makes a `a.b`");
}

/// Makes up an expression of everything that there is.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("'text'".to_owned()),
        Just("x".to_owned()),
        Just("object".to_owned()),
        Just("object.items".to_owned()),
        Just("object.text".to_owned()),
        Just("[1, 2, 3]".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(8, 64, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                prop_oneof![
                    "[+*/%-]",
                    Just("==".to_owned()),
                    Just("&&".to_owned()),
                    Just("||".to_owned()),
                    Just("<".to_owned()),
                    Just(" in ".to_owned())
                ]
            )
                .prop_map(|((a, b), operator)| format!("({a}{operator}{b})")),
            (two.clone(), "(map|filter|all|exists|exists_one)")
                .prop_map(|((a, b), name)| format!("{a}.{name}(x,{b})")),
            (two.clone(), "(contains|startsWith|matches)")
                .prop_map(|((a, b), name)| format!("{a}.{name}({b})")),
            (inner.clone(), "(size|string|type|bytes)").prop_map(|(a, name)| format!("{name}({a})")),
            two.clone().prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            (two, inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("{a}.items")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_ends_on_a_small_stack(expression in expression()) {
        // `x` is bound, and a list of 300 is gone through, wherever it stands.
        let _ = run(&format!("object.items.map(x, {expression})"), &object(300, 50_000));
    }

    #[test]
    fn any_text_ends_on_a_small_stack(text in "[\\[\\](){}.?:!+*,'\"a-c0-9 \\\\-]{0,2048}") {
        let _ = run(&text, &json!({}));
    }
}

#[test]
fn what_is_yielded_is_not_deep() {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let problem = run("object.deep", &json!({"deep": deep})).unwrap_err();
    assert!(problem.contains("deeper than 48 levels"), "{problem}");
}

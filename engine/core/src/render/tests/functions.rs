use serde_json::{Value, json};

use crate::render::function::Function;

fn check(function: Function, arguments: &[Value], expected: &Value) {
    let arguments: Vec<&Value> = arguments.iter().collect();
    let value = function.evaluate(&arguments).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(value, *expected, "{} {arguments:?}", function.as_str());
}

#[test]
fn every_function_keeps_types() {
    use Function::{And, Concat, Default, Eq, Hash, LabelSelector, List, Lookup, Not, Or};
    check(Concat, &[json!("x-"), json!(1), json!(null), json!(true)], &json!("x-1true"));
    check(Default, &[json!(null), json!(false), json!(1)], &json!(false));
    check(Default, &[json!(null), json!(null)], &json!(null));
    check(Default, &[json!(""), json!("x")], &json!(""));
    check(Eq, &[json!("1"), json!(1)], &json!(false));
    check(Eq, &[json!({"a": [1]}), json!({"a": [1]})], &json!(true));
    check(Not, &[json!("")], &json!(true));
    check(And, &[json!("x"), json!([])], &json!(false));
    check(Or, &[json!(0), json!("x")], &json!(true));
    check(List, &[json!(" a, b,,")], &json!(["a", "b"]));
    check(List, &[json!([" a ", "", null, "b,c"])], &json!(["a", "b,c"]));
    check(List, &[json!(null)], &json!(null));
    check(LabelSelector, &[json!(null)], &json!(null));
    check(LabelSelector, &[json!("a=b")], &json!({"matchLabels": {"a": "b"}}));
    check(Lookup, &[json!({"a": 1}), json!("a")], &json!(1));
    check(Lookup, &[json!([5, 6]), json!(1)], &json!(6));
    check(Lookup, &[json!([5, 6]), json!(2)], &json!(null));
    check(Hash, &[json!("a")], &json!("ac8d8342bb"));
}

#[test]
fn wrong_arguments_are_refused() {
    for (function, argument, reason) in [
        (Function::Concat, json!([1]), "not a text"),
        (Function::List, json!(1), "commas"),
        (Function::LabelSelector, json!("a b"), "at byte 2"),
        (Function::LabelSelector, json!(1), "needs a text"),
    ] {
        let error = function.evaluate(&[&argument]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    assert!(Function::Eq.check_arity(1).is_err());
    assert!(Function::Concat.check_arity(17).is_err());
    assert!(Function::Not.check_arity(1).is_ok());
}

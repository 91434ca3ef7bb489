use super::document::{Node, TextPlace};
use super::{Kind, Position, Problem, Reporter, Severity, read};
use crate::fixtures::manifest;

/// Says where the second line's third character of the text at `key` is in the file.
fn check_place(source: &str, expected: (usize, usize)) {
    let node = Node::parse(source).unwrap();
    let text = node.get("key").unwrap();
    let content = text.to_json();
    let place = TextPlace::of(text, content.as_str().unwrap(), source);
    let Position { line, column } = place.resolve(Position { line: 2, column: 3 });
    assert_eq!((line, column), expected, "{source:?}");
}

#[test]
fn places_inside_literal_texts_are_exact() {
    check_place("key: |\n  one\n  two\n", (3, 5));
    check_place("a: 1\nkey: |-\n    one\n    two", (4, 7));
    check_place("key: |\n\n  two\n", (3, 5));
    check_place("key: |2\n    one\n  two\n", (3, 5));
    check_place("key: |\n  one\n\n  three\n", (3, 5));
}

#[test]
fn places_inside_other_texts_are_their_beginning() {
    check_place("key: >\n  one\n  two\n", (2, 3));
    check_place("key: \"one\\ntwo\"\n", (1, 6));
}

#[test]
fn every_node_has_its_place() {
    let node = Node::parse("a:\n  b: [1, {c/d: x}]\ne: &x {f: 1}\ng: *x\n").unwrap();
    for (pointer, line, column) in [
        ("", 1, 1),
        ("/a/b", 2, 6),
        ("/a/b/0", 2, 7),
        ("/a/b/1/c~1d", 2, 16),
        ("/a/b/7/c", 2, 6),
        ("/e/f", 3, 11),
        ("/nowhere/at/all", 1, 1),
    ] {
        assert_eq!(node.position_at(pointer), Position { line, column }, "{pointer}");
    }
    assert_eq!(node.to_json().to_string(), r#"{"a":{"b":[1,{"c/d":"x"}]},"e":{"f":1},"g":{"f":1}}"#);
}

#[test]
fn problems_read_as_compilers_write_them() {
    let mut problem = Problem {
        file: "a/b.yaml".to_owned(),
        line: 3,
        column: 7,
        severity: Severity::Error,
        message: "it is wrong".to_owned(),
        hint: None,
    };
    assert_eq!(problem.to_string(), "a/b.yaml:3:7: error: it is wrong");
    problem.severity = Severity::Warning;
    problem.hint = Some("right it".to_owned());
    assert_eq!(problem.to_string(), "a/b.yaml:3:7: warning: it is wrong (right it)");
}

#[test]
fn the_folder_and_the_name_make_the_path() {
    for (file, path) in [
        ("interface/data.yaml", "cap.interface.x"),
        ("interface/data/anything-0.1.0.yaml", "cap.interface.data.x"),
        ("core/type/platform/x.yaml", "cap.core.type.platform.x"),
        ("x.yaml", "cap.x"),
    ] {
        let reporter = Reporter::new(file);
        let manifest = read(file, &manifest("InterfaceGroup", "x", ""), &reporter).unwrap();
        assert_eq!(manifest.path, path);
        assert_eq!(manifest.kind, Kind::InterfaceGroup);
        assert!(!reporter.has_errors());
    }
}

//! What is measured, and what is refused.

use async_graphql::parser::parse_query;

use super::check;
use crate::options::Limits;

/// Limits of which none is in the way.
fn wide() -> Limits {
    let most = usize::MAX;
    Limits {
        depth: most,
        fields: most,
        root_fields: most,
        aliases: most,
        directives: most,
        introspection: most,
        ..Limits::default()
    }
}

/// Measures a document: by each limit alone, what is refused when nothing is allowed.
fn measured(document: &str) -> [usize; 6] {
    let document = parse_query(document).unwrap();
    let limits = [
        Limits { depth: 0, ..wide() },
        Limits { fields: 0, ..wide() },
        Limits { root_fields: 0, ..wide() },
        Limits { aliases: 0, ..wide() },
        Limits { directives: 0, ..wide() },
        Limits { introspection: 0, ..wide() },
    ];
    limits.map(|limits| match check(&document, &limits) {
        Ok(_) => 0,
        Err(super::Problem::Exceeded(exceeded)) => exceeded.found,
        Err(problem) => panic!("{problem}"),
    })
}

#[test]
fn a_document_is_measured_with_its_fragments_in_their_places() {
    for (document, [depth, fields, root, aliases, directives, lists]) in [
        ("{ a }", [1, 1, 1, 0, 0, 0]),
        ("{ a b { c { d } } }", [3, 4, 2, 0, 0, 0]),
        ("{ x: a y: a @skip(if: true) @x }", [1, 2, 2, 2, 2, 0]),
        ("query A($a: Int @x) @x { a ... @x { b ... on B { c } } }", [1, 3, 3, 0, 3, 0]),
        ("{ ...F ...F @x } fragment F on Q @x { a: b { c } }", [2, 4, 2, 2, 3, 0]),
        ("{ a { ...F } } fragment F on Q { b { ...G } } fragment G on Q { c: d }", [3, 3, 1, 1, 0, 0]),
        ("{ ...None }", [0; 6]),
        ("{ a } fragment Unused on Q { b: c { d } }", [1, 1, 1, 0, 0, 0]),
        ("{ __schema { types { fields { type { ofType { ofType { name } } } } } } }", [5, 7, 1, 0, 0, 1]),
        (
            "{ __type(name: \"A\") { fields { type { interfaces { fields { name } } } } } }",
            [6, 6, 1, 0, 0, 3],
        ),
        ("{ group { interfaces { fields } } }", [3, 3, 1, 0, 0, 0]),
    ] {
        assert_eq!(measured(document), [depth, fields, root, aliases, directives, lists], "{document}");
    }
}

/// Says what is wrong with a document by the default limits.
fn said(document: &str) -> String {
    check(&parse_query(document).unwrap(), &Limits::default())
        .err()
        .map(|problem| problem.to_string())
        .unwrap_or_default()
}

#[test]
fn every_limit_is_named_with_its_value() {
    let many =
        |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>().concat();
    let nested = |depth: usize| format!("{}{}", "{a".repeat(depth), "}".repeat(depth));
    for (document, name, found, limit) in [
        (nested(13), "depth", 13, 12),
        (format!("{{ a {{ {} }} }}", many(31, &|each| format!("x{each}: a "))), "aliases", 31, 30),
        (format!("{{ {} }}", "a ".repeat(21)), "root fields", 21, 20),
        (format!("{{ a {{ {} }} }}", "b ".repeat(1000)), "fields", 1001, 1000),
        (format!("{{ a {} }}", "@x ".repeat(51)), "directives", 51, 50),
        (
            "{ __type(name: \"A\") { fields { type { fields { type { fields { name } } } } } } }".to_owned(),
            "introspection",
            3,
            2,
        ),
        (
            many(51, &|each| format!("fragment F{each} on Q {{ ...F{} }} ", each + 1))
                + "{ ...F0 } fragment F51 on Q { a }",
            "nesting",
            51,
            50,
        ),
    ] {
        let said = said(&document);
        assert!(
            said.contains(&format!("the limit `{name}`: it is {found}, and may be {limit};")),
            "{name}: {said}"
        );
    }
    assert_eq!(said(&nested(12)), "");
    assert!(
        said(&format!("query A {{ a }} query B {}", nested(13))).contains("depth"),
        "in whichever operation"
    );
}

#[test]
fn fragments_that_multiply_are_measured_without_being_put_in_their_places() {
    let doubling = |count: usize| {
        let fragments: Vec<String> = (0..count)
            .map(|each| format!("fragment F{each} on Q {{ ...F{0} ...F{0} }} ", each + 1))
            .collect();
        format!("{{ ...F0 }} {} fragment F{count} on Q {{ a }}", fragments.concat())
    };
    assert!(said(&doubling(12)).contains("`root fields`: it is 4096"));
    assert!(said(&doubling(48)).contains(&format!("it is {}", 1_u64 << 48)), "{}", said(&doubling(48)));
}

#[test]
fn a_fragment_within_itself_has_no_end_and_is_refused() {
    for (document, name) in [
        ("{ ...A } fragment A on Q { ...A }", "A"),
        ("{ a } fragment A on Q { a { ...A } }", "A"),
        ("{ a } fragment A on Q { ...A a }", "A"),
    ] {
        assert_eq!(said(document), format!("the fragment {name} is spread within itself"));
    }
    let ring = said("{ ...A } fragment A on Q { ...B } fragment B on Q { ... { ...A } }");
    assert!(ring.ends_with("is spread within itself"), "{ring}");
}

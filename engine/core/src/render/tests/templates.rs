use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PrepareError, check, config_map, render};
use crate::catalog::Catalog;
use crate::code::Code;
use crate::fixtures::catalog;

/// Loads a template that must be refused; its problems are told with their place in the template.
fn refused(properties: &str, template: &str, expected: &[&str]) {
    let loaded = Catalog::load(catalog(properties, template));
    // Fifteen lines stand above the template, and eight columns before it.
    let told: Vec<String> = loaded
        .problems
        .iter()
        .map(|p| {
            let (line, column) = (p.line.saturating_sub(ABOVE), p.column.saturating_sub(8));
            format!("{line}:{column}: {}", p.message)
        })
        .collect();
    assert_eq!(told.len(), expected.len(), "{template}: {told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{template}: {told} is not {expected}");
    }
    assert_eq!(loaded.catalog.implementations().count(), 0, "{template}");
}

/// The lines above a template in its test manifest.
const ABOVE: usize = 15;

/// Refuses one line of a ConfigMap's data.
fn refused_data(data: &str, expected: &str) {
    let line = expected.split(':').next().unwrap().parse::<usize>().unwrap() + 10;
    let (_, rest) = expected.split_once(':').unwrap();
    let (column, message) = rest.split_once(':').unwrap();
    let column = column.parse::<usize>().unwrap() + 10;
    let expected = format!("{line}:{column}:{message}");
    refused("{name: {type: string}, items: {type: array}}", &config_map(data), &[&expected]);
}

#[test]
fn values_keep_their_types() {
    let properties = "{text: {type: string}, number: {type: integer}, flag: {type: boolean}, list: {type: array}, absent: {type: string}}";
    let parameters = || json!({"text": "5", "number": 5, "flag": false, "list": ["a", {"b": 1}]});
    check(
        properties,
        "a: {{text}}\nb: {{number}}\nc: {{flag}}\nd: {{list}}\ne: {{absent}}\nf: [{{absent}}, {{number}}]",
        parameters(),
        &json!({"a": "5", "b": 5, "c": false, "d": ["a", {"b": 1}], "f": [5]}),
    );
    check(
        properties,
        "{{#each list as |item index|}}\nk{{!-- a comment --}}: {{concat index \"-\" @last \"-\" @root.text \"-\" ../text}}\n{{/each}}",
        json!({"text": "5", "list": ["a"]}),
        &json!({"k": "0-true-5-5"}),
    );
    check(
        properties,
        "{{#each (list text)}}\nk: {{concat this @index ../number}}\n{{else}}\nk: none\n{{/each}}",
        json!({"text": "a", "number": 1}),
        &json!({"k": "a01"}),
    );
    check(
        properties,
        "{{#if flag}}\nx: 1\n{{else if (eq number 5)}}\nx: 2\n{{else}}\nx: 3\n{{/if}}\n{{#with list as |l|}}\ny: {{l}}\n{{/with}}\n{{#unless flag}}\nz: {{lookup list 0}}\n{{/unless}}",
        parameters(),
        &json!({"x": 2, "y": ["a", {"b": 1}], "z": "a"}),
    );
}

#[test]
fn loops_see_their_items_and_what_is_around_them() {
    check(
        "{outer: {type: array}, name: {type: string}}",
        "{{#each outer}}\n{{#if @first}}\nfirst: {{this.key}}\n{{/if}}\n{{#each this.inner as |item|}}\nlast: {{concat @root.name \"/\" ../../name \"/\" ../key \"/\" item.x \"/\" this.x \"/\" @../index \"/\" @index}}\n{{/each}}\n{{/each}}",
        json!({"name": "n", "outer": [{"key": "k", "inner": [{"x": "y"}]}]}),
        &json!({"first": "k", "last": "n/n/k/y/y/0/0"}),
    );
    check(
        "{map: {type: object}}",
        "items:\n{{#each map as |value key|}}\n- {{concat key \"=\" value @key}}\n{{/each}}",
        json!({"map": {"a": 1, "b": 2}}),
        &json!({"items": ["a=1a", "b=2b"]}),
    );
}

#[test]
fn names_that_nobody_declares_are_refused_everywhere() {
    refused_data("x: {{nmae}}", "1:4: no parameter is named `nmae`");
    refused_data("x: {{concat \"a\" (default other 1)}}", "1:4: no parameter is named `other`");
    refused_data("{{#if other}}\nx: 1\n{{/if}}", "1:1: no parameter is named `other`");
    refused_data(
        "{{#if name}}\nx: 1\n{{else if other}}\ny: 1\n{{/if}}",
        "1:1: no parameter is named `other`",
    );
    refused_data("{{#each items as |item|}}\nx: {{other}}\n{{/each}}", "2:4: `other` is ambiguous");
    refused_data("{{#each items}}\nx: {{name}}\n{{/each}}", "2:4: `name` is ambiguous");
    refused_data("{{#each items}}\nx: {{../other}}\n{{/each}}", "2:4: no parameter is named `other`");
    refused_data("{{#each items}}\nx: {{../../name}}\n{{/each}}", "2:4: `../../name` leads out");
    refused_data("x: {{@root.other}}", "1:4: no parameter is named `other`");
    refused_data("x: {{this}}", "1:4: `this` means something only");
    refused_data("x: {{@index}}", "1:4: `@index` means nothing here");
    refused_data("x: {{context.actionNmae}}", "1:4: `context.actionNmae` is not in the context");
    refused_data("x: {{context}}", "1:4: `context` is not in the context");
}

#[test]
fn what_breaks_the_promise_of_slots_is_refused() {
    refused_data("x: {{{name}}}", "1:4: triple braces");
    refused_data("x: {{&name}}", "1:4: triple braces");
    refused_data("x: {{> part}}", "1:4: partials");
    refused_data("{{* inline \"x\"}}\nx: 1", "1:1: decorators");
    refused_data("x: {{now 1}}", "1:4: `now` is not a known helper");
    refused_data("x: {{log name}}", "1:4: `log` is not a known helper");
    refused_data("x: {{eq name}}", "1:4: `eq` takes 2 arguments, not 1");
    refused_data("x: {{concat name name sep=1}}", "1:4: `concat` takes no named arguments");
    refused_data("{{#repeat name}}\nx: 1\n{{/repeat}}", "1:1: `#repeat` is not a known block");
    refused_data("x: a-{{name}}", "1:6: an expression must be the whole value");
    refused_data("x: |\n  echo {{name}}", "2:8: an expression must be the whole value");
    refused_data("{{#if name}}\nx: {{name}}-a\n{{/if}}", "2:4: an expression must be the whole value");
    refused_data("{{name}}: x", "1:1: an expression cannot be a key");
    refused_data("x: {$cel: {{name}}}", "1:11: an expression cannot stand at");
}

#[test]
fn text_that_is_no_template_is_refused() {
    let properties = "{name: {type: string}}";
    refused(properties, "a: {{name", &["1:4: the template does not parse"]);
    refused(properties, "a: 1\n{{#if name}}\nb: 1", &["2:1: the template does not parse"]);
    refused(properties, "{{#if name}}\nb: 1\n{{/each}}", &["3:1: the template does not parse"]);
}

#[test]
fn templates_that_yield_garbage_are_refused() {
    let properties = "{name: {type: string}}";
    let step = "apiVersion: core.ochre.dev/v1alpha1\nkind: Workflow\nsteps:\n  - name: a\n";
    refused(
        properties,
        "a: b: c",
        &[
            "1:1: the template yields no valid YAML: mapping values are not allowed in this context, in `a: b: c`",
        ],
    );
    refused(properties, "- {{name}}", &["1:3: an expression cannot stand at /0"]);
    refused(properties, "a: 1", &["1:1: the template yields no valid workflow: /a: unknown field"]);
    refused(
        properties,
        "{{#if name}}\na: 1\n{{/if}}",
        &["1:1: the template yields no valid workflow", "1:1: the template yields no valid workflow"],
    );
    refused(
        properties,
        &format!("{step}    chekc: {{that: \"true\"}}"),
        &["1:1: the template yields no valid workflow: /steps/0/chekc: unknown field"],
    );
    refused(
        properties,
        &format!("{step}    when: {{{{name}}}}\n    check: {{that: \"true\"}}"),
        &["5:11: an expression cannot stand at /steps/0/when"],
    );
    refused(
        properties,
        &format!("{step}    check: {{that: {{{{name}}}}}}"),
        &["5:19: an expression cannot stand at /steps/0/check/that"],
    );
    refused(
        properties,
        &format!("{step}    timeout: soon\n    check: {{that: \"true\"}}"),
        &["1:1: the template yields no valid workflow: /steps/0/timeout: `soon` is not a duration"],
    );
}

fn limited(properties: &str, template: &str, parameters: Value) {
    let error = render(properties, &config_map(template), parameters).unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded, "{error}");
    assert!(matches!(error, PrepareError::Template { .. }), "{error}");
}

#[test]
fn output_and_loops_are_bounded() {
    let properties = "{items: {type: array}, text: {type: string}}";
    let many: Vec<u8> = vec![1; 300];
    let twice = "{{#each items}}{{#each @root.items}}{{/each}}{{/each}}\nx: 1";
    limited(properties, twice, json!({"items": many}));
    let copies = "x:\n{{#each items}}\n- {{@root.text}}\n{{/each}}";
    limited(properties, copies, json!({"items": many, "text": "x".repeat(4000)}));
    let filler = format!("x:\n{{{{#each items}}}}\n- {}\n{{{{/each}}}}", "x".repeat(4000));
    limited(properties, &filler, json!({"items": many}));
}

#[test]
fn templates_that_nest_too_deep_are_refused() {
    let properties = "{name: {type: string}}";
    let calls = format!("x: {{{{not {}name{}}}}}", "(not ".repeat(9000), ")".repeat(9000));
    refused(properties, &calls, &["1:1: the template nests deeper than"]);
    let literals = format!("x: {{{{default {}1{} 1}}}}", "[".repeat(9000), "]".repeat(9000));
    refused(properties, &literals, &["1:1: the template nests deeper than"]);
    let blocks = format!("{}x: 1{}", "{{#if name}}".repeat(2000), "{{/if}}".repeat(2000));
    refused(properties, &blocks, &["1:1: the template nests deeper than"]);
    let calls = format!("x: {{{{not {}name{}}}}}", "(not ".repeat(100), ")".repeat(100));
    refused(properties, &calls, &["1:4: helper calls nest deeper than 16"]);
    let blocks = format!("{}x: 1{}", "{{#if name}}".repeat(60), "{{/if}}".repeat(60));
    refused(properties, &blocks, &["1:193: blocks nest deeper than 16"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loading_never_panics(parts in prop::collection::vec(prop::sample::select(TOKENS), 0..24)) {
        let loaded = Catalog::load(catalog("{name: {type: string}, items: {type: array}}", &parts.concat()));
        // No such soup is a workflow: it must be told, not dropped.
        prop_assert_eq!(loaded.catalog.implementations().count(), 0);
        prop_assert!(!loaded.problems.is_empty());
    }
}

/// What templates and YAML are made of.
const TOKENS: &[&str] = &[
    "{{",
    "}}",
    "{{{",
    "}}}",
    "{{#if ",
    "{{#each ",
    "{{#with ",
    "{{else}}",
    "{{else if ",
    "{{^}}",
    "{{/if}}",
    "{{/each}}",
    "{{/with}}",
    "{{~",
    "~}}",
    "{{!",
    "{{!--",
    "--}}",
    "{{>",
    "{{*",
    "{{&",
    "{{{{raw}}}}",
    "{{{{/raw}}}}",
    "name",
    "items",
    "this",
    "../",
    "@index",
    "@root.",
    "as |x|",
    "x",
    "(",
    ")",
    "eq ",
    "list ",
    "\"a\"",
    "'b'",
    "1",
    "null",
    "[",
    "]",
    "=",
    ": ",
    "- ",
    "\n",
    "  ",
    "|",
    "\\",
    "&a ",
    "*a",
    "\u{E000}",
    "é",
    ".",
    "steps:",
];

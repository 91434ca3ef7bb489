//! Bad input: refused at once, with what is wrong, where, and what to do; nothing is created.

use ochre::content::Content;
use ochre_core::catalog::{Catalog, SourceFile};
use ochre_tests::{Answer, Engine, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

const PATH: &str = "cap.interface.data.backup";

/// What is sent in place of a good input, and what must be answered.
struct Bad {
    what: &'static str,
    input: Value,
    code: &'static str,
    says: &'static [&'static str],
    pointers: &'static [&'static str],
}

/// Makes the input of an Action from its parameters.
fn input(parameters: Value) -> Value {
    json!({"name": "bad", "run": true, "actionRef": {"path": PATH}, "input": {"parameters": parameters}})
}

/// Makes a good input but for one field.
fn but(field: &str, value: Value) -> Value {
    let mut input = input(json!({"action": "backup", "name": "mongo"}));
    input[field] = value;
    input
}

/// Makes good parameters but for one.
fn with(parameter: &str, value: Value) -> Value {
    let mut parameters = json!({"action": "backup", "name": "mongo"});
    parameters[parameter] = value;
    input(parameters)
}

fn pointers(answer: &Answer) -> Vec<String> {
    answer.violations().iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
}

/// Sends bad inputs, each of which is refused with nothing created; at the end the engine still works.
async fn check(table: Vec<Bad>) {
    let world = World::start().await;
    let engine = world.engine().await;
    for Bad { what, input, code, says, pointers: wanted } in table {
        let answer = engine.create_action(input).await;
        let (found, message) = answer.error();
        assert_eq!(found, code, "{what}: {message}");
        for part in says {
            assert!(message.contains(part), "{what}: `{part}` is not said in: {message}");
        }
        assert_eq!(pointers(&answer), wanted, "{what}: {message}");
        assert!(engine.action("bad").await.is_null(), "{what}: an Action was created");
    }
    works(&world, &engine).await;
    assert_eq!(world.velero_names("Backup").await, ["good"]);
    assert!(world.velero_names("Restore").await.is_empty());
}

/// Sees that the engine still works.
async fn works(world: &World, engine: &Engine) {
    engine
        .create("good", None, json!({"action": "backup", "name": "good", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("good").await;
}

#[tokio::test]
async fn what_is_not_in_the_catalog_is_not_found() {
    let reference =
        |path: &str, revision: Value| but("actionRef", json!({"path": path, "revision": revision}));
    check(vec![
        Bad {
            what: "an unknown interface",
            input: reference("cap.interface.data.bakup", Value::Null),
            code: "NOT_FOUND",
            says: &[
                "there is no Interface `cap.interface.data.bakup`",
                "did you mean `cap.interface.data.backup`?",
            ],
            pointers: &[],
        },
        Bad {
            what: "an interface like no other",
            input: reference("cap.interface.productivity.rocketchat.install", Value::Null),
            code: "NOT_FOUND",
            says: &["cap.interface.productivity.rocketchat.install"],
            pointers: &[],
        },
        Bad {
            what: "no path at all",
            input: reference("../../etc/passwd", Value::Null),
            code: "NOT_FOUND",
            says: &["../../etc/passwd"],
            pointers: &[],
        },
        Bad {
            what: "an unknown revision",
            input: reference(PATH, json!("9.9.9")),
            code: "NOT_FOUND",
            says: &["has no revision 9.9.9", "there are 0.1.0, 0.2.0"],
            pointers: &[],
        },
        Bad {
            what: "a revision that is none",
            input: reference(PATH, json!("newest")),
            code: "NOT_FOUND",
            says: &["has no revision newest", "there are 0.1.0, 0.2.0"],
            pointers: &[],
        },
    ])
    .await;
}

#[tokio::test]
async fn parameters_must_be_a_json_object() {
    let bad = |what, parameters, says| Bad {
        what,
        input: input(parameters),
        code: "BAD_USER_INPUT",
        says,
        pointers: &[],
    };
    check(vec![
        bad("a cut off text", json!("{\"action\": \"backup\""), &["the string is not JSON", "line 1 column"]),
        bad("YAML", json!("action: backup\nname: mongo"), &["the string is not JSON"]),
        bad("an empty text", json!(""), &["the string is not JSON"]),
        bad("a list", json!("[1]"), &["input.parameters must be a JSON object, not an array"]),
        bad("a real list", json!([1]), &["input.parameters must be a JSON object, not an array"]),
        bad("a text in a text", json!("\"{}\""), &["input.parameters must be a JSON object, not a string"]),
        bad("a number", json!(7), &["input.parameters must be a JSON object, not a number"]),
        bad("a truth", json!(true), &["input.parameters must be a JSON object, not true or false"]),
    ])
    .await;
}

#[tokio::test]
async fn every_violation_is_told_at_once() {
    let world = World::start().await;
    let engine = world.engine().await;
    let parameters = json!({
        "action": "bakup", "name": "Mongo_1", "selector": "app in (a", "selectors": ["b=", 3], "volumes": 1,
        "ttl": "soon", "timeout": "-1h", "storageLocation": "", "allowPartial": "yes", "existing": "replace",
        "namespaceMapping": {"Old": "new", "old": "New"}, "includeNamespaces": [""], "includeResources": {}, "colour": "red",
    });
    let answer = engine.create_action(input(parameters)).await;
    answer
        .refuses("BAD_USER_INPUT", &["the parameters are not valid", "/action: ", "did you mean `backup`?"]);
    insta::assert_snapshot!(answer.violations().join("\n"), @r"
    : give either `selector` or `selectors`, not both
    /action: `bakup` is not one of `backup`, `restore`
    /allowPartial: must be a boolean, not a string
    /colour: `colour` is not known here
    /existing: `replace` is not one of `refuse`, `keep`, `update`
    /includeNamespaces/0: `` is shorter than 1 characters
    /includeResources: must be a string or an array, not an object
    /name: `Mongo_1` is not a DNS label: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63 characters
    /namespaceMapping: the key `Old` is not a DNS label: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63 characters
    /namespaceMapping/old: `New` is not a DNS label: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63 characters
    /selector: `app in (a` is not a label selector: at byte 7: the list of values is never closed
    /selectors/1: must be a string, not a number
    /storageLocation: `` is not a DNS name: lower-case letters, digits, `-` and `.`, a letter or digit at both ends of each part, at most 253 characters
    /storageLocation: `` is shorter than 1 characters
    /timeout: `-1h` is not a duration: it is negative
    /ttl: `soon` is not a duration: write it as 90s, 15m or 4h30m
    /volumes: `1` is not one of `fs`, `annotated`, `snapshot`, `none`
    /volumes: must be a string, not a number
    ");

    let answer = engine.create_action(input(json!({}))).await;
    insta::assert_snapshot!(answer.violations().join("\n"), @r"
    /action: `action` is required
    /name: `name` is required
    ");
    let nested = json!({"input-parameters": {"action": "backup", "name": "Mongo"}});
    let answer = engine.create_action(input(nested)).await;
    assert_eq!(pointers(&answer), ["/input-parameters/name"], "pointers lead into what was sent");
    assert!(engine.names(Value::Null).await.is_empty());
    works(&world, &engine).await;
}

#[tokio::test]
async fn parameters_that_contradict_or_are_no_names_are_refused() {
    let bad = |what, input, says, pointers| Bad { what, input, code: "BAD_USER_INPUT", says, pointers };
    check(vec![
        bad(
            "a bad selector",
            with("selector", json!("app=db,tier in front")),
            &["/selector", "is not a label selector: at byte 15: expected `(` and a list of values"],
            &["/selector"],
        ),
        bad(
            "a bad one of several",
            with("selectors", json!(["a=b", "=c"])),
            &["/selectors/1", "is not a label selector"],
            &["/selectors/1"],
        ),
        bad(
            "selector and selectors",
            {
                let both =
                    json!({"action": "backup", "name": "mongo", "selector": "a=b", "selectors": ["c=d"]});
                input(both)
            },
            &["give either `selector` or `selectors`, not both"],
            &[""],
        ),
        bad(
            "a name with a dot",
            with("name", json!("mongo.1")),
            &["/name", "is not a DNS label"],
            &["/name"],
        ),
        bad("a long name", with("name", json!("m".repeat(59))), &["/name", "58 characters"], &["/name"]),
        bad(
            "what 0.1.0 does not know",
            {
                let mut old = with("volumes", json!("none"));
                old["actionRef"]["revision"] = json!("0.1.0");
                old
            },
            &["`volumes` is not known here"],
            &["/volumes"],
        ),
        bad("an Action's name with a capital", but("name", json!("Bad")), &["a DNS label"], &[]),
        bad("an Action's name that is too long", but("name", json!("b".repeat(64))), &["at most 63"], &[]),
        bad("an Action without a name", but("name", json!("")), &["a DNS label"], &[]),
        bad(
            "an expression",
            with("selectors", json!([{"$cel": "1"}])),
            &["expressions are not allowed"],
            &["/selectors/0", "/selectors/0/$cel"],
        ),
        bad(
            "an expression in an object",
            with("namespaceMapping", json!({"$cel": "x"})),
            &["expressions are not allowed"],
            &["/namespaceMapping", "/namespaceMapping/$cel"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn parameters_that_are_too_large_or_deep_pass_a_limit() {
    let deep = (0..80).fold(json!("a"), |inner, _| json!([inner]));
    let many: Vec<String> = (0..1000).map(|number| format!("{}{number}", "n".repeat(200))).collect();
    let bad = |what, input, says| Bad { what, input, code: "LIMIT_EXCEEDED", says, pointers: &[] };
    check(vec![
        bad("a long text", with("selector", json!("a".repeat(200_000))), &["bytes", "131072"]),
        bad("many names", with("includeNamespaces", json!(many)), &["bytes", "131072"]),
        bad("deep lists", with("selectors", deep), &["deeper than 64 levels"]),
    ])
    .await;
}

#[tokio::test]
async fn an_unknown_namespace_is_not_found() {
    let world = World::start().await;
    let engine = world.engine().await;
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let good = but("name", json!("good"));
    let answer = engine.graphql_in("no-such", query, json!({"in": good})).await;
    answer.refuses(
        "NOT_FOUND",
        &["in the namespace no-such, which the NAMESPACE header names", "namespaces \"no-such\" not found"],
    );
    works(&world, &engine).await;
}

#[tokio::test]
async fn what_is_not_built_says_so_and_nothing_in_its_place_passes() {
    let world = World::start().await;
    let engine = world.engine().await;
    let mut instances = but("dryRun", json!(false));
    instances["input"]["typeInstances"] = json!([{"name": "a", "id": "b"}]);
    let mut policy = but("dryRun", json!(false));
    policy["input"]["actionPolicy"] = json!({"interface": {"rules": [], "default": {}}});
    for (input, what) in [
        (but("dryRun", json!(true)), "dryRun"),
        (but("advancedRendering", json!(true)), "advancedRendering"),
        (but("renderedActionOverride", json!({"steps": []})), "renderedActionOverride"),
        (instances, "input.typeInstances"),
        (policy, "input.actionPolicy"),
    ] {
        engine
            .create_action(input)
            .await
            .refuses("NOT_IMPLEMENTED", &[what, "not implemented yet", "leave it out"]);
    }
    let action = json!({"in": but("dryRun", json!(false))});
    for (document, variables) in [
        ("mutation($in: ActionDetailsInput!) { updateAction(in: $in) { name } }", action),
        ("mutation { updatePolicy(in: {interface: {rules: []}}) { __typename } }", json!({})),
        ("mutation { continueAdvancedRendering(actionName: \"a\", in: {}) { name } }", json!({})),
    ] {
        engine.graphql(document, variables).await.refuses("NOT_IMPLEMENTED", &["not implemented yet"]);
    }
    assert!(engine.names(Value::Null).await.is_empty());

    let nulls = json!({
        "name": "nulls", "run": null, "dryRun": null, "advancedRendering": null, "renderedActionOverride": null,
        "actionRef": {"path": PATH, "revision": null},
        "input": {"parameters": {"action": "backup", "name": "nulls"}, "typeInstances": null, "actionPolicy": null},
    });
    engine.create_action(nulls).await.data();
    let empties = json!({
        "name": "empties", "run": true, "dryRun": false, "advancedRendering": false, "actionRef": {"path": PATH},
        "input": {
            "parameters": {"action": "backup", "name": "empties", "selector": APPLICATION}, "typeInstances": [],
            "actionPolicy": {"interface": {"rules": []}, "typeInstance": null},
        },
    });
    engine.create_action(empties).await.data();
    world.succeeded("empties").await;
    let without = json!({"name": "without", "actionRef": {"path": PATH}, "input": null});
    engine
        .create_action(without)
        .await
        .refuses("BAD_USER_INPUT", &["`action` is required", "`name` is required"]);
    engine
        .graphql("mutation { createAction(in: null) { name } }", json!({}))
        .await
        .refuses("BAD_USER_INPUT", &["`in`"]);
}

#[test]
fn a_broken_catalog_is_refused_with_all_its_problems() {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let loaded = Catalog::load(vec![
        file("interface/broken.yaml", "kind: Interface\n  metadata: [\n"),
        file("interface/none.yaml", "ocfVersion: 0.0.1\nkind: Nothing\n"),
        file(
            "type/twice.yaml",
            "ocfVersion: 0.0.1\nrevision: one\nkind: Type\nmetadata: {name: twice}\nspec: {}\n",
        ),
    ]);
    let problems = Content::new(loaded).err().unwrap().to_string();
    for place in ["interface/broken.yaml:", "interface/none.yaml:", "type/twice.yaml:"] {
        assert!(problems.contains(place), "{problems}");
    }
}

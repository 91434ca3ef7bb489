//! No value of a parameter is taken for YAML, Handlebars, CEL or anything else than itself.

use ochre_core::phase::Phase;
use ochre_tests::{Answer, Engine, World};
use serde_json::{Value, json};

/// Makes the input of an Action from its parameters.
fn input(name: &str, parameters: Value) -> Value {
    json!({
        "name": name, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters},
    })
}

/// Makes good parameters but for one.
fn with(parameter: &str, value: Value) -> Value {
    let mut parameters = json!({"action": "backup", "name": "mongo"});
    parameters[parameter] = value;
    input("bad", parameters)
}

/// Sends an input that must be refused with these words.
async fn check(engine: &Engine, input: Value, says: &str) -> Answer {
    let answer = engine.create_action(input).await;
    answer.refuses("BAD_USER_INPUT", &[says]);
    answer
}

/// Texts that mean something to YAML, Handlebars, CEL or a shell.
const SYNTAX: [&str; 14] = [
    "{{name}}",
    "{{{name}}}",
    "{{#each this}}x{{/each}}",
    "a\"b'c`d",
    "a\n  b: c\n---\nd",
    "- x",
    "key: [a, {b: c",
    "!!binary x",
    "&a *a",
    "# nothing",
    "${HOME} $(id)",
    "steps.backup.outputs[0]",
    "{$cel: \"1 + 1\"}",
    "\u{0}\u{85}\u{2028}%s\\",
];

#[tokio::test]
async fn no_value_is_taken_for_syntax() {
    let world = World::start().await;
    let engine = world.engine().await;
    let strict = [
        "action",
        "name",
        "selector",
        "volumes",
        "ttl",
        "storageLocation",
        "timeout",
        "existing",
        "syncTimeout",
    ];
    for text in SYNTAX {
        for parameter in strict {
            let says = format!("the parameters are not valid: /{parameter}: ");
            let answer = check(&engine, with(parameter, json!(text)), &says).await;
            assert!(answer.violations().iter().all(|line| line.starts_with(&format!("/{parameter}: "))));
        }
        check(&engine, with("selectors", json!([text])), "/selectors/0: ").await;
        check(&engine, with("namespaceMapping", json!({(text): "a"})), "/namespaceMapping: ").await;
        check(&engine, with("namespaceMapping", json!({"a": text})), "/namespaceMapping/a: ").await;
        check(&engine, with(text, json!("a")), "is not known here").await;
    }
    assert!(engine.names(Value::Null).await.is_empty());
}

#[tokio::test]
async fn what_is_taken_is_taken_literally() {
    let world = World::start().await;
    let engine = world.engine().await;
    for (number, text) in SYNTAX.iter().enumerate() {
        let name = format!("literal-{number}");
        let parameters = json!({"action": "backup", "name": name, "includeResources": [text]});
        engine.create_action(input(&name, parameters)).await.data();
        world.until(&name, |status| status.phase == Phase::ReadyToRun).await;
        let action = engine.action(&name).await;
        let spec = &action["renderedAction"]["steps"][0]["resource"]["manifest"]["spec"];
        insta::allow_duplicates! {
            let mut others = spec.clone();
            let resources = others.as_object_mut().unwrap().remove("includedResources");
            assert_eq!(resources, Some(json!([text])));
            insta::assert_snapshot!(others, @r#"{"ttl":"720h","snapshotVolumes":false,"defaultVolumesToFsBackup":true}"#);
        }
    }
}

#[tokio::test]
async fn a_text_reaches_velero_as_it_is() {
    let world = World::start().await;
    let engine = world.engine().await;
    let text = "{{name}}\n- x: \"${HOME}\"";
    let parameters = json!({"action": "backup", "name": "mongo", "includeResources": ["configmaps", text]});
    engine.create("literal", None, parameters).await.data();
    world.ended("literal").await;
    let backup = world.velero("Backup").get("mongo").await.unwrap();
    assert_eq!(backup.data["spec"]["includedResources"], json!(["configmaps", text]));
}

//! What is there and what is not: to a caller without the rights, one answer, byte for byte.

use std::time::Duration;

use ochre::Authentication;
use ochre::options::GatewayOptions;
use ochre_core::action::ActionStatus;
use ochre_tests::{Engine, Event, Person, World};
use serde_json::{Value, json};

/// Operations on an Action or a Backup `NAME`, with the rights on Actions that do not suffice for them.
const OPERATIONS: [(&str, &[&str]); 14] = [
    ("{ action(name: \"NAME\") { name status { phase message } } }", &["list", "create"]),
    ("{ actions(filter: {nameRegex: \"NAME\"}) { name } }", &["get", "create"]),
    ("{ actionsConnection(filter: {nameRegex: \"NAME\"}) { totalCount } }", &["get", "create"]),
    ("subscription { actionChanged(name: \"NAME\") { name } }", &["get", "list", "create"]),
    ("subscription { actionsChanged(filter: {nameRegex: \"NAME\"}) { name } }", &["get", "list", "create"]),
    ("mutation { runAction(name: \"NAME\") { name status { phase } } }", &["get", "list", "cancel"]),
    ("mutation { cancelAction(name: \"NAME\") { name status { phase } } }", &["get", "list", "run"]),
    ("mutation { deleteAction(name: \"NAME\") { name status { phase } } }", &["get", "list", "run"]),
    (
        "mutation { createAction(in: {name: \"NAME\", actionRef: {path: \"cap.interface.data.backup\"}}) { name } }",
        &["get"],
    ),
    (
        "mutation { createAction(in: {name: \"NAME\", run: true, actionRef: {path: \"cap.interface.data.backup\"}, input: {parameters: {action: \"backup\", name: \"NAME\", includeNamespaces: \"chat\"}}}) { name } }",
        &["create"],
    ),
    ("{ canI(verb: GET, action: \"NAME\") }", &["create"]),
    (
        "{ backups(filter: {backupName: \"NAME\"}) { name status { phase } action { name } } }",
        &["list", "create"],
    ),
    ("{ restores(filter: {backupName: \"NAME\"}) { name action { name } } }", &["list", "create"]),
    (
        "mutation { updateAction(in: {name: \"NAME\", actionRef: {path: \"x\"}}) { name } }",
        &["get", "create"],
    ),
];

/// Answers without what names the request, and the object.
async fn answer(engine: &Engine, person: &Person, query: &str, name: &str) -> String {
    let query = query.replace("NAME", name);
    let mut body = if query.starts_with("subscription") {
        match engine.events_by(Some(person), &query, json!({})).await.next().await {
            Some(Event::Next(answer)) => answer,
            other => unreachable!("no answer: {other:?}"),
        }
    } else {
        engine.graphql_by(Some(person), &query, json!({})).await.body
    };
    for error in body["errors"].as_array_mut().into_iter().flatten() {
        let code = error["extensions"]["code"].as_str().unwrap();
        assert!(!code.starts_with("GRAPHQL"), "{query} is no operation: {error}");
        error["extensions"].as_object_mut().unwrap().remove("requestId");
    }
    body.to_string().replace(name, "NAME")
}

async fn start() -> (World, Engine) {
    let world = World::start().await;
    let authentication = vec![Authentication::Token];
    let options = GatewayOptions { authentication, remember: Duration::ZERO, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    (world, engine)
}

/// Has an administrator make a Backup and a Restore by Actions of their own, all called `there`.
async fn made(world: &World, engine: &Engine) -> Person {
    let admin = world.person("admin").await;
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    world.grant_rule(&admin, None, everything).await;
    let backup = json!({
        "action": "backup", "name": "there", "includeNamespaces": "chat", "includeResources": "configmaps",
        "volumes": "none",
    });
    engine.run_by(&admin, "there", backup).await.data();
    world.succeeded("there").await;
    let restore =
        json!({"action": "restore", "name": "there", "existing": "keep", "includeNamespaces": "chat"});
    engine.run_by(&admin, "restored", restore).await.data();
    world.succeeded("restored").await;
    admin
}

#[tokio::test]
async fn every_operation_answers_alike_for_what_is_there_and_what_is_not() {
    let (world, engine) = start().await;
    made(&world, &engine).await;
    let mut differ = Vec::new();
    for (number, (query, insufficient)) in OPERATIONS.iter().enumerate() {
        let (nobody, some) =
            (world.person(&format!("nobody-{number}")).await, world.person(&format!("some-{number}")).await);
        world.grant(&some, Some("default"), "actions", insufficient).await;
        for person in [&nobody, &some] {
            let there = answer(&engine, person, query, "there").await;
            let absent = answer(&engine, person, query, "no-such").await;
            if there != absent {
                differ.push(format!("{query} by {}:\n  {there}\n  {absent}", person.username));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[tokio::test]
async fn of_a_taken_name_only_that_is_told_to_who_may_not_get_it() {
    let (world, engine) = start().await;
    let admin = made(&world, &engine).await;
    let create = "mutation { createAction(in: {name: \"NAME\", actionRef: {path: \"cap.interface.data.backup\"}, input: {parameters: {action: \"backup\", name: \"b\"}}}) { name status { phase } } }";
    engine.graphql_by(Some(&admin), &create.replace("NAME", "waits"), json!({})).await.data();
    let alice = world.person("alice").await;
    world.grant(&alice, Some("default"), "actions", &["create", "run"]).await;
    let ended = answer(&engine, &alice, create, "there").await;
    assert!(ended.contains("the name NAME is taken") && !ended.contains("SUCCEEDED"), "{ended}");
    // Neither that it is the same, nor where it stands.
    assert_eq!(answer(&engine, &alice, create, "waits").await, ended);
    world.grant(&alice, Some("default"), "actions", &["get"]).await;
    assert!(answer(&engine, &alice, create, "there").await.contains("has ended (SUCCEEDED)"));
    assert!(answer(&engine, &alice, create, "waits").await.contains("\"name\":\"NAME\""));
}

#[tokio::test]
async fn a_run_tells_no_more_of_what_is_there_than_of_what_is_not() {
    let (world, engine) = start().await;
    made(&world, &engine).await;
    let alice = world.person("alice").await;
    for namespace in ["default", "shop"] {
        world.grant_edit(&alice, Some(namespace)).await;
    }
    let run = async |name: String, parameters: Value| -> ActionStatus {
        engine.run_by(&alice, &name, parameters).await.data();
        world.ended(&name).await
    };
    let restore = json!({"action": "restore", "syncTimeout": "1ms"});
    let named = json!({"action": "restore", "syncTimeout": "1ms", "includeNamespaces": "shop"});
    for (number, parameters) in [restore, named].into_iter().enumerate() {
        let mut told = Vec::new();
        for backup in ["there", "no-such"] {
            let mut parameters = parameters.clone();
            parameters["name"] = json!(backup);
            let status = run(format!("back-{number}-{backup}"), parameters).await;
            let step = &status.steps[0];
            let history: Vec<String> =
                status.history.iter().map(|entry| entry.what.replace(backup, "NAME")).collect();
            let message = status.message.unwrap_or_default().replace(backup, "NAME");
            told.push((message, step.reason.clone(), step.object.clone(), step.outputs.clone(), history));
        }
        assert_eq!(told[0], told[1], "{parameters}");
    }
    // Who holds a name is told to who may see it, and nothing of it to who may not have what they ask for.
    let taken = json!({
        "action": "backup", "name": "there", "includeNamespaces": "shop", "includeResources": "configmaps",
        "volumes": "none",
    });
    let message = run("taken".to_owned(), taken).await.message.unwrap();
    assert!(message.contains("exists and is not this Action's; give another name"), "{message}");
}

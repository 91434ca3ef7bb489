//! The gateway: namespaces, filters, reads of what was just written, and the habits of Capact's CLI.

use kube::api::PostParams;
use kube::{Api, CustomResourceExt as _};
use ochre::Readiness;
use ochre_core::action::Action;
use ochre_core::phase::Phase;
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

const PATH: &str = "cap.interface.data.backup";

async fn start() -> (World, Engine) {
    let world = World::start().await;
    let engine = world.engine().await;
    (world, engine)
}

async fn get(engine: &Engine, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", engine.url)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn waiting(name: &str, path: &str, revision: Value) -> Value {
    json!({"in": {
        "name": name, "actionRef": {"path": path, "revision": revision},
        "input": {"parameters": {"action": "backup", "name": name}},
    }})
}

const CREATE: &str = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name status { phase } } }";

#[tokio::test]
async fn readiness_names_the_kinds_that_the_cluster_lacks() {
    let world = World::bare(|_| {}).await;
    let readiness = Readiness::default();
    let engine = world.unready_engine(readiness.clone(), None).await;
    assert_eq!(get(&engine, "/livez").await, (200, "ok".to_owned()));
    let missing = readiness.missing().await;
    assert_eq!(missing, "the cluster lacks actions.core.ochre.dev");
    let (status, said) = get(&engine, "/readyz").await;
    assert_eq!((status, said), (503, format!("not ready: {missing}")));
    let early = engine.graphql("{ actions { name } }", json!({})).await;
    early.refuses("UPSTREAM_UNAVAILABLE", &["not ready: the cluster lacks actions.core.ochre.dev"]);
    engine.graphql(CREATE, waiting("a", PATH, Value::Null)).await.refuses("UPSTREAM_UNAVAILABLE", &[]);
    let definitions: Api<_> = Api::all(world.client.clone());
    definitions.create(&PostParams::default(), &Action::crd()).await.unwrap();
    readiness.wait().await;
    assert_eq!(get(&engine, "/readyz").await, (200, "ok".to_owned()));
    assert!(engine.names(Value::Null).await.is_empty());
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let (world, engine) = start().await;
    for namespace in ["default", "chat"] {
        engine.graphql_in(namespace, CREATE, waiting("same", PATH, Value::Null)).await.data();
    }
    engine.graphql_in("shop", CREATE, waiting("alone", PATH, Value::Null)).await.data();
    let names = async |namespace: &str| {
        let found = engine.graphql_in(namespace, "{ actions { name } }", json!({})).await.data();
        found["actions"].as_array().unwrap().iter().map(|each| each["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("default").await, ["same"]);
    assert_eq!(names("chat").await, ["same"]);
    assert_eq!(names("shop").await, ["alone"]);
    assert!(names("no-such").await.is_empty());
    let delete = "mutation { deleteAction(name: \"same\") { name } }";
    engine.graphql_in("shop", delete, json!({})).await.refuses("NOT_FOUND", &["shop/same"]);
    engine.graphql_in("chat", delete, json!({})).await.data();
    assert_eq!(names("default").await, ["same"]);
    assert!(world.actions("chat").get_opt("alone").await.unwrap().is_none());
    for wrong in ["Default", "a.b", "-a", "a/../b", &"n".repeat(64)] {
        let answer = engine.graphql_in(wrong, "{ actions { name } }", json!({})).await;
        assert_eq!(answer.status, 400, "{wrong}");
        answer.refuses("BAD_USER_INPUT", &["NAMESPACE"]);
    }
}

#[tokio::test]
async fn actions_are_found_by_all_that_is_asked() {
    let (world, engine) = start().await;
    engine.graphql(CREATE, waiting("waits", PATH, Value::Null)).await.data();
    engine.graphql(CREATE, waiting("waits-too", PATH, json!("0.1.0"))).await.data();
    engine
        .create("done", None, json!({"action": "backup", "name": "done", "selector": APPLICATION}))
        .await
        .data();
    world.succeeded("done").await;
    for name in ["waits", "waits-too"] {
        world.until(name, |status| status.phase == Phase::ReadyToRun).await;
    }
    for (filter, found) in [
        (Value::Null, vec!["done", "waits", "waits-too"]),
        (json!({}), vec!["done", "waits", "waits-too"]),
        (json!({"phase": null, "nameRegex": null, "interfaceRef": null}), vec!["done", "waits", "waits-too"]),
        (json!({"phase": "SUCCEEDED"}), vec!["done"]),
        (json!({"phase": "FAILED"}), vec![]),
        (json!({"nameRegex": "^waits"}), vec!["waits", "waits-too"]),
        (json!({"phase": null, "nameRegex": "(^waits$)", "interfaceRef": null}), vec!["waits"]),
        (json!({"nameRegex": "it|on"}), vec!["done", "waits", "waits-too"]),
        (json!({"interfaceRef": {"path": PATH}}), vec!["done", "waits", "waits-too"]),
        (json!({"interfaceRef": {"path": PATH, "revision": "0.1.0"}}), vec!["waits-too"]),
        (json!({"interfaceRef": {"path": "cap.interface.data.other"}}), vec![]),
        (
            json!({"nameRegex": "^waits", "interfaceRef": {"path": PATH, "revision": "0.1.0"}}),
            vec!["waits-too"],
        ),
    ] {
        assert_eq!(engine.names(filter.clone()).await, found, "{filter}");
    }
    let query = "query($filter: ActionFilter) { actions(filter: $filter) { name } }";
    let bad = engine.graphql(query, json!({"filter": {"nameRegex": "(waits"}})).await;
    bad.refuses("BAD_USER_INPUT", &["nameRegex"]);
}

#[tokio::test]
async fn a_read_sees_what_was_just_written() {
    let (world, engine) = start().await;
    world.stop_velero().await;
    let read = async || {
        let query = "{ action(name: \"one\") { run } actions { name } }";
        engine.graphql(query, json!({})).await.data()
    };
    for _ in 0..20 {
        engine.graphql(CREATE, waiting("one", PATH, Value::Null)).await.data();
        assert_eq!(read().await, json!({"action": {"run": false}, "actions": [{"name": "one"}]}));
        engine.graphql("mutation { deleteAction(name: \"one\") { name } }", json!({})).await.data();
        assert_eq!(read().await, json!({"action": null, "actions": []}));
    }
    engine.graphql(CREATE, waiting("one", PATH, Value::Null)).await.data();
    engine.graphql("mutation { runAction(name: \"one\") { name } }", json!({})).await.data();
    assert_eq!(read().await["action"]["run"], true);
}

#[tokio::test]
async fn a_missing_action_is_null_without_errors() {
    let (_world, engine) = start().await;
    let answer = engine.graphql("{ action(name: \"logintest\") { name } }", json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"data": {"action": null}}));
}

#[tokio::test]
async fn capact_s_clients_feel_at_home() {
    let (world, engine) = start().await;
    let no_variables = engine.post(json!({"query": "{ policy { __typename } }", "variables": null})).await;
    assert_eq!(no_variables.body, json!({"data": {"policy": {"__typename": "Policy"}}}));
    let fields = "name createdAt input { parameters typeInstances { id name } actionPolicy { interface { rules { interface { path revision } oneOf { implementationConstraints { requires { path revision } attributes { path revision } path } inject { requiredTypeInstances { id description } additionalParameters { name value } } } } } } } output { typeInstances { id typeRef { path revision } backend { id abstract } } } actionRef { path revision } cancel run dryRun renderedAction renderingAdvancedMode { enabled typeInstancesForRenderingIteration { name typeRef { path revision } } } renderedActionOverride status { phase timestamp message runner { status } createdBy { username groups extra } runBy { username groups extra } canceledBy { username groups extra } }";
    let create = format!("mutation ($in: ActionDetailsInput) {{ createAction(in: $in) {{ {fields} }} }}");
    let variables = json!({"in": {
        "name": "mongo", "input": {
            "parameters": "{\"input-parameters\":{\"action\":\"backup\",\"name\":\"mongo\",\"selector\":\"app=frontend\"}}", "typeInstances": null, "actionPolicy": null,
        },
        "actionRef": {"path": PATH, "revision": null}, "dryRun": false, "advancedRendering": null, "renderedActionOverride": null,
    }});
    let created = engine.graphql(&create, variables).await.data()["createAction"].clone();
    assert_eq!(created["actionRef"], json!({"path": PATH, "revision": "latest"}));
    let parameters = created["input"]["parameters"]["input-parameters"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(parameters).unwrap(),
        json!({"action": "backup", "name": "mongo", "selector": "app=frontend"})
    );
    assert!(created["status"]["phase"].is_string());
    engine.on("runAction", "mongo").await.data();
    world.succeeded("mongo").await;
    let get = format!("query($name: String!) {{ action(name: $name) {{ {fields} }} }}");
    let action = engine.graphql(&get, json!({"name": "mongo"})).await.data()["action"].clone();
    assert_eq!(action["status"]["phase"], "SUCCEEDED");
    assert_eq!(action["renderedAction"]["kind"], "Workflow");
    engine.on("deleteAction", "mongo").await.data();
    assert!(
        engine.names(json!({"phase": null, "nameRegex": "(^mongo$)", "interfaceRef": null})).await.is_empty()
    );
}

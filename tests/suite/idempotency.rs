//! The header `Idempotency-Key`: the same request again yields the same Action, whatever became of it.

use ochre_tests::{Answer, Engine, World};
use serde_json::{Value, json};

/// Creates an Action with a key, to be run at once.
async fn create(engine: &Engine, key: &str, name: &str, parameters: Value) -> Answer {
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name status { phase } } }";
    let input = json!({
        "name": name, "run": true, "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": parameters},
    });
    let request = reqwest::Client::new()
        .post(format!("{}/graphql", engine.url))
        .header("idempotency-key", key)
        .json(&json!({"query": query, "variables": {"in": input}}));
    let answer = request.send().await.unwrap();
    Answer { status: answer.status().as_u16(), body: answer.json().await.unwrap() }
}

fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "selector": "helm.sh/chart=mongodb-10.3.1"})
}

#[tokio::test]
async fn a_request_that_is_sent_again_finds_what_the_first_one_made() {
    let world = World::start().await;
    let engine = world.engine().await;
    create(&engine, "2026-11-21", "nightly", backup("mongo")).await.data();
    world.succeeded("nightly").await;
    engine.catch_up().await;
    let again = create(&engine, "2026-11-21", "nightly", backup("mongo")).await.data();
    assert_eq!(again["createAction"], json!({"name": "nightly", "status": {"phase": "SUCCEEDED"}}));
    assert_eq!(world.velero_names("Backup").await, ["mongo"], "it did not run again");

    let other = create(&engine, "2026-11-22", "nightly", backup("mongo")).await;
    other.refuses("CONFLICT", &["has ended"]);
    for (name, parameters) in [("nightly", backup("other")), ("nightly-2", backup("mongo"))] {
        let other = create(&engine, "2026-11-21", name, parameters).await;
        other.refuses("CONFLICT", &["Idempotency-Key was used for the Action nightly"]);
    }
    engine.on("deleteAction", "nightly").await.data();
    create(&engine, "2026-11-21", "nightly-2", backup("mongo-2")).await.data();
    world.succeeded("nightly-2").await;
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let world = World::empty().await;
    let engine = world.engine().await;
    for key in [String::new(), "k".repeat(256)] {
        let answer = create(&engine, &key, "nightly", backup("mongo")).await;
        assert_eq!(answer.status, 400);
        answer.refuses("BAD_USER_INPUT", &["idempotency-key", "255"]);
    }
    create(&engine, &"k".repeat(255), "nightly", backup("mongo")).await.data();
}

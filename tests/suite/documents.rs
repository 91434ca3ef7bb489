//! Trusted documents, and who may ask for the schema.

use ochre::Authentication;
use ochre::options::{GatewayOptions, Introspection, Trust};
use ochre_tests::{Answer, Engine, World};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const KNOWN: &str = "query Names { actions { name } }";
const OTHER: &str = "{ actions { name status { phase } } }";

fn id(document: &str) -> String {
    format!("{:x}", Sha256::digest(document))
}

/// Starts an engine that knows one document.
async fn start(trust: Trust) -> (World, Engine, tempfile::TempDir) {
    let world = World::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.json");
    std::fs::write(&path, json!({format!("sha256:{}", id(KNOWN)): KNOWN}).to_string()).unwrap();
    let options = GatewayOptions { trusted_documents: Some(path), trust, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    (world, engine, folder)
}

fn is_answered(answer: Answer) {
    assert_eq!(answer.data(), json!({"actions": []}));
}

#[tokio::test]
async fn a_document_goes_by_its_id() {
    let (_world, engine, _folder) = start(Trust::Enforce).await;
    is_answered(engine.post(json!({"documentId": format!("sha256:{}", id(KNOWN))})).await);
    is_answered(engine.post(json!({"documentId": id(KNOWN)})).await);
    let persisted = json!({"persistedQuery": {"version": 1, "sha256Hash": id(KNOWN)}});
    is_answered(engine.post(json!({"extensions": persisted})).await);
    is_answered(engine.post(json!({"query": KNOWN})).await);
    let url = format!("{}/graphql?documentId={}", engine.url, id(KNOWN));
    let got = reqwest::Client::new().get(url).header("x-requested-with", "test").send().await.unwrap();
    assert_eq!(got.json::<Value>().await.unwrap(), json!({"data": {"actions": []}}));
}

#[tokio::test]
async fn what_is_not_known_runs_as_it_is_told() {
    for (trust, runs) in [(Trust::Off, true), (Trust::Log, true), (Trust::Enforce, false)] {
        let (_world, engine, _folder) = start(trust).await;
        let answer = engine.post(json!({"query": OTHER})).await;
        if runs {
            is_answered(answer);
        } else {
            answer.refuses("FORBIDDEN", &[&id(OTHER)]);
        }
        let unknown = engine.post(json!({"documentId": id(OTHER)})).await;
        unknown.refuses("NOT_FOUND", &["PersistedQueryNotFound"]);
        let wrong = engine.post(json!({"documentId": id(OTHER), "query": KNOWN})).await;
        wrong.refuses("BAD_USER_INPUT", &["is not the SHA-256", &id(KNOWN)]);
        engine.post(json!({})).await.refuses("BAD_USER_INPUT", &["query"]);
    }
}

#[tokio::test]
async fn the_schema_is_shown_to_whom_it_is_to_be_shown() {
    let world = World::empty().await;
    let told = |introspection| GatewayOptions {
        authentication: vec![Authentication::Token],
        introspection,
        ..GatewayOptions::default()
    };
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    world.grant(&alice, None, "schemas", &["get"]).await;
    let nested = "query { ...F } fragment F on Query { x: __type(name: \"Query\") { name } }";
    for (introspection, granted, others) in [
        (Introspection::Everyone, true, true),
        (Introspection::Granted, true, false),
        (Introspection::Nobody, false, false),
    ] {
        let engine = world.engine_told(told(introspection)).await;
        for (person, is_shown) in [(&alice, granted), (&bob, others)] {
            for query in ["{ __schema { queryType { name } } }", nested] {
                let answer = engine.graphql_by(Some(person), query, json!({})).await;
                if is_shown {
                    answer.data();
                } else {
                    answer.refuses("FORBIDDEN", &["schemas.core.ochre.dev"]);
                }
            }
            engine.graphql_by(Some(person), "{ __typename whoAmI { username } }", json!({})).await.data();
        }
        let misspelt = engine.graphql_by(Some(&bob), "{ actionz { name } }", json!({})).await;
        let (_, message) = misspelt.error();
        assert_eq!(message.contains("actions"), others, "{message}");
        engine.drain().await;
    }
}

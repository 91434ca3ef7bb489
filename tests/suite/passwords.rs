//! Names and passwords, as Capact's clients send them.

use std::io::Write as _;
use std::time::Duration;

use futures::future::join_all;
use ochre::options::GatewayOptions;
use ochre::{Authentication, ServeError};
use ochre_tests::{Answer, Engine, Issuer, Person, World};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// The hashes are of `secret` and `t0p_s3cr3t`, made quickly.
const PEOPLE: &str = "
# who comes from Capact
alice:$2y$04$PG35Sn3FDOv39LC3zygHuOabp9/S7qKbo3JXD7qsHfuDBTTcHFWLW
graphql:$2y$04$2aulm6z3FGQMsAQ/JRo1VukQ3q2YZys9izDR8HGaMnVzDehJcqq8m:backup-team,operators
";
const WHO: &str = "{ whoAmI { username groups } }";

/// A file with lines.
fn file(lines: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

/// What a gateway is told that knows people by a file.
fn told(file: &NamedTempFile, ways: &[Authentication]) -> GatewayOptions {
    GatewayOptions {
        authentication: ways.to_vec(),
        basic_auth_file: Some(file.path().to_owned()),
        ..GatewayOptions::default()
    }
}

async fn start() -> (World, Engine) {
    let (world, file) = (World::empty().await, file(PEOPLE));
    let engine = world.engine_told(told(&file, &[Authentication::Basic])).await;
    (world, engine)
}

async fn who(engine: &Engine, person: &Person) -> Answer {
    engine.graphql_by(Some(person), WHO, json!({})).await
}

/// Posts, and gives the status, what may be sent instead, and the body.
async fn post(engine: &Engine, authorization: Option<&str>) -> (u16, Vec<String>, Value) {
    let mut request =
        reqwest::Client::new().post(format!("{}/graphql", engine.url)).json(&json!({"query": WHO}));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.unwrap();
    let challenges = answer.headers().get_all("www-authenticate");
    let challenges = challenges.iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    (answer.status().as_u16(), challenges, answer.json().await.unwrap())
}

#[tokio::test]
async fn whoever_has_the_password_is_somebody_with_groups() {
    let (world, engine) = start().await;
    let (alice, graphql) =
        (Person::with_password("alice", "secret"), Person::with_password("graphql", "t0p_s3cr3t"));
    let found = who(&engine, &alice).await.data();
    assert_eq!(found["whoAmI"], json!({"username": "alice", "groups": ["system:authenticated"]}));
    let found = who(&engine, &graphql).await.data();
    let groups = ["backup-team", "operators", "system:authenticated"];
    assert_eq!(found["whoAmI"], json!({"username": "graphql", "groups": groups}));

    let query = "{ actions { name } }";
    world.grant_group("backup-team", "default", "actions", &["list"]).await;
    engine.graphql_by(Some(&graphql), query, json!({})).await.data();
    let refused = engine.graphql_by(Some(&alice), query, json!({})).await;
    refused.refuses("FORBIDDEN", &["alice may not list actions"]);
}

#[tokio::test]
async fn whoever_has_not_is_not_told_what_is_wrong() {
    let (_world, engine) = start().await;
    let alice = Person::with_password("alice", "secret");
    who(&engine, &alice).await.data();
    let long = "x".repeat(100);
    for (name, password) in [
        ("alice", "Secret"),
        ("alice", ""),
        ("graphql", "secret"),
        ("nobody", "secret"),
        ("", "secret"),
        ("alice", &long),
        ("alice:secret", "more"),
    ] {
        let answer = who(&engine, &Person::with_password(name, password)).await;
        assert_eq!(answer.status, 401, "{name} {password}");
        answer.refuses("UNAUTHENTICATED", &["the name or the password is wrong"]);
    }
    for (authorization, says) in [
        (None, "send a header `authorization: Basic <name and password>`"),
        (Some("Bearer secret"), "send a header `authorization: Basic <name and password>`"),
        (Some("Basic"), "send a header `authorization: Basic <name and password>`"),
        (Some("Basic alice:secret"), "the name or the password is wrong"),
        (Some("Basic YWxpY2U="), "the name or the password is wrong"),
    ] {
        let (status, challenges, body) = post(&engine, authorization).await;
        assert_eq!((status, challenges), (401, vec!["Basic realm=\"ochre\"".to_owned()]), "{body:#}");
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "`{says}` is not said in: {message}");
    }
    let lower = alice.authorization.replace("Basic", "basic");
    assert_eq!(post(&engine, Some(&lower)).await.0, 200);
}

#[tokio::test]
async fn passwords_go_beside_tokens() {
    let (world, issuer, file) = (World::empty().await, Issuer::start().await, file(PEOPLE));
    let mut options = told(&file, &[Authentication::Basic, Authentication::Token, Authentication::Oidc]);
    options.oidc.oidc_issuer = Some(issuer.url.clone());
    options.oidc.oidc_audience = Some("ochre".to_owned());
    let engine = world.engine_told(options).await;
    let pipeline = world.person("pipeline").await;
    let tokens = Person::with_token("", &issuer.token(&issuer.claims()));
    for person in [pipeline, tokens, Person::with_password("alice", "secret")] {
        who(&engine, &person).await.data();
    }
    let (status, challenges, body) = post(&engine, None).await;
    assert_eq!((status, challenges), (401, vec!["Bearer".to_owned(), "Basic realm=\"ochre\"".to_owned()]));
    let says = "it must be known who asks; send a header `authorization: Bearer <token>`, or `Basic <name and password>`";
    assert_eq!(body["errors"][0]["message"], says);
}

#[tokio::test]
async fn a_web_socket_takes_a_password() {
    let (world, engine) = start().await;
    for (person, wanted) in [
        (Person::with_password("alice", "secret"), Ok("connection_ack")),
        (Person::with_password("alice", "wrong"), Err(4403)),
    ] {
        let mut socket = engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
        let payload = json!({"authorization": person.authorization});
        socket.say(json!({"type": "connection_init", "payload": payload})).await;
        let said = world.within(socket.hear()).await;
        match wanted {
            Ok(kind) => assert_eq!(said.message()["type"], kind),
            Err(code) => assert_eq!(said.closed().0, code),
        }
    }
}

#[tokio::test]
async fn many_at_once_are_all_let_in() {
    let (_world, engine) = start().await;
    let alice = Person::with_password("alice", "secret");
    let answers = join_all((0..50).map(|_| who(&engine, &alice))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn capacts_form_of_the_answer_is_to_be_had() {
    let (world, file) = (World::empty().await, file(PEOPLE));
    let options = told(&file, &[Authentication::Basic]);
    let options = GatewayOptions { capact_unauthorized: true, remember: Duration::ZERO, ..options };
    let engine = world.engine_told(options).await;
    for (authorization, says) in [
        (None, "missing credentials"),
        (Some("Bearer secret"), "missing credentials"),
        (Some("Basic YWxpY2U6d3Jvbmc="), "wrong credentials"),
    ] {
        let (status, challenges, body) = post(&engine, authorization).await;
        assert_eq!((status, challenges), (200, vec![]), "{body:#}");
        assert_eq!(body["errors"][0]["message"], says);
        assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        assert!(body.get("data").is_none(), "{body:#}");
    }
    who(&engine, &Person::with_password("alice", "secret")).await.data();
    // Other refusals are as ever.
    let wrong = reqwest::Client::new().put(format!("{}/graphql", engine.url)).send().await.unwrap();
    assert_eq!(wrong.status(), 405);
}

#[tokio::test]
async fn a_file_must_be_named_and_good() {
    let (world, bad) = (World::empty().await, file("alice:secret\n"));
    let without = GatewayOptions { basic_auth_file: None, ..told(&bad, &[Authentication::Basic]) };
    let missing = GatewayOptions { basic_auth_file: Some("no-such-file".into()), ..without.clone() };
    for (options, says) in [
        (without, "--authentication basic needs --basic-auth-file"),
        (missing, "no-such-file cannot be used: No such file"),
        (told(&bad, &[Authentication::Basic]), "cannot be used: line 1: it is no `name:hash`"),
    ] {
        let ServeError::Identity(error) = world.refused_engine(options).await else {
            panic!("another error")
        };
        let said = error.to_string();
        assert!(said.contains(says), "`{says}` is not said in: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

//! Names and passwords, as Capact's clients send them.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::future::join_all;
use kube::api::{Patch, PatchParams, PostParams};
use ochre::options::GatewayOptions;
use ochre::{Authentication, ServeError};
use ochre_core::action::{MAX_GROUP_NAMES, MAX_GROUPS};
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

/// The hash of `secret`, made quickly.
const SECRET: &str = "$2y$04$PG35Sn3FDOv39LC3zygHuOabp9/S7qKbo3JXD7qsHfuDBTTcHFWLW";

/// Starts an engine that knows somebody who has so many groups, beside the one of all who are known.
async fn with_groups(world: &World, groups: &[String]) -> (Engine, Person) {
    let file = file(&format!("alice:{SECRET}:{}", groups.join(",")));
    let engine = world.engine_told(told(&file, &[Authentication::Basic])).await;
    (engine, Person::with_password("alice", "secret"))
}

#[tokio::test]
async fn as_many_groups_count_as_an_action_can_keep() {
    let world = World::start().await;
    let group = |number: usize| format!("g{number}");
    // The one that grants comes last, and that of all who are known after it.
    let most: Vec<String> = (2..MAX_GROUPS).map(group).chain(["operators".to_owned()]).collect();
    let (engine, alice) = with_groups(&world, &most).await;
    let all = ["get", "list", "create", "run", "cancel"];
    world.grant_group("operators", "default", "actions", &all).await;
    world.grant_group("operators", "chat", "targets", &["backup"]).await;
    let parameters = |name: &str| json!({"action": "backup", "name": name, "selector": "app=mongodb", "includeNamespaces": "chat", "excludeResources": "secrets", "allowEmpty": true});
    engine.run_by(&alice, "most", parameters("most")).await.data();
    let status = world.succeeded("most").await;
    assert_eq!(status.run_by.unwrap().groups.len(), MAX_GROUPS, "none is left out");
    engine.drain().await;

    let wide = |bytes: usize| {
        vec!["x".repeat(bytes - "operatorssystem:authenticated".len()), "operators".to_owned()]
    };
    let one_more = [most.clone(), vec!["g0".to_owned()]].concat();
    for (groups, is_kept) in
        [(one_more, false), (wide(MAX_GROUP_NAMES), true), (wide(MAX_GROUP_NAMES + 1), false)]
    {
        let (engine, alice) = with_groups(&world, &groups).await;
        engine.graphql_by(Some(&alice), "{ actions { name } }", json!({})).await.data();
        let answer = engine.run_by(&alice, "wide", parameters("wide")).await;
        if is_kept {
            answer.data();
            world.succeeded("wide").await;
        } else {
            answer.refuses("LIMIT_EXCEEDED", &["alice has", "at most 4096 groups, 65536 characters"]);
            let run = "mutation { runAction(name: \"most\") { name } }";
            let answer = engine.graphql_by(Some(&alice), run, json!({})).await;
            answer.refuses("LIMIT_EXCEEDED", &["alice has"]);
        }
        engine.drain().await;
    }
}

/// The cluster says it itself to those who write Actions past the gateway.
#[tokio::test]
async fn the_cluster_keeps_as_many_groups_and_says_when_there_are_more() {
    let world = World::empty().await;
    let write = async |name: &str, groups: Vec<String>| {
        let by = json!({"username": "alice", "groups": groups});
        let action = serde_json::from_value(json!({
            "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
            "spec": {
                "actionRef": {"path": "cap.interface.data.backup"}, "requestedBy": {"create": by, "run": by, "cancel": by},
            },
        }));
        let written = world.actions("default").create(&PostParams::default(), &action.unwrap()).await;
        let written = written.map_err(|error| error.to_string())?;
        // A status keeps as much again, and the cluster takes the whole.
        let status = Patch::Merge(json!({"status": {"createdBy": by, "runBy": by, "canceledBy": by}}));
        let kept = world.actions("default").patch_status(name, &PatchParams::default(), &status).await;
        kept.map_err(|error| error.to_string())?;
        Ok::<_, String>(written.spec.requested_by.unwrap().create.unwrap().groups.len())
    };
    let groups = |count: usize| (0..count).map(|number| format!("g{number}")).collect::<Vec<_>>();
    let wide = |bytes: usize| vec!["x".repeat(bytes / 2), "y".repeat(bytes - bytes / 2)];
    assert_eq!(write("most", groups(MAX_GROUPS)).await, Ok(MAX_GROUPS));
    assert_eq!(write("wide", wide(MAX_GROUP_NAMES)).await, Ok(2));
    for (name, groups, says) in [
        ("more", groups(MAX_GROUPS + 1), "must have at most 4096 items"),
        (
            "wider",
            wide(MAX_GROUP_NAMES + 1),
            "the names of all groups together have at most 65536 characters",
        ),
    ] {
        let said = write(name, groups).await.unwrap_err();
        assert!(said.contains(says), "`{says}` is not said in: {said}");
    }
}

#[tokio::test]
async fn who_was_known_is_let_in_whatever_else_comes_from_their_address() {
    let (world, file) = (World::empty().await, file(PEOPLE));
    let mut options = told(&file, &[Authentication::Basic, Authentication::Token]);
    options.remember = Duration::ZERO;
    options.limits.guesses = NonZeroU32::MIN;
    let engine = world.engine_told(options).await;
    let known = [world.person("pipeline").await, Person::with_password("alice", "secret")];
    for person in &known {
        who(&engine, person).await.data();
    }
    let wrong = [Person::unknown(), Person::with_password("alice", "wrong")];
    let mut refused = 0;
    while refused < 10 {
        for person in &wrong {
            refused += usize::from(who(&engine, person).await.status == 429);
        }
        for person in &known {
            who(&engine, person).await.data();
        }
    }
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

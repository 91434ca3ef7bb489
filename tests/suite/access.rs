//! Who may do what: asked of the cluster for the one who asks, when they ask and again when it runs.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams};
use ochre::Authentication;
use ochre::options::GatewayOptions;
use ochre_core::action::ActionStatus;
use ochre_core::phase::{Phase, Verdict};
use ochre_tests::{Answer, Engine, Event, Person, World, keeping};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const EVERYTHING: [&str; 7] = ["get", "list", "create", "run", "cancel", "delete", "watch"];

async fn start() -> (World, Engine, Person) {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let alice = world.person("alice").await;
    (world, engine, alice)
}

/// Parameters of a backup of the namespace `chat`.
fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "includeNamespaces": "chat", "selector": APPLICATION})
}

/// Has somebody make a good Backup of `chat`.
async fn backed_up(world: &World, engine: &Engine, name: &str) {
    let admin = world.person("admin").await;
    world.grant(&admin, None, "actions", &EVERYTHING).await;
    world.grant_edit(&admin, None).await;
    engine.run_by(&admin, &format!("make-{name}"), backup(name)).await.data();
    world.succeeded(&format!("make-{name}")).await;
}

/// Fails unless the run ended because its caller may not have it.
fn is_forbidden(status: &ActionStatus, says: &[&str]) {
    assert_eq!(status.phase, Phase::Failed, "{status:#?}");
    assert_eq!(status.steps[0].reason.as_deref(), Some("Forbidden"), "{status:#?}");
    let message = status.message.as_deref().unwrap_or_default();
    for part in says {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }
}

async fn names(engine: &Engine, person: Option<&Person>) -> Answer {
    engine.graphql_by(person, "{ actions { name } }", json!({})).await
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_the_cluster_knows() {
    let (world, engine, alice) = start().await;
    for (person, says) in [(None, "authorization: Bearer"), (Some(Person::unknown()), "does not know")] {
        let answer = names(&engine, person.as_ref()).await;
        assert_eq!(answer.status, 401);
        answer.refuses("UNAUTHENTICATED", &[says]);
    }
    names(&engine, Some(&alice)).await.refuses("FORBIDDEN", &[&alice.username, "may not list actions"]);
    world.grant(&alice, Some("default"), "actions", &["list", "get"]).await;
    // What was refused is remembered for a moment; what was not asked for yet is not.
    let query = "{ action(name: \"no-such\") { name } }";
    assert!(engine.graphql_by(Some(&alice), query, json!({})).await.data()["action"].is_null());
}

#[tokio::test]
async fn whoever_may_has_it_run_and_is_named() {
    let (world, engine, alice) = start().await;
    world.grant(&alice, Some("default"), "actions", &EVERYTHING).await;
    world.grant_edit(&alice, Some("chat")).await;
    engine.run_by(&alice, "nightly", backup("mongo")).await.data();
    let status = world.succeeded("nightly").await;
    let named = |by: &Option<ochre_core::action::UserInfo>| by.as_ref().map(|by| by.username.clone());
    assert_eq!(named(&status.created_by), Some(alice.username.clone()));
    assert_eq!(named(&status.run_by), Some(alice.username));
}

#[tokio::test]
async fn each_verb_is_a_right_of_its_own() {
    let (world, engine, alice) = start().await;
    world.grant(&alice, Some("default"), "actions", &["create"]).await;
    let refused = engine.run_by(&alice, "nightly", backup("mongo")).await;
    refused.refuses("FORBIDDEN", &["may not run actions.core.ochre.dev nightly in default"]);
    assert!(world.actions("default").get_opt("nightly").await.unwrap().is_none());

    let create = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let input = json!({
        "name": "nightly", "actionRef": {"path": "cap.interface.data.backup"},
        "input": {"parameters": backup("mongo")},
    });
    engine.graphql_by(Some(&alice), create, json!({"in": input})).await.data();
    for (mutation, verb) in [("runAction", "run"), ("cancelAction", "cancel"), ("deleteAction", "delete")] {
        let query = format!("mutation {{ {mutation}(name: \"nightly\") {{ name }} }}");
        let answer = engine.graphql_by(Some(&alice), &query, json!({})).await;
        answer.refuses("FORBIDDEN", &[&format!("may not {verb} actions.core.ochre.dev nightly in default")]);
    }
    let query = "{ action(name: \"nightly\") { name } }";
    engine.graphql_by(Some(&alice), query, json!({})).await.refuses("FORBIDDEN", &["may not get"]);
}

#[tokio::test]
async fn a_backup_of_what_is_not_yours_is_refused_before_it_is_created() {
    let (world, engine, alice) = start().await;
    world.grant(&alice, Some("default"), "actions", &EVERYTHING).await;
    world.grant(&alice, Some("chat"), "targets", &["backup"]).await;
    let of = |namespaces: Value| json!({"action": "backup", "name": "mine", "selector": APPLICATION, "includeNamespaces": namespaces});
    let shop = engine.run_by(&alice, "bad", of(json!("chat,shop"))).await;
    shop.refuses("FORBIDDEN", &["may not backup targets.core.ochre.dev in shop"]);
    let whole = json!({"action": "backup", "name": "mine", "selector": APPLICATION});
    let whole = engine.run_by(&alice, "bad", whole).await;
    whole.refuses("FORBIDDEN", &["may not backup targets.core.ochre.dev in the whole cluster"]);
    assert!(world.actions("default").get_opt("bad").await.unwrap().is_none());
    assert!(world.velero_names("Backup").await.is_empty());
}

#[tokio::test]
async fn rights_are_asked_for_again_when_it_runs() {
    let (world, _engine, alice) = start().await;
    // Written past the gateway, by one who may write anything.
    let action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "forged"},
        "spec": {
            "actionRef": {"path": "cap.interface.data.backup"}, "run": true,
            "input": {"parameters": backup("mongo")}, "requestedBy": {"run": {"username": alice.username}},
        },
    }));
    world.actions("default").create(&PostParams::default(), &action.unwrap()).await.unwrap();
    let status = world.ended("forged").await;
    is_forbidden(&status, &[&alice.username, "may not backup targets.core.ochre.dev in chat"]);
    assert!(world.velero_names("Backup").await.is_empty());
}

#[tokio::test]
async fn what_nobody_asked_for_is_not_run_until_somebody_does() {
    let (world, engine, alice) = start().await;
    world.apply_action("nightly", backup("mongo")).await;
    let waits = |status: &ActionStatus| {
        status.message.as_deref().is_some_and(|message| message.contains("run it through the gateway"))
    };
    let status = world.until("nightly", waits).await;
    assert_eq!(status.phase, Phase::ReadyToRun);

    world.grant(&alice, Some("default"), "actions", &["run"]).await;
    world.grant_edit(&alice, Some("chat")).await;
    let run = "mutation { runAction(name: \"nightly\") { name } }";
    engine.graphql_by(Some(&alice), run, json!({})).await.data();
    world.succeeded("nightly").await;
}

#[tokio::test]
async fn whoever_may_not_know_any_more_is_told_no_more() {
    let world = World::start().await;
    let options = GatewayOptions {
        authentication: vec![Authentication::Token],
        remember: Duration::ZERO,
        ..GatewayOptions::default()
    };
    let engine = world.engine_told(options).await;
    let alice = world.person("alice").await;
    let query = "subscription { actionsChanged { name } }";
    let mut refused = engine.events_by(Some(&alice), query, json!({})).await;
    let Some(Event::Next(answer)) = world.within(refused.next()).await else { panic!("an answer") };
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");

    world.grant(&alice, Some("default"), "actions", &["watch", "create"]).await;
    let mut events = engine.events_by(Some(&alice), query, json!({})).await;
    assert_eq!(world.within(events.data()).await["actionsChanged"], json!([]));
    world.revoke_all().await;
    world.apply_action("secret", backup("mongo")).await;
    let Some(Event::Next(answer)) = world.within(events.next()).await else { panic!("an answer") };
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    assert!(!answer.to_string().contains("secret"), "{answer}");
    assert_eq!(world.within(events.next()).await, Some(Event::Complete));
}

#[tokio::test]
async fn everybody_may_ask_who_they_are_and_what_they_may() {
    let (world, engine, alice) = start().await;
    world.grant(&alice, Some("default"), "actions", &["run"]).await;
    world.grant(&alice, Some("chat"), "targets", &["backup"]).await;
    let query = "{
        whoAmI { username groups }
        run: canI(verb: RUN, action: \"any\") delete: canI(verb: DELETE)
        elsewhere: canI(verb: RUN, namespaces: [\"chat\"])
        chat: canI(verb: BACKUP, namespaces: [\"chat\"])
        both: canI(verb: BACKUP, namespaces: [\"chat\", \"shop\"])
        whole: canI(verb: BACKUP) restore: canI(verb: RESTORE, namespaces: [\"chat\"])
    }";
    let data = engine.graphql_by(Some(&alice), query, json!({})).await.data();
    assert_eq!(data["whoAmI"]["username"], alice.username);
    assert!(data["whoAmI"]["groups"].as_array().unwrap().contains(&json!("system:serviceaccounts")));
    let may = ["run", "delete", "elsewhere", "chat", "both", "whole", "restore"].map(|name| &data[name]);
    assert_eq!(may, [true, false, false, true, false, false, false].map(|may| json!(may)).each_ref());
}

#[tokio::test]
async fn a_web_socket_asks_for_the_token_as_it_begins_and_until_it_ends() {
    let world = World::empty().await;
    let options = GatewayOptions {
        authentication: vec![Authentication::Token],
        remember: Duration::ZERO,
        keep_alive: Duration::from_secs(1),
        ..GatewayOptions::default()
    };
    let engine = world.engine_told(options).await;
    for payload in [json!({}), json!({"authorization": "Bearer made-up"})] {
        let mut socket = engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
        socket.say(json!({"type": "connection_init", "payload": payload})).await;
        let (code, why) = world.within(socket.hear()).await.closed();
        assert_eq!(code, 4403, "{why}");
        assert!(why.contains("token"), "{why}");
    }
    let alice = world.person("alice").await;
    world.grant(&alice, Some("default"), "actions", &["list"]).await;
    let mut socket = engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
    socket.say(json!({"type": "connection_init", "payload": {"Authorization": alice.authorization}})).await;
    assert_eq!(world.within(socket.hear()).await.message()["type"], "connection_ack");
    socket.subscribe("1", "{ actions { name } }", json!({})).await;
    let said = world.within(socket.hear()).await.message();
    assert_eq!(said["payload"]["data"]["actions"], json!([]), "{said}");
    world
        .api("v1", "ServiceAccount", Some("people-alice"))
        .delete("alice", &DeleteParams::default())
        .await
        .unwrap();
    let (code, why) = world.within(socket.end()).await.closed();
    assert_eq!(code, 4403, "{why}");
    assert!(why.contains("has ended"), "{why}");
}

#[tokio::test]
async fn what_is_not_yours_is_not_restored_by_naming_another_s_backup() {
    let (world, engine, alice) = start().await;
    backed_up(&world, &engine, "mongo").await;
    world.lose_application().await;
    world.grant(&alice, Some("default"), "actions", &EVERYTHING).await;
    world.grant_edit(&alice, Some("shop")).await;
    let mut told = Vec::new();
    for (number, backup) in ["mongo", "no-such"].into_iter().enumerate() {
        let restore = json!({"action": "restore", "name": backup, "syncTimeout": "1ms"});
        // Neither into a namespace that is hers, nor what lives already, left as it is.
        for (what, more) in [
            ("whole", json!({})),
            ("mapped", json!({"namespaceMapping": {"chat": "shop"}})),
            ("kept", json!({"existing": "keep"})),
        ] {
            let mut parameters = restore.clone();
            parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let name = format!("{what}-{number}");
            engine.run_by(&alice, &name, parameters).await.data();
            let status = world.ended(&name).await;
            assert_eq!(status.steps[0].reason.as_deref(), Some("NotFound"), "{status:#?}");
            told.push(status.message.unwrap().replace(backup, "BACKUP"));
        }
    }
    assert_eq!(told[..3], told[3..], "one that is hers to see no more than one that is not there");
    let named = json!({"action": "restore", "name": "mongo", "includeNamespaces": "chat"});
    let refused = engine.run_by(&alice, "named", named).await;
    refused.refuses("FORBIDDEN", &["may not restore targets.core.ochre.dev in chat"]);
    assert!(world.velero_names("Restore").await.is_empty());
}

#[tokio::test]
async fn a_namespace_that_is_gone_is_restored_by_whom_its_name_was_granted() {
    let (world, engine, alice) = start().await;
    backed_up(&world, &engine, "mongo").await;
    world.grant(&alice, Some("default"), "actions", &EVERYTHING).await;
    let rule = json!({
        "apiGroups": ["core.ochre.dev"], "resources": ["targets"], "resourceNames": ["chat"],
        "verbs": ["restore", "escalate"],
    });
    world.grant_rule(&alice, None, rule).await;
    world.delete_namespaces(&["chat".to_owned()]).await;
    let restore = json!({
        "action": "restore", "name": "mongo", "includeNamespaces": "chat", "includeResources": "configmaps,secrets",
    });
    engine.run_by(&alice, "back", restore).await.data();
    let status = world.succeeded("back").await;
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Complete);
    assert!(world.api("v1", "Secret", Some("chat")).get_opt("mongodb").await.unwrap().is_some());
}

#[tokio::test]
async fn a_backup_is_seen_by_whoever_may_restore_it_or_have_its_action() {
    let (world, engine, alice) = start().await;
    backed_up(&world, &engine, "mongo").await;
    let (bob, carol) = (world.person("bob").await, world.person("carol").await);
    world.grant(&bob, Some("chat"), "targets", &["restore"]).await;
    world.grant(&carol, Some("default"), "actions", &["get"]).await;
    let query = "{ backups { name action { name } } }";
    for (person, wanted) in [
        (&alice, json!([])),
        (&bob, json!([{"name": "mongo", "action": null}])),
        (&carol, json!([{"name": "mongo", "action": {"name": "make-mongo"}}])),
    ] {
        let found = engine.graphql_by(Some(person), query, json!({})).await.data();
        assert_eq!(found["backups"], wanted, "{}", person.username);
    }
    let locations = engine.graphql_by(Some(&alice), "{ storageLocations { name } }", json!({})).await;
    locations.refuses("FORBIDDEN", &["may not list actions"]);
    let everything = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "all", "namespace": "velero"},
        "spec": {"storageLocation": "nowhere"},
    });
    world.create(everything).await;
    let found = engine.graphql_by(Some(&bob), query, json!({})).await.data();
    assert_eq!(found["backups"], json!([{"name": "mongo", "action": null}]), "all is more than chat");
}

#[tokio::test]
async fn what_is_not_yours_is_not_read_by_a_workflow_of_yours() {
    let world = World::start().await;
    let authentication = vec![Authentication::Token];
    let options = GatewayOptions { authentication, remember: Duration::ZERO, ..GatewayOptions::default() };
    let engine = world.engine_of(keeping(), options).await;
    let alice = world.person("alice").await;
    world.grant(&alice, Some("default"), "actions", &EVERYTHING).await;
    world
        .create(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "theirs", "namespace": "velero"},
            "spec": {"includedNamespaces": ["chat"], "storageLocation": "nowhere"},
        }))
        .await;
    let look = async |name: &str, backup: &str| {
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
        let input = json!({
            "name": name, "run": true, "actionRef": {"path": "cap.interface.test.look"},
            "input": {"parameters": {"name": backup}},
        });
        engine.graphql_by(Some(&alice), query, json!({"in": input})).await.data();
        world.ended(name).await
    };
    let (status, absent) = (look("before", "theirs").await, look("absent", "no-such").await);
    assert_eq!(status.steps[0].reason.as_deref(), Some("NotFound"), "{status:#?}");
    assert_eq!(status.message, absent.message.map(|message| message.replace("no-such", "theirs")));
    world.grant(&alice, Some("chat"), "targets", &["restore"]).await;
    let status = look("after", "theirs").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    assert_eq!(status.steps[0].outputs["namespaces"], json!(["chat"]));
}

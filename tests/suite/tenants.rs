//! What tenants get through backups and restores: what they may write and read themselves, of their own.

use kube::api::{DeleteParams, ListParams, PostParams};
use ochre_core::action::{Action, ActionStatus};
use ochre_core::phase::Phase;
use ochre_tests::{Engine, Person, World, normalized, refused, shipped};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A cluster with the application, where alice has `edit` in it and in the namespace of the Actions.
async fn start() -> (World, Engine, Person) {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let alice = world.person("alice").await;
    for namespace in ["chat", "default"] {
        world.grant_edit(&alice, Some(namespace)).await;
    }
    (world, engine, alice)
}

/// Runs a backup of `chat` as somebody, or a restore of it, and waits for its end.
async fn run(world: &World, engine: &Engine, person: &Person, name: &str, parameters: Value) -> ActionStatus {
    let mut given = json!({"includeNamespaces": "chat"});
    given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    engine.run_by(person, name, given).await.data();
    world.ended(name).await
}

fn succeeded(status: ActionStatus) -> ActionStatus {
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
    status
}

#[tokio::test]
async fn a_role_that_was_taken_away_does_not_come_back_by_a_restore() {
    let (world, engine, alice) = start().await;
    world
        .create(json!({
            "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "owner", "namespace": "chat"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": alice.username}],
        }))
        .await;
    let kinds = "configmaps,rolebindings.rbac.authorization.k8s.io";
    let backup = json!({"action": "backup", "name": "mongo", "includeResources": kinds, "volumes": "none"});
    succeeded(run(&world, &engine, &alice, "save", backup).await);
    let bindings = world.api(RBAC, "RoleBinding", Some("chat"));
    bindings.delete("owner", &DeleteParams::default()).await.unwrap();
    world.api("v1", "ConfigMap", Some("chat")).delete("bystander", &DeleteParams::default()).await.unwrap();

    for existing in ["refuse", "keep", "update"] {
        let restore = json!({"action": "restore", "name": "mongo", "existing": existing});
        let message =
            refused(&run(&world, &engine, &alice, &format!("by-{existing}"), restore).await, "Forbidden");
        for part in [
            "create rolebindings.rbac.authorization.k8s.io in chat",
            "excludeResources: rolebindings.rbac.authorization.k8s.io",
        ] {
            assert!(message.contains(part), "`{part}` is not said in: {message}");
        }
    }
    assert!(world.velero_names("Restore").await.is_empty());
    let without = json!({
        "action": "restore", "name": "mongo", "existing": "keep",
        "excludeResources": "rolebindings.rbac.authorization.k8s.io",
    });
    succeeded(run(&world, &engine, &alice, "without", without).await);
    assert!(world.in_chat("v1", "ConfigMap", "bystander").await.is_some());
    assert!(bindings.get_opt("owner").await.unwrap().is_none());
}

#[tokio::test]
async fn edit_brings_back_a_whole_application_in_one_post() {
    let (world, engine, alice) = start().await;
    let labels = json!({"helm.sh/chart": "mongodb-10.3.1"});
    // On a real cluster its controller has made them.
    if world.in_chat("v1", "Endpoints", "mongodb").await.is_none() {
        let metadata = json!({"name": "mongodb", "namespace": "chat", "labels": labels});
        world.create(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata})).await;
    }
    let before = world.objects(APPLICATION).await;
    let backup = json!({"action": "backup", "name": "mongo", "selector": APPLICATION});
    succeeded(run(&world, &engine, &alice, "save", backup).await);
    world.lose_application().await;
    let fitting = ListParams::default().labels(APPLICATION);
    let endpoints = world.api("v1", "Endpoints", Some("chat"));
    endpoints.delete_collection(&DeleteParams::default(), &fitting).await.unwrap();
    succeeded(run(&world, &engine, &alice, "back", json!({"action": "restore", "name": "mongo"})).await);
    let after = world.objects(APPLICATION).await;
    let stays = |place: &&String| !place.starts_with("PersistentVolume ");
    assert_eq!(
        after.keys().filter(stays).collect::<Vec<_>>(),
        before.keys().filter(stays).collect::<Vec<_>>()
    );
    for (place, object) in before.iter().filter(|(place, _)| stays(place)) {
        assert_eq!(normalized(&after[place])["data"], normalized(object)["data"], "{place}");
    }
    let restore = world.velero_names("Restore").await.remove(0);
    let restore = world.velero("Restore").get(&restore).await.unwrap();
    let left_out = restore.data["spec"]["excludedResources"].to_string();
    assert!(left_out.contains("endpoints"), "controllers make them anew: {left_out}");
}

#[tokio::test]
async fn secrets_are_saved_for_those_who_may_read_them() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let bob = world.person("bob").await;
    for rule in [shipped("ochre-viewer"), shipped("ochre-editor")].concat() {
        for namespace in ["chat", "default"] {
            world.grant_rule(&bob, Some(namespace), rule.clone()).await;
        }
    }
    let backup = json!({"action": "backup", "name": "mongo", "includeNamespaces": "chat", "volumes": "none"});
    let refused = engine.run_by(&bob, "save", backup.clone()).await;
    refused.refuses("FORBIDDEN", &["may not get secrets in chat", "excludeResources: secrets"]);
    let mut without = backup;
    without["excludeResources"] = json!("secrets");
    engine.run_by(&bob, "without", without).await.data();
    world.succeeded("without").await;
}

#[tokio::test]
async fn an_update_needs_the_right_to_patch() {
    let (world, engine, alice) = start().await;
    let backup =
        json!({"action": "backup", "name": "mongo", "includeResources": "configmaps", "volumes": "none"});
    succeeded(run(&world, &engine, &alice, "save", backup).await);
    world.change_config("mongodb-conf", json!({"mongod.conf": "changed"})).await;
    let bob = world.person("bob").await;
    world.grant_edit(&bob, Some("default")).await;
    world.grant(&bob, Some("chat"), "targets", &["restore"]).await;
    let create = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create"]});
    world.grant_rule(&bob, Some("chat"), create).await;
    let update = json!({"action": "restore", "name": "mongo", "existing": "update"});
    let message = refused(&run(&world, &engine, &bob, "by-bob", update.clone()).await, "Forbidden");
    assert!(message.contains("may not patch configmaps in chat"), "{message}");
    assert!(world.velero_names("Restore").await.is_empty());
    succeeded(run(&world, &engine, &alice, "by-alice", update).await);
    let map = world.in_chat("v1", "ConfigMap", "mongodb-conf").await.unwrap();
    assert_ne!(map.data["data"]["mongod.conf"], "changed");
}

/// Writes an Action past the gateway, in an attempt that never had one before it, and waits for its Backup.
async fn made_by_hand(world: &World, namespace: &str, name: &str, by: &Person, attempt: u32, of: &str) {
    let action: Action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
        "spec": {
            "actionRef": {"path": "cap.interface.data.backup"}, "run": true, "attempt": attempt,
            "input": {"parameters": {
                "action": "backup", "name": "mongo", "includeNamespaces": of, "includeResources": "configmaps",
                "volumes": "none",
            }},
            "requestedBy": {"run": {"username": by.username, "groups": ["system:serviceaccounts"]}},
        },
    }))
    .unwrap();
    world.actions(namespace).create(&PostParams::default(), &action).await.unwrap();
    world.velero_phase("Backup", &format!("mongo-{attempt}"), "Completed").await;
}

#[tokio::test]
async fn nobody_shadows_the_backup_of_another_by_its_name() {
    let (world, engine, alice) = start().await;
    let (mallory, admin) = (world.person("mallory").await, world.person("admin").await);
    world.grant_edit(&mallory, Some("shop")).await;
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    world.grant_rule(&admin, None, everything).await;
    let backup =
        json!({"action": "backup", "name": "mongo", "includeResources": "configmaps", "volumes": "none"});
    succeeded(run(&world, &engine, &alice, "save", backup).await);
    made_by_hand(&world, "shop", "shadow", &mallory, 2, "shop").await;
    world.api("v1", "ConfigMap", Some("chat")).delete("bystander", &DeleteParams::default()).await.unwrap();
    for (person, name) in [(&alice, "by-alice"), (&admin, "by-admin")] {
        let restore = json!({"action": "restore", "name": "mongo", "existing": "keep"});
        let status = succeeded(run(&world, &engine, person, name, restore).await);
        assert_eq!(status.steps[0].outputs["backupName"], "mongo");
    }
    assert!(world.in_chat("v1", "ConfigMap", "bystander").await.is_some());
    // The exact name of what another made is told to who may see it, and not taken either.
    let foreign =
        json!({"action": "restore", "name": "mongo-2", "includeNamespaces": "shop", "syncTimeout": "1ms"});
    let message = refused(&run(&world, &engine, &admin, "foreign", foreign).await, "BackupNotRestorable");
    assert!(
        message.contains("made by the Action shop/shadow; restore it with an Action in the namespace shop")
    );
    let unseen = json!({"action": "restore", "name": "mongo-2", "syncTimeout": "1ms"});
    let message = refused(&run(&world, &engine, &alice, "unseen", unseen).await, "NotFound");
    assert!(!message.contains("shop"), "{message}");
}

#[tokio::test]
async fn a_name_under_which_several_made_backups_is_told_to_be_ambiguous() {
    let (world, engine, alice) = start().await;
    made_by_hand(&world, "default", "one", &alice, 2, "chat").await;
    made_by_hand(&world, "default", "two", &alice, 3, "chat").await;
    let restore = |name: &str| json!({"action": "restore", "name": name, "existing": "keep"});
    let message =
        refused(&run(&world, &engine, &alice, "either", restore("mongo")).await, "BackupNotRestorable");
    assert!(message.contains("give the exact name of one: mongo-2, mongo-3"), "{message}");
    let status = succeeded(run(&world, &engine, &alice, "exact", restore("mongo-2")).await);
    assert_eq!(status.steps[0].outputs["backupName"], "mongo-2");
}

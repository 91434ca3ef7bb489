//! Who an Action says has asked for it, whatever way it is written past the gateway.

use kube::api::{DeleteParams, PostParams};
use ochre_core::action::{Action, UserInfo};
use ochre_core::phase::Phase;
use ochre_tests::{Person, SHOP, World};
use serde_json::{Value, json};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/admission");
const ALL: [&str; 6] = ["get", "list", "create", "update", "patch", "delete"];

/// Takes the cluster with the policies at work, and somebody who may write Actions and not run them.
async fn start() -> (World, Person) {
    let world = World::empty().await;
    world.kubectl(&["apply", "-k", POLICIES]).await;
    let mallory = world.person("mallory").await;
    world.grant(&mallory, Some("default"), "actions", &ALL).await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let stamped = async {
        // A policy is at work a moment after it was made, and only its effect says so.
        while world
            .actions("default")
            .create(&dry, &action("probe", true, None))
            .await
            .unwrap()
            .spec
            .requested_by
            .is_none()
        {}
    };
    world.within(stamped).await;
    (world, mallory)
}

fn action(name: &str, run: bool, requested_by: Option<Value>) -> Action {
    serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
        "spec": {
            "actionRef": {"path": "cap.interface.data.backup"}, "run": run, "requestedBy": requested_by,
            "input": {"parameters": {"action": "backup", "name": name, "selector": SHOP}},
        },
    }))
    .unwrap()
}

/// Writes an Action down for kubectl.
fn file(action: &Action) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("action.json");
    std::fs::write(&path, serde_json::to_vec(action).unwrap()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// What everybody claims who would be another.
fn claims() -> Value {
    let admin = json!({"username": "admin", "groups": ["system:masters"]});
    json!({"create": admin, "run": admin, "cancel": admin})
}

/// Compares who an Action says has asked for its creation, its run and its cancel.
async fn check(world: &World, name: &str, wanted: [Option<&str>; 3]) {
    let by = world.actions("default").get(name).await.unwrap().spec.requested_by.unwrap_or_default();
    let named = |by: &Option<UserInfo>| by.as_ref().map(|by| by.username.clone());
    let found = [named(&by.create), named(&by.run), named(&by.cancel)];
    assert_eq!(found, wanted.map(|name| name.map(str::to_owned)));
}

/// Lets kubectl do something as somebody.
fn by<'a>(person: &'a Person, arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--as", &person.username, "-n", "default"], arguments].concat()
}

/// Runs kubectl as somebody, which must be refused.
async fn refused(world: &World, person: &Person, arguments: &[&str], says: &str) {
    let said = world.kubectl_fails(&by(person, arguments)).await;
    assert!(said.contains(says), "`{says}` is not said in: {said}");
}

async fn done(world: &World, person: &Person, arguments: &[&str]) {
    world.kubectl(&by(person, arguments)).await;
}

#[tokio::test]
async fn whoever_creates_is_named_whatever_they_claim() {
    let (world, mallory) = start().await;
    let me = Some(mallory.username.as_str());
    let (_folder, path) = file(&action("created", false, Some(claims())));
    done(&world, &mallory, &["create", "-f", &path]).await;
    check(&world, "created", [me, None, None]).await;
    let (_folder, path) = file(&action("applied", false, Some(claims())));
    done(&world, &mallory, &["apply", "--server-side", "-f", &path]).await;
    check(&world, "applied", [me, None, None]).await;
}

#[tokio::test]
async fn nobody_changes_who_has_asked() {
    let (world, mallory) = start().await;
    world.actions("default").create(&PostParams::default(), &action("mine", true, None)).await.unwrap();
    let admin = Some("admin");
    check(&world, "mine", [admin, admin, None]).await;
    let merge = json!({"spec": {"requestedBy": {"run": {"username": "root"}, "create": null}}}).to_string();
    done(&world, &mallory, &["patch", "action", "mine", "--type=merge", "-p", &merge]).await;
    check(&world, "mine", [admin, admin, None]).await;
    let remove = json!([{"op": "remove", "path": "/spec/requestedBy"}]).to_string();
    done(&world, &mallory, &["patch", "action", "mine", "--type=json", "-p", &remove]).await;
    check(&world, "mine", [admin, admin, None]).await;
    let mut whole = world.actions("default").get("mine").await.unwrap();
    whole.spec.requested_by = serde_json::from_value(claims()).unwrap();
    whole.metadata.managed_fields = None;
    let (_folder, path) = file(&whole);
    done(&world, &mallory, &["replace", "-f", &path]).await;
    check(&world, "mine", [admin, admin, None]).await;
    let (_folder, path) = file(&action("mine", true, Some(claims())));
    done(&world, &mallory, &["apply", "--server-side", "--force-conflicts", "-f", &path]).await;
    check(&world, "mine", [admin, admin, None]).await;
}

#[tokio::test]
async fn whoever_may_not_run_gets_nothing_run() {
    let (world, mallory) = start().await;
    let may_not = format!("{} may not run the Action default/", mallory.username);
    let (_folder, path) = file(&action("at-once", true, Some(claims())));
    refused(&world, &mallory, &["create", "-f", &path], &may_not).await;
    world.actions("default").create(&PostParams::default(), &action("later", false, None)).await.unwrap();
    let run = json!({"spec": {"run": true}}).to_string();
    refused(&world, &mallory, &["patch", "action", "later", "--type=merge", "-p", &run], &may_not).await;
    // Nor something else in place of what another has asked for.
    world.actions("default").create(&PostParams::default(), &action("asked", true, None)).await.unwrap();
    let other = json!({"spec": {"input": {"parameters": {"selector": "app=other"}}}}).to_string();
    refused(&world, &mallory, &["patch", "action", "asked", "--type=merge", "-p", &other], &may_not).await;
    let again = json!({"spec": {"attempt": 2}}).to_string();
    refused(&world, &mallory, &["patch", "action", "asked", "--type=merge", "-p", &again], &may_not).await;
    let cancel = json!({"spec": {"cancel": true}}).to_string();
    let says = "may not cancel the Action default/asked";
    refused(&world, &mallory, &["patch", "action", "asked", "--type=merge", "-p", &cancel], says).await;
    let status = json!({"status": {"runBy": {"username": "admin"}}}).to_string();
    let forge = ["patch", "action", "asked", "--subresource=status", "--type=merge", "-p", &status];
    refused(&world, &mallory, &forge, "\"actions/status\"").await;
}

#[tokio::test]
async fn whoever_may_is_named_and_has_their_own_rights() {
    let (world, mallory) = start().await;
    let engine = world.guarded_engine().await;
    world.grant(&mallory, Some("default"), "actions", &["run", "cancel"]).await;
    let me = Some(mallory.username.as_str());
    world.actions("default").create(&PostParams::default(), &action("whole", false, None)).await.unwrap();
    let run = json!({"spec": {"run": true}}).to_string();
    done(&world, &mallory, &["patch", "action", "whole", "--type=merge", "-p", &run]).await;
    let status = world.ended("whole").await;
    check(&world, "whole", [Some("admin"), me, None]).await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    assert_eq!(status.run_by.unwrap().username, mallory.username);
    assert!(status.message.unwrap().contains("may not backup targets.core.ochre.dev in the whole cluster"));
    // The gateway's own account names others.
    let answer = engine.run_by(&mallory, "named", json!({"action": "backup", "name": "named"})).await;
    answer.refuses("FORBIDDEN", &["may not backup targets.core.ochre.dev in the whole cluster"]);
    world.grant(&mallory, None, "targets", &["backup"]).await;
    world.open_shop().await;
    let given = json!({"action": "backup", "name": "named", "includeNamespaces": "store"});
    engine.run_by(&mallory, "named", given).await.data();
    world.succeeded("named").await;
    check(&world, "named", [me, me, None]).await;
    world.actions("default").delete("named", &DeleteParams::default()).await.unwrap();
}

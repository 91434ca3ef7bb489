//! What runs is what its caller has seen: the workflow that was rendered, of the spec that was compared.

use std::sync::mpsc;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use ochre::Authentication;
use ochre::options::GatewayOptions;
use ochre_core::action::{Action, ActionStatus};
use ochre_core::phase::Phase;
use ochre_sandbox::api::Asked;
use ochre_tests::{Engine, Person, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const ALL: [&str; 7] = ["get", "list", "create", "update", "patch", "delete", "run"];

fn parameters(name: &str) -> Value {
    json!({
        "action": "backup", "name": name, "includeNamespaces": "chat", "selector": APPLICATION,
        "excludeResources": "secrets",
    })
}

fn guarded() -> GatewayOptions {
    GatewayOptions { authentication: vec![Authentication::Token], ..GatewayOptions::default() }
}

/// Makes an administrator, and a tenant who may write and run Actions and save nothing.
async fn people(world: &World) -> (Person, Person) {
    let (admin, mallory) = (world.person("admin").await, world.person("mallory").await);
    world.grant(&admin, None, "actions", &ALL).await;
    world.grant(&admin, None, "targets", &["backup", "restore"]).await;
    world.grant(&mallory, Some("default"), "actions", &ALL).await;
    (admin, mallory)
}

/// Creates an Action through the gateway that nobody has asked to run.
async fn prepare(engine: &Engine, person: &Person, name: &str, parameters: Value) {
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let input = json!({
        "name": name, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters},
    });
    engine.graphql_by(Some(person), query, json!({"in": input})).await.data();
}

async fn ready(world: &World, name: &str) -> ActionStatus {
    world.until(name, |status| status.phase == Phase::ReadyToRun).await
}

async fn flip(actions: &Api<Action>, name: &str, backup: &str) {
    let patch = Patch::Merge(json!({"spec": {"input": {"parameters": {"name": backup}}}}));
    actions.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_workflow_that_was_replaced_is_not_run_and_is_written_down() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let options = GatewayOptions { audit_log: Some(path.clone()), ..guarded() };
    let engine = world.engine_told(options).await;
    let (admin, _) = people(&world).await;
    prepare(&engine, &admin, "harmless", parameters("mongo")).await;
    let status = ready(&world, "harmless").await;
    let map = status.rendering.unwrap().workflow_ref.name;
    let maps = world.api("v1", "ConfigMap", Some("default"));
    let mut forged = maps.get(&map).await.unwrap();
    maps.delete(&map, &DeleteParams::default()).await.unwrap();
    let text = forged.data["data"]["workflow.json"].as_str().unwrap().replace("\"chat\"", "\"kube-system\"");
    forged.data["data"]["workflow.json"] = json!(text);
    forged.metadata.resource_version = None;
    maps.create(&PostParams::default(), &forged).await.unwrap();

    let shown = "{ action(name: \"harmless\") { renderedAction } }";
    let shown = engine.graphql_by(Some(&admin), shown, json!({})).await;
    assert_eq!(shown.body["errors"][0]["extensions"]["code"], "CONFLICT", "{shown:?}");
    let run = "mutation { runAction(name: \"harmless\") { name } }";
    engine.graphql_by(Some(&admin), run, json!({})).await.data();
    let status = world.ended("harmless").await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("does not hold the workflow of this run"));
    assert!(world.velero_names("Backup").await.is_empty());
    engine.drain().await;
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(log.contains("workflowMismatch"), "{log}");
}

#[tokio::test]
async fn a_run_may_name_the_workflow_that_was_seen() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let (admin, _) = people(&world).await;
    prepare(&engine, &admin, "seen", parameters("mongo")).await;
    let digest = ready(&world, "seen").await.rendering.unwrap().workflow_ref.digest;
    let shown =
        engine.graphql_by(Some(&admin), "{ action(name: \"seen\") { workflowDigest } }", json!({})).await;
    assert_eq!(shown.data()["action"]["workflowDigest"], digest.as_str());
    let run = "mutation($digest: String) { runAction(name: \"seen\", workflowDigest: $digest) { name } }";
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = engine.graphql_by(Some(&admin), run, json!({"digest": other})).await;
    refused.refuses("CONFLICT", &["has another workflow", &digest]);
    engine.graphql_by(Some(&admin), run, json!({"digest": digest})).await.data();
    world.succeeded("seen").await;
    assert_eq!(world.actions("default").get("seen").await.unwrap().spec.workflow_digest, Some(digest));
}

#[tokio::test]
async fn kubectl_may_name_the_workflow_too() {
    let world = World::start().await;
    let _engine = world.engine().await;
    let mut action: Action = world.apply_action("named", parameters("mongo")).await;
    world.succeeded("named").await;
    action.metadata = kube::api::ObjectMeta { name: Some("other".to_owned()), ..Default::default() };
    action.spec.workflow_digest = Some(format!("sha256:{}", "0".repeat(64)));
    world.actions("default").create(&PostParams::default(), &action).await.unwrap();
    let status = world.ended("other").await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("spec.workflowDigest"));
    action.spec.workflow_digest = Some("sha256:short".to_owned());
    action.metadata.name = Some("bad".to_owned());
    let refused = world.actions("default").create(&PostParams::default(), &action).await.unwrap_err();
    assert!(refused.to_string().contains("spec.workflowDigest"), "{refused}");
}

#[tokio::test]
async fn what_a_caller_with_fewer_rights_has_changed_is_run_only_by_its_digest() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let (admin, mallory) = people(&world).await;
    world.put_policies().await;
    prepare(&engine, &admin, "nightly", parameters("mongo")).await;
    ready(&world, "nightly").await;
    flip(&Api::namespaced(world.client_of(&mallory), "default"), "nightly", "another").await;
    let digest = world
        .until("nightly", |status| status.phase == Phase::ReadyToRun && status.observed_generation == Some(2))
        .await
        .rendering
        .unwrap()
        .workflow_ref
        .digest;
    let changed = world.actions("default").get("nightly").await.unwrap();
    assert_eq!(changed.spec.requested_by.unwrap().update.unwrap().username, mallory.username);
    let run = "mutation($digest: String) { runAction(name: \"nightly\", workflowDigest: $digest) { name } }";
    let refused = engine.graphql_by(Some(&admin), run, json!({})).await;
    refused.refuses("CONFLICT", &["was last changed by", &mallory.username, "may not", &digest]);
    engine.graphql_by(Some(&admin), run, json!({"digest": digest})).await.data();
    let status = world.succeeded("nightly").await;
    assert_eq!(status.run_by.unwrap().username, admin.username);
    assert_eq!(world.velero_names("Backup").await, ["another"]);
}

/// What a restore writes is known only when it runs, with the rights of the one who ran it.
#[tokio::test]
async fn another_s_restore_is_run_only_by_its_digest() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let (admin, mallory) = people(&world).await;
    world.grant(&mallory, Some("chat"), "targets", &["backup", "restore"]).await;
    for (name, more) in [("everything", json!({})), ("own", json!({"includeNamespaces": "chat"}))] {
        let mut parameters = json!({"action": "restore", "name": "nightly", "existing": "keep"});
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        prepare(&engine, &mallory, name, parameters).await;
        ready(&world, name).await;
        let run = format!("mutation {{ runAction(name: \"{name}\") {{ name }} }}");
        let refused = engine.graphql_by(Some(&admin), &run, json!({})).await;
        refused.refuses("CONFLICT", &["was last changed by", "run it with workflowDigest"]);
    }
}

#[tokio::test]
async fn a_key_counts_only_for_what_its_caller_created() {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let (admin, mallory) = people(&world).await;
    world.put_policies().await;
    let key = "2026-11-30";
    let digest = {
        use sha2::Digest as _;
        format!("{:x}", sha2::Sha256::digest(format!("{}\0{key}", admin.username)))
    };
    let annotated = json!({"core.ochre.dev/idempotency-key": digest});
    let at: Api<Action> = Api::namespaced(world.client_of(&mallory), "default");
    let spec = json!({"actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters("mongo")}});
    let forged: Action = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
        "metadata": {"name": "nightly", "annotations": annotated}, "spec": spec,
    }))
    .unwrap();
    let forged = at.create(&PostParams::default(), &forged).await.unwrap();
    assert!(
        forged.annotations().get("core.ochre.dev/idempotency-key").is_none(),
        "only the engine writes it"
    );
    // Where no policy is, it is there, and says nothing.
    let all = Api::<Action>::namespaced(world.client_of_engine(), "default");
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotated}}));
    all.patch("nightly", &PatchParams::default(), &patch).await.unwrap();
    let asked = engine.run_with_key(&admin, key, "nightly", parameters("other")).await;
    asked.refuses("CONFLICT", &["exists with other input"]);
    assert!(!at.get("nightly").await.unwrap().spec.run);
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    /// Starts an engine whose first patch of the Action `name` waits until a test has done something.
    async fn held(world: &World, name: &'static str) -> (Engine, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (reached, is_reached) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let mut held = false;
        let plan = move |asked: &Asked| {
            let is_run = asked.verb == "patch" && asked.resource == "actions" && asked.name == name;
            // The controller marks it before.
            if is_run && asked.user.is_none() && !held && reached.send(()).is_ok() {
                held = true;
                may_go_on.recv().unwrap();
            }
            None
        };
        (world.faulty_engine(None, guarded(), plan).await, is_reached, go_on)
    }

    /// Has a tenant flip an Action between the look of a mutation and its write, and yields the answer.
    async fn raced(mutation: &'static str, input: Value) -> (World, ochre_tests::Answer) {
        let world = World::start().await;
        let (admin, mallory) = people(&world).await;
        world.put_policies().await;
        let first = world.guarded_engine().await;
        prepare(&first, &mallory, "nightly", parameters("mongo")).await;
        ready(&world, "nightly").await;
        first.drain().await;
        let (engine, is_reached, go_on) = held(&world, "nightly").await;
        let asked = tokio::spawn(async move { engine.graphql_by(Some(&admin), mutation, input).await });
        tokio::task::spawn_blocking(move || is_reached.recv().unwrap()).await.unwrap();
        flip(&Api::namespaced(world.client_of(&mallory), "default"), "nightly", "another").await;
        go_on.send(()).unwrap();
        (world, asked.await.unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_create_does_not_run_what_became_another_meanwhile() {
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
        let input = json!({
            "name": "nightly", "run": true, "actionRef": {"path": "cap.interface.data.backup"},
            "input": {"parameters": parameters("mongo")},
        });
        let (world, answer) = raced(query, json!({"in": input})).await;
        answer.refuses("CONFLICT", &["exists with other input"]);
        assert!(!world.actions("default").get("nightly").await.unwrap().spec.run);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_run_is_of_what_was_looked_at() {
        let query =
            "mutation($digest: String) { runAction(name: \"nightly\", workflowDigest: $digest) { name } }";
        let world = World::start().await;
        let engine = world.guarded_engine().await;
        let (_, mallory) = people(&world).await;
        prepare(&engine, &mallory, "nightly", parameters("mongo")).await;
        let digest = ready(&world, "nightly").await.rendering.unwrap().workflow_ref.digest;
        let (world, answer) = raced(query, json!({"digest": digest})).await;
        answer.refuses("CONFLICT", &[]);
        assert!(!world.actions("default").get("nightly").await.unwrap().spec.run);
    }
}

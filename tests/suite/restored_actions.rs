//! What a restore brings asks for nothing: neither in the name of Velero's account nor in that of a person who was saved.

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use ochre_core::action::{Action, IDEMPOTENCY_KEY, MARK};
use ochre_core::phase::Phase;
use ochre_tests::{Engine, Person, World};
use serde_json::{Value, json};

/// Takes a cluster with the policies at work, and a tenant who has the namespaces a1 and a2.
async fn start() -> (World, Engine, Person) {
    let world = World::start().await;
    let engine = world.guarded_engine().await;
    let mallory = world.person("mallory").await;
    for name in ["a1", "a2", "b"] {
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    }
    for namespace in ["a1", "a2"] {
        let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        world.grant_rule(&mallory, Some(namespace), rule).await;
    }
    world.put_policies().await;
    (world, engine, mallory)
}

fn actions(client: Client, namespace: &str) -> Api<Action> {
    Api::namespaced(client, namespace)
}

fn action(name: &str, mark: Option<&str>, spec: Value) -> Action {
    let annotations = mark.map(|mark| json!({(MARK): mark}));
    serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
        "metadata": {"name": name, "annotations": annotations}, "spec": spec,
    }))
    .unwrap()
}

fn spec(run: bool, parameters: Value) -> Value {
    json!({"actionRef": {"path": "cap.interface.data.backup"}, "run": run, "input": {"parameters": parameters}})
}

/// Has an Action of a namespace run to a good end.
async fn run(
    world: &World,
    engine: &Engine,
    person: &Person,
    namespace: &str,
    name: &str,
    parameters: Value,
) {
    engine.run_by_in(person, namespace, name, parameters).await.data();
    let status = world.ended_in(namespace, name).await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
}

#[tokio::test]
async fn a_restore_over_an_action_does_not_ask_for_its_run() {
    let (world, engine, mallory) = start().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": "b"}, "data": {"key": "c2VjcmV0"},
    });
    world.create(secret).await;
    let admin = world.person("admin").await;
    let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    world.grant_rule(&admin, None, rule).await;
    let saved = json!({"action": "backup", "name": "b", "includeNamespaces": "b"});
    run(&world, &engine, &admin, "default", "save-b", saved).await;

    let (a1, a2) = (actions(world.client_of(&mallory), "a1"), actions(world.client_of(&mallory), "a2"));
    let wanted =
        json!({"action": "restore", "name": "b", "namespaceMapping": {"b": "a1"}, "existing": "keep"});
    let post = PostParams::default();
    let sleeping = a1.create(&post, &action("x", None, spec(false, wanted.clone()))).await.unwrap();
    let uid = sleeping.metadata.uid.clone();
    a2.create(&post, &action("x", uid.as_deref(), spec(true, wanted))).await.unwrap();
    let saved = json!({
        "action": "backup", "name": "a2", "includeNamespaces": "a2",
        "includeResources": "actions.core.ochre.dev", "coverage": "off",
    });
    run(&world, &engine, &mallory, "a2", "save", saved).await;
    let over = json!({
        "action": "restore", "name": "a2", "namespaceMapping": {"a2": "a1"}, "existing": "update", "waitReady": false,
    });
    engine.run_by_in(&mallory, "a2", "over", over).await.data();
    world.ended_in("a2", "over").await;

    let found = a1.get("x").await.unwrap();
    assert_eq!(found.spec, sleeping.spec, "it is as it was");
    assert_eq!(found.annotations().get(MARK), uid.as_ref());
    // What Velero made anew in a1 does not run either.
    let made = world.until_in("a1", "save", |status| status.message.is_some()).await;
    assert_eq!(made.phase, Phase::Initial, "{made:#?}");
    let made = a1.get("save").await.unwrap();
    assert!(!made.spec.run);
    assert!(world.api("v1", "Secret", Some("a1")).get_opt("theirs").await.unwrap().is_none());
}

#[tokio::test]
async fn what_velero_creates_asks_for_nothing() {
    let (world, _engine, mallory) = start().await;
    let velero = actions(world.client_of_velero().await, "a1");
    let person = actions(world.client_of(&mallory), "a1");
    let root = json!({"username": "root", "groups": ["system:masters"]});
    let mut asked = spec(true, json!({"action": "backup", "name": "all"}));
    asked["cancel"] = json!(true);
    asked["attempt"] = json!(7);
    asked["requestedBy"] = json!({"create": root, "run": root, "cancel": root, "update": root});
    asked["approvals"] = json!([{"step": "ask", "attempt": 1, "approved": true}]);
    for (by, name, mark, label) in [
        (&velero, "unmarked", None, None),
        (&velero, "marked", Some("another"), None),
        // Velero under an account of its own, or a person who puts a saved file back.
        (&person, "labelled", None, Some("back")),
    ] {
        let mut brought = action(name, mark, asked.clone());
        let annotations = brought.annotations_mut();
        annotations.insert(IDEMPOTENCY_KEY.to_owned(), "0".repeat(64));
        if let Some(label) = label {
            brought.labels_mut().insert("velero.io/restore-name".to_owned(), label.to_owned());
        }
        let made = by.create(&PostParams::default(), &brought).await.unwrap();
        let found = (made.spec.run, made.spec.cancel, made.spec.attempt, made.spec.approvals.len());
        assert_eq!(found, (false, false, 1, 0), "{name}");
        let named = made.spec.requested_by.clone().unwrap();
        assert_eq!((named.run, named.cancel, named.update), (None, None, None), "{name}");
        assert_ne!(named.create.unwrap().username, "root", "{name}");
        let mark = made.annotations().get(MARK).map(String::as_str);
        assert_eq!(mark, Some(if name == "marked" { "another" } else { "restored" }), "{name}");
        assert!(!made.annotations().contains_key(IDEMPOTENCY_KEY), "{name}");
        let status = world.until_in("a1", name, |status| status.message.is_some()).await;
        assert_eq!(status.phase, Phase::Initial);
        assert!(status.message.unwrap().contains("is a copy"), "{name}");
    }
    // A person asks for it in their own name.
    let rerun = Patch::Merge(json!({"spec": {"attempt": 2, "run": true}}));
    let rerun = person.patch("unmarked", &PatchParams::default(), &rerun).await.unwrap();
    assert_eq!(rerun.spec.requested_by.unwrap().run.unwrap().username, mallory.username);
    let status = world.ended_in("a1", "unmarked").await;
    assert_eq!(status.steps[0].reason.as_deref(), Some("Forbidden"), "{status:#?}");
}

#[tokio::test]
async fn what_velero_updates_stays_as_it_was() {
    let (world, _engine, mallory) = start().await;
    let velero = actions(world.client_of_velero().await, "a1");
    let person = actions(world.client_of(&mallory), "a1");
    let asked = spec(false, json!({"action": "backup", "name": "mine", "includeNamespaces": "a1"}));
    person.create(&PostParams::default(), &action("mine", None, asked)).await.unwrap();
    let before =
        world.until_in("a1", "mine", |status| status.phase == Phase::ReadyToRun).await.rendering.unwrap();
    let mine = person.get("mine").await.unwrap();
    let plain = PatchParams::default();
    for change in [
        json!({"run": true}),
        json!({"cancel": true}),
        json!({"attempt": 2, "run": true}),
        json!({"input": {"parameters": {"name": "other"}}}),
        json!({"requestedBy": {"run": {"username": "root"}}}),
        json!({"approvals": [{"step": "ask", "attempt": 1, "approved": true}]}),
    ] {
        let patched = velero.patch("mine", &plain, &Patch::Merge(json!({"spec": change}))).await.unwrap();
        assert_eq!(patched.spec, mine.spec, "{change}");
    }
    let mut whole = person.get("mine").await.unwrap();
    whole.spec.run = true;
    whole.labels_mut().insert("velero.io/restore-name".to_owned(), "back".to_owned());
    whole.annotations_mut().insert(MARK.to_owned(), "another".to_owned());
    whole.annotations_mut().insert(IDEMPOTENCY_KEY.to_owned(), "0".repeat(64));
    let replaced = velero.replace("mine", &PostParams::default(), &whole).await.unwrap();
    assert_eq!(replaced.spec, mine.spec);
    assert_eq!(replaced.annotations(), mine.annotations());
    assert_eq!(replaced.labels()["velero.io/restore-name"], "back");
    // Only the engine changes its annotations and its status.
    for annotation in [MARK, IDEMPOTENCY_KEY] {
        for value in [json!("another"), Value::Null] {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {(annotation): value}}}));
            let patched = person.patch("mine", &plain, &patch).await.unwrap();
            assert_eq!(patched.annotations(), mine.annotations(), "{annotation}");
        }
    }
    let forged = json!({"status": {"phase": "RUNNING", "runBy": {"username": "root"}}});
    for by in [&velero, &person] {
        let refused = by.patch_status("mine", &plain, &Patch::Merge(&forged)).await.unwrap_err();
        assert!(refused.to_string().contains("only the engine writes the status"), "{refused}");
    }
    assert_eq!(person.get("mine").await.unwrap().status.unwrap().rendering, Some(before));
}

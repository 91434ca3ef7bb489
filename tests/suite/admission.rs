//! Who an Action says has asked for it, whatever way it is written past the gateway.

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use ochre_core::action::{Action, UserInfo};
use ochre_core::phase::Phase;
use ochre_tests::{Person, World};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";
const WRITE: [&str; 6] = ["get", "list", "create", "update", "patch", "delete"];

/// Takes a cluster with the policies at work, and somebody who may write Actions and not run them.
async fn start() -> (World, Person) {
    let world = World::start().await;
    let mallory = world.person("mallory").await;
    world.grant(&mallory, Some("default"), "actions", &WRITE).await;
    world.put_policies().await;
    (world, mallory)
}

fn actions(client: Client) -> Api<Action> {
    Api::namespaced(client, "default")
}

fn action(name: &str, run: bool, requested_by: Option<Value>) -> Action {
    serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
        "spec": {
            "actionRef": {"path": "cap.interface.data.backup"}, "run": run, "requestedBy": requested_by,
            "input": {"parameters": {"action": "backup", "name": name, "selector": APPLICATION}},
        },
    }))
    .unwrap()
}

/// What everybody claims who would be another.
fn claims() -> Value {
    let admin = json!({"username": "root", "groups": ["system:masters"]});
    json!({"create": admin, "run": admin, "cancel": admin})
}

/// Compares who an Action says has asked for its creation, its run and its cancel.
fn named(action: &Action, wanted: [Option<&str>; 3]) {
    let by = action.spec.requested_by.clone().unwrap_or_default();
    let name = |by: Option<UserInfo>| by.map(|by| by.username);
    let found = [name(by.create), name(by.run), name(by.cancel)];
    assert_eq!(found, wanted.map(|name| name.map(str::to_owned)), "{}", action.name_any());
}

fn merge(patch: Value) -> Patch<Value> {
    Patch::Merge(patch)
}

fn apply(action: &Action) -> (PatchParams, Patch<Value>) {
    let mut wanted = serde_json::to_value(action).unwrap();
    wanted["metadata"] = json!({"name": action.name_any()});
    (PatchParams::apply("mallory").force(), Patch::Apply(wanted))
}

fn json_patch(operations: Value) -> Patch<Value> {
    Patch::Json(serde_json::from_value(operations).unwrap())
}

#[tokio::test]
async fn whoever_creates_is_named_whatever_they_claim() {
    let (world, mallory) = start().await;
    let (me, at) = (Some(mallory.username.as_str()), actions(world.client_of(&mallory)));
    let post = PostParams::default();
    named(&at.create(&post, &action("created", false, Some(claims()))).await.unwrap(), [me, None, None]);
    let mut generated = action("", false, Some(claims()));
    generated.metadata.name = None;
    generated.metadata.generate_name = Some("generated-".to_owned());
    named(&at.create(&post, &generated).await.unwrap(), [me, None, None]);
    let (parameters, patch) = apply(&action("applied", false, Some(claims())));
    named(&at.patch("applied", &parameters, &patch).await.unwrap(), [me, None, None]);
    // Nor is a status taken from whoever creates.
    let mut known = action("known", false, None);
    let status =
        json!({"phase": "SUCCEEDED", "runBy": {"username": "root"}, "createdBy": {"username": "root"}});
    known.status = serde_json::from_value(status).unwrap();
    let known = at.create(&post, &known).await.unwrap();
    named(&known, [me, None, None]);
    assert!(known.status.is_none(), "{:?}", known.status);
}

#[tokio::test]
async fn whoever_is_named_is_named_as_the_cluster_knows_them() {
    let (world, mallory) = start().await;
    let at = actions(world.client_of(&mallory));
    let made = at.create(&PostParams::default(), &action("created", false, None)).await.unwrap();
    let me = made.spec.requested_by.unwrap().create.unwrap();
    assert_eq!(
        me.groups,
        ["system:serviceaccounts", "system:serviceaccounts:people-mallory", "system:authenticated"]
    );
}

#[tokio::test]
async fn nobody_changes_who_has_asked() {
    let (world, mallory) = start().await;
    let made = world.actions("default").create(&PostParams::default(), &action("mine", true, None)).await;
    let (admin, at) = (Some("admin"), actions(world.client_of(&mallory)));
    named(&made.unwrap(), [admin, admin, None]);
    let plain = PatchParams::default();
    let (parameters, applied) = apply(&action("mine", true, Some(claims())));
    let stolen = json!({"run": {"username": "root"}, "create": null, "cancel": {"username": "root"}});
    for (parameters, patch) in [
        (&plain, merge(json!({"spec": {"requestedBy": stolen}}))),
        (&plain, merge(json!({"spec": {"requestedBy": null}}))),
        (&plain, json_patch(json!([{"op": "remove", "path": "/spec/requestedBy"}]))),
        (
            &plain,
            json_patch(json!([{"op": "replace", "path": "/spec/requestedBy/run/username", "value": "root"}])),
        ),
        (&plain, json_patch(json!([{"op": "remove", "path": "/spec/requestedBy/run"}]))),
        (&parameters, applied),
    ] {
        named(&at.patch("mine", parameters, &patch).await.unwrap(), [admin, admin, None]);
    }
    let mut whole = at.get("mine").await.unwrap();
    whole.spec.requested_by = serde_json::from_value(claims()).unwrap();
    named(&at.replace("mine", &PostParams::default(), &whole).await.unwrap(), [admin, admin, None]);
    // Nor by way of the status, for a person who may write that.
    let mut whole = at.get("mine").await.unwrap();
    whole.spec.requested_by = None;
    let all = world.actions("default");
    let patch = merge(json!({"spec": {"requestedBy": stolen}}));
    for written in [
        all.replace_status("mine", &PostParams::default(), &whole).await,
        all.patch_status("mine", &plain, &patch).await,
    ] {
        let refused = written.unwrap_err().to_string();
        assert!(
            refused.contains("only the engine writes the status of the Action default/mine"),
            "{refused}"
        );
    }
    named(&at.get("mine").await.unwrap(), [admin, admin, None]);
}

#[tokio::test]
async fn whoever_may_not_run_gets_nothing_run() {
    let (world, mallory) = start().await;
    let (at, all) = (actions(world.client_of(&mallory)), world.actions("default"));
    let post = PostParams::default();
    all.create(&post, &action("later", false, None)).await.unwrap();
    all.create(&post, &action("asked", true, None)).await.unwrap();
    let refused = |written: kube::Result<Action>, verb: &str, name: &str| {
        let kube::Error::Api(status) = written.unwrap_err() else { panic!("the API server's word") };
        let why = format!(
            "ValidatingAdmissionPolicy 'ochre-rights' with binding 'ochre-rights' denied request: {} may not {verb} the Action default/{name}",
            mallory.username
        );
        assert_eq!(status.message, format!("actions.core.ochre.dev \"{name}\" is forbidden: {why}"));
        assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
        let details = status.details.unwrap();
        let found = (details.name.as_str(), details.group.as_str(), details.kind.as_str());
        assert_eq!(found, (name, "core.ochre.dev", "actions"));
        assert_eq!(details.causes.len(), 1);
        assert_eq!(details.causes[0].message, why);
    };
    refused(at.create(&post, &action("at-once", true, Some(claims()))).await, "run", "at-once");
    let (parameters, patch) = apply(&action("applied", true, Some(claims())));
    refused(at.patch("applied", &parameters, &patch).await, "run", "applied");
    let plain = PatchParams::default();
    // Nor something else in place of what another has asked for.
    for (name, verb, spec) in [
        ("later", "run", json!({"run": true})),
        ("asked", "run", json!({"input": {"parameters": {"selector": "app=other"}}})),
        ("asked", "run", json!({"actionRef": {"revision": "0.1.0"}})),
        ("asked", "run", json!({"serviceAccountName": "keeper"})),
        ("asked", "run", json!({"attempt": 2})),
        ("asked", "run", json!({"fromStep": "backup"})),
        ("asked", "run", json!({"renderedActionOverride": {"steps": []}})),
        ("asked", "run", json!({"dryRun": true})),
        ("asked", "run", json!({"advancedRendering": true})),
        ("asked", "cancel", json!({"cancel": true})),
        ("asked", "approve", json!({"approvals": [{"step": "ask", "attempt": 1, "approved": true}]})),
    ] {
        refused(at.patch(name, &plain, &merge(json!({"spec": spec}))).await, verb, name);
    }
    let mut whole = at.get("later").await.unwrap();
    whole.spec.run = true;
    refused(at.replace("later", &post, &whole).await, "run", "later");
    // What is no run of anything is everybody's who may write.
    at.patch("asked", &plain, &merge(json!({"metadata": {"labels": {"team": "blue"}}}))).await.unwrap();
    let changed = merge(json!({"spec": {"input": {"parameters": {"selector": "app=other"}}}}));
    at.patch("later", &plain, &changed).await.unwrap();
    named(
        &at.patch("asked", &plain, &merge(json!({"spec": {"run": false}}))).await.unwrap(),
        [Some("admin"), Some("admin"), None],
    );
}

#[tokio::test]
async fn whoever_may_is_named_and_has_their_own_rights() {
    let (world, mallory) = start().await;
    let engine = world.guarded_engine().await;
    world.grant(&mallory, Some("default"), "actions", &["run", "cancel"]).await;
    let (me, at) = (Some(mallory.username.as_str()), actions(world.client_of(&mallory)));
    world.actions("default").create(&PostParams::default(), &action("whole", false, None)).await.unwrap();
    let run = merge(json!({"spec": {"run": true}}));
    let run = at.patch("whole", &PatchParams::default(), &run).await.unwrap();
    named(&run, [Some("admin"), me, None]);
    let status = world.ended("whole").await;
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    assert_eq!(status.run_by.unwrap().username, mallory.username);
    assert!(status.message.unwrap().contains("may not backup targets.core.ochre.dev in the whole cluster"));
    // The gateway's own account names others.
    world.grant_edit(&mallory, Some("chat")).await;
    let parameters =
        json!({"action": "backup", "name": "named", "selector": APPLICATION, "includeNamespaces": "chat"});
    engine.run_by(&mallory, "named", parameters).await.data();
    world.succeeded("named").await;
    named(&at.get("named").await.unwrap(), [me, me, None]);
}

#[tokio::test]
async fn nobody_but_the_engine_s_account_names_another() {
    let (world, mallory) = start().await;
    let post = PostParams::default();
    let root = Some("root");
    let engine = actions(world.client_of_engine());
    named(
        &engine.create(&post, &action("engine-s", false, Some(claims()))).await.unwrap(),
        [root, root, root],
    );
    // A namesake in another namespace is another.
    let namesake = world.person("ochre").await;
    world.grant(&namesake, Some("default"), "actions", &WRITE).await;
    let at = actions(world.client_of(&namesake));
    let made = at.create(&post, &action("namesake-s", false, Some(claims()))).await.unwrap();
    named(&made, [Some(&namesake.username), None, None]);
    assert_ne!(namesake.username, mallory.username);
}

#[tokio::test]
async fn kubectl_as_somebody_is_that_one() {
    let (world, mallory) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("action.json");
    let path = file.to_str().unwrap();
    let by = ["-n", "default", "--as", &mallory.username, "--validate=false", "-f", path];
    for (name, verb) in
        [("created", &["create"][..]), ("applied", &["apply"]), ("served", &["apply", "--server-side"])]
    {
        let claimed = action(name, false, Some(claims()));
        std::fs::write(&file, serde_json::to_vec(&claimed).unwrap()).unwrap();
        world.kubectl(&[verb, &by[..]].concat()).await;
        let made = world.actions("default").get(name).await.unwrap();
        named(&made, [Some(&mallory.username), None, None]);
    }
    let taken = action("created", true, Some(claims()));
    std::fs::write(&file, serde_json::to_vec(&taken).unwrap()).unwrap();
    let said = world.kubectl_fails(&[&["replace"], &by[..]].concat()).await;
    let why = format!("{} may not run the Action default/created", mallory.username);
    assert!(said.contains("(Forbidden)") && said.contains(&why), "{said}");
}

#[tokio::test]
async fn a_token_that_nobody_gave_out_lets_nobody_in() {
    let world = World::empty().await;
    let at = actions(world.client_of(&Person::unknown()));
    let kube::Error::Api(status) = at.get("any").await.unwrap_err() else { panic!("the API server's word") };
    assert_eq!(
        (status.code, status.reason.as_str(), status.message.as_str()),
        (401, "Unauthorized", "Unauthorized")
    );
}

/// Labels, annotations and the rest, each at its bound or one beyond.
fn metadata(beyond: usize) -> Vec<Value> {
    let many = |count: usize, value: &str| -> Value {
        (0..count)
            .map(|number| (format!("x{number}"), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let owner = |number: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("o{number}"), "uid": number.to_string()});
    let finalizers: Vec<String> = (0..16 + beyond).map(|number| format!("example.org/f{number}")).collect();
    let owners: Vec<Value> = (0..16 + beyond).map(owner).collect();
    let mut long = owner(0);
    long["name"] = json!("n".repeat(253 + beyond));
    vec![
        json!({"labels": many(64 + beyond, "")}),
        json!({"annotations": many(64 + beyond, "")}),
        json!({"annotations": {"x": "y".repeat(65535 + beyond)}}),
        json!({"finalizers": finalizers}),
        json!({"ownerReferences": owners}),
        json!({"ownerReferences": [long]}),
    ]
}

#[tokio::test]
async fn an_action_is_not_filled_so_that_its_status_finds_no_room() {
    let (world, mallory) = start().await;
    let at = actions(world.client_of(&mallory));
    // Dry runs, for an Action whose owners are not there is collected.
    let post = PostParams { dry_run: true, ..PostParams::default() };
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    at.create(&PostParams::default(), &action("filled", false, None)).await.unwrap();
    let created = |metadata: Value| {
        let mut made = serde_json::to_value(action("created", false, None)).unwrap();
        made["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value::<Action>(made).unwrap()
    };
    for (within, beyond) in metadata(0).into_iter().zip(metadata(1)) {
        let field = within.as_object().unwrap().keys().next().unwrap().clone();
        at.create(&post, &created(within.clone())).await.unwrap();
        at.patch("filled", &dry, &merge(json!({"metadata": within}))).await.unwrap();
        for refused in [
            at.create(&post, &created(beyond.clone())).await,
            at.patch("filled", &dry, &merge(json!({"metadata": beyond}))).await,
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(
                refused.contains("'ochre-rights'") && refused.contains(" has too "),
                "{field}: {refused}"
            );
        }
    }
    // Each manager of a field is an entry of its own.
    let labelled = |number: usize| {
        json!({
            "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action",
            "metadata": {"labels": {(format!("x{}", number % 8)): ""}},
        })
    };
    let mut refused = None;
    for number in 0..70 {
        let by = PatchParams::apply(&format!("manager-{number}")).force();
        let mut wanted = labelled(number);
        wanted["metadata"]["name"] = json!("filled");
        if let Err(error) = at.patch("filled", &by, &Patch::Apply(&wanted)).await {
            refused = Some((number, error.to_string()));
            break;
        }
    }
    let (number, refused) = refused.expect("managers have a bound");
    assert!(number >= 32 && refused.contains("has too much around it"), "{number}: {refused}");
}

#[tokio::test]
async fn only_the_engine_lets_a_running_action_go() {
    let (world, mallory) = start().await;
    let engine = world.guarded_engine().await;
    let root = world.person("root").await;
    world.grant_edit(&root, Some("default")).await;
    let at = actions(world.client_of(&mallory));
    world.stop_velero().await;
    let parameters = json!({"action": "backup", "name": "held", "includeNamespaces": "default"});
    engine.run_by(&root, "held", parameters).await.data();
    world.until("held", |status| status.objects().next().is_some()).await;
    let plain = PatchParams::default();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}]);
    let none = json!({"finalizers": null});
    for (metadata, says) in [
        (json!({"ownerReferences": owner}), "other owners while it runs"),
        (none.clone(), "may not take the finalizer core.ochre.dev/run off"),
        (json!({"finalizers": ["example.org/mine"]}), "may not take the finalizer core.ochre.dev/run off"),
    ] {
        let refused = at.patch("held", &plain, &merge(json!({"metadata": metadata}))).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(&mallory.username) && refused.contains(says), "{refused}");
    }
    // What ends no run is let through, and what has ended may be changed.
    let more = json!({"labels": {"team": "blue"}, "finalizers": ["core.ochre.dev/run", "example.org/mine"]});
    at.patch("held", &plain, &merge(json!({"metadata": more}))).await.unwrap();
    world.actions("default").patch("held", &plain, &merge(json!({"spec": {"cancel": true}}))).await.unwrap();
    world.ended("held").await;
    at.patch("held", &plain, &merge(json!({"metadata": none}))).await.unwrap();
    at.patch("held", &plain, &merge(json!({"metadata": {"ownerReferences": owner}}))).await.unwrap();
    world.start_velero().await;
    engine.drain().await;
}

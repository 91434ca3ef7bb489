use serde_json::{Value, json};

use super::world::{World, restore_step};
use crate::action::{RequestedBy, UserInfo};
use crate::decide::{DocumentState, RIGHTS_AT_ONCE};
use crate::phase::{Phase, StepPhase};
use crate::velero::{Document, DocumentKind, parse_item_list};

const BACKUP: &str = "backup targets.core.ochre.dev in chat";
const RESTORE: &str = "restore targets.core.ochre.dev in chat";
const RESTORE_COPY: &str = "restore targets.core.ochre.dev in copy";
const ESCALATE: &str = "escalate targets.core.ochre.dev in chat";
const RESTORE_ALL: &str = "restore targets.core.ochre.dev in the whole cluster";

/// Lets alice have it run, who has these rights.
fn by_alice(mut world: World, rights: &[&'static str]) -> World {
    let run = Some(UserInfo { username: "alice".to_owned(), ..UserInfo::default() });
    world.action.spec.requested_by = Some(RequestedBy { run, ..RequestedBy::default() });
    world.rights = Some(rights.to_vec());
    world
}

fn backup(namespaces: Value) -> World {
    World::new(json!([{"name": "backup", "timeout": "1h", "resource": {"action": "create", "manifest": {
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo"},
        "spec": {"includedNamespaces": namespaces, "excludedResources": ["secrets"]},
    }}}]))
}

fn restore(expect: Value, spec: &Value, holds: &str) -> World {
    let mut world = World::new(restore_step(expect, spec));
    world.put(json!({"apiVersion": "velero.io/v1", "kind": "Backup", "spec": {"includedNamespaces": ["chat"]},
        "metadata": {"name": "mongo", "namespace": "velero", "labels": {"core.ochre.dev/backup-name": "mongo"}, "creationTimestamp": "2026-11-21T08:00:00Z"},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-21T08:00:00Z"}}));
    let contents = Document::Contents(Vec::new());
    world.documents.insert(DocumentKind::BackupContents, DocumentState::Read(contents.into()));
    let list = Document::Items(parse_item_list(holds.as_bytes()).unwrap());
    world.documents.insert(DocumentKind::BackupResourceList, DocumentState::read(list));
    world
}

/// Fails unless the run begins to make Velero's object.
fn allowed(mut world: World) {
    world.settle();
    assert!(world.created.iter().any(|key| key.kind != "ConfigMap"), "{:?}", world.status().message);
}

/// Fails unless the run ends and nothing was made.
fn denied(mut world: World, says: &[&str]) {
    let status = world.settle().status();
    assert!(world.created.iter().all(|key| key.kind == "ConfigMap"), "{:?}", world.created);
    assert_eq!((status.phase, status.steps[0].phase), (Phase::Failed, StepPhase::Failed));
    assert_eq!(status.steps[0].reason.as_deref(), Some("Forbidden"));
    let message = status.message.unwrap();
    for part in says {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }
}

#[test]
fn what_nobody_asked_for_waits() {
    let mut world = backup(json!(["chat"]));
    world.rights = Some(vec![BACKUP]);
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::ReadyToRun);
    assert!(status.message.unwrap().contains("run it through the gateway"));
}

#[test]
fn a_backup_needs_the_right_on_every_namespace() {
    allowed(by_alice(backup(json!(["chat"])), &[BACKUP]));
    denied(by_alice(backup(json!(["chat"])), &[RESTORE]), &["alice may not", BACKUP, "ask for a role"]);
    denied(by_alice(backup(json!(["chat", "shop"])), &[BACKUP]), &["backup targets.core.ochre.dev in shop"]);
    denied(by_alice(backup(json!(null)), &[BACKUP]), &["in the whole cluster", "includeNamespaces"]);
    let mut with_secrets = backup(json!(["chat"]));
    let Ok(rendered) = &mut with_secrets.rendering else { unreachable!() };
    let manifest = &mut rendered.workflow.steps[0].resource.as_mut().unwrap().manifest;
    manifest["spec"]["excludedResources"] = json!(null);
    rendered.digest = crate::render::digest(&rendered.workflow);
    let says = &["get secrets in chat", "list secrets in chat", "excludeResources: secrets"];
    denied(by_alice(with_secrets, &[BACKUP]), says);
}

#[test]
fn a_restore_needs_the_right_on_what_is_in_the_backup() {
    let holds = r#"{"v1/Secret": ["chat/mongodb"], "v1/PersistentVolume": ["pv-mongo"], "v1/ConfigMap": ["shop/prices"]}"#;
    let named = json!({"includedNamespaces": ["chat"]});
    for expect in [json!({}), json!({"existing": "keep"})] {
        allowed(by_alice(restore(expect.clone(), &named, holds), &[RESTORE, ESCALATE]));
        let shop = "restore targets.core.ochre.dev in shop";
        let excluded = json!({"excludedNamespaces": ["shop"], "includeClusterResources": false});
        allowed(by_alice(restore(expect.clone(), &excluded, holds), &[RESTORE, ESCALATE]));
        denied(by_alice(restore(expect, &json!({}), holds), &[RESTORE, ESCALATE]), &[shop]);
    }
    let role =
        r#"{"v1/Secret": ["chat/mongodb"], "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ["admins"]}"#;
    let rights = [RESTORE, ESCALATE];
    denied(by_alice(restore(json!({}), &json!({}), role), &rights), &[RESTORE_ALL, "includeNamespaces"]);
    allowed(by_alice(restore(json!({}), &named, role), &rights));
}

#[test]
fn a_restore_elsewhere_needs_the_right_on_both() {
    let holds = r#"{"v1/ConfigMap": ["chat/mongodb"]}"#;
    let mapped = json!({"namespaceMapping": {"chat": "copy"}});
    let escalate = "escalate targets.core.ochre.dev in copy";
    allowed(by_alice(restore(json!({}), &mapped, holds), &[RESTORE, RESTORE_COPY, escalate]));
    denied(by_alice(restore(json!({}), &mapped, holds), &[RESTORE, escalate]), &[RESTORE_COPY]);
    let here = [RESTORE, RESTORE_COPY, ESCALATE];
    denied(by_alice(restore(json!({}), &mapped, holds), &here), &["create configmaps in copy"]);
}

#[test]
fn a_backup_that_may_not_be_seen_is_as_one_that_is_not_there() {
    let holds = r#"{"v1/ConfigMap": ["chat/mongodb"]}"#;
    let ended = |mut world: World, phase: Option<&str>| {
        match phase {
            Some(phase) => {
                world.status_of("Backup", json!({"phase": phase, "failureReason": "the bucket is full"}));
            }
            None => world.objects.retain(|key, _| key.kind != "Backup"),
        }
        for backup in world.objects.values_mut().filter(|object| object["kind"] == "Backup") {
            backup["spec"] = json!({"includedNamespaces": ["chat"]});
        }
        let waits = world.settle().status();
        world.later(300);
        let ends = world.settle().status();
        (waits.message, waits.steps[0].reason.clone(), ends.message, ends.steps[0].reason.clone())
    };
    let told = |phase, spec: &Value, rights: &[&'static str]| {
        ended(by_alice(restore(json!({}), spec, holds), rights), phase)
    };
    let copy = [RESTORE_COPY];
    for spec in
        [json!({}), json!({"includedNamespaces": ["copy"]}), json!({"namespaceMapping": {"chat": "copy"}})]
    {
        let absent = told(None, &spec, &copy);
        assert_eq!(absent.3.as_deref(), Some("NotFound"), "{absent:?}");
        for phase in ["Completed", "Failed", "InProgress", "Deleting"] {
            assert_eq!(told(Some(phase), &spec, &copy), absent, "{phase} {spec}");
        }
    }
    let seen = told(Some("Failed"), &json!({}), &[RESTORE]);
    assert!(seen.2.unwrap().contains("the bucket is full"));
}

#[test]
fn a_taken_name_is_told_after_ones_own_rights_and_its_holder_to_those_who_may_see_it() {
    let taken = |rights: &[&'static str]| {
        let mut world = backup(json!(["chat"]));
        world.put(
            json!({"apiVersion": "velero.io/v1", "kind": "Backup", "spec": {"includedNamespaces": ["shop"]},
            "metadata": {"name": "mongo", "namespace": "velero", "labels": {
                "core.ochre.dev/action-uid": "uid-2", "core.ochre.dev/action-namespace": "shop",
                "core.ochre.dev/action-name": "hourly",
            }}}),
        );
        by_alice(world, rights).settle().status().message.unwrap()
    };
    assert!(taken(&[]).contains(BACKUP), "{}", taken(&[]));
    let unseen = taken(&[BACKUP]);
    assert!(unseen.contains("exists and is not this Action's") && !unseen.contains("shop"), "{unseen}");
    let seen = taken(&[BACKUP, "restore targets.core.ochre.dev in shop"]);
    assert!(seen.contains("made by the Action shop/hourly"), "{seen}");
}

#[test]
fn anything_else_of_velero_s_needs_the_whole_cluster() {
    let all = "escalate targets.core.ochre.dev in the whole cluster";
    let both = ["backup targets.core.ochre.dev in the whole cluster", RESTORE_ALL, all];
    let step = |action: &str| {
        World::new(json!([{"name": "other", "timeout": "1h", "resource": {"action": action, "manifest": {
            "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": "daily"}, "spec": {},
        }}}]))
    };
    allowed(by_alice(step("create"), &both));
    for action in ["create", "delete"] {
        denied(by_alice(step(action), &[BACKUP, RESTORE]), &both);
    }
}

/// Has alice read an object of Velero's, or none, who has these rights; yields how that ended.
fn read(
    action: &str,
    object: Option<&Value>,
    kind: &Value,
    rights: &[&'static str],
) -> (StepPhase, Option<String>) {
    let manifest = json!({"apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": "x"}});
    let resource = json!({"action": action, "manifest": manifest, "until": "true"});
    let mut world = World::new(json!([{"name": "look", "timeout": "1h", "resource": resource}]));
    if let Some(mut object) = object.cloned() {
        object["apiVersion"] = json!("velero.io/v1");
        object["metadata"]["name"] = json!("x");
        object["metadata"]["namespace"] = json!("velero");
        world.put(object);
    }
    let status = by_alice(world, rights).settle().status();
    (status.steps[0].phase, status.message)
}

#[test]
fn what_is_read_of_velero_s_must_be_visible_to_whoever_has_it_read() {
    const BACKUP_ALL: &str = "backup targets.core.ochre.dev in the whole cluster";
    const ESCALATE_ALL: &str = "escalate targets.core.ochre.dev in the whole cluster";
    let chat = json!({"kind": "Backup", "spec": {"includedNamespaces": ["chat"]}});
    let mapped = json!({"kind": "Restore", "spec": {
        "includedNamespaces": ["chat"], "namespaceMapping": {"chat": "copy"},
    }});
    let whole = json!({"kind": "Backup", "spec": {}});
    // Its address is all that it takes to read a backup.
    let address = json!({"kind": "DownloadRequest", "status": {"downloadURL": "http://bucket/mongo.tar.gz"}});
    let own = json!({"kind": "Backup", "metadata": {"labels": {"core.ochre.dev/action-uid": "uid-1"}}});
    let foreign = json!({"kind": "Backup", "metadata": {"labels": {"core.ochre.dev/action-uid": "uid-2"}}});
    for (object, rights, is_seen) in [
        (&chat, &[RESTORE][..], true),
        (&chat, &[BACKUP], false),
        (&mapped, &[RESTORE, RESTORE_COPY], true),
        (&mapped, &[RESTORE], false),
        (&whole, &[RESTORE_ALL], true),
        (&whole, &[RESTORE], false),
        (&address, &[RESTORE_ALL, BACKUP_ALL, ESCALATE_ALL], true),
        (&address, &[RESTORE_ALL, BACKUP_ALL], false),
        (&own, &[], true),
        (&foreign, &[], false),
    ] {
        let kind = &object["kind"];
        for (action, unseen) in [("get", StepPhase::Failed), ("wait", StepPhase::Waiting)] {
            let (phase, message) = read(action, Some(object), kind, rights);
            if is_seen {
                assert_eq!(phase, StepPhase::Succeeded, "{action} {object}: {message:?}");
            } else {
                // It is as if it were not there.
                assert_eq!(
                    (phase, &message),
                    (unseen, &read(action, None, kind, rights).1),
                    "{action} {object}"
                );
            }
        }
    }
}

/// Names so many namespaces that are not alice's.
fn foreign(count: usize) -> Value {
    json!((0..count).map(|number| format!("n{number}")).collect::<Vec<_>>())
}

/// Has alice ask for what takes so many rights; compares how many are asked for, and what is said.
fn bounded(world: World, rights: &[&'static str], most: usize, says: &[&str]) {
    let mut world = by_alice(world, rights);
    world.settle();
    let asked = world.asked;
    assert!(asked <= most, "{asked} rights were asked for, and {most} are enough: {says:?}");
    world.later(300);
    let message = world.settle().status().message.unwrap_or_default();
    for part in says {
        assert!(message.contains(part), "`{part}` is not said in: {message}");
    }
}

#[test]
fn asking_ends_at_a_refusal_and_never_goes_beyond_a_bound() {
    // One for the whole cluster, and a first batch.
    let few = 1 + RIGHTS_AT_ONCE;
    let holds = r#"{"v1/ConfigMap": ["chat/mongodb"]}"#;
    let restore_of = |names: Value| restore(json!({}), &json!({"includedNamespaces": names}), holds);
    let told = ["alice may not backup targets.core.ochre.dev in n0", "(992 more rights were not asked for)"];
    bounded(backup(foreign(1024)), &[BACKUP], few, &told);
    let too_many = ["3000 rights would have to be asked for, and 2000 are at most", "includeNamespaces"];
    bounded(backup(foreign(3000)), &[BACKUP], few, &too_many);
    // The Backup may be seen, for `chat` is in it.
    let seen = |mut names: Value| {
        names.as_array_mut().unwrap().push(json!("chat"));
        restore_of(names)
    };
    bounded(seen(foreign(1024)), &[RESTORE], few + 1, &["alice may not restore", "more rights"]);
    bounded(seen(foreign(3000)), &[RESTORE], few + 1, &["3001 rights would have to be asked for"]);
    let mut hidden = restore_of(foreign(3000));
    for backup in hidden.objects.values_mut().filter(|object| object["kind"] == "Backup") {
        backup["spec"] = json!({"includedNamespaces": foreign(3000)});
    }
    bounded(hidden, &[RESTORE], 2 * few, &["Velero knows no Backup mongo", "too many to ask about"]);
    // What is held everywhere is asked for once.
    let all = ["backup targets.core.ochre.dev in the whole cluster"];
    let mut held = by_alice(backup(foreign(3000)), &all);
    held.settle();
    assert!(held.created.iter().any(|key| key.kind == "Backup"), "{:?}", held.status().message);
    assert!(held.asked <= 4, "{}", held.asked);
}

#[test]
fn what_many_rights_are_needed_to_see_is_not_seen() {
    let object = json!({"kind": "Backup", "spec": {"includedNamespaces": foreign(3000)}});
    let unseen = read("get", None, &object["kind"], &[RESTORE]);
    assert_eq!(read("get", Some(&object), &object["kind"], &[RESTORE]), unseen);
    let seen = read("get", Some(&object), &object["kind"], &[RESTORE_ALL]);
    assert_eq!(seen.0, StepPhase::Succeeded, "{seen:?}");
}

/// Puts a Backup or Restore of an Action of a namespace into Velero's, in a phase.
fn at_work(world: &mut World, kind: &str, name: &str, namespace: &str, phase: &str) {
    world.put(json!({"apiVersion": "velero.io/v1", "kind": kind, "spec": {}, "status": {"phase": phase},
        "metadata": {"name": name, "namespace": "velero", "labels": {"core.ochre.dev/action-namespace": namespace}}}));
}

#[test]
fn what_velero_is_at_work_on_for_a_namespace_is_bounded() {
    let unnamed = || {
        let holds = r#"{"v1/ConfigMap": ["chat/mongodb"]}"#;
        restore(json!({}), &json!({}), holds)
    };
    let rights = [BACKUP, RESTORE, ESCALATE];
    for (kind, world) in
        [("Backup", (|| backup(json!(["chat"]))) as fn() -> World), ("Restore", unnamed as fn() -> World)]
    {
        let with = |objects: &[(&str, &str, &str)]| {
            let mut world = by_alice(world(), &rights);
            for (number, (kind, namespace, phase)) in objects.iter().enumerate() {
                at_work(&mut world, kind, &format!("earlier-{number}"), namespace, phase);
            }
            world
        };
        let other = if kind == "Backup" { "Restore" } else { "Backup" };
        for ended in ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"] {
            allowed(with(&[(kind, "chat", "InProgress"), (kind, "chat", ended)]));
        }
        allowed(with(&[(kind, "shop", "InProgress"), (kind, "shop", "Queued")]));
        allowed(with(&[(other, "chat", "InProgress"), (other, "chat", "Queued")]));
        for phase in ["", "New", "Queued", "WaitingForPluginOperations", "of a later Velero"] {
            let mut world = with(&[(kind, "chat", "InProgress"), (kind, "chat", phase)]);
            let status = world.settle().status();
            let step = &status.steps[0];
            assert_eq!(
                (step.phase, step.reason.as_deref()),
                (StepPhase::Waiting, Some("TooManyAtWork")),
                "{phase}"
            );
            let says = step.message.as_ref().unwrap();
            assert!(says.contains("earlier-0, earlier-1") && says.contains("2 are at most"), "{says}");
            assert!(!world.created.iter().any(|key| key.kind == kind));
            for object in world.objects.values_mut().filter(|object| object["status"]["phase"] == phase) {
                object["status"]["phase"] = json!("Failed");
            }
            world.settle();
            assert!(world.created.iter().any(|key| key.kind == kind), "it goes on: {:?}", world.status());
        }
    }
    // Who may not is told so at once.
    let mut world = by_alice(backup(json!(["chat"])), &[]);
    for name in ["earlier", "other"] {
        at_work(&mut world, "Backup", name, "chat", "InProgress");
    }
    denied(world, &[BACKUP]);
}

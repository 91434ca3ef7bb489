use serde_json::{Value, json};

use super::world::{World, restore_step};
use crate::action::{RequestedBy, UserInfo};
use crate::decide::DocumentState;
use crate::phase::{Phase, StepPhase};
use crate::velero::{Document, DocumentKind, parse_item_list};

const BACKUP: &str = "backup targets.core.ochre.dev in chat";
const RESTORE: &str = "restore targets.core.ochre.dev in chat";
const RESTORE_COPY: &str = "restore targets.core.ochre.dev in copy";
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
        "spec": {"includedNamespaces": namespaces},
    }}}]))
}

fn restore(expect: Value, spec: &Value, holds: &str) -> World {
    let mut world = World::new(restore_step(expect, spec));
    world.put(json!({"apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": "mongo", "namespace": "velero", "labels": {"core.ochre.dev/backup-name": "mongo"}, "creationTimestamp": "2026-11-21T08:00:00Z"},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-21T08:00:00Z"}}));
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
}

#[test]
fn a_restore_needs_the_right_on_what_is_in_the_backup() {
    let holds = r#"{"v1/Secret": ["chat/mongodb"], "v1/PersistentVolume": ["pv-mongo"]}"#;
    for expect in [json!({}), json!({"existing": "keep"})] {
        allowed(by_alice(restore(expect.clone(), &json!({}), holds), &[RESTORE]));
        denied(by_alice(restore(expect, &json!({}), holds), &[BACKUP]), &[RESTORE]);
    }
    let role =
        r#"{"v1/Secret": ["chat/mongodb"], "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ["admins"]}"#;
    denied(by_alice(restore(json!({}), &json!({}), role), &[RESTORE]), &[RESTORE_ALL, "includeNamespaces"]);
    let named = json!({"includedNamespaces": ["chat"]});
    allowed(by_alice(restore(json!({}), &named, role), &[RESTORE]));
}

#[test]
fn a_restore_elsewhere_needs_the_right_on_both() {
    let holds = r#"{"v1/Secret": ["chat/mongodb"]}"#;
    let mapped = json!({"namespaceMapping": {"chat": "copy"}});
    allowed(by_alice(restore(json!({}), &mapped, holds), &[RESTORE, RESTORE_COPY]));
    denied(by_alice(restore(json!({}), &mapped, holds), &[RESTORE]), &[RESTORE_COPY]);
    denied(by_alice(restore(json!({}), &mapped, holds), &[RESTORE_COPY]), &[RESTORE]);
}

#[test]
fn anything_else_of_velero_s_needs_the_whole_cluster() {
    let both = ["backup targets.core.ochre.dev in the whole cluster", RESTORE_ALL];
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

/// Has alice read an object of Velero's, who has these rights; yields how that ended.
fn read(action: &str, object: &Value, rights: &[&'static str]) -> (StepPhase, Option<String>) {
    let manifest = json!({"apiVersion": "velero.io/v1", "kind": object["kind"], "metadata": {"name": "x"}});
    let resource = json!({"action": action, "manifest": manifest, "until": "true"});
    let mut world = World::new(json!([{"name": "look", "timeout": "1h", "resource": resource}]));
    let mut object = object.clone();
    object["apiVersion"] = json!("velero.io/v1");
    object["metadata"]["name"] = json!("x");
    object["metadata"]["namespace"] = json!("velero");
    world.put(object);
    let status = by_alice(world, rights).settle().status();
    (status.steps[0].phase, status.message)
}

#[test]
fn what_is_read_of_velero_s_must_be_visible_to_whoever_has_it_read() {
    const BACKUP_ALL: &str = "backup targets.core.ochre.dev in the whole cluster";
    let chat = json!({"kind": "Backup", "spec": {"includedNamespaces": ["chat"]}});
    let mapped = json!({"kind": "Restore", "spec": {
        "includedNamespaces": ["chat"], "namespaceMapping": {"chat": "copy"},
    }});
    let whole = json!({"kind": "Backup", "spec": {}});
    // Its address is all that it takes to read a backup.
    let address = json!({"kind": "DownloadRequest", "status": {"downloadURL": "http://bucket/mongo.tar.gz"}});
    let own = json!({"kind": "Backup", "metadata": {"labels": {"core.ochre.dev/action-uid": "uid-1"}}});
    let foreign = json!({"kind": "Backup", "metadata": {"labels": {"core.ochre.dev/action-uid": "uid-2"}}});
    for (object, rights, missing) in [
        (&chat, &[RESTORE][..], None),
        (&chat, &[BACKUP], Some(RESTORE)),
        (&mapped, &[RESTORE, RESTORE_COPY], None),
        (&mapped, &[RESTORE], Some(RESTORE_COPY)),
        (&whole, &[RESTORE_ALL], None),
        (&whole, &[RESTORE], Some(RESTORE_ALL)),
        (&address, &[RESTORE_ALL, BACKUP_ALL], None),
        (&address, &[RESTORE_ALL], Some(BACKUP_ALL)),
        (&own, &[], None),
        (&foreign, &[], Some(RESTORE_ALL)),
    ] {
        for action in ["get", "wait"] {
            let (phase, message) = read(action, object, rights);
            let wanted = if missing.is_some() { StepPhase::Failed } else { StepPhase::Succeeded };
            assert_eq!(phase, wanted, "{action} {object}: {message:?}");
            let said = message.unwrap_or_default();
            assert!(missing.is_none_or(|missing| said.contains(missing)), "{action} {object}: {said}");
        }
    }
}

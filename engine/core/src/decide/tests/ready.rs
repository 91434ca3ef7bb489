use jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::{World, restore_step};
use crate::decide::DocumentState;
use crate::phase::{Phase, Verdict};
use crate::velero::{Document, DocumentKind, SavedObject, parse_item_list, parse_results};

const LIST: &[u8] = br#"{"v1/Pod": ["chat/web(created)"]}"#;

fn pod(ready: &str, restore: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "chat", "name": "web", "labels": {"velero.io/restore-name": restore}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    })
}

/// Has a Restore made of a Backup that holds the pod `web`, ready.
fn running(expect: Value) -> (World, String) {
    let mut steps = restore_step(json!({"existing": "keep"}), &json!({}));
    let whole = steps[0]["resource"]["expect"].as_object_mut().unwrap();
    whole.extend(expect.as_object().unwrap().clone());
    let mut world = World::new(steps);
    world.put(json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo", "namespace": "velero"}, "status": {"phase": "Completed"}}));
    world.settle();
    let restore = world.created.last().unwrap().name.clone();
    for (kind, document) in [
        (DocumentKind::RestoreResourceList, Document::Items(parse_item_list(LIST).unwrap())),
        (DocumentKind::RestoreResults, Document::Results(parse_results(b"{}").unwrap())),
        (DocumentKind::BackupContents, Document::Contents(vec![SavedObject::read(&pod("True", ""))])),
    ] {
        world.documents.insert(kind, DocumentState::read(document));
    }
    (world, restore)
}

fn completed(world: &mut World) {
    world.status_of("Restore", json!({"phase": "Completed", "completionTimestamp": world.now.to_string()}));
    world.settle();
}

#[test]
fn a_restore_ends_when_what_was_ready_is_ready_again() {
    let (mut world, restore) = running(json!({"waitReady": true}));
    world.put(pod("False", &restore));
    completed(&mut world);
    let status = world.status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Running, Some("WaitingForReady")));
    insta::assert_snapshot!(status.steps[0].message.as_deref().unwrap(), @"restored; waits until what was ready is ready again: Pod chat/web: it is Running and not ready; see its events, its log and its readiness probe");
    assert!(world.requeue.is_some(), "it has a deadline");
    world.put(pod("True", &restore));
    let status = world.settle().status();
    assert_eq!((status.phase, status.outcome.unwrap().verdict), (Phase::Succeeded, Verdict::Complete));
}

#[test]
fn a_pod_that_stays_unready_fails_the_restore_and_is_named() {
    let (mut world, restore) = running(json!({"waitReady": true, "readyTimeout": "90s"}));
    world.put(pod("False", &restore));
    completed(&mut world);
    let deadline = world.status().steps[0].deadline.clone().unwrap().0;
    assert_eq!(deadline, world.now + SignedDuration::from_secs(90), "not that of Velero's work");
    world.later(89);
    assert_eq!(world.settle().phase(), Phase::Running);
    world.later(1);
    let status = world.settle().status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("NotReady")));
    let outcome = status.outcome.unwrap();
    assert_eq!((outcome.verdict, outcome.gaps[0].object.as_str()), (Verdict::Partial, "Pod chat/web"));
    assert_eq!(status.steps[0].outputs["created"], 1, "what was restored is known all the same");
}

#[test]
fn nobody_waits_for_pods_without_being_asked_or_where_the_end_is_bad() {
    let check = |expect: Value, phase: &str, ended: Phase| {
        let (mut world, restore) = running(expect.clone());
        world.put(pod("False", &restore));
        world.status_of("Restore", json!({"phase": phase}));
        assert_eq!(world.settle().phase(), ended, "{expect}");
    };
    check(json!({"waitReady": false}), "Completed", Phase::Succeeded);
    check(json!({"waitReady": true}), "PartiallyFailed", Phase::Failed);
    check(json!({"waitReady": true, "partial": true}), "PartiallyFailed", Phase::Running);
}

#[test]
fn which_pods_were_ready_must_be_readable() {
    let (mut world, _) = running(json!({"waitReady": true}));
    world.documents.insert(DocumentKind::BackupContents, DocumentState::Unavailable("HTTP 403".to_owned()));
    completed(&mut world);
    let status = world.status();
    assert_eq!((status.phase, status.outcome.unwrap().verdict), (Phase::Failed, Verdict::Unknown));
}

#[test]
fn a_restore_without_a_free_volume_says_so_while_it_waits() {
    let (mut world, restore) = running(json!({}));
    let claim = |phase: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": phase},
            "metadata": {"namespace": "chat", "name": "data", "labels": {"velero.io/restore-name": restore}},
            "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "500Mi"}}},
        })
    };
    world.put(claim("Pending"));
    world.status_of("Restore", json!({"phase": "InProgress", "startTimestamp": world.now.to_string()}));
    assert_eq!(world.settle().status().steps[0].message, None);
    assert!(world.requeue.is_some_and(|wait| wait.as_secs() <= 30), "{:?}", world.requeue);
    world.later(30);
    insta::assert_snapshot!(world.settle().status().steps[0].message.as_deref().unwrap(), @"PersistentVolumeClaim chat/data waits for a volume: no PersistentVolume of storage class `local` with 500Mi is free; create one, and the restore goes on");
    world.put(claim("Bound"));
    assert_eq!(world.settle().status().steps[0].message, None);
    // Another tenant's claim with the label is none of the Restore's.
    let key = world.created.iter().find(|key| key.kind == "Restore").unwrap().clone();
    world.objects.get_mut(&key).unwrap()["spec"]["includedNamespaces"] = json!(["shop"]);
    world.put(claim("Pending"));
    assert_eq!(world.settle().status().steps[0].message, None);
}

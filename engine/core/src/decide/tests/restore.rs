use serde_json::{Value, json};

use super::world::{World, restore_step};
use crate::decide::DocumentState;
use crate::phase::{Phase, StepPhase, Verdict};
use crate::velero::{Document, DocumentKind, SavedObject, parse_item_list, parse_results, parse_volumes};

const HOLDS: &[u8] = br#"{"v1/Secret": ["chat/mongodb"], "v1/Namespace": ["chat"], "v1/PersistentVolume": ["pv-mongo"], "v1/Pod": ["chat/mongodb-0"]}"#;

fn backup(name: &str, phase: &str, started: &str) -> Value {
    json!({"apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": "velero", "labels": {
            "core.ochre.dev/backup-name": "mongo", "core.ochre.dev/action-uid": "uid-0", "core.ochre.dev/action-namespace": "chat",
        }, "creationTimestamp": started},
        "status": {"phase": phase, "startTimestamp": started}})
}

fn world(expect: Value, spec: &Value, phase: &str) -> World {
    let mut world = World::new(restore_step(expect, spec));
    if !phase.is_empty() {
        world.put(backup("mongo", phase, "2026-11-21T08:00:00Z"));
    }
    let list = Document::Items(parse_item_list(HOLDS).unwrap());
    world.documents.insert(DocumentKind::BackupResourceList, DocumentState::read(list));
    world
}

fn restores(world: &World) -> usize {
    world.created.iter().filter(|key| key.kind == "Restore").count()
}

#[test]
fn a_restore_takes_the_newest_good_backup_of_the_name() {
    let check = |backups: &[(&str, &str, &str)], partial: bool, expected: &str| {
        let mut world = world(json!({"partial": partial}), &json!({}), "");
        for (name, phase, started) in backups {
            world.put(backup(name, phase, started));
        }
        let status = world.settle().status();
        let restore = world.created.iter().find(|key| key.kind == "Restore");
        let restore = restore.unwrap_or_else(|| panic!("{:?}", status.message));
        assert_eq!(world.objects[restore]["spec"]["backupName"], expected);
        assert!(
            restore.name.starts_with("nightly-") && restore.name.len() == "nightly-".len() + 10,
            "{restore}"
        );
    };
    let first = ("mongo", "Completed", "2026-11-20T08:00:00Z");
    check(&[first, ("mongo-2", "Completed", "2026-11-21T08:00:00Z")], false, "mongo-2");
    check(&[first, ("mongo-2", "Failed", "2026-11-21T08:00:00Z")], false, "mongo");
    check(&[first, ("mongo-2", "PartiallyFailed", "2026-11-21T08:00:00Z")], false, "mongo");
    check(&[first, ("mongo-2", "PartiallyFailed", "2026-11-21T08:00:00Z")], true, "mongo-2");
}

#[test]
fn a_backup_that_is_not_good_is_not_restored() {
    let check = |phase: &str, words: &str| {
        let mut world = world(json!({}), &json!({}), phase);
        let status = world.settle().status();
        let message = status.message.unwrap();
        assert_eq!((status.phase, restores(&world)), (Phase::Failed, 0), "{message}");
        assert!(message.contains(words), "{message}");
    };
    check("Failed", "mongo is Failed");
    check("FailedValidation", "mongo is FailedValidation");
    check("PartiallyFailed", "allowPartial");
    check("InProgress", "still InProgress");
    check("New", "still New");
    check("Deleting", "being deleted");
}

/// As for a Restore, the word alone says nothing.
#[test]
fn a_backup_with_errors_is_not_restored_whatever_veleros_word() {
    let mut world = world(json!({}), &json!({}), "");
    let mut completed = backup("mongo", "Completed", "2026-11-21T08:00:00Z");
    completed["status"]["errors"] = json!(2);
    world.put(completed);
    let message = world.settle().status().message.unwrap();
    assert!(
        message.contains("mongo is Completed (errors: 2); to restore what is in it, ask with allowPartial"),
        "{message}"
    );
    assert_eq!(restores(&world), 0);
}

#[test]
fn an_unknown_backup_is_waited_for_and_then_not() {
    let mut world = world(json!({"syncTimeout": "300s"}), &json!({}), "");
    let status = world.settle().status();
    assert_eq!(
        (status.steps[0].phase, status.steps[0].reason.as_deref()),
        (StepPhase::Waiting, Some("BackupUnknown"))
    );
    world.later(299);
    assert_eq!(world.settle().phase(), Phase::Running);
    world.later(1);
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("knows no Backup mongo"));
}

#[test]
fn a_restore_over_live_objects_is_refused_before_velero_writes() {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mongodb", "namespace": "chat"}});
    let check = |existing: &str, object: Value, refused: bool| {
        let mut world = world(json!({"existing": existing}), &json!({}), "Completed");
        world.put(object.clone());
        let status = world.settle().status();
        let message = status.message.unwrap_or_default();
        assert_eq!(restores(&world), usize::from(!refused), "{object}: {message}");
        if refused {
            assert_eq!(status.steps[0].reason.as_deref(), Some("Exists"), "{message}");
            assert!(
                message.contains("Secret chat/mongodb") && message.contains("existing: keep or update"),
                "{message}"
            );
        }
    };
    check("refuse", secret.clone(), true);
    check("keep", secret.clone(), false);
    check("update", secret, false);
    check("refuse", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chat"}}), false);
    check(
        "refuse",
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-mongo"}, "status": {"phase": "Released"}}),
        false,
    );
    check(
        "refuse",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mongodb-0", "namespace": "chat", "ownerReferences": [{"controller": true}]}}),
        false,
    );
}

#[test]
fn every_filter_of_a_restore_counts_for_what_lives() {
    let check = |spec: Value, restored: usize, words: &str| {
        let mut world = world(json!({}), &spec, "Completed");
        world.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mongodb", "namespace": "chat"}}));
        let labelled = |kind: &str, name: &str, app: &str| {
            SavedObject::read(&json!({
                "kind": kind, "metadata": {"namespace": "chat", "name": name, "labels": {"app": app}},
            }))
        };
        let contents = vec![labelled("Secret", "mongodb", "mongo"), labelled("Pod", "mongodb-0", "other")];
        world
            .documents
            .insert(DocumentKind::BackupContents, DocumentState::read(Document::Contents(contents)));
        let message = world.settle().status().message.unwrap_or_default();
        assert_eq!(restores(&world), restored, "{spec}: {message}");
        assert!(message.contains(words), "{spec}: {message}");
    };
    check(json!({}), 0, "lives already");
    check(json!({"includedResources": ["pods"]}), 1, "");
    check(json!({"includedResources": ["secrets"]}), 0, "lives already");
    check(
        json!({"includedNamespaces": ["other"], "includedResources": ["secrets"]}),
        0,
        "select none of the 4 items",
    );
    check(json!({"labelSelector": {"matchLabels": {"app": "other"}}}), 1, "");
    check(json!({"labelSelector": {"matchLabels": {"app": "mongo"}}}), 0, "lives already");
    check(json!({"labelSelector": {"matchLabels": {"app": "none"}}}), 0, "select none");
    check(json!({"namespaceMapping": {"chat": "drill"}}), 1, "");
    check(json!({"includedNamespaces": ["chat"], "includedResources": ["namespaces"]}), 0, "select none");
}

#[test]
fn what_velero_never_restores_is_in_nobodys_way() {
    let mut world = world(json!({}), &json!({}), "Completed");
    let list =
        parse_item_list(br#"{"v1/Node": ["worker"], "v1/Event": ["chat/e"], "v1/Secret": ["chat/mongodb"]}"#);
    world
        .documents
        .insert(DocumentKind::BackupResourceList, DocumentState::read(Document::Items(list.unwrap())));
    world.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}}));
    world.put(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "chat"}}));
    let message = world.settle().status().message;
    assert_eq!(restores(&world), 1, "{message:?}");
}

#[test]
fn a_drill_into_another_namespace_shares_what_is_cluster_scoped() {
    let bound = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-mongo"}, "status": {"phase": "Bound"}});
    let check = |spec: Value, restored: usize| {
        let mut world = world(json!({}), &spec, "Completed");
        world.put(bound.clone());
        let message = world.settle().status().message;
        assert_eq!(restores(&world), restored, "{spec}: {message:?}");
    };
    check(json!({}), 0);
    check(json!({"namespaceMapping": {"chat": "drill"}}), 1);
}

#[test]
fn what_a_backup_holds_must_be_readable_before_it_is_restored() {
    let mut world = world(json!({}), &json!({}), "Completed");
    world
        .documents
        .insert(DocumentKind::BackupResourceList, DocumentState::Unavailable("HTTP 403".to_owned()));
    let status = world.settle().status();
    assert_eq!((status.phase, restores(&world)), (Phase::Failed, 0));
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Unknown);
}

fn restored(existing: &str, status: Value, list: &[u8], results: &[u8], live: &[Value]) -> World {
    let mut world = world(json!({"existing": existing}), &json!({}), "Completed");
    world.settle();
    assert_eq!(restores(&world), 1, "{:?}", world.status().message);
    for object in live {
        world.put(object.clone());
    }
    let list = Document::Items(parse_item_list(list).unwrap());
    let results = Document::Results(parse_results(results).unwrap());
    world.documents.insert(DocumentKind::RestoreResourceList, DocumentState::read(list));
    world.documents.insert(DocumentKind::RestoreResults, DocumentState::read(results));
    world.status_of("Restore", status);
    world.settle();
    world
}

#[test]
fn velero_own_list_says_what_a_restore_did() {
    let secret = || json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mongodb", "namespace": "chat"}});
    let volume = || json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-mongo"}, "status": {"phase": "Released"}});
    let exists: &[u8] = br#"{"errors": {}, "warnings": {"namespaces": {"chat": ["could not restore, Secret:mongodb already exists. Warning: the in-cluster version is different than the backed-up version"]}}}"#;
    let volume_exists: &[u8] = br#"{"errors": {}, "warnings": {"cluster": ["could not restore, PersistentVolume:pv-mongo already exists. Warning: the in-cluster version is different than the backed-up version"]}}"#;
    let quiet: &[u8] = b"{}";
    let left: &[u8] = br#"{"v1/Secret": ["chat/mongodb(failed)"], "v1/Pod": ["chat/mongodb-0(created)"]}"#;
    let check = |existing: &str,
                 list: &[u8],
                 results: &[u8],
                 live: &[Value],
                 phase: Phase,
                 verdict: Verdict| {
        let world = restored(existing, json!({"phase": "Completed", "warnings": 1}), list, results, live);
        let status = world.status();
        assert_eq!((status.phase, status.outcome.unwrap().verdict), (phase, verdict), "{:?}", status.message);
        status.steps[0].outputs.clone()
    };
    let outputs = check("refuse", left, exists, &[secret()], Phase::Failed, Verdict::Partial);
    assert_eq!(
        (&outputs["created"], &outputs["leftAsIs"], &outputs["failed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(outputs["leftAsIsNames"], json!(["Secret chat/mongodb"]));
    check("keep", left, exists, &[secret()], Phase::Succeeded, Verdict::WithWarnings);
    let outputs = check("refuse", left, quiet, &[], Phase::Failed, Verdict::Partial);
    assert_eq!((&outputs["leftAsIs"], &outputs["failedNames"]), (&json!(0), &json!(["Secret chat/mongodb"])));
    let volume_left: &[u8] =
        br#"{"v1/PersistentVolume": ["pv-mongo(failed)"], "v1/Secret": ["chat/mongodb(created)"]}"#;
    let outputs =
        check("refuse", volume_left, volume_exists, &[volume()], Phase::Succeeded, Verdict::WithWarnings);
    assert_eq!(outputs["leftAsIsNames"], json!(["PersistentVolume pv-mongo"]));
    check("refuse", b"{}", quiet, &[], Phase::Failed, Verdict::Empty);
    // Velero skips what is equal, and also what it leaves to a provisioner: the one lives, the other does not.
    let skipped: &[u8] =
        br#"{"v1/PersistentVolume": ["pv-mongo(skipped)"], "v1/Secret": ["chat/mongodb(created)"]}"#;
    check("refuse", skipped, quiet, &[volume()], Phase::Succeeded, Verdict::WithWarnings);
}

#[test]
fn a_volume_that_is_not_made_again_is_a_gap_unless_its_data_was_copied() {
    let check = |result: &str, verdict: Verdict| {
        let mut world = world(json!({}), &json!({}), "Completed");
        world.settle();
        let info = json!([{"pvName": "pv-mongo", "backupMethod": "PodVolumeBackup", "result": result}]);
        for (kind, document) in [
            (DocumentKind::RestoreResourceList, Document::Items(parse_item_list(br#"{"v1/PersistentVolume": ["pv-mongo(skipped)"], "v1/Secret": ["chat/mongodb(created)"]}"#).unwrap())),
            (DocumentKind::RestoreResults, Document::Results(parse_results(b"{}").unwrap())),
            (DocumentKind::BackupVolumeInfos, Document::Volumes(parse_volumes(info.to_string().as_bytes()).unwrap())),
        ] {
            world.documents.insert(kind, DocumentState::read(document));
        }
        world.status_of("Restore", json!({"phase": "Completed"}));
        let status = world.settle().status();
        let found = (status.phase, status.outcome.unwrap().verdict);
        assert_eq!(found, (Phase::Succeeded, verdict), "{result}: {:?}", status.message);
    };
    check("succeeded", Verdict::Complete);
    check("failed", Verdict::WithGaps);
}

/// A hook that fails late is counted, and the word stays.
#[test]
fn a_restore_with_errors_is_not_whole_whatever_veleros_word() {
    let errors = br#"{"errors": {"namespaces": {"chat": ["hook fail in container mongodb"]}}}"#;
    let world = restored(
        "refuse",
        json!({"phase": "Completed", "errors": 1}),
        br#"{"v1/Secret": ["chat/mongodb(created)"]}"#,
        errors,
        &[],
    );
    let status = world.status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("PartiallyFailed")));
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Partial);
}

#[test]
fn a_restore_that_failed_says_why_in_veleros_words() {
    let world =
        restored("refuse", json!({"phase": "Failed", "failureReason": "404: NoSuchKey"}), b"{}", b"{}", &[]);
    let status = world.status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("404: NoSuchKey"));
}

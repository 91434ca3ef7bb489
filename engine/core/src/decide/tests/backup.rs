use serde_json::{Value, json};

use super::world::{World, backup_step};
use crate::decide::{DocumentState, Refusal};
use crate::phase::{Phase, StepPhase, Verdict};
use crate::velero::{Document, DocumentKind, SavedObject, parse_item_list, parse_results, parse_volumes};

fn items(json: &[u8]) -> DocumentState {
    DocumentState::read(Document::Items(parse_item_list(json).unwrap()))
}

fn running(expect: Value) -> World {
    let mut world = World::new(backup_step(expect));
    world.settle();
    assert_eq!(world.phase(), Phase::Running, "{:?}", world.status().message);
    world
}

fn ended(expect: Value, status: Value, list: &[u8], results: &[u8]) -> World {
    let mut world = running(expect);
    world.documents.insert(DocumentKind::BackupResourceList, items(list));
    let results = DocumentState::read(Document::Results(parse_results(results).unwrap()));
    world.documents.insert(DocumentKind::BackupResults, results);
    world.status_of("Backup", status);
    world.settle();
    world
}

const FULL: &[u8] = br#"{"v1/Secret": ["chat/mongodb"], "v1/Namespace": ["chat"]}"#;
const NOTHING: &[u8] = b"{}";
const QUIET: &[u8] = br#"{"errors": {}, "warnings": {}}"#;

#[test]
fn a_place_in_veleros_queue_is_no_news() {
    let mut world = running(json!({}));
    let mut status_at = |position: u64| {
        world.status_of("Backup", json!({"phase": "Queued", "queuePosition": position}));
        world.settle().status()
    };
    let far_back = status_at(200);
    assert_eq!(far_back.steps[0].message.as_deref(), Some("waits in Velero's queue"));
    assert_eq!(status_at(1), far_back);
}

#[test]
fn a_backup_follows_velero_to_its_end() {
    let mut world = running(json!({}));
    let backup = world.created.last().unwrap().clone();
    assert_eq!((backup.kind.as_str(), backup.name.as_str()), ("Backup", "mongo"));
    let labels = world.objects[&backup]["metadata"]["labels"].clone();
    assert_eq!(labels["core.ochre.dev/action-uid"], "uid-1");
    assert_eq!(labels["core.ochre.dev/backup-name"], "mongo");
    for (status, reason, progress) in [
        (json!({"phase": "Queued", "queuePosition": 1}), "Queued", None),
        (json!({"phase": "InProgress", "progress": {"totalItems": 10}}), "InProgress", Some("0/10 items")),
        (
            json!({"phase": "InProgress", "progress": {"totalItems": 11, "itemsBackedUp": 11}}),
            "InProgress",
            Some("11/11 items"),
        ),
        (
            json!({"phase": "Finalizing", "progress": {"totalItems": 11, "itemsBackedUp": 11}}),
            "Finalizing",
            Some("11/11 items"),
        ),
    ] {
        world.status_of("Backup", status);
        let status = world.settle().status();
        assert_eq!(status.steps[0].reason.as_deref(), Some(reason));
        assert_eq!(status.progress.as_deref(), progress);
    }
    world.documents.insert(DocumentKind::BackupResourceList, items(FULL));
    world.status_of("Backup", json!({"phase": "Completed"}));
    let status = world.settle().status();
    assert_eq!((status.phase, status.outcome.unwrap().verdict), (Phase::Succeeded, Verdict::Complete));
    assert_eq!(status.steps[0].outputs["items"], 2);
    assert_eq!(status.steps[0].outputs["name"], "mongo");
    let words: Vec<String> = status.history.iter().map(|entry| entry.what.clone()).collect();
    insta::assert_snapshot!(words.join("\n"), @r"
    BEING_RENDERED
    READY_TO_RUN
    RUNNING
    step backup: RUNNING (New)
    step backup: RUNNING (Queued)
    step backup: RUNNING (InProgress)
    step backup: RUNNING (Finalizing)
    step backup: SUCCEEDED
    SUCCEEDED
    ");
}

#[test]
fn the_end_of_a_backup_is_the_users_truth() {
    let check = |expect: Value,
                 status: Value,
                 list: &[u8],
                 results: &[u8],
                 phase: Phase,
                 verdict: Verdict,
                 words: &str| {
        let world = ended(expect.clone(), status.clone(), list, results);
        let status = world.status();
        let message = status.message.unwrap_or_default();
        assert_eq!((status.phase, status.outcome.unwrap().verdict), (phase, verdict), "{message}");
        assert!(message.contains(words), "{message}");
    };
    let warned: &[u8] = br#"{"errors": {}, "warnings": {"namespaces": {"chat": ["a volume is hostPath"]}}}"#;
    let failed: &[u8] = br#"{"errors": {"velero": ["namespaces \"nope\" not found"]}, "warnings": {}}"#;
    let completed = json!({"phase": "Completed"});
    let partial = json!({"phase": "PartiallyFailed", "errors": 1});
    check(
        json!({}),
        json!({"phase": "Completed", "warnings": 1}),
        FULL,
        warned,
        Phase::Succeeded,
        Verdict::WithWarnings,
        "chat: a volume is hostPath",
    );
    check(json!({}), completed.clone(), NOTHING, QUIET, Phase::Failed, Verdict::Empty, "matched nothing");
    check(
        json!({"empty": true}),
        completed,
        NOTHING,
        QUIET,
        Phase::Succeeded,
        Verdict::Empty,
        "matched nothing",
    );
    check(
        json!({}),
        partial.clone(),
        FULL,
        failed,
        Phase::Failed,
        Verdict::Partial,
        "namespaces \"nope\" not found",
    );
    check(
        json!({"partial": true}),
        partial,
        FULL,
        failed,
        Phase::Succeeded,
        Verdict::Partial,
        "namespaces \"nope\" not found",
    );
    check(
        json!({}),
        json!({"phase": "Failed", "failureReason": "disk on fire"}),
        FULL,
        QUIET,
        Phase::Failed,
        Verdict::None,
        "Failed: disk on fire",
    );
    check(
        json!({}),
        json!({"phase": "FailedValidation", "validationErrors": ["one", "two"]}),
        FULL,
        QUIET,
        Phase::Failed,
        Verdict::None,
        "one; two",
    );
    check(
        json!({}),
        json!({"phase": "Failed", "failureReason": "backup already exists in object storage"}),
        FULL,
        QUIET,
        Phase::Failed,
        Verdict::None,
        "give another name",
    );
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_success() {
    let mut world = running(json!({}));
    world.status_of("Backup", json!({"phase": "Completed"}));
    assert_eq!(world.settle().phase(), Phase::Running);
    assert!(world.requeue.is_some(), "somebody must look again");
    let gone = DocumentState::Unavailable("the bucket does not have the file".to_owned());
    world.documents.insert(DocumentKind::BackupResourceList, gone);
    let status = world.settle().status();
    assert_eq!((status.phase, status.outcome.unwrap().verdict), (Phase::Failed, Verdict::Unknown));
    assert!(status.message.unwrap().contains("the bucket does not have the file"));
}

#[test]
fn no_backup_is_created_while_its_location_is_not_available() {
    let mut world = World::new(backup_step(json!({})));
    world
        .status_of("BackupStorageLocation", json!({"phase": "Unavailable", "message": "no route to bucket"}));
    let status = world.settle().status();
    assert_eq!(status.steps[0].phase, StepPhase::Waiting);
    assert!(status.message.unwrap().contains("no route to bucket"));
    assert!(world.created.iter().all(|key| key.kind != "Backup"));
    world.later(3599);
    assert_eq!(world.settle().phase(), Phase::Running);
    world.later(1);
    let status = world.settle().status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("TimedOut")));
    assert!(status.message.unwrap().contains("no route to bucket"));
}

#[test]
fn a_location_that_cannot_become_right_fails_at_once() {
    let check = |spec: Value, location: Value, words: &str| {
        let mut steps = backup_step(json!({}));
        steps[0]["resource"]["manifest"]["spec"] = spec;
        let mut world = World::new(steps);
        let object =
            world.objects.values_mut().find(|object| object["kind"] == "BackupStorageLocation").unwrap();
        object["spec"] = location;
        let status = world.settle().status();
        let message = status.message.unwrap();
        assert!(status.phase == Phase::Failed && message.contains(words), "{message}");
    };
    check(
        json!({"storageLocation": "nowhere"}),
        json!({"default": true}),
        "nowhere does not exist; there are: default",
    );
    check(json!({}), json!({"default": true, "accessMode": "ReadOnly"}), "default is ReadOnly");
}

#[test]
fn a_name_that_somebody_else_has_is_a_conflict() {
    let check = |labels: Value, words: &str| {
        let mut world = World::new(backup_step(json!({})));
        world.put(json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo", "namespace": "velero", "labels": labels}, "status": {"phase": "Completed"}}));
        let status = world.settle().status();
        let message = status.message.unwrap();
        assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Conflict")));
        assert!(message.contains(words), "{message}");
    };
    check(json!({}), "made by somebody else");
    check(
        json!({"core.ochre.dev/action-namespace": "x", "core.ochre.dev/action-name": "y", "core.ochre.dev/action-uid": "z"}),
        "the Action x/y",
    );
}

#[test]
fn a_backup_that_vanishes_is_not_made_again() {
    let mut world = running(json!({}));
    let backup = world.created.last().unwrap().clone();
    world.objects.remove(&backup);
    let status = world.settle().status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("Deleted")));
    assert_eq!(world.created.iter().filter(|key| key.kind == "Backup").count(), 1);
}

#[test]
fn what_kubernetes_refuses_fails_at_once_or_is_asked_again() {
    let mut world = World::new(backup_step(json!({})));
    world.refuse = Some(Refusal::Passing("etcd is slow".to_owned()));
    let status = world.settle().status();
    assert_eq!(status.steps[0].phase, StepPhase::Waiting);
    assert!(world.requeue.is_some_and(|wait| wait.as_secs() <= 5), "{:?}", world.requeue);
    world.refuse = Some(Refusal::Permanent("spec.ttl: Invalid value".to_owned()));
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("spec.ttl: Invalid value"));
}

#[test]
fn each_of_several_selectors_must_match() {
    let mut steps = backup_step(json!({}));
    steps[0]["resource"]["manifest"]["spec"] =
        json!({"orLabelSelectors": [{"matchLabels": {"app": "mongo"}}, {"matchLabels": {"app": "jira"}}]});
    let mut world = World::new(steps);
    world.settle();
    world.documents.insert(DocumentKind::BackupResourceList, items(FULL));
    let mongo = SavedObject::read(&json!({
        "kind": "Secret", "metadata": {"namespace": "chat", "name": "mongodb", "labels": {"app": "mongo"}},
    }));
    world
        .documents
        .insert(DocumentKind::BackupContents, DocumentState::read(Document::Contents(vec![mongo])));
    world.status_of("Backup", json!({"phase": "Completed"}));
    let status = world.settle().status();
    assert_eq!((status.phase, status.outcome.clone().unwrap().verdict), (Phase::Failed, Verdict::Empty));
    assert_eq!(status.outcome.unwrap().gaps[0].object, "selector app=jira");
}

#[test]
fn what_velero_calls_partial_is_no_success_even_where_nothing_is_allowed() {
    let world =
        ended(json!({"empty": true}), json!({"phase": "PartiallyFailed", "errors": 1}), NOTHING, QUIET);
    let status = world.status();
    assert_eq!((status.phase, status.steps[0].reason.as_deref()), (Phase::Failed, Some("PartiallyFailed")));
}

#[test]
fn an_end_that_is_read_late_is_still_the_end() {
    let mut world = running(json!({}));
    world.status_of("Backup", json!({"phase": "Completed"}));
    world.later(7200);
    assert_eq!(
        world.settle().phase(),
        Phase::Running,
        "the hour of the step is over, Velero's work was done in it"
    );
    world.documents.insert(DocumentKind::BackupResourceList, items(FULL));
    assert_eq!(world.settle().phase(), Phase::Succeeded);
}

/// Ends a Backup that holds a claim, of which the volume info says this.
fn covered(expect: &str, velero: &str, volumes: Value) -> World {
    let mut steps = backup_step(json!({"coverage": expect, "partial": true}));
    steps[0]["resource"]["manifest"]["spec"] = json!({"defaultVolumesToFsBackup": true});
    let mut world = World::new(steps);
    world.settle();
    let contents = vec![SavedObject::read(&json!({
        "kind": "PersistentVolumeClaim", "metadata": {"namespace": "chat", "name": "data"}, "spec": {"volumeName": "pv"},
    }))];
    let volumes = parse_volumes(volumes.to_string().as_bytes()).unwrap();
    for (kind, state) in [
        (DocumentKind::BackupResourceList, items(br#"{"v1/PersistentVolumeClaim": ["chat/data"]}"#)),
        (DocumentKind::BackupContents, DocumentState::read(Document::Contents(contents))),
        (DocumentKind::BackupVolumeInfos, DocumentState::read(Document::Volumes(volumes))),
    ] {
        world.documents.insert(kind, state);
    }
    world.status_of("Backup", json!({"phase": velero}));
    world.settle();
    world
}

#[test]
fn a_claim_whose_data_was_not_saved_is_a_gap_that_the_step_may_require_to_be_none() {
    let saved = json!([{
        "pvcName": "data", "pvcNamespace": "chat", "backupMethod": "PodVolumeBackup", "result": "succeeded",
        "pvbInfo": {"uploaderType": "kopia", "size": 7, "snapshotHandle": "id-1", "Phase": "Completed"},
    }]);
    let nothing = json!([]);
    let check = |expect: &str,
                 velero: &str,
                 volumes: &Value,
                 phase: Phase,
                 verdict: Verdict,
                 reason: Option<&str>| {
        let status = covered(expect, velero, volumes.clone()).status();
        let found = (status.phase, status.outcome.unwrap().verdict, status.steps[0].reason.as_deref());
        assert_eq!(found, (phase, verdict, reason), "{expect}: {:?}", status.message);
    };
    let (succeeded, failed) = (Phase::Succeeded, Phase::Failed);
    check("required", "Completed", &saved, succeeded, Verdict::Complete, None);
    check("required", "Completed", &nothing, failed, Verdict::WithGaps, Some("CoverageGaps"));
    check("required", "PartiallyFailed", &nothing, failed, Verdict::Partial, Some("CoverageGaps"));
    check("warn", "Completed", &nothing, succeeded, Verdict::WithGaps, None);
    check("off", "Completed", &nothing, succeeded, Verdict::Complete, None);
}

#[test]
fn the_status_lists_the_volumes_of_a_backup() {
    let status = covered("required", "Completed", json!([])).status();
    insta::assert_snapshot!(status.message.unwrap(), @"step backup: Velero says Completed: saved 1 items, without the data of PersistentVolumeClaim chat/data (no pod mounts it; mount it in a running pod for the backup, save by snapshots (volumes: snapshot), or delete the claim if nobody needs it)");
    insta::assert_json_snapshot!(status.steps[0].volumes, @r#"
    [
      {
        "namespace": "chat",
        "claim": "data",
        "saved": false,
        "reason": "NotMounted",
        "message": "no pod mounts it; mount it in a running pod for the backup, save by snapshots (volumes: snapshot), or delete the claim if nobody needs it"
      }
    ]
    "#);
    assert_eq!(status.steps[0].volume_count, 1);
    assert_eq!(status.outcome.unwrap().gaps[0].object, "PersistentVolumeClaim chat/data");
}

#[test]
fn nobody_reads_what_is_in_a_backup_where_coverage_is_off() {
    let mut world = running(json!({"coverage": "off"}));
    world.documents.insert(DocumentKind::BackupResourceList, items(br#"{"v1/Pod": ["chat/web"]}"#));
    world.status_of("Backup", json!({"phase": "Completed"}));
    assert_eq!(world.settle().phase(), Phase::Succeeded);
    let mut world = running(json!({"coverage": "warn"}));
    world.documents.insert(DocumentKind::BackupResourceList, items(br#"{"v1/Pod": ["chat/web"]}"#));
    world.status_of("Backup", json!({"phase": "Completed"}));
    assert_eq!(world.settle().phase(), Phase::Running, "the tarball is still to be read");
}

//! What holds whatever the cluster shows and in whatever order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{World, backup_step, restore_step};
use crate::decide::{DocumentState, Refusal};
use crate::phase::{Phase, Verdict};
use crate::velero::{
    Document, DocumentKind, Fate, SavedObject, is_ready, parse_item_list, parse_results, parse_volumes,
};

/// What Velero's files say.
#[derive(Clone, Copy, Debug)]
enum Files {
    Unreadable,
    Full,
    Empty,
    WithoutData,
}

/// One thing that may happen between two looks.
#[derive(Clone, Debug)]
enum Happening {
    Velero { phase: &'static str, warnings: u64 },
    Vanishes,
    Location(&'static str),
    Files(Files),
    Refusals(Option<Refusal>),
    Pod(Option<bool>),
    Time(i64),
    Cancel,
    Run,
}

fn happening() -> impl Strategy<Value = Happening> {
    let phases = prop::sample::select(vec![
        "",
        "New",
        "Queued",
        "ReadyToStart",
        "InProgress",
        "WaitingForPluginOperations",
        "Finalizing",
        "Completed",
        "PartiallyFailed",
        "Failed",
        "FailedValidation",
        "Deleting",
        "SomethingNew",
    ]);
    let refusals =
        [Refusal::Forbidden, Refusal::Permanent, Refusal::Passing].map(|kind| kind("no".to_owned())).to_vec();
    prop_oneof![
        6 => (phases, 0_u64..2).prop_map(|(phase, warnings)| Happening::Velero { phase, warnings }),
        1 => Just(Happening::Vanishes),
        1 => prop::sample::select(vec!["Available", "Unavailable", ""]).prop_map(Happening::Location),
        3 => prop::sample::select(vec![Files::Unreadable, Files::Full, Files::Empty, Files::WithoutData]).prop_map(Happening::Files),
        1 => prop::option::of(prop::sample::select(refusals)).prop_map(Happening::Refusals),
        2 => prop::option::of(any::<bool>()).prop_map(Happening::Pod),
        2 => (0_i64..4000).prop_map(Happening::Time),
        1 => Just(Happening::Cancel),
        2 => Just(Happening::Run),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    let velero = |world: &mut World, change: &dyn Fn(&mut Value)| {
        let found =
            world.created.iter().rev().find(|key| key.kind == "Backup" || key.kind == "Restore").cloned();
        if let Some(object) = found.and_then(|key| world.objects.get_mut(&key)) {
            change(object);
        }
    };
    match happening {
        Happening::Velero { phase, warnings } => {
            velero(world, &|object| object["status"] = json!({"phase": phase, "warnings": warnings}));
        }
        Happening::Vanishes => {
            let created = world.created.clone();
            world.objects.retain(|key, _| !(created.contains(key) && key.kind != "ConfigMap"));
        }
        Happening::Location(phase) => world.status_of("BackupStorageLocation", json!({"phase": phase})),
        Happening::Files(files) => say(world, *files),
        Happening::Refusals(refusal) => {
            world.refuse.clone_from(refusal);
        }
        Happening::Pod(None) => world.objects.retain(|key, _| key.kind != "Pod"),
        Happening::Pod(Some(ready)) => {
            let restore = world.created.iter().rev().find(|key| key.kind == "Restore");
            if let Some(restore) = restore.map(|key| key.name.clone()) {
                world.put(pod(*ready, &restore));
            }
        }
        Happening::Time(seconds) => world.later(*seconds),
        Happening::Cancel => world.action.spec.cancel = true,
        Happening::Run => world.action.spec.run = true,
    }
}

fn pod(ready: bool, restore: &str) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "chat", "name": "web", "labels": {"velero.io/restore-name": restore}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    })
}

fn say(world: &mut World, files: Files) {
    let list: &[u8] = match files {
        Files::Empty => b"{}",
        _ => br#"{"v1/Secret": ["chat/a(created)"], "v1/PersistentVolumeClaim": ["chat/data(created)"], "v1/Pod": ["chat/web(created)"]}"#,
    };
    let volumes: &[u8] = match files {
        Files::WithoutData => br#"[{"pvcName": "data", "pvcNamespace": "chat", "skipped": true}]"#,
        _ => br#"[{"pvcName": "data", "pvcNamespace": "chat", "backupMethod": "PodVolumeBackup", "result": "succeeded"}]"#,
    };
    let claim = SavedObject::read(&json!({
        "kind": "PersistentVolumeClaim", "metadata": {"namespace": "chat", "name": "data"}, "spec": {"volumeName": "pv"},
    }));
    let list = Document::Items(parse_item_list(list).unwrap());
    let results = Document::Results(parse_results(b"{}").unwrap());
    for (kind, document) in [
        (DocumentKind::BackupResourceList, list.clone()),
        (DocumentKind::RestoreResourceList, list),
        (DocumentKind::BackupContents, Document::Contents(vec![claim, SavedObject::read(&pod(true, ""))])),
        (DocumentKind::BackupVolumeInfos, Document::Volumes(parse_volumes(volumes).unwrap())),
        (DocumentKind::BackupResults, results.clone()),
        (DocumentKind::RestoreResults, results),
    ] {
        let state = match files {
            Files::Unreadable => DocumentState::Unavailable("gone".to_owned()),
            Files::Full | Files::Empty | Files::WithoutData => DocumentState::read(document),
        };
        world.documents.insert(kind, state);
    }
}

/// Tells whether the volume info says of every claim that it was saved.
fn holds_the_data(world: &World) -> bool {
    let Some(DocumentState::Read(document)) = world.documents.get(&DocumentKind::BackupVolumeInfos) else {
        return false;
    };
    match document.as_ref() {
        Document::Volumes(volumes) => volumes.iter().all(|volume| matches!(volume.fate, Fate::Saved(_))),
        Document::Items(_) | Document::Contents(_) | Document::Results(_) => false,
    }
}

fn check(mut world: World, happenings: &[Happening]) -> Result<(), TestCaseError> {
    world.action.spec.run = false;
    let mut last = Phase::Initial;
    for happening in happenings {
        happen(&mut world, happening);
        world.settle();
        let status = world.status();
        if last.is_terminal() {
            prop_assert_eq!(status.phase, last, "a terminal phase stays");
        }
        if status.phase == Phase::Succeeded && last != Phase::Succeeded {
            let object = world.objects.values().find(|object| {
                matches!(object["kind"].as_str(), Some("Backup" | "Restore"))
                    && object["metadata"]["labels"]["core.ochre.dev/action-uid"] == "uid-1"
            });
            let said = object.map(|object| object["status"]["phase"].clone());
            prop_assert_eq!(said, Some(json!("Completed")), "only the cluster says so");
            let verdict = status.outcome.as_ref().map(|outcome| outcome.verdict);
            let truthful = [Verdict::Complete, Verdict::WithWarnings, Verdict::WithGaps];
            prop_assert!(verdict.is_some_and(|verdict| truthful.contains(&verdict)), "{:?}", verdict);
            let made_a_backup = world.created.iter().any(|key| key.kind == "Backup");
            if made_a_backup && verdict != Some(Verdict::WithGaps) {
                prop_assert!(holds_the_data(&world), "{:?} only with the data", verdict);
            }
            if !made_a_backup {
                let live = world.objects.values().find(|object| object["kind"] == "Pod");
                prop_assert!(live.is_some_and(is_ready), "only with its pod ready: {:?}", live);
            }
        }
        if status.phase.is_terminal() {
            prop_assert!(
                status.finished_at.is_some() && status.message.is_some() && status.outcome.is_some()
                    || status.phase == Phase::Canceled
            );
        } else if status.phase == Phase::Running {
            prop_assert!(world.requeue.is_some(), "a run has a deadline");
        }
        let mut once = world.created.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), world.created.len(), "nothing is created twice: {:?}", &world.created);
        last = status.phase;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn a_backup_run_keeps_the_laws(happenings in prop::collection::vec(happening(), 1..24)) {
        let mut steps = backup_step(json!({}));
        steps[0]["resource"]["manifest"]["spec"]["defaultVolumesToFsBackup"] = json!(true);
        check(World::new(steps), &happenings)?;
    }

    #[test]
    fn a_restore_run_keeps_the_laws(happenings in prop::collection::vec(happening(), 1..24)) {
        let mut world = World::new(restore_step(json!({"waitReady": true}), &json!({})));
        world.put(json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo", "namespace": "velero"}, "status": {"phase": "Completed", "startTimestamp": "2026-11-21T08:00:00Z"}}));
        check(world, &happenings)?;
    }
}

use std::collections::BTreeMap;

use serde_json::json;

use super::world::{World, backup_step};
use crate::action::{Gap, MARK, Outcome, RequestedBy, UserInfo};
use crate::decide::{forbidden, smallest, stalled};
use crate::phase::{Phase, StepPhase, Verdict};

#[test]
fn a_transition_is_in_the_table_or_does_not_happen() {
    use Phase::{
        AdvancedModeRenderingIteration as Advanced, BeingCanceled, BeingRendered, Canceled, Failed, Initial,
        ReadyToRun, Running, Succeeded,
    };
    let allowed = [
        (Initial, vec![BeingRendered, Canceled, Failed]),
        (BeingRendered, vec![Advanced, ReadyToRun, Canceled, Failed]),
        (Advanced, vec![BeingRendered, ReadyToRun, Canceled, Failed]),
        (ReadyToRun, vec![BeingRendered, Running, Canceled, Failed]),
        (Running, vec![BeingCanceled, Succeeded, Failed]),
        (BeingCanceled, vec![Canceled, Failed]),
        (Canceled, vec![]),
        (Succeeded, vec![]),
        (Failed, vec![]),
    ];
    for (from, targets) in allowed {
        for to in Phase::ALL {
            assert_eq!(from.may_become(to), targets.contains(&to), "{from:?} -> {to:?}");
        }
        assert_eq!(from.is_terminal(), targets.is_empty(), "{from:?}");
    }
}

#[test]
fn nothing_runs_until_it_is_asked_for() {
    let mut world = World::new(backup_step(json!({})));
    world.action.spec.run = false;
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::ReadyToRun);
    assert!(world.created.iter().all(|key| key.kind == "ConfigMap"));
    assert!(world.action.metadata.finalizers.clone().unwrap_or_default().is_empty());
    world.action.spec.run = true;
    world.action.metadata.generation = Some(2);
    assert_eq!(world.settle().phase(), Phase::Running);
    assert_eq!(world.action.metadata.finalizers.clone().unwrap_or_default(), [crate::action::FINALIZER]);
}

#[test]
fn what_cannot_be_read_never_runs_and_holds_nothing_up() {
    let mut world = World::new(backup_step(json!({})));
    let mut metadata = world.action.metadata.clone();
    metadata.finalizers = Some(vec!["another/one".to_owned(), crate::action::FINALIZER.to_owned()]);
    world.action = crate::action::Action::unreadable(metadata, None, "it nests too deep");
    // As one whose fields would run, if they counted.
    (world.action.spec.run, world.action.spec.attempt) = (true, 9);
    let status = world.settle().status();
    assert_eq!((status.phase, status.is_unreadable), (Phase::Failed, true));
    assert!(world.created.is_empty() && world.requeue.is_none());
    assert_eq!(world.action.metadata.annotations, None, "it is not marked");
    assert_eq!(world.action.metadata.finalizers.as_ref().unwrap().len(), 2);
    world.action.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    world.settle();
    assert_eq!(world.action.metadata.finalizers.as_ref().unwrap(), &["another/one"]);
}

#[test]
fn a_bad_spec_fails_once_and_at_once() {
    let mut world = World::new(backup_step(json!({})));
    world.rendering = Err("/selector: is no label selector".to_owned());
    let status = world.settle().status();
    assert_eq!(
        (status.phase, status.message.as_deref()),
        (Phase::Failed, Some("/selector: is no label selector"))
    );
    assert!(world.created.is_empty() && world.requeue.is_none());
    let before = world.status();
    world.later(60);
    assert_eq!(world.settle().status(), before);
}

#[test]
fn what_is_not_built_is_refused_and_not_ignored() {
    let check = |field: &str, change: &dyn Fn(&mut World)| {
        let mut world = World::new(backup_step(json!({})));
        change(&mut world);
        let status = world.settle().status();
        let message = status.message.unwrap();
        assert!(status.phase == Phase::Failed && message.contains(field), "{message}");
        assert!(world.created.is_empty());
    };
    check("spec.dryRun", &|world| world.action.spec.dry_run = true);
    check("spec.advancedRendering", &|world| world.action.spec.advanced_rendering = true);
    check("spec.renderedActionOverride", &|world| {
        world.action.spec.rendered_action_override = Some(json!({}));
    });
    check("spec.fromStep", &|world| world.action.spec.from_step = Some("backup".to_owned()));
    check("spec.input.policy", &|world| world.action.spec.input.policy = Some(json!({})));
}

#[test]
fn a_cancel_stops_following_and_says_what_goes_on() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.action.spec.cancel = true;
    let status = world.settle().status();
    assert_eq!((status.phase, status.steps[0].phase), (Phase::Canceled, StepPhase::Canceled));
    assert!(status.message.unwrap().contains("Backup mongo goes on"));
    assert!(world.settle().action.metadata.finalizers.clone().unwrap_or_default().is_empty());
}

#[test]
fn a_deleted_action_is_canceled_before_it_goes() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chat"}}));
    world.action.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    assert_eq!(world.settle().phase(), Phase::Canceled);
    world.settle();
    assert!(world.action.metadata.finalizers.clone().unwrap_or_default().is_empty());
}

#[test]
fn an_action_in_a_dying_namespace_goes_at_once() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chat", "deletionTimestamp": "2026-11-21T09:00:00Z"}}));
    world.action.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    assert_eq!(world.settle().phase(), Phase::Running);
    assert!(world.action.metadata.finalizers.clone().unwrap_or_default().is_empty());
}

#[test]
fn a_copy_never_runs_until_a_rerun_is_asked_for() {
    let mut world = World::new(backup_step(json!({})));
    world.action.metadata.annotations = Some(BTreeMap::from([(MARK.to_owned(), "another".to_owned())]));
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Initial);
    assert!(status.message.unwrap().contains("is a copy"));
    assert!(world.created.is_empty());
    let before = world.status();
    assert_eq!(world.settle().status(), before, "says so once");
    world.action.spec.attempt = 2;
    let status = world.settle().status();
    assert_eq!((status.phase, status.attempt), (Phase::Running, 2));
}

#[test]
fn a_copy_that_was_running_does_not_look_as_if_it_were() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    assert_eq!(world.phase(), Phase::Running);
    world.action.metadata.uid = Some("uid-2".to_owned());
    assert_eq!(world.settle().phase(), Phase::Initial);
}

#[test]
fn a_rerun_is_a_new_attempt_with_its_own_backup() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.status_of("Backup", json!({"phase": "Failed", "failureReason": "disk on fire"}));
    assert_eq!(world.settle().phase(), Phase::Failed);
    world.action.spec.attempt = 2;
    world.action.metadata.generation = Some(2);
    let status = world.settle().status();
    assert_eq!((status.phase, status.attempt, status.outcome), (Phase::Running, 2, None));
    assert_eq!(world.created.last().unwrap().name, "mongo-2");
    assert!(status.history.iter().any(|entry| entry.what == "attempt 2"));
}

#[test]
fn an_attempt_that_is_raised_before_the_run_is_the_one_that_runs() {
    let mut world = World::new(backup_step(json!({})));
    world.action.spec.run = false;
    world.settle();
    world.action.spec.attempt = 2;
    world.action.spec.run = true;
    world.action.metadata.generation = Some(2);
    let status = world.settle().status();
    assert_eq!((status.phase, status.attempt, status.steps[0].attempt), (Phase::Running, 2, 2));
    assert_eq!(world.created.iter().filter(|key| key.kind == "Backup").count(), 1);
}

#[test]
fn nothing_is_made_before_the_run_is_on_record() {
    let mut world = World::new(backup_step(json!({})));
    world.look();
    assert_eq!(world.phase(), Phase::Running);
    assert!(world.created.iter().all(|key| key.kind == "ConfigMap"));
    world.look();
    assert!(world.created.iter().any(|key| key.kind == "Backup"));
}

#[test]
fn a_lost_workflow_fails_the_run() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.objects.retain(|key, _| key.kind != "ConfigMap");
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("holds the workflow of this run"));
}

#[test]
fn a_workflow_that_was_replaced_is_not_run() {
    let asked = backup_step(json!({}));
    let other = json!([{"name": "backup", "resource": {"action": "create", "manifest": {
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "all"}, "spec": {}}}}]);
    let other = serde_json::to_string(&super::world::rendered(other).workflow).unwrap();
    // Before the run, and while it is on.
    for run_first in [false, true] {
        let mut world = World::new(asked.clone());
        world.action.spec.run = run_first;
        world.settle();
        let map = world.objects.values_mut().find(|object| object["kind"] == "ConfigMap").unwrap();
        map["data"]["workflow.json"] = json!(other);
        world.action.spec.run = true;
        world.action.metadata.generation = Some(2);
        let before = world.created.len();
        let status = world.settle().status();
        assert_eq!(status.phase, Phase::Failed);
        assert!(status.message.unwrap().contains("does not hold the workflow of this run"));
        assert_eq!(world.created.len(), before, "nothing more is created");
    }
}

#[test]
fn only_the_workflow_that_was_asked_for_runs() {
    let mut world = World::new(backup_step(json!({})));
    world.action.spec.run = false;
    let digest = world.settle().status().rendering.unwrap().workflow_ref.digest;
    world.action.spec.run = true;
    world.action.metadata.generation = Some(2);
    let mut another = world.action.clone();
    another.spec.workflow_digest = Some(format!("sha256:{}", "0".repeat(64)));
    world.action.spec.workflow_digest = Some(digest);
    assert_eq!(world.settle().phase(), Phase::Running);
    let mut world = World { action: another, ..World::new(backup_step(json!({}))) };
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap().contains("spec.workflowDigest"));
    assert!(world.created.iter().all(|key| key.kind == "ConfigMap"));
}

#[test]
fn an_action_that_was_restored_before_it_was_marked_does_not_run() {
    let mut world = World::new(backup_step(json!({})));
    world.action.metadata.labels =
        Some(BTreeMap::from([("velero.io/restore-name".to_owned(), "back".to_owned())]));
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Initial);
    assert!(status.message.unwrap().contains("is a copy"));
    assert!(world.created.is_empty());
    world.action.spec.attempt = 2;
    assert_eq!(world.settle().phase(), Phase::Running);
}

#[test]
fn the_history_is_bounded_and_shows_its_cut() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    for turn in 0..100 {
        let phase = if turn % 2 == 0 { "InProgress" } else { "Finalizing" };
        world.status_of("Backup", json!({"phase": phase}));
        world.settle();
    }
    let history = world.status().history;
    assert_eq!(history.len(), crate::action::MAX_HISTORY);
    assert_eq!(history.last().unwrap().sequence - history[0].sequence, 63);
    assert!(history[0].sequence > 1);
}

#[test]
fn a_run_that_cannot_be_observed_says_so_and_ends_at_its_deadline() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    let waiting = stalled(world.status(), "backups is forbidden", world.now);
    assert_eq!((waiting.phase, waiting.steps[0].phase), (Phase::Running, StepPhase::Waiting));
    assert!(waiting.message.clone().unwrap().contains("backups is forbidden"));
    assert_eq!(stalled(waiting.clone(), "backups is forbidden", world.now), waiting, "says so once");
    world.later(3600);
    let ended = stalled(waiting, "backups is forbidden", world.now);
    assert_eq!((ended.phase, ended.outcome.unwrap().verdict), (Phase::Failed, Verdict::Unknown));
}

#[test]
fn a_run_that_may_not_be_observed_ends_at_once() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    let ended = forbidden(world.status(), "the engine may not list backups", world.now);
    assert_eq!((ended.phase, ended.outcome.clone().unwrap().verdict), (Phase::Failed, Verdict::Unknown));
    assert_eq!(ended.steps[0].reason.as_deref(), Some("Forbidden"));
    assert_eq!(ended.message.as_deref(), Some("step backup: the engine may not list backups"));
    assert_eq!(forbidden(ended.clone(), "the engine may not list backups", world.now).phase, Phase::Failed);

    let world = World::new(backup_step(json!({})));
    let waiting = forbidden(world.status(), "the engine may not list backups", world.now);
    assert_eq!(waiting.phase, Phase::Initial, "what does not run cannot fail");
    assert_eq!(waiting.message.as_deref(), Some("the engine may not list backups"));
}

#[test]
fn a_message_is_cut_to_what_a_status_may_hold() {
    let mut world = World::new(backup_step(json!({})));
    world.settle();
    world.status_of("Backup", json!({"phase": "Failed", "failureReason": "ä".repeat(100_000)}));
    let status = world.settle().status();
    assert_eq!(status.phase, Phase::Failed);
    assert!(serde_json::to_string(&status).unwrap().len() < 64 * 1024);
}

#[test]
fn a_status_that_is_too_large_keeps_what_must_be_known() {
    let mut world = World::new(backup_step(json!({})));
    let by = UserInfo {
        username: "alice".to_owned(),
        groups: (0..4096).map(|number| format!("group-{number}")).collect(),
        ..UserInfo::default()
    };
    world.action.spec.requested_by = Some(RequestedBy { run: Some(by), ..RequestedBy::default() });
    world.settle();
    world.later(2);
    let running = world.status();
    let mut ended = running.clone();
    ended.message = Some("é".repeat(2000));
    ended.outcome = Some(Outcome {
        verdict: Verdict::WithGaps,
        gaps: vec![Gap { object: "Pod chat/mongodb-0".to_owned(), reason: "none".repeat(100) }],
        warnings: 3,
        errors: 2,
    });
    ended.enter(Phase::Succeeded, world.now);
    for (status, phase, verdict, says) in [
        (ended, Phase::Succeeded, Verdict::WithGaps, "ééé"),
        (running, Phase::Failed, Verdict::Unknown, "what it makes goes on without being watched"),
    ] {
        let cut = smallest(status.clone(), world.now);
        assert_eq!((cut.phase, cut.attempt), (phase, status.attempt));
        assert_eq!(cut.outcome.as_ref().map(|outcome| outcome.verdict), Some(verdict));
        assert_eq!(cut.run_by.as_ref().unwrap().username, "alice");
        let message = cut.message.as_ref().unwrap();
        assert!(message.contains(says) && message.contains("too large"), "{message}");
        assert!(cut.finished_at.is_some() && cut.started_at == status.started_at);
        let kinds: Vec<&str> = cut.conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(kinds.len(), status.conditions.len().max(3));
        let size = |status| serde_json::to_string(status).unwrap().len();
        assert!(size(&cut) < 2600, "{}", size(&cut));
        // It is an end like any other: nothing follows it.
        world.action.status = Some(cut.clone());
        assert_eq!(world.settle().status(), cut);
    }
}

#[test]
fn who_canceled_is_who_asked_for_it() {
    let by = |name: &str| Some(UserInfo { username: name.to_owned(), ..UserInfo::default() });
    for (deleted, canceled) in [(true, None), (false, Some("carol"))] {
        let mut world = World::new(backup_step(json!({})));
        world.action.spec.requested_by =
            Some(RequestedBy { run: by("root"), cancel: by("carol"), ..RequestedBy::default() });
        world.settle();
        if deleted {
            world.action.metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
            world.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chat"}}));
        } else {
            world.action.spec.cancel = true;
        }
        world.look();
        let status = world.status();
        assert_eq!(status.phase, Phase::Canceled);
        assert_eq!(status.canceled_by.map(|by| by.username).as_deref(), canceled);
    }
}

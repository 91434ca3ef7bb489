//! What a look at a cluster tells of backups that nobody of ours made.

use std::convert::Infallible;
use std::time::Duration;

use kube::Client;
use kube::api::{DynamicObject, ListParams};
use ochre::doctor::{DoctorError, Examination, examine};
use ochre_core::doctor::{Report, Standing};
use ochre_core::phase::Verdict;
use ochre_tests::World;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::coverage::scale;

const CLAIM: &str = "chat/data-mongodb-0";

fn how() -> Examination {
    Examination { velero_namespace: "velero".to_owned(), files: true, patience: Duration::from_secs(30) }
}

async fn look_as(world: &World, how: &Examination) -> Report {
    let report = examine(world.client.clone(), how, &CancellationToken::new()).await.unwrap();
    let left = world.velero("DownloadRequest").list(&ListParams::default()).await.unwrap();
    let ours = |request: &DynamicObject| {
        request.metadata.generate_name.as_deref() == Some("ochre-doctor-")
            && request.metadata.deletion_timestamp.is_none()
    };
    assert!(!left.items.iter().any(ours), "what was written is cleared away: {:#?}", left.items);
    report
}

async fn look(world: &World) -> Report {
    look_as(world, &how()).await
}

/// Has Velero back up as its own command line would, and waits until it is done.
async fn back_up(world: &World, name: &str, spec: Value, phase: &str) {
    let mut backup = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": world.velero_namespace},
        "spec": {"includedNamespaces": ["chat"], "defaultVolumesToFsBackup": true, "snapshotVolumes": false},
    });
    backup["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    world.create(backup).await;
    world.velero_phase("Backup", name, phase).await;
}

/// Compares the exit code, and what is wrong with the lines that are not good.
fn check(report: &Report, exit_code: u8, expected: &[&str]) {
    let mut found = Vec::new();
    for standing in [Standing::Gap, Standing::Unknown] {
        let findings = report.findings(standing);
        found.extend(findings.map(|(of, finding)| format!("{of} {}: {}", standing.as_str(), finding.reason)));
    }
    assert_eq!(found, expected, "{report:#?}");
    assert_eq!(report.exit_code, exit_code, "{report:#?}");
}

#[tokio::test]
async fn a_backup_that_holds_everything_is_good_whoever_made_it() {
    let world = World::start().await;
    back_up(&world, "by-hand", json!({}), "Completed").await;
    let report = look(&world).await;
    check(&report, 0, &[]);
    let backup = &report.backups[0];
    assert_eq!((backup.name.as_str(), backup.verdict), ("by-hand", Some(Verdict::Complete)));
    assert_eq!(backup.saved_claims, [CLAIM]);
    assert_eq!(report.claims[0].last_good_backup.as_deref(), Some("by-hand"));
}

#[tokio::test]
async fn without_any_backup_every_claim_is_a_gap() {
    let world = World::start().await;
    check(&look(&world).await, 1, &["PersistentVolumeClaim chat/data-mongodb-0 GAP: NotSelected"]);
}

#[tokio::test]
async fn a_backup_without_the_data_is_told_from_one_that_has_it() {
    let world = World::start().await;
    back_up(&world, "good", json!({}), "Completed").await;
    scale(&world, 0).await;
    let other = json!({"includedNamespaces": ["chat", "shop"]});
    back_up(&world, "scaled", other, "Completed").await;
    let report = look(&world).await;
    check(&report, 1, &["Backup scaled GAP: ScaledDown"]);
    assert_eq!(report.claims[0].last_good_backup.as_deref(), Some("good"));
}

#[tokio::test]
async fn a_claim_that_no_backup_holds_says_why() {
    let world = World::start().await;
    scale(&world, 0).await;
    back_up(&world, "scaled", json!({}), "Completed").await;
    let gaps = ["Backup scaled GAP: ScaledDown", "PersistentVolumeClaim chat/data-mongodb-0 GAP: ScaledDown"];
    check(&look(&world).await, 1, &gaps);
}

#[tokio::test]
async fn a_backup_that_velero_refused_holds_nothing() {
    let world = World::start().await;
    back_up(&world, "good", json!({}), "Completed").await;
    let nowhere = json!({"includedNamespaces": ["shop"], "storageLocation": "no-such"});
    back_up(&world, "refused", nowhere, "FailedValidation").await;
    let report = look(&world).await;
    check(&report, 1, &["Backup refused GAP: Failed"]);
    let words = &report.backups.iter().find(|backup| backup.name == "refused").unwrap().message;
    assert!(words.contains("no-such"), "{words}");
}

#[tokio::test]
async fn what_lies_in_an_unavailable_location_is_unknown() {
    let world = World::start().await;
    back_up(&world, "good", json!({}), "Completed").await;
    world.break_storage().await;
    let report = look(&world).await;
    world.mend_storage();
    let expected = [
        "BackupStorageLocation default GAP: Unavailable",
        "Backup good UNKNOWN: Unreadable",
        "PersistentVolumeClaim chat/data-mongodb-0 UNKNOWN: Unreadable",
    ];
    check(&report, 1, &expected);
    let words = &report.locations[0].findings[0].message;
    assert!(words.contains("invalid top-level directories: [foreign]"), "{words}");
}

#[tokio::test]
async fn what_cannot_be_read_is_never_called_good() {
    let world = World::start().await;
    back_up(&world, "good", json!({}), "Completed").await;
    let unknown =
        ["Backup good UNKNOWN: Unreadable", "PersistentVolumeClaim chat/data-mongodb-0 UNKNOWN: Unreadable"];
    let check = |report: &Report, words: &str| {
        check(report, 2, &unknown);
        let message = &report.backups[0].message;
        assert_eq!(message, &format!("what is in it could not be read: {words}"));
    };
    let without_files = Examination { files: false, ..how() };
    check(&look_as(&world, &without_files).await, "its files were not asked for");

    world.lose_file("backups/good/good-volumeinfo.json.gz");
    check(&look(&world).await, "the bucket does not have the file");
    world.damage_file("backups/good/good-resource-list.json.gz");
    check(&look(&world).await, "the file is damaged: invalid gzip header");

    world.stop_velero().await;
    let hasty = Examination { patience: Duration::from_millis(1), ..how() };
    check(&look_as(&world, &hasty).await, "Velero did not answer within 1ms");
}

#[tokio::test]
async fn a_schedule_that_is_paused_is_named() {
    let world = World::start().await;
    back_up(&world, "good", json!({}), "Completed").await;
    let schedule = json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule",
        "metadata": {"name": "nightly", "namespace": world.velero_namespace},
        "spec": {"schedule": "0 3 * * *", "paused": true, "template": {"includedNamespaces": ["chat"]}},
    });
    world.create(schedule).await;
    check(&look(&world).await, 1, &["Schedule nightly GAP: Paused"]);
}

#[tokio::test]
async fn where_there_is_nothing_of_velero_s_nothing_can_be_told() {
    let world = World::start().await;
    let refused = async |how: &Examination, until: &CancellationToken| {
        examine(world.client.clone(), how, until).await.unwrap_err()
    };
    let elsewhere = Examination { velero_namespace: "chat".to_owned(), ..how() };
    let error = refused(&elsewhere, &CancellationToken::new()).await;
    insta::assert_snapshot!(error, @"the namespace chat holds nothing of Velero's, not even a storage location; name the one that Velero watches by --velero-namespace");

    let over = CancellationToken::new();
    over.cancel();
    assert!(matches!(refused(&how(), &over).await, DoctorError::Late));

    // A cluster without a single kind.
    let nothing = tower::service_fn(async |_| {
        let answer = http::Response::builder().status(404);
        Ok::<_, Infallible>(answer.body(kube::client::Body::empty()).unwrap())
    });
    let empty = Client::new(nothing, "default");
    let error = examine(empty, &how(), &CancellationToken::new()).await.unwrap_err();
    insta::assert_snapshot!(error, @"the cluster has no Velero: it does not know the kind Backup of velero.io/v1; install Velero, or name another cluster by --kubeconfig");
}

#[tokio::test]
async fn it_is_told_which_policies_a_cluster_with_actions_lacks() {
    let world = World::empty().await;
    let installed = |report: &Report| -> Vec<(&'static str, Option<bool>)> {
        report.policies.iter().map(|policy| (policy.name, policy.installed)).collect()
    };
    let without = look(&world).await;
    assert_eq!(installed(&without), [("ochre-identity", Some(false)), ("ochre-rights", Some(false))]);
    world.put_policies().await;
    let with = look(&world).await;
    assert_eq!(installed(&with), [("ochre-identity", Some(true)), ("ochre-rights", Some(true))]);
    assert_eq!(without.exit_code, with.exit_code, "it says nothing of backups");
}

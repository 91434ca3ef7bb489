//! What is printed.

use proptest::prelude::*;
use serde_json::json;

use super::{NOW, SCALED, backup, now};
use crate::doctor::{Seen, examine};

/// A cluster with something of everything.
fn mixed() -> Seen {
    let mut seen = Seen::good();
    seen.add(backup("scaled", "2026-03-10T04:00:00Z", "Completed"), SCALED);
    let mut failed = backup("by-hand", "2026-03-09T04:00:00Z", "Failed");
    failed["metadata"]["labels"] = json!({});
    failed["status"]["failureReason"] =
        json!("error uploading\nbackup contents:\u{1b}[2J the bucket is full");
    seen.backups.push(failed);
    seen.backups.push(backup("now", "2026-03-10T11:59:00Z", "InProgress"));
    let mut elsewhere = backup(
        "far-away-and-with-a-name-that-is-as-long-as-names-may-be",
        "2026-03-01T04:00:00Z",
        "Completed",
    );
    elsewhere["metadata"]["labels"] = json!({"core.ochre.dev/backup-name": "far-away"});
    seen.backups.push(elsewhere);
    seen.claims.push(json!({
        "metadata": {"namespace": "shop", "name": "young", "creationTimestamp": "2026-03-05T00:00:00Z"},
        "status": {"phase": "Bound"},
    }));
    seen.missing_policies = Some(Ok(vec!["ValidatingAdmissionPolicyBinding ochre-rights".to_owned()]));
    seen
}

#[test]
fn the_table_says_it_all_in_120_columns() {
    insta::assert_snapshot!(examine(&mixed(), now()).table(), @r"
    BACKUP                                VERDICT    STANDING    PHASE       AGE  ITEMS  SERIES
    now                                   -          NOT_JUDGED  InProgress  60s         Schedule nightly
    scaled                                WITH_GAPS  GAP         Completed   8h   9      Schedule nightly
    last-night                            COMPLETE   GOOD        Completed   9h   10     Schedule nightly
    by-hand                               NONE       GAP         Failed      32h
    far-away-and-with-a-name-that-is-as…  UNKNOWN    UNKNOWN     Completed   9d          Backup far-away

    CLAIM           STANDING  LAST GOOD BACKUP  AGE  BYTES
    shop/data-db-0  GOOD      last-night        9h   38479547
    shop/young      GAP       -                 -

    LOCATION  STANDING  PHASE      CHECKED  ACCESS     DEFAULT
    default   GOOD      Available  30s      ReadWrite  yes

    SCHEDULE  STANDING  CRON       PHASE    LAST RUN  LAST VERDICT
    nightly   GAP       0 3 * * *  Enabled  9h        WITH_GAPS

    ADMISSION POLICY  INSTALLED  WITHOUT IT
    ochre-identity    yes
    ochre-rights      no         who writes an Action needs no right to run it; kubectl apply -k manifests/admission

    GAPS
    * Schedule nightly: its last Backup scaled is WITH_GAPS
      Cure: do what the report says of that Backup
    * Backup scaled: PersistentVolumeClaim shop/data-db-0: StatefulSet shop/db is scaled to 0, so no pod mounts it
      Cure: scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot)
    * Backup by-hand: error uploading backup contents:[2J the bucket is full
      Cure: mend what Velero names and back up again
    * PersistentVolumeClaim shop/young: no backup selects it
      Cure: select it in a Backup or Schedule, or accept it: annotation core.ochre.dev/coverage: accept

    UNKNOWN
    * Backup far-away-and-with-a-name-that-is-as-long-as-names-may-be: what is in it could not be read: nobody tried
      Cure: see whether Velero runs and its storage location is Available, and look again

    Gaps: 4. Could not be told: 1.
    ");
}

#[test]
fn the_json_is_for_machines() {
    let mut report = serde_json::to_value(examine(&mixed(), now())).unwrap();
    for (list, name) in [("backups", "scaled"), ("claims", "data-db-0")] {
        report[list].as_array_mut().unwrap().retain(|line| line["name"] == name);
    }
    insta::assert_json_snapshot!(report, @r#"
    {
      "at": "2026-03-10T12:00:00Z",
      "veleroNamespace": "velero",
      "exitCode": 1,
      "backups": [
        {
          "name": "scaled",
          "series": "Schedule nightly",
          "phase": "Completed",
          "verdict": "WITH_GAPS",
          "standing": "GAP",
          "startedAt": "2026-03-10T04:00:00Z",
          "ageSeconds": 28800,
          "expiresAt": "2026-04-01T00:00:00Z",
          "location": "default",
          "items": 9,
          "warnings": 0,
          "errors": 0,
          "message": "saved 9 items, without the data of PersistentVolumeClaim shop/data-db-0 (StatefulSet shop/db is scaled to 0, so no pod mounts it; scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot))",
          "savedClaims": [],
          "findings": [
            {
              "object": "PersistentVolumeClaim shop/data-db-0",
              "reason": "ScaledDown",
              "message": "StatefulSet shop/db is scaled to 0, so no pod mounts it",
              "cure": "scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot)"
            }
          ]
        }
      ],
      "claims": [
        {
          "namespace": "shop",
          "name": "data-db-0",
          "standing": "GOOD",
          "lastGoodBackup": "last-night",
          "savedAt": "2026-03-10T03:00:00Z",
          "ageSeconds": 32400,
          "bytes": 38479547,
          "findings": []
        }
      ],
      "locations": [
        {
          "name": "default",
          "standing": "GOOD",
          "phase": "Available",
          "default": true,
          "readOnly": false,
          "lastValidatedAt": "2026-03-10T11:59:30Z",
          "ageSeconds": 30,
          "findings": []
        }
      ],
      "schedules": [
        {
          "name": "nightly",
          "standing": "GAP",
          "schedule": "0 3 * * *",
          "phase": "Enabled",
          "paused": false,
          "lastBackupAt": "2026-03-10T03:00:00Z",
          "ageSeconds": 32400,
          "lastBackup": "scaled",
          "lastVerdict": "WITH_GAPS",
          "findings": [
            {
              "object": "Schedule nightly",
              "reason": "LastBackupNotGood",
              "message": "its last Backup scaled is WITH_GAPS",
              "cure": "do what the report says of that Backup"
            }
          ]
        }
      ],
      "policies": [
        {
          "name": "ochre-identity",
          "installed": true,
          "message": null
        },
        {
          "name": "ochre-rights",
          "installed": false,
          "message": "who writes an Action needs no right to run it; kubectl apply -k manifests/admission"
        }
      ]
    }
    "#);
}

#[test]
fn a_word_that_no_line_can_hold_is_broken() {
    let word = "é".repeat(300);
    let mut seen = Seen::good();
    let mut failed = backup("failed", NOW, "Failed");
    failed["status"]["failureReason"] = json!(word);
    seen.backups.push(failed);
    let table = examine(&seen, now()).table();
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    assert_eq!(table.matches('é').count(), 300, "nothing of it is lost: {table}");
}

proptest! {
    #[test]
    fn no_line_is_wider_than_a_terminal(name in "[a-z0-9.-]{1,253}", words in "([a-zé]{1,20}\\PC{0,3} ?\n?){0,80}") {
        let mut seen = Seen::good();
        let mut failed = backup(&name, NOW, "Failed");
        failed["status"]["failureReason"] = json!(words);
        seen.backups.push(failed);
        seen.claims[0]["metadata"]["name"] = json!(name);
        let longest_word = 253 + "PersistentVolumeClaim ".len();
        for line in examine(&seen, now()).table().lines() {
            prop_assert!(line.chars().count() <= 120.max(longest_word), "{line}");
            prop_assert!(!line.contains(char::is_control), "{line}");
            prop_assert!(line.chars().count() <= 120 || line.contains(&name), "{line}");
        }
    }
}

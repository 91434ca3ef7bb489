mod printed;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Held, Seen, due, examine, must_be_read, out_of_reach};
use crate::coverage::{Files, judge};
use crate::velero::{SavedObject, parse_item_list, parse_volumes};

const NOW: &str = "2026-03-10T12:00:00Z";

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../sandbox/tests-data/velero-1.18.3/coverage/", $name, ".json"))
    };
}

const SCALED: &str = recording!("scaled");

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A Backup of the schedule `nightly`, as Velero left it.
fn backup(name: &str, started: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": name, "creationTimestamp": started, "labels": {"velero.io/schedule-name": "nightly"},
        },
        "spec": {"storageLocation": "default"},
        "status": {"phase": phase, "startTimestamp": started, "expiration": "2026-04-01T00:00:00Z"},
    })
}

fn merge(object: &mut Value, change: Value) {
    match change {
        Value::Object(fields) if object.is_object() => {
            fields.into_iter().for_each(|(field, value)| merge(&mut object[field], value));
        }
        other => *object = other,
    }
}

impl Seen {
    /// A cluster in which all is good: a claim, and last night's backup of it.
    fn good() -> Self {
        let mut seen = Self {
            velero_namespace: "velero".to_owned(),
            claims: vec![json!({
                "metadata": {"namespace": "shop", "name": "data-db-0", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"phase": "Bound"},
            })],
            locations: vec![json!({
                "metadata": {"name": "default"}, "spec": {"default": true},
                "status": {"phase": "Available", "lastValidationTime": "2026-03-10T11:59:30Z"},
            })],
            schedules: vec![json!({
                "metadata": {"name": "nightly", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"schedule": "0 3 * * *"},
                "status": {"phase": "Enabled", "lastBackup": "2026-03-10T03:00:00Z"},
            })],
            ..Self::default()
        };
        seen.add(backup("last-night", "2026-03-10T03:00:00Z", "Completed"), recording!("good"));
        seen
    }

    /// Adds a Backup that holds what a real Velero once left in a bucket.
    fn add(&mut self, mut backup: Value, recording: &str) {
        let recording: Value = serde_json::from_str(recording).unwrap();
        merge(&mut backup["spec"], recording["spec"].clone());
        let items = parse_item_list(recording["list"].to_string().as_bytes()).unwrap();
        let volumes = parse_volumes(recording["volumes"].to_string().as_bytes()).unwrap();
        let contents: Vec<SavedObject> =
            recording["contents"].as_array().unwrap().iter().map(SavedObject::read).collect();
        let files =
            Files { items: &items, results: None, contents: Some(&contents), volumes: Some(&volumes) };
        let name = backup["metadata"]["name"].as_str().unwrap().to_owned();
        self.held.insert(name, Held::Read(judge(&backup, files)));
        self.backups.push(backup);
    }

    fn unreadable(&mut self, name: &str) {
        self.held.insert(name.to_owned(), Held::Unreadable("Velero did not answer".to_owned()));
    }
}

/// Changes a good cluster, and compares the exit code and every line that is not good.
fn check(change: impl FnOnce(&mut Seen), expected: &[&str]) {
    let mut seen = Seen::good();
    change(&mut seen);
    let report = serde_json::to_value(examine(&seen, now())).unwrap();
    let mut found = vec![report["exitCode"].to_string()];
    for (kind, list) in
        [("Backup", "backups"), ("Claim", "claims"), ("Location", "locations"), ("Schedule", "schedules")]
    {
        for line in report[list].as_array().unwrap().iter().filter(|line| line["standing"] != "GOOD") {
            let verdict = line["verdict"].as_str().map(|verdict| format!(" {verdict}")).unwrap_or_default();
            let standing = line["standing"].as_str().unwrap();
            found.push(format!("{kind} {}{verdict} {standing}", line["name"].as_str().unwrap()));
            found.extend(line["findings"].as_array().unwrap().iter().map(|finding| {
                format!("  {}: {}", finding["reason"].as_str().unwrap(), finding["message"].as_str().unwrap())
            }));
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_good_cluster_has_nothing_to_say() {
    check(|_| {}, &["0"]);
}

#[test]
fn a_claim_is_judged_by_the_backups_that_hold_it() {
    let lonely = |change: Value| {
        let mut claim = json!({
            "metadata": {"namespace": "shop", "name": "lonely", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Bound"},
        });
        merge(&mut claim, change);
        move |seen: &mut Seen| seen.claims.push(claim)
    };
    check(lonely(json!({})), &["1", "Claim lonely GAP", "  NotSelected: no backup selects it"]);
    check(lonely(json!({"status": {"phase": "Pending"}})), &["0", "Claim lonely NOT_JUDGED"]);
    check(
        lonely(json!({"metadata": {"annotations": {"core.ochre.dev/coverage": "accept"}}})),
        &["0", "Claim lonely ACCEPTED"],
    );
    let of_a_pod = json!([{"kind": "Pod", "name": "p", "controller": true}]);
    check(lonely(json!({"metadata": {"ownerReferences": of_a_pod}})), &["0"]);
    let young = json!({"metadata": {"creationTimestamp": "2026-03-10T04:00:00Z"}});
    check(
        |seen| merge(&mut seen.claims[0], young.clone()),
        &[
            "1",
            "Claim data-db-0 GAP",
            "  OlderThanClaim: Backup last-night holds the data of an earlier claim of that name",
        ],
    );
    check(
        |seen| {
            merge(&mut seen.claims[0], young.clone());
            merge(&mut seen.claims[0], json!({"metadata": {"labels": {"velero.io/restore-name": "r"}}}));
        },
        &["0"],
    );
}

#[test]
fn a_backup_that_is_not_good_counts_until_a_newer_one_follows() {
    let night = "2026-03-09T03:00:00Z";
    let scaled = [
        "Backup scaled WITH_GAPS GAP",
        "  ScaledDown: StatefulSet shop/db is scaled to 0, so no pod mounts it",
    ];
    check(
        |seen| seen.add(backup("scaled", night, "Completed"), SCALED),
        &["0", "Backup scaled WITH_GAPS SUPERSEDED", scaled[1]],
    );
    check(
        |seen| seen.add(backup("scaled", "2026-03-10T04:00:00Z", "Completed"), SCALED),
        &[
            "1",
            scaled[0],
            scaled[1],
            "Schedule nightly GAP",
            "  LastBackupNotGood: its last Backup scaled is WITH_GAPS",
        ],
    );
    let at_once = |ended: &str| {
        let mut scaled = backup("scaled", "2026-03-10T03:00:00Z", "Completed");
        scaled["status"]["completionTimestamp"] = json!(ended);
        move |seen: &mut Seen| {
            seen.backups[0]["status"]["completionTimestamp"] = json!("2026-03-10T03:00:05Z");
            seen.add(scaled, SCALED);
        }
    };
    check(at_once("2026-03-10T03:00:04Z"), &["0", "Backup scaled WITH_GAPS SUPERSEDED", scaled[1]]);
    let last = ["Schedule nightly GAP", "  LastBackupNotGood: its last Backup scaled is WITH_GAPS"];
    check(at_once("2026-03-10T03:00:06Z"), &["1", scaled[0], scaled[1], last[0], last[1]]);
    // One that nobody planned follows those of the same selection only.
    let by_hand = |name: &str, started: &str| {
        let mut backup = backup(name, started, "Completed");
        backup["metadata"]["labels"] = json!({});
        backup
    };
    check(|seen| seen.add(by_hand("scaled", night), SCALED), &["1", scaled[0], scaled[1]]);
    check(
        |seen| {
            seen.add(by_hand("scaled", night), SCALED);
            seen.add(by_hand("again", "2026-03-09T04:00:00Z"), recording!("good"));
        },
        &["0", "Backup scaled WITH_GAPS SUPERSEDED", scaled[1]],
    );
    check(
        |seen| {
            seen.backups.clear();
            seen.add(by_hand("scaled", night), SCALED);
        },
        &[
            "1",
            scaled[0],
            scaled[1],
            "Claim data-db-0 GAP",
            "  ScaledDown: no backup holds its data; of Backup scaled: StatefulSet shop/db is scaled to 0, so no pod mounts it",
        ],
    );
}

#[test]
fn velero_s_own_word_is_not_passed_over() {
    let last_is = |status: Value| {
        move |seen: &mut Seen| {
            let mut last = backup("last", "2026-03-10T05:00:00Z", "");
            merge(&mut last["status"], status);
            seen.backups.push(last);
        }
    };
    let not_good = |verdict: &str| format!("  LastBackupNotGood: its last Backup last is {verdict}");
    check(
        last_is(json!({"phase": "Failed", "failureReason": "no disk"})),
        &["1", "Backup last NONE GAP", "  Failed: no disk", "Schedule nightly GAP", &not_good("NONE")],
    );
    check(
        last_is(json!({"phase": "FailedValidation", "validationErrors": ["a", "b"]})),
        &["1", "Backup last NONE GAP", "  Failed: a; b", "Schedule nightly GAP", &not_good("NONE")],
    );
    check(last_is(json!({"phase": "InProgress"})), &["0", "Backup last NOT_JUDGED"]);
    check(last_is(json!({"phase": "Deleting"})), &["0", "Backup last NOT_JUDGED"]);
    check(last_is(json!({"phase": "Completed", "expiration": NOW})), &["0", "Backup last NOT_JUDGED"]);
    let unread = "  PartiallyFailed: what is in it could not be read: nobody tried";
    check(
        last_is(json!({"phase": "PartiallyFailed"})),
        &["1", "Backup last PARTIAL GAP", unread, "Schedule nightly GAP", &not_good("PARTIAL")],
    );
    check(
        |seen| merge(&mut seen.backups[0], json!({"status": {"phase": "PartiallyFailed", "errors": 1}})),
        &[
            "1",
            "Backup last-night PARTIAL GAP",
            "  PartiallyFailed: saved 10 items",
            "Claim data-db-0 GAP",
            "  OnlyPartial: only Backup last-night holds its data, and that is PartiallyFailed",
            "Schedule nightly GAP",
            "  LastBackupNotGood: its last Backup last-night is PARTIAL",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_neither_good_nor_a_gap() {
    let unread = [
        "Backup last-night UNKNOWN UNKNOWN",
        "  Unreadable: what is in it could not be read: Velero did not answer",
        "Claim data-db-0 UNKNOWN",
        "  Unreadable: Backup last-night may hold its data, and could not be read",
    ];
    check(|seen| seen.unreadable("last-night"), &[&["2"], &unread[..]].concat());
    check(
        |seen| {
            seen.unreadable("last-night");
            seen.schedules[0]["spec"]["paused"] = json!(true);
        },
        &[&["1"], &unread[..], &["Schedule nightly GAP", "  Paused: somebody paused it"]].concat(),
    );
    check(
        |seen| {
            seen.add(backup("before", "2026-03-09T03:00:00Z", "Completed"), recording!("good"));
            seen.unreadable("last-night");
        },
        &[&["2"], &unread[..2]].concat(),
    );
}

#[test]
fn a_location_must_be_available_and_looked_at() {
    let is = |status: Value| move |seen: &mut Seen| merge(&mut seen.locations[0], status);
    let both = |reason: &str, words: &str| {
        [
            "1".to_owned(),
            "Location default GAP".to_owned(),
            format!("  {reason}: {words}"),
            "Schedule nightly GAP".to_owned(),
            format!("  LocationUnusable: {words}"),
        ]
    };
    let words = both("Unavailable", "the storage location default is Unavailable: no bucket");
    check(
        is(json!({"status": {"phase": "Unavailable", "message": "no bucket"}})),
        &words.each_ref().map(String::as_str),
    );
    let words = both("NotLookedAt", "Velero has not looked at the storage location default yet");
    check(is(json!({"status": null})), &words.each_ref().map(String::as_str));
    let stale = json!({"status": {"lastValidationTime": "2026-03-10T07:00:00Z"}});
    check(
        is(stale.clone()),
        &["1", "Location default GAP", "  NotLookedAt: Velero has not looked at it for 5h"],
    );
    check(
        |seen| {
            merge(&mut seen.locations[0], stale);
            seen.locations[0]["spec"]["validationFrequency"] = json!("24h");
        },
        &["0"],
    );
    // It can be restored from, but nothing can be written.
    check(
        is(json!({"spec": {"accessMode": "ReadOnly"}})),
        &["1", "Schedule nightly GAP", "  LocationUnusable: the storage location default is ReadOnly"],
    );
}

#[test]
fn a_schedule_must_run_and_in_time() {
    let is = |change: Value| move |seen: &mut Seen| merge(&mut seen.schedules[0], change);
    let gap = |change: Value, words: &str| {
        check(is(change), &["1", "Schedule nightly GAP", &format!("  {words}")]);
    };
    gap(json!({"spec": {"paused": true}}), "Paused: somebody paused it");
    gap(
        json!({"status": {"phase": "FailedValidation", "validationErrors": ["bad cron"]}}),
        "FailedValidation: Velero refuses it: bad cron",
    );
    gap(json!({"status": {"phase": ""}}), "NotLookedAt: Velero has not looked at it for 68d");
    gap(
        json!({"status": {"lastBackup": "2026-03-08T03:00:00Z"}}),
        "Late: it made its last Backup 2d ago, and was due twice since",
    );
    check(is(json!({"status": {"lastBackup": "2026-03-09T03:00:00Z"}})), &["0"]);
    check(
        is(json!({"status": {"lastBackup": "2026-03-08T03:00:00Z", "lastSkipped": "2026-03-10T03:00:00Z"}})),
        &["0"],
    );
    let never =
        |created: &str| json!({"metadata": {"creationTimestamp": created}, "status": {"lastBackup": null}});
    gap(never("2026-03-10T02:00:00Z"), "NeverRan: it never ran, and was due 9h ago");
    check(is(never("2026-03-10T04:00:00Z")), &["0"]);
    // Where the zone's clock stands is not known here.
    let mut zoned = never("2026-03-10T02:00:00Z");
    zoned["spec"] = json!({"schedule": "CRON_TZ=Asia/Tokyo 0 3 * * *"});
    check(is(zoned), &["0"]);
    check(
        is(json!({"status": {"lastBackup": "2026-01-08T03:00:00Z"}, "spec": {"schedule": "no cron"}})),
        &["0"],
    );
}

#[test]
fn a_schedule_is_due_when_velero_says() {
    let check = |expression: &str, expected: Option<(&str, &str, i64)>| {
        let found = due::after(expression, "2026-03-10T12:34:00Z".parse().unwrap());
        let found = found.map(|due| (due.first.to_string(), due.second.to_string(), due.blur.as_hours()));
        let expected = expected.map(|(first, second, blur)| (first.to_owned(), second.to_owned(), blur));
        assert_eq!(found, expected, "{expression}");
    };
    check("0 3 * * *", Some(("2026-03-11T03:00:00Z", "2026-03-12T03:00:00Z", 0)));
    check("0 3 ? * MON-FRI", Some(("2026-03-11T03:00:00Z", "2026-03-12T03:00:00Z", 0)));
    check("*/15 * * * *", Some(("2026-03-10T12:45:00Z", "2026-03-10T13:00:00Z", 0)));
    check("@every 6h", Some(("2026-03-10T18:34:00Z", "2026-03-11T00:34:00Z", 0)));
    check("@daily", Some(("2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z", 0)));
    check("@weekly", Some(("2026-03-15T00:00:00Z", "2026-03-22T00:00:00Z", 0)));
    check("@yearly", Some(("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z", 0)));
    check("TZ=Europe/Berlin 0 3 1 * *", Some(("2026-04-01T03:00:00Z", "2026-05-01T03:00:00Z", 14)));
    check("@every soon", None);
    check("", None);
    check("0 3 * *", None);
}

#[test]
fn only_what_velero_calls_done_is_read_and_only_where_it_can_be() {
    let seen = Seen::good();
    let check = |phase: &str, expected: bool| {
        assert_eq!(must_be_read(&backup("b", NOW, phase), now()), expected, "{phase}");
    };
    check("Completed", true);
    check("PartiallyFailed", true);
    check("Failed", false);
    check("Finalizing", false);
    check("Deleting", false);
    assert_eq!(out_of_reach(&seen.backups[0], &seen.locations), None);
    let why = out_of_reach(&seen.backups[0], &[]).unwrap();
    assert_eq!(why, "the storage location default does not exist; there are: none");
}

proptest! {
    #[test]
    fn a_time_that_is_due_comes_after(seconds in 0_i64..4_000_000_000, minute in 0..60, hour in 0..24) {
        let time = Timestamp::from_second(seconds).unwrap();
        let due = due::after(&format!("{minute} {hour} * * *"), time).unwrap();
        prop_assert!(time < due.first && due.first.duration_since(time) <= SignedDuration::from_hours(24));
        prop_assert_eq!(due.second.duration_since(due.first), SignedDuration::from_hours(24));
    }
}

#[test]
fn a_backup_takes_the_place_of_no_other_owners() {
    let failed = || backup("mongo", "2026-03-09T03:00:00Z", "Failed");
    let newer = |labels: Value| {
        let mut backup = backup("mongo-2", "2026-03-10T04:00:00Z", "Completed");
        backup["metadata"]["labels"] = labels;
        backup
    };
    let owned = |uid: &str| json!({"core.ochre.dev/backup-name": "mongo", "core.ochre.dev/action-uid": uid});
    // Neither by the name of a series, nor by that of a Schedule.
    let mut foreign = owned("b");
    foreign["velero.io/schedule-name"] = json!("weekly");
    for (labels, by, standing) in [
        (owned("a"), owned("a"), "SUPERSEDED"),
        (owned("a"), owned("b"), "GAP"),
        (json!({"velero.io/schedule-name": "weekly"}), foreign, "GAP"),
    ] {
        let mut seen = Seen::good();
        let mut failed = failed();
        failed["metadata"]["labels"] = labels.clone();
        seen.backups.push(failed);
        seen.add(newer(by.clone()), recording!("good"));
        let report = serde_json::to_value(examine(&seen, now())).unwrap();
        let lines = report["backups"].as_array().unwrap();
        let line = lines.iter().find(|line| line["name"] == "mongo").unwrap();
        assert_eq!(line["standing"], standing, "{labels} {by}");
    }
}

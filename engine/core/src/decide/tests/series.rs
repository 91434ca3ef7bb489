//! Which Backup a name stands for.

use serde_json::{Value, json};

use crate::velero::{Source, choose_backup, stored_in};

/// A Backup that an Action `namespace/uid` made in the given order, under a name.
fn made(name: &str, logical: &str, by: &str, phase: &str, at: u32) -> Value {
    let (namespace, uid) = by.split_once('/').unwrap();
    let at = format!("2026-11-21T08:00:{at:02}Z");
    json!({
        "metadata": {"name": name, "creationTimestamp": at, "labels": {
            "core.ochre.dev/backup-name": logical, "core.ochre.dev/action-uid": uid,
            "core.ochre.dev/action-namespace": namespace, "core.ochre.dev/action-name": uid,
        }},
        "status": {"phase": phase, "startTimestamp": at},
    })
}

/// Compares what `mongo` stands for to an Action in `chat`.
fn check(backups: &[Value], wanted: &str) {
    let stored = stored_in(backups, "default", &[]);
    let source = choose_backup(&stored, "mongo", false, "chat");
    let name = |backup: &Value| backup["metadata"]["name"].as_str().unwrap().to_owned();
    let seen = match &source {
        Source::Good(backup) => name(backup),
        Source::Bad(backup) => format!("bad {}", name(backup)),
        Source::Foreign(_) | Source::Ambiguous(_) => source.refusal("mongo").unwrap(),
        Source::Unknown => "unknown".to_owned(),
    };
    assert_eq!(seen, wanted, "{backups:#?}");
}

#[test]
fn a_name_stands_for_what_one_action_made_under_it() {
    let by_hand = |name: &str, at: u32| {
        let mut backup = made(name, "", "chat/a", "Completed", at);
        backup["metadata"]["labels"] = json!({});
        backup
    };
    let own = |name: &str, phase: &str, at: u32| made(name, "mongo", "chat/a", phase, at);
    // Another's claims the name.
    for other in ["shop/b", "chat/b"] {
        let shadow = || made("mongo-2", "mongo", other, "Completed", 9);
        check(&[own("mongo", "Completed", 1), shadow()], "mongo");
        check(&[own("mongo", "Failed", 1), shadow()], "bad mongo");
        check(&[own("mongo", "Failed", 1), own("mongo-3", "Completed", 2), shadow()], "mongo-3");
        check(&[by_hand("mongo", 1), shadow()], "mongo");
    }
    check(&[own("mongo", "Completed", 1), own("mongo-2", "Completed", 2)], "mongo-2");
    check(&[own("mongo", "Completed", 1), own("mongo-2", "Failed", 2)], "mongo");
    check(&[by_hand("mongo", 1), by_hand("mongo-2", 2)], "mongo");
    // Without the one of just that name.
    check(&[own("mongo-2", "Completed", 2), own("mongo-3", "Failed", 3)], "mongo-2");
    check(&[own("mongo-2", "Completed", 2), made("mongo-3", "mongo", "shop/b", "Completed", 3)], "mongo-2");
    check(&[made("mongo-2", "mongo", "shop/b", "Completed", 3)], "unknown");
    check(&[by_hand("other", 1)], "unknown");
    // Another's of just that name hides none of the namespace's own.
    let foreign = || made("mongo", "mongo", "shop/b", "Completed", 9);
    check(&[foreign(), own("mongo-2", "Completed", 2)], "mongo-2");
}

/// Who writes the bucket of another location writes the labels of its Backups too.
#[test]
fn a_backup_of_another_storage_location_has_no_part_in_a_name() {
    let elsewhere = |mut backup: Value| {
        backup["spec"] = json!({"storageLocation": "offsite"});
        backup
    };
    let own = |name: &str, at: u32| made(name, "mongo", "chat/a", "Completed", at);
    check(&[elsewhere(own("mongo", 1))], "unknown");
    check(&[own("mongo", 1), elsewhere(own("mongo-2", 2))], "mongo");
    check(&[elsewhere(own("mongo", 1)), own("mongo-2", 2)], "mongo-2");
}

#[test]
fn a_foreign_and_an_ambiguous_name_are_told_and_never_taken() {
    check(
        &[
            made("mongo", "mongo", "shop/b", "Completed", 1),
            made("mongo-2", "mongo", "shop/a", "Completed", 2),
        ],
        "Backup mongo was made by the Action shop/b; restore it with an Action in the namespace shop",
    );
    check(
        &[
            made("mongo-3", "mongo", "chat/b", "Completed", 1),
            made("mongo-2", "mongo", "chat/a", "Failed", 2),
        ],
        "2 Actions made Backups under the name mongo; give the exact name of one: mongo-2, mongo-3",
    );
}

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ochre_core::decide::DocumentKey;
use ochre_core::velero::{Document, DocumentKind, Results};
use proptest::prelude::*;

use super::{MAX_BYTES, READERS, Reading, Room, TURN};
use crate::download::DownloadError;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn key(kind: DocumentKind) -> DocumentKey {
    DocumentKey { kind, object: "mongo".to_owned(), request: "request".to_owned() }
}

/// Makes up a file that takes about so many bytes.
fn document(bytes: u64) -> Document {
    let mut results = Results::default();
    results.errors.velero = Some(vec!["x".repeat(usize::try_from(bytes).unwrap())]);
    Document::Results(results)
}

fn used(room: &Room) -> u64 {
    room.ledger().used()
}

fn read(room: &Arc<Room>, run: &str, kind: DocumentKind, bytes: u64) -> Option<Arc<Document>> {
    let reading = Arc::new(room.enter(run, START)?);
    reading.admit(bytes).ok()?;
    Some(reading.keep(key(kind), document(bytes)))
}

#[test]
fn a_run_that_began_earlier_goes_first() {
    let room = Arc::new(Room::default());
    let third = MAX_BYTES / 3;
    for run in ["first", "second"] {
        assert!(read(&room, run, DocumentKind::BackupResourceList, third).is_some());
    }
    assert!(
        read(&room, "third", DocumentKind::BackupResourceList, third + third / 2).is_none(),
        "there is no room"
    );
    assert!(room.get("second", &key(DocumentKind::BackupResourceList)).is_some());
    assert!(read(&room, "first", DocumentKind::BackupContents, third + third / 2).is_some());
    assert!(room.get("second", &key(DocumentKind::BackupResourceList)).is_none(), "it makes room");
    assert!(used(&room) <= MAX_BYTES);
    room.forget("first");
    assert!(read(&room, "second", DocumentKind::BackupResourceList, third).is_some());
}

#[test]
fn a_run_that_reads_nothing_more_gives_up_its_place() {
    let room = Arc::new(Room::default());
    let reads = |run: &str, now| {
        let reading = room.enter(run, now)?;
        let admitted = reading.admit(MAX_BYTES / 2 + 1);
        if admitted.is_err() {
            room.wait(run, now);
        }
        admitted.ok()?;
        Some(reading.keep_as(key(DocumentKind::BackupContents), document(1), MAX_BYTES / 2 + 1))
    };
    assert!(reads("waits for pods", START).is_some());
    assert!(reads("other", START + TURN - SignedDuration::from_secs(1)).is_none(), "its turn lasts");
    assert!(reads("other", START + TURN).is_some());
    assert!(reads("waits for pods", START + TURN).is_none(), "it is behind");
    assert!(reads("waits for pods", START + TURN * 2).is_some(), "until the turn of the other is over");
}

#[test]
fn what_a_look_still_holds_counts() {
    let room = Arc::new(Room::default());
    let held = read(&room, "first", DocumentKind::BackupResourceList, MAX_BYTES / 2 + 1);
    room.forget("first");
    assert!(read(&room, "second", DocumentKind::BackupResourceList, MAX_BYTES / 2).is_none());
    drop(held);
    assert!(read(&room, "second", DocumentKind::BackupResourceList, MAX_BYTES / 2).is_some());
}

#[test]
fn one_that_was_told_to_wait_is_not_overtaken_for_a_while() {
    let room = Arc::new(Room::default());
    let readers: Vec<Reading> =
        (0..READERS).map(|run| room.enter(&format!("reader-{run}"), START).unwrap()).collect();
    assert!(room.enter("waits", START).is_none());
    drop(readers);
    assert!(room.enter("later", START).is_none());
    assert!(room.enter("later", START + SignedDuration::from_secs(61)).is_some(), "it did not come back");
}

#[test]
fn what_later_runs_are_reading_is_given_up_for_an_earlier_one() {
    let room = Arc::new(Room::new());
    let (first, second) = (room.enter("first", START).unwrap(), room.enter("second", START).unwrap());
    second.admit(MAX_BYTES / 2 + 1).unwrap();
    let waiting = std::thread::spawn(move || first.admit(MAX_BYTES / 2));
    let given_up = loop {
        if let Err(error) = second.admit(0) {
            break error;
        }
        std::thread::yield_now();
    };
    assert!(matches!(given_up, DownloadError::Crowded), "{given_up}");
    drop(second);
    waiting.join().unwrap().unwrap();
    assert!(room.enter("second", START).unwrap().admit(1).is_ok(), "nothing is in need any more");
}

#[test]
fn a_run_that_asks_for_more_than_there_is_is_refused() {
    let room = Arc::new(Room::default());
    let reading = room.enter("greedy", START).unwrap();
    let refused = reading.admit(MAX_BYTES + 1).unwrap_err();
    assert!(matches!(refused, DownloadError::TooLarge { .. }), "{refused}");
    drop(reading);
    assert_eq!(used(&room), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// However large what runs read, and however many never end: it stays within the room, and each other comes to its end.
    #[test]
    fn every_run_gets_on_within_the_room(
        sizes in prop::collection::vec((1..MAX_BYTES / 2, 1..MAX_BYTES / 2, prop::bool::weighted(0.3)), 2..16)
    ) {
        let room = Arc::new(Room::default());
        let kinds = [DocumentKind::BackupResourceList, DocumentKind::BackupContents];
        let mut open: Vec<usize> = (0..sizes.len()).collect();
        for round in 0.. {
            let now = START + TURN / 3 * i32::try_from(round).unwrap();
            if open.iter().all(|index| sizes[*index].2) { break; }
            prop_assert!(round <= 9 * sizes.len(), "nothing goes on: {open:?} of {sizes:?}");
            let mut ended = Vec::new();
            for index in &open {
                let run = format!("run-{index}");
                let (list, contents, never_ends) = sizes[*index];
                let mut has_all = true;
                for (kind, bytes) in kinds.into_iter().zip([list, contents]) {
                    let known = room.get(&run, &key(kind)).is_some();
                    // A text of the size itself would take the time of the test.
                    let read = known || {
                        let reading = room.enter(&run, now).map(Arc::new);
                        let admitted = reading.as_ref().is_some_and(|reading| reading.admit(bytes).is_ok());
                        if !admitted { room.wait(&run, now); }
                        prop_assert!(used(&room) <= MAX_BYTES);
                        if let Some(reading) = reading.filter(|_| admitted) {
                            reading.keep_as(key(kind), document(1), bytes);
                        }
                        admitted
                    };
                    prop_assert!(used(&room) <= MAX_BYTES);
                    has_all &= read;
                }
                if has_all && !never_ends && kinds.iter().all(|kind| room.get(&run, &key(*kind)).is_some()) {
                    room.forget(&run);
                    ended.push(*index);
                }
            }
            open.retain(|index| !ended.contains(index));
        }
    }
}

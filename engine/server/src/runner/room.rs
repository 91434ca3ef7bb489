//! How much of Velero's files all runs together keep in memory.
//!
//! A run that began to read earlier goes first: for it, what later ones have read is dropped, what
//! they are just reading is given up, and both are read again when their turn comes. So the earliest
//! always gets on, and none waits for another in a circle. A run that has read nothing new for a while, since it waits for
//! something else, gives up its place when another needs the room: it is the latest then.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ochre_core::decide::DocumentKey;
use ochre_core::velero::Document;

use crate::download::DownloadError;

/// The most bytes that are kept.
const MAX_BYTES: u64 = 56 * 1024 * 1024;
/// How many files are read at a time: what is kept while an object is read is not counted.
const READERS: usize = 2;
/// After how long one that waits and does not come back is waited for no more.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long a run may keep what it has read while others need the room and it reads nothing more.
const TURN: SignedDuration = SignedDuration::from_secs(60);
/// How long the earliest run waits for what later ones give up, and how often it looks: a look that holds a file says
/// nothing when it ends.
const WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// The room that runs share.
#[derive(Default)]
pub(super) struct Room {
    ledger: Mutex<Ledger>,
    changed: Condvar,
    wait: Duration,
}

#[derive(Default)]
struct Ledger {
    next: u64,
    runs: HashMap<String, Run>,
    /// What is in memory: whose it is, and how much. A look that goes on may hold what has been dropped.
    kept: Vec<(u64, Weak<Document>, u64)>,
    readers: usize,
    /// The run for which later ones give up what they read.
    in_need: Option<u64>,
}

/// What is known of one run.
#[derive(Default)]
struct Run {
    /// As which one it began to read.
    order: u64,
    documents: HashMap<DocumentKey, Arc<Document>>,
    /// How many bytes are just being read.
    reading: u64,
    /// When it last read something.
    read: Timestamp,
    /// When it was told last that there is no room.
    waiting: Option<Timestamp>,
}

/// The right to read one file; ends with it.
pub(super) struct Reading {
    room: Arc<Room>,
    run: String,
    /// When it began.
    began: Timestamp,
    bytes: Mutex<u64>,
}

impl Room {
    /// Makes room.
    pub(super) fn new() -> Self {
        Self { wait: WAIT, ..Self::default() }
    }

    /// Finds what a run has read.
    pub(super) fn get(&self, run: &str, key: &DocumentKey) -> Option<Arc<Document>> {
        self.ledger().runs.get(run)?.documents.get(key).cloned()
    }

    /// Forgets a run.
    pub(super) fn forget(&self, run: &str) {
        let mut ledger = self.ledger();
        if let Some(gone) = ledger.runs.remove(run) {
            ledger.end_need(gone.order);
        }
        drop(ledger);
        self.changed.notify_all();
    }

    /// Lets a run read a file, unless others are at it or were told earlier to wait.
    pub(super) fn enter(self: &Arc<Self>, run: &str, now: Timestamp) -> Option<Reading> {
        let mut ledger = self.ledger();
        let order = ledger.order(run);
        let is_first = ledger.runs.values().all(|other| other.order >= order || !other.waits(now));
        let enters = is_first && ledger.readers < READERS;
        if let Some(known) = ledger.runs.get_mut(run) {
            known.waiting = (!enters).then_some(now);
        }
        if !enters {
            return None;
        }
        ledger.readers += 1;
        drop(ledger);
        Some(Reading { room: Arc::clone(self), run: run.to_owned(), began: now, bytes: Mutex::default() })
    }

    /// Notes that a run was told to wait, so that later ones let it go first.
    pub(super) fn wait(&self, run: &str, now: Timestamp) {
        if let Some(run) = self.ledger().runs.get_mut(run) {
            run.waiting = Some(now);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn waits(&self, now: Timestamp) -> bool {
        self.waiting.is_some_and(|since| now < since + PATIENCE)
    }
}

impl Ledger {
    fn order(&mut self, run: &str) -> u64 {
        if let Some(known) = self.runs.get(run) {
            return known.order;
        }
        self.next += 1;
        self.runs.insert(run.to_owned(), Run { order: self.next, ..Run::default() });
        self.next
    }

    /// Counts what is in memory.
    fn used(&mut self) -> u64 {
        self.kept.retain(|(_, document, _)| document.strong_count() > 0);
        let kept: u64 = self.kept.iter().map(|(_, _, bytes)| bytes).sum();
        kept + self.runs.values().map(|run| run.reading).sum::<u64>()
    }

    /// Counts what is in memory of one run.
    fn used_by(&self, run: &Run) -> u64 {
        let own = self
            .kept
            .iter()
            .filter(|(order, document, _)| *order == run.order && document.strong_count() > 0);
        own.map(|(_, _, bytes)| bytes).sum::<u64>() + run.reading
    }

    /// Tells whether no earlier run has read anything, or is at it.
    fn is_earliest(&self, order: u64) -> bool {
        let mut earlier = self.runs.values().filter(|run| run.order < order);
        earlier.all(|run| run.documents.is_empty() && run.reading == 0)
    }

    fn end_need(&mut self, order: u64) {
        self.in_need = self.in_need.filter(|needy| *needy != order);
    }

    /// Drops what the latest run after this one has read; tells whether there was any.
    fn drop_latest(&mut self, order: u64) -> bool {
        let later = self.runs.values_mut().filter(|run| run.order > order && !run.documents.is_empty());
        let latest = later.max_by_key(|run| run.order);
        latest.map(|run| run.documents.clear()).is_some()
    }

    /// Drops what the run has read that has kept it the longest since its last read, and puts it behind all others; tells
    /// whether there was any whose turn is over.
    fn end_turn(&mut self, order: u64, now: Timestamp) -> bool {
        let over = |run: &&mut Run| {
            let is_idle = run.reading == 0 && !run.waits(now) && now >= run.read + TURN;
            run.order != order && is_idle && !run.documents.is_empty()
        };
        let Some(run) = self.runs.values_mut().filter(over).min_by_key(|run| run.read) else { return false };
        run.documents.clear();
        self.next += 1;
        run.order = self.next;
        true
    }
}

impl Reading {
    /// Asks whether so many bytes more may be kept; blocks while later runs make room.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), DownloadError> {
        let until = Instant::now() + self.room.wait;
        let mut ledger = self.room.ledger();
        loop {
            let Some(run) = ledger.runs.get(&self.run) else { return Err(DownloadError::Crowded) };
            let order = run.order;
            if ledger.used_by(run) + bytes > MAX_BYTES {
                return Err(DownloadError::TooLarge {
                    what: "that would be kept in memory",
                    limit: MAX_BYTES,
                });
            }
            if ledger.in_need.is_some_and(|earlier| earlier < order) {
                return Err(DownloadError::Crowded);
            }
            let fits = ledger.used() + bytes <= MAX_BYTES;
            if !fits && (ledger.drop_latest(order) || ledger.end_turn(order, self.began)) {
                continue;
            }
            if fits {
                self.take(&mut ledger, bytes);
                return Ok(());
            }
            if !ledger.is_earliest(order) || Instant::now() >= until {
                ledger.end_need(order);
                return Err(DownloadError::Crowded);
            }
            ledger.in_need = Some(order);
            let waited = self.room.changed.wait_timeout(ledger, LOOK);
            ledger = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take(&self, ledger: &mut Ledger, bytes: u64) {
        if let Some(run) = ledger.runs.get_mut(&self.run) {
            run.reading += bytes;
            *self.bytes() += bytes;
            let order = run.order;
            ledger.end_need(order);
        }
    }

    /// Keeps what was read.
    pub(super) fn keep(&self, key: DocumentKey, document: Document) -> Arc<Document> {
        let weight = document.weight();
        self.keep_as(key, document, weight)
    }

    fn keep_as(&self, key: DocumentKey, document: Document, weight: u64) -> Arc<Document> {
        let document = Arc::new(document);
        let mut ledger = self.room.ledger();
        if let Some(run) = ledger.runs.get_mut(&self.run) {
            run.documents.insert(key, Arc::clone(&document));
            run.read = self.began;
            let order = run.order;
            ledger.kept.push((order, Arc::downgrade(&document), weight));
        }
        drop(ledger);
        document
    }

    fn bytes(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut ledger = self.room.ledger();
        ledger.readers = ledger.readers.saturating_sub(1);
        let bytes = *self.bytes();
        if let Some(run) = ledger.runs.get_mut(&self.run) {
            run.reading = run.reading.saturating_sub(bytes);
        }
        drop(ledger);
        self.room.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;

//! How many bytes of requests and messages, and of answers, are kept in memory, over all connections.
//!
//! What is sent counts from when it arrives until its operation has ended, since its variables are the same bytes. An
//! answer counts while it is made, and until its client has read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_graphql::ServerError;
use axum::body::Bytes;

use super::refusal::Refusal;
use crate::identity::Caller;
use crate::options::Limits;

/// One caller has at most this part of the whole, so that one alone does not shut out all others.
const SHARE: usize = 4;
/// How many bytes cost as much as a field of an answer.
pub(super) const BYTES: usize = 64;
/// By how many bytes the room of an answer grows: each field would take the lock that all share.
const STEP: usize = 16 * 1024;
/// How many bytes of an answer are handed over at a time: what a connection has taken counts no more.
const PART: usize = 16 * 1024;

/// After how long to try again: most bodies are there, and their operations over, within it.
const WAIT: Duration = Duration::from_secs(1);

/// What all connections share. Callers that are not told apart share all of it.
#[derive(Clone)]
pub(super) struct Buffer {
    limit: &'static str,
    limit_of_one: &'static str,
    most: usize,
    most_of_one: usize,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// How many of them each caller has.
    callers: HashMap<String, usize>,
}

/// The bytes of one request or message; they are free again when this ends.
pub(super) struct Room {
    buffer: Buffer,
    share: Option<String>,
    bytes: usize,
}

impl Buffer {
    /// Begins with nothing kept of requests. The largest body has room, whatever the limits are.
    pub(super) fn of_requests(limits: &Limits) -> Self {
        Self::new("buffer", "buffer` for one caller, a quarter of `buffer", limits.buffer, limits.body)
    }

    /// Begins with nothing kept of answers. The one that costs most has room, whatever the limits are.
    pub(super) fn of_answers(limits: &Limits) -> Self {
        let largest = (limits.cost + 1).saturating_mul(BYTES).next_multiple_of(STEP);
        Self::new("answers", "answers` for one caller, a quarter of `answers", limits.answers, largest)
    }

    fn new(limit: &'static str, limit_of_one: &'static str, most: usize, largest: usize) -> Self {
        let most = most.max(largest);
        Self { limit, limit_of_one, most, most_of_one: (most / SHARE).max(largest), kept: Arc::default() }
    }

    /// Makes room for what a caller sends, of which nothing is there yet.
    pub(super) fn room(&self, caller: &Caller) -> Room {
        Room { buffer: self.clone(), share: caller.share().map(str::to_owned), bytes: 0 }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Keeps so many bytes from now on, more or fewer than before.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), Refusal> {
        let buffer = self.buffer.clone();
        let mut kept = buffer.kept();
        let all = kept.bytes - self.bytes + bytes;
        if bytes > self.bytes && all > buffer.most {
            return Err(Refusal::Crowded { what: buffer.limit, limit: buffer.most, wait: WAIT });
        }
        if let Some(share) = &self.share {
            let own = kept.callers.get(share).copied().unwrap_or_default() - self.bytes + bytes;
            if bytes > self.bytes && own > buffer.most_of_one {
                return Err(Refusal::TooMany {
                    what: buffer.limit_of_one,
                    limit: buffer.most_of_one,
                    wait: WAIT,
                });
            }
            if own == 0 {
                kept.callers.remove(share);
            } else {
                kept.callers.insert(share.clone(), own);
            }
        }
        kept.bytes = all;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // There is always room for less.
        let _ = self.keep(0);
    }
}

/// The room of an operation's answers: of the one that is made, and of the one that is not read yet.
#[derive(Clone)]
pub(super) struct Answers(Arc<Mutex<Making>>);

struct Making {
    room: Room,
    /// Why there is no room for the answer that is made.
    refusal: Option<Refusal>,
}

impl Answers {
    /// Begins with no answer.
    pub(super) fn new(room: Room) -> Self {
        Self(Arc::new(Mutex::new(Making { room, refusal: None })))
    }

    /// Keeps so many bytes of the answer that is made; tells for how many there is room then.
    pub(super) fn make(&self, bytes: usize) -> Result<usize, ServerError> {
        let mut making = self.making();
        let bytes = bytes.next_multiple_of(STEP);
        let kept = making.room.keep(bytes).map(|()| bytes);
        kept.map_err(|refusal| {
            let error = refusal.error();
            making.refusal = Some(refusal);
            error
        })
    }

    /// Tells whether there was no room for the answer that was made.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.making().refusal.take()
    }

    /// Keeps an answer as it is sent, in place of what it was made of.
    pub(super) fn print(&self, bytes: usize) -> Result<(), Refusal> {
        let kept = self.making().room.keep(bytes);
        kept.inspect_err(|_| self.read())
    }

    /// Hears that the answer is read.
    pub(super) fn read(&self) {
        // There is always room for less.
        let _ = self.making().room.keep(0);
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text of an answer that is sent, in parts that are kept until each is written.
pub(super) fn parts(text: String, held: impl Send + Sync + 'static) -> impl Iterator<Item = Bytes> + Send {
    let mut left = Bytes::from_owner(Sent { text, _held: held });
    std::iter::from_fn(move || (!left.is_empty()).then(|| left.split_to(PART.min(left.len()))))
}

struct Sent<H> {
    text: String,
    _held: H,
}

impl<H> AsRef<[u8]> for Sent<H> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    //! What there is room for.

    use ochre_core::action::UserInfo;
    use proptest::prelude::*;

    use super::*;

    fn buffer() -> Buffer {
        Buffer::of_requests(&Limits { buffer: 80, body: 10, ..Limits::default() })
    }

    fn caller(name: &str) -> Caller {
        Caller::Person(UserInfo { username: name.to_owned(), ..UserInfo::default() })
    }

    #[test]
    fn one_caller_has_a_part_and_all_have_no_more_than_the_whole() {
        let buffer = buffer();
        let mut rooms: Vec<Room> =
            ["a", "a", "b", "c", "d"].map(|name| buffer.room(&caller(name))).into_iter().collect();
        rooms[0].keep(15).unwrap();
        assert!(matches!(rooms[1].keep(6), Err(Refusal::TooMany { limit: 20, .. })));
        rooms[1].keep(5).unwrap();
        for room in &mut rooms[2..] {
            room.keep(20).unwrap();
        }
        let mut late = buffer.room(&Caller::Anybody);
        assert!(matches!(late.keep(1), Err(Refusal::Crowded { limit: 80, .. })));
        rooms[0].keep(14).unwrap();
        late.keep(1).unwrap();
        drop((rooms, late));
        let kept = buffer.kept();
        assert_eq!((kept.bytes, kept.callers.len()), (0, 0), "nothing is kept of callers that have nothing");
    }

    #[test]
    fn the_largest_body_has_room_whatever_the_limits_are() {
        let buffer = Buffer::of_requests(&Limits { buffer: 1, body: 10, ..Limits::default() });
        buffer.room(&caller("a")).keep(10).unwrap();
        assert!(buffer.room(&caller("a")).keep(11).is_err());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_sum_of_what_was_taken(steps in prop::collection::vec((0_usize..6, 0_usize..30), 0..60)) {
            let buffer = buffer();
            let mut rooms: Vec<Room> = (0..6).map(|number| {
                let caller = if number < 5 { caller(["a", "b"][number % 2]) } else { Caller::Anybody };
                buffer.room(&caller)
            }).collect();
            for (room, bytes) in steps {
                let before = rooms[room].bytes;
                let is_kept = rooms[room].keep(bytes).is_ok();
                prop_assert_eq!(rooms[room].bytes, if is_kept { bytes } else { before });
                let kept = buffer.kept();
                prop_assert_eq!(kept.bytes, rooms.iter().map(|room| room.bytes).sum::<usize>());
                prop_assert!(kept.bytes <= 80 && kept.callers.values().all(|own| *own <= 20));
            }
        }
    }
}

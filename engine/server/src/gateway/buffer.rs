//! How many bytes of requests and messages are kept in memory, over all connections.
//!
//! They count from when they arrive until their operation has ended, since its variables are the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::refusal::Refusal;
use crate::identity::Caller;
use crate::options::Limits;

/// One caller has at most this part of the whole, so that one alone does not shut out all others.
const SHARE: usize = 4;
/// After how long to try again: most bodies are there, and their operations over, within it.
const WAIT: Duration = Duration::from_secs(1);

/// What all connections share. Callers that are not told apart share all of it.
#[derive(Clone)]
pub(super) struct Buffer {
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
    username: Option<String>,
    bytes: usize,
}

impl Buffer {
    /// Begins with nothing kept. The largest body has room, whatever the limits are.
    pub(super) fn new(limits: &Limits) -> Self {
        let most = limits.buffer.max(limits.body);
        Self { most, most_of_one: (most / SHARE).max(limits.body), kept: Arc::default() }
    }

    /// Makes room for what a caller sends, of which nothing is there yet.
    pub(super) fn room(&self, caller: &Caller) -> Room {
        let username = match caller {
            Caller::Person(person) => Some(person.username.clone()),
            Caller::Anybody => None,
        };
        Room { buffer: self.clone(), username, bytes: 0 }
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
            return Err(Refusal::Crowded { limit: buffer.most, wait: WAIT });
        }
        if let Some(username) = &self.username {
            let own = kept.callers.get(username).copied().unwrap_or_default() - self.bytes + bytes;
            if bytes > self.bytes && own > buffer.most_of_one {
                let what = "buffer` for one caller, a quarter of `buffer";
                return Err(Refusal::TooMany { what, limit: buffer.most_of_one, wait: WAIT });
            }
            if own == 0 {
                kept.callers.remove(username);
            } else {
                kept.callers.insert(username.clone(), own);
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

#[cfg(test)]
mod tests {
    //! What there is room for.

    use ochre_core::action::UserInfo;
    use proptest::prelude::*;

    use super::*;

    fn buffer() -> Buffer {
        Buffer::new(&Limits { buffer: 80, body: 10, ..Limits::default() })
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
        let buffer = Buffer::new(&Limits { buffer: 1, body: 10, ..Limits::default() });
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

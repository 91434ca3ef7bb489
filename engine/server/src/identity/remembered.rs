//! What was found out a moment ago.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most answers that are remembered.
const MOST: usize = 10_000;

/// Answers, each with the moment at which it is forgotten.
pub(super) struct Remembered<Key, Answer>(Mutex<HashMap<Key, (Answer, Instant)>>);

impl<Key, Answer> Default for Remembered<Key, Answer> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Key: Eq + Hash, Answer: Clone> Remembered<Key, Answer> {
    /// Gives an answer that is not forgotten by now.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(_, until)| *until > now).map(|(answer, _)| answer.clone())
    }

    /// Remembers an answer for a while.
    pub(super) fn put(&self, key: Key, answer: Answer, keep: Duration, now: Instant) {
        if keep.is_zero() {
            return;
        }
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (_, until)| *until > now);
        }
        // So many at once are not remembered at all: what is asked again is still right.
        if answers.len() < MOST {
            answers.insert(key, (answer, now + keep));
        }
    }

    /// Forgets an answer at once.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_forgotten() {
        let (answers, now) = (Remembered::default(), Instant::now());
        answers.put("kept", 1, Duration::from_secs(60), now);
        answers.put("gone", 2, Duration::ZERO, now);
        let found =
            |later| ["kept", "gone", "never"].map(|key| answers.get(&key, now + Duration::from_secs(later)));
        assert_eq!(found(0), [Some(1), None, None]);
        assert_eq!(found(59), [Some(1), None, None]);
        assert_eq!(found(60), [None; 3]);
        answers.put("kept", 3, Duration::from_secs(60), now);
        answers.forget(&"kept");
        assert_eq!(found(0), [None; 3]);
    }
}

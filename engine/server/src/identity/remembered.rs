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
    /// Gives an answer that is not forgotten yet.
    pub(super) fn get(&self, key: &Key) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(_, until)| *until > Instant::now()).map(|(answer, _)| answer.clone())
    }

    /// Remembers an answer for a while.
    pub(super) fn put(&self, key: Key, answer: Answer, keep: Duration) {
        if keep.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (_, until)| *until > now);
        }
        // So many at once are not remembered at all: what is asked again is still right.
        if answers.len() < MOST {
            answers.insert(key, (answer, now + keep));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_forgotten() {
        let answers = Remembered::default();
        answers.put("kept", 1, Duration::from_secs(60));
        answers.put("gone", 2, Duration::ZERO);
        assert_eq!(
            (answers.get(&"kept"), answers.get(&"gone"), answers.get(&"never")),
            (Some(1), None, None)
        );
    }
}

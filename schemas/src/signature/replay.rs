//! Remembers the nonces of messages within the window, up to a bound.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{SignatureError, Verified};
use crate::Timestamp;

/// Tells messages that were seen before. Nothing is forgotten before it is too old to be accepted
/// anyway; when the guard is full, new messages are refused instead.
#[derive(Debug)]
pub struct ReplayGuard {
    window: Duration,
    capacity: usize,
    by_time: BTreeSet<(Timestamp, String)>,
    nonces: BTreeSet<String>,
}

impl ReplayGuard {
    /// A guard for messages that are accepted within `window` of now, at most `capacity` of them.
    pub fn new(window: Duration, capacity: usize) -> Self {
        Self {
            window,
            capacity,
            by_time: BTreeSet::new(),
            nonces: BTreeSet::new(),
        }
    }

    /// Lets a verified message pass, once.
    ///
    /// # Errors
    /// `Replayed` when it was seen before, `Crowded` when the guard is full.
    pub fn admit(&mut self, message: &Verified, now: Timestamp) -> Result<(), SignatureError> {
        self.forget(now);
        if self.nonces.contains(&message.nonce) {
            return Err(SignatureError::Replayed);
        }
        if self.nonces.len() >= self.capacity {
            return Err(SignatureError::Crowded);
        }
        self.nonces.insert(message.nonce.clone());
        self.by_time
            .insert((message.created, message.nonce.clone()));
        Ok(())
    }

    /// What is older than the window is refused for its age.
    fn forget(&mut self, now: Timestamp) {
        while let Some((created, _)) = self.by_time.first() {
            if created.plus(self.window) >= now {
                break;
            }
            if let Some((_, nonce)) = self.by_time.pop_first() {
                self.nonces.remove(&nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(nonce: &str, created: i64) -> Verified {
        Verified {
            created: Timestamp::from_millis(created),
            nonce: nonce.into(),
        }
    }

    #[test]
    fn a_message_passes_once_and_the_guard_stays_bounded() {
        let mut guard = ReplayGuard::new(Duration::from_secs(1), 2);
        let now = Timestamp::from_millis(1000);
        assert_eq!(guard.admit(&message("a", 1000), now), Ok(()));
        assert_eq!(
            guard.admit(&message("a", 1000), now),
            Err(SignatureError::Replayed)
        );
        assert_eq!(guard.admit(&message("b", 1000), now), Ok(()));
        assert_eq!(
            guard.admit(&message("c", 1000), now),
            Err(SignatureError::Crowded)
        );
        let later = Timestamp::from_millis(2001);
        assert_eq!(guard.admit(&message("c", 2001), later), Ok(()));
    }
}

//! Who is not to be asked again yet. After a failure an address is left alone for a while that doubles, with a random
//! part so that many do not come back at once; when the while is over one caller tries for all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an address is left alone after a first failure.
const SHORTEST: Duration = Duration::from_secs(1);

/// After a first answer that we ask too often: its allowance is counted over five minutes.
const TOO_OFTEN: Duration = Duration::from_secs(5);

/// However often it fails. It weighs a service that comes back against one that is being asked to death.
const LONGEST: Duration = Duration::from_secs(60);

/// However long it asks for itself.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// The most addresses that are remembered; settings name two each.
const ADDRESSES: usize = 256;

/// What is remembered of addresses that failed.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failed: Mutex<BTreeMap<String, Hold>>,
}

#[derive(Debug)]
struct Hold {
    times: u32,
    until: Instant,
    why: String,
}

/// An address that is left alone for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// How it failed, in words.
    pub(crate) why: String,
    /// For so long, at least one.
    pub(crate) seconds: u64,
}

/// How an address failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// In words, without a secret.
    pub(crate) why: String,
    /// Whether it was asked too often.
    pub(crate) too_often: bool,
    /// How long it wants to be left alone.
    pub(crate) asks_for: Duration,
}

impl Failure {
    /// One that says no more than this.
    pub(crate) fn because(why: String) -> Self {
        Self {
            why,
            too_often: false,
            asks_for: Duration::ZERO,
        }
    }
}

/// How an address may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// By anybody.
    Free,
    /// By this caller for all: it failed before.
    Trial,
}

impl Pace {
    /// Whether an address may be asked now. One that failed may be asked by one caller, who has `deadline` for it.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn enter(&self, address: &str, deadline: Duration) -> Result<Entry, Held> {
        let now = Instant::now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(hold) = failed.get_mut(address) else {
            return Ok(Entry::Free);
        };
        if now < hold.until {
            let seconds = (hold.until - now).as_secs() + 1;
            let why = hold.why.clone();
            return Err(Held { why, seconds });
        }
        hold.until = now + deadline;
        Ok(Entry::Trial)
    }

    /// Whoever tried an address for all has left without an answer: another may.
    pub(crate) fn left(&self, address: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hold) = failed.get_mut(address) {
            hold.until = Instant::now();
        }
    }

    /// The address answered.
    pub(crate) fn answered(&self, address: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.remove(address);
    }

    /// The address failed. `chance` is between 0 and 255.
    pub(crate) fn failed(&self, address: &str, failure: Failure, chance: u8) {
        let now = Instant::now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= ADDRESSES && !failed.contains_key(address) {
            failed.retain(|_, hold| hold.until > now);
            if failed.len() >= ADDRESSES {
                return;
            }
        }
        let times = failed.get(address).map_or(0, |hold| hold.times);
        let first = if failure.too_often {
            TOO_OFTEN
        } else {
            SHORTEST
        };
        let hold = Hold {
            times: times.saturating_add(1),
            until: now + pause(first, times, chance).max(failure.asks_for.min(LONGEST_ASKED)),
            why: failure.why,
        };
        failed.insert(address.to_owned(), hold);
    }
}

/// Between half of it and all of it.
fn pause(first: Duration, times: u32, chance: u8) -> Duration {
    let whole = first.saturating_mul(1 << times.min(10)).min(LONGEST);
    whole / 2 + whole / 2 * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::{Duration, Failure, LONGEST, Pace, SHORTEST, TOO_OFTEN, pause};

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        assert_eq!(pause(SHORTEST, 0, 255), SHORTEST);
        assert_eq!(pause(SHORTEST, 0, 0), SHORTEST / 2);
        assert_eq!(pause(TOO_OFTEN, 1, 255), TOO_OFTEN * 2);
        for times in [6, 10, 1000, u32::MAX] {
            assert_eq!(pause(SHORTEST, times, 255), LONGEST, "{times}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_tries_for_all_when_the_while_is_over() {
        let pace = Pace::default();
        let deadline = Duration::from_secs(8);
        let failure = |asks_for| Failure {
            why: "it answered 503".into(),
            too_often: false,
            asks_for,
        };
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()));
        pace.failed("a", failure(Duration::ZERO), 255);
        let held = pace.enter("a", deadline).expect_err("held");
        assert_eq!((held.why.as_str(), held.seconds), ("it answered 503", 2));
        assert_eq!(pace.enter("b", deadline).map(drop), Ok(()));
        tokio::time::advance(SHORTEST).await;
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()));
        assert!(pace.enter("a", deadline).is_err(), "another is asking");
        pace.failed("a", failure(Duration::from_secs(1_000_000)), 0);
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(pace.enter("a", deadline).is_err());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()));
        assert!(pace.enter("a", deadline).is_err(), "another is asking");
        pace.left("a");
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()), "and has left");
        pace.answered("a");
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()));
        assert_eq!(pace.enter("a", deadline).map(drop), Ok(()));
    }
}

//! Key sets by the address that they come from. They are fetched once for all who wait, and again at most every so
//! often, however many tokens name keys that nobody knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use tokio::sync::Semaphore;

use super::TokenKeys;

/// A key that is not known is asked for at most so often. It weighs the one whose key is new against the one that
/// makes keys up.
const EVERY: Duration = Duration::from_secs(15);

/// The most addresses whose keys are kept; each policy, and a fleet, names one.
const ADDRESSES: usize = 64;

/// How long keys count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// Keys are fetched again when they are older, so that one that was withdrawn stops counting.
    pub(crate) fresh: Duration,
    /// Keys that are older do not count, even when no others are to be had.
    pub(crate) oldest: Duration,
}

/// Keys by the address that they come from.
pub(crate) struct KeyCache {
    ages: Ages,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
}

struct Slot {
    /// Held by the one who fetches.
    flight: Semaphore,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    keys: TokenKeys,
    fetched: Timestamp,
}

/// What to do with what is known.
pub(crate) enum Step {
    /// Nothing has to be fetched.
    Use(TokenKeys),
    /// Fetch, and do with these when that fails.
    Fetch(Option<TokenKeys>),
}

impl KeyCache {
    /// An empty one.
    pub(crate) fn new(ages: Ages) -> Self {
        Self {
            ages,
            slots: Mutex::default(),
        }
    }

    /// The keys of an address, for a token that names this one. `fetch` is only run when what is known does not do.
    ///
    /// # Errors
    /// When there are none that still count, why they could not be fetched.
    pub(crate) async fn keys<E>(
        &self,
        address: &str,
        key_id: Option<&str>,
        now: Timestamp,
        fetch: impl Future<Output = Result<TokenKeys, E>>,
    ) -> Result<TokenKeys, E> {
        let slot = self.slot(address);
        if let Step::Use(keys) = slot.step(self.ages, key_id, now) {
            return Ok(keys);
        }
        let _flight = slot.flight.acquire().await.expect("never closed");
        // Whoever fetched meanwhile did it for us too.
        match slot.step(self.ages, key_id, now) {
            Step::Use(keys) => Ok(keys),
            Step::Fetch(instead) => match fetch.await {
                Ok(keys) => {
                    slot.learn(&keys, now);
                    Ok(keys)
                }
                Err(error) => instead.ok_or(error),
            },
        }
    }

    /// What to do for a token that names this key.
    pub(crate) fn step(&self, address: &str, key_id: Option<&str>, now: Timestamp) -> Step {
        self.slot(address).step(self.ages, key_id, now)
    }

    fn slot(&self, address: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(address) {
            return Arc::clone(slot);
        }
        if slots.len() >= ADDRESSES {
            slots.pop_first();
        }
        let slot = Arc::new(Slot {
            flight: Semaphore::new(1),
            known: Mutex::new(None),
        });
        slots.insert(address.to_owned(), Arc::clone(&slot));
        slot
    }
}

impl Slot {
    fn step(&self, ages: Ages, key_id: Option<&str>, now: Timestamp) -> Step {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { keys, fetched }) = known.as_ref() else {
            return Step::Fetch(None);
        };
        // A clock that was set back makes keys as old as one that was set ahead.
        let age = now.since(*fetched).max(fetched.since(now));
        let held = key_id.is_none_or(|key_id| keys.holds(key_id));
        if age < if held { ages.fresh } else { EVERY } {
            return Step::Use(keys.clone());
        }
        Step::Fetch((held && age < ages.oldest).then(|| keys.clone()))
    }

    fn learn(&self, keys: &TokenKeys, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known {
            keys: keys.clone(),
            fetched: now,
        });
    }
}

//! The keys that tokens are signed with, from the address that the settings name and from no other. They are fetched
//! once for all who wait, and again at most every so often, however many tokens name keys that nobody knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, TokenBytes};
use tokio::sync::Semaphore;

use super::authority::TrustAuthority;
use super::call::Call;
use super::client::Client;
use super::error::ItaError;
use crate::TokenKeys;
use crate::remote::under;

/// Keys are fetched again when they are older, so that one that was withdrawn stops counting.
const FRESH: Duration = Duration::from_secs(3600);

/// Keys that are older do not count, even when no others are to be had.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// A key that is not known is asked for at most so often. It weighs the agent whose key is new against the one that
/// makes keys up.
const EVERY: Duration = Duration::from_secs(15);

/// The most addresses whose keys are kept; each policy names one.
const ADDRESSES: usize = 64;

/// How fetching keys went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefresh {
    /// There are keys.
    Fetched,
    /// There are none, or none that can be read.
    Failed,
}

impl KeyRefresh {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Failed => "failed",
        }
    }
}

type Watch = Box<dyn Fn(KeyRefresh) + Send + Sync>;

/// Keys by the address that they come from.
#[derive(Default)]
pub(super) struct KeyCache {
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    watch: Option<Watch>,
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
enum Step {
    Use(TokenKeys),
    /// Fetch, and do with these when that fails.
    Fetch(Option<TokenKeys>),
}

impl Client {
    /// Tells `watch` each time that keys were fetched or could not be.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(KeyRefresh) + Send + Sync + 'static) -> Self {
        self.keys.watch = Some(Box::new(watch));
        self
    }

    async fn fetch_keys(&self, settings: &ItaSpec) -> Result<TokenKeys, ItaError> {
        let call = Call {
            url: under(&settings.jwks_url, "").map_err(ItaError::Settings)?,
            body: None,
            keyed: false,
            shows_evidence: false,
            longest: TokenKeys::MAX,
        };
        let read = |body: &[u8]| TokenKeys::parse(body).map_err(|error| error.to_string());
        let keys = self.caller.call(call, read).await;
        if let Some(watch) = &self.keys.watch {
            watch(match keys {
                Ok(_) => KeyRefresh::Fetched,
                Err(_) => KeyRefresh::Failed,
            });
        }
        keys
    }
}

#[async_trait]
impl TrustAuthority for Client {
    async fn nonce(&self, settings: &ItaSpec) -> Result<ItaNonce, ItaError> {
        self.fresh_nonce(settings.into()).await
    }

    async fn token(
        &self,
        settings: &ItaSpec,
        evidence: &Evidence,
        nonce: &ItaNonce,
        public_key: &[u8; 32],
    ) -> Result<TokenBytes, ItaError> {
        self.mint(settings.into(), evidence, nonce, public_key)
            .await
    }

    async fn keys(
        &self,
        settings: &ItaSpec,
        key_id: Option<&str>,
        now: Timestamp,
    ) -> Result<TokenKeys, ItaError> {
        let slot = self.keys.slot(&settings.jwks_url);
        if let Step::Use(keys) = slot.step(key_id, now) {
            return Ok(keys);
        }
        let _flight = slot.flight.acquire().await.expect("never closed");
        // Whoever fetched meanwhile did it for us too.
        match slot.step(key_id, now) {
            Step::Use(keys) => Ok(keys),
            Step::Fetch(instead) => match self.fetch_keys(settings).await {
                Ok(keys) => {
                    slot.learn(&keys, now);
                    Ok(keys)
                }
                Err(error) => instead.ok_or(error),
            },
        }
    }
}

impl KeyCache {
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
    fn step(&self, key_id: Option<&str>, now: Timestamp) -> Step {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { keys, fetched }) = known.as_ref() else {
            return Step::Fetch(None);
        };
        // A clock that was set back makes keys as old as one that was set ahead.
        let age = now.since(*fetched).max(fetched.since(now));
        let held = key_id.is_none_or(|key_id| keys.holds(key_id));
        if age < if held { FRESH } else { EVERY } {
            return Step::Use(keys.clone());
        }
        Step::Fetch((held && age < OLDEST).then(|| keys.clone()))
    }

    fn learn(&self, keys: &TokenKeys, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known {
            keys: keys.clone(),
            fetched: now,
        });
    }
}

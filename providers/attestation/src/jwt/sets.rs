//! Key sets over HTTP, from the address that the settings name and from no other: no redirect is followed, and answers
//! are bounded in time and length.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use reqwest::Url;
use reqwest::header::ACCEPT;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::{Ages, KeyCache, Step, TokenKeys};
use crate::remote::{Failure, Pace, broken, client, read, retry_after, under};

/// How long fetching a key set may take, with its answer.
const DEADLINE: Duration = Duration::from_secs(8);

/// A key that its issuer withdraws signs for so long after; GitHub's is asked as often as that.
const AGES: Ages = Ages {
    fresh: Duration::from_secs(300),
    oldest: Duration::from_secs(3600),
};

/// So many wait for keys at a time, whether or not they still listen. Tokens that name keys of their own making cost nothing to
/// make.
const WAITING: usize = 64;

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetsError {
    /// Nothing is sent to such an address.
    #[error("the key set is not fetched: {0}")]
    Settings(String),
    /// There is no answer at present, or none that is a key set.
    #[error("the key set cannot be fetched at present: {0}")]
    Unavailable(String),
}

/// Key sets of issuers. Copies share what they know.
#[derive(Clone)]
pub struct KeySets(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    deadline: Duration,
    cache: KeyCache,
    pace: Pace,
    places: Arc<Semaphore>,
}

impl KeySets {
    /// Fetches nothing yet. The process must have a TLS provider.
    ///
    /// # Errors
    /// When TLS is not to be had.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::with_deadline(DEADLINE)
    }

    /// One whose fetches may take so long.
    ///
    /// # Errors
    /// As [`KeySets::new`].
    pub fn with_deadline(deadline: Duration) -> Result<Self, reqwest::Error> {
        Ok(Self(Arc::new(Inner {
            http: client(deadline)?,
            deadline,
            cache: KeyCache::new(AGES),
            pace: Pace::default(),
            places: Arc::new(Semaphore::new(WAITING)),
        })))
    }

    /// The keys at an address, for a token that names this one.
    ///
    /// # Errors
    /// When there are none that count.
    pub async fn keys(
        &self,
        address: &str,
        key_id: Option<&str>,
        now: Timestamp,
    ) -> Result<TokenKeys, KeySetsError> {
        let instead = match self.0.cache.step(address, key_id, now) {
            Step::Use(keys) => return Ok(keys),
            Step::Fetch(instead) => instead,
        };
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            let busy = || KeySetsError::Unavailable("too many are waiting for it".into());
            return instead.ok_or_else(busy);
        };
        let (inner, address, key_id) = (
            Arc::clone(&self.0),
            address.to_owned(),
            key_id.map(str::to_owned),
        );
        // By itself, so that whoever hangs up does not end it for the others who wait.
        let fetched = tokio::spawn(async move {
            let _place = place;
            let fetch = inner.fetch(&address);
            let keys = inner.cache.keys(&address, key_id.as_deref(), now, fetch);
            keys.await
        });
        let ended = |_| KeySetsError::Unavailable("fetching it broke off".into());
        fetched.await.map_err(ended)?
    }
}

impl Inner {
    /// Run by one at a time for each address.
    async fn fetch(&self, address: &str) -> Result<TokenKeys, KeySetsError> {
        let url = under(address, "").map_err(KeySetsError::Settings)?;
        let entered = self.pace.enter(address, self.deadline);
        entered.map_err(|held| {
            let (why, seconds) = (held.why, held.seconds);
            KeySetsError::Unavailable(format!("{why}; it is not asked again for {seconds} s"))
        })?;
        match self.ask(url).await {
            Ok(keys) => {
                self.pace.answered(address);
                Ok(keys)
            }
            Err(failure) => {
                let why = failure.why.clone();
                self.pace.failed(address, failure, chance());
                Err(KeySetsError::Unavailable(why))
            }
        }
    }

    async fn ask(&self, url: Url) -> Result<TokenKeys, Failure> {
        let failed = |error: reqwest::Error| Failure::because(broken(&error, self.deadline));
        let request = self.http.get(url).header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Failure {
                why: format!("it answered {}", status.as_u16()),
                too_often: status.as_u16() == 429,
                asks_for: retry_after(answer.headers()),
            });
        }
        let (body, whole) = read(&mut answer, TokenKeys::MAX).await.map_err(failed)?;
        if !whole {
            let most = TokenKeys::MAX;
            return Err(Failure::because(format!("it is longer than {most} bytes")));
        }
        TokenKeys::parse(&body).map_err(|error| Failure::because(error.to_string()))
    }
}

/// Nothing rests on it: without randomness pauses are merely alike.
fn chance() -> u8 {
    let mut byte = [0];
    SystemRandom::new().fill(&mut byte).unwrap_or_default();
    byte[0]
}

//! The keys that tokens of the Trust Authority are signed with, from the address that the settings name and from no
//! other.

use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, TokenBytes};

use super::authority::TrustAuthority;
use super::call::Call;
use super::client::Client;
use super::error::ItaError;
use crate::jwt::{Ages, KeyCache, TokenKeys};
use crate::remote::under;

/// Keys are fetched again when they are older, so that one that was withdrawn stops counting.
const FRESH: Duration = Duration::from_secs(3600);

/// Keys that are older do not count, even when no others are to be had.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

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

/// Keys, and who is told of fetching them.
pub(super) struct Keys {
    cache: KeyCache,
    watch: Option<Watch>,
}

impl Default for Keys {
    fn default() -> Self {
        let (fresh, oldest) = (FRESH, OLDEST);
        Self {
            cache: KeyCache::new(Ages { fresh, oldest }),
            watch: None,
        }
    }
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
        let fetch = self.fetch_keys(settings);
        let cache = &self.keys.cache;
        cache.keys(&settings.jwks_url, key_id, now, fetch).await
    }
}

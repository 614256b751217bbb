//! What a Trust Authority last answered, for status and metrics: who is down is told, whoever asked. It changes no answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use easyenclave_attestation::{ItaError, TokenKeys, TrustAuthority};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, TokenBytes};

use crate::metrics::{Authority, Metrics};

/// The most addresses; each policy names two.
const ADDRESSES: usize = 64;

/// A Trust Authority that is listened to.
pub(super) struct Heard {
    authority: Arc<dyn TrustAuthority>,
    metrics: Metrics,
    outages: Mutex<BTreeMap<String, String>>,
}

impl Heard {
    pub(super) fn new(authority: Arc<dyn TrustAuthority>, metrics: Metrics) -> Self {
        Self {
            authority,
            metrics,
            outages: Mutex::default(),
        }
    }

    /// What is wrong, in words that are the same each time, by address.
    pub(super) fn outages(&self) -> BTreeMap<String, String> {
        let outages = self.outages.lock();
        outages.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, call: Authority, address: &str, answer: &Result<T, ItaError>) {
        let outage = answer.as_ref().err().and_then(ItaError::outage);
        let result = match (answer, &outage) {
            (Ok(_), _) => "success",
            (Err(_), Some(_)) => "failure",
            (Err(_), None) => "refused",
        };
        self.metrics.authority_asked(call, result);
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        match outage {
            Some(outage) if outages.len() < ADDRESSES || outages.contains_key(address) => {
                outages.insert(address.into(), outage);
            }
            Some(_) => {}
            None => drop(outages.remove(address)),
        }
    }
}

#[async_trait]
impl TrustAuthority for Heard {
    async fn nonce(&self, settings: &ItaSpec) -> Result<ItaNonce, ItaError> {
        let answer = self.authority.nonce(settings).await;
        self.note(Authority::Nonce, &settings.api_url, &answer);
        answer
    }

    async fn token(
        &self,
        settings: &ItaSpec,
        evidence: &Evidence,
        nonce: &ItaNonce,
        public_key: &[u8; 32],
    ) -> Result<TokenBytes, ItaError> {
        let asked = self.authority.token(settings, evidence, nonce, public_key);
        let answer = asked.await;
        self.note(Authority::Token, &settings.api_url, &answer);
        answer
    }

    async fn keys(
        &self,
        settings: &ItaSpec,
        key_id: Option<&str>,
        now: Timestamp,
    ) -> Result<TokenKeys, ItaError> {
        let answer = self.authority.keys(settings, key_id, now).await;
        self.note(Authority::Keys, &settings.jwks_url, &answer);
        answer
    }
}

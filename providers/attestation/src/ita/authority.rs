//! A Trust Authority as those who judge see it, and the one that is not there.

use async_trait::async_trait;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, TokenBytes};

use super::error::{ItaError, NO_KEY};
use crate::TokenKeys;

/// Where nonces, tokens and keys of a Trust Authority come from.
///
/// Guarantees: an answer within a bounded time; keys from the address that the settings name and from no other;
/// keys are fetched again at most once in a while, however many tokens name unknown ones. Assumptions:
/// `now` is the verifier's clock. Caveats: nothing that it answers is verified.
#[async_trait]
pub trait TrustAuthority: Send + Sync {
    /// A fresh nonce.
    ///
    /// # Errors
    /// When there is none at present.
    async fn nonce(&self, settings: &ItaSpec) -> Result<ItaNonce, ItaError>;

    /// A token for evidence that binds `nonce` and `public_key`.
    ///
    /// # Errors
    /// When the Trust Authority refuses the evidence, or cannot answer at present.
    async fn token(
        &self,
        settings: &ItaSpec,
        evidence: &Evidence,
        nonce: &ItaNonce,
        public_key: &[u8; 32],
    ) -> Result<TokenBytes, ItaError>;

    /// The keys that tokens are signed with, fetched again when `key_id` is not among those known.
    ///
    /// # Errors
    /// When there are none at present.
    async fn keys(
        &self,
        settings: &ItaSpec,
        key_id: Option<&str>,
        now: Timestamp,
    ) -> Result<TokenKeys, ItaError>;
}

/// No Trust Authority: what a reconciler without a key for one has.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAuthority;

#[async_trait]
impl TrustAuthority for NoAuthority {
    async fn nonce(&self, _: &ItaSpec) -> Result<ItaNonce, ItaError> {
        Err(ItaError::Key(NO_KEY.into()))
    }

    async fn token(
        &self,
        _: &ItaSpec,
        _: &Evidence,
        _: &ItaNonce,
        _: &[u8; 32],
    ) -> Result<TokenBytes, ItaError> {
        Err(ItaError::Key(NO_KEY.into()))
    }

    async fn keys(
        &self,
        _: &ItaSpec,
        _: Option<&str>,
        _: Timestamp,
    ) -> Result<TokenKeys, ItaError> {
        Err(ItaError::Key(NO_KEY.into()))
    }
}

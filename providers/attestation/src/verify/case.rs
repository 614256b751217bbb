//! One case to judge: what was shown, what it has to be bound to, what it is checked with, and when.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, ReasonCode, Rejection};

use super::policy::Policy;
use crate::collateral::Collateral;
use crate::collect::{ita_report_data, report_data};
use crate::jwt::TokenKeys;

/// Everything that a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the agent showed. A token that the reconciler asked for itself is in here too.
    pub evidence: &'a Evidence,
    /// What the quote must be bound to.
    pub binding: &'a Binding,
    /// What the check of the nonce said before: issued here, unexpired, unused.
    pub nonce: Result<(), ReasonCode>,
    /// What the platform's vendor publishes; needed where the policy wants local verification.
    pub collateral: Option<&'a Collateral>,
    /// The Trust Authority's keys; needed where the policy wants its token.
    pub token_keys: Option<&'a TokenKeys>,
    /// What to accept.
    pub policy: &'a Policy,
    /// When it was shown, by the verifier's clock. Evidence that is judged again later is judged as of then.
    pub now: Timestamp,
}

/// What the quote must be bound to: all as the verifier holds them, never as the message gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The nonce that the verifier issued.
    pub nonce: [u8; 32],
    /// The Trust Authority's nonce that the verifier handed out with it. The quote binds it instead.
    pub ita: Option<ItaNonce>,
    /// The raw Ed25519 public key that is about to be trusted.
    pub public_key: [u8; 32],
}

impl Binding {
    /// The bytes that the quote must carry.
    ///
    /// # Errors
    /// When the Trust Authority's nonce is not base64.
    pub fn report_data(&self) -> Result<[u8; 64], Rejection> {
        match &self.ita {
            None => Ok(report_data(&self.nonce, &self.public_key)),
            Some(nonce) => ita_report_data(nonce, &self.public_key)
                .map_err(|error| Rejection::new(ReasonCode::NonceUnknown, error.to_string())),
        }
    }
}

//! What verification says: a verdict, or a rejection with a stable code.

use std::fmt;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fmspc, MeasurementDigest, ReasonCode, RootKeyId};
use crate::documents::Modes;
use crate::{Digest, Timestamp};

/// How current a platform's trusted computing base is, in Intel's words. `Revoked` is missing on
/// purpose: such a platform is always refused, so no verdict can carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub enum TcbStatus {
    /// Nothing is owed.
    UpToDate,
    /// Software in the guest has to mitigate.
    SWHardeningNeeded,
    /// A setting of the host's firmware has to change.
    ConfigurationNeeded,
    /// Both a setting of the host and mitigation in the guest.
    ConfigurationAndSWHardeningNeeded,
    /// Firmware, microcode, TDX module or quoting enclave is too old.
    OutOfDate,
    /// Too old, and a setting of the host has to change.
    OutOfDateConfigurationNeeded,
    /// The machine is current again, but this guest was launched before; launching it again helps.
    TDRelaunchAdvised,
    /// Launching again helps, and a setting of the host has to change.
    TDRelaunchAdvisedConfigurationNeeded,
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Accepted evidence: what was seen, under which root and policy, and until when it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// When the evidence was shown, by the verifier's clock. Judging it again under another policy does not renew it.
    pub accepted_at: Timestamp,
    /// The first moment at which the verdict no longer counts.
    pub trusted_until: Timestamp,
    /// The root that vouches for the platform.
    pub trust_root: RootKeyId,
    /// Whether the platform is a simulated one. Derived from the verified root, never from the evidence.
    pub simulated: bool,
    /// How current the platform is.
    pub tcb_status: TcbStatus,
    /// Intel's advisories that apply to the platform.
    pub advisory_ids: Vec<String>,
    /// The measurement of the initial image.
    pub mrtd: MeasurementDigest,
    /// The runtime measurement registers 0 to 3.
    pub rtmrs: [MeasurementDigest; 4],
    /// The measurement of the TDX module.
    pub mrseam: MeasurementDigest,
    /// What the launcher said the machine is for.
    pub mrconfigid: MeasurementDigest,
    /// The type of the platform.
    pub fmspc: Fmspc,
    /// TDATTRIBUTES of the guest.
    #[serde(default)]
    pub attributes: u64,
    /// Properties of the platform, as far as local verification knows them.
    #[serde(default)]
    pub properties: PlatformProperties,
    /// The date of the platform's TCB level.
    #[serde(default)]
    pub tcb_date: Timestamp,
    /// The policy that was applied.
    pub policy_digest: Digest,
    /// The quote without its padding.
    pub evidence_digest: Digest,
    /// The collateral that was used.
    pub collateral_digest: Option<Digest>,
    /// The name of the policy's entry that the measurements matched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measurement: String,
    /// Who accepted the evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<VerifierKind>,
    /// The modes in force.
    #[serde(default)]
    pub modes: Modes,
    /// An out-of-date platform is let pass until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Timestamp>,
    /// The collateral that was used expires then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral_until: Option<Timestamp>,
    /// The token that was used, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenFacts>,
    /// The digest of the event log, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log_digest: Option<Digest>,
    /// What was let pass although it is not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Properties of a platform that a policy may refuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformProperties {
    /// The platform may be extended with more packages after its registration.
    pub dynamic_platform: bool,
    /// The platform's keys are cached by its vendor's registration service.
    pub cached_keys: bool,
    /// Hyper-threading is on.
    pub smt: bool,
}

/// Who judged the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerifierKind {
    /// Local verification of the quote.
    Dcap,
    /// Intel Trust Authority.
    Ita,
}

/// What is kept of a token beside its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenFacts {
    /// The digest of its text.
    pub digest: Digest,
    /// Who issued it.
    pub issuer: String,
    /// The key that signed it.
    pub key_id: String,
    /// Its audience, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// It expires then.
    pub expires: Timestamp,
    /// The digest of the policy's settings that decide whether a token counts. A policy with others has to see
    /// another token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Digest>,
}

/// Something that was let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// A `W` code.
    pub code: ReasonCode,
    /// What was let pass, in words.
    pub message: String,
}

/// Refused evidence or a refused message: a stable code, and a sentence that is safe to show to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The stable code.
    pub code: ReasonCode,
    /// What was wrong, without internals.
    pub message: String,
    /// The root that vouches for the platform all the same; none where that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<RootKeyId>,
}

impl Rejection {
    /// A rejection with a message of its own.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            trust_root: None,
        }
    }

    /// The same of evidence that was seen to be of a platform under this root, unless it is known of another one.
    pub fn under(self, root: Option<RootKeyId>) -> Self {
        Self {
            trust_root: self.trust_root.or(root),
            ..self
        }
    }

    /// The sentence with what is to be said of the root. A refused message says nothing of any platform.
    pub fn stamped(&self) -> String {
        let stamp = match self.code.is_of_evidence() {
            true => stamp(self.trust_root),
            false => "",
        };
        format!("{}{stamp}", self.message)
    }
}

/// What is said wherever trust in a platform is shown, granted or refused: nothing beside Intel's root alone.
pub fn stamp(root: Option<RootKeyId>) -> &'static str {
    match root {
        Some(root) if root.is_simulated() => " (simulated)",
        Some(_) => "",
        None => " (root not known)",
    }
}

/// A rejection that has nothing to add to its code's cause.
impl From<ReasonCode> for Rejection {
    fn from(code: ReasonCode) -> Self {
        Self::new(code, code.cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_shows_code_and_sentence() {
        let rejection = Rejection::from(ReasonCode::NonceExpired);
        assert_eq!(rejection.to_string(), "EE-ATT-003: the nonce has expired");
    }

    #[test]
    fn refused_evidence_says_whose_it_is_or_that_nobody_knows() {
        let of = |code: ReasonCode, root| Rejection::from(code).under(root).stamped();
        let code = ReasonCode::MrtdUntrusted;
        let simulated = Some(RootKeyId::new([1; 48]));
        let cause = code.cause();
        assert_eq!(of(code, simulated), format!("{cause} (simulated)"));
        assert_eq!(of(code, Some(RootKeyId::INTEL)), cause);
        assert_eq!(of(code, None), format!("{cause} (root not known)"));
        let message = ReasonCode::TokenWrong;
        assert_eq!(of(message, None), message.cause(), "no platform showed it");
    }

    #[test]
    fn a_root_that_was_seen_is_no_other_one_later() {
        let rejection = Rejection::from(ReasonCode::MrtdUntrusted);
        let seen = rejection.under(Some(RootKeyId::INTEL)).under(None);
        let again = seen.under(Some(RootKeyId::new([1; 48])));
        assert_eq!(again.trust_root, Some(RootKeyId::INTEL));
    }

    #[test]
    fn a_rejection_of_before_names_no_root() {
        let old = r#"{"code":"EE-ATT-014","message":"no"}"#;
        let read: Rejection = serde_json::from_str(old).expect("reads");
        assert_eq!(read.trust_root, None);
        assert_eq!(serde_json::to_string(&read).expect("writes"), old);
    }
}

//! Who has to accept an agent's evidence: local verification, Intel Trust Authority, or both.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::Span;

/// The required verifiers. Each that is named has to accept; where both are, they have to agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verifiers {
    /// Local verification of the quote with Intel's collateral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dcap: Option<DcapSpec>,
    /// A token of Intel Trust Authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita: Option<ItaSpec>,
}

impl Default for Verifiers {
    fn default() -> Self {
        Self {
            dcap: Some(DcapSpec {}),
            ita: None,
        }
    }
}

/// Local verification has no settings of its own: where collateral comes from is the fleet's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DcapSpec {}

/// Intel Trust Authority. Keys are taken from the one address given here, whatever a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ItaSpec {
    /// The base of its API.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub api_url: String,
    /// Where its signing keys are.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub jwks_url: String,
    /// The issuer that a token must name.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub issuer: String,
    /// The audience that a token must name; not looked at when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub audience: Option<String>,
    /// The version of the attest call and of its token.
    pub version: ItaVersion,
    /// How tokens are signed.
    pub algorithm: SigningAlgorithm,
    /// Policies of the Trust Authority that must all have matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub policy_ids: Vec<String>,
    /// How far its clock may be off ours, at most ten minutes.
    pub leeway: Span,
    /// Who asks for the token and holds the key for it.
    pub mint: Mint,
    /// Whether trust ends with the token.
    #[serde(skip_serializing_if = "TrustEnds::is_token")]
    pub trust_ends: TrustEnds,
}

impl Default for ItaSpec {
    fn default() -> Self {
        Self {
            api_url: "https://api.trustauthority.intel.com".into(),
            jwks_url: "https://portal.trustauthority.intel.com/certs".into(),
            issuer: "https://portal.trustauthority.intel.com".into(),
            audience: None,
            version: ItaVersion::V2,
            algorithm: SigningAlgorithm::PS384,
            policy_ids: Vec::new(),
            leeway: Span::from_secs(120),
            mint: Mint::Reconciler,
            trust_ends: TrustEnds::Token,
        }
    }
}

/// Versions of the attest call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ItaVersion {
    /// Claims lie flat in the token.
    V1,
    /// Claims about the guest lie under `tdx`.
    V2,
}

/// Signatures of tokens that are accepted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub enum SigningAlgorithm {
    /// RSA-PSS with SHA-384.
    PS384,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RS256,
}

/// Who asks the Trust Authority for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mint {
    /// The reconciler, with its key; the agent holds none.
    Reconciler,
    /// The agent, with a key of its own.
    Agent,
}

/// When trust that rests on a token ends. A token lives for minutes, so agents that are trusted no longer than
/// their token attest again every few minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TrustEnds {
    /// With the token, or before it with the policy's maximum age.
    #[default]
    Token,
    /// With the policy's maximum age: the token had to be valid when it was judged, and counts no further.
    MaxAge,
}

impl TrustEnds {
    fn is_token(&self) -> bool {
        *self == Self::Token
    }
}

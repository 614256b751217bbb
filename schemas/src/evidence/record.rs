//! `evidence/<2 hex>/<sha256>` on the status branch: one judgement with all that it was made from, so that
//! anyone can make it again. Each part lies beside it under its own digest, or sealed, or nowhere.

use serde::{Deserialize, Serialize};

use super::{ItaNonce, ReasonCode, Rejection, RootKeyId, Verdict};
use crate::documents::PolicySpec;
use crate::{AgentId, Digest, NodeSize, Timestamp};

/// One judgement and its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceRecord {
    /// The agent that showed it.
    pub agent: AgentId,
    /// Its key, 64 hex digits; the quote binds it.
    pub public_key: String,
    /// The nonce that the quote had to bind, 64 hex digits.
    pub nonce: String,
    /// The Trust Authority's nonce, which the quote had to bind instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ita_nonce: Option<ItaNonce>,
    /// What was wrong with the nonce itself, where the policy let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_failure: Option<ReasonCode>,
    /// The quote without its padding.
    pub quote: Part,
    /// The event log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<Part>,
    /// The token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Part>,
    /// The key set that the token was checked with, which is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_keys: Option<Digest>,
    /// The collateral that was used, which is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral: Option<Digest>,
    /// The collateral that was used, where a certificate in it names the machine and not everything is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_collateral: Option<Part>,
    /// The policy as it was applied: the digest of a [`JudgedPolicy`].
    pub policy: Digest,
    /// When it was judged, by the reconciler's clock.
    pub at: Timestamp,
    /// What verification said.
    pub outcome: Outcome,
}

/// What verification said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Accepted.
    Accepted(Box<Verdict>),
    /// Refused.
    Refused(Rejection),
}

impl Outcome {
    /// The root that vouches for the platform, where it was seen: who is refused has one, too.
    pub fn trust_root(&self) -> Option<RootKeyId> {
        match self {
            Self::Accepted(verdict) => Some(verdict.trust_root),
            Self::Refused(rejection) => rejection.trust_root,
        }
    }
}

/// A part of the evidence that may name a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Where the bytes are.
    pub kept: Kept,
}

/// Where the bytes of a part are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// In the file of that digest.
    Full,
    /// Encrypted to the auditors, in the file whose digest this is.
    Sealed(Digest),
    /// Nowhere: the fleet keeps digests only.
    DigestOnly,
}

/// A policy and the size that it was applied to; its digest is the policy's in every verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JudgedPolicy {
    /// The document.
    pub spec: PolicySpec,
    /// The size of the agents.
    pub node_size: NodeSize,
}

impl EvidenceRecord {
    /// Its JSON, the same bytes every time; the record's digest is theirs.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a record is plain data");
        json.push(b'\n');
        json
    }

    /// What may name a machine.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let parts = [
            Some(&self.quote),
            self.event_log.as_ref(),
            self.token.as_ref(),
            self.private_collateral.as_ref(),
        ];
        parts.into_iter().flatten()
    }

    /// The files beside it, by their digests: sealed parts as sealed, and none that is not kept.
    pub fn files(&self) -> impl Iterator<Item = Digest> {
        let parts = self.parts().filter_map(Part::file);
        let public = [self.token_keys, self.collateral, Some(self.policy)];
        parts.chain(public.into_iter().flatten())
    }
}

impl Part {
    /// The file that has it, as it is or sealed.
    pub fn file(&self) -> Option<Digest> {
        match self.kept {
            Kept::Full => Some(self.digest),
            Kept::Sealed(file) => Some(file),
            Kept::DigestOnly => None,
        }
    }
}

impl JudgedPolicy {
    /// The digest of its JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// Its JSON, the same bytes every time.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a policy is plain data")
    }
}

//! Kind Approval: a person's approval of a held plan, by its digest.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// An approval. It covers exactly the removals behind the digest, on one occasion: it is spent as soon as they are
/// not held any more, done or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalSpec {
    /// The digest of the held plan, 64 hex digits.
    #[cfg_attr(
        feature = "documents",
        schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))
    )]
    pub plan_digest: Digest,
    /// The commit of the state repository under which they were held. Another one makes another approval, so that what
    /// was approved once, and did not happen, can be approved again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{40}$")))]
    pub revision: Option<String>,
    /// Why, for those who read the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 500)))]
    pub reason: String,
}

//! Kind Owner: who may own deployments and reservations, and how much.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An owner. Its name is the document's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnerSpec {
    /// GitHub identities that act for this owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub github: Vec<GithubIdentity>,
    /// Keys for the deploy API that act for this owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 50)))]
    pub keys: Vec<ApiKey>,
    /// What the owner may use at most.
    #[serde(default)]
    pub quota: Quota,
}

/// A GitHub identity, as narrow as the fields that are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GithubIdentity {
    /// The organisation or user that owns the repository.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub organization: String,
    /// The repository's name without its owner; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The full ref, such as `refs/heads/main`; any when left out.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The Actions environment; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// A key for the deploy API, by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKey {
    /// The part of the key by which it is looked up, random: 26 of a-z and 2-7.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[a-z2-7]{26}$")))]
    pub id: String,
    /// The hash of the other part by Argon2id, in the PHC format.
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 200), regex(pattern = r"^\$argon2id\$[!-~]+$"))
    )]
    pub hash: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 100)))]
    pub name: String,
    /// From then on it is refused.
    #[cfg_attr(
        feature = "documents",
        schemars(with = "String", extend("format" = "date-time"))
    )]
    pub expires: Timestamp,
}

/// What an owner may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quota {
    /// Agents: replicas of all deployments, and reserved agents, whichever is more.
    pub agents: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { agents: 100 }
    }
}

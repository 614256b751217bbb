//! How the fleet's deploy API knows its callers, and how what runs is reached from outside.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Hostname;

/// The deploy API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiSpec {
    /// Whose identity tokens are believed; nobody's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcSpec>,
}

impl ApiSpec {
    pub(super) fn is_usual(&self) -> bool {
        self.oidc.is_none()
    }
}

/// An issuer of identity tokens: GitHub Actions when nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcSpec {
    /// The issuer, exactly as tokens have it.
    #[serde(default = "issuer")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub issuer: String,
    /// The audience that tokens must be for.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub audience: String,
    /// Where its keys are.
    #[serde(default = "jwks_url")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub jwks_url: String,
}

fn issuer() -> String {
    "https://token.actions.githubusercontent.com".into()
}

fn jwks_url() -> String {
    "https://token.actions.githubusercontent.com/.well-known/jwks".into()
}

/// How what runs is reached: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum TunnelSpec {
    /// At the agents' own addresses.
    Direct {},
    /// Through tunnels of Cloudflare.
    Cloudflare(CloudflareSpec),
}

impl Default for TunnelSpec {
    fn default() -> Self {
        Self::Direct {}
    }
}

impl TunnelSpec {
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Self::Direct {})
    }
}

/// An account and a zone of Cloudflare. The token for its API is in the reconciler's environment, never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudflareSpec {
    /// The account's id.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{32}$")))]
    pub account_id: String,
    /// The zone's id.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{32}$")))]
    pub zone_id: String,
    /// The zone's name: host names are one label below it.
    pub zone: Hostname,
    /// The base of the API.
    #[serde(default = "api_url")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 500)))]
    pub api_url: String,
    /// Names that no deployment may have and that are never touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 100)))]
    pub protected: Vec<Hostname>,
}

fn api_url() -> String {
    "https://api.cloudflare.com/client/v4".into()
}

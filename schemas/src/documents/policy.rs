//! Kind AttestationPolicy: what makes an agent trusted.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::NodeSize;

/// A policy. An empty list of measurements trusts nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// Whose quotes count.
    pub trust_root: TrustRootSpec,
    /// Which TCB statuses are acceptable.
    #[serde(default = "up_to_date")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 8)))]
    pub allowed_tcb_statuses: Vec<TcbStatus>,
    /// Platform properties that are refused unless allowed here.
    #[serde(default)]
    pub platform: PlatformFlags,
    /// The measurements that are trusted.
    #[cfg_attr(feature = "documents", schemars(length(max = 1000)))]
    pub measurements: Vec<Measurement>,
    /// How long a verdict is good for at most; collateral may end it earlier.
    #[serde(default = "one_day")]
    pub max_age: Span,
}

fn up_to_date() -> Vec<TcbStatus> {
    vec![TcbStatus::UpToDate]
}

fn one_day() -> Span {
    Span::from_secs(24 * 3600)
}

/// The root of trust: Intel's, or a simulated platform's by its key id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRootSpec {
    /// Which kind of root.
    pub kind: TrustRootKind,
    /// SHA-384 of the simulated root's public key, 96 hex digits; refused for Intel's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub key_id: Option<String>,
}

/// The kinds of trust root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TrustRootKind {
    /// Intel's production root.
    Intel,
    /// A simulated platform; everything it touches is stamped `simulated`.
    Simulated,
}

/// TCB statuses that a policy may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[expect(
    missing_docs,
    reason = "Intel's own names, explained in Intel's PCS documentation"
)]
pub enum TcbStatus {
    UpToDate,
    SWHardeningNeeded,
    ConfigurationNeeded,
    ConfigurationAndSWHardeningNeeded,
}

/// Platform properties that are refused unless allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlatformFlags {
    /// The platform may be changed by its owner after registration.
    pub dynamic_platform: bool,
    /// Keys are cached by Intel's registration service.
    pub cached_keys: bool,
    /// Hyper-threading is on.
    pub smt: bool,
}

/// One trusted measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// What was measured, for people: an image's name or release.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 200)))]
    pub name: String,
    /// The size it holds for; every size when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_size: Option<NodeSize>,
    /// MRTD, 96 hex digits.
    #[cfg_attr(feature = "documents", schemars(regex(pattern = r"^[0-9a-f]{96}$")))]
    pub mrtd: String,
}

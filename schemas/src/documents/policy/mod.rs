//! Kind AttestationPolicy: what makes an agent trusted. Whatever weakens a check is spelled out here, in
//! Git; nothing is weakened by being left out.

mod measurement;
mod verifiers;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use measurement::{EventPredicate, Measurement};
pub use verifiers::{DcapSpec, ItaSpec, ItaVersion, Mint, SigningAlgorithm, TrustEnds, Verifiers};

use super::Span;
use crate::evidence::TcbStatus;

/// A policy. An empty list of measurements trusts nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// Whose quotes count; Intel's when left out.
    #[serde(default)]
    pub trust_root: TrustRootSpec,
    /// Who has to accept the evidence; local verification alone when left out.
    #[serde(default)]
    pub verifiers: Verifiers,
    /// Whether a failed check refuses or warns; everything refuses when left out.
    #[serde(default)]
    pub modes: Modes,
    /// Which TCB statuses are acceptable.
    #[serde(default = "up_to_date")]
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 8)))]
    pub allowed_tcb_statuses: Vec<TcbStatus>,
    /// How long after the date of its own TCB level an allowed out-of-date platform is let pass. That date
    /// is often a year ago.
    #[serde(default = "none")]
    pub tcb_grace: Span,
    /// Advisories of Intel's that are never let pass, such as `INTEL-SA-00837`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 1000)))]
    pub refused_advisories: Vec<String>,
    /// Platform properties that are usual for a kind of machine; none is allowed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<PlatformPreset>,
    /// Platform properties that are allowed or refused whatever the preset says.
    #[serde(default)]
    pub platform: PlatformFlags,
    /// Attributes that the guest must or must not have. Debugging, profiling and migration are always refused.
    #[serde(default)]
    pub td_attributes: TdAttributes,
    /// The measurements that are trusted.
    #[cfg_attr(feature = "documents", schemars(length(max = 1000)))]
    pub measurements: Vec<Measurement>,
    /// How long a verdict is good for at most; collateral or a token may end it earlier.
    #[serde(default = "one_day")]
    pub max_age: Span,
    /// What happens to a workload whose agent is no longer trusted. It is taken out of exposure in any case.
    #[serde(default)]
    pub on_lapse: OnLapse,
}

fn up_to_date() -> Vec<TcbStatus> {
    vec![TcbStatus::UpToDate]
}

fn one_day() -> Span {
    Span::from_secs(24 * 3600)
}

fn none() -> Span {
    Span::from_secs(0)
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

impl Default for TrustRootSpec {
    fn default() -> Self {
        Self {
            kind: TrustRootKind::Intel,
            key_id: None,
        }
    }
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

/// What a failed check does. Whatever is not the strictest is shown wherever trust is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Modes {
    /// The nonce: missing, unknown, expired, used or not bound. Only a simulated root may weaken it.
    pub nonce: NonceMode,
    /// The platform's TCB status.
    pub tcb: Enforcement,
    /// The runtime measurements and the event log.
    pub rtmr: Enforcement,
}

/// How a check is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// A failure refuses.
    #[default]
    Strict,
    /// A failure is let pass with a warning.
    Warn,
    /// Nothing is checked, and each verdict says so.
    Disabled,
}

/// How a nonce is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NonceMode {
    /// A failure refuses.
    #[default]
    Required,
    /// A failure is let pass with a warning.
    Optional,
    /// Nothing is checked, and each verdict says so.
    Disabled,
}

/// Machines whose usual properties are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PlatformPreset {
    /// TDX on Google's cloud: dynamic platform and SMT.
    Gcp,
    /// TDX on one's own machines: dynamic platform, SMT, and keys cached by Intel's registration service.
    BareMetal,
    /// The simulated platform: none.
    Simulated,
}

/// Platform properties, allowed or refused. What is left out is as the preset says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlatformFlags {
    /// The platform may be changed by its owner after registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_platform: Option<bool>,
    /// Keys are cached by Intel's registration service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_keys: Option<bool>,
    /// Hyper-threading is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smt: Option<bool>,
}

/// Demands on the guest's attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TdAttributes {
    /// The guest must have these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 8)))]
    pub required: Vec<TdAttribute>,
    /// The guest must not have these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 8)))]
    pub refused: Vec<TdAttribute>,
}

/// Attributes of a guest that a policy may decide about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TdAttribute {
    /// Bit 16: shadow stacks under supervisor control.
    Icssd,
    /// Bit 27: linear address space separation.
    Lass,
    /// Bit 30: supervisor protection keys.
    Pks,
    /// Bit 31: key locker.
    KeyLocker,
    /// Bit 62: TD partitioning.
    Tpa,
    /// Bit 63: performance monitoring.
    Perfmon,
}

impl TdAttribute {
    /// Its bit in TDATTRIBUTES.
    pub fn bit(self) -> u32 {
        match self {
            Self::Icssd => 16,
            Self::Lass => 27,
            Self::Pks => 30,
            Self::KeyLocker => 31,
            Self::Tpa => 62,
            Self::Perfmon => 63,
        }
    }
}

/// What happens to a workload whose agent is no longer trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnLapse {
    /// It goes on, unexposed, until trust is back or the agent is replaced.
    #[default]
    Keep,
    /// It is stopped once it is out of exposure. When much of a target is out of trust at once, the cause may be the
    /// policy or a verifier, so nothing is stopped without a person's approval.
    Stop,
}

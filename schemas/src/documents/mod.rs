//! State documents: what people write in the state repository.
//! Kubernetes' conventions, unknown fields refused; identity is (kind, owner, name), never the path.

mod access;
mod approval;
mod deployment;
mod disruption;
mod fleet;
mod owner;
mod policy;
mod provider;
mod reservation;
mod rollout;
mod secret;
mod span;
mod target;
mod workload;

use std::fmt;

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::{ApiSpec, CloudflareSpec, OidcSpec, TunnelSpec};
pub use approval::ApprovalSpec;
pub use deployment::{DeploymentSpec, Expose, Health, HttpProbe, Placement, Probe, Spread};
pub use disruption::{BudgetSpec, DisruptionSpec, WindowSpec};
pub use fleet::{Breaker, CollateralSpec, EvidenceSpec, FleetSpec, Keep, StatusSpec, Timing};
pub use owner::{ApiKey, GithubIdentity, OwnerSpec, Quota};
pub use policy::{
    DcapSpec, Enforcement, EventPredicate, ItaSpec, ItaVersion, Measurement, Mint, Modes,
    NonceMode, OnLapse, PlatformFlags, PlatformPreset, PolicySpec, SigningAlgorithm, TdAttribute,
    TdAttributes, TrustEnds, TrustRootKind, TrustRootSpec, Verifiers,
};
pub use provider::{
    Accelerator, GcpProvider, GcpSize, ProcessProvider, ProviderSpec, QemuProvider, QemuSize,
    TdxUse,
};
pub use reservation::ReservationSpec;
pub use rollout::{Pause, RevertMode, Rollout};
pub use secret::{SecretContent, SecretSpec, SecretsSpec};
pub use span::{Span, SpanError};
pub use target::{PlaceSpec, TargetSpec};
pub use workload::{
    ComposeSource, ComposeWorkload, ProcessWorkload, RestartPolicy, Runtime, SecretUse, Web,
    Workload, WorkloadRules,
};

use crate::OwnerName;

/// The one version of the format. A change that old readers cannot read gets a new one.
pub const API_VERSION: &str = "easyenclave.dev/v1";

/// One state document of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// The fleet itself; exactly one.
    Fleet(Object<FleetSpec>),
    /// Somebody who may own deployments and reservations.
    Owner(Object<OwnerSpec>),
    /// What makes an agent trusted.
    AttestationPolicy(Object<PolicySpec>),
    /// How a datacenter makes agents.
    Provider(Object<ProviderSpec>),
    /// How many agents of a size a datacenter should have.
    CapacityTarget(Object<TargetSpec>),
    /// Agents kept for an owner.
    CapacityReservation(Object<ReservationSpec>),
    /// A workload and how many replicas of it should run.
    Deployment(Object<DeploymentSpec>),
    /// A value that only workloads of its owner are given.
    Secret(Object<SecretSpec>),
    /// A person's approval of a held plan.
    Approval(Object<ApprovalSpec>),
}

/// The kinds of document, as written in the field `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[expect(
    missing_docs,
    reason = "the variants are the kinds that `Document` describes"
)]
pub enum Kind {
    Fleet,
    Owner,
    AttestationPolicy,
    Provider,
    CapacityTarget,
    CapacityReservation,
    Deployment,
    Secret,
    Approval,
}

impl Kind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [Self; 9] = [
        Self::Fleet,
        Self::Owner,
        Self::AttestationPolicy,
        Self::Provider,
        Self::CapacityTarget,
        Self::CapacityReservation,
        Self::Deployment,
        Self::Secret,
        Self::Approval,
    ];

    /// The text of the field `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Owner => "Owner",
            Self::AttestationPolicy => "AttestationPolicy",
            Self::Provider => "Provider",
            Self::CapacityTarget => "CapacityTarget",
            Self::CapacityReservation => "CapacityReservation",
            Self::Deployment => "Deployment",
            Self::Secret => "Secret",
            Self::Approval => "Approval",
        }
    }

    /// Whether documents of this kind belong to an owner.
    pub fn is_owned(self) -> bool {
        matches!(
            self,
            Self::CapacityReservation | Self::Deployment | Self::Secret
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What identifies a document, wherever its file lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Its owner, for owned kinds.
    pub owner: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{} {owner}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// The frame that every document has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object<S> {
    /// Always `easyenclave.dev/v1`.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: Kind,
    /// Its name and, for owned kinds, its owner.
    pub metadata: Metadata,
    /// What should be.
    pub spec: S,
}

/// The format's version, a single accepted text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
pub enum ApiVersion {
    /// `easyenclave.dev/v1`.
    #[serde(rename = "easyenclave.dev/v1")]
    V1,
}

/// A document's name and owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name: 1 to 40 of a-z, 0-9 and '-'.
    #[cfg_attr(
        feature = "documents",
        schemars(length(max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Who owns it; required for CapacityReservation, Deployment and Secret, refused elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
}

//! Kind Fleet: one per state repository; budgets, breaker and timing.

#[cfg(feature = "documents")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiSpec, SecretsSpec, Span, TunnelSpec, WorkloadRules};

/// What holds for the whole fleet. Its id is the document's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// Where and how often status is written.
    #[serde(default)]
    pub status: StatusSpec,
    /// How many removals one pass may make without a person's approval.
    #[serde(default)]
    pub breaker: Breaker,
    /// Deadlines that hold fleet-wide.
    #[serde(default)]
    pub timing: Timing,
    /// Where collateral comes from.
    #[serde(default)]
    pub collateral: CollateralSpec,
    /// How much evidence the status branch keeps.
    #[serde(default)]
    pub evidence: EvidenceSpec,
    /// How the deploy API knows its callers.
    #[serde(default, skip_serializing_if = "ApiSpec::is_usual")]
    pub api: ApiSpec,
    /// To whom secrets are encrypted.
    #[serde(default, skip_serializing_if = "SecretsSpec::is_empty")]
    pub secrets: SecretsSpec,
    /// How what runs is reached.
    #[serde(default, skip_serializing_if = "TunnelSpec::is_direct")]
    pub tunnel: TunnelSpec,
    /// What is asked of every Compose file.
    #[serde(default, skip_serializing_if = "WorkloadRules::is_usual")]
    pub workloads: WorkloadRules,
}

/// Where Intel's collateral comes from. It is signed, so these addresses are asked, never trusted; but they
/// learn which types of platform the fleet runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollateralSpec {
    /// Bases of Intel's service or of caches of it (PCCS), asked in this order.
    #[cfg_attr(feature = "documents", schemars(length(min = 1, max = 10)))]
    pub urls: Vec<String>,
}

impl Default for CollateralSpec {
    fn default() -> Self {
        Self {
            urls: vec!["https://api.trustedservices.intel.com".into()],
        }
    }
}

/// How much evidence the status branch keeps. A quote names its machine, so what is public is a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EvidenceSpec {
    /// How much is kept. When left out: all of what a simulated platform surely shows, the rest sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Who can open what is sealed: recipients of `age`, such as `age1…`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub auditors: Vec<String>,
}

impl EvidenceSpec {
    /// How much is to be kept of evidence that is surely simulated, or is not.
    pub fn keeps(&self, simulated: bool) -> Keep {
        let default = if simulated { Keep::Full } else { Keep::Sealed };
        self.keep.unwrap_or(default)
    }

    /// Whether evidence under such a root should be sealed, and nobody is named who could open it.
    pub fn lacks_auditors(&self, simulated: bool) -> bool {
        self.keeps(simulated) == Keep::Sealed && self.auditors.is_empty()
    }
}

/// How much evidence is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// Everything, readable by whoever reads the repository.
    Full,
    /// Quotes, logs and tokens are encrypted to the auditors.
    Sealed,
    /// Digests only: nobody can judge again. Of an unknown image, up to 40 lines of its event log are in plain all the
    /// same, among the fleet's `sightings`.
    Digest,
}

/// The status branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StatusSpec {
    /// The most pushes a minute, 1 to 600. GitHub advises six.
    #[cfg_attr(feature = "documents", schemars(range(min = 1, max = 600)))]
    pub pushes_per_minute: u32,
    /// Keys that may sign status commits, as in `authorized_keys`: `ssh-ed25519 AAAA… comment`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "documents", schemars(length(max = 20)))]
    pub signers: Vec<String>,
}

impl Default for StatusSpec {
    fn default() -> Self {
        Self {
            pushes_per_minute: 6,
            signers: Vec::new(),
        }
    }
}

/// Removing more than this in one pass is held until a person approves the plan's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Breaker {
    /// So many removals from a pool never trip it.
    pub max_removals: u32,
    /// Percent of a pool, 0 to 100, that may go beyond that.
    #[cfg_attr(feature = "documents", schemars(range(max = 100)))]
    pub max_percent: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_removals: 1,
            max_percent: 25,
        }
    }
}

/// Deadlines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timing {
    /// An agent that is silent for so long counts as lost.
    pub lost_after: Span,
    /// A launch that no worker has claimed by then says so.
    pub claim_within: Span,
    /// A claimed launch whose machine has not been started by then has failed.
    pub make_within: Span,
    /// A machine from inside which nothing was heard by then has failed.
    pub boot_within: Span,
    /// A machine that has booted and whose agent has not registered by then has failed.
    pub register_within: Span,
    /// A workload that is not ready by then has failed to start.
    pub ready_within: Span,
    /// A machine that belongs to nothing goes after so long, unless its owner turns up; at least `lostAfter`. 30s when left
    /// out, or `lostAfter` where that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphan_after: Option<Span>,
    /// A worker that is silent for so long counts as lost: others may take over what it had claimed.
    pub worker_lost_after: Span,
}

impl Timing {
    /// How long a machine that belongs to nothing may stay: as long as an agent may be late, and so for as long as the
    /// agent of such a machine may be about to register again.
    pub fn orphan_after(&self) -> Span {
        let least = Span::from_secs(30).max(self.lost_after);
        self.orphan_after.unwrap_or(least)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lost_after: Span::from_secs(30),
            claim_within: Span::from_secs(60),
            make_within: Span::from_secs(300),
            boot_within: Span::from_secs(300),
            register_within: Span::from_secs(600),
            ready_within: Span::from_secs(300),
            orphan_after: None,
            worker_lost_after: Span::from_secs(600),
        }
    }
}

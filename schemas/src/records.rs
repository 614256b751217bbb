//! What the reconciler's store holds: agents and orders, as JSON. Desired state is never in it.
//! A record is the durable intent behind an effect: it is written before the effect is tried.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::documents::{Health, Runtime, SecretUse, Workload};
use crate::evidence::{RootKeyId, Verdict};
use crate::wire::known;
use crate::{
    AgentId, Datacenter, DeploymentId, Digest, FailureCause, Generation, Hostname, NodeSize,
    OrderId, PolicyName, ProviderName, Revert, Shape, Spot, StageTimes, TargetName, Timestamp,
    WorkerId, Zone,
};

/// What is in force: a commit, and what differs from its files. It names versions that are in Git and
/// holds none, so a restart goes on from it, and who loses it loses no desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForceRecord {
    /// The commit, 40 hex digits.
    pub commit: String,
    /// Paths where not the file of the commit is in force: the id of the version that is, 40 hex digits,
    /// or nothing. A path that the commit does not have is one that may have moved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub besides: BTreeMap<String, Option<String>>,
    /// Paths of documents that are in force with another version of the file beside them than the commit's: its id, 40 hex
    /// digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attached: BTreeMap<String, String>,
    /// Files of the commit that lie where they count for nothing and came since all that was in force could be read: each may
    /// be a document that was moved there. Who did not know of this field kept none: then every such file may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<BTreeSet<String>>,
}

/// An agent that registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRecord {
    /// Its id.
    pub agent: AgentId,
    /// Its target.
    pub target: TargetName,
    /// Its slot in the target.
    pub slot: u32,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Its size.
    pub size: NodeSize,
    /// Who made its machine.
    pub provider: ProviderName,
    /// The worker that made its machine; only this worker's listing can prove it gone.
    pub worker: WorkerId,
    /// Its Ed25519 key, 64 hex digits.
    pub public_key: String,
    /// Where its API answered last.
    pub address: String,
    /// Its boot.
    pub boot_id: String,
    /// Its version.
    pub version: String,
    /// What it can run.
    #[serde(
        default = "Runtime::usual",
        deserialize_with = "known::list",
        skip_serializing_if = "Runtime::is_usual"
    )]
    pub runtimes: Vec<Runtime>,
    /// When it registered.
    pub registered_at: Timestamp,
    /// The newest verdict, or why there is none.
    pub trust: TrustRecord,
    /// The digest of the record of that judgement, once one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// The number of the last instruction.
    pub generation: Generation,
    /// What that instruction says should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<AssignmentRecord>,
    /// When it was decided that nothing should run any more; none while something should, and before anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,
    /// Why it is out of placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<QuarantineRecord>,
    /// The deployment that is published on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed: Option<DeploymentId>,
    /// The name of that deployment, if it is to lead to this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
}

/// What verification said last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustRecord {
    /// Accepted.
    Accepted(Box<Verdict>),
    /// Refused under the policy of then.
    Refused {
        /// The reason code.
        code: String,
        /// The reason in words.
        message: String,
        /// The digest of the policy that refused it.
        policy: Digest,
        /// When the evidence was shown; long ago in records of before.
        #[serde(default)]
        shown_at: Timestamp,
        /// The root that vouches for the platform; none where that was not seen, as in records of before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust_root: Option<RootKeyId>,
    },
}

impl TrustRecord {
    /// When the evidence behind it was shown.
    pub fn shown_at(&self) -> Timestamp {
        match self {
            Self::Accepted(verdict) => verdict.accepted_at,
            Self::Refused { shown_at, .. } => *shown_at,
        }
    }

    /// The root that vouches for the platform, where it was seen.
    pub fn trust_root(&self) -> Option<RootKeyId> {
        match self {
            Self::Accepted(verdict) => Some(verdict.trust_root),
            Self::Refused { trust_root, .. } => *trust_root,
        }
    }
}

/// Why an agent is out of placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QuarantineRecord {
    /// Its trust ran out.
    TrustLapsed,
    /// Its evidence is refused.
    Refused,
}

/// A whole assignment: enough to make the call again after a crash, without the state repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentRecord {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version.
    pub digest: Digest,
    /// What runs.
    pub workload: Workload,
    /// How to tell that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The secrets that it is given, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// The version of those secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_digest: Option<Digest>,
    /// When it was decided.
    pub since: Timestamp,
}

/// What a deployment's roll-outs came to. It names no version that was never wanted: who loses it loses the way back
/// to a healthy version, and nothing of what should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The last version that was known to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<HealthyRecord>,
    /// What was taken back, for as long as it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<Revert>,
}

/// A version that was healthy: enough to run it again, without the state repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthyRecord {
    /// The version.
    pub digest: Digest,
    /// What runs.
    pub workload: Workload,
    /// How to tell that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The secrets that it is given, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// The version of those secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_digest: Option<Digest>,
    /// When it was found healthy, in whole seconds.
    pub since: Timestamp,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderRecord {
    /// Its id.
    pub order: OrderId,
    /// Where.
    pub datacenter: Datacenter,
    /// The provider that serves it.
    pub provider: ProviderName,
    /// Only this worker may claim it; any worker of the provider when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// What it asks for.
    pub work: WorkRecord,
    /// Where it stands.
    pub state: OrderPhase,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Who holds it or held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimRecord>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed; not known of records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The end of what its machine has put out, at most [`crate::wire::CONSOLE`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// When it reached its stages.
    #[serde(default, skip_serializing_if = "StageTimes::is_empty")]
    pub times: StageTimes,
    /// It ended while a worker held it, and that worker has not said yet that nothing of its machine is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unaccounted: bool,
}

impl OrderRecord {
    /// Where its machine is to be made, if it asks for one.
    pub fn spot(&self) -> Option<Spot> {
        let WorkRecord::Launch { zone, shape, .. } = &self.work else {
            return None;
        };
        Some(Spot {
            provider: self.provider.clone(),
            datacenter: self.datacenter.clone(),
            zone: zone.clone(),
            shape: shape.clone(),
        })
    }
}

/// What an order asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkRecord {
    /// A machine with an agent.
    #[serde(rename_all = "camelCase")]
    Launch {
        /// The target.
        target: TargetName,
        /// The slot.
        slot: u32,
        /// Counts the orders of the slot.
        generation: u64,
        /// Failed orders of the slot just before this one.
        failures: u32,
        /// The size.
        size: NodeSize,
        /// The policy that the agent must satisfy.
        policy: PolicyName,
        /// The provider's zone, where it has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<Zone>,
        /// The provider's own kind of machine, where it has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shape: Option<Shape>,
    },
    /// The end of a machine.
    #[serde(rename_all = "camelCase")]
    Retire {
        /// The agent; its machine carries the launch order's id.
        agent: AgentId,
        /// Why.
        reason: String,
    },
}

/// Where an order stands. `open → claimed → provisioning → fulfilled | failed | cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrderPhase {
    /// Nobody has claimed it.
    Open,
    /// A worker holds it.
    Claimed,
    /// A worker is making the machine.
    Provisioning,
    /// The agent registered and was accepted. A retire order that is done is forgotten.
    Fulfilled,
    /// It did not work; a replacement is a new order.
    Failed(Timestamp),
    /// It was withdrawn.
    Cancelled,
}

impl OrderPhase {
    /// Whether something may still come of it.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Open | Self::Claimed | Self::Provisioning)
    }

    /// Whether a worker holds it.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Claimed | Self::Provisioning)
    }

    /// The word that users of the HTTP API know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Claimed => "claimed",
            Self::Provisioning => "provisioning",
            Self::Fulfilled => "fulfilled",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who holds an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRecord {
    /// The worker.
    pub worker: WorkerId,
    /// Counts the claims of this order by different holders.
    pub fence: u64,
    /// The claim lapses then.
    pub expires_at: Timestamp,
}

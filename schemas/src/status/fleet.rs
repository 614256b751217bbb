//! `fleet.yaml`: the fleet as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Condition, Sighting};
use crate::{
    AgentId, Datacenter, Digest, FailureCause, FleetId, Hostname, OrderId, PolicyName,
    ProviderName, Spot, TargetName, Timestamp,
};

/// The fleet, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// The fleet.
    pub fleet: FleetId,
    /// The newest commit of the state repository that was considered.
    pub desired_commit: String,
    /// The commit whose documents are in force; differs when the newest could not be read at all.
    pub effective_commit: String,
    /// The digest of the plan made from it and from what this branch shows.
    pub plan_digest: Digest,
    /// How much there is of everything.
    pub counts: Counts,
    /// Removals that a person must approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldStatus>,
    /// Approvals in force that have had their occasion and approve nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spent_approvals: Vec<SpentApproval>,
    /// Requests that were refused lately, newest last, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Measurements that no policy knows, seen on trusted platforms, oldest first, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<Sighting>,
    /// Machines that belong to no agent and no order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
    /// What is known of these machines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unowned: BTreeMap<OrderId, UnownedStatus>,
    /// Where no worker has listed its machines since the reconciler started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<UnheardStatus>,
    /// Where machines cannot be had for now, sorted by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<ShortageStatus>,
    /// Where the names of deployments lead; missing where none has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fronts: Option<FrontsStatus>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// Where the names of deployments lead, and to whom they may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontsStatus {
    /// Whether all names were listed since the reconciler started.
    pub listed: bool,
    /// The agent that each name leads to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leads: BTreeMap<Hostname, AgentId>,
    /// The agent that each name was decided to lead to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decided: BTreeMap<Hostname, AgentId>,
    /// Whether the way to each agent that is published under a name is open, where that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub open: BTreeMap<AgentId, bool>,
}

/// A machine that belongs to no agent and no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnownedStatus {
    /// The target of the order that made it, when that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Who made it.
    pub provider: ProviderName,
    /// The policy of its target, when that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Its slot in that target, when its agent may register again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Since when it has been listed without an owner, in whole seconds.
    pub since: Timestamp,
    /// Its agent asked to be taken in a moment ago and could not be judged, by no fault of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unjudged: bool,
}

/// Where machines cannot be had for now. Nothing is launched there before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShortageStatus {
    /// The place.
    pub spot: Spot,
    /// Why launches failed there.
    pub cause: FailureCause,
    /// So many failed in a row.
    pub failures: u32,
    /// When it is tried again, in whole seconds.
    pub until: Timestamp,
}

/// Where no worker has listed its machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnheardStatus {
    /// The provider.
    pub provider: ProviderName,
    /// The datacenter.
    pub datacenter: Datacenter,
}

/// How much there is of everything. Simulated and real agents are never one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Deployments that are wanted.
    pub deployments: u32,
    /// Those that run as wanted.
    pub deployments_running: u32,
    /// Replicas that are ready.
    pub replicas_ready: u32,
    /// Agents with a fresh verdict under a real trust root.
    pub agents_attested: u32,
    /// Agents with a fresh verdict under a simulated root.
    pub agents_simulated: u32,
    /// Other agents.
    pub agents_untrusted: u32,
    /// Orders under way.
    pub orders_pending: u32,
    /// Rejected documents.
    pub problems: u32,
}

/// Removals that are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// What a person approves.
    pub digest: Digest,
    /// Why they are held.
    pub reason: String,
    /// The removals, one line each, at most 200 of them.
    pub actions: Vec<String>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// An approval that is over: its removals are not held any more, done or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpentApproval {
    /// What was approved.
    pub plan_digest: Digest,
    /// The commit that the approval names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// A refused request that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// A stable code.
    pub code: String,
    /// The order or agent that it was about, as far as the request said.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// When it first happened, in whole seconds.
    pub first_at: Timestamp,
}

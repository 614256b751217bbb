//! What is known of the world. Each fact is present, absent (proved) or unknown, and unknown is never
//! taken for absent.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{
    AgentId, Datacenter, DeploymentId, Digest, FailureCause, Generation, Hostname, NodeSize,
    OrderId, PolicyName, ProviderName, Revert, Spot, StageTimes, TargetName, Timestamp,
};

use crate::Approval;

/// The world as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every agent that registered and is not yet proved retired.
    pub agents: BTreeMap<AgentId, Agent>,
    /// Launch orders: all that are not ended, and the newest of each slot.
    pub launches: BTreeMap<OrderId, LaunchOrder>,
    /// Retire orders that are not yet confirmed, by the agent or unit that they remove.
    pub retires: BTreeMap<AgentId, RetireOrder>,
    /// Machines in a worker's complete listing that belong to no agent and to no order that is
    /// still going on. They carry this fleet's label.
    pub orphans: BTreeMap<OrderId, Orphan>,
    /// Agents that are heard and whose machines their workers do not list. One of the two is wrong, so nothing is proved.
    pub unlisted: BTreeSet<AgentId>,
    /// Approvals that have had their occasion.
    pub spent: BTreeSet<Approval>,
    /// Where no worker has listed its machines since the reconciler started: what is there is unknown.
    pub unheard: BTreeSet<(ProviderName, Datacenter)>,
    /// Where machines cannot be had for now.
    pub shortages: BTreeMap<Spot, Shortage>,
    /// What is recorded of the roll-outs of deployments.
    pub rollouts: BTreeMap<DeploymentId, RolloutFact>,
    /// Where the names of deployments lead.
    pub fronts: Fronts,
}

/// Where the names of deployments lead, and to whom they may. Nothing of it is known where no deployment has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fronts {
    /// Whether all names were listed since the reconciler started.
    pub listed: bool,
    /// The agent of ours that each name leads to.
    pub leads: BTreeMap<Hostname, AgentId>,
    /// The agent that each name was decided to lead to.
    pub decided: BTreeMap<Hostname, AgentId>,
    /// Whether the way to a published agent is open; missing where that is not known.
    pub open: BTreeMap<AgentId, bool>,
}

/// What is recorded of a deployment's roll-outs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutFact {
    /// The version that all its replicas were healthy with last, when what it is can still be said to an agent.
    pub healthy: Option<Digest>,
    /// What an agent needs in order to run that; where it is not known, what the wanted version needs.
    pub runtime: Option<Runtime>,
    /// What was given up for that.
    pub reverted: Option<Revert>,
}

/// Why machines cannot be had at a spot for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Why launches failed there.
    pub cause: FailureCause,
    /// So many failed in a row.
    pub failures: u32,
    /// When it is tried again.
    pub until: Timestamp,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The target that it was launched for.
    pub target: TargetName,
    /// Its slot in the target.
    pub slot: u32,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Its size.
    pub size: NodeSize,
    /// What it says that it can run.
    pub runtimes: BTreeSet<Runtime>,
    /// Whether it is there.
    pub liveness: Liveness,
    /// What verification says of it under its target's policy of now.
    pub trust: Trust,
    /// When the evidence that was judged last was shown.
    pub attested: Option<Timestamp>,
    /// Whether fresh evidence may change that it is refused or cannot be judged.
    pub remedy: Remedy,
    /// When it was last asked for fresh evidence and has not answered yet.
    pub challenged: Option<Timestamp>,
    /// Why it is out of placement and exposure, if it is.
    pub quarantined: Option<Quarantine>,
    /// The generation of the last instruction that was decided for it.
    pub generation: Generation,
    /// What that instruction says should run on it. It may not have arrived yet.
    pub assigned: Option<Assigned>,
    /// Since when nothing is to run on it; none while something is, and where it is not known.
    pub idle_since: Option<Timestamp>,
    /// What the agent says runs on it.
    pub reported: Reported,
    /// What is published of it.
    pub exposed: Exposure,
}

/// Whether an agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Heard of within its heartbeat's time: present.
    Heard,
    /// Not heard of since then: unknown. Past the fleet's `lost_after` it counts as lost.
    Silent(Timestamp),
    /// A complete listing of its provider, made after it was launched, has it as dead, or does not hold it and it is silent:
    /// absent.
    Gone,
}

/// What verification says of an agent's evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Accepted under the target's policy until then.
    Accepted(Timestamp),
    /// Refused, or accepted once and refused under the policy of now.
    Refused,
    /// It could not be judged: a verifier is down, or the policy cannot be read.
    Unknown,
}

/// What may change that an agent's evidence is refused or cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Fresh evidence of the agent.
    FreshEvidence,
    /// Nothing that the agent could show: another policy, another machine, or a judgement that is still to come.
    NotItsOwn,
}

/// Why an agent is out of placement and exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quarantine {
    /// Its trust ran out.
    TrustLapsed,
    /// Its evidence is refused.
    Refused,
}

/// What should run on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version, by its digest.
    pub workload: Digest,
    /// When it was decided.
    pub since: Timestamp,
}

/// What an agent says runs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// Nothing was heard since the reconciler started.
    Unknown,
    /// Nothing runs; the agent has taken in this generation.
    Idle(Generation),
    /// A workload is there.
    Running(Replica),
}

/// A workload as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The generation of the instruction that it follows.
    pub generation: Generation,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version.
    pub workload: Digest,
    /// Whether its health probe is content, and what runs is what should.
    pub ready: bool,
    /// The version that serves now, of an agent that says so and takes it back before it changes anything: this one, or the
    /// one before it while what this one needs is fetched.
    pub serving: Option<Digest>,
    /// Since when it has been ready without a break, where it matters and is known: not before the reconciler started.
    pub ready_since: Option<Timestamp>,
    /// Since when it has failed by its own fault without a break, where it matters and is known: not before the reconciler
    /// started. One that ends time and again fails, even while it is ready.
    pub failing_since: Option<Timestamp>,
    /// Why it is not ready, if it is not and its agent can tell.
    pub cause: Option<WorkloadCause>,
}

/// What is published of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing.
    Hidden,
    /// This deployment.
    Exposed(DeploymentId),
}

/// A launch order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOrder {
    /// The target.
    pub target: TargetName,
    /// The slot of the target that its agent fills.
    pub slot: u32,
    /// Who is to make its machine.
    pub provider: ProviderName,
    /// Where it is to be made.
    pub datacenter: Datacenter,
    /// Counts the orders of this slot.
    pub generation: u64,
    /// How many orders of this slot failed in a row just before this one.
    pub failures: u32,
    /// Where it stands.
    pub state: OrderState,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it reached its stages.
    pub times: StageTimes,
    /// Why it failed, if it did and that is known.
    pub cause: Option<FailureCause>,
    /// It ended while a worker held it, and its machine may still be there.
    pub unaccounted: bool,
}

/// Where a launch order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Nobody has claimed it.
    Open,
    /// A worker holds it.
    Claimed,
    /// A worker is making the machine.
    Provisioning,
    /// Its agent registered and was accepted.
    Fulfilled,
    /// It failed at that time.
    Failed(Timestamp),
    /// It was withdrawn.
    Cancelled,
}

impl OrderState {
    /// Whether an agent may still come of it.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Open | Self::Claimed | Self::Provisioning)
    }

    /// Whether it ended without an agent.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Failed(_) | Self::Cancelled)
    }
}

/// An order to destroy an agent's machine, not yet confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetireOrder {
    /// When it was opened.
    pub opened: Timestamp,
}

/// A machine that belongs to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The target of the order that made it, when that is still known.
    pub target: Option<TargetName>,
    /// Where it runs.
    pub datacenter: Datacenter,
    /// Who made it.
    pub provider: ProviderName,
    /// Its slot in that target, when it works and no record names the slot: what was known of it is lost, and its agent
    /// may register again.
    pub slot: Option<u32>,
    /// The policy of its target, when that is still known.
    pub policy: Option<PolicyName>,
    /// Since when it has been listed without an owner.
    pub since: Timestamp,
    /// Its agent asked to be taken in a moment ago and could not be judged, by no fault of its own.
    pub unjudged: bool,
}

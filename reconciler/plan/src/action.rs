//! What the planner answers: actions, held removals and waits, as plain values that print one line each.

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{
    AgentId, Datacenter, DeploymentId, Digest, FailureCause, Generation, Hostname, NodeSize,
    OrderId, OwnerName, PolicyName, ProviderName, ReservationId, Shape, TargetName, Timestamp,
    Zone,
};

use crate::Quarantine;

/// What to do now, in the order of the buckets, and why other things are not done yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Complete instructions, sorted by bucket, then by name.
    pub actions: Vec<Action>,
    /// Removals that a person must approve.
    pub held: Vec<Hold>,
    /// Removals that a person has approved; they are among the actions as soon as they can be done.
    pub approved: Vec<Hold>,
    /// Why something that is not where it should be is not moving.
    pub waits: Vec<Wait>,
}

/// One complete instruction. The order of the variants is the order of execution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the fields are named for the types that describe them"
)]
pub enum Action {
    /// Take a deployment's address on an agent out of publication.
    Unexpose {
        agent: AgentId,
        deployment: DeploymentId,
    },
    /// A name is not to lead to an agent any more.
    Unpoint { agent: AgentId, hostname: Hostname },
    /// Take an agent out of placement and exposure.
    Quarantine { agent: AgentId, reason: Quarantine },
    /// Put an agent back.
    Release { agent: AgentId },
    /// Note that a version has proved good on all replicas: the one to go back to.
    Settle {
        deployment: DeploymentId,
        workload: Digest,
    },
    /// Give an attempt up, and bring the replicas to the version that was healthy last. It stays so until the document
    /// says otherwise.
    Revert {
        deployment: DeploymentId,
        attempt: Digest,
        from: Digest,
        to: Digest,
        cause: WorkloadCause,
    },
    /// Stop what runs on an agent. The agent refuses an older generation.
    Unassign {
        agent: AgentId,
        generation: Generation,
        deployment: DeploymentId,
    },
    /// Withdraw an order that nobody fulfilled.
    Cancel {
        order: OrderId,
        reason: CancelReason,
    },
    /// Open an order to destroy an agent's machine.
    Retire {
        agent: AgentId,
        datacenter: Datacenter,
        reason: RetireReason,
    },
    /// Ask an agent for fresh evidence.
    Challenge { agent: AgentId },
    /// Run a workload on an agent.
    Assign {
        agent: AgentId,
        generation: Generation,
        deployment: DeploymentId,
        workload: Digest,
    },
    /// Open an order to make an agent.
    Launch {
        order: OrderId,
        target: TargetName,
        slot: u32,
        generation: u64,
        failures: u32,
        datacenter: Datacenter,
        provider: ProviderName,
        zone: Option<Zone>,
        shape: Option<Shape>,
        size: NodeSize,
        policy: PolicyName,
    },
    /// Publish a deployment's address on an agent.
    Expose {
        agent: AgentId,
        deployment: DeploymentId,
    },
    /// The name of a deployment is to lead to an agent, wherever it leads now.
    Point {
        agent: AgentId,
        deployment: DeploymentId,
        hostname: Hostname,
    },
}

impl Action {
    /// The deployment that it is about, if it is about one.
    pub fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::Unexpose { deployment, .. }
            | Self::Settle { deployment, .. }
            | Self::Revert { deployment, .. }
            | Self::Unassign { deployment, .. }
            | Self::Assign { deployment, .. }
            | Self::Expose { deployment, .. }
            | Self::Point { deployment, .. } => Some(deployment),
            Self::Unpoint { .. }
            | Self::Quarantine { .. }
            | Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Retire { .. }
            | Self::Challenge { .. }
            | Self::Launch { .. } => None,
        }
    }
}

/// Why an order is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CancelReason {
    /// The agent is not needed any more.
    Surplus,
    /// It did not come as far as it should in time: this is the stage that it did not reach.
    Expired(FailureCause),
    /// Its target is gone.
    TargetRemoved,
    /// Nobody has claimed it, and its place is none of its target's any more.
    PlaceRemoved,
}

/// Why an agent's machine is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetireReason {
    /// Its machine is gone; what is left of it is cleaned up.
    Gone,
    /// It was silent past the deadline.
    Lost,
    /// It is idle and not needed.
    Surplus,
    /// Its target is gone.
    TargetRemoved,
    /// Its evidence is refused.
    Refused,
    /// It is to go, was told to stop, and has not done so in its time.
    NotStopped,
    /// A machine that belongs to no agent and no order.
    Orphan,
}

/// Removals that were planned and are held back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// What a person approves: a digest of exactly these actions.
    pub digest: Digest,
    /// Why they are held.
    pub reason: HoldReason,
    /// The actions, sorted.
    pub actions: Vec<Action>,
}

/// Why removals are held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are named for what they count")]
pub enum HoldReason {
    /// Too much of one pool would go at once.
    Pool {
        target: TargetName,
        removed: u32,
        of: u32,
    },
    /// An owner would be left without a ready replica.
    Owner { owner: OwnerName, removed: u32 },
    /// Many machines belong to nothing that is known; rather, what is known of them was lost.
    Orphans { removed: u32, of: u32 },
}

/// What a wait is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the thing that it names")]
pub enum Subject {
    Deployment(DeploymentId),
    Reservation(ReservationId),
    Target(TargetName),
    Agent(AgentId),
    Order(OrderId),
}

impl Subject {
    /// Whose it is, if it is one owner's.
    pub fn owner(&self) -> Option<&OwnerName> {
        match self {
            Self::Deployment(id) => Some(&id.owner),
            Self::Reservation(id) => Some(&id.owner),
            Self::Target(_) | Self::Agent(_) | Self::Order(_) => None,
        }
    }
}

/// Why something that is not where it should be is not moving.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// What it is about.
    pub subject: Subject,
    /// What it waits for.
    pub reason: WaitReason,
    /// When that changes by itself at the latest, if that is known.
    pub until: Option<Timestamp>,
}

/// What something waits for. The planner's rules extend this list; each has a stable code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the fields are named for the types that describe them"
)]
pub enum WaitReason {
    /// The agent is silent; it counts as lost at the wait's end.
    AgentSilent,
    /// Its worker does not list its machine, and it is heard all the same.
    AgentUnlisted,
    /// The agent has not reported since the reconciler started.
    AgentNotHeardYet,
    /// The agent has been told and has not confirmed yet.
    InstructionUnderWay,
    /// The replica has started and is not ready.
    ReplicaNotReady { agent: AgentId },
    /// The replica is not ready, and the time that the fleet or its roll-out allows for that is over.
    ReplicaFailing {
        agent: AgentId,
        cause: Option<WorkloadCause>,
    },
    /// The replica is not ready because of something that no other version would change.
    DependencyDown {
        agent: AgentId,
        cause: WorkloadCause,
    },
    /// The replica is to leave its agent, once its replacement is ready.
    Moving,
    /// The replica is not as wanted and cannot be changed now; its agent's own wait says why.
    ReplicaStays { agent: AgentId },
    /// The roll-out may not take more replicas away.
    MaxUnavailable { unavailable: u32, allowed: u32 },
    /// The first replicas of a version have to prove good before others get it.
    Canary { replicas: u32, of: u32 },
    /// The replicas of this wave have to prove good before others get the version.
    Wave { wave: u32, replicas: u32, of: u32 },
    /// So many replicas have the version and are ready, and have not been so for long enough. The first of them has at
    /// the wait's end.
    MinHealthy { replicas: u32, of: u32 },
    /// Where names lead has not been listed since the reconciler started.
    NamesUnlisted { hostname: Hostname },
    /// No replica is published on an agent whose way is open, for the name to lead to.
    NoFront { hostname: Hostname },
    /// The name is to lead to the agent, and does not yet.
    NameNotThere { hostname: Hostname, agent: AgentId },
    /// The name leads to the agent, and whether its way is open is not known yet.
    FrontUnknown { hostname: Hostname, agent: AgentId },
    /// The name leads to the agent, whose way is not open now.
    FrontClosed { hostname: Hostname, agent: AgentId },
    /// The replica is not as wanted, and the name leads to it until it can lead to another.
    FrontStays { hostname: Hostname, agent: AgentId },
    /// Somebody has stopped the roll-out for a while.
    RollOutPaused { owner: String, reason: String },
    /// The version was given up, and the one before it is in its place until the document changes.
    Reverted {
        workload: Digest,
        attempt: u32,
        cause: WorkloadCause,
    },
    /// The version fails, and no version is known that was healthy.
    NothingToRevertTo { cause: WorkloadCause },
    /// No free agent; an order is under way.
    CapacityOrdered { missing: u32 },
    /// No free agent, and every admitted target is at its maximum.
    CapacityExhausted { missing: u32 },
    /// No target has agents of this size and place.
    NoTarget,
    /// Nothing that is free, or that an admitted target makes, runs what it needs.
    RuntimeMissing { missing: u32, runtime: Runtime },
    /// The agent that the deployment names is not there, cannot take it, or has something else.
    AgentNotFree { agent: AgentId },
    /// Free agents are kept for others.
    ReservedForOthers { missing: u32 },
    /// The reservation is as it should be and ends soon; so many agents are reserved until then.
    ReservationEnds { target: TargetName, count: u32 },
    /// Free agents are there, but they cannot take work now: unheard, unjudged or still stopping.
    FreeAgentsUnusable { missing: u32 },
    /// More agents than the maximum are there, and all of those are in use.
    AboveMaximum { by: u32 },
    /// The owner's quota is used up.
    QuotaExceeded { owner: OwnerName, quota: u32 },
    /// An order is not claimed, or its agent has not registered yet.
    OrderPending,
    /// No worker has claimed the order in time. It stays open: whoever comes may take it.
    OrderUnclaimed {
        provider: ProviderName,
        datacenter: Datacenter,
    },
    /// The order is over, and its worker has not said that nothing of the machine is left.
    MachineUnaccounted,
    /// So many machines are there that no record knows, and whose agents may register again.
    AgentsMayReturn { missing: u32 },
    /// No worker has listed its machines since the reconciler started, so there may be some that are not known.
    WorkerNotHeardYet {
        provider: ProviderName,
        datacenter: Datacenter,
    },
    /// The last launches for this slot failed, the last of them for this cause, if that is known.
    LaunchBackoff {
        failures: u32,
        cause: Option<FailureCause>,
    },
    /// None of the target's places has room now.
    PlacesShort { places: u32, cause: FailureCause },
    /// The last launches for so many slots failed for one cause; one launch tries whether it is gone.
    LaunchesProbing { cause: FailureCause, slots: u32 },
    /// A removal is held until a person approves the digest.
    Held { digest: Digest },
    /// No document of it, or of what it belongs to, can be used, so nothing of it is touched.
    Frozen { why: String },
    /// The agent is out of placement and exposure.
    InQuarantine { reason: Quarantine },
    /// The agent is silent past the deadline, but so are others of its pool; it may be the network.
    OthersSilent { silent: u32, of: u32 },
    /// A machine without an owner goes, unless its owner turns up before the wait's end.
    OrphanUnconfirmed,
    /// The agent's evidence cannot be judged now.
    TrustUnknown,
    /// Fresh evidence has been asked for.
    AttestationUnderWay,
    /// The machine is being destroyed.
    RetireUnderWay,
    /// An idle agent goes when those that go before it have gone.
    RetirePaced,
    /// The agent is to go and was told to stop; its machine goes at the wait's end, stopped or not.
    Draining,
    /// A budget of the agent's target, by its place in the document, lets no more than so many go at a time.
    DisruptionBudget { budget: u32, most: u32 },
    /// An idle agent is not needed now, and goes when that has lasted until the wait's end.
    SurplusRecent,
}

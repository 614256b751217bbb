//! How plans read: one line each, the same in the command line, status and comments. Every field of an action is
//! in its line, because digests are taken over these lines.

use std::fmt::{self, Display, Formatter, Result};

use crate::{
    Action, CancelReason, Hold, HoldReason, Quarantine, RetireReason, Subject, Wait, WaitReason,
};

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Unexpose { agent, deployment } => write!(f, "unexpose {deployment} on {agent}"),
            Self::Quarantine { agent, reason } => write!(f, "quarantine {agent}: {reason}"),
            Self::Release { agent } => write!(f, "release {agent}"),
            Self::Unassign {
                agent,
                generation,
                deployment,
            } => write!(
                f,
                "unassign {deployment} from {agent} generation {generation}"
            ),
            Self::Cancel { order, reason } => write!(f, "cancel {order}: {reason}"),
            Self::Retire {
                agent,
                datacenter,
                reason,
            } => write!(f, "retire {agent} in {datacenter}: {reason}"),
            Self::Challenge { agent } => write!(f, "challenge {agent}"),
            Self::Assign {
                agent,
                generation,
                deployment,
                workload,
            } => write!(
                f,
                "assign {deployment} to {agent} generation {generation} workload {workload}"
            ),
            Self::Launch { .. } => launch(self, f),
            Self::Expose { agent, deployment } => write!(f, "expose {deployment} on {agent}"),
        }
    }
}

fn launch(action: &Action, f: &mut Formatter<'_>) -> Result {
    let Action::Launch {
        order,
        target,
        slot,
        generation,
        failures,
        datacenter,
        provider,
        zone,
        shape,
        size,
        policy,
    } = action
    else {
        return Ok(());
    };
    write!(
        f,
        "launch {order} for {target} slot {slot} generation {generation} failures {failures} \
         size {size} in {datacenter}"
    )?;
    // Only what there is, so that the lines of other providers, and their digests, are as they were.
    if let Some(zone) = zone {
        write!(f, " zone {zone}")?;
    }
    write!(f, " by {provider}")?;
    if let Some(shape) = shape {
        write!(f, " shape {shape}")?;
    }
    write!(f, " under {policy}")
}

impl Display for CancelReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Surplus => f.write_str("not needed"),
            Self::Expired(cause) => Display::fmt(cause, f),
            Self::TargetRemoved => f.write_str("its target is gone"),
            Self::PlaceRemoved => f.write_str("its target has no such place any more"),
        }
    }
}

impl Display for RetireReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Gone => "its machine is gone",
            Self::Lost => "silent past the deadline",
            Self::Surplus => "not needed",
            Self::TargetRemoved => "its target is gone",
            Self::Refused => "its evidence is refused",
            Self::NotStopped => "it has not stopped in time",
            Self::Orphan => "it belongs to nothing",
        })
    }
}

impl Display for Quarantine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::TrustLapsed => "its trust ran out",
            Self::Refused => "its evidence is refused",
        })
    }
}

impl Display for Hold {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "hold {}: {}", self.digest, self.reason)
    }
}

impl Display for HoldReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Pool {
                target,
                removed,
                of,
            } => {
                let agents = plural(*of, "agent");
                write!(f, "{removed} of {agents} of target {target} would go")
            }
            Self::Owner { owner, removed } => {
                let replicas = plural(*removed, "replica");
                write!(
                    f,
                    "{replicas} of owner {owner} would go and none would be ready"
                )
            }
            Self::Orphans { removed, of } => {
                let (machines, belong) = (plural(*of, "machine"), belongs(*removed));
                write!(f, "{removed} of {machines} {belong} to nothing")
            }
        }
    }
}

fn plural(count: u32, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

fn belongs(count: u32) -> &'static str {
    if count == 1 { "belongs" } else { "belong" }
}

impl Display for Subject {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Deployment(id) => write!(f, "deployment {id}"),
            Self::Reservation(id) => write!(f, "reservation {id}"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Order(id) => write!(f, "order {id}"),
        }
    }
}

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}: {}", self.subject, self.reason)?;
        match self.until {
            Some(until) => write!(f, " (until {})", until.trunc_secs()),
            None => Ok(()),
        }
    }
}

impl WaitReason {
    /// The stable code of the reason, for machines. A code never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AgentSilent => "AgentSilent",
            Self::AgentNotHeardYet => "AgentNotHeardYet",
            Self::InstructionUnderWay => "InstructionUnderWay",
            Self::ReplicaNotReady { .. } => "ReplicaNotReady",
            Self::ReplicaFailing { .. } => "ReplicaFailing",
            Self::Moving => "Moving",
            Self::ReplicaStays { .. } => "ReplicaStays",
            Self::MaxUnavailable { .. } => "MaxUnavailable",
            Self::CapacityOrdered { .. } => "CapacityOrdered",
            Self::CapacityExhausted { .. } => "CapacityExhausted",
            Self::NoTarget => "NoTarget",
            Self::ReservedForOthers { .. } => "ReservedForOthers",
            Self::ReservationEnds { .. } => "ReservationEnds",
            Self::FreeAgentsUnusable { .. } => "FreeAgentsUnusable",
            Self::AboveMaximum { .. } => "AboveMaximum",
            Self::QuotaExceeded { .. } => "QuotaExceeded",
            Self::OrderPending => "OrderPending",
            Self::OrderUnclaimed { .. } => "OrderUnclaimed",
            Self::MachineUnaccounted => "MachineUnaccounted",
            Self::AgentsMayReturn { .. } => "AgentsMayReturn",
            Self::WorkerNotHeardYet { .. } => "WorkerNotHeardYet",
            Self::LaunchBackoff { .. } => "LaunchBackoff",
            Self::PlacesShort { .. } => "PlacesShort",
            Self::LaunchesProbing { .. } => "LaunchesProbing",
            Self::Held { .. } => "Held",
            Self::Frozen => "Frozen",
            Self::InQuarantine { .. } => "InQuarantine",
            Self::OthersSilent { .. } => "OthersSilent",
            Self::OrphanUnconfirmed => "OrphanUnconfirmed",
            Self::TrustUnknown => "TrustUnknown",
            Self::AttestationUnderWay => "AttestationUnderWay",
            Self::RetireUnderWay => "RetireUnderWay",
            Self::RetirePaced => "RetirePaced",
            Self::Draining => "Draining",
            Self::DisruptionBudget { .. } => "DisruptionBudget",
            Self::SurplusRecent => "SurplusRecent",
        }
    }
}

impl Display for WaitReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentSilent => f.write_str("silent; it counts as lost at the end of this wait"),
            Self::AgentNotHeardYet => f.write_str("not heard of since the start"),
            Self::InstructionUnderWay => f.write_str("told, and has not confirmed yet"),
            Self::ReplicaNotReady { agent } => write!(f, "the replica on {agent} is not ready"),
            Self::ReplicaFailing { agent } => {
                write!(
                    f,
                    "the replica on {agent} is not ready and its time is over"
                )
            }
            Self::Moving => f.write_str("its replica moves when the replacement is ready"),
            Self::ReplicaStays { agent } => {
                write!(f, "the replica on {agent} cannot be changed now")
            }
            Self::MaxUnavailable {
                unavailable,
                allowed,
            } => write!(f, "replicas not serving: {unavailable}, allowed: {allowed}"),
            Self::QuotaExceeded { owner, quota } => {
                let agents = plural(*quota, "agent");
                write!(f, "the quota of {owner}, {agents}, is used up")
            }
            Self::Held { digest } => write!(f, "held until a person approves {digest}"),
            Self::Frozen => f.write_str("a document cannot be read, so it stays as it is"),
            Self::InQuarantine { reason } => write!(f, "in quarantine: {reason}"),
            Self::OthersSilent { silent, of } => {
                let (agents, are) = (
                    plural(*of, "agent"),
                    if *silent == 1 { "is" } else { "are" },
                );
                write!(f, "{silent} of {agents} of its pool or owner {are} silent")
            }
            Self::OrphanUnconfirmed => f.write_str("belongs to nothing; its owner may turn up"),
            Self::TrustUnknown => f.write_str("its evidence cannot be judged now"),
            Self::AttestationUnderWay => f.write_str("asked for fresh evidence"),
            Self::RetireUnderWay
            | Self::RetirePaced
            | Self::Draining
            | Self::DisruptionBudget { .. }
            | Self::SurplusRecent => departures(self, f),
            Self::OrderPending
            | Self::OrderUnclaimed { .. }
            | Self::MachineUnaccounted
            | Self::AgentsMayReturn { .. }
            | Self::WorkerNotHeardYet { .. }
            | Self::LaunchBackoff { .. }
            | Self::PlacesShort { .. }
            | Self::LaunchesProbing { .. } => launches(self, f),
            Self::CapacityOrdered { .. }
            | Self::CapacityExhausted { .. }
            | Self::NoTarget
            | Self::ReservedForOthers { .. }
            | Self::ReservationEnds { .. }
            | Self::FreeAgentsUnusable { .. }
            | Self::AboveMaximum { .. } => capacity(self, f),
        }
    }
}

fn departures(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::RetireUnderWay => f.write_str("the machine is being destroyed"),
        WaitReason::RetirePaced => f.write_str("goes when those before it have gone"),
        WaitReason::Draining => {
            f.write_str("told to stop; its machine goes at the end of this wait, stopped or not")
        }
        WaitReason::DisruptionBudget { budget, most: 0 } => {
            write!(f, "budget {budget} of its target lets none go now")
        }
        WaitReason::DisruptionBudget { budget, most } => {
            write!(f, "budget {budget} of its target lets {most} go at a time")
        }
        WaitReason::SurplusRecent => {
            f.write_str("not needed now; goes if that is still so at the end of this wait")
        }
        _ => Ok(()),
    }
}

fn launches(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::LaunchBackoff { failures, cause } => {
            write!(f, "launches failed in a row: {failures}")?;
            match cause {
                Some(cause) => write!(f, "; {cause}"),
                None => Ok(()),
            }
        }
        WaitReason::PlacesShort { places, cause } => {
            write!(f, "places without room now: {places}; {cause}")
        }
        WaitReason::LaunchesProbing { cause, slots } => write!(
            f,
            "slots whose last launch failed: {slots}; {cause}; one launch tries for all"
        ),
        WaitReason::OrderPending => f.write_str("its agent has not registered yet"),
        WaitReason::OrderUnclaimed {
            provider,
            datacenter,
        } => write!(f, "no worker of {provider} in {datacenter} has claimed it"),
        WaitReason::MachineUnaccounted => {
            f.write_str("over, and its worker has not said that its machine is gone")
        }
        WaitReason::AgentsMayReturn { missing } => write!(
            f,
            "agents missing: {missing}; machines are there whose agents may register again"
        ),
        WaitReason::WorkerNotHeardYet {
            provider,
            datacenter,
        } => write!(
            f,
            "no worker of {provider} in {datacenter} has listed its machines since the start"
        ),
        _ => Ok(()),
    }
}

fn capacity(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::CapacityOrdered { missing } => {
            write!(f, "agents missing: {missing}; ordered")
        }
        WaitReason::CapacityExhausted { missing } => {
            write!(f, "agents missing: {missing}; the maximum is reached")
        }
        WaitReason::ReservedForOthers { missing } => {
            write!(f, "agents missing: {missing}; the free ones are reserved")
        }
        WaitReason::ReservationEnds { target, count } => write!(
            f,
            "ends; agents of target {target} reserved until then: {count}; afterwards they serve anybody or go"
        ),
        WaitReason::FreeAgentsUnusable { missing } => {
            write!(
                f,
                "agents missing: {missing}; the free ones cannot take work now"
            )
        }
        WaitReason::AboveMaximum { by } => {
            write!(f, "agents above the maximum: {by}, all in use")
        }
        _ => f.write_str("no target has agents of this size and place"),
    }
}

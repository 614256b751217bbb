//! How waits read, and the stable code of each.

use std::fmt::{self, Display, Formatter, Result};

use super::plural;
use crate::WaitReason;

impl WaitReason {
    /// The stable code of the reason, for machines. A code never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AgentSilent => "AgentSilent",
            Self::AgentNotHeardYet => "AgentNotHeardYet",
            Self::AgentUnlisted => "AgentUnlisted",
            Self::InstructionUnderWay => "InstructionUnderWay",
            Self::ReplicaNotReady { .. } => "ReplicaNotReady",
            Self::ReplicaFailing { .. } => "ReplicaFailing",
            Self::Moving => "Moving",
            Self::ReplicaStays { .. } => "ReplicaStays",
            Self::MaxUnavailable { .. } => "MaxUnavailable",
            Self::CapacityOrdered { .. } => "CapacityOrdered",
            Self::CapacityExhausted { .. } => "CapacityExhausted",
            Self::DependencyDown { .. } => "DependencyDown",
            Self::Canary { .. } => "Canary",
            Self::Wave { .. } => "Wave",
            Self::MinHealthy { .. } => "MinHealthy",
            Self::RollOutPaused { .. } => "RollOutPaused",
            Self::NamesUnlisted { .. } => "NamesUnlisted",
            Self::NoFront { .. } => "NoFront",
            Self::NameNotThere { .. } => "NameNotThere",
            Self::FrontUnknown { .. } => "FrontUnknown",
            Self::FrontClosed { .. } => "FrontClosed",
            Self::FrontStays { .. } => "FrontStays",
            Self::Reverted { .. } => "Reverted",
            Self::NothingToRevertTo { .. } => "NothingToRevertTo",
            Self::NoTarget => "NoTarget",
            Self::RuntimeMissing { .. } => "RuntimeMissing",
            Self::AgentNotFree { .. } => "AgentNotFree",
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
            Self::Frozen { .. } => "Frozen",
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
            Self::AgentUnlisted => f.write_str("heard, and its worker does not list its machine"),
            Self::InstructionUnderWay => f.write_str("told, and has not confirmed yet"),
            Self::ReplicaNotReady { .. }
            | Self::ReplicaFailing { .. }
            | Self::DependencyDown { .. }
            | Self::Moving
            | Self::ReplicaStays { .. }
            | Self::MaxUnavailable { .. } => replicas(self, f),
            Self::Canary { .. }
            | Self::Wave { .. }
            | Self::MinHealthy { .. }
            | Self::RollOutPaused { .. }
            | Self::Reverted { .. }
            | Self::NothingToRevertTo { .. } => roll_outs(self, f),
            Self::NamesUnlisted { .. }
            | Self::NoFront { .. }
            | Self::NameNotThere { .. }
            | Self::FrontUnknown { .. }
            | Self::FrontClosed { .. }
            | Self::FrontStays { .. } => names(self, f),
            Self::Held { digest } => write!(f, "held until a person approves {digest}"),
            Self::Frozen { why } => write!(f, "kept as it is: {why}"),
            Self::InQuarantine { reason } => write!(f, "in quarantine: {reason}"),
            Self::OthersSilent { silent, of } => {
                let are = if *silent == 1 { "is" } else { "are" };
                let agents = plural(*of, "agent");
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
            | Self::RuntimeMissing { .. }
            | Self::AgentNotFree { .. }
            | Self::ReservedForOthers { .. }
            | Self::ReservationEnds { .. }
            | Self::FreeAgentsUnusable { .. }
            | Self::QuotaExceeded { .. }
            | Self::AboveMaximum { .. } => capacity(self, f),
        }
    }
}

fn replicas(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::ReplicaNotReady { agent } => write!(f, "the replica on {agent} is not ready"),
        WaitReason::ReplicaFailing { agent, cause } => {
            let text = "is not ready and its time is over";
            write!(f, "the replica on {agent} {text}")?;
            cause.map_or(Ok(()), |cause| write!(f, "; {cause}"))
        }
        WaitReason::DependencyDown { agent, cause } => {
            write!(f, "the replica on {agent} is not ready; {cause}")
        }
        WaitReason::Moving => f.write_str("its replica moves when the replacement is ready"),
        WaitReason::ReplicaStays { agent } => {
            write!(f, "the replica on {agent} cannot be changed now")
        }
        WaitReason::MaxUnavailable {
            unavailable,
            allowed,
        } => write!(f, "replicas not serving: {unavailable}, allowed: {allowed}"),
        _ => Ok(()),
    }
}

fn roll_outs(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::Canary { replicas, of } => write!(
            f,
            "the canary, {replicas} of {of}, has to prove good before others get the version"
        ),
        WaitReason::Wave { wave, replicas, of } => write!(
            f,
            "wave {wave}, {replicas} of {of}, has to prove good before others get the version"
        ),
        WaitReason::MinHealthy { replicas, of } => write!(
            f,
            "ready with the version, and not for long enough yet: {replicas} of {of}"
        ),
        WaitReason::RollOutPaused { owner, reason } => {
            write!(f, "the roll-out is paused by {owner}: {reason}")
        }
        WaitReason::Reverted {
            workload,
            attempt,
            cause,
        } => write!(
            f,
            "workload {workload} attempt {attempt} was given up: {cause}; the one before it stays until the document changes"
        ),
        WaitReason::NothingToRevertTo { cause } => {
            write!(
                f,
                "the version fails, {cause}, and none is known that was healthy"
            )
        }
        _ => Ok(()),
    }
}

fn names(reason: &WaitReason, f: &mut Formatter<'_>) -> Result {
    match reason {
        WaitReason::NamesUnlisted { hostname } => {
            write!(f, "where {hostname} leads was not listed since the start")
        }
        WaitReason::NoFront { hostname } => write!(
            f,
            "no replica is published and connected for {hostname} to lead to"
        ),
        WaitReason::NameNotThere { hostname, agent } => {
            write!(f, "{hostname} is to lead to {agent}, and does not yet")
        }
        WaitReason::FrontUnknown { hostname, agent } => write!(
            f,
            "{hostname} leads to {agent}, and whether that is connected is not known yet"
        ),
        WaitReason::FrontClosed { hostname, agent } => {
            write!(f, "{hostname} leads to {agent}, which is not connected")
        }
        WaitReason::FrontStays { hostname, agent } => write!(
            f,
            "the replica on {agent} stays as long as {hostname} leads to it"
        ),
        _ => Ok(()),
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
            "no worker of {provider} in {datacenter} has listed its machines since the start; one is started by \
             `easyenclave worker --provider {provider} --datacenter {datacenter}`, \
             with `--machines` where its document is of another kind than `process`"
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
        WaitReason::AgentNotFree { agent } => {
            write!(
                f,
                "{agent}, which it names, is not there or not free for it"
            )
        }
        WaitReason::RuntimeMissing { missing, runtime } => write!(
            f,
            "agents missing: {missing}; none that is free or can be launched runs {}",
            runtime.as_str()
        ),
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
        WaitReason::QuotaExceeded { owner, quota } => {
            let agents = plural(*quota, "agent");
            write!(f, "the quota of {owner}, {agents}, is used up")
        }
        WaitReason::AboveMaximum { by } => {
            write!(f, "agents above the maximum: {by}, all in use")
        }
        _ => f.write_str("no target has agents of this size and place"),
    }
}

//! The way back: a status read from Git is an observation that the planner takes.

use easyenclave_plan::{
    Agent, Assigned, Exposure, LaunchOrder, Liveness, Observed, OrderState, Quarantine, Remedy,
    Replica, Reported, RetireOrder, Trust,
};
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::status::{
    AgentStatus, LivenessStatus, OrderKind, OrderStatus, TrustStatus,
};
use easyenclave_schemas::wire::WorkloadState;

use super::Status;

/// What the planner would have observed when this status was written. Machines that belong to
/// nothing are left out: a preview of a change has no say in them.
pub fn observed(status: &Status) -> Observed {
    let mut observed = Observed::default();
    for agent in status.agents.values() {
        observed
            .agents
            .insert(agent.agent.clone(), self::agent(agent));
    }
    for order in status.orders.values() {
        match &order.work {
            OrderKind::Launch {
                target,
                slot,
                generation,
                failures,
            } => {
                let launch = LaunchOrder {
                    target: target.clone(),
                    slot: *slot,
                    generation: *generation,
                    failures: *failures,
                    state: state(order),
                    opened: order.opened_at,
                };
                observed.launches.insert(order.order.clone(), launch);
            }
            OrderKind::Retire { agent, .. } => {
                let retire = RetireOrder {
                    opened: order.opened_at,
                };
                observed.retires.insert(agent.clone(), retire);
            }
        }
    }
    observed
}

fn agent(status: &AgentStatus) -> Agent {
    Agent {
        target: status.target.clone(),
        slot: status.slot,
        datacenter: status.datacenter.clone(),
        size: status.node_size.clone(),
        liveness: match status.liveness {
            LivenessStatus::Heard => Liveness::Heard,
            LivenessStatus::Silent(since) => Liveness::Silent(since),
            LivenessStatus::Gone => Liveness::Gone,
        },
        trust: match (status.trust.state.as_str(), status.trust.trusted_until) {
            ("accepted", Some(until)) => Trust::Accepted(until),
            ("refused", _) => Trust::Refused,
            _ => Trust::Unknown,
        },
        attested: status.trust.shown_at,
        remedy: remedy(&status.trust),
        challenged: None,
        quarantined: status.quarantined.as_deref().and_then(quarantine),
        generation: status.generation,
        assigned: status.assigned.as_ref().map(|assigned| Assigned {
            deployment: assigned.deployment.clone(),
            workload: assigned.workload,
            since: assigned.since,
        }),
        reported: reported(status),
        exposed: status
            .exposed
            .clone()
            .map_or(Exposure::Hidden, Exposure::Exposed),
    }
}

/// Refused evidence, by its code; what is not judged waits for fresh evidence.
fn remedy(trust: &TrustStatus) -> Remedy {
    let code = trust.codes.first().map(String::as_str);
    match (trust.state.as_str(), code.and_then(ReasonCode::from_code)) {
        ("refused", Some(code)) if !code.may_pass() => Remedy::NotItsOwn,
        _ => Remedy::FreshEvidence,
    }
}

fn quarantine(word: &str) -> Option<Quarantine> {
    let all = [Quarantine::TrustLapsed, Quarantine::Refused];
    all.into_iter().find(|reason| reason.to_string() == word)
}

fn reported(status: &AgentStatus) -> Reported {
    match (&status.replica, status.acknowledged) {
        (Some(replica), _) => Reported::Running(Replica {
            generation: replica.generation,
            deployment: replica.deployment.clone(),
            workload: replica.workload,
            ready: replica.state == WorkloadState::Ready,
        }),
        (None, Some(generation)) => Reported::Idle(generation),
        (None, None) => Reported::Unknown,
    }
}

fn state(order: &OrderStatus) -> OrderState {
    match order.phase.as_str() {
        "open" => OrderState::Open,
        "claimed" => OrderState::Claimed,
        "fulfilled" => OrderState::Fulfilled,
        "failed" => OrderState::Failed(order.failed_at.unwrap_or_default()),
        "cancelled" => OrderState::Cancelled,
        _ => OrderState::Provisioning,
    }
}

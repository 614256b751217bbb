//! The way back: a status read from Git is an observation that the planner takes.

use easyenclave_plan::{
    Agent, Assigned, Exposure, Fronts, LaunchOrder, Liveness, Observed, OrderState, Orphan,
    Quarantine, Remedy, Replica, Reported, RetireOrder, RolloutFact, Shortage, Trust,
};
use easyenclave_schemas::documents::{Identity, Kind};
use easyenclave_schemas::status::{
    AgentStatus, DeploymentPhase, DeploymentStatus, FrontsStatus, LivenessStatus, OrderKind,
    OrderStatus, ShortageStatus, TrustStatus, UnheardStatus, UnownedStatus,
};
use easyenclave_schemas::{DeploymentId, OrderId, Spot, Timestamp};

use super::Status;
use crate::approvals::approval;
use crate::rollouts;

/// The world in whole seconds, as a status holds it. The planner decides on nothing finer, so that what it
/// decided can be decided again from a status.
pub fn in_whole_seconds(mut observed: Observed) -> Observed {
    let cut = |time: &mut Timestamp| *time = time.trunc_secs();
    for agent in observed.agents.values_mut() {
        if let Liveness::Silent(since) = &mut agent.liveness {
            cut(since);
        }
        if let Trust::Accepted(until) = &mut agent.trust {
            cut(until);
        }
        if let Reported::Running(replica) = &mut agent.reported {
            replica.ready_since.iter_mut().for_each(cut);
            replica.failing_since.iter_mut().for_each(cut);
        }
        agent.attested.iter_mut().for_each(cut);
        agent.idle_since.iter_mut().for_each(cut);
        agent.challenged.iter_mut().for_each(cut);
        let assigned = agent.assigned.iter_mut();
        assigned.for_each(|assigned| cut(&mut assigned.since));
    }
    for order in observed.launches.values_mut() {
        cut(&mut order.opened);
        order.times = order.times.trunc_secs();
        if let OrderState::Failed(at) = &mut order.state {
            cut(at);
        }
    }
    let retires = observed.retires.values_mut();
    retires.for_each(|order| cut(&mut order.opened));
    let rollouts = observed.rollouts.values_mut();
    let reverts = rollouts.filter_map(|fact| fact.reverted.as_mut());
    reverts.for_each(|revert| cut(&mut revert.at));
    let orphans = observed.orphans.values_mut();
    orphans.for_each(|orphan| cut(&mut orphan.since));
    let shortages = observed.shortages.values_mut();
    shortages.for_each(|shortage| cut(&mut shortage.until));
    observed
}

/// The deployments and targets that were wanted, or left alone for want of a document that can be used, when this status was
/// written.
pub fn kept(status: &Status) -> impl Iterator<Item = Identity> {
    let deployments = status.deployments.iter();
    let deployments = deployments.filter(|(_, it)| it.phase != DeploymentPhase::Removing);
    let deployments = deployments.map(|(id, _)| Identity {
        kind: Kind::Deployment,
        owner: Some(id.owner.to_string()),
        name: id.name.to_string(),
    });
    let targets = status.capacity.keys().map(|name| Identity {
        kind: Kind::CapacityTarget,
        owner: None,
        name: name.to_string(),
    });
    deployments.chain(targets)
}

/// What the planner observed when this status was written.
pub fn observed(status: &Status) -> Observed {
    let spent = status.fleet.spent_approvals.iter().map(approval);
    let agents = status.agents.values();
    let agents = agents.map(|status| (status.agent.clone(), agent(status)));
    let unlisted = status.agents.values().filter(|agent| agent.unlisted);
    let mut observed = Observed {
        agents: agents.collect(),
        unlisted: unlisted.map(|agent| agent.agent.clone()).collect(),
        spent: spent.collect(),
        ..Observed::default()
    };
    for order in status.orders.values() {
        match &order.work {
            OrderKind::Launch {
                target,
                slot,
                generation,
                failures,
                ..
            } => {
                let launch = LaunchOrder {
                    target: target.clone(),
                    slot: *slot,
                    provider: order.provider.clone(),
                    datacenter: order.datacenter.clone(),
                    generation: *generation,
                    failures: *failures,
                    state: state(order),
                    opened: order.opened_at,
                    times: order.times,
                    unaccounted: order.unaccounted,
                    cause: order.cause,
                };
                observed.launches.insert(order.order.clone(), launch);
            }
            OrderKind::Retire { agent, .. } if state(order).is_pending() => {
                let retire = RetireOrder {
                    opened: order.opened_at,
                };
                observed.retires.insert(agent.clone(), retire);
            }
            OrderKind::Retire { .. } => {}
        }
    }
    let rollouts = status.deployments.values().filter_map(rollout);
    observed.rollouts = rollouts.collect();
    let unowned = status.fleet.unowned.iter();
    observed.orphans = unowned.map(orphan).collect();
    let unheard = status.fleet.unheard.iter();
    let place = |place: &UnheardStatus| (place.provider.clone(), place.datacenter.clone());
    observed.unheard = unheard.map(place).collect();
    let shortages = status.fleet.shortages.iter();
    observed.shortages = shortages.map(shortage).collect();
    observed.fronts = status
        .fleet
        .fronts
        .as_ref()
        .map_or_else(Fronts::default, fronts);
    observed
}

fn fronts(status: &FrontsStatus) -> Fronts {
    Fronts {
        listed: status.listed,
        leads: status.leads.clone(),
        decided: status.decided.clone(),
        open: status.open.clone(),
    }
}

fn rollout(status: &DeploymentStatus) -> Option<(DeploymentId, RolloutFact)> {
    let rollout = status.rollout.as_ref()?;
    let fact = RolloutFact {
        healthy: rollout.healthy,
        runtime: rollout.healthy_runtime,
        reverted: rollout.reverted.clone(),
    };
    let is_recorded = fact != RolloutFact::default();
    is_recorded.then(|| (status.deployment.clone(), fact))
}

fn shortage(status: &ShortageStatus) -> (Spot, Shortage) {
    let shortage = Shortage {
        cause: status.cause,
        failures: status.failures,
        until: status.until,
    };
    (status.spot.clone(), shortage)
}

fn orphan((id, status): (&OrderId, &UnownedStatus)) -> (OrderId, Orphan) {
    let orphan = Orphan {
        target: status.target.clone(),
        datacenter: status.datacenter.clone(),
        provider: status.provider.clone(),
        policy: status.policy.clone(),
        slot: status.slot,
        since: status.since,
        unjudged: status.unjudged,
    };
    (id.clone(), orphan)
}

fn agent(status: &AgentStatus) -> Agent {
    Agent {
        target: status.target.clone(),
        slot: status.slot,
        datacenter: status.datacenter.clone(),
        size: status.node_size.clone(),
        runtimes: status.runtimes.iter().copied().collect(),
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
        attested: attested(&status.trust),
        remedy: match status.trust.not_its_own {
            true => Remedy::NotItsOwn,
            false => Remedy::FreshEvidence,
        },
        challenged: status.challenged,
        quarantined: status.quarantined.as_deref().and_then(quarantine),
        generation: status.generation,
        assigned: status.assigned.as_ref().map(|assigned| Assigned {
            deployment: assigned.deployment.clone(),
            workload: assigned.workload,
            since: assigned.since,
        }),
        idle_since: status.idle_since,
        reported: reported(status),
        exposed: status
            .exposed
            .clone()
            .map_or(Exposure::Hidden, Exposure::Exposed),
    }
}

/// Refused evidence, by its code; what is not judged waits for fresh evidence.
fn attested(trust: &TrustStatus) -> Option<Timestamp> {
    let accepted = || Some(trust.verdict.as_ref()?.accepted_at.trunc_secs());
    trust.shown_at.or_else(accepted)
}

fn quarantine(word: &str) -> Option<Quarantine> {
    let all = [Quarantine::TrustLapsed, Quarantine::Refused];
    all.into_iter().find(|reason| reason.to_string() == word)
}

fn reported(status: &AgentStatus) -> Reported {
    match (&status.replica, status.acknowledged) {
        (Some(replica), _) => {
            let (ready, cause) = rollouts::health(replica.state, replica.cause);
            Reported::Running(Replica {
                generation: replica.generation,
                deployment: replica.deployment.clone(),
                workload: replica.workload,
                ready,
                serving: replica.serving,
                ready_since: replica.ready_since.filter(|_| ready),
                failing_since: replica.failing_since,
                cause,
            })
        }
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

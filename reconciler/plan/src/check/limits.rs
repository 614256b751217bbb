//! What all actions together must satisfy: maximum and minimum, roll-outs, the breaker, quotas, reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_schemas::{
    AgentId, DeploymentId, FailureCause, OrderId, OwnerName, Spot, TargetName,
};

use super::Findings;
use super::budgets;
use super::facts::Facts;
use crate::{
    Action, Agent, Deployment, LaunchOrder, Liveness, OrderState, Reported, RetireReason, Target,
};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    for (name, target) in &facts.desired.targets {
        maximum(facts, name, target, findings);
        probing(facts, name, findings);
        minimum(facts, name, target, findings);
        reservations(facts, name, findings);
        budgets::check(facts, name, target, findings);
    }
    let names: BTreeSet<&TargetName> = facts.observed.agents.values().map(|a| &a.target).collect();
    for name in names {
        breaker(facts, name, findings);
    }
    owners(facts, findings);
    short(facts, findings);
    for (id, deployment) in &facts.desired.deployments {
        roll_out(facts, id, deployment, findings);
        replicas(facts, id, deployment, findings);
    }
    for (owner, quota) in &facts.desired.quotas {
        let used = facts.used(owner, None);
        let more = !gained(facts, owner, None).is_empty();
        findings.must(9, !more || used <= *quota as usize, || {
            format!("{owner} would use {used} agents, its quota is {quota}")
        });
    }
}

/// Everything of a target that may have a machine behind it.
fn machines(facts: &Facts, name: &TargetName) -> BTreeSet<AgentId> {
    let agents = facts.observed.agents.iter();
    let agents = agents
        .filter(|(_, agent)| agent.target == *name)
        .map(|(id, _)| id.clone());
    let orders = facts.observed.launches.iter();
    let counts = |order: &LaunchOrder| order.state.is_pending() || order.unaccounted;
    let orders = orders.filter(|(_, order)| order.target == *name && counts(order));
    let orphans = facts.observed.orphans.iter();
    let orphans = orphans.filter(|(_, orphan)| orphan.target.as_ref() == Some(name));
    agents
        .chain(orders.map(|(id, _)| id.agent()))
        .chain(orphans.map(|(id, _)| id.agent()))
        .collect()
}

fn maximum(facts: &Facts, name: &TargetName, target: &Target, findings: &mut Findings) {
    let ours = |a: &&Action| matches!(a, Action::Launch { target, .. } if target == name);
    let launched = facts.plan.actions.iter().filter(ours).count();
    let there = machines(facts, name).len();
    findings.must(
        4,
        launched == 0 || there + launched <= target.max as usize,
        || format!("{name} has {there} machines and would get {launched} more"),
    );
}

/// While the last launches of several slots failed for one cause and none came through since, one is tried at a time.
fn probing(facts: &Facts, name: &TargetName, findings: &mut Findings) {
    let ours = |a: &&Action| matches!(a, Action::Launch { target, .. } if target == name);
    let launched = facts.plan.actions.iter().filter(ours).count();
    let mut newest: BTreeMap<u32, (&OrderId, &LaunchOrder)> = BTreeMap::new();
    let mut success = None;
    for (id, order) in &facts.observed.launches {
        if order.target != *name {
            continue;
        }
        if order.state == OrderState::Fulfilled {
            success = success.max(order.times.registered_at.or(Some(order.opened)));
        }
        let known = newest.entry(order.slot).or_insert((id, order));
        if order.generation >= known.1.generation {
            *known = (id, order);
        }
    }
    let mut failed: BTreeMap<_, usize> = BTreeMap::new();
    let mut last = None;
    for (id, order) in newest.values() {
        if let OrderState::Failed(at) = order.state
            && success.is_none_or(|success| at >= success)
        {
            let cause = order.cause.unwrap_or(FailureCause::NotMade);
            *failed.entry(cause).or_default() += 1;
            last = last.max(Some((at, *id, cause)));
        }
    }
    let recent = last.filter(|(at, ..)| facts.now.since(*at) <= Duration::from_secs(3600));
    let alike = recent.map_or(0, |(_, _, cause)| failed[&cause]);
    let is_pending = |(id, order): &&(&OrderId, &LaunchOrder)| {
        order.state.is_pending() && !facts.observed.agents.contains_key(id.as_str())
    };
    let pending = newest.values().filter(is_pending).count();
    findings.must(
        4,
        launched == 0 || alike < 2 || launched + pending <= 1,
        || format!("{name} would get {launched} more while its launches fail for one cause"),
    );
}

/// Nothing is launched where it is known that there is no room.
fn short(facts: &Facts, findings: &mut Findings) {
    for action in &facts.plan.actions {
        let Action::Launch {
            order,
            target,
            provider,
            datacenter,
            zone,
            shape,
            ..
        } = action
        else {
            continue;
        };
        let spot = Spot {
            provider: provider.clone(),
            datacenter: datacenter.clone(),
            zone: zone.clone(),
            shape: shape.clone(),
        };
        let target = facts.target(target);
        let is_choice = target.is_some_and(|target| target.spots.contains(&spot));
        let shortage = facts.observed.shortages.get(&spot);
        let is_short = shortage.is_some_and(|shortage| shortage.until > facts.now);
        findings.must(4, !(is_choice && is_short), || {
            format!("{order} would be made {spot}, which has no room")
        });
    }
}

/// Nothing that is needed is retired as surplus.
fn minimum(facts: &Facts, name: &TargetName, target: &Target, findings: &mut Findings) {
    let gone = |id: &AgentId| {
        facts.retires(id)
            && facts.plan.actions.iter().any(|action| {
            matches!(action, Action::Retire { agent, reason: RetireReason::Surplus | RetireReason::NotStopped, .. } if agent == id)
        })
    };
    let agents: Vec<(&AgentId, &Agent)> = facts.observed.agents.iter().collect();
    let serves = |agent: &Agent| {
        agent.target == *name
            && (facts.is_trusted(agent) || Facts::carried(agent).is_some())
            && Facts::is_home(agent, target)
            && agent.liveness != Liveness::Gone
    };
    let before = agents
        .iter()
        .filter(|(id, a)| serves(a) && facts.is_live(id, a))
        .count();
    let retired = agents
        .iter()
        .filter(|(id, a)| serves(a) && gone(id))
        .count();
    findings.must(
        2,
        retired == 0 || before - retired >= target.min as usize,
        || format!("{name} would fall below its minimum"),
    );
}

/// Agents that newly get something of an owner.
fn gained<'a>(
    facts: &Facts<'a>,
    owner: &OwnerName,
    target: Option<&TargetName>,
) -> Vec<&'a AgentId> {
    let gains = |id: &AgentId, agent: &'a Agent| {
        let before = agent.assigned.as_ref().map(|assigned| &assigned.deployment);
        let after = facts.after(id, agent);
        after != before && after.is_some_and(|deployment| deployment.owner == *owner)
    };
    let agents = facts.observed.agents.iter();
    agents
        .filter(|(_, agent)| target.is_none_or(|target| agent.target == *target))
        .filter(|(id, agent)| gains(id, agent))
        .map(|(id, _)| id)
        .collect()
}

/// After placing something for an owner, what is reserved for others is still there.
fn reservations(facts: &Facts, name: &TargetName, findings: &mut Findings) {
    let mut reserved: BTreeMap<&OwnerName, usize> = BTreeMap::new();
    for (id, reservation) in &facts.desired.reservations {
        let ended = reservation.until.is_some_and(|until| until <= facts.now);
        if reservation.target == *name && !ended {
            *reserved.entry(&id.owner).or_default() += reservation.count as usize;
        }
    }
    if reserved.is_empty() {
        return;
    }
    let unused =
        |owner: &OwnerName, count: usize| count.saturating_sub(facts.occupied(owner, name));
    let free = free(facts, name);
    let owners: BTreeSet<&OwnerName> = facts.desired.deployments.keys().map(|d| &d.owner).collect();
    for owner in owners {
        let before = reserved.get(owner).copied().unwrap_or(0);
        let gained = gained_on_idle(facts, owner, name);
        if gained == 0 || facts.used(owner, Some(name)) <= before {
            continue;
        }
        let others = reserved.iter().filter(|(other, _)| **other != owner);
        let kept: usize = others.map(|(other, count)| unused(other, *count)).sum();
        findings.must(9, free >= kept, || {
            format!("{owner} would use agents of {name} that are reserved for others")
        });
    }
}

fn gained_on_idle(facts: &Facts, owner: &OwnerName, name: &TargetName) -> usize {
    let idle = |id: &&&AgentId| {
        facts
            .agent(id)
            .is_some_and(|agent| matches!(agent.reported, Reported::Idle(_)))
    };
    gained(facts, owner, Some(name)).iter().filter(idle).count()
}

/// Agents of a target that are free once all replicas have their place.
fn free(facts: &Facts, name: &TargetName) -> usize {
    let free = |(id, agent): &(&AgentId, &Agent)| {
        agent.target == *name
            && facts.is_trusted(agent)
            && facts.is_live(id, agent)
            && (facts.retires(id) || facts.after(id, agent).is_none())
    };
    facts.observed.agents.iter().filter(free).count()
}

/// A roll-out leaves as many ready replicas as it must, or as there were.
fn roll_out(facts: &Facts, id: &DeploymentId, deployment: &Deployment, findings: &mut Findings) {
    let stranded = |agent: &Agent| facts.target(&agent.target).is_none();
    let ready = facts
        .carriers(id)
        .filter(|(id, agent)| facts.is_ready(id, agent));
    let ready: Vec<_> = ready.collect();
    let kept = |id: &AgentId, agent: &Agent| {
        facts.instructed(id).is_none() || (stranded(agent) && facts.retires(id))
    };
    let after = ready.iter().filter(|(id, agent)| kept(id, agent)).count();
    let floor = deployment
        .replicas
        .saturating_sub(deployment.rollout.max_unavailable) as usize;
    findings.must(6, after >= floor.min(ready.len()), || {
        format!("{id} would have {after} ready replicas, {floor} are needed")
    });
}

/// No more replicas than wanted are started: those of which nothing is known count.
fn replicas(facts: &Facts, id: &DeploymentId, deployment: &Deployment, findings: &mut Findings) {
    let started = gained(facts, &id.owner, None);
    let started = started
        .iter()
        .filter(|agent| facts.instructed(agent) == Some(Some(id)))
        .count();
    let counts = |(name, agent): &(&AgentId, &Agent)| {
        let fits = !Facts::is_heard(agent) || facts.fits(name, agent, id);
        let gone = facts.instructed(name) == Some(None);
        facts.is_live(name, agent) && fits && !gone && !facts.is_out(agent)
    };
    let there = facts.carriers(id).filter(counts).count();
    let is_bound = |(name, agent): (&AgentId, &Agent)| {
        facts.fits(name, agent, id) && !facts.follows(name, agent, id)
    };
    let rollout = &deployment.rollout;
    let surge = match facts.carriers(id).any(is_bound) {
        true => rollout.surge().max(rollout.max_unavailable).max(1),
        false => rollout.surge(),
    };
    let most = (deployment.replicas + surge) as usize;
    findings.must(1, started == 0 || there + started <= most, || {
        format!("{id} has {there} replicas and would get {started} more")
    });
}

/// No owner loses all that it has, and more than the breaker lets pass, to silence without being asked.
fn owners(facts: &Facts, findings: &mut Findings) {
    let lost = |agent: &AgentId| {
        let is_its = |a: &&Action| matches!(a, Action::Retire { agent: other, reason: RetireReason::Lost, .. } if other == agent);
        let actions = facts.plan.actions.iter();
        actions
            .filter(is_its)
            .any(|action| !facts.has_approved(action))
    };
    let mut of_owner: BTreeMap<&OwnerName, (usize, bool)> = BTreeMap::new();
    for (id, agent) in &facts.observed.agents {
        if let Some(deployment) = Facts::carried(agent) {
            let (removed, heard) = of_owner.entry(&deployment.owner).or_default();
            *removed += usize::from(lost(id));
            *heard |= agent.liveness == Liveness::Heard && facts.is_live(id, agent);
        }
    }
    let most = facts.desired.limits.breaker.max_removals as usize;
    for (owner, (removed, heard)) in of_owner {
        findings.must(7, heard || removed <= most, || {
            format!("{owner} would lose its last {removed} agents unasked")
        });
    }
}

/// Removals that nobody approved stay within the breaker's limits.
fn breaker(facts: &Facts, name: &TargetName, findings: &mut Findings) {
    for hold in &facts.plan.approved {
        let known = facts.is_approved(hold.digest);
        findings.must(
            7,
            known && crate::Hold::digest_of(&hold.actions) == hold.digest,
            || format!("nobody approved {hold}"),
        );
    }
    let of = facts.pool(name).len();
    for cause in [is_lost, is_removed, is_overdue, is_stopped] {
        let removes = |action: &&Action| !facts.has_approved(action) && cause(facts, action, name);
        let removed = facts.plan.actions.iter().filter(removes).count();
        findings.must(7, !facts.is_too_much(removed, of), || {
            format!("{removed} of {of} agents of {name} would be removed")
        });
    }
}

fn is_lost(facts: &Facts, action: &Action, name: &TargetName) -> bool {
    retires(facts, action, name, RetireReason::Lost)
}

fn is_removed(facts: &Facts, action: &Action, name: &TargetName) -> bool {
    retires(facts, action, name, RetireReason::TargetRemoved)
}

fn is_overdue(facts: &Facts, action: &Action, name: &TargetName) -> bool {
    retires(facts, action, name, RetireReason::NotStopped)
}

fn retires(facts: &Facts, action: &Action, name: &TargetName, why: RetireReason) -> bool {
    matches!(action, Action::Retire { agent, reason, .. } if *reason == why
        && facts.agent(agent).is_some_and(|agent| agent.target == *name))
}

/// Whether a replica stops without another taking its place.
fn is_stopped(facts: &Facts, action: &Action, name: &TargetName) -> bool {
    let Action::Unassign {
        agent, deployment, ..
    } = action
    else {
        return false;
    };
    facts.agent(agent).is_some_and(|fact| {
        let is_here = fact.target == *name && fact.assigned.is_some();
        is_here && is_taken(facts, (agent, fact), deployment)
    })
}

/// Whether nothing but fewer wanted replicas explains that a replica stops.
fn is_taken(facts: &Facts, (name, agent): (&AgentId, &Agent), id: &DeploymentId) -> bool {
    match facts.deployment(id) {
        None => true,
        Some(deployment) => {
            let current = |a: &crate::Assigned| a.workload == facts.aim(id, deployment);
            deployment.replicas == 0
                || (agent.assigned.as_ref().is_some_and(current)
                    && facts.fits(name, agent, id)
                    && facts.is_trusted(agent))
        }
    }
}

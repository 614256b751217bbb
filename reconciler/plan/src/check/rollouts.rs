//! What roll-outs must satisfy: a step opens only when the one before has proved good, what is recorded as healthy is,
//! and only what fails by its own fault is given up.

use easyenclave_schemas::{AgentId, DeploymentId, Digest};

use super::Findings;
use super::facts::Facts;
use crate::{Action, Agent, Deployment, Replica, Reported, Rollout};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    for action in &facts.plan.actions {
        match action {
            Action::Settle {
                deployment,
                workload,
            } => settle(facts, deployment, *workload, findings),
            Action::Revert { deployment, .. } => revert(facts, deployment, action, findings),
            _ => {}
        }
    }
    for id in facts.desired.deployments.keys() {
        if let Some(spec) = facts.deployment(id) {
            steps(facts, id, spec, findings);
        }
    }
}

/// A version is healthy when each wanted replica is there, ready with it, and has been so long enough; or each that is
/// there, once all of those had their time.
fn settle(facts: &Facts, id: &DeploymentId, workload: Digest, findings: &mut Findings) {
    let is_good = facts.deployment(id).is_some_and(|spec| {
        let good = facts
            .carriers(id)
            .filter(|(agent, fact)| is_good(facts, spec, (id, workload), agent, fact));
        let all = good.count() == spec.replicas as usize && spec.replicas > 0;
        (all || is_good_where_it_is(facts, spec, (id, workload)))
            && facts.aim(id, spec) == workload
            && spec.workload == workload
    });
    findings.must(6, is_good, || format!("{id} is not healthy at {workload}"));
}

fn is_good_where_it_is(facts: &Facts, spec: &Deployment, of: (&DeploymentId, Digest)) -> bool {
    let stays = |(agent, fact): &(&AgentId, &Agent)| {
        facts.is_live(agent, fact) && !facts.retires(agent) && facts.instructed(agent) != Some(None)
    };
    let mut there = facts.carriers(of.0).filter(stays).peekable();
    there.peek().is_some()
        && there.all(|(agent, fact)| {
            is_good(facts, spec, of, agent, fact) && is_over(facts, spec, of.1, fact)
        })
}

/// Whether an agent was told a version, and has had its time for it.
fn is_over(facts: &Facts, spec: &Deployment, version: Digest, fact: &Agent) -> bool {
    let within = spec.rollout.deadline;
    let within = within.unwrap_or(facts.desired.limits.ready_within);
    let told = fact.assigned.as_ref();
    told.is_some_and(|told| told.workload == version && told.since.plus(within) <= facts.now)
}

/// Whether a replica that serves nobody may keep an old version: the new one may not go on, and none was healthy.
pub(super) fn may_keep(facts: &Facts, id: &DeploymentId, spec: &Deployment) -> bool {
    let Rollout { pause, reverts, .. } = &spec.rollout;
    let paused = pause.as_ref().is_some_and(|pause| facts.now < pause.until);
    facts.healthy(id).is_none() && (paused || *reverts || !sizes(spec).is_empty())
}

/// An attempt is given up only when it has a fault of its own, and for something better.
fn revert(facts: &Facts, id: &DeploymentId, action: &Action, findings: &mut Findings) {
    let Action::Revert {
        from, attempt, to, ..
    } = action
    else {
        return;
    };
    let may = facts.deployment(id).is_some_and(|spec| {
        let paused = spec.rollout.pause.as_ref();
        let wanted = spec.rollout.reverts && paused.is_none_or(|pause| pause.until <= facts.now);
        let this = (spec.workload, spec.attempt()) == (*from, *attempt);
        wanted && this && facts.aim(id, spec) == *from
    });
    let better = facts.healthy(id) == Some(*to) && from != to;
    let faulty = facts
        .carriers(id)
        .any(|(agent, fact)| is_faulty(facts, (id, *from), agent, fact));
    findings.must(8, may && better && faulty, || {
        format!("no ground for: {action}")
    });
    let more = facts.plan.actions.iter().any(|other| {
        matches!(other, Action::Assign { deployment, workload, .. } if deployment == id && workload == from)
    });
    findings.must(8, !more, || format!("given up and given out: {action}"));
}

/// Whether a version fails on an agent by its own fault, although it has had its time.
fn is_faulty(
    facts: &Facts,
    (id, version): (&DeploymentId, Digest),
    agent: &AgentId,
    fact: &Agent,
) -> bool {
    let spec = facts.deployment(id);
    let replica = replica(fact).filter(|replica| replica.workload == version);
    let within = spec.and_then(|spec| spec.rollout.deadline);
    let within = within.unwrap_or(facts.desired.limits.ready_within);
    let since = replica.and_then(|replica| replica.failing_since);
    Facts::is_heard(fact)
        && facts.is_live(agent, fact)
        && facts.is_trusted(fact)
        && spec.is_some_and(|spec| is_over(facts, spec, version, fact))
        && replica
            .zip(since)
            .is_some_and(|(replica, since)| match replica.ready {
                // It ends time and again, and has done so when its time was over.
                true => replica.ready_since >= Some(since.plus(within)),
                false => {
                    let is_own = replica.cause.is_some_and(|it| it.is_versions_fault());
                    is_own && since.plus(within) <= facts.now
                }
            })
}

/// While replicas serve with another version, no more get the new one than the step lets, and none in a pause.
fn steps(facts: &Facts, id: &DeploymentId, spec: &Deployment, findings: &mut Findings) {
    let aim = facts.aim(id, spec);
    let is_told = |agent: &AgentId| {
        facts.plan.actions.iter().any(|action| {
            matches!(action, Action::Assign { agent: of, deployment, workload, .. }
                if of == agent && deployment == id && *workload == aim)
        })
    };
    let has = |fact: &Agent| fact.assigned.as_ref().is_some_and(|it| it.workload == aim);
    let taken = facts
        .carriers(id)
        .filter(|(agent, fact)| is_told(agent) && !has(fact) && facts.is_ready(agent, fact))
        .count();
    let paused = spec.rollout.pause.as_ref();
    let paused = paused.is_some_and(|pause| facts.now < pause.until);
    findings.must(6, taken == 0 || !paused, || {
        format!("{id} goes on in a pause")
    });
    if taken == 0 || facts.healthy(id) == Some(aim) {
        return;
    }
    let there = |(agent, fact): &(&AgentId, &Agent)| {
        let stays = facts.is_live(agent, fact) && facts.instructed(agent) != Some(None);
        has(fact) && stays && facts.fits(agent, fact, id) && !facts.is_out(fact)
    };
    let before: Vec<_> = facts.carriers(id).filter(there).collect();
    let good = |(agent, fact): &&(&AgentId, &Agent)| is_good(facts, spec, (id, aim), agent, fact);
    let proved = before.iter().filter(good).count() == before.len();
    let after = before.len() + taken;
    let mut sizes = sizes(spec).into_iter();
    let most = sizes.find(|size| *size > before.len() || (*size == before.len() && !proved));
    findings.must(6, most.is_none_or(|most| after <= most), || {
        format!(
            "{after} replicas of {id} would have the new version before {most:?} have proved good"
        )
    });
}

/// How many replicas the canary and each wave have.
fn sizes(spec: &Deployment) -> Vec<usize> {
    let all = spec.replicas as usize;
    let share = |percent: &u32| (all * *percent as usize).div_ceil(100);
    let canary = spec.rollout.canary as usize;
    let mut sizes: Vec<usize> = spec.rollout.waves.iter().map(share).collect();
    sizes.push(canary);
    sizes.retain(|size| *size > 0 && *size < all && *size >= canary);
    sizes.sort_unstable();
    sizes
}

fn is_good(
    facts: &Facts,
    spec: &Deployment,
    (id, version): (&DeploymentId, Digest),
    agent: &AgentId,
    fact: &Agent,
) -> bool {
    let least = spec.rollout.min_healthy;
    let since = replica(fact).and_then(|replica| replica.ready_since);
    let long = since.is_some_and(|since| since.plus(least) <= facts.now);
    facts.is_ready(agent, fact)
        && replica(fact).is_some_and(|replica| replica.workload == version)
        && (long || least.is_zero() || facts.healthy(id) == Some(version))
}

fn replica(fact: &Agent) -> Option<&Replica> {
    match &fact.reported {
        Reported::Running(replica) => Some(replica),
        Reported::Idle(_) | Reported::Unknown => None,
    }
}

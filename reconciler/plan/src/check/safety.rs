//! What each single action must satisfy: properties 1, 5 and 8, and a plan's form.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_schemas::{AgentId, OrderId, Timestamp};

use super::Findings;
use super::facts::Facts;
use super::{names, rollouts};
use crate::{Action, Agent, Exposure, Hold, Liveness, Reported, RetireReason};

pub(super) fn check(facts: &Facts, findings: &mut Findings) {
    form(facts, findings);
    for action in &facts.plan.actions {
        match action {
            Action::Assign { .. } => assign(facts, action, findings),
            Action::Unassign { .. } => unassign(facts, action, findings),
            Action::Retire { .. } => retire(facts, action, findings),
            Action::Expose { agent, .. } => expose(facts, agent, action, findings),
            Action::Launch { .. } => launch(facts, action, findings),
            Action::Cancel { order, .. } => cancel(facts, order, action, findings),
            Action::Settle { .. } | Action::Revert { .. } => {}
            Action::Point { .. } => names::point(facts, action, findings),
            Action::Unexpose { agent, .. } => names::unexpose(facts, agent, findings),
            Action::Unpoint { .. }
            | Action::Quarantine { .. }
            | Action::Release { .. }
            | Action::Challenge { .. } => {}
        }
    }
    for (id, agent) in &facts.observed.agents {
        distrusted_is_out(facts, id, agent, findings);
        newest_wins(facts, id, agent, findings);
    }
}

fn form(facts: &Facts, findings: &mut Findings) {
    let plan = facts.plan;
    findings.must(0, plan.actions.is_sorted(), || {
        "actions are not sorted".into()
    });
    findings.must(0, plan.waits.is_sorted(), || "waits are not sorted".into());
    let mut told = BTreeSet::new();
    for action in &plan.actions {
        if let Action::Assign { agent, .. }
        | Action::Unassign { agent, .. }
        | Action::Retire { agent, .. } = action
        {
            let once = told.insert(agent);
            findings.must(0, once, || format!("{agent} is told two things"));
        }
    }
    for hold in &plan.held {
        let digest = Hold::digest_of(&hold.actions);
        findings.must(7, digest == hold.digest, || {
            format!("{hold} has another digest")
        });
        let approved = facts.is_approved(digest);
        findings.must(7, !approved, || format!("{hold} is approved and held"));
        for action in &hold.actions {
            let done = plan.actions.contains(action);
            findings.must(7, !done, || format!("held and done: {action}"));
        }
    }
}

fn assign(facts: &Facts, action: &Action, findings: &mut Findings) {
    let Action::Assign {
        agent: id,
        generation,
        deployment,
        workload,
    } = action
    else {
        return;
    };
    let found = facts.agent(id).zip(facts.deployment(deployment));
    let Some((agent, spec)) = found else {
        findings.must(1, false, || format!("nothing is known for: {action}"));
        return;
    };
    let untouched = Facts::is_heard(agent) && facts.is_live(id, agent) && !facts.is_frozen(agent);
    findings.must(1, untouched, || {
        format!("the agent is unknown or frozen: {action}")
    });
    findings.must(5, facts.is_trusted(agent), || {
        format!("not trusted: {action}")
    });
    let fits = facts.may_get(id, agent, deployment, *workload);
    findings.must(5, fits, || format!("does not fit: {action}"));
    let aim = facts.aim(deployment, spec);
    let known = *workload == aim || facts.healthy(deployment) == Some(*workload);
    findings.must(8, known, || {
        format!("neither the newest nor a healthy version: {action}")
    });
    findings.must(8, *generation > agent.generation, || {
        format!("too old: {action}")
    });
    let free = match (&agent.assigned, &agent.reported) {
        (Some(assigned), _) => assigned.deployment == *deployment,
        (None, Reported::Idle(seen)) => *seen >= agent.generation,
        (None, Reported::Running(replica)) => {
            replica.generation >= agent.generation && replica.deployment == *deployment
        }
        (None, Reported::Unknown) => false,
    };
    findings.must(1, free, || format!("the agent is not free: {action}"));
    hidden(facts, id, agent, action, findings);
}

fn unassign(facts: &Facts, action: &Action, findings: &mut Findings) {
    let Action::Unassign {
        agent: id,
        generation,
        ..
    } = action
    else {
        return;
    };
    let Some(agent) = facts.agent(id) else {
        findings.must(1, false, || format!("no such agent: {action}"));
        return;
    };
    let known = Facts::is_heard(agent) && facts.is_live(id, agent) && !facts.is_frozen(agent);
    findings.must(1, known, || {
        format!("the agent is unknown or frozen: {action}")
    });
    findings.must(8, *generation > agent.generation, || {
        format!("too old: {action}")
    });
    hidden(facts, id, agent, action, findings);
}

fn retire(facts: &Facts, action: &Action, findings: &mut Findings) {
    let Action::Retire {
        agent: id, reason, ..
    } = action
    else {
        return;
    };
    let again = facts.observed.retires.contains_key(id);
    findings.must(2, !again, || format!("under way already: {action}"));
    let Some(agent) = facts.agent(id) else {
        let orphan = facts.observed.orphans.get(id.as_str());
        let is_due = orphan.is_some_and(|orphan| !orphan.unjudged);
        findings.must(1, is_due && *reason == RetireReason::Orphan, || {
            format!("no such machine: {action}")
        });
        return;
    };
    findings.must(1, !facts.is_frozen(agent), || format!("frozen: {action}"));
    let wanted = facts.target(&agent.target).is_some();
    let idle = matches!(agent.reported, Reported::Idle(seen) if seen >= agent.generation)
        && agent.assigned.is_none()
        && Facts::is_heard(agent);
    let may = match reason {
        RetireReason::Gone => agent.liveness == Liveness::Gone,
        RetireReason::Lost => facts.is_lost(agent),
        RetireReason::Surplus => idle && wanted,
        RetireReason::NotStopped => wanted && is_overdue(facts, agent),
        RetireReason::Refused => {
            let mut asked = facts.plan.approved.iter();
            let approved = asked.any(|hold| hold.actions.contains(action));
            facts.is_distrusted(agent) && (idle || (approved && Facts::is_heard(agent)))
        }
        RetireReason::TargetRemoved => !wanted && Facts::is_heard(agent),
        RetireReason::Orphan => false,
    };
    findings.must(1, may, || format!("no ground for: {action}"));
    hidden(facts, id, agent, action, findings);
}

/// Whether an agent was told to stop and has had its target's time for that.
fn is_overdue(facts: &Facts, agent: &Agent) -> bool {
    let target = facts.target(&agent.target);
    let within = target.and_then(|target| target.disruption.drain_within);
    let behind = matches!(&agent.reported, Reported::Running(r) if r.generation < agent.generation)
        || matches!(&agent.reported, Reported::Idle(seen) if *seen < agent.generation);
    let over = |(since, within): (Timestamp, Duration)| since.plus(within) <= facts.now;
    agent.assigned.is_none()
        && behind
        && Facts::is_heard(agent)
        && agent.idle_since.zip(within).is_some_and(over)
}

/// What is taken from an agent is taken out of publication in the same plan, unless it goes on under its own number.
fn hidden(facts: &Facts, id: &AgentId, agent: &Agent, action: &Action, findings: &mut Findings) {
    let hidden = !Facts::is_exposed(agent) || facts.hides(id) || goes_on(agent, action);
    findings.must(6, hidden, || format!("still published: {action}"));
}

/// Whether an agent is given what it runs and publishes already, number included, or takes it back itself before it changes.
fn goes_on(agent: &Agent, action: &Action) -> bool {
    let Action::Assign {
        generation,
        deployment,
        workload,
        ..
    } = action
    else {
        return false;
    };
    let same = matches!(&agent.reported, Reported::Running(r)
        if r.ready && r.generation == *generation && r.deployment == *deployment && r.workload == *workload);
    let published = agent.exposed == Exposure::Exposed(deployment.clone());
    published && (same || Facts::serves_until_it_changes(agent, deployment))
}

fn expose(facts: &Facts, id: &AgentId, action: &Action, findings: &mut Findings) {
    let Some(agent) = facts.agent(id) else {
        findings.must(5, false, || format!("no such agent: {action}"));
        return;
    };
    let told = agent.assigned.as_ref().map(|assigned| &assigned.deployment);
    let keeps = told.is_some_and(|of| Facts::serves_until_it_changes(agent, of))
        && Facts::is_heard(agent)
        && facts.is_trusted(agent)
        && facts.is_live(id, agent);
    findings.must(5, keeps || facts.is_ready(id, agent), || {
        format!("not ready: {action}")
    });
    let wanted = facts.after(id, agent).is_some_and(|of| {
        let is_exposed = facts.deployment(of).is_some_and(|spec| spec.exposed);
        is_exposed && facts.fits(id, agent, of)
    });
    findings.must(5, wanted, || format!("not wanted: {action}"));
    let kept = facts.instructed(id).is_none() && agent.exposed == Exposure::Hidden;
    findings.must(0, kept, || format!("contradicts another action: {action}"));
}

fn launch(facts: &Facts, action: &Action, findings: &mut Findings) {
    let Action::Launch {
        order,
        target,
        slot,
        generation,
        provider,
        datacenter,
        ..
    } = action
    else {
        return;
    };
    let wanted = facts.target(target).is_some();
    findings.must(1, wanted, || format!("no such target: {action}"));
    let place = (provider.clone(), datacenter.clone());
    let heard = !facts.observed.unheard.contains(&place);
    findings.must(1, heard, || format!("its place is unknown: {action}"));
    let id = OrderId::launch(&facts.desired.fleet, target, *slot, *generation);
    findings.must(4, *order == id, || format!("not its own id: {action}"));
    let fresh = !facts.observed.launches.contains_key(order)
        && facts.agent(&order.agent()).is_none()
        && !facts.observed.orphans.contains_key(order);
    findings.must(4, fresh, || format!("the id is taken: {action}"));
    let agents = facts.observed.agents.values();
    let orders = facts.observed.launches.values();
    let taken = agents
        .into_iter()
        .any(|a| a.target == *target && a.slot == *slot)
        || orders
            .into_iter()
            .any(|o| o.state.is_pending() && o.target == *target && o.slot == *slot);
    findings.must(4, !taken, || format!("the slot is taken: {action}"));
}

fn cancel(facts: &Facts, order: &OrderId, action: &Action, findings: &mut Findings) {
    let launch = facts.observed.launches.get(order);
    let pending = launch.is_some_and(|launch| launch.state.is_pending());
    let registered = facts.agent(&order.agent()).is_some();
    findings.must(1, pending && !registered, || {
        format!("nothing to withdraw: {action}")
    });
    let frozen = launch.is_some_and(|launch| facts.is_frozen_target(&launch.target));
    findings.must(1, !frozen, || format!("frozen: {action}"));
}

/// An agent without trust is neither in service nor published.
fn distrusted_is_out(facts: &Facts, id: &AgentId, agent: &Agent, findings: &mut Findings) {
    if !facts.is_distrusted(agent) {
        return;
    }
    let hidden = !Facts::is_exposed(agent) || facts.hides(id);
    findings.must(5, hidden, || format!("{id} is published without trust"));
    let of = |a: &Action| matches!(a, Action::Quarantine { agent, .. } if agent == id);
    let out = agent.quarantined.is_some()
        || facts.plan.actions.iter().any(of)
        || facts.retires(id)
        || !facts.is_live(id, agent);
    findings.must(5, out, || format!("{id} is in service without trust"));
}

/// A replica that serves nobody is never left at an old version, unless it waits for a person to let it go or the new
/// one may go no further.
fn newest_wins(facts: &Facts, id: &AgentId, agent: &Agent, findings: &mut Findings) {
    let Some(assigned) = &agent.assigned else {
        return;
    };
    let Some(spec) = facts.deployment(&assigned.deployment) else {
        return;
    };
    let aim = facts.aim(&assigned.deployment, spec);
    let stuck = assigned.workload != aim
        && facts.healthy(&assigned.deployment) != Some(assigned.workload)
        && !rollouts::may_keep(facts, &assigned.deployment, spec)
        && spec.replicas > 0
        && Facts::is_heard(agent)
        && facts.is_live(id, agent)
        && facts.is_trusted(agent)
        && !facts.is_ready(id, agent)
        && !facts.is_frozen(agent)
        && facts.fits(id, agent, &assigned.deployment)
        && facts.instructed(id).is_none()
        && !facts.is_held(id);
    findings.must(8, !stuck, || format!("{id} is left at an old version"));
}

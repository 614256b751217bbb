//! No more agents of a target go on purpose at a time than its budgets let go. What goes for a reason for which none holds
//! is not held back, and counts only for those that go later (decision 0036).

use easyenclave_schemas::{AgentId, DisruptionReason, Share, TargetName, Weekday};

use super::Findings;
use super::facts::Facts;
use crate::{Action, Agent, Budget, Liveness, Quarantine, Reported, RetireReason, Target, Trust};

pub(super) fn check(facts: &Facts, name: &TargetName, target: &Target, findings: &mut Findings) {
    if target.disruption.budgets.is_empty() {
        return;
    }
    let agents = facts.observed.agents.iter();
    let agents =
        agents.filter(|(_, agent)| agent.target == *name && agent.liveness != Liveness::Gone);
    let agents: Vec<(&AgentId, &Agent)> = agents.collect();
    let leaving = agents
        .iter()
        .filter(|(id, agent)| leaves(facts, id, agent, target));
    let leaving = leaving.count();
    let retired = agents.iter();
    let retired = retired.filter_map(|(id, agent)| goes(facts, id, agent, target));
    let exchanged = std::iter::repeat_n(DisruptionReason::Drift, exchanged(facts, name));
    let new: Vec<DisruptionReason> = retired.chain(exchanged).collect();
    let budgets = &target.disruption.budgets;
    let held: Vec<_> = budgets.iter().filter(|it| holds(facts, it)).collect();
    let most = |why: DisruptionReason| {
        let meant = held
            .iter()
            .filter(|it| it.reasons.is_empty() || it.reasons.contains(&why));
        meant.map(|budget| most(budget.most, agents.len())).min()
    };
    // In some order each of them finds room: the tightest first.
    let mut allowed: Vec<usize> = new.into_iter().filter_map(most).collect();
    allowed.sort_unstable();
    for (all, most) in (leaving + 1..).zip(allowed) {
        findings.must(7, all <= most, || {
            format!("{all} agents of {name} would be going, a budget allows {most}")
        });
    }
}

fn most(share: Share, of: usize) -> usize {
    match share {
        Share::Count(count) => count as usize,
        Share::Percent(0) => 0,
        Share::Percent(percent) => (of * percent as usize / 100).max(1),
    }
}

/// Looks at each minute of the week before: the window of one of them may go on until now.
fn holds(facts: &Facts, budget: &Budget) -> bool {
    let minute = std::time::Duration::from_secs(60);
    let past = facts.now.as_secs() % 60;
    let this = facts.now.minus(std::time::Duration::from_secs(past));
    budget.windows.is_empty()
        || budget.windows.iter().any(|window| {
            (0..=7 * 24 * 60).any(|ago| {
                let at = this.minus(minute * ago);
                let day = Weekday::of(at);
                window.from.on_day_of(at) == at
                    && (window.days.is_empty() || window.days.contains(&day))
                    && at.plus(window.lasts) > facts.now
            })
        })
}

fn is_to_go(facts: &Facts, agent: &Agent, target: &Target) -> bool {
    let refused = match agent.trust {
        Trust::Refused => true,
        Trust::Unknown => agent.quarantined == Some(Quarantine::Refused),
        Trust::Accepted(_) => false,
    };
    let drifted = !Facts::is_home(agent, target);
    drifted || (refused && !facts.failing(&agent.target))
}

/// Whether it is on its way out already.
fn leaves(facts: &Facts, id: &AgentId, agent: &Agent, target: &Target) -> bool {
    let behind = match &agent.reported {
        Reported::Running(replica) => replica.generation < agent.generation,
        Reported::Idle(seen) => *seen < agent.generation,
        Reported::Unknown => false,
    };
    facts.observed.retires.contains_key(id)
        || (agent.assigned.is_none() && behind && is_to_go(facts, agent, target))
}

/// For what an agent would go on purpose by this plan.
fn goes(facts: &Facts, id: &AgentId, agent: &Agent, target: &Target) -> Option<DisruptionReason> {
    let drifted = !Facts::is_home(agent, target);
    let mut actions = facts.plan.actions.iter();
    actions.find_map(|action| match action {
        Action::Retire {
            agent: of, reason, ..
        } if of == id && !facts.has_approved(action) => match reason {
            RetireReason::Surplus if drifted => Some(DisruptionReason::Drift),
            RetireReason::Surplus => Some(DisruptionReason::Surplus),
            RetireReason::Refused => Some(DisruptionReason::Refused),
            RetireReason::NotStopped if !leaves(facts, id, agent, target) => {
                Some(DisruptionReason::Surplus)
            }
            _ => None,
        },
        _ => None,
    })
}

/// How many replicas on drifted agents of a target stop in exchange for others, at the least. What stops beyond what takes
/// its place is removed by a commit.
fn exchanged(facts: &Facts, name: &TargetName) -> usize {
    let wanted = facts.desired.deployments.iter();
    let wanted = wanted.filter(|(_, spec)| spec.replicas > 0);
    let exchanged = wanted.map(|(id, _)| {
        let carriers = || facts.carriers(id);
        let stops = |of: &AgentId| facts.instructed(of) == Some(None) && !facts.retires(of);
        let is_drifted = |agent: &Agent| {
            let target = facts.target(&agent.target);
            facts.is_trusted(agent) && target.is_some_and(|it| !Facts::is_home(agent, it))
        };
        let stay = carriers().filter(|(of, agent)| {
            facts.after(of, agent) == Some(id)
                && facts.fits(of, agent, id)
                && facts.is_live(of, agent)
                && facts.is_trusted(agent)
        });
        let stopped = carriers().filter(|(of, _)| stops(of)).count();
        let drifted = || carriers().filter(|(of, agent)| stops(of) && is_drifted(agent));
        let elsewhere = drifted().filter(|(_, agent)| agent.target != *name).count();
        let others = stopped - drifted().count() + elsewhere;
        stopped.min(stay.count()).saturating_sub(others)
    });
    exchanged.sum()
}

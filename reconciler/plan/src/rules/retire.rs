//! Destroys machines that are lost, gone, of a removed target, or nobody's. Never one that is merely silent,
//! and never many at once without a person's approval.

use std::time::Duration;

use easyenclave_schemas::{AgentId, OrderId};

use crate::breaker::{self, Verdict};
use crate::draft::{self, Draft};
use crate::view::{
    AgentIx, AgentView, DeploymentIx, Instruction, Life, TargetIx, View, Wanted, number,
};
use crate::{Action, Frozen, HoldReason, Orphan, RetireReason, Subject, WaitReason};

/// How long a machine may be listed without an owner. An agent that registers again after the store was
/// lost needs a few heartbeats.
const ORPHAN_AFTER: Duration = Duration::from_secs(30);

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    frozen(view, draft);
    let mut lost = vec![Vec::new(); view.targets.len()];
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        match (facts.retiring, facts.frozen, facts.life) {
            (true, ..) => draft.wait_agent(view, agent, WaitReason::RetireUnderWay, None),
            (_, _, Life::Heard) => {}
            (_, _, Life::Silent(until)) => {
                draft.wait_agent(view, agent, WaitReason::AgentSilent, Some(until));
            }
            (_, true, _) => draft.wait_agent(view, agent, WaitReason::Frozen, None),
            (_, _, Life::Gone) => draft.retire(view, agent, RetireReason::Gone),
            (_, _, Life::Lost) => lost[facts.target.at()].push(agent),
        }
    }
    for (target, lost) in view.all_targets().zip(lost) {
        retire_lost(view, draft, target, &lost);
        retire_pool(view, draft, target);
    }
    orphans(view, draft);
}

/// What cannot be read stays as it is, and says so.
fn frozen(view: &View, draft: &mut Draft) {
    for frozen in &view.desired.frozen {
        let subject = match frozen {
            Frozen::Deployment(id) => Subject::Deployment(id.clone()),
            Frozen::Target(name) => Subject::Target(name.clone()),
        };
        draft.wait(subject, WaitReason::Frozen, None);
    }
}

/// Lost agents go, unless much of the pool is silent. Those that are silent without being lost yet count:
/// in an outage of the network deadlines pass one after another, and each alone would look harmless.
fn retire_lost(view: &View, draft: &mut Draft, target: TargetIx, lost: &[AgentIx]) {
    if lost.is_empty() {
        return;
    }
    let (silent, of) = (view.target(target).silent, view.target(target).live);
    if view.trips(silent, of) && !view.trips(number(lost.len()), of) {
        for agent in lost {
            draft.wait_agent(view, *agent, WaitReason::OthersSilent { silent, of }, None);
        }
        return;
    }
    let actions = lost
        .iter()
        .map(|a| draft::retire(view, *a, RetireReason::Lost));
    match breaker::judge_pool(view, draft, target, actions.collect()) {
        Verdict::Held(digest) => {
            for agent in lost {
                draft.hold(view, *agent, digest);
            }
        }
        Verdict::Allowed | Verdict::Approved => {
            for agent in lost {
                draft.retire(view, *agent, RetireReason::Lost);
            }
        }
    }
}

/// The agents of a target that is not wanted any more. A pool within the breaker's limits goes agent by agent,
/// as they become free; a larger one is approved and goes as a whole, because every agent that left
/// before would make it another decision.
fn retire_pool(view: &View, draft: &mut Draft, target: TargetIx) {
    if !matches!(view.target(target).state, Wanted::No) {
        return;
    }
    let stays = |a: &AgentIx| draft.is_there(view, *a) && view.agent(*a).is_touchable();
    let pool: Vec<AgentIx> = view.agents_of(target).filter(stays).collect();
    if pool.is_empty() {
        return;
    }
    let actions = pool
        .iter()
        .map(|a| draft::retire(view, *a, RetireReason::TargetRemoved));
    let (free, busy): (Vec<AgentIx>, Vec<AgentIx>) =
        pool.iter().partition(|a| is_free(view, view.agent(**a)));
    match breaker::judge_pool(view, draft, target, actions.collect()) {
        Verdict::Held(digest) => {
            for agent in pool {
                draft.hold(view, agent, digest);
            }
        }
        Verdict::Approved if !busy.is_empty() => {
            for agent in free {
                draft.wait_agent(view, agent, WaitReason::RetirePaced, None);
            }
        }
        Verdict::Allowed | Verdict::Approved => {
            for agent in free {
                draft.retire(view, agent, RetireReason::TargetRemoved);
            }
        }
    }
}

/// Whether an agent of a removed target may go: it runs nothing, or something that no other target will
/// ever take; waiting for the impossible would keep the machine for ever.
fn is_free(view: &View, agent: &AgentView) -> bool {
    match agent.deployment {
        None => agent.instruction == Instruction::Idle,
        Some(deployment) => is_stranded(view, deployment),
    }
}

fn is_stranded(view: &View, deployment: DeploymentIx) -> bool {
    match view.deployment(deployment).state {
        Wanted::Yes(spec) if spec.replicas > 0 => !view.all_targets().any(|target| {
            let room = view.target(target).state.spec().is_some_and(|t| t.max > 0);
            room && view.admits(spec, target)
        }),
        Wanted::Yes(_) | Wanted::No | Wanted::Frozen => false,
    }
}

/// Machines that belong to nothing. All of them are judged together and against the whole fleet: after the
/// store was lost, every machine looks like this until its agent registers again.
fn orphans(view: &View, draft: &mut Draft) {
    let mut due = Vec::new();
    for (order, orphan) in &view.observed.orphans {
        match orphan_state(view, order, orphan) {
            None => due.push(Action::Retire {
                agent: order.agent(),
                datacenter: orphan.datacenter.clone(),
                reason: RetireReason::Orphan,
            }),
            Some(reason) => {
                let until = (reason == WaitReason::OrphanUnconfirmed)
                    .then(|| orphan.since.plus(ORPHAN_AFTER));
                draft.wait(Subject::Order(order.clone()), reason, until);
            }
        }
    }
    if due.is_empty() {
        return;
    }
    let removed = number(due.len());
    let live: u32 = view.targets.iter().map(|target| target.live).sum();
    let of = live + number(view.observed.orphans.len());
    if view.trips(removed, of) {
        let reason = HoldReason::Orphans { removed, of };
        if let Verdict::Held(digest) = breaker::hold(view, draft, reason, due.clone()) {
            for agent in due.iter().filter_map(retired) {
                draft.wait(Subject::Agent(agent), WaitReason::Held { digest }, None);
            }
            return;
        }
    }
    draft.plan.actions.extend(due);
}

fn retired(action: &Action) -> Option<AgentId> {
    match action {
        Action::Retire { agent, .. } => Some(agent.clone()),
        _ => None,
    }
}

/// Why a machine without an owner stays for now, if it does.
fn orphan_state(view: &View, order: &OrderId, orphan: &Orphan) -> Option<WaitReason> {
    let target = orphan
        .target
        .as_ref()
        .and_then(|name| view.find_target(name));
    let frozen = target.is_some_and(|t| matches!(view.target(t).state, Wanted::Frozen));
    let launch = view.observed.launches.get(order);
    if view.observed.retires.contains_key(order.as_str()) {
        Some(WaitReason::RetireUnderWay)
    } else if frozen {
        Some(WaitReason::Frozen)
    } else if launch.is_some_and(|launch| launch.state.is_pending())
        || view.observed.agents.contains_key(order.as_str())
        || view.now < orphan.since.plus(ORPHAN_AFTER)
    {
        Some(WaitReason::OrphanUnconfirmed)
    } else {
        None
    }
}

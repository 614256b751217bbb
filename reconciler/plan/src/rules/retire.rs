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
                if let Some(deployment) = view.agent(*agent).deployment {
                    let reason = WaitReason::Held { digest };
                    draft.wait_deployment(view, deployment, reason, None);
                }
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn silence_waits_until_its_deadline() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v1";
        check(
            state,
            "agent a tiny #0 runs acme/a v1 silent 29",
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:01Z)"#]],
        );
        check(
            state,
            "agent a tiny #0 runs acme/a v1 silent 30",
            expect![[r#"
                retire a in local: silent past the deadline
                launch tiny-0889ddbd6832 for tiny slot 1 generation 1 failures 0 size tiny in local by process under sim
                wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }

    #[test]
    fn an_agent_that_is_gone_is_cleaned_up_without_asking() {
        let world = "agent a tiny #0 gone\nagent b tiny #1 gone\nagent c tiny #2 gone";
        check(
            "target tiny 0 4",
            world,
            expect![[r#"
            retire a in local: its machine is gone
            retire b in local: its machine is gone
            retire c in local: its machine is gone"#]],
        );
    }

    #[test]
    fn an_agent_on_its_way_out_is_not_told_again() {
        let world = "agent a tiny #0 runs acme/a v1 gone\nretiring a";
        check(
            "target tiny 0 1\ndeploy acme/a x1 v1",
            world,
            expect![[r#"
            wait: deployment acme/a: agents missing: 1; the maximum is reached
            wait: agent a: the machine is being destroyed"#]],
        );
    }

    #[test]
    fn lost_agents_beyond_the_breaker_are_held() {
        let world = "agent a tiny #0 silent 40\nagent b tiny #1 silent 40\nagent c tiny #2 idle";
        check(
            "target tiny 3 4",
            world,
            expect![[r#"
            hold: 2 of 3 agents of target tiny would go
              retire a in local: silent past the deadline
              retire b in local: silent past the deadline
            wait: agent a: held until a person approves DIGEST
            wait: agent b: held until a person approves DIGEST"#]],
        );
    }

    #[test]
    fn a_lost_agent_waits_while_others_are_silent_too() {
        let world = "agent a tiny #0 silent 40\nagent b tiny #1 silent 4\nagent c tiny #2 idle";
        check(
            "target tiny 3 4",
            world,
            expect![[r#"
            wait: agent a: 2 of 3 agents of its target are silent
            wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:26Z)"#]],
        );
    }

    #[test]
    fn a_lost_agent_of_something_frozen_stays() {
        let world = "agent a tiny #0 runs acme/a v1 silent 40";
        check(
            "target tiny 0 4\nfreeze-deploy acme/a",
            world,
            expect![[r#"
            wait: deployment acme/a: a document cannot be read, so it stays as it is
            wait: agent a: a document cannot be read, so it stays as it is"#]],
        );
        check(
            "freeze-target tiny\ndeploy acme/a x1 v1",
            world,
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: a document cannot be read, so it stays as it is
                wait: agent a: a document cannot be read, so it stays as it is"#]],
        );
    }

    #[test]
    fn a_replica_that_fits_nowhere_else_goes_with_its_target() {
        let world = "agent a old #0 runs acme/a v1 exposed acme/a";
        check(
            "deploy acme/a x1 v1 exposed",
            world,
            expect![[r#"
            unexpose acme/a on a
            retire a in local: its target is gone
            wait: deployment acme/a: no target has agents of this size and place"#]],
        );
    }

    #[test]
    fn orders_of_a_removed_target_are_withdrawn() {
        check(
            "",
            "order old #0 g1 claimed\norder old #1 g1 fulfilled",
            expect!["cancel old-1ee55ba201fa: its target is gone"],
        );
    }

    #[test]
    fn many_orphans_at_once_are_held() {
        let state = "target tiny 0 9";
        let few = "orphan x 40\norphan y 40 of tiny\nagent a tiny #0 idle\nagent b tiny #1 idle";
        check(
            state,
            few,
            expect![[r#"
            retire b in local: not needed
            hold: 2 of 4 machines belong to nothing
              retire x in local: it belongs to nothing
              retire y in local: it belongs to nothing
            wait: agent a: goes when those before it have gone
            wait: agent x: held until a person approves DIGEST
            wait: agent y: held until a person approves DIGEST"#]],
        );
        check(
            state,
            "orphan x 40\nretiring x",
            expect!["wait: order x: the machine is being destroyed"],
        );
        check(
            state,
            "orphan x 40\nagent a tiny #0 idle",
            expect![[r#"
            retire a in local: not needed
            retire x in local: it belongs to nothing"#]],
        );
    }
}

//! Destroys machines that are lost, gone, of a removed target, or nobody's. Never one that is merely silent,
//! and never many at once without a person's approval.

use easyenclave_schemas::{AgentId, Digest, OrderId};

use crate::breaker::{self, Verdict};
use crate::draft::{self, Draft, Fate};
use crate::view::{
    AgentIx, AgentView, DeploymentIx, Instruction, Life, OwnerIx, Standing, TargetIx, View, Wanted,
    number,
};
use crate::{
    Action, Deployment, Frozen, HoldReason, Orphan, Quarantine, Remedy, RetireReason, Subject,
    WaitReason,
};

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    frozen(view, draft);
    let mut lost = vec![Vec::new(); view.targets.len()];
    for agent in view.all_agents() {
        let facts = view.agent(agent);
        match (facts.retiring, facts.frozen, facts.life) {
            (true, ..) => draft.wait_agent(view, agent, WaitReason::RetireUnderWay, None),
            (_, _, Life::Heard) if view.observed.unlisted.contains(facts.id) => {
                draft.wait_agent(view, agent, WaitReason::AgentUnlisted, None);
            }
            (_, _, Life::Heard) => {}
            (_, _, Life::Silent(until)) => {
                draft.wait_agent(view, agent, WaitReason::AgentSilent, Some(until));
            }
            (_, true, _) => draft.wait_agent(view, agent, view.why_frozen(agent), None),
            (_, _, Life::Gone) => draft.retire(view, agent, RetireReason::Gone),
            (_, _, Life::Lost) => lost[facts.target.at()].push(agent),
        }
    }
    let (mut due, mut stranded) = (Vec::new(), Vec::new());
    for (target, lost) in view.all_targets().zip(lost) {
        due.extend(lost_of_pool(view, draft, target, lost));
        stranded.extend(retire_pool(view, draft, target));
        retire_refused(view, draft, target);
    }
    retire_lost(view, draft, due);
    retire_stranded(view, draft, stranded);
    orphans(view, draft);
}

/// What cannot be read stays as it is, and says so.
fn frozen(view: &View, draft: &mut Draft) {
    for (frozen, why) in &view.desired.frozen {
        let subject = match frozen {
            Frozen::Deployment(id) => Subject::Deployment(id.clone()),
            Frozen::Target(name) => Subject::Target(name.clone()),
        };
        let why = why.clone();
        draft.wait(subject, WaitReason::Frozen { why }, None);
    }
}

/// The lost agents that their pool lets go: all, unless much of the pool is silent. Those that are silent without
/// being lost yet count: in an outage of the network deadlines pass one after another, and each alone would look
/// harmless.
fn lost_of_pool(
    view: &View,
    draft: &mut Draft,
    target: TargetIx,
    lost: Vec<AgentIx>,
) -> Vec<AgentIx> {
    let (silent, of) = (view.target(target).silent, view.target(target).live);
    if lost.is_empty() {
        return lost;
    }
    if view.trips(silent, of) && !view.trips(number(lost.len()), of) {
        wait_for_others(view, draft, &lost, silent, of);
        return Vec::new();
    }
    let actions = actions(view, &lost, RetireReason::Lost);
    match breaker::judge_pool(view, draft, target, actions, 0) {
        Verdict::Allowed => return lost,
        Verdict::Held(digest) => hold_all(view, draft, &lost, digest),
        Verdict::Approved => retire_all(view, draft, &lost, RetireReason::Lost),
    }
    Vec::new()
}

/// Retires lost agents, unless they are all that an owner has: pools of one each would let an owner go in an outage
/// without anybody being asked.
fn retire_lost(view: &View, draft: &mut Draft, mut due: Vec<AgentIx>) {
    due.sort_by_key(|agent| owner(view, *agent));
    for group in due.chunk_by(|a, b| owner(view, *a) == owner(view, *b)) {
        let silent = match owner(view, group[0]) {
            Some(owner) => all_of(view, owner, |facts| facts.life != Life::Heard),
            None => None,
        };
        match silent {
            None => retire_all(view, draft, group, RetireReason::Lost),
            Some(silent) if number(group.len()) < silent => {
                wait_for_others(view, draft, group, silent, silent);
            }
            Some(_) => ask_owner(view, draft, group, RetireReason::Lost),
        }
    }
}

/// Retires agents of removed targets whose replicas fit nowhere else, unless they are all that an owner has.
fn retire_stranded(view: &View, draft: &mut Draft, mut due: Vec<AgentIx>) {
    due.sort_by_key(|agent| owner(view, *agent));
    for group in due.chunk_by(|a, b| owner(view, *a) == owner(view, *b)) {
        let all = owner(view, group[0])
            .and_then(|owner| all_of(view, owner, |facts| !outlives(view, facts)));
        match all {
            None => retire_all(view, draft, group, RetireReason::TargetRemoved),
            Some(_) => ask_owner(view, draft, group, RetireReason::TargetRemoved),
        }
    }
}

fn owner(view: &View, agent: AgentIx) -> Option<OwnerIx> {
    let deployment = view.agent(agent).deployment?;
    Some(view.deployment(deployment).owner)
}

/// How many agents carry something of an owner, if all of them are of this kind and they are more than the breaker
/// lets go unasked.
fn all_of(view: &View, of: OwnerIx, is: impl Fn(&AgentView) -> bool) -> Option<u32> {
    let carries = |agent: &AgentIx| {
        let facts = view.agent(*agent);
        !facts.retiring && facts.life != Life::Gone && owner(view, *agent) == Some(of)
    };
    let mut all = 0;
    for agent in view.all_agents().filter(carries) {
        if !is(view.agent(agent)) {
            return None;
        }
        all += 1;
    }
    (all > view.desired.limits.breaker.max_removals).then_some(all)
}

/// Retires all that an owner has when a person approves it.
fn ask_owner(view: &View, draft: &mut Draft, agents: &[AgentIx], why: RetireReason) {
    let Some(owner) = owner(view, agents[0]) else {
        return;
    };
    let reason = HoldReason::Owner {
        owner: view.owners[owner.at()].clone(),
        removed: number(agents.len()),
    };
    match breaker::hold(view, draft, reason, actions(view, agents, why)) {
        Verdict::Held(digest) => hold_all(view, draft, agents, digest),
        Verdict::Allowed | Verdict::Approved => retire_all(view, draft, agents, why),
    }
}

fn actions(view: &View, agents: &[AgentIx], why: RetireReason) -> Vec<Action> {
    let retire = |agent: &AgentIx| draft::retire(view, *agent, why);
    agents.iter().map(retire).collect()
}

fn retire_all(view: &View, draft: &mut Draft, agents: &[AgentIx], why: RetireReason) {
    for agent in agents {
        draft.retire(view, *agent, why);
    }
}

fn wait_for_others(view: &View, draft: &mut Draft, lost: &[AgentIx], silent: u32, of: u32) {
    for agent in lost {
        draft.wait_agent(view, *agent, WaitReason::OthersSilent { silent, of }, None);
    }
}

fn hold_all(view: &View, draft: &mut Draft, lost: &[AgentIx], digest: Digest) {
    for agent in lost {
        draft.hold(view, *agent, digest);
        if let Some(deployment) = view.agent(*agent).deployment {
            let reason = WaitReason::Held { digest };
            draft.wait_deployment(view, deployment, reason, None);
        }
    }
}

/// The agents of a target that is not wanted any more. A pool within the breaker's limits goes agent by agent,
/// as they become free; a larger one is approved and goes as a whole, because every agent that left
/// before would make it another decision. Answers those that may go as far as their pool is concerned and take a
/// replica with them.
fn retire_pool(view: &View, draft: &mut Draft, target: TargetIx) -> Vec<AgentIx> {
    if !matches!(view.target(target).state, Wanted::No) {
        return Vec::new();
    }
    let stays = |a: &AgentIx| draft.is_there(view, *a);
    let (pool, later): (Vec<AgentIx>, Vec<AgentIx>) = view
        .agents_of(target)
        .filter(stays)
        .partition(|a| view.agent(*a).is_touchable());
    if pool.is_empty() {
        return Vec::new();
    }
    let actions = actions(view, &pool, RetireReason::TargetRemoved);
    let (free, busy): (Vec<AgentIx>, Vec<AgentIx>) =
        pool.iter().partition(|a| is_free(view, view.agent(**a)));
    match breaker::judge_pool(view, draft, target, actions, number(later.len())) {
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
        Verdict::Approved => retire_all(view, draft, &free, RetireReason::TargetRemoved),
        Verdict::Allowed => {
            let carries = |a: &AgentIx| view.agent(*a).deployment.is_some();
            let (stranded, free): (Vec<_>, Vec<_>) = free.into_iter().partition(carries);
            retire_all(view, draft, &free, RetireReason::TargetRemoved);
            return stranded;
        }
    }
    Vec::new()
}

/// When much of a pool is refused, the cause is the policy rather than the machines, so nothing of it is replaced
/// unasked. Whoever meant it, as when an image is withdrawn, approves, and all of them go.
fn retire_refused(view: &View, draft: &mut Draft, target: TargetIx) {
    if !view.target(target).failing {
        return;
    }
    let is_refused = |agent: &AgentIx| {
        let facts = view.agent(*agent);
        facts.standing == Standing::Quarantined(Quarantine::Refused)
            && facts.fact.remedy == Remedy::NotItsOwn
            && facts.is_touchable()
            && draft.is_there(view, *agent)
            && draft.fate(*agent) == Fate::Stays
    };
    let refused: Vec<AgentIx> = view.agents_of(target).filter(is_refused).collect();
    let actions = actions(view, &refused, RetireReason::Refused);
    match breaker::judge_pool(view, draft, target, actions, 0) {
        Verdict::Held(digest) => hold_all(view, draft, &refused, digest),
        Verdict::Approved => retire_all(view, draft, &refused, RetireReason::Refused),
        Verdict::Allowed => {}
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

/// Whether an agent serves something that is still wanted and can be somewhere.
fn outlives(view: &View, agent: &AgentView) -> bool {
    let removed = matches!(view.target(agent.target).state, Wanted::No);
    let stays = |deployment| match view.deployment(deployment).state {
        Wanted::Yes(spec) => spec.replicas > 0 && !(removed && is_stranded(view, deployment)),
        Wanted::No => false,
        Wanted::Frozen => true,
    };
    agent.is_ready() && agent.deployment.is_some_and(stays)
}

fn is_stranded(view: &View, deployment: DeploymentIx) -> bool {
    match view.deployment(deployment).state {
        Wanted::Yes(spec) if spec.replicas > 0 => !view.all_targets().any(|target| {
            let room = view.target(target).state.spec().is_some_and(|t| t.max > 0);
            room && view.admits(deployment, target) && is_home_of_named(view, spec, target)
        }),
        Wanted::Yes(_) | Wanted::No | Wanted::Frozen => false,
    }
}

/// Whether a target has the agent that a deployment names, if it names one.
fn is_home_of_named(view: &View, spec: &Deployment, target: TargetIx) -> bool {
    let named = spec.placement.agent.as_ref();
    named.is_none_or(|named| {
        let agent = view.observed.agents.get(named);
        agent.is_some_and(|agent| agent.target == *view.target(target).name)
    })
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
                    .then(|| orphan.since.plus(view.desired.limits.orphan_after));
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

/// Whether a machine's agent is still given time to register again: until then it may serve, and carry anything. What
/// keeps it from being judged is not counted against it.
pub(crate) fn is_returning(view: &View, orphan: &Orphan) -> bool {
    let is_early = || view.now < orphan.since.plus(view.desired.limits.orphan_after);
    orphan.slot.is_some() && (orphan.unjudged || is_early())
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
    let frozen = target.filter(|t| matches!(view.target(*t).state, Wanted::Frozen));
    let launch = view.observed.launches.get(order);
    if view.observed.retires.contains_key(order.as_str()) {
        Some(WaitReason::RetireUnderWay)
    } else if let Some(frozen) = frozen {
        Some(view.why_target_frozen(frozen))
    } else if launch.is_some_and(|launch| launch.state.is_pending())
        || view.observed.agents.contains_key(order.as_str())
        || view.now < orphan.since.plus(view.desired.limits.orphan_after)
    {
        Some(WaitReason::OrphanUnconfirmed)
    } else if orphan.unjudged {
        Some(WaitReason::TrustUnknown)
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
            wait: agent a: 2 of 3 agents of its pool or owner are silent
            wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:26Z)"#]],
        );
    }

    #[test]
    fn all_that_an_owner_has_is_held_whatever_pools_it_is_in() {
        let state = "target one 0 1\ntarget two 0 1\ntarget three 0 1\ndeploy acme/a x3 v1";
        let world = |two, three| {
            format!(
                "agent a one #0 runs acme/a v1 silent 40\nagent b two #0 runs acme/a v1 {two}\n\
                 agent c three #0 runs acme/a v1 {three}"
            )
        };
        let plan = |two, three| crate::testing::planned(state, &world(two, three));
        assert!(
            plan("", "silent 40").held.is_empty(),
            "one of three serves on"
        );
        let early = plan("silent 40", "silent 20");
        assert!(
            early.actions.is_empty() && early.held.is_empty(),
            "an outage, perhaps"
        );
        let late = plan("silent 40", "silent 40");
        let retires = |plan: &crate::Plan| plan.held.iter().map(|h| h.actions.len()).sum::<usize>();
        assert!(
            late.actions.is_empty() && retires(&late) == 3,
            "everything of an owner"
        );
    }

    #[test]
    fn a_lost_agent_of_something_frozen_stays() {
        let world = "agent a tiny #0 runs acme/a v1 silent 40";
        check(
            "target tiny 0 4\nfreeze-deploy acme/a",
            world,
            expect![[r#"
            wait: deployment acme/a: kept as it is: its.yaml cannot be used
            wait: agent a: kept as it is: its.yaml cannot be used"#]],
        );
        check(
            "freeze-target tiny\ndeploy acme/a x1 v1",
            world,
            expect![[r#"
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: kept as it is: its.yaml cannot be used
                wait: agent a: kept as it is: its.yaml cannot be used"#]],
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

    #[test]
    fn a_machine_whose_agent_cannot_be_judged_now_stays_and_keeps_its_place() {
        let state = "target tiny 1 4\ndeploy acme/a x1 v1";
        check(
            state,
            "orphan x 40 of tiny slot #0 unjudged",
            expect![[r#"
                wait: deployment acme/a: agents missing: 1; machines are there whose agents may register again
                wait: target tiny: agents missing: 1; machines are there whose agents may register again
                wait: order x: its evidence cannot be judged now"#]],
        );
        check(
            state,
            "orphan x 40 of tiny slot #0",
            expect![[r#"
            retire x in local: it belongs to nothing
            launch tiny-55bb1394b081 for tiny slot 0 generation 1 failures 0 size tiny in local by process under sim
            wait: deployment acme/a: agents missing: 1; ordered"#]],
        );
    }

    #[test]
    fn an_agent_that_is_heard_and_not_listed_serves_on_and_people_see_it() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v1";
        check(
            state,
            "agent a tiny #0 runs acme/a v1\nunlisted a",
            expect!["wait: agent a: heard, and its worker does not list its machine"],
        );
    }
}

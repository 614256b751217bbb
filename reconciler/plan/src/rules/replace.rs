//! Stops replicas that are not wanted, moves those that are in the wrong place, and brings the others to the
//! version of now. A roll-out never takes more ready replicas away than the deployment allows.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::breaker::{self, Verdict};
use crate::census::{Census, Replica};
use crate::draft::{self, Draft, Fate, Need, Surge};
use crate::view::{AgentIx, DeploymentIx, OwnerIx, Standing, TargetIx, View, Wanted, number};
use crate::{Action, Deployment, Exposure, HoldReason, OnLapse, WaitReason};

/// A replica that is to stop because fewer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removal {
    owner: OwnerIx,
    target: TargetIx,
    agent: AgentIx,
    deployment: DeploymentIx,
    when: When,
}

/// Whether a replica can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Now,
    /// When its agent is heard of. Until then it counts among those that are to go.
    Later,
}

/// What is to stop.
#[derive(Default)]
struct Going {
    /// Because fewer are wanted: the breaker decides.
    removals: Vec<Removal>,
    /// Because another replica was placed for it.
    moves: Vec<(DeploymentIx, AgentIx)>,
}

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut census = Census::default();
    let mut going = Going::default();
    let mut unsettled = Vec::new();
    for deployment in view.all_deployments() {
        match view.deployment(deployment).state {
            Wanted::Yes(spec) if spec.replicas > 0 => {
                census.count(view, draft, deployment, spec);
                if !census.is_settled(spec) {
                    shed(view, draft, deployment, spec, &census, &mut going);
                    unsettled.push((deployment, spec));
                }
            }
            Wanted::Yes(_) | Wanted::No => {
                stop_all(view, draft, deployment, &mut going.removals);
            }
            Wanted::Frozen => {}
        }
    }
    remove(view, draft, &mut going.removals);
    let held = held(draft, &going.removals);
    move_away(view, draft, &going.moves, &held);
    draft.count_use(view);
    for (deployment, spec) in unsettled {
        census.count(view, draft, deployment, spec);
        let update = Update {
            view,
            deployment,
            spec,
            held: held.contains(&deployment),
        };
        update.run(draft, &mut census);
    }
}

/// Nothing of it is wanted. Agents that do not answer are told when they do.
fn stop_all(view: &View, draft: &mut Draft, deployment: DeploymentIx, removals: &mut Vec<Removal>) {
    for agent in view.replicas(deployment) {
        if !draft.is_there(view, agent) {
            continue;
        }
        let removal = removal(view, deployment, agent);
        removals.push(removal);
        if removal.when == When::Later {
            left(view, draft, deployment, agent);
        }
    }
}

fn left(view: &View, draft: &mut Draft, deployment: DeploymentIx, agent: AgentIx) {
    let agent = view.agent(agent).id.clone();
    draft.wait_deployment(view, deployment, WaitReason::ReplicaStays { agent }, None);
}

/// Stops replicas beyond those wanted, and those whose replacement is ready.
fn shed(
    view: &View,
    draft: &mut Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    census: &Census,
    out: &mut Going,
) {
    let surplus = surplus(spec, census);
    let kept = census.placed() - number(surplus.len());
    let removal = |agent: &AgentIx| removal(view, deployment, *agent);
    out.removals.extend(surplus.iter().map(removal));
    let later = surplus_later(view, draft, deployment, spec, census);
    out.removals.extend(later);
    if census.movers.is_empty() && census.bad.is_empty() {
        return;
    }
    stop_lapsed(view, draft, deployment, census);
    let lost = serving_among(census, &surplus);
    let mut going = leaving(spec, census, lost);
    going.retain(|agent| draft.fate(*agent) != Fate::Stops);
    // Each replica that was placed makes up for one that leaves; beyond that, replicas are removed.
    let (moved, removed) = going.split_at(going.len().min(kept as usize));
    out.moves.extend(moved.iter().map(|a| (deployment, *a)));
    out.removals.extend(removed.iter().map(removal));
    let later = leaving_later(spec, census, removed);
    out.removals.extend(later.iter().map(|agent| Removal {
        when: When::Later,
        ..removal(agent)
    }));
}

/// Of more misplaced replicas than are wanted at all, those beyond go for good. They count from the start, although
/// they leave one after the other.
fn leaving_later(spec: &Deployment, census: &Census, now: &[AgentIx]) -> Vec<AgentIx> {
    let movers = census.movers.iter().map(|mover| mover.agent);
    let all = movers.chain(census.bad.iter().copied());
    all.filter(|agent| !now.contains(agent))
        .skip(spec.replicas as usize)
        .collect()
}

/// The deployments of which something is held.
fn held(draft: &Draft, removals: &[Removal]) -> BTreeSet<DeploymentIx> {
    let held = removals
        .iter()
        .filter(|r| r.when == When::Now && matches!(draft.fate(r.agent), Fate::Held(_)));
    held.map(|r| r.deployment).collect()
}

/// Stops what has moved. While replicas of the same deployment are held, none: what was placed would make up for two
/// more in every pass, until nothing is left to be asked about.
fn move_away(
    view: &View,
    draft: &mut Draft,
    moves: &[(DeploymentIx, AgentIx)],
    held: &BTreeSet<DeploymentIx>,
) {
    for (deployment, agent) in moves.iter().filter(|it| !held.contains(&it.0)) {
        draft.unassign(view, *agent, *deployment);
    }
}

/// Where the target says so, a workload on an agent that is not trusted any more does not go on behind the curtain.
/// It is hidden first.
fn stop_lapsed(view: &View, draft: &mut Draft, deployment: DeploymentIx, census: &Census) {
    for &agent in &census.bad {
        let facts = view.agent(agent);
        let target = view.target(facts.target).state.spec();
        let stops = target.is_some_and(|target| target.on_lapse == OnLapse::Stop);
        if stops && facts.fact.exposed == Exposure::Hidden {
            draft.unassign(view, agent, deployment);
        }
    }
}

/// Those beyond what is wanted, the ones that serve least first. Replicas that are not known of count as
/// there, but never make one that is known go.
fn surplus(spec: &Deployment, census: &Census) -> Vec<AgentIx> {
    let over = number(census.good.len()).saturating_sub(allowed(spec, census));
    let mut good = census.good.clone();
    good.sort_unstable_by_key(|r| (r.ready, r.serves, r.current, Reverse(r.agent)));
    good.iter().take(over as usize).map(|r| r.agent).collect()
}

/// Replicas of agents that are not heard of, as many as there are too many beside those that can be stopped now.
fn surplus_later(
    view: &View,
    draft: &Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    census: &Census,
) -> Vec<Removal> {
    let allowed = allowed(spec, census);
    let over = census.placed().saturating_sub(allowed);
    let now = number(census.good.len()).saturating_sub(allowed);
    let unheard = view
        .replicas(deployment)
        .filter(|agent| draft.is_there(view, *agent) && !view.agent(*agent).is_touchable());
    unheard
        .take((over - now) as usize)
        .map(|agent| removal(view, deployment, agent))
        .collect()
}

/// How many replicas may be there: one more than wanted during a roll-out that may not take any away.
fn allowed(spec: &Deployment, census: &Census) -> u32 {
    let old = census.outdated().any(|r| r.ready);
    let new = census.good.iter().any(|r| r.current || !r.ready);
    let surge = u32::from(spec.max_unavailable == 0 && old && new);
    spec.replicas.saturating_add(surge)
}

fn serving_among(census: &Census, agents: &[AgentIx]) -> u32 {
    let gone = |r: &&Replica| r.serves && agents.contains(&r.agent);
    number(census.good.iter().filter(gone).count())
}

/// The misplaced replicas that may leave now. One that serves leaves when enough others serve; one that
/// does not, when its replacement has a place.
fn leaving(spec: &Deployment, census: &Census, lost: u32) -> Vec<AgentIx> {
    let mut serving = census.serving() - lost;
    let mut there = census.placed() + number(census.movers.len());
    let mut going = Vec::new();
    let mut movers = census.movers.clone();
    movers.sort_unstable_by_key(|r| (r.ready, r.serves, Reverse(r.agent)));
    for mover in movers {
        if there > spec.replicas
            && (!mover.ready || serving - u32::from(mover.serves) >= spec.replicas)
        {
            there -= 1;
            serving -= u32::from(mover.serves);
            going.push(mover.agent);
        }
    }
    if serving >= spec.replicas {
        going.extend(&census.bad);
    }
    going
}

fn removal(view: &View, deployment: DeploymentIx, agent: AgentIx) -> Removal {
    Removal {
        owner: view.deployment(deployment).owner,
        target: view.agent(agent).target,
        agent,
        deployment,
        when: match view.agent(agent).is_touchable() {
            true => When::Now,
            false => When::Later,
        },
    }
}

/// Lets removals through, or holds them: first what would leave an owner without a ready replica, then pool by
/// pool. A renamed deployment goes unasked as soon as its new name is ready.
fn remove(view: &View, draft: &mut Draft, removals: &mut [Removal]) {
    if removals.is_empty() {
        return;
    }
    removals.sort_unstable();
    let ready = ready_by_owner(view, draft);
    let mut rest = Vec::new();
    for group in removals.chunk_by(|a, b| a.owner == b.owner) {
        let owner = group[0].owner;
        let removed = number(group.len());
        let gone = group.iter().filter(|r| view.agent(r.agent).is_ready());
        let left = ready[owner.at()] - number(gone.count());
        if left > 0 || removed <= view.desired.limits.breaker.max_removals {
            rest.extend_from_slice(group);
            continue;
        }
        let owner = view.owners[owner.at()].clone();
        let reason = HoldReason::Owner { owner, removed };
        let now = actions(view, group);
        if !now.is_empty() {
            let verdict = breaker::hold(view, draft, reason, now);
            carry_out(view, draft, group, verdict);
        }
    }
    rest.sort_unstable_by_key(|removal| (removal.target, removal.agent));
    for group in rest.chunk_by(|a, b| a.target == b.target) {
        let (target, now) = (group[0].target, actions(view, group));
        let later = number(group.len() - now.len());
        if now.is_empty() {
            continue;
        }
        let verdict = breaker::judge_pool(view, draft, target, now, later);
        carry_out(view, draft, group, verdict);
    }
}

/// The replicas of each owner that are ready now.
fn ready_by_owner(view: &View, draft: &Draft) -> Vec<u32> {
    let mut ready = vec![0; view.owners.len()];
    for agent in view.all_agents() {
        if let Some(deployment) = draft.carries(view, agent)
            && view.agent(agent).is_ready()
        {
            ready[view.deployment(deployment).owner.at()] += 1;
        }
    }
    ready
}

/// Those of them that can be made now.
fn actions(view: &View, removals: &[Removal]) -> Vec<Action> {
    let action = |r: &Removal| draft::unassign(view, r.agent, r.deployment);
    let now = removals.iter().filter(|r| r.when == When::Now);
    now.map(action).collect()
}

fn carry_out(view: &View, draft: &mut Draft, removals: &[Removal], verdict: Verdict) {
    for removal in removals.iter().filter(|r| r.when == When::Now) {
        match verdict {
            Verdict::Held(digest) => {
                draft.hold(view, removal.agent, digest);
                let reason = WaitReason::Held { digest };
                draft.wait_deployment(view, removal.deployment, reason, None);
            }
            Verdict::Allowed | Verdict::Approved => {
                draft.unassign(view, removal.agent, removal.deployment);
            }
        }
    }
}

/// Brings one deployment's replicas to the version of now.
struct Update<'v, 'a> {
    view: &'v View<'a>,
    deployment: DeploymentIx,
    spec: &'a Deployment,
    /// Whether some of its replicas are held.
    held: bool,
}

impl Update<'_, '_> {
    fn run(&self, draft: &mut Draft, census: &mut Census) {
        self.adopt(draft, census);
        self.report(draft, census);
        let missing = self.spec.replicas.saturating_sub(census.placed());
        let surge = match census.outdated().next() {
            Some(_) => self.roll(draft, census),
            None => Surge::No,
        };
        if missing > 0 || surge != Surge::No {
            draft.needs.push(Need {
                deployment: self.deployment,
                missing,
                surge,
            });
        }
    }

    /// A workload that runs undecided, as after the store was lost, is taken over where it is; one too
    /// many is stopped.
    fn adopt(&self, draft: &mut Draft, census: &mut Census) {
        for agent in std::mem::take(&mut census.strays) {
            let facts = self.view.agent(agent);
            if facts.standing == Standing::Unjudged {
                census.fixed += 1;
                continue;
            }
            let fits = facts.is_eligible() && self.view.admits(self.spec, facts.target);
            if census.placed() < self.spec.replicas
                && fits
                && draft.quota_left(self.view, self.deployment) > 0
            {
                draft.uses_more(self.view.deployment(self.deployment).owner, 1);
                draft.assign(self.view, agent, self.deployment);
                census.fixed += 1;
            } else {
                draft.unassign(self.view, agent, self.deployment);
            }
        }
    }

    /// Says which replicas are not ready, which are about to move, and which are too many.
    fn report(&self, draft: &mut Draft, census: &Census) {
        let over = census.placed() > self.spec.replicas;
        for agent in self.view.replicas(self.deployment) {
            let facts = self.view.agent(agent);
            if !draft.is_there(self.view, agent) || draft.carries(self.view, agent).is_none() {
                continue;
            }
            if !facts.is_ready() {
                let (reason, until) = facts.unready(self.view.desired, self.view.now);
                draft.wait_deployment(self.view, self.deployment, reason, until);
            } else if !facts.is_touchable() && (over || !facts.current) {
                left(self.view, draft, self.deployment, agent);
            }
        }
        for mover in &census.movers {
            draft.wait_agent(self.view, mover.agent, WaitReason::Moving, None);
            draft.wait_deployment(self.view, self.deployment, WaitReason::Moving, None);
        }
    }

    /// Updates in place what may be taken away. Says whether one agent more is needed to go on.
    fn roll(&self, draft: &mut Draft, census: &Census) -> Surge {
        for replica in census.outdated().filter(|r| !r.ready) {
            draft.assign(self.view, replica.agent, self.deployment);
        }
        let steady = census.outdated().filter(|r| r.ready).count();
        if steady == 0 {
            return Surge::No;
        }
        let takable = self.takable(census);
        if self.spec.max_unavailable == 0 {
            return self.exchange(draft, census, &takable);
        }
        for agent in &takable {
            draft.assign(self.view, *agent, self.deployment);
        }
        if steady > takable.len() {
            self.wait_for_room(draft, census);
        }
        Surge::No
    }

    /// The ready replicas of an old version that may be taken away now, those that do not serve first.
    fn takable(&self, census: &Census) -> Vec<AgentIx> {
        let floor = self.spec.replicas.saturating_sub(self.spec.max_unavailable);
        let mut serving = census.serving();
        let mut steady: Vec<&Replica> = census.outdated().filter(|r| r.ready).collect();
        steady.sort_by_key(|replica| replica.serves);
        steady.retain(|replica| {
            let left = serving - u32::from(replica.serves);
            let may_go = left >= floor;
            serving = if may_go { left } else { serving };
            may_go
        });
        steady.iter().map(|replica| replica.agent).collect()
    }

    /// A roll-out that may take nothing away: a new replica is placed, and when it serves, an old one stops. It waits
    /// while replicas too many are held: nothing could be taken in exchange that nobody was asked for.
    fn exchange(&self, draft: &mut Draft, census: &Census, takable: &[AgentIx]) -> Surge {
        if self.held {
            return Surge::No;
        }
        for agent in takable {
            draft.unassign(self.view, *agent, self.deployment);
        }
        self.wait_for_room(draft, census);
        let surges = census.placed() > self.spec.replicas;
        match (surges, census.serving() >= self.spec.replicas) {
            (true, _) => Surge::No,
            (false, true) => Surge::Now,
            (false, false) => Surge::Later,
        }
    }

    fn wait_for_room(&self, draft: &mut Draft, census: &Census) {
        let reason = WaitReason::MaxUnavailable {
            unavailable: self.spec.replicas.saturating_sub(census.serving()),
            allowed: self.spec.max_unavailable,
        };
        draft.wait_deployment(self.view, self.deployment, reason, None);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_replicas_that_serve_least_stop_first() {
        let state = "breaker 2 25\ntarget tiny 0 4\ndeploy acme/a x2 v1";
        let world = "agent a tiny #0 starts acme/a v1\nagent b tiny #1 runs acme/a v2\n\
                     agent c tiny #2 runs acme/a v1\nagent d tiny #3 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
            unassign acme/a from a generation 3
            unassign acme/a from b generation 3"#]],
        );
    }

    #[test]
    fn a_silent_replica_counts_and_makes_no_other_go() {
        let state = "target tiny 0 4\ndeploy acme/a x1 v1";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1 silent 5";
        check(
            state,
            world,
            expect![[r#"
                wait: deployment acme/a: the replica on b is not ready
                wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn a_deleted_deployment_stops_where_agents_answer() {
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1 silent 5\n\
                     agent c tiny #2 runs acme/b v1\nagent d tiny #3 idle";
        check(
            "target tiny 4 4\ndeploy acme/b x1 v1",
            world,
            expect![[r#"
                hold: 2 of 4 agents of target tiny would go
                  unassign acme/a from a generation 3
                wait: deployment acme/a: the replica on b cannot be changed now
                wait: deployment acme/a: held until a person approves DIGEST
                wait: agent a: held until a person approves DIGEST
                wait: agent b: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn the_last_ready_replicas_of_an_owner_are_held() {
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 idle\nagent d big #0 idle";
        let state = "breaker 1 100\ntarget tiny 3 4\ntarget big 1 1";
        check(
            state,
            world,
            expect![[r#"
            hold: 2 replicas of owner acme would go and none would be ready
              unassign acme/a from a generation 3
              unassign acme/a from b generation 3
            wait: deployment acme/a: held until a person approves DIGEST
            wait: agent a: held until a person approves DIGEST
            wait: agent b: held until a person approves DIGEST"#]],
        );
    }

    #[test]
    fn only_what_may_be_missing_is_updated() {
        let state = "target tiny 0 4\ndeploy acme/a x3 v2 unavailable 2";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 runs acme/a v1\n\
                     agent c tiny #2 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            assign acme/a to b generation 3 workload v2
            wait: deployment acme/a: replicas not serving: 0, allowed: 2"#]],
        );
    }

    #[test]
    fn a_replica_that_does_not_serve_is_updated_at_once() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v3 unavailable 0";
        let world = "agent a tiny #0 runs acme/a v1\nagent b tiny #1 told acme/a v2";
        check(
            state,
            world,
            expect![[r#"
            assign acme/a to b generation 3 workload v3
            launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
            wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: replicas not serving: 1, allowed: 0"#]],
        );
    }

    #[test]
    fn a_published_replica_waits_for_its_substitute_to_be_published() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 exposed";
        let world = "agent a tiny #0 runs acme/a v2\nagent b tiny #1 runs acme/a v1 exposed acme/a";
        check(
            state,
            world,
            expect![[r#"
            expose acme/a on a
            wait: deployment acme/a: replicas not serving: 1, allowed: 1"#]],
        );
    }

    #[test]
    fn a_silent_agent_is_not_rolled_out_to() {
        let state = "target tiny 0 4\ndeploy acme/a x2 v2 unavailable 2";
        let world = "agent a tiny #0 runs acme/a v1 silent 5\nagent b tiny #1 runs acme/a v1";
        check(
            state,
            world,
            expect![[r#"
                assign acme/a to b generation 3 workload v2
                wait: deployment acme/a: the replica on a is not ready
                wait: agent a: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:25Z)"#]],
        );
    }

    #[test]
    fn a_replica_in_the_wrong_place_moves_when_its_substitute_serves() {
        let state = "target near 0 2 in near\ntarget far 0 2 in far\ndeploy acme/a x1 v1 in far";
        let stays =
            "agent a near #0 runs acme/a v1 in near\nagent b far #0 starts acme/a v1 in far";
        check(
            state,
            stays,
            expect![[r#"
            wait: deployment acme/a: the replica on b is not ready (until 2026-01-01T00:04:00Z)
            wait: deployment acme/a: its replica moves when the replacement is ready
            wait: agent a: its replica moves when the replacement is ready"#]],
        );
        let goes = "agent a near #0 runs acme/a v1 in near\nagent b far #0 runs acme/a v1 in far";
        check(state, goes, expect!["unassign acme/a from a generation 3"]);
    }

    #[test]
    fn a_stray_is_taken_over_or_stopped() {
        let world = "agent a tiny #0 strays acme/a v1";
        check(
            "target tiny 1 1\ndeploy acme/a x1 v1",
            world,
            expect![[r#"
            assign acme/a to a generation 3 workload v1
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
        check(
            "target tiny 1 1",
            world,
            expect!["unassign acme/a from a generation 3"],
        );
        check(
            "target tiny 1 1\nfreeze-deploy acme/a",
            world,
            expect![[r#"
            wait: deployment acme/a: a document cannot be read, so it stays as it is
            wait: agent a: a document cannot be read, so it stays as it is"#]],
        );
    }

    #[test]
    fn what_runs_under_a_forgotten_instruction_is_taken_over_under_its_own_number() {
        let state = "target tiny 1 1\ndeploy acme/a x1 v2";
        check(
            state,
            "agent a tiny #0 kept acme/a v2",
            expect![[r#"
            assign acme/a to a generation 2 workload v2
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
        check(
            state,
            "agent a tiny #0 kept acme/a v1",
            expect![[r#"
            assign acme/a to a generation 3 workload v2
            wait: deployment acme/a: the replica on a is not ready"#]],
        );
    }

    #[test]
    fn a_workload_without_trust_is_hidden_first_and_then_stopped_where_the_target_says_so() {
        let deploy = "deploy acme/a x1 v1 exposed";
        let others = "agent b tiny #1\nagent c tiny #2\nagent d tiny #3\nagent e tiny #4";
        let run = "agent a tiny #0 runs acme/a v1 refused";
        check(
            &format!("target tiny 5 5 stops\n{deploy}"),
            &format!("{run} exposed acme/a\n{others}"),
            expect![[r#"
                unexpose acme/a on a
                quarantine a: its evidence is refused
                assign acme/a to b generation 2 workload v1
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
        check(
            &format!("target tiny 5 5 stops\n{deploy}"),
            &format!("{run} out-refused\n{others}"),
            expect![[r#"
                unassign acme/a from a generation 3
                assign acme/a to b generation 2 workload v1
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
        check(
            &format!("target tiny 5 5\n{deploy}"),
            &format!("{run} out-refused\n{others}"),
            expect![[r#"
                assign acme/a to b generation 2 workload v1
                wait: deployment acme/a: the replica on a is not ready
                wait: target tiny: agents missing: 1; the maximum is reached
                wait: agent a: in quarantine: its evidence is refused"#]],
        );
    }
}

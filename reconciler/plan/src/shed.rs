//! Which replicas are to stop: for good, because fewer are wanted, or because another was placed for them. What goes for
//! good counts from the start, whether it can go now or not: taken one by one everything looks harmless.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use easyenclave_schemas::Digest;

use crate::breaker::{self, Verdict};
use crate::census::{Census, Replica};
use crate::draft::{self, Draft, Fate};
use crate::rules::front;
use crate::spread;
use crate::view::{AgentIx, DeploymentIx, OwnerIx, TargetIx, View, number};
use crate::{Action, Deployment, Exposure, HoldReason, OnLapse, WaitReason};

/// What is to stop.
#[derive(Default)]
pub(crate) struct Shed {
    /// For good: the breaker decides, whatever budgets say.
    removals: Vec<Removal>,
}

/// A replica that is to stop because fewer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removal {
    owner: OwnerIx,
    target: TargetIx,
    agent: AgentIx,
    when: When,
    deployment: DeploymentIx,
}

/// Whether a replica can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Now,
    /// Until then it counts among those that are to go.
    Later,
}

impl Shed {
    /// Nothing of it is wanted. Agents that do not answer are told when they do.
    pub(crate) fn all(&mut self, view: &View, draft: &mut Draft, deployment: DeploymentIx) {
        for agent in view.replicas(deployment) {
            if !draft.is_there(view, agent) {
                continue;
            }
            let when = match view.agent(agent).is_touchable() {
                true => When::Now,
                false => When::Later,
            };
            self.removals.push(removal(view, deployment, agent, when));
            if when == When::Later {
                left(view, draft, deployment, agent);
            }
        }
    }

    /// Replicas beyond those wanted: more of them leave than were placed for them.
    pub(crate) fn beyond(
        &mut self,
        view: &View,
        draft: &mut Draft,
        deployment: DeploymentIx,
        spec: &Deployment,
        census: &Census,
    ) {
        let mut remove = |agents: &[AgentIx], when| {
            let removals = agents.iter();
            let removals = removals.map(|agent| removal(view, deployment, *agent, when));
            self.removals.extend(removals);
        };
        let moves = front::goes_on(view, draft, deployment, spec);
        let surplus = surplus(view, spec, census, moves);
        let kept = census.in_place() - number(surplus.len());
        remove(&surplus, When::Now);
        remove(&surplus_later(spec, census, &surplus), When::Later);
        let aim = view.deployment(deployment).aim;
        remove(&strays_beyond(view, spec, census, aim), When::Now);
        if census.movers.is_empty() && census.bad.is_empty() {
            return;
        }
        stop_lapsed(view, draft, deployment, census);
        let lost = serving_among(census, &surplus);
        let mut going = leaving(spec, census, lost, |_| true);
        going.retain(|agent| draft.fate(*agent) != Fate::Stops);
        // Each replica that was placed makes up for one that leaves; beyond that, replicas are removed.
        let removed = going.get(kept as usize..).unwrap_or_default();
        remove(removed, When::Now);
        remove(&leaving_later(spec, census, removed), When::Later);
    }

    /// Lets what is to stop go, or holds it. Answers the deployments of which something waits for a person, now or as
    /// soon as it can go: nothing else of those stops either, or what was placed would make up for others in every pass.
    pub(crate) fn carry_out(mut self, view: &View, draft: &mut Draft) -> BTreeSet<DeploymentIx> {
        let mut asked = BTreeSet::new();
        self.removals.sort_unstable();
        self.removals.dedup_by_key(|removal| removal.agent);
        remove(view, draft, &self.removals, &mut asked);
        asked
    }
}

/// Stops replicas in exchange for what was placed for them, counted after what is removed. One that may not go now
/// holds back no other.
pub(crate) fn exchange(
    view: &View,
    draft: &mut Draft,
    deployment: DeploymentIx,
    spec: &Deployment,
    census: &Census,
) {
    let mut left = census.in_place();
    let going = leaving(spec, census, 0, |agent| {
        let goes = left > 0 && may_stop(view, draft, census, agent);
        left -= u32::from(goes);
        goes
    });
    for agent in going {
        draft.unassign(view, agent, deployment);
    }
}

/// Says that a replica cannot be stopped or changed now.
pub(crate) fn left(view: &View, draft: &mut Draft, deployment: DeploymentIx, agent: AgentIx) {
    let agent = view.agent(agent).id.clone();
    draft.wait_deployment(view, deployment, WaitReason::ReplicaStays { agent }, None);
}

fn removal(view: &View, deployment: DeploymentIx, agent: AgentIx, when: When) -> Removal {
    Removal {
        owner: view.deployment(deployment).owner,
        target: view.agent(agent).target,
        agent,
        when,
        deployment,
    }
}

/// Those beyond what is wanted, the ones that serve least first, and where most are for one that is spread. Replicas that
/// are not known of count as there, but never make one that is known go. Where a name leads goes once the name has moved, and
/// where that will not be, another goes in its place.
fn surplus(view: &View, spec: &Deployment, census: &Census, moves: bool) -> Vec<AgentIx> {
    let new = census.good.iter().any(|r| r.current || !r.ready);
    let allowed = spec.replicas.saturating_add(surge(spec, census, new));
    let over = number(census.good.len()).saturating_sub(allowed);
    // Where a name leads goes last: among those that are equal, whatever spreading would prefer.
    let class = |r: &Replica| (r.ready, r.of_use, r.serves, r.current, r.fronts);
    let good = census.good.clone();
    let good = spread::in_order((view, spec, census), good, class, |r| Reverse(r.agent));
    let going = good.iter().filter(|r| moves || !r.fronts);
    let surplus = going.take(over as usize).filter(|r| !r.fronts);
    surplus.map(|r| r.agent).collect()
}

/// As many more as there are too many, of those that may not be touched first. One that may be the new one of a roll-out,
/// or else is one too many, stays, and counts.
fn surplus_later(spec: &Deployment, census: &Census, now: &[AgentIx]) -> Vec<AgentIx> {
    let new = census.good.iter().any(|r| r.current);
    let wanted = spec.replicas.saturating_add(surge(spec, census, new));
    let over = census.placed().saturating_sub(wanted) as usize;
    let good = census.good.iter().map(|r| r.agent);
    let untouched = census.stuck.iter().chain(&census.fixed).copied();
    let others = untouched.chain(good).filter(|agent| !now.contains(agent));
    others.take(over.saturating_sub(now.len())).collect()
}

/// More than wanted may be there during a roll-out that need not take any away. What is old and serves nobody is not
/// removed either: the roll-out stops it, or brings it to the aim.
fn surge(spec: &Deployment, census: &Census, new: bool) -> u32 {
    let current = census.good.iter().any(|r| r.current);
    let old = census.outdated().any(|r| r.ready || current);
    match old && new {
        true => census.surge(spec),
        false => 0,
    }
}

/// What runs undecided beyond what is wanted, what is not ready and then what is old first. Where none may be away, others
/// are placed before it goes, and are not counted until they serve in its place.
fn strays_beyond(
    view: &View,
    spec: &Deployment,
    census: &Census,
    aim: Option<Digest>,
) -> Vec<AgentIx> {
    let is_new = |agent: &AgentIx| view.agent(*agent).runs() == aim;
    let new = census.strays.iter().filter(|agent| is_new(agent)).count();
    let good = census.good.iter().filter(|r| r.current).count();
    let fixed = census.fixed.iter().filter(|a| view.agent(**a).current);
    let more = match spec.rollout.max_unavailable {
        0 => spec.rollout.surge().min(number(new + good + fixed.count())),
        _ => 0,
    };
    let most = spec.replicas.saturating_add(more);
    let over = (census.placed() + number(census.strays.len())).saturating_sub(most);
    let mut strays = census.strays.clone();
    strays.sort_by_key(|agent| {
        (
            view.agent(*agent).runs_well(),
            is_new(agent),
            Reverse(*agent),
        )
    });
    strays.truncate(over as usize);
    strays
}

/// Where the target says so, a workload on an agent that is not trusted any more does not go on behind the curtain.
/// It is hidden first.
fn stop_lapsed(view: &View, draft: &mut Draft, deployment: DeploymentIx, census: &Census) {
    for &agent in &census.bad {
        let facts = view.agent(agent);
        let target = view.target(facts.target).state.spec();
        let stops = target.is_some_and(|target| target.on_lapse == OnLapse::Stop);
        if !stops {
            continue;
        }
        // Where it has drifted it is on its way from now on, or what others are exchanged for now would be too many then.
        draft.disruptions.is_removed(view, agent);
        if facts.fact.exposed == Exposure::Hidden {
            draft.unassign(view, agent, deployment);
        }
    }
}

/// Whether a replica may be stopped that was replaced: where its target has drifted, as the target's budgets allow.
fn may_stop(view: &View, draft: &mut Draft, census: &Census, agent: AgentIx) -> bool {
    let moves = census.movers.iter().any(|mover| mover.agent == agent);
    if !moves || !view.agent(agent).drifted {
        return true;
    }
    let Err((reason, until)) = draft.disruptions.drain(view, agent) else {
        return true;
    };
    draft.wait_agent(view, agent, reason, until);
    false
}

fn serving_among(census: &Census, agents: &[AgentIx]) -> u32 {
    let gone = |r: &&Replica| r.serves && agents.contains(&r.agent);
    number(census.good.iter().filter(gone).count())
}

/// The misplaced replicas that may leave now. One that serves leaves when enough others serve; one that
/// does not, when its replacement has a place.
fn leaving(
    spec: &Deployment,
    census: &Census,
    lost: u32,
    mut may_go: impl FnMut(AgentIx) -> bool,
) -> Vec<AgentIx> {
    let mut serving = census.serving() - lost;
    let mut there = census.placed() + number(census.movers.len());
    let mut going = Vec::new();
    let mut movers = census.movers.clone();
    movers.sort_unstable_by_key(|r| (r.ready, r.of_use, r.serves, Reverse(r.agent)));
    for mover in movers {
        if there > spec.replicas
            && !mover.fronts
            && (!mover.of_use || serving - u32::from(mover.serves) >= spec.replicas)
            && may_go(mover.agent)
        {
            there -= 1;
            serving -= u32::from(mover.serves);
            going.push(mover.agent);
        }
    }
    if serving >= spec.replicas {
        going.extend(census.bad.iter().filter(|agent| may_go(**agent)));
    }
    going
}

/// Of more misplaced replicas than are wanted at all, those beyond go for good, although they leave one after the other.
fn leaving_later(spec: &Deployment, census: &Census, now: &[AgentIx]) -> Vec<AgentIx> {
    let movers = census.movers.iter().map(|mover| mover.agent);
    let others = census.bad.iter().chain(&census.stuck).copied();
    movers
        .chain(others)
        .filter(|agent| !now.contains(agent))
        .skip(spec.replicas as usize)
        .collect()
}

/// Lets removals through, or holds them: first what would leave an owner without a ready replica, then pool by
/// pool. A renamed deployment goes unasked as soon as its new name is ready.
fn remove(
    view: &View,
    draft: &mut Draft,
    removals: &[Removal],
    asked: &mut BTreeSet<DeploymentIx>,
) {
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
        ask(
            view,
            draft,
            group,
            HoldReason::Owner { owner, removed },
            asked,
        );
    }
    rest.sort_unstable_by_key(|removal| (removal.target, removal.agent));
    for group in rest.chunk_by(|a, b| a.target == b.target) {
        let (target, removed) = (view.target(group[0].target), number(group.len()));
        if !view.trips(removed, target.live) {
            carry_out(view, draft, group, Verdict::Allowed);
            continue;
        }
        let (target, of) = (target.name.clone(), target.live);
        let reason = HoldReason::Pool {
            target,
            removed,
            of,
        };
        ask(view, draft, group, reason, asked);
    }
}

/// Holds removals until a person approves those of them that can be made now.
fn ask(
    view: &View,
    draft: &mut Draft,
    group: &[Removal],
    reason: HoldReason,
    asked: &mut BTreeSet<DeploymentIx>,
) {
    let now = actions(view, group);
    let verdict = match now.is_empty() {
        true => None,
        false => Some(breaker::hold(view, draft, reason, now)),
    };
    if let Some(verdict) = verdict {
        carry_out(view, draft, group, verdict);
    }
    if matches!(verdict, None | Some(Verdict::Held(_))) {
        asked.extend(group.iter().map(|removal| removal.deployment));
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
                draft.disruptions.is_removed(view, removal.agent);
                draft.unassign(view, removal.agent, removal.deployment);
            }
        }
    }
}

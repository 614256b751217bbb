//! Stops replicas that are not wanted, moves those that are in the wrong place, and brings the others to the
//! version of now. A roll-out never takes more ready replicas away than the deployment allows.

use std::cmp::Reverse;

use crate::breaker::{self, Verdict};
use crate::census::{Census, Replica, is_current};
use crate::draft::{self, Draft, Need, Surge};
use crate::view::{AgentIx, DeploymentIx, OwnerIx, Standing, TargetIx, View, Wanted, number};
use crate::{Action, Deployment, HoldReason, WaitReason};

/// A replica that is to stop because fewer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removal {
    owner: OwnerIx,
    target: TargetIx,
    agent: AgentIx,
    deployment: DeploymentIx,
}

pub(crate) fn rule(view: &View, draft: &mut Draft) {
    let mut census = Census::default();
    let mut removals = Vec::new();
    for deployment in view.all_deployments() {
        match view.deployment(deployment).state {
            Wanted::Frozen => {}
            Wanted::No => stop_all(view, draft, deployment, &mut removals),
            Wanted::Yes(spec) if spec.replicas == 0 => {
                stop_all(view, draft, deployment, &mut removals);
            }
            Wanted::Yes(spec) => {
                census.count(view, draft, deployment, spec);
                shed(view, draft, deployment, spec, &census, &mut removals);
            }
        }
    }
    remove(view, draft, removals);
    draft.count_use(view);
    for deployment in view.all_deployments() {
        if let Wanted::Yes(spec) = view.deployment(deployment).state
            && spec.replicas > 0
        {
            census.count(view, draft, deployment, spec);
            Update {
                view,
                deployment,
                spec,
            }
            .run(draft, &mut census);
        }
    }
}

/// Nothing of it is wanted. Agents that do not answer are told when they do.
fn stop_all(view: &View, draft: &mut Draft, deployment: DeploymentIx, removals: &mut Vec<Removal>) {
    for agent in view.replicas(deployment) {
        if !draft.is_there(view, agent) {
            continue;
        }
        if view.agent(agent).is_touchable() {
            removals.push(removal(view, deployment, agent));
        } else {
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
    removals: &mut Vec<Removal>,
) {
    let surplus = surplus(spec, census);
    let kept = census.placed() - number(surplus.len());
    removals.extend(surplus.iter().map(|a| removal(view, deployment, *a)));
    if census.movers.is_empty() && census.bad.is_empty() {
        return;
    }
    let lost = serving_among(census, &surplus);
    let going = leaving(spec, census, lost);
    // Each replica that was placed makes up for one that leaves; beyond that, replicas are removed.
    let (moved, removed) = going.split_at(going.len().min(kept as usize));
    for agent in moved {
        draft.unassign(view, *agent, deployment);
    }
    removals.extend(removed.iter().map(|a| removal(view, deployment, *a)));
}

/// Those beyond what is wanted, the ones that serve least first. Replicas that are not known of count as
/// there, but never make one that is known go.
fn surplus(spec: &Deployment, census: &Census) -> Vec<AgentIx> {
    let over = number(census.good.len()).saturating_sub(allowed(spec, census));
    let mut good = census.good.clone();
    good.sort_unstable_by_key(|r| (r.ready, r.current, Reverse(r.agent)));
    good.iter().take(over as usize).map(|r| r.agent).collect()
}

/// How many replicas may be there: one more than wanted during a roll-out that may not take any away.
fn allowed(spec: &Deployment, census: &Census) -> u32 {
    let exchanges = spec.max_unavailable == 0 && census.outdated().any(|r| r.ready);
    spec.replicas + u32::from(exchanges)
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
    }
}

/// Lets removals through, or holds them: first what would leave an owner without a ready replica, then pool by
/// pool. A renamed deployment goes unasked as soon as its new name is ready.
fn remove(view: &View, draft: &mut Draft, mut removals: Vec<Removal>) {
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
        let verdict = breaker::hold(view, draft, reason, actions(view, group));
        carry_out(view, draft, group, verdict);
    }
    rest.sort_unstable_by_key(|removal| (removal.target, removal.agent));
    for group in rest.chunk_by(|a, b| a.target == b.target) {
        let verdict = breaker::judge_pool(view, draft, group[0].target, actions(view, group));
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

fn actions(view: &View, removals: &[Removal]) -> Vec<Action> {
    let action = |r: &Removal| draft::unassign(view, r.agent, r.deployment);
    removals.iter().map(action).collect()
}

fn carry_out(view: &View, draft: &mut Draft, removals: &[Removal], verdict: Verdict) {
    for removal in removals {
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
            } else if !facts.is_touchable() && (over || !is_current(self.view, agent, self.spec)) {
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
        let (view, deployment) = (self.view, self.deployment);
        let (steady, idle): (Vec<&Replica>, Vec<&Replica>) =
            census.outdated().partition(|r| r.ready);
        for replica in idle {
            draft.assign(view, replica.agent, deployment);
        }
        let floor = self.spec.replicas.saturating_sub(self.spec.max_unavailable);
        let spare = census.serving().saturating_sub(floor);
        if steady.is_empty() {
            return Surge::No;
        }
        if self.spec.max_unavailable == 0 {
            return self.exchange(draft, census, &steady, spare);
        }
        for replica in steady.iter().take(spare as usize) {
            draft.assign(view, replica.agent, deployment);
        }
        if steady.len() > spare as usize {
            self.wait_for_room(draft, census);
        }
        Surge::No
    }

    /// A roll-out that may take nothing away: a new replica is placed, and when it serves, an old one stops.
    fn exchange(
        &self,
        draft: &mut Draft,
        census: &Census,
        steady: &[&Replica],
        spare: u32,
    ) -> Surge {
        for replica in steady.iter().take(spare as usize) {
            draft.unassign(self.view, replica.agent, self.deployment);
        }
        self.wait_for_room(draft, census);
        match (
            census.placed() > self.spec.replicas,
            census.serving() >= self.spec.replicas,
        ) {
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

//! Questions that the checks ask of the raw inputs, each answered from scratch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_schemas::{AgentId, DeploymentId, Digest, OwnerName, TargetName, Timestamp};

use crate::{
    Action, Agent, Assigned, Deployment, Desired, Exposure, Frozen, Liveness, Observed, Plan,
    Replica, Reported, Target, Trust,
};

pub(super) struct Facts<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) plan: &'a Plan,
    pub(super) now: Timestamp,
    /// What the plan tells agents to run; nothing is `None`.
    told: BTreeMap<&'a AgentId, Option<&'a DeploymentId>>,
    /// The agents whose publication the plan takes back.
    hidden: BTreeSet<&'a AgentId>,
    /// The agents whose machines the plan destroys.
    retired: BTreeSet<&'a AgentId>,
    /// The agents assigned to each deployment.
    carriers: BTreeMap<&'a DeploymentId, Vec<&'a AgentId>>,
    /// The targets much of whose agents are distrusted.
    failing: BTreeSet<&'a TargetName>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        plan: &'a Plan,
        now: Timestamp,
    ) -> Self {
        let mut facts = Self {
            desired,
            observed,
            plan,
            now,
            told: BTreeMap::new(),
            hidden: BTreeSet::new(),
            retired: BTreeSet::new(),
            carriers: BTreeMap::new(),
            failing: BTreeSet::new(),
        };
        for action in &plan.actions {
            facts.read(action);
        }
        for (id, agent) in &observed.agents {
            if let Some(assigned) = &agent.assigned {
                let carriers = facts.carriers.entry(&assigned.deployment).or_default();
                carriers.push(id);
            }
        }
        let targets: BTreeSet<_> = observed.agents.values().map(|a| &a.target).collect();
        let failing = targets.into_iter().filter(|t| facts.is_failing(t));
        facts.failing = failing.collect();
        facts
    }

    fn read(&mut self, action: &'a Action) {
        match action {
            Action::Assign {
                agent, deployment, ..
            } => drop(self.told.insert(agent, Some(deployment))),
            Action::Unassign { agent, .. } => drop(self.told.insert(agent, None)),
            Action::Retire { agent, .. } => {
                self.told.insert(agent, None);
                self.retired.insert(agent);
            }
            Action::Unexpose { agent, .. } => drop(self.hidden.insert(agent)),
            Action::Unpoint { .. }
            | Action::Point { .. }
            | Action::Quarantine { .. }
            | Action::Release { .. }
            | Action::Settle { .. }
            | Action::Revert { .. }
            | Action::Cancel { .. }
            | Action::Challenge { .. }
            | Action::Launch { .. }
            | Action::Expose { .. } => {}
        }
    }

    pub(super) fn agent(&self, id: &AgentId) -> Option<&'a Agent> {
        self.observed.agents.get(id)
    }

    pub(super) fn target(&self, name: &TargetName) -> Option<&'a Target> {
        let frozen = self.is_frozen_target(name);
        self.desired.targets.get(name).filter(|_| !frozen)
    }

    pub(super) fn deployment(&self, id: &DeploymentId) -> Option<&'a Deployment> {
        let frozen = self.is_frozen_deployment(id);
        self.desired.deployments.get(id).filter(|_| !frozen)
    }

    pub(super) fn is_frozen_target(&self, name: &TargetName) -> bool {
        self.desired
            .frozen
            .contains_key(&Frozen::Target(name.clone()))
    }

    pub(super) fn is_frozen_deployment(&self, id: &DeploymentId) -> bool {
        self.desired
            .frozen
            .contains_key(&Frozen::Deployment(id.clone()))
    }

    pub(super) fn is_frozen(&self, agent: &Agent) -> bool {
        let carried = agent.assigned.as_ref().map(|assigned| &assigned.deployment);
        self.is_frozen_target(&agent.target)
            || carried.is_some_and(|id| self.is_frozen_deployment(id))
    }

    /// The version that a deployment's replicas are to have in the end.
    pub(super) fn aim(&self, id: &DeploymentId, spec: &Deployment) -> Digest {
        let fact = self.observed.rollouts.get(id);
        let reverted = fact.and_then(|fact| fact.reverted.as_ref());
        let is_over = reverted.is_some_and(|it| it.attempt == spec.attempt());
        let healthy = self.healthy(id).filter(|_| is_over);
        healthy.unwrap_or(spec.workload)
    }

    /// The version that was healthy last.
    pub(super) fn healthy(&self, id: &DeploymentId) -> Option<Digest> {
        self.observed.rollouts.get(id).and_then(|fact| fact.healthy)
    }

    /// Whether a person approved these removals and the approval is not over.
    pub(super) fn is_approved(&self, held: Digest) -> bool {
        let fresh = self.desired.approvals.difference(&self.observed.spent);
        fresh.into_iter().any(|approval| approval.held == held)
    }

    pub(super) fn is_trusted(&self, agent: &Agent) -> bool {
        matches!(agent.trust, Trust::Accepted(until) if until > self.now)
    }

    /// Whether a person approved this action.
    pub(super) fn has_approved(&self, action: &Action) -> bool {
        let mut approved = self.plan.approved.iter();
        approved.any(|hold| hold.actions.contains(action))
    }

    /// Whether so much of a target is distrusted that the cause is not its agents'.
    pub(super) fn failing(&self, target: &TargetName) -> bool {
        self.failing.contains(target)
    }

    /// Whether its trust ended or is refused; not when it cannot be judged.
    pub(super) fn is_distrusted(&self, agent: &Agent) -> bool {
        match agent.trust {
            Trust::Accepted(until) => until <= self.now,
            Trust::Refused => true,
            Trust::Unknown => agent.quarantined.is_some(),
        }
    }

    pub(super) fn is_lost(&self, agent: &Agent) -> bool {
        match agent.liveness {
            Liveness::Silent(since) => since.plus(self.desired.limits.lost_after) <= self.now,
            Liveness::Heard | Liveness::Gone => false,
        }
    }

    pub(super) fn is_heard(agent: &Agent) -> bool {
        agent.liveness == Liveness::Heard && agent.reported != Reported::Unknown
    }

    /// Alive as far as is known, and not being destroyed already.
    pub(super) fn is_live(&self, id: &AgentId, agent: &Agent) -> bool {
        agent.liveness != Liveness::Gone && !self.observed.retires.contains_key(id)
    }

    /// Whether it serves what it was told to run.
    pub(super) fn is_ready(&self, id: &AgentId, agent: &Agent) -> bool {
        let Some(Assigned {
            deployment,
            workload,
            ..
        }) = &agent.assigned
        else {
            return false;
        };
        let runs = matches!(&agent.reported, Reported::Running(r)
            if r.ready && r.generation == agent.generation
            && r.deployment == *deployment && r.workload == *workload);
        runs && Self::is_heard(agent) && self.is_trusted(agent) && self.is_live(id, agent)
    }

    /// Whether an agent that was told to run a deployment says that it serves it, which it takes back before it changes anything.
    pub(super) fn serves_until_it_changes(agent: &Agent, id: &DeploymentId) -> bool {
        let told = agent.assigned.as_ref();
        let is_known = |told: &Assigned, replica: &Replica| {
            let same = replica.workload == told.workload && replica.generation == agent.generation;
            same || replica.generation < agent.generation
        };
        let Some((told, Reported::Running(replica))) = told.map(|told| (told, &agent.reported))
        else {
            return false;
        };
        told.deployment == *id
            && replica.deployment == *id
            && replica.serving.is_some()
            && is_known(told, replica)
    }

    /// Whether an agent has the size of its target and is at one of its places.
    pub(super) fn is_home(agent: &Agent, target: &Target) -> bool {
        let mut places: BTreeSet<_> = target.spots.iter().map(|spot| &spot.datacenter).collect();
        places.insert(&target.datacenter);
        agent.size == target.size && places.contains(&agent.datacenter)
    }

    /// Agents assigned to a deployment.
    pub(super) fn carriers(
        &self,
        deployment: &DeploymentId,
    ) -> impl Iterator<Item = (&'a AgentId, &'a Agent)> {
        let carriers = self.carriers.get(deployment);
        let carriers = carriers.into_iter().flatten();
        carriers.filter_map(|id| self.observed.agents.get_key_value(*id))
    }

    /// What the plan instructs an agent to run, if it does: nothing is `Some(None)`.
    pub(super) fn instructed(&self, id: &AgentId) -> Option<Option<&'a DeploymentId>> {
        self.told.get(id).copied()
    }

    /// What an agent is to run once the plan is done.
    pub(super) fn after(&self, id: &AgentId, agent: &'a Agent) -> Option<&'a DeploymentId> {
        let before = agent.assigned.as_ref().map(|assigned| &assigned.deployment);
        self.instructed(id).unwrap_or(before)
    }

    /// Whether something that would be taken from an agent waits for a person.
    pub(super) fn is_held(&self, id: &AgentId) -> bool {
        let mut actions = self.plan.held.iter().flat_map(|hold| &hold.actions);
        actions.any(|action| matches!(action, Action::Unassign { agent, .. } | Action::Retire { agent, .. } if agent == id))
    }

    pub(super) fn retires(&self, id: &AgentId) -> bool {
        self.retired.contains(id)
    }

    pub(super) fn hides(&self, id: &AgentId) -> bool {
        self.hidden.contains(id)
    }

    pub(super) fn is_exposed(agent: &Agent) -> bool {
        agent.exposed != Exposure::Hidden
    }

    /// Agents that an owner uses once the plan is done. Those that serve nobody do not count.
    pub(super) fn used(&self, owner: &OwnerName, target: Option<&TargetName>) -> usize {
        let counts = |(id, agent): &(&AgentId, &'a Agent)| {
            self.after(id, agent).is_some_and(|d| d.owner == *owner)
                && self.serves(id, agent)
                && target.is_none_or(|target| agent.target == *target)
        };
        self.observed.agents.iter().filter(counts).count()
    }

    /// Agents of a target that run something of an owner once the plan is done, told to or not: so many of those that
    /// are reserved for it are in use.
    pub(super) fn occupied(&self, owner: &OwnerName, target: &TargetName) -> usize {
        let counts = |(id, agent): &(&AgentId, &'a Agent)| {
            let runs = self.instructed(id).unwrap_or(Self::carried(agent));
            runs.is_some_and(|d| d.owner == *owner)
                && self.serves(id, agent)
                && agent.target == *target
        };
        self.observed.agents.iter().filter(counts).count()
    }

    /// What an agent is to run, or what it runs without having been told. What it has been told to stop does not count.
    pub(super) fn carried(agent: &Agent) -> Option<&DeploymentId> {
        let told = agent.assigned.as_ref().map(|assigned| &assigned.deployment);
        told.or(match &agent.reported {
            Reported::Running(replica) if replica.generation >= agent.generation => {
                Some(&replica.deployment)
            }
            Reported::Running(_) | Reported::Idle(_) | Reported::Unknown => None,
        })
    }

    /// Whether an agent counts for those whom it serves.
    fn serves(&self, id: &AgentId, agent: &Agent) -> bool {
        self.is_live(id, agent) && !self.is_out(agent)
    }

    /// Whether an agent is out of service because of its own evidence.
    pub(super) fn is_out(&self, agent: &Agent) -> bool {
        let minute = Duration::from_secs(60);
        let definite = match agent.trust {
            Trust::Accepted(until) => until.plus(minute) <= self.now,
            Trust::Refused => true,
            Trust::Unknown => false,
        };
        definite
            && agent.liveness == Liveness::Heard
            && !self.is_frozen(agent)
            && !self.failing.contains(&agent.target)
    }

    /// Whether much of a pool is distrusted.
    fn is_failing(&self, target: &TargetName) -> bool {
        let heard = |a: &&Agent| a.liveness == Liveness::Heard && self.is_distrusted(a);
        let agents = self.observed.agents.values();
        let there = agents.filter(|a| a.target == *target && a.liveness != Liveness::Gone);
        let suspects = self.pool(target).into_iter().filter(heard);
        self.is_too_much(suspects.count(), there.count())
    }

    /// A target's agents that are or may be alive and are not being destroyed.
    pub(super) fn pool(&self, target: &TargetName) -> Vec<&'a Agent> {
        let agents = self.observed.agents.iter();
        let pool = agents.filter(|(id, agent)| agent.target == *target && self.is_live(id, agent));
        pool.map(|(_, agent)| agent).collect()
    }

    pub(super) fn is_too_much(&self, removed: usize, of: usize) -> bool {
        let breaker = self.desired.limits.breaker;
        if self.desired.targets.is_empty() && self.desired.deployments.is_empty() {
            return removed > 0;
        }
        removed > breaker.max_removals as usize && removed * 100 > breaker.max_percent as usize * of
    }
}

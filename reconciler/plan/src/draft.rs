//! What the rules have decided so far in this pass. Each rule reads what those before it left here.

use std::collections::BTreeSet;

use easyenclave_schemas::{Digest, Timestamp};

use crate::disrupt::Disruptions;
use crate::view::{AgentIx, DeploymentIx, Life, OwnerIx, View};
use crate::{Action, Agent, Plan, RetireReason, Subject, Wait, WaitReason};

/// The plan in the making.
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    /// What happens to each agent.
    fates: Vec<Fate>,
    /// Replicas that deployments lack.
    pub(crate) needs: Vec<Need>,
    /// Of those, the ones for which no free agent was found.
    pub(crate) unplaced: Vec<Unplaced>,
    /// Agents in use, by owner.
    used: Vec<u32>,
    /// Agents that go on purpose.
    pub(crate) disruptions: Disruptions,
    /// Deployments whose newest version fails by its own fault: it goes no further.
    pub(crate) failing: BTreeSet<DeploymentIx>,
}

/// What this pass does to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Stays,
    /// It would go, or lose its replica, and stays until a person approves.
    Held(Digest),
    /// Its machine goes.
    Retires,
    /// Its replica stops.
    Stops,
    /// It gets this deployment in this version, or this version of what it has.
    Gets(DeploymentIx, Digest),
}

/// Replicas that a deployment lacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) deployment: DeploymentIx,
    pub(crate) missing: u32,
    /// What they are to run, one after the other.
    pub(crate) pace: Pace,
    /// More than wanted, so that a roll-out can go on without taking anything away.
    pub(crate) surge: Surge,
}

/// Which version the next replica gets: so many the aim, and those after them the one that was healthy last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) aim: Digest,
    pub(crate) room: u32,
    pub(crate) base: Option<Digest>,
}

impl Pace {
    /// How many of so many replicas get the aim: all where no other version is known.
    pub(crate) fn ahead(&self, count: u32) -> u32 {
        match self.base {
            Some(_) => count.min(self.room),
            None => count,
        }
    }

    /// The version of a replica that serves nobody; none where the aim may go no further and none is known to be healthy.
    pub(crate) fn next(&mut self) -> Option<Digest> {
        if self.room == 0 {
            return self.base;
        }
        self.room -= 1;
        Some(self.aim)
    }
}

/// So many agents more for a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surge {
    No,
    /// They are needed once all replicas are ready again, and are kept for that.
    Later(u32),
    Now(u32),
}

/// Replicas for which no free agent was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unplaced {
    pub(crate) deployment: DeploymentIx,
    /// What they are to run.
    pub(crate) version: Digest,
    pub(crate) count: u32,
    /// Whether free agents were passed over because they are kept for others.
    pub(crate) reserved: bool,
    /// Whether none was placed because agents may register again that carry it already.
    pub(crate) returning: bool,
    /// Whether to say that it waits; an agent kept for later need not.
    pub(crate) waits: bool,
}

impl Draft {
    pub(crate) fn new(view: &View) -> Self {
        Self {
            plan: Plan::default(),
            fates: vec![Fate::Stays; view.agents.len()],
            needs: Vec::new(),
            unplaced: Vec::new(),
            used: Vec::new(),
            disruptions: Disruptions::new(view),
            failing: BTreeSet::new(),
        }
    }

    pub(crate) fn fate(&self, agent: AgentIx) -> Fate {
        self.fates[agent.at()]
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    pub(crate) fn wait(&mut self, subject: Subject, reason: WaitReason, until: Option<Timestamp>) {
        self.plan.waits.push(Wait {
            subject,
            reason,
            until,
        });
    }

    pub(crate) fn wait_agent(
        &mut self,
        view: &View,
        agent: AgentIx,
        reason: WaitReason,
        until: Option<Timestamp>,
    ) {
        self.wait(Subject::Agent(view.agent(agent).id.clone()), reason, until);
    }

    pub(crate) fn wait_deployment(
        &mut self,
        view: &View,
        deployment: DeploymentIx,
        reason: WaitReason,
        until: Option<Timestamp>,
    ) {
        let id = view.deployment(deployment).id.clone();
        self.wait(Subject::Deployment(id), reason, until);
    }

    pub(crate) fn retire(&mut self, view: &View, agent: AgentIx, reason: RetireReason) {
        self.fates[agent.at()] = Fate::Retires;
        self.act(retire(view, agent, reason));
    }

    pub(crate) fn unassign(&mut self, view: &View, agent: AgentIx, deployment: DeploymentIx) {
        self.fates[agent.at()] = Fate::Stops;
        self.act(unassign(view, agent, deployment));
    }

    /// Gives an agent a deployment in a version.
    pub(crate) fn assign(
        &mut self,
        view: &View,
        agent: AgentIx,
        deployment: DeploymentIx,
        workload: Digest,
    ) {
        self.fates[agent.at()] = Fate::Gets(deployment, workload);
        let found = view.agent(agent);
        let id = view.deployment(deployment).id;
        self.act(Action::Assign {
            agent: found.id.clone(),
            generation: found.generation_to_run(id, workload),
            deployment: id.clone(),
            workload,
        });
    }

    /// Leaves an agent as it is until a person approves `digest`.
    pub(crate) fn hold(&mut self, view: &View, agent: AgentIx, digest: Digest) {
        self.fates[agent.at()] = Fate::Held(digest);
        self.wait_agent(view, agent, WaitReason::Held { digest }, None);
    }

    /// The agents that an owner uses after what was decided so far.
    pub(crate) fn used(&self, owner: OwnerIx) -> u32 {
        self.used.get(owner.at()).copied().unwrap_or(0)
    }

    /// How many more agents the owner of a deployment may use.
    pub(crate) fn quota_left(&self, view: &View, deployment: DeploymentIx) -> u32 {
        let owner = view.deployment(deployment).owner;
        let quota = view.desired.quotas.get(view.owners[owner.at()]);
        quota.map_or(u32::MAX, |quota| quota.saturating_sub(self.used(owner)))
    }

    pub(crate) fn uses_more(&mut self, owner: OwnerIx, count: u32) {
        self.used[owner.at()] += count;
    }

    /// Counts what each owner uses. Agents that are lost, leaving or in quarantine serve nobody and do
    /// not count, so that a full quota never keeps their replicas from being replaced.
    pub(crate) fn count_use(&mut self, view: &View) {
        self.used = vec![0; view.owners.len()];
        for agent in view.all_agents() {
            let stray = view.agent(agent).is_stray() && self.fate(agent) == Fate::Stays;
            if let Some(deployment) = self.carries(view, agent)
                && self.serves(view, agent)
                && !stray
            {
                self.used[view.deployment(deployment).owner.at()] += 1;
            }
        }
    }

    /// What an agent is to run after what was decided so far.
    pub(crate) fn carries(&self, view: &View, agent: AgentIx) -> Option<DeploymentIx> {
        match self.fate(agent) {
            Fate::Gets(deployment, _) => Some(deployment),
            Fate::Stops | Fate::Retires => None,
            Fate::Stays | Fate::Held(_) => view.agent(agent).deployment,
        }
    }

    /// Whether an agent counts for those whom it serves.
    pub(crate) fn serves(&self, view: &View, agent: AgentIx) -> bool {
        self.is_there(view, agent) && !self.is_out_of_service(view, agent)
    }

    /// Whether an agent is, as far as is known, alive and not on its way out.
    pub(crate) fn is_there(&self, view: &View, agent: AgentIx) -> bool {
        let facts = view.agent(agent);
        !facts.retiring && facts.life != Life::Gone && self.fate(agent) != Fate::Retires
    }

    /// Whether an agent's replica has to be replaced because of its quarantine. When much of a pool is
    /// in quarantine, the cause is the policy or the network, and new agents would fare no better.
    pub(crate) fn is_out_of_service(&self, view: &View, agent: AgentIx) -> bool {
        let facts = view.agent(agent);
        facts.distrusted
            && facts.life == Life::Heard
            && !facts.frozen
            && !view.target(facts.target).failing
    }
}

/// The instruction to destroy an agent's machine.
pub(crate) fn retire(view: &View, agent: AgentIx, reason: RetireReason) -> Action {
    let facts = view.agent(agent);
    let Agent { datacenter, .. } = facts.fact;
    Action::Retire {
        agent: facts.id.clone(),
        datacenter: datacenter.clone(),
        reason,
    }
}

/// The instruction to stop what runs on an agent.
pub(crate) fn unassign(view: &View, agent: AgentIx, deployment: DeploymentIx) -> Action {
    let facts = view.agent(agent);
    Action::Unassign {
        agent: facts.id.clone(),
        generation: facts.next_generation(),
        deployment: view.deployment(deployment).id.clone(),
    }
}

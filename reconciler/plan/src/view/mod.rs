//! The inputs with every name turned into a small number, computed once a pass, so that the rules
//! compare integers and walk arrays. Derives facts only; it decides nothing.

mod agent;
mod deployment;
mod fits;
mod fronts;
mod heard;

use std::time::Duration;

use easyenclave_schemas::{DeploymentId, OrderId, OwnerName, TargetName, Timestamp};

pub(crate) use agent::{AgentView, Instruction, Life, Standing};
use agent::{Place, carries};
pub(crate) use deployment::DeploymentView;

use crate::names::{Groups, Names};
use crate::{Deployment, Desired, Frozen, LaunchOrder, Observed, Target, WaitReason};

macro_rules! index {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $type(pub(crate) u32);

        impl $type {
            pub(crate) fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(/// An agent, by its place in the order of ids.
    AgentIx);
index!(/// A target: those of the desired state in order, then others that something still names.
    TargetIx);
index!(/// A deployment: those of the desired state in order, then others that something still names.
    DeploymentIx);
index!(/// An owner, in the order of names.
    OwnerIx);

/// Everything that the rules look at.
pub(crate) struct View<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) observed: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) targets: Vec<TargetView<'a>>,
    pub(crate) deployments: Vec<DeploymentView<'a>>,
    pub(crate) owners: Vec<&'a OwnerName>,
    pub(crate) agents: Vec<AgentView<'a>>,
    pub(crate) orders: Vec<OrderView<'a>>,
    target_names: Names<'a, TargetName>,
    agents_by_target: Groups,
    agents_by_deployment: Groups,
    orders_by_target: Groups,
}

/// A target.
pub(crate) struct TargetView<'a> {
    pub(crate) name: &'a TargetName,
    pub(crate) state: Wanted<&'a Target>,
    /// Its agents that are or may be alive and are not being destroyed: what removals are measured by.
    pub(crate) live: u32,
    /// Its agents that are not heard of now, past the deadline or not.
    pub(crate) silent: u32,
    /// Whether so many of its agents are in quarantine that the cause is not theirs.
    pub(crate) failing: bool,
}

/// What the desired state says of a name.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<T> {
    /// It is wanted, like this.
    Yes(T),
    /// It is not in the desired state.
    No,
    /// Its document cannot be read.
    Frozen,
}

impl<T: Copy> Wanted<T> {
    pub(crate) fn spec(self) -> Option<T> {
        match self {
            Self::Yes(spec) => Some(spec),
            Self::No | Self::Frozen => None,
        }
    }
}

/// A launch order.
pub(crate) struct OrderView<'a> {
    pub(crate) id: &'a OrderId,
    pub(crate) fact: &'a LaunchOrder,
    /// It is pending and its agent has not registered.
    pub(crate) pending: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Self {
        let launches = observed.launches.values().map(|order| Some(&order.target));
        let homes = observed.agents.values().map(|agent| Some(&agent.target));
        let mut target_names = Names::new(desired.targets.keys());
        let numbers = target_names.number(homes.chain(launches));
        let (agent_targets, order_targets) = numbers.split_at(observed.agents.len());
        let mut deployment_names = Names::new(desired.deployments.keys());
        let carried = deployment_names.number(observed.agents.values().map(carries));
        let deployments = deployments(desired, observed, &deployment_names);
        let mut view = Self {
            desired,
            observed,
            now,
            targets: targets(desired, &target_names),
            owners: owners(desired, &deployments),
            deployments,
            agents: Vec::with_capacity(observed.agents.len()),
            orders: orders(observed),
            agents_by_target: Groups::new(target_names.len(), agent_targets),
            agents_by_deployment: Groups::new(deployment_names.len(), &carried),
            orders_by_target: Groups::new(target_names.len(), order_targets),
            target_names,
        };
        view.number_owners();
        view.read_agents(agent_targets, &carried);
        view.count();
        view
    }

    pub(crate) fn target(&self, target: TargetIx) -> &TargetView<'a> {
        &self.targets[target.at()]
    }

    pub(crate) fn find_target(&self, name: &TargetName) -> Option<TargetIx> {
        self.target_names.find(name).map(TargetIx)
    }

    pub(crate) fn deployment(&self, deployment: DeploymentIx) -> &DeploymentView<'a> {
        &self.deployments[deployment.at()]
    }

    pub(crate) fn agent(&self, agent: AgentIx) -> &AgentView<'a> {
        &self.agents[agent.at()]
    }

    pub(crate) fn all_targets(&self) -> impl Iterator<Item = TargetIx> + use<> {
        (0..number(self.targets.len())).map(TargetIx)
    }

    pub(crate) fn all_deployments(&self) -> impl Iterator<Item = DeploymentIx> + use<> {
        (0..number(self.deployments.len())).map(DeploymentIx)
    }

    pub(crate) fn all_agents(&self) -> impl DoubleEndedIterator<Item = AgentIx> + use<> {
        (0..number(self.agents.len())).map(AgentIx)
    }

    pub(crate) fn agents_of(&self, target: TargetIx) -> impl Iterator<Item = AgentIx> + '_ {
        self.agents_by_target.of(target.0).map(AgentIx)
    }

    /// The agents that carry a deployment, in the order of ids.
    pub(crate) fn replicas(&self, deployment: DeploymentIx) -> impl Iterator<Item = AgentIx> + '_ {
        self.agents_by_deployment.of(deployment.0).map(AgentIx)
    }

    pub(crate) fn orders_of(&self, target: TargetIx) -> impl Iterator<Item = &OrderView<'a>> + '_ {
        self.orders_by_target
            .of(target.0)
            .map(|order| &self.orders[order as usize])
    }

    /// The number of an owner; owners that nothing desired or running names have none.
    pub(crate) fn owner(&self, name: &OwnerName) -> Option<OwnerIx> {
        let found = self.owners.binary_search(&name).ok();
        found.map(|at| OwnerIx(number(at)))
    }

    /// Whether removing `removed` of `of` is more than the breaker allows. A desired state that wants nothing
    /// at all is more likely a mistake than a wish, so it removes nothing unasked.
    pub(crate) fn trips(&self, removed: u32, of: u32) -> bool {
        let breaker = self.desired.limits.breaker;
        if self.desired.targets.is_empty() && self.desired.deployments.is_empty() {
            return removed > 0;
        }
        removed > breaker.max_removals
            && u64::from(removed) * 100 > u64::from(breaker.max_percent) * u64::from(of)
    }

    /// Why an agent is not touched whose deployment or target is frozen.
    pub(crate) fn why_frozen(&self, agent: AgentIx) -> WaitReason {
        let facts = self.agent(agent);
        let deployment = facts.deployment.map(|it| self.deployment(it));
        match deployment.filter(|it| matches!(it.state, Wanted::Frozen)) {
            Some(it) => self.why(&Frozen::Deployment(it.id.clone())),
            None => self.why_target_frozen(facts.target),
        }
    }

    /// Why a target is not touched that is frozen.
    pub(crate) fn why_target_frozen(&self, target: TargetIx) -> WaitReason {
        self.why(&Frozen::Target(self.target(target).name.clone()))
    }

    fn why(&self, frozen: &Frozen) -> WaitReason {
        let why = self.desired.frozen.get(frozen).cloned().unwrap_or_default();
        WaitReason::Frozen { why }
    }

    /// So long a replica of a deployment may take to become ready.
    pub(crate) fn ready_within(&self, deployment: &Deployment) -> Duration {
        let own = deployment.rollout.deadline;
        own.unwrap_or(self.desired.limits.ready_within)
    }

    fn number_owners(&mut self) {
        let mut last = 0;
        for deployment in &mut self.deployments {
            let owner = &deployment.id.owner;
            if self.owners[last] != owner {
                last = self.owners.binary_search(&owner).unwrap_or(last);
            }
            deployment.owner = OwnerIx(number(last));
        }
    }

    fn read_agents(&mut self, targets: &[Option<u32>], carried: &[Option<u32>]) {
        let (desired, observed, now) = (self.desired, self.observed, self.now);
        let mut leaving = observed.retires.keys().peekable();
        let facts = observed.agents.iter().zip(targets.iter().zip(carried));
        for (agent, (target, deployment)) in facts {
            while leaving.next_if(|other| *other < agent.0).is_some() {}
            let retiring = leaving.peek() == Some(&agent.0);
            let target = TargetIx(target.unwrap_or_default());
            let deployment = deployment.map(DeploymentIx);
            let place = Place {
                target: (target, self.target(target).state),
                deployment: deployment.map(|d| (d, self.deployment(d))),
            };
            let view = AgentView::new(desired, now, agent, &place, retiring);
            self.agents.push(view);
        }
    }

    fn count(&mut self) {
        let mut there = vec![0; self.targets.len()];
        let mut quarantined = vec![0; self.targets.len()];
        for agent in self.agents.iter().filter(|agent| agent.life != Life::Gone) {
            let at = agent.target.at();
            // Agents on their way out count here, so that retiring some does not make the others suspect.
            there[at] += 1;
            if !agent.retiring {
                let suspect = matches!(agent.standing, Standing::Quarantined(_));
                quarantined[at] += u32::from(suspect && agent.life == Life::Heard);
                self.targets[at].live += 1;
                self.targets[at].silent += u32::from(agent.life != Life::Heard);
            }
        }
        for (at, quarantined) in quarantined.into_iter().enumerate() {
            self.targets[at].failing = self.trips(quarantined, there[at]);
        }
    }
}

/// Counts fit 32 bits: each thing counted takes far more than a byte of memory.
pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn targets<'a>(desired: &'a Desired, names: &Names<'a, TargetName>) -> Vec<TargetView<'a>> {
    let view = |name: &'a TargetName| TargetView {
        name,
        state: match desired.targets.get(name) {
            _ if is_frozen_target(desired, name) => Wanted::Frozen,
            Some(spec) => Wanted::Yes(spec),
            None => Wanted::No,
        },
        live: 0,
        silent: 0,
        failing: false,
    };
    names.all().map(view).collect()
}

fn is_frozen_target(desired: &Desired, name: &TargetName) -> bool {
    !desired.frozen.is_empty() && desired.frozen.contains_key(&Frozen::Target(name.clone()))
}

fn deployments<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    names: &Names<'a, DeploymentId>,
) -> Vec<DeploymentView<'a>> {
    let frozen = |id: &DeploymentId| {
        !desired.frozen.is_empty() && desired.frozen.contains_key(&Frozen::Deployment(id.clone()))
    };
    let view = |id: &'a DeploymentId, spec: Option<&'a Deployment>| {
        let state = match spec {
            _ if frozen(id) => Wanted::Frozen,
            Some(spec) => Wanted::Yes(spec),
            None => Wanted::No,
        };
        DeploymentView::new(id, state, observed.rollouts.get(id))
    };
    let wanted = desired
        .deployments
        .iter()
        .map(|(id, spec)| view(id, Some(spec)));
    wanted
        .chain(names.others().map(|id| view(id, None)))
        .collect()
}

fn owners<'a>(desired: &'a Desired, deployments: &[DeploymentView<'a>]) -> Vec<&'a OwnerName> {
    let mut owners: Vec<&OwnerName> = deployments.iter().map(|d| &d.id.owner).collect();
    owners.dedup();
    owners.extend(desired.reservations.keys().map(|id| &id.owner));
    owners.sort_unstable();
    owners.dedup();
    owners
}

fn orders(observed: &Observed) -> Vec<OrderView<'_>> {
    let registered = |id: &OrderId| observed.agents.contains_key(id.as_str());
    let launches = observed.launches.iter();
    let orders = launches.map(|(id, fact)| OrderView {
        id,
        fact,
        pending: fact.state.is_pending() && !registered(id),
    });
    orders.collect()
}

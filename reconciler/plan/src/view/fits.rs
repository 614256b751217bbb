//! Which agents and targets may run which version of a deployment: by size, place and runtime. Derives only.

use easyenclave_schemas::Digest;

use super::{AgentIx, DeploymentIx, TargetIx, View};
use crate::Deployment;

impl View<'_> {
    /// Whether agents of a target may run any version that a deployment's replicas may be given.
    pub(crate) fn admits(&self, deployment: DeploymentIx, target: TargetIx) -> bool {
        let mut versions = self.deployment(deployment).versions();
        versions.any(|version| self.admits_version(deployment, version, target))
    }

    /// Whether agents of a target may run a version of a deployment.
    pub(crate) fn admits_version(
        &self,
        deployment: DeploymentIx,
        version: Digest,
        target: TargetIx,
    ) -> bool {
        let of = self.deployment(deployment);
        let offered = self.target(target).state.spec().map(|spec| &spec.runtimes);
        let runtime = of.runtime(version);
        runtime.is_some_and(|runtime| offered.is_some_and(|all| all.contains(&runtime)))
            && of
                .state
                .spec()
                .is_some_and(|spec| self.is_open_to(spec, target))
    }

    /// Whether agents of a target are of a deployment's size and place.
    pub(crate) fn is_open_to(&self, deployment: &Deployment, target: TargetIx) -> bool {
        let target = self.target(target);
        target.state.spec().is_some_and(|spec| {
            spec.size == deployment.size && deployment.placement.admits(target.name, spec)
        })
    }

    /// Whether an agent may run a deployment, as far as it does not change: what it aims at, or the version that the agent has.
    pub(crate) fn suits(&self, deployment: DeploymentIx, agent: AgentIx) -> bool {
        let Some(spec) = self.deployment(deployment).state.spec() else {
            return false;
        };
        let facts = self.agent(agent);
        spec.placement.names(facts.id)
            && !facts.drifted
            && self.is_open_to(spec, facts.target)
            && (self.can_follow(deployment, agent) || self.keeps(deployment, agent))
    }

    /// Whether an agent can run what a deployment aims at, where it is.
    pub(crate) fn can_follow(&self, deployment: DeploymentIx, agent: AgentIx) -> bool {
        let facts = self.agent(agent);
        self.deployment(deployment).aim.is_some_and(|aim| {
            let can = facts.is_up_to_date || self.can_run(deployment, aim, agent);
            can && self.admits_version(deployment, aim, facts.target)
        })
    }

    /// Whether an agent has found what runs a version.
    pub(crate) fn can_run(
        &self,
        deployment: DeploymentIx,
        version: Digest,
        agent: AgentIx,
    ) -> bool {
        let runtime = self.deployment(deployment).runtime(version);
        runtime.is_some_and(|runtime| self.agent(agent).can(runtime))
    }

    /// Whether the roll-out of a deployment is paused now.
    pub(crate) fn is_paused(&self, deployment: DeploymentIx) -> bool {
        let spec = self.deployment(deployment).state.spec();
        spec.is_some_and(|spec| spec.rollout.pause_at(self.now).is_some())
    }

    /// Whether an agent that cannot run what its deployment aims at keeps the version that it has until another takes its place:
    /// one that was healthy and that it can run, or one that it runs well. In a pause whatever has a version keeps it.
    fn keeps(&self, deployment: DeploymentIx, agent: AgentIx) -> bool {
        let of = self.deployment(deployment);
        let facts = self.agent(agent);
        if facts.deployment != Some(deployment) {
            return false;
        }
        let told = facts.fact.assigned.as_ref().map(|told| told.workload);
        let has = told.or(facts.runs()).filter(|_| !facts.is_up_to_date);
        self.is_paused(deployment)
            || has.is_some_and(|has| {
                let is_healthy = of.healthy == Some(has) && self.can_run(deployment, has, agent);
                is_healthy || (facts.runs_well() && facts.runs() == told)
            })
    }
}

//! Whether an agent may have what a deployment gives it: by size, place and runtime of the version.

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::{AgentId, DeploymentId, Digest};

use super::facts::Facts;
use crate::{Agent, Deployment, Reported};

impl Facts<'_> {
    /// Whether an agent is where a deployment may run, and can run it, or keeps the version that it has.
    pub(super) fn fits(&self, id: &AgentId, agent: &Agent, of: &DeploymentId) -> bool {
        self.follows(id, agent, of) || (self.is_open(id, agent, of) && self.keeps(agent, of))
    }

    /// Whether an agent can run what a deployment aims at, or has it already.
    pub(super) fn follows(&self, id: &AgentId, agent: &Agent, of: &DeploymentId) -> bool {
        let Some(spec) = self.deployment(of) else {
            return false;
        };
        let told = agent.assigned.as_ref();
        let has_it = || told.is_some_and(|told| self.is_aim(&told.deployment, told.workload));
        let runs_it = || matches!(&agent.reported, Reported::Running(it) if self.is_aim(&it.deployment, it.workload));
        let runtime = self.runtime(of, spec, self.aim(of, spec));
        let can = agent.runtimes.contains(&runtime) || has_it() || runs_it();
        can && self.is_open(id, agent, of) && self.is_offered(agent, runtime)
    }

    /// Whether an agent may be given a version of a deployment.
    pub(super) fn may_get(
        &self,
        id: &AgentId,
        agent: &Agent,
        of: &DeploymentId,
        version: Digest,
    ) -> bool {
        let Some(spec) = self.deployment(of) else {
            return false;
        };
        let runtime = self.runtime(of, spec, version);
        let has_it = match (&agent.assigned, &agent.reported) {
            (_, Reported::Running(it)) if it.deployment == *of && it.workload == version => true,
            (Some(told), _) => told.deployment == *of && told.workload == version,
            (None, _) => false,
        };
        let is_here = Self::carried(agent) == Some(of);
        let can = has_it || agent.runtimes.contains(&runtime);
        can && self.is_open(id, agent, of) && (is_here || self.is_offered(agent, runtime))
    }

    /// Whether an agent cannot run the aim, and keeps the version that it has until others serve in its place: one that was
    /// healthy, or one that it runs well. In a pause it keeps any.
    fn keeps(&self, agent: &Agent, of: &DeploymentId) -> bool {
        let paused = self
            .deployment(of)
            .and_then(|spec| spec.rollout.pause_at(self.now));
        let Some(spec) = self
            .deployment(of)
            .filter(|_| Self::carried(agent) == Some(of))
        else {
            return false;
        };
        let runs = match &agent.reported {
            Reported::Running(it) => Some((it.workload, it.ready)),
            Reported::Idle(_) | Reported::Unknown => None,
        };
        let told = agent.assigned.as_ref().map(|told| told.workload);
        let aim = self.aim(of, spec);
        let is_current = told == Some(aim) || runs.is_some_and(|(it, _)| it == aim);
        let is_healthy = |has: Digest| {
            let runtime = self.runtime(of, spec, has);
            self.healthy(of) == Some(has) && agent.runtimes.contains(&runtime)
        };
        let runs_well = told.is_some_and(|told| runs == Some((told, true)));
        let has = told.or(runs.map(|(it, _)| it));
        paused.is_some() || (!is_current && (runs_well || has.is_some_and(is_healthy)))
    }

    fn is_offered(&self, agent: &Agent, runtime: Runtime) -> bool {
        let target = self.target(&agent.target);
        target.is_some_and(|target| target.runtimes.contains(&runtime))
    }

    /// Whether an agent is of a size and at a place where a deployment may run.
    fn is_open(&self, id: &AgentId, agent: &Agent, of: &DeploymentId) -> bool {
        let wanted = self.deployment(of).zip(self.target(&agent.target));
        wanted.is_some_and(|(spec, target)| {
            let named = spec.placement.agent.as_ref();
            named.is_none_or(|named| named == id)
                && Self::is_home(agent, target)
                && spec.size == agent.size
                && spec.placement.admits(&agent.target, target)
        })
    }

    /// Whether this is the version that a deployment's replicas are to have in the end.
    fn is_aim(&self, id: &DeploymentId, version: Digest) -> bool {
        let spec = self.deployment(id);
        spec.is_some_and(|spec| self.aim(id, spec) == version)
    }

    /// What an agent needs in order to run a version.
    fn runtime(&self, id: &DeploymentId, spec: &Deployment, version: Digest) -> Runtime {
        let fact = self.observed.rollouts.get(id);
        let before = fact.and_then(|fact| fact.runtime);
        let before =
            before.filter(|_| version != spec.workload && self.healthy(id) == Some(version));
        before.unwrap_or(spec.runtime)
    }
}

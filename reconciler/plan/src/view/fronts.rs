//! Whom names of deployments lead to. Derives only.

use easyenclave_schemas::{AgentId, Hostname};

use super::{AgentIx, DeploymentIx, View, number};

impl<'a> View<'a> {
    pub(crate) fn find_agent(&self, id: &AgentId) -> Option<AgentIx> {
        let found = self.agents.binary_search_by_key(&id, |agent| agent.id).ok();
        found.map(|at| AgentIx(number(at)))
    }

    /// The name of a deployment, if it has one.
    pub(crate) fn hostname(&self, deployment: DeploymentIx) -> Option<&'a Hostname> {
        match self.desired.hostnames.is_empty() {
            true => None,
            false => self.desired.hostnames.get(self.deployment(deployment).id),
        }
    }

    /// Whether the name of its deployment leads to an agent, is decided to, or may.
    pub(crate) fn is_front(&self, agent: AgentIx) -> bool {
        let facts = self.agent(agent);
        let fronts = &self.observed.fronts;
        let is_it = |hostname: &Hostname| {
            let named = [fronts.leads.get(hostname), fronts.decided.get(hostname)];
            !fronts.listed || named.contains(&Some(facts.id))
        };
        let hostname = facts.deployment.and_then(|of| self.hostname(of));
        facts.exposed && hostname.is_some_and(is_it)
    }
}

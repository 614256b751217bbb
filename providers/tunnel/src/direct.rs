//! No tunnel at all: agents are reached where they answer. For fleets on one machine, where nothing outside has to be made or
//! removed. Names of deployments are noted and lead nowhere, since nobody would resolve them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use easyenclave_schemas::{AgentId, Secret};

use crate::{Ensured, Hostname, Link, Listing, Route, Seen, TunnelError, Tunnels};

/// Ways without tunnels. They are gone with the process, and so is all that there is of them.
#[derive(Debug, Default)]
pub struct Direct {
    table: Mutex<Table>,
}

/// Which agents may be reached, and which names were given to them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    agents: BTreeSet<AgentId>,
    names: BTreeMap<Hostname, AgentId>,
}

impl Table {
    pub(crate) fn ensure(&mut self, agent: &AgentId) {
        self.agents.insert(agent.clone());
    }

    #[cfg(feature = "testing")]
    pub(crate) fn has(&self, agent: &AgentId) -> bool {
        self.agents.contains(agent)
    }

    pub(crate) fn point(&mut self, hostname: &Hostname, to: &AgentId) -> Result<(), TunnelError> {
        if !self.agents.contains(to) {
            let what = format!("pointing {hostname} at {to}");
            return Err(TunnelError::retry(what, "the agent has no tunnel yet"));
        }
        self.names.insert(hostname.clone(), to.clone());
        Ok(())
    }

    pub(crate) fn unpoint(&mut self, hostname: &Hostname) {
        self.names.remove(hostname);
    }

    pub(crate) fn remove(&mut self, agent: &AgentId) {
        self.agents.remove(agent);
        self.names.retain(|_, to| to != agent);
    }

    /// What is there, with each agent's own name if it has one.
    pub(crate) fn list(
        &self,
        link: impl Fn(&AgentId) -> Link,
        own: impl Fn(&AgentId) -> Option<Hostname>,
    ) -> Listing {
        let seen = |agent: &AgentId| {
            let names = self.names.iter().filter(|(_, to)| *to == agent);
            let names = names.map(|(name, _)| name.clone());
            Seen {
                agent: agent.clone(),
                tunnel: Some(link(agent)),
                hostnames: names.chain(own(agent)).collect(),
                dead: BTreeSet::new(),
                left: BTreeSet::new(),
            }
        };
        Listing {
            ours: self.agents.iter().map(seen).collect(),
            strange: Vec::new(),
        }
    }
}

impl Direct {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Tunnels for Direct {
    async fn ensure(&self, route: &Route) -> Result<Ensured, TunnelError> {
        self.table().ensure(&route.agent);
        Ok(Ensured {
            url: route.outside.clone(),
            connector: None,
        })
    }

    async fn token(&self, _agent: &AgentId) -> Result<Option<Secret<String>>, TunnelError> {
        Ok(None)
    }

    async fn point(&self, hostname: &Hostname, to: &AgentId) -> Result<(), TunnelError> {
        self.table().point(hostname, to)
    }

    async fn unpoint(&self, hostname: &Hostname) -> Result<(), TunnelError> {
        self.table().unpoint(hostname);
        Ok(())
    }

    async fn remove(&self, agent: &AgentId) -> Result<(), TunnelError> {
        self.table().remove(agent);
        Ok(())
    }

    async fn list(&self) -> Result<Listing, TunnelError> {
        Ok(self.table().list(|_| Link::Connected, |_| None))
    }
}

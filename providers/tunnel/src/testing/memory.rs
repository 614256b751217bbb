//! Tunnels in memory, for tests of those who use them: what is there outlives the one who made it, connectors come and go, and
//! the next call fails when it is told to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use easyenclave_schemas::{AgentId, Digest, Secret};

use crate::direct::Table;
use crate::{Ensured, Hostname, Link, Listing, Next, Route, TunnelError, Tunnels};

/// What is there, whoever asks.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    table: Table,
    connected: BTreeSet<AgentId>,
    faults: Vec<Next>,
    is_blind: bool,
    /// Every verb that was called, in words.
    said: Vec<String>,
}

impl World {
    /// The next call fails in this way.
    pub fn meet(&self, next: Next) {
        self.state().faults.push(next);
    }

    /// The connector of an agent connects, or goes.
    pub fn set_connected(&self, agent: &AgentId, is_connected: bool) {
        let mut state = self.state();
        match is_connected {
            true => state.connected.insert(agent.clone()),
            false => state.connected.remove(agent),
        };
    }

    /// Whether listings fail from now on.
    pub fn set_blind(&self, is_blind: bool) {
        self.state().is_blind = is_blind;
    }

    /// All that was asked so far, such as `ensure a`.
    pub fn said(&self) -> Vec<String> {
        self.state().said.clone()
    }

    /// What is there.
    pub fn listing(&self) -> Listing {
        let state = self.state();
        let link = |agent: &AgentId| match state.connected.contains(agent) {
            true => Link::Connected,
            false => Link::Down,
        };
        state.table.list(link, |agent| Some(own(agent)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, what: String) -> Result<MutexGuard<'_, State>, TunnelError> {
        let mut state = self.state();
        state.said.push(what.clone());
        match state.faults.is_empty() {
            true => Ok(state),
            false => Err(TunnelError::new(
                state.faults.remove(0),
                what,
                "told to fail",
            )),
        }
    }
}

/// Tunnels in a world.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Where they are.
    pub world: World,
}

/// Why a name is given to nobody else.
const OWN: &str = "it is an agent's own name";

impl State {
    /// The agent there whose own name this is.
    fn owner(&self, hostname: &Hostname) -> Option<AgentId> {
        let label = hostname.as_str().strip_suffix(".example.com")?;
        let agent = AgentId::new(label).ok()?;
        self.table.has(&agent).then_some(agent)
    }
}

fn own(agent: &AgentId) -> Hostname {
    Hostname::new(format!("{agent}.example.com")).expect("a name")
}

#[async_trait]
impl Tunnels for Memory {
    async fn ensure(&self, route: &Route) -> Result<Ensured, TunnelError> {
        let agent = &route.agent;
        self.world
            .call(format!("ensure {agent}"))?
            .table
            .ensure(agent);
        Ok(Ensured {
            url: format!("https://{}", own(agent)),
            connector: Some(Digest::of(agent.as_str().as_bytes())),
        })
    }

    async fn token(&self, agent: &AgentId) -> Result<Option<Secret<String>>, TunnelError> {
        let state = self.world.call(format!("token {agent}"))?;
        let is_there = state.table.has(agent);
        Ok(is_there.then(|| Secret::new(format!("token-of-{agent}"))))
    }

    async fn point(&self, hostname: &Hostname, to: &AgentId) -> Result<(), TunnelError> {
        let what = format!("point {hostname} {to}");
        let mut state = self.world.call(what.clone())?;
        match state.owner(hostname).is_some_and(|owner| owner != *to) {
            true => Err(TunnelError::not_ours(what, OWN)),
            false => state.table.point(hostname, to),
        }
    }

    async fn unpoint(&self, hostname: &Hostname) -> Result<(), TunnelError> {
        let what = format!("unpoint {hostname}");
        let mut state = self.world.call(what.clone())?;
        if state.owner(hostname).is_some() {
            return Err(TunnelError::not_ours(what, OWN));
        }
        state.table.unpoint(hostname);
        Ok(())
    }

    async fn remove(&self, agent: &AgentId) -> Result<(), TunnelError> {
        let mut state = self.world.call(format!("remove {agent}"))?;
        state.table.remove(agent);
        state.connected.remove(agent);
        Ok(())
    }

    async fn list(&self) -> Result<Listing, TunnelError> {
        let is_blind = self.world.call("list".into())?.is_blind;
        match is_blind {
            true => Err(TunnelError::retry("listing", "told to be blind")),
            false => Ok(self.world.listing()),
        }
    }
}

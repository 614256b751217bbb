//! All records in memory, and what a change does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_schemas::records::{AgentRecord, OrderRecord, RolloutRecord};
use easyenclave_schemas::{
    AgentId, DeploymentId, OrderId, ProviderName, TargetName, Timestamp, WorkerId,
};
use easyenclave_store::{Space, Store};
use serde::de::DeserializeOwned;

use super::JournalError;
use super::machines::Machines;
use super::queue::Queue;

/// All agents and orders.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Agents that registered and are not proved retired.
    pub agents: BTreeMap<AgentId, Arc<AgentRecord>>,
    /// Orders: those under way, and the newest of each slot.
    pub orders: BTreeMap<OrderId, Arc<OrderRecord>>,
    /// What the roll-outs of deployments came to.
    pub rollouts: BTreeMap<DeploymentId, Arc<RolloutRecord>>,
    queue: Queue,
    machines: Machines,
}

/// What a change does to the records.
pub(super) struct Staged {
    pub(super) agents: BTreeMap<AgentId, Option<Arc<AgentRecord>>>,
    pub(super) orders: BTreeMap<OrderId, Option<Arc<OrderRecord>>>,
    pub(super) rollouts: BTreeMap<DeploymentId, Option<Arc<RolloutRecord>>>,
}

impl Records {
    /// All records of a store.
    pub(super) fn load(store: &dyn Store) -> Result<Self, JournalError> {
        let mut records = Self {
            agents: load(store, Space::Agents, AgentId::new)?,
            orders: load(store, Space::Orders, OrderId::new)?,
            rollouts: load(store, Space::Rollouts, |key| key.parse::<DeploymentId>())?,
            queue: Queue::default(),
            machines: Machines::default(),
        };
        for order in records.orders.values() {
            records.queue.put(order);
            records.machines.put_order(order);
        }
        let agents = records.agents.values();
        agents.for_each(|agent| records.machines.put_agent(agent));
        Ok(records)
    }

    pub(super) fn merge(&mut self, staged: &Staged) {
        for (agent, record) in &staged.agents {
            if let Some(before) = self.agents.remove(agent) {
                self.machines.take_agent(&before);
            }
            if let Some(record) = record {
                self.machines.put_agent(record);
                self.agents.insert(agent.clone(), Arc::clone(record));
            }
        }
        for (order, record) in &staged.orders {
            self.set_order(order, record.clone());
        }
        for (deployment, record) in &staged.rollouts {
            match record {
                Some(record) => self.rollouts.insert(deployment.clone(), Arc::clone(record)),
                None => self.rollouts.remove(deployment),
            };
        }
    }

    /// Writes or forgets an order.
    pub(crate) fn set_order(&mut self, order: &OrderId, record: Option<Arc<OrderRecord>>) {
        if let Some(before) = self.orders.remove(order) {
            self.queue.take(&before);
            self.machines.take_order(&before);
        }
        if let Some(record) = record {
            self.queue.put(&record);
            self.machines.put_order(&record);
            self.orders.insert(order.clone(), record);
        }
    }

    /// How many machines of a target other workers have, and how many of other targets this one has.
    pub(crate) fn machines(&self, target: &TargetName, worker: &WorkerId) -> (u32, u32) {
        let elsewhere = self.machines.elsewhere(target, worker);
        (elsewhere, self.machines.beside(target, worker))
    }

    /// The open orders of a provider that only this worker may have, or any, oldest first.
    pub(crate) fn open(
        &self,
        provider: &ProviderName,
        only: Option<&WorkerId>,
    ) -> impl Iterator<Item = &Arc<OrderRecord>> {
        let open = self.queue.open(provider, only);
        open.filter_map(|order| self.orders.get(order))
    }

    /// The pending orders that a worker holds, oldest first.
    pub(crate) fn held(&self, worker: &WorkerId) -> impl Iterator<Item = &Arc<OrderRecord>> {
        let held = self.queue.held(worker);
        held.filter_map(|order| self.orders.get(order))
    }

    /// The pending orders whose claims have lapsed.
    pub(crate) fn lapsed(&self, now: Timestamp) -> impl Iterator<Item = &Arc<OrderRecord>> {
        let lapsed = self.queue.lapsed(now);
        lapsed.filter_map(|order| self.orders.get(order))
    }
}

fn load<K: Ord, N, T: DeserializeOwned>(
    store: &dyn Store,
    space: Space,
    name: impl Fn(String) -> Result<K, N>,
) -> Result<BTreeMap<K, Arc<T>>, JournalError> {
    let mut records = BTreeMap::new();
    for (key, value) in store.list(space)? {
        let record = serde_json::from_slice(&value).map_err(|source| JournalError::Record {
            space: space.name(),
            key: key.clone(),
            source,
        })?;
        if let Ok(key) = name(key) {
            records.insert(key, Arc::new(record));
        }
    }
    Ok(records)
}

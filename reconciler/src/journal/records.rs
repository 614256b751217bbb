//! All records in memory, and what a change does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_schemas::records::{AgentRecord, OrderRecord};
use easyenclave_schemas::{AgentId, OrderId, ProviderName, Timestamp, WorkerId};
use easyenclave_store::{Space, Store};
use serde::de::DeserializeOwned;

use super::JournalError;
use super::queue::Queue;

/// All agents and orders.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Agents that registered and are not proved retired.
    pub agents: BTreeMap<AgentId, Arc<AgentRecord>>,
    /// Orders: those under way, and the newest of each slot.
    pub orders: BTreeMap<OrderId, Arc<OrderRecord>>,
    queue: Queue,
}

/// What a change does to the records.
pub(super) struct Staged {
    pub(super) agents: BTreeMap<AgentId, Option<Arc<AgentRecord>>>,
    pub(super) orders: BTreeMap<OrderId, Option<Arc<OrderRecord>>>,
}

impl Records {
    /// All records of a store.
    pub(super) fn load(store: &dyn Store) -> Result<Self, JournalError> {
        let mut records = Self {
            agents: load(store, Space::Agents, AgentId::new)?,
            orders: load(store, Space::Orders, OrderId::new)?,
            queue: Queue::default(),
        };
        let orders = records.orders.values();
        orders.for_each(|order| records.queue.put(order));
        Ok(records)
    }

    pub(super) fn merge(&mut self, staged: &Staged) {
        for (agent, record) in &staged.agents {
            match record {
                Some(record) => self.agents.insert(agent.clone(), Arc::clone(record)),
                None => self.agents.remove(agent),
            };
        }
        for (order, record) in &staged.orders {
            self.set_order(order, record.clone());
        }
    }

    /// Writes or forgets an order.
    pub(crate) fn set_order(&mut self, order: &OrderId, record: Option<Arc<OrderRecord>>) {
        if let Some(before) = self.orders.remove(order) {
            self.queue.take(&before);
        }
        if let Some(record) = record {
            self.queue.put(&record);
            self.orders.insert(order.clone(), record);
        }
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

//! What one transaction wants to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use easyenclave_schemas::records::{AgentRecord, OrderRecord, RolloutRecord};
use easyenclave_schemas::{AgentId, DeploymentId, OrderId, Timestamp};
use easyenclave_store::{Batch, Expect, Space};
use serde::Serialize;

use super::records::Staged;

/// What one transaction wants to write.
#[derive(Debug, Default)]
pub struct Change {
    agents: BTreeMap<AgentId, Option<AgentRecord>>,
    orders: BTreeMap<OrderId, Option<OrderRecord>>,
    rollouts: BTreeMap<DeploymentId, Option<RolloutRecord>>,
    batch: Batch,
}

impl Change {
    /// Writes an agent.
    pub fn put_agent(&mut self, record: AgentRecord) {
        self.agents.insert(record.agent.clone(), Some(record));
    }

    /// An agent as this change leaves it; `None` when the change does not touch it.
    pub fn staged_agent(&self, agent: &AgentId) -> Option<Option<&AgentRecord>> {
        self.agents.get(agent).map(Option::as_ref)
    }

    /// Forgets an agent and its evidence.
    pub fn drop_agent(&mut self, agent: &AgentId) {
        self.agents.insert(agent.clone(), None);
        self.batch.delete(Space::Evidence, agent.as_str());
    }

    /// Writes an order.
    pub fn put_order(&mut self, record: OrderRecord) {
        self.orders.insert(record.order.clone(), Some(record));
    }

    /// Forgets an order.
    pub fn drop_order(&mut self, order: &OrderId) {
        self.orders.insert(order.clone(), None);
    }

    /// Writes what a deployment's roll-outs came to.
    pub fn put_rollout(&mut self, record: RolloutRecord) {
        self.rollouts
            .insert(record.deployment.clone(), Some(record));
    }

    /// Forgets a deployment's roll-outs.
    pub fn drop_rollout(&mut self, deployment: &DeploymentId) {
        self.rollouts.insert(deployment.clone(), None);
    }

    /// Writes a value outside agents and orders.
    pub fn put(&mut self, space: Space, key: &str, value: Vec<u8>) {
        self.batch.put(space, key, value);
    }

    /// Removes a value outside agents and orders.
    pub fn delete(&mut self, space: Space, key: &str) {
        self.batch.delete(space, key);
    }

    /// Uses a nonce up. The whole change fails with a conflict when it was used before.
    pub fn use_nonce(&mut self, nonce: &str, expires: Timestamp) {
        self.batch.expect(Space::Nonces, nonce, Expect::Absent);
        self.batch
            .put(Space::Nonces, nonce, expires.as_millis().to_string().into());
    }

    /// What goes to the store, and what that does to the records.
    pub(super) fn staged(mut self) -> (Batch, Staged) {
        for (id, record) in &self.agents {
            stage(&mut self.batch, Space::Agents, id.as_str(), record.as_ref());
        }
        for (id, record) in &self.orders {
            stage(&mut self.batch, Space::Orders, id.as_str(), record.as_ref());
        }
        for (id, record) in &self.rollouts {
            let key = id.to_string();
            stage(&mut self.batch, Space::Rollouts, &key, record.as_ref());
        }
        let staged = Staged {
            agents: shared(self.agents),
            orders: shared(self.orders),
            rollouts: shared(self.rollouts),
        };
        (self.batch, staged)
    }
}

fn stage<T: Serialize>(batch: &mut Batch, space: Space, key: &str, record: Option<&T>) {
    match record {
        Some(record) => {
            let bytes = serde_json::to_vec(record).expect("a record is plain data");
            batch.put(space, key, bytes);
        }
        None => {
            batch.delete(space, key);
        }
    }
}

fn shared<K: Ord, T>(changes: BTreeMap<K, Option<T>>) -> BTreeMap<K, Option<Arc<T>>> {
    let shared = changes
        .into_iter()
        .map(|(key, record)| (key, record.map(Arc::new)));
    shared.collect()
}

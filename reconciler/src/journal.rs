//! The durable records, in memory for reading and in the store for keeps. A change is on the disk
//! before anybody sees it; all changes go through [`Journal::transact`], one at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use easyenclave_schemas::records::{AgentRecord, OrderRecord};
use easyenclave_schemas::{AgentId, OrderId, Timestamp};
use easyenclave_store::{Batch, Expect, Space, Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

/// All agents and orders.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Agents that registered and are not proved retired.
    pub agents: BTreeMap<AgentId, Arc<AgentRecord>>,
    /// Orders: those under way, and the newest of each slot.
    pub orders: BTreeMap<OrderId, Arc<OrderRecord>>,
}

/// The records and the store behind them.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    /// Held while a change is decided and written, so that changes follow one another.
    writer: Mutex<()>,
    records: RwLock<Records>,
}

/// What one transaction wants to write.
#[derive(Debug, Default)]
pub struct Change {
    agents: BTreeMap<AgentId, Option<AgentRecord>>,
    orders: BTreeMap<OrderId, Option<OrderRecord>>,
    batch: Batch,
}

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store failed, or somebody else wrote.
    #[error("records cannot be kept")]
    Store(#[from] StoreError),
    /// A record in the store cannot be read.
    #[error("{space} record {key:?} cannot be read")]
    Record {
        /// The space.
        space: &'static str,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Journal {
    /// Reads every record of a store.
    ///
    /// # Errors
    /// When the store or a record in it cannot be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, JournalError> {
        let records = Records {
            agents: load(store.as_ref(), Space::Agents, AgentId::new)?,
            orders: load(store.as_ref(), Space::Orders, OrderId::new)?,
        };
        let inner = Inner {
            store,
            writer: Mutex::new(()),
            records: RwLock::new(records),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The records as they are now. Keep the guard short, and never across an `.await`.
    pub fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.inner
            .records
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on the newest records and writes what was decided, whole or not at all. The change is
    /// durable when this returns `Ok`.
    ///
    /// # Errors
    /// `Ok(Err(e))` when `decide` refuses: nothing is written. `Err` when the store fails.
    pub async fn transact<T, E, F>(&self, decide: F) -> Result<Result<T, E>, JournalError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Records, &mut Change) -> Result<T, E> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.transact(decide))
            .await
            .expect("a decision does not panic")
    }

    /// A value outside agents and orders, such as evidence.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, space: Space, key: String) -> Result<Option<Vec<u8>>, JournalError> {
        let inner = Arc::clone(&self.inner);
        let value = spawn_blocking(move || inner.store.get(space, &key)).await;
        Ok(value.expect("reading does not panic")?)
    }

    /// Keeps a value outside agents and orders.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(&self, space: Space, key: &str, value: Vec<u8>) -> Result<(), JournalError> {
        let key = key.to_owned();
        let kept = self
            .transact(move |_, change| {
                change.put(space, &key, value);
                Ok::<_, ()>(())
            })
            .await?;
        kept.unwrap_or_default();
        Ok(())
    }

    /// Forgets used nonces that have expired by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_nonces(&self, now: Timestamp) -> Result<(), JournalError> {
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.forget_nonces(now))
            .await
            .expect("pruning does not panic")
    }
}

impl Inner {
    fn transact<T, E>(
        &self,
        decide: impl FnOnce(&Records, &mut Change) -> Result<T, E>,
    ) -> Result<Result<T, E>, JournalError> {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut change = Change::default();
        let decided = {
            let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
            decide(&records, &mut change)
        };
        if decided.is_ok() {
            self.write(change)?;
        }
        Ok(decided)
    }

    fn write(&self, mut change: Change) -> Result<(), JournalError> {
        for (id, record) in &change.agents {
            stage(
                &mut change.batch,
                Space::Agents,
                id.as_str(),
                record.as_ref(),
            );
        }
        for (id, record) in &change.orders {
            stage(
                &mut change.batch,
                Space::Orders,
                id.as_str(),
                record.as_ref(),
            );
        }
        if change.batch.is_empty() {
            return Ok(());
        }
        self.store.commit(&change.batch)?;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        merge(&mut records.agents, change.agents);
        merge(&mut records.orders, change.orders);
        Ok(())
    }

    fn forget_nonces(&self, now: Timestamp) -> Result<(), JournalError> {
        let mut batch = Batch::new();
        for (key, value) in self.store.list(Space::Nonces)? {
            let expiry = String::from_utf8_lossy(&value).parse::<i64>().unwrap_or(0);
            if expiry < now.as_millis() {
                batch.delete(Space::Nonces, key);
            }
        }
        if !batch.is_empty() {
            self.store.commit(&batch)?;
        }
        Ok(())
    }
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

fn merge<K: Ord, T>(into: &mut BTreeMap<K, Arc<T>>, changes: BTreeMap<K, Option<T>>) {
    for (key, record) in changes {
        match record {
            Some(record) => into.insert(key, Arc::new(record)),
            None => into.remove(&key),
        };
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

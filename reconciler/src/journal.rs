//! The durable records, in memory for reading and in the store for keeps. A change is on the disk
//! before anybody sees it; all changes go through [`Journal::transact`]. They are decided one at a time, and
//! wait for the disk together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use easyenclave_schemas::records::{AgentRecord, OrderRecord};
use easyenclave_schemas::{AgentId, OrderId, Timestamp};
use easyenclave_store::{Batch, Expect, Space, Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
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
    /// Held while a change is decided and applied, so that changes follow one another.
    writer: Mutex<Writer>,
    /// The number of the newest change that is on the disk. Held by the one who flushes for all who wait.
    durable: Mutex<u64>,
    /// What is on the disk.
    records: RwLock<Records>,
    /// Why a write has failed.
    failed: watch::Sender<Option<String>>,
}

/// Where decisions have got to, ahead of the disk.
struct Writer {
    /// The records with every change that was decided.
    records: Records,
    /// The number of the newest change.
    newest: u64,
    /// Changes that are not on the disk yet, with their numbers.
    waiting: VecDeque<(u64, Staged)>,
}

/// What a change does to the records.
struct Staged {
    agents: BTreeMap<AgentId, Option<Arc<AgentRecord>>>,
    orders: BTreeMap<OrderId, Option<Arc<OrderRecord>>>,
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
        let writer = Writer {
            records: records.clone(),
            newest: 0,
            waiting: VecDeque::new(),
        };
        let inner = Inner {
            store,
            writer: Mutex::new(writer),
            durable: Mutex::new(0),
            records: RwLock::new(records),
            failed: watch::Sender::new(None),
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

    /// Decides on the newest records and writes what was decided, whole or not at all. When this returns
    /// `Ok`, the change is durable, and so is every change that it was decided on.
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

    /// Waits until a write has failed, and answers why. What is on the disk then, only the next who opens the store will
    /// know, and until it is opened it may take nothing any more: whoever runs for months has to start again.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.subscribe();
        let failed = failed.wait_for(Option::is_some).await;
        let why = failed.expect("this journal holds the sender").clone();
        why.unwrap_or_default()
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

    /// The keys of values outside agents and orders.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keys(&self, space: Space) -> Result<Vec<String>, JournalError> {
        let inner = Arc::clone(&self.inner);
        let keys = spawn_blocking(move || inner.store.keys(space)).await;
        Ok(keys.expect("reading does not panic")?)
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
        let (decided, number) = {
            let mut writer = self.writer();
            let mut change = Change::default();
            let decided = decide(&writer.records, &mut change);
            if decided.is_ok() {
                self.apply(&mut writer, change)?;
            }
            (decided, writer.newest)
        };
        // Without a change of its own, too: it may have been decided on one that is not on the disk yet.
        self.flush(number)?;
        Ok(decided)
    }

    fn apply(&self, writer: &mut Writer, change: Change) -> Result<(), StoreError> {
        let Change {
            agents,
            orders,
            mut batch,
        } = change;
        for (id, record) in &agents {
            stage(&mut batch, Space::Agents, id.as_str(), record.as_ref());
        }
        for (id, record) in &orders {
            stage(&mut batch, Space::Orders, id.as_str(), record.as_ref());
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.told(self.store.apply(&batch))?;
        let staged = Staged {
            agents: shared(agents),
            orders: shared(orders),
        };
        writer.records.merge(&staged);
        writer.newest += 1;
        writer.waiting.push_back((writer.newest, staged));
        Ok(())
    }

    /// Returns when the change of this number is on the disk and can be seen. Who comes first flushes all
    /// that was applied until then; the others find theirs done, or are next.
    fn flush(&self, number: u64) -> Result<(), StoreError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable >= number {
            return Ok(());
        }
        let newest = self.writer().newest;
        self.told(self.store.flush())?;
        let done = self.writer().taken(newest);
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        done.iter().for_each(|staged| records.merge(staged));
        *durable = newest;
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_nonces(&self, now: Timestamp) -> Result<(), JournalError> {
        let mut batch = Batch::new();
        for (key, value) in self.store.list(Space::Nonces)? {
            let expiry = String::from_utf8_lossy(&value).parse::<i64>().unwrap_or(0);
            if expiry < now.as_millis() {
                batch.delete(Space::Nonces, key);
            }
        }
        // The next change takes it to the disk; a nonce that expired does no harm if it is found again.
        Ok(self.told(self.store.apply(&batch))?)
    }

    /// The result of a write. A conflict is no failure of the store.
    fn told(&self, written: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(StoreError::Engine(source)) = &written {
            self.failed.send_replace(Some(source.to_string()));
        }
        written
    }
}

impl Writer {
    /// Takes the changes up to a number out of those that wait.
    fn taken(&mut self, number: u64) -> Vec<Staged> {
        let mut taken = Vec::new();
        while let Some((_, staged)) = self.waiting.pop_front_if(|(other, _)| *other <= number) {
            taken.push(staged);
        }
        taken
    }
}

impl Records {
    fn merge(&mut self, staged: &Staged) {
        merge(&mut self.agents, &staged.agents);
        merge(&mut self.orders, &staged.orders);
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

fn shared<K: Ord, T>(changes: BTreeMap<K, Option<T>>) -> BTreeMap<K, Option<Arc<T>>> {
    let shared = changes
        .into_iter()
        .map(|(key, record)| (key, record.map(Arc::new)));
    shared.collect()
}

fn merge<K: Ord + Clone, T>(into: &mut BTreeMap<K, Arc<T>>, changes: &BTreeMap<K, Option<Arc<T>>>) {
    for (key, record) in changes {
        match record {
            Some(record) => into.insert(key.clone(), Arc::clone(record)),
            None => into.remove(key),
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

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use easyenclave_store::SledStore;

    use super::*;

    /// A store whose disk can be held up and can fail, and that counts.
    struct Disk {
        store: SledStore,
        held: Mutex<bool>,
        freed: Condvar,
        fails: AtomicBool,
        flushes: AtomicUsize,
    }

    impl Disk {
        fn open(dir: &std::path::Path) -> Arc<Self> {
            Arc::new(Self {
                store: SledStore::open(dir).expect("the folder is free"),
                held: Mutex::new(false),
                freed: Condvar::new(),
                fails: AtomicBool::new(false),
                flushes: AtomicUsize::new(0),
            })
        }

        fn hold(&self, held: bool) {
            *self.held.lock().expect("no panic") = held;
            self.freed.notify_all();
        }

        fn flushes(&self) -> usize {
            self.flushes.load(Ordering::SeqCst)
        }
    }

    impl Store for Disk {
        fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.store.get(space, key)
        }

        fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            self.store.list(space)
        }

        fn keys(&self, space: Space) -> Result<Vec<String>, StoreError> {
            self.store.keys(space)
        }

        fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
            self.store.apply(batch)
        }

        fn flush(&self) -> Result<(), StoreError> {
            self.flushes.fetch_add(1, Ordering::SeqCst);
            let held = self.held.lock().expect("no panic");
            drop(self.freed.wait_while(held, |held| *held).expect("no panic"));
            if self.fails.load(Ordering::SeqCst) {
                return Err(StoreError::Engine("no space left".into()));
            }
            self.store.flush()
        }
    }

    fn order(name: &str) -> OrderRecord {
        let text = format!(
            r#"{{"order": "{name}", "datacenter": "dc", "provider": "local", "state": "open", "openedAt": "2026-01-01T00:00:00Z",
                "work": {{"retire": {{"agent": "{name}", "reason": "r"}}}}}}"#
        );
        serde_json::from_str(&text).expect("an order")
    }

    async fn open_order(
        journal: Journal,
        name: &'static str,
    ) -> Result<Result<(), ()>, JournalError> {
        let decide = move |_: &Records, change: &mut Change| {
            change.put_order(order(name));
            Ok(())
        };
        journal.transact(decide).await
    }

    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("it does not come to that");
    }

    #[tokio::test]
    async fn changes_that_come_while_the_disk_works_share_the_next_flush() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(dir.path());
        let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
        disk.hold(true);
        let first = tokio::spawn(open_order(journal.clone(), "first"));
        until(|| disk.flushes() == 1).await;
        let names = ["a", "b", "c", "d"];
        let others = names.map(|name| tokio::spawn(open_order(journal.clone(), name)));
        let applied = || disk.list(Space::Orders).expect("readable").len();
        until(|| applied() == 5).await;
        assert!(journal.read().orders.is_empty(), "nothing is on the disk");
        disk.hold(false);
        for call in std::iter::once(first).chain(others) {
            call.await
                .expect("no panic")
                .expect("kept")
                .expect("decided");
        }
        assert_eq!((disk.flushes(), journal.read().orders.len()), (2, 5));
    }

    #[tokio::test]
    async fn a_decision_without_a_change_waits_for_what_it_was_decided_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(dir.path());
        let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
        disk.hold(true);
        let first = tokio::spawn(open_order(journal.clone(), "first"));
        until(|| disk.flushes() == 1).await;
        let decided = Arc::new(AtomicBool::new(false));
        let (asks, knows) = (journal.clone(), Arc::clone(&decided));
        let look = tokio::spawn(async move {
            let decide = move |records: &Records, _: &mut Change| {
                knows.store(true, Ordering::SeqCst);
                Ok::<_, ()>(records.orders.len())
            };
            asks.transact(decide).await
        });
        until(|| decided.load(Ordering::SeqCst)).await;
        assert!(!look.is_finished() && journal.read().orders.is_empty());
        disk.hold(false);
        first
            .await
            .expect("no panic")
            .expect("kept")
            .expect("decided");
        let seen = look
            .await
            .expect("no panic")
            .expect("kept")
            .expect("decided");
        assert_eq!((seen, journal.read().orders.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_failed_write_is_told_to_whoever_waits_and_a_conflict_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(dir.path());
        let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
        for _ in 0..2 {
            let used = journal.transact(|_, change| {
                change.use_nonce("n", Timestamp::default());
                Ok::<_, ()>(())
            });
            let _ = used.await;
        }
        assert!(journal.inner.failed.borrow().is_none(), "it was a conflict");
        disk.fails.store(true, Ordering::SeqCst);
        let failed = open_order(journal.clone(), "first").await;
        assert!(matches!(failed, Err(JournalError::Store(_))), "{failed:?}");
        assert_eq!(journal.failed().await, "no space left");
    }

    #[tokio::test]
    async fn what_a_failed_flush_left_behind_is_seen_when_it_is_on_the_disk() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(dir.path());
        let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
        disk.fails.store(true, Ordering::SeqCst);
        let failed = open_order(journal.clone(), "first").await;
        assert!(matches!(failed, Err(JournalError::Store(_))), "{failed:?}");
        assert!(journal.read().orders.is_empty());
        disk.fails.store(false, Ordering::SeqCst);
        let kept = open_order(journal.clone(), "second").await;
        kept.expect("kept").expect("decided");
        assert_eq!(journal.read().orders.len(), 2);
    }
}

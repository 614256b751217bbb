//! The durable records, in memory for reading and in the store for keeps. A change is on the disk
//! before anybody sees it; all changes go through [`Journal::transact`]. They are decided one at a time, and
//! wait for the disk together.

mod change;
mod machines;
mod queue;
mod records;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_store::{Batch, Space, Store, StoreError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

pub use change::Change;
pub use records::Records;
use records::Staged;

/// Used nonces are kept for so long after they have expired: a clock that jumped ahead and was set right would let one count
/// again that was forgotten meanwhile.
const NONCES_KEPT: Duration = Duration::from_secs(86_400);

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
        let records = Records::load(store.as_ref())?;
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

    /// Forgets used nonces that expired long ago.
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
        let (batch, staged) = change.staged();
        if batch.is_empty() {
            return Ok(());
        }
        self.told(self.store.apply(&batch))?;
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
            if Timestamp::from_millis(expiry).plus(NONCES_KEPT) < now {
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

//! Small durable local state: a few spaces of keys and values with atomic, guarded batches.
//! Everything in it can be rebuilt from Git and the world; it never holds desired state.

mod batch;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod disk;
mod sled;

pub use batch::{Batch, Expect};

pub use crate::sled::SledStore;

/// A named part of the store. Keys of one space never meet those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Agents by id.
    Agents,
    /// Orders by id.
    Orders,
    /// The newest evidence of each agent, with its nonce and collateral.
    Evidence,
    /// What the status branch keeps of each agent's newest evidence, file by file.
    Filings,
    /// Nonces that were used up, until they would have expired anyway.
    Nonces,
    /// What deployments' roll-outs came to, by deployment.
    Rollouts,
    /// Keys and counters of the fleet itself.
    Meta,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 7] = [
        Self::Agents,
        Self::Orders,
        Self::Evidence,
        Self::Filings,
        Self::Nonces,
        Self::Rollouts,
        Self::Meta,
    ];

    /// The space's name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Orders => "orders",
            Self::Evidence => "evidence",
            Self::Filings => "filings",
            Self::Nonces => "nonces",
            Self::Rollouts => "rollouts",
            Self::Meta => "meta",
        }
    }
}

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed a key that the batch expected otherwise. Read again and decide again.
    #[error("{space} {key:?} is not what the batch expected")]
    Conflict {
        /// The space.
        space: &'static str,
        /// The key.
        key: String,
    },
    /// The store is in use by another process. A person must stop one of the two.
    #[error("store {0} is in use by another process")]
    InUse(String),
    /// The engine failed.
    #[error("store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Durable state.
///
/// # Guarantees
/// - A batch is applied whole or not at all, and only if all its expectations hold.
/// - When [`Store::flush`] returns `Ok`, every batch that was applied before it was called survives
///   `kill -9` and power loss. Batches that were not flushed are lost in order, the newest first.
/// - [`Store::get`] and [`Store::list`] see every batch that was applied before they were called; a list
///   is in key order.
///
/// # Assumptions
/// - Values are at most 1 MiB; keys are at most 256 bytes.
///
/// # Caveats
/// - After an `Err` of the engine the batch may or may not have been applied; read it back. No write succeeds any more
///   until the store is opened again.
/// - What was applied and not flushed is nobody's to act on: flush first.
/// - A flush takes as long as the disk does, and one serves any number of batches.
/// - Calls block the thread.
pub trait Store: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails.
    fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every key and value of a space, in key order.
    ///
    /// # Errors
    /// When the engine fails.
    fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Every key of a space, in order. Values are not held, however long they are.
    ///
    /// # Errors
    /// When the engine fails.
    fn keys(&self, space: Space) -> Result<Vec<String>, StoreError>;

    /// Applies a batch, which a later flush makes durable.
    ///
    /// # Errors
    /// `Conflict` when an expectation does not hold; otherwise when the engine fails.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes durable what was applied.
    ///
    /// # Errors
    /// When the engine or the disk fails.
    fn flush(&self) -> Result<(), StoreError>;
}

//! The embedded store: one sled tree per space, flushed before a commit returns.

use std::path::Path;

use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional, TransactionalTree,
};

use crate::{Batch, Expect, Space, Store, StoreError};

/// A store in a folder of its own, used by one process at a time.
#[derive(Debug)]
pub struct SledStore {
    db: sled::Db,
    trees: Vec<sled::Tree>,
}

impl SledStore {
    /// Opens the store in `dir`, or makes it.
    ///
    /// # Errors
    /// `InUse` when another process has it open; otherwise when the engine fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(16 * 1024 * 1024)
            .open()
            .map_err(|error| open_error(dir, error))?;
        let trees = Space::ALL
            .iter()
            .map(|space| db.open_tree(space.name()))
            .collect::<Result<_, _>>()
            .map_err(engine)?;
        Ok(Self { db, trees })
    }

    fn tree(&self, space: Space) -> &sled::Tree {
        &self.trees[index(space)]
    }
}

impl Store for SledStore {
    fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tree(space).get(key).map_err(engine)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let entry = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item.map_err(engine)?;
            Ok((String::from_utf8_lossy(&key).into_owned(), value.to_vec()))
        };
        self.tree(space).iter().map(entry).collect()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.trees
            .as_slice()
            .transaction(|trees| apply(trees, batch))
            .map_err(transaction_error)?;
        self.db.flush().map_err(engine)?;
        Ok(())
    }
}

fn apply(
    trees: &[TransactionalTree],
    batch: &Batch,
) -> Result<(), ConflictableTransactionError<StoreError>> {
    for (space, key, expect) in &batch.expects {
        let found = trees[index(*space)].get(key.as_bytes())?;
        let holds = match (expect, &found) {
            (Expect::Absent, found) => found.is_none(),
            (Expect::Value(value), Some(found)) => found == value,
            (Expect::Value(_), None) => false,
        };
        if !holds {
            let conflict = StoreError::Conflict {
                space: space.name(),
                key: key.clone(),
            };
            return Err(ConflictableTransactionError::Abort(conflict));
        }
    }
    for (space, key, value) in &batch.writes {
        let tree = &trees[index(*space)];
        match value {
            Some(value) => tree.insert(key.as_bytes(), value.as_slice())?,
            None => tree.remove(key.as_bytes())?,
        };
    }
    Ok(())
}

fn index(space: Space) -> usize {
    Space::ALL
        .iter()
        .position(|other| *other == space)
        .expect("every space is in the list")
}

fn engine(error: sled::Error) -> StoreError {
    StoreError::Engine(Box::new(error))
}

fn transaction_error(error: TransactionError<StoreError>) -> StoreError {
    match error {
        TransactionError::Abort(error) => error,
        TransactionError::Storage(error) => engine(error),
    }
}

fn open_error(dir: &Path, error: sled::Error) -> StoreError {
    match &error {
        sled::Error::Io(io) if io.to_string().contains("lock") => {
            StoreError::InUse(dir.display().to_string())
        }
        _ => engine(error),
    }
}

#[cfg(test)]
mod tests {
    use super::SledStore;
    use crate::{StoreError, conformance};

    #[test]
    fn the_embedded_store_keeps_its_promises() {
        conformance::run(|dir| Box::new(SledStore::open(dir).expect("the folder is free")));
    }

    #[test]
    fn a_second_process_is_told_that_the_store_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let _first = SledStore::open(dir.path()).expect("the folder is free");
        let error = SledStore::open(dir.path()).expect_err("one at a time");
        assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    }
}

//! What is read again and again, kept by digest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use easyenclave_schemas::Digest;

/// So many are kept. A fleet has few policies and few collaterals at a time, of up to a mebibyte.
const KEPT: usize = 32;

/// Values by the digest of what they were read from, for all threads.
pub(super) struct Memo<Value>(Mutex<BTreeMap<Digest, Value>>);

impl<Value> Default for Memo<Value> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Value: Clone> Memo<Value> {
    /// The value, read unless it is kept.
    ///
    /// # Errors
    /// When it cannot be read. That is not kept: what is missing in one tree may be in another.
    pub(super) fn get<Error>(
        &self,
        digest: Digest,
        read: impl FnOnce() -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        if let Some(kept) = self.kept().get(&digest) {
            return Ok(kept.clone());
        }
        let value = read()?;
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.clear();
        }
        kept.insert(digest, value.clone());
        Ok(value)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_once_and_a_failure_again() {
        let memo = Memo::default();
        let one = Digest::of(b"1");
        assert_eq!(memo.get(one, || Err("away")), Err("away"));
        assert_eq!(memo.get(one, || Ok::<_, &str>(1)), Ok(1));
        assert_eq!(memo.get(one, || Err("away")), Ok(1));
        for number in 0..2 * KEPT {
            let digest = Digest::of(&number.to_le_bytes());
            assert_eq!(memo.get(digest, || Ok::<_, ()>(number)), Ok(number));
            assert!(memo.kept().len() <= KEPT);
        }
    }
}

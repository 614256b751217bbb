//! Time and randomness as the reconciler gets them. The system's are read here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use easyenclave_schemas::Timestamp;

use crate::keys;

/// Tells the time.
///
/// # Guarantees
/// Never blocks.
///
/// # Caveats
/// The time may jump, forwards or backwards.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes.
///
/// # Guarantees
/// Unpredictable to others, and different each time.
pub trait Entropy: Send + Sync {
    /// Eight random bytes.
    fn bytes(&self) -> [u8; 8];

    /// A random number from 0 up to 1, for jitter.
    fn fraction(&self) -> f64 {
        let number = u64::from_be_bytes(self.bytes()) >> 12;
        f64::from(u32::try_from(number >> 20).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

/// The operating system's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Entropy for System {
    fn bytes(&self) -> [u8; 8] {
        keys::random().expect("the operating system gives random bytes")
    }
}

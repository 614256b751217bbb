//! Time and randomness as the agent gets them. The system's are read here and nowhere else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use easyenclave_schemas::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

/// The operating system's clock, in whole milliseconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Sixteen random bytes in hex digits: for nonces and ids.
pub(crate) fn unique() -> String {
    hex::encode(random::<16>())
}

/// A pause that grows from `first` to `longest` with each failure, up to half as long again so that
/// agents do not move in step.
pub(crate) fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    let pause = first
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(longest);
    pause.mul_f64(1.0 + fraction() / 2.0)
}

/// A random number from 0 to 1.
pub(crate) fn fraction() -> f64 {
    f64::from(u32::from_be_bytes(random())) / f64::from(u32::MAX)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let (first, longest) = (Duration::from_millis(200), Duration::from_secs(10));
        for (failures, least) in [(1, 200), (2, 400), (3, 800), (7, 10_000), (1000, 10_000)] {
            let pause = pause(failures, first, longest);
            let least = Duration::from_millis(least);
            assert!(
                least <= pause && pause <= least * 3 / 2,
                "{failures}: {pause:?}"
            );
        }
    }
}

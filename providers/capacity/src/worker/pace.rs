//! Pauses between attempts: they grow with each failure, and differ from worker to worker.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest pause.
const FIRST: Duration = Duration::from_millis(250);

/// The longest.
const LONGEST: Duration = Duration::from_secs(15);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// Notes a failure. Answers how long to pause, up to half as long again as the step.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(LONGEST);
        pause.mul_f64(1.0 + fraction() / 2.0)
    }

    /// How many failures there were in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether this failure is worth a line in the log: not each one of an outage is.
    pub(super) fn is_told(&self) -> bool {
        self.failures.is_power_of_two()
    }

    /// Notes an answer of the reconciler, and says so after an outage.
    pub(super) fn answered(&mut self) {
        if self.worked() {
            tracing::info!("the reconciler answers again");
        }
    }

    /// Notes a success. Answers whether it is the first one after failures.
    pub(super) fn worked(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

/// From 0 to 1, from the seed that the standard library draws for each map of hashes.
fn fraction() -> f64 {
    let number = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(number >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again_after_a_success() {
        let mut pace = Pace::default();
        let within = |pause: Duration, least: u64| {
            let least = Duration::from_millis(least);
            assert!(least <= pause && pause <= least * 3 / 2, "{pause:?}");
        };
        for least in [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000] {
            within(pace.failed(), least);
        }
        assert!(pace.is_told() && pace.failures() == 8);
        assert!(pace.worked() && !pace.worked());
        within(pace.failed(), 250);
    }
}

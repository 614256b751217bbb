//! What is known of one platform's collateral, and what to do with it at a time. It fetches nothing itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use tokio::sync::watch;

use crate::collateral::{Collateral, CollateralError, PlatformFacts, Stock};
use crate::verify::Standing;

/// Collateral is fetched again when it is older, so that a revocation counts a day later at the latest.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Whatever its dates say, it is not fetched more often.
const LEAST: Duration = Duration::from_secs(600);

/// After a fetch that brought nothing, while there is some that counts, the next is tried after this.
const AGAIN: Duration = Duration::from_secs(300);

/// That nobody knows a platform is believed for so long.
const UNKNOWN: Duration = Duration::from_secs(600);

/// Why there is none is told for so long after it was last asked for.
const TOLD: Duration = Duration::from_secs(3600);

/// Collateral of a platform that nobody asks for is forgotten.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// One platform.
pub(super) struct Slot {
    pub(super) platform: PlatformFacts,
    state: Mutex<State>,
    /// Whoever fetches holds the sender.
    flight: Mutex<Option<watch::Receiver<()>>>,
}

/// Collateral that was found good.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) collateral: Collateral,
    pub(super) standing: Standing,
    pub(super) fetched: Timestamp,
    /// A byte by chance, so that not all are fetched again at once.
    pub(super) chance: u8,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    failure: Option<(Timestamp, Why)>,
    used: Timestamp,
}

/// Why there is nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody knows the platform.
    Unknown,
    /// In words, without clocks and counters.
    Because(String),
}

/// What to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Use this.
    Use(Collateral),
    /// Use this, and fetch for later.
    UseAndFetch(Collateral),
    /// Fetch, and wait for it.
    Fetch,
    /// Give up.
    Never(CollateralError),
}

impl Slot {
    pub(super) fn new(platform: PlatformFacts, kept: Option<Kept>, used: Timestamp) -> Self {
        let state = State {
            kept,
            failure: None,
            used,
        };
        Self {
            platform,
            state: Mutex::new(state),
            flight: Mutex::default(),
        }
    }

    /// What to do for somebody who asks.
    pub(super) fn step(&self, now: Timestamp) -> Step {
        let mut state = self.state();
        state.used = now;
        match (state.counting(now), &state.failure) {
            (Some(kept), _) => match state.is_due(now) {
                true => Step::UseAndFetch(kept.collateral.clone()),
                false => Step::Use(kept.collateral.clone()),
            },
            (None, Some((at, Why::Unknown))) if apart(now, *at) < UNKNOWN => {
                Step::Never(CollateralError::UnknownPlatform(self.platform.fmspc))
            }
            (None, _) => Step::Fetch,
        }
    }

    /// What there is, for somebody who has waited for a fetch.
    pub(super) fn answer(&self, now: Timestamp) -> Result<Collateral, CollateralError> {
        let state = self.state();
        match (state.counting(now), &state.failure) {
            (Some(kept), _) => Ok(kept.collateral.clone()),
            (None, Some((_, Why::Unknown))) => {
                Err(CollateralError::UnknownPlatform(self.platform.fmspc))
            }
            (None, Some((_, Why::Because(why)))) => {
                Err(CollateralError::Unavailable(why.clone().into()))
            }
            (None, None) => Err(CollateralError::Unavailable("the fetch broke off".into())),
        }
    }

    /// Whether it should be fetched now although nobody waits for it.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.state().is_due(now)
    }

    /// Whether nobody has asked for it for so long that it is forgotten.
    pub(super) fn is_unused(&self, now: Timestamp) -> bool {
        now.since(self.state().used) > UNUSED
    }

    /// When it was last asked for.
    pub(super) fn used(&self) -> Timestamp {
        self.state().used
    }

    /// Whether there is collateral.
    pub(super) fn is_empty(&self) -> bool {
        self.state().kept.is_none()
    }

    /// Why this is not taken in place of what is kept, if it is not. One who gives what is older could hide a revocation.
    pub(super) fn is_older(&self, standing: &Standing, now: Timestamp) -> bool {
        let state = self.state();
        let kept = state.counting(now).map(|kept| &kept.standing);
        kept.is_some_and(|kept| {
            (standing.evaluation, standing.issued) < (kept.evaluation, kept.issued)
        })
    }

    pub(super) fn keep(&self, kept: Kept) {
        let mut state = self.state();
        state.kept = Some(kept);
        state.failure = None;
    }

    pub(super) fn fail(&self, why: Why, now: Timestamp) {
        self.state().failure = Some((now, why));
    }

    pub(super) fn stock(&self, now: Timestamp) -> Option<Stock> {
        let state = self.state();
        let until = state.kept.as_ref().map(|kept| kept.standing.until);
        let told = state.failure.as_ref();
        let told = told.filter(|(at, _)| until.is_some() || apart(now, *at) < TOLD);
        let trouble = told.map(|(_, why)| match why {
            Why::Unknown => "nobody there knows this type of platform".into(),
            Why::Because(why) => why.clone(),
        });
        (until.is_some() || trouble.is_some()).then_some(Stock {
            platform: self.platform,
            until,
            trouble,
        })
    }

    /// Waits for the fetch under way, or starts one. The fetch goes on when whoever waits gives up.
    pub(super) fn flight(&self, start: impl FnOnce(watch::Sender<()>)) -> watch::Receiver<()> {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = flight
            .as_ref()
            .filter(|flight| flight.has_changed().is_ok())
        {
            return under_way.clone();
        }
        let (done, waits) = watch::channel(());
        *flight = Some(waits.clone());
        start(done);
        waits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn counting(&self, now: Timestamp) -> Option<&Kept> {
        let kept = self.kept.as_ref()?;
        (kept.standing.from <= now && now < kept.standing.until).then_some(kept)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let Some(kept) = &self.kept else {
            return false;
        };
        let failed = self.failure.as_ref();
        if failed.is_some_and(|(at, _)| apart(now, *at) < AGAIN) {
            return false;
        }
        apart(now, kept.fetched) >= kept.lasts()
    }
}

impl Kept {
    /// How long it is used without a thought: a day, or half of what it has left when that is less, and up to an
    /// eighth less by chance.
    fn lasts(&self) -> Duration {
        let half = self.standing.until.since(self.fetched) / 2;
        let whole = half.min(FRESH);
        (whole - whole / 8 * u32::from(self.chance) / 255).max(LEAST)
    }
}

/// A clock that was set back makes things as old as one that was set ahead.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn kept(days: u32, chance: u8) -> Kept {
        Kept {
            collateral: crate::pcs::shelf::tests::nothing(),
            standing: Standing {
                from: NOW.minus(DAY),
                until: NOW.plus(DAY * days),
                evaluation: 7,
                issued: NOW.minus(DAY),
            },
            fetched: NOW,
            chance,
        }
    }

    #[test]
    fn it_is_fetched_again_after_a_day_or_halfway_to_its_end_and_not_all_at_once() {
        assert_eq!(kept(30, 0).lasts(), DAY);
        assert_eq!(kept(30, 255).lasts(), DAY - DAY / 8);
        assert_eq!(kept(1, 0).lasts(), DAY / 2);
        assert_eq!(kept(0, 0).lasts(), LEAST);
    }

    #[test]
    fn what_counts_is_used_until_it_runs_out_whatever_fails() {
        let platform = crate::pcs::shelf::tests::platform();
        let slot = Slot::new(platform, Some(kept(3, 0)), NOW);
        assert!(matches!(slot.step(NOW), Step::Use(_)));
        let next = NOW.plus(DAY);
        assert!(matches!(slot.step(next), Step::UseAndFetch(_)));
        slot.fail(Why::Because("it answered 503".into()), next);
        assert!(matches!(slot.step(next), Step::Use(_)), "not at once");
        assert!(slot.is_due(next.plus(AGAIN)));
        let stock = slot.stock(next).expect("some");
        assert_eq!(stock.trouble.as_deref(), Some("it answered 503"));
        let end = NOW.plus(DAY * 3);
        let almost = Timestamp::from_millis(end.as_millis() - 1);
        assert!(matches!(slot.step(almost), Step::UseAndFetch(_)));
        assert!(matches!(slot.step(end), Step::Fetch));
        assert!(slot.answer(end).is_err());
        assert!(matches!(slot.step(NOW.minus(DAY * 2)), Step::Fetch));
    }

    #[test]
    fn older_collateral_takes_no_place() {
        let slot = Slot::new(crate::pcs::shelf::tests::platform(), Some(kept(3, 0)), NOW);
        let mut standing = kept(3, 0).standing;
        assert!(!slot.is_older(&standing, NOW));
        standing.evaluation = 6;
        standing.issued = NOW;
        assert!(slot.is_older(&standing, NOW));
        standing.evaluation = 8;
        standing.issued = NOW.minus(DAY * 9);
        assert!(!slot.is_older(&standing, NOW));
        assert!(!slot.is_older(&standing, NOW.plus(DAY * 9)), "run out");
    }
}

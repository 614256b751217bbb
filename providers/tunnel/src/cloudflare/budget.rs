//! How often Cloudflare may be asked: so many calls in a while, and none in a pause. Above its limit it answers no call at all
//! for five minutes, people's in the dashboard too. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The calls of the last while.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    window: Duration,
    calls: VecDeque<Instant>,
    held: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(most: usize, window: Duration) -> Self {
        Self {
            most,
            window,
            calls: VecDeque::new(),
            held: None,
        }
    }

    /// Takes one call.
    ///
    /// # Errors
    /// With how long there is none to be had, when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.held.filter(|until| *until > now) {
            return Err(until - now);
        }
        self.held = None;
        let over = |first: &&Instant| **first + self.window <= now;
        while self.calls.front().as_ref().is_some_and(over) {
            self.calls.pop_front();
        }
        if self.calls.len() >= self.most {
            let first = self.calls.front().map_or(now, |first| *first);
            return Err((first + self.window).saturating_duration_since(now));
        }
        self.calls.push_back(now);
        Ok(())
    }

    /// There is no call to be had for this long.
    pub(crate) fn hold(&mut self, now: Instant, pause: Duration) {
        let until = now + pause;
        self.held = Some(self.held.map_or(until, |held| held.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn budget(most: usize) -> (Budget, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Budget::new(most, WINDOW), move |s| {
            start + Duration::from_secs(s)
        })
    }

    #[test]
    fn no_window_has_more_calls_than_are_allowed() {
        let (mut budget, at) = budget(1200);
        let mut taken = Vec::new();
        for second in 0..1500 {
            for _ in 0..7 {
                if budget.take(at(second)).is_ok() {
                    taken.push(second);
                }
            }
        }
        assert_eq!(taken.len(), 5 * 1200);
        for from in 0..1500 {
            let within = taken.iter().filter(|s| (from..from + 300).contains(*s));
            assert!(within.count() <= 1200, "from {from}");
        }
    }

    #[test]
    fn who_has_to_wait_is_told_for_how_long() {
        let (mut budget, at) = budget(2);
        assert_eq!(budget.take(at(0)), Ok(()));
        assert_eq!(budget.take(at(100)), Ok(()));
        assert_eq!(budget.take(at(120)), Err(Duration::from_secs(180)));
        assert_eq!(budget.take(at(300)), Ok(()));
        assert_eq!(budget.take(at(300)), Err(Duration::from_secs(100)));
    }

    #[test]
    fn a_pause_ends_and_is_never_made_shorter() {
        let (mut budget, at) = budget(9);
        budget.hold(at(0), Duration::from_secs(300));
        budget.hold(at(1), Duration::from_secs(5));
        assert_eq!(budget.take(at(10)), Err(Duration::from_secs(290)));
        assert_eq!(budget.take(at(300)), Ok(()));
    }
}

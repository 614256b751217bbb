//! How often Cloudflare may be asked: so many calls in a while, and none in a pause. Some of them are for taking away alone, so
//! that whatever is made can still be removed. Above its limit Cloudflare answers no call at all for five minutes, people's in the
//! dashboard too. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Taking something away: it may use all that there is.
    Removal,
    /// Anything else leaves what is kept for removals.
    Other,
}

/// The calls of the last while.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    kept: usize,
    window: Duration,
    calls: VecDeque<Instant>,
    held: Option<Instant>,
}

impl Budget {
    /// Of `most` calls, `kept` are for removals.
    pub(crate) fn new(most: usize, kept: usize, window: Duration) -> Self {
        Self {
            most,
            kept,
            window,
            calls: VecDeque::new(),
            held: None,
        }
    }

    /// Takes one call.
    ///
    /// # Errors
    /// With how long there is none to be had, when there is none.
    pub(crate) fn take(&mut self, cause: Cause, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.held.filter(|until| *until > now) {
            return Err(until - now);
        }
        self.held = None;
        let over = |first: &&Instant| **first + self.window <= now;
        while self.calls.front().as_ref().is_some_and(over) {
            self.calls.pop_front();
        }
        let most = match cause {
            Cause::Removal => self.most,
            Cause::Other => self.most.saturating_sub(self.kept),
        };
        if self.calls.len() >= most {
            // There is one again when so many have left the window that fewer than `most` are in it.
            let last = self
                .calls
                .get(self.calls.len() - most)
                .or(self.calls.back());
            let last = last.map_or(now, |last| *last);
            return Err((last + self.window).saturating_duration_since(now));
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
        (Budget::new(most, 0, WINDOW), move |s| {
            start + Duration::from_secs(s)
        })
    }

    #[test]
    fn no_window_has_more_calls_than_are_allowed() {
        let (mut budget, at) = budget(1200);
        let mut taken = Vec::new();
        for second in 0..1500 {
            for _ in 0..7 {
                if budget.take(Cause::Other, at(second)).is_ok() {
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
        assert_eq!(budget.take(Cause::Other, at(0)), Ok(()));
        assert_eq!(budget.take(Cause::Other, at(100)), Ok(()));
        assert_eq!(
            budget.take(Cause::Other, at(120)),
            Err(Duration::from_secs(180))
        );
        assert_eq!(budget.take(Cause::Other, at(300)), Ok(()));
        assert_eq!(
            budget.take(Cause::Other, at(300)),
            Err(Duration::from_secs(100))
        );
    }

    #[test]
    fn a_pause_ends_and_is_never_made_shorter() {
        let (mut budget, at) = budget(9);
        budget.hold(at(0), Duration::from_secs(300));
        budget.hold(at(1), Duration::from_secs(5));
        assert_eq!(
            budget.take(Cause::Other, at(10)),
            Err(Duration::from_secs(290))
        );
        assert_eq!(budget.take(Cause::Other, at(300)), Ok(()));
    }

    #[test]
    fn what_takes_away_has_calls_when_others_have_none_left() {
        let (_, at) = budget(0);
        let mut budget = Budget::new(5, 2, WINDOW);
        for second in 0..3 {
            assert_eq!(budget.take(Cause::Other, at(second)), Ok(()));
        }
        let wait = |s| Err(Duration::from_secs(s));
        assert_eq!(budget.take(Cause::Other, at(10)), wait(290));
        assert_eq!(budget.take(Cause::Removal, at(10)), Ok(()));
        assert_eq!(budget.take(Cause::Removal, at(20)), Ok(()));
        assert_eq!(budget.take(Cause::Removal, at(20)), wait(280));
        // Others have to wait until three of the five are over.
        assert_eq!(budget.take(Cause::Other, at(20)), wait(282));
        assert_eq!(budget.take(Cause::Other, at(302)), Ok(()));
    }
}

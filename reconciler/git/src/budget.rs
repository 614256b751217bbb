//! How often the status branch may be pushed. Pure: the time is an argument.

use std::collections::VecDeque;

const MINUTE: i64 = 60_000;

/// Two urgent pushes are at least this far apart, in milliseconds, so that facts that come together
/// go together.
const URGENT_SPACING: i64 = 1000;

/// A number of pushes a minute. Ordinary ones are spread evenly; urgent ones go at once while the
/// minute's number lasts, and never beyond it.
#[derive(Debug, Clone)]
pub struct PushBudget {
    per_minute: u32,
    pushed: VecDeque<i64>,
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It can wait its turn.
    Normal,
    /// A safety fact.
    Urgent,
}

/// When the next push may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Now.
    Now,
    /// At that time, in milliseconds since the epoch.
    At(i64),
}

impl PushBudget {
    /// A budget of so many pushes a minute, at least one.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            pushed: VecDeque::new(),
        }
    }

    /// Changes the number; what was pushed still counts.
    pub fn set_per_minute(&mut self, per_minute: u32) {
        self.per_minute = per_minute.max(1);
    }

    /// When something may be pushed. The first after a quiet minute always may be at once.
    pub fn next_push(&self, now: i64, urgency: Urgency) -> Slot {
        let recent = self
            .pushed
            .iter()
            .filter(|at| **at > now - MINUTE && **at <= now);
        let recent: Vec<i64> = recent.copied().collect();
        let Some(last) = recent.last() else {
            return Slot::Now;
        };
        let spacing = match urgency {
            Urgency::Normal => MINUTE / i64::from(self.per_minute),
            Urgency::Urgent => URGENT_SPACING.min(MINUTE / i64::from(self.per_minute)),
        };
        let full = recent.len() >= self.per_minute as usize;
        let after_minute = if full {
            recent[recent.len() - self.per_minute as usize] + MINUTE
        } else {
            now
        };
        let at = after_minute.max(last + spacing);
        if at <= now { Slot::Now } else { Slot::At(at) }
    }

    /// Notes a push.
    pub fn pushed(&mut self, now: i64) {
        // A clock that jumped back leaves times ahead of it, which would never grow old.
        self.pushed.retain(|at| *at > now - MINUTE && *at <= now);
        self.pushed.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pushes: &[i64]) -> PushBudget {
        let mut budget = PushBudget::new(6);
        pushes.iter().for_each(|at| budget.pushed(*at));
        budget
    }

    #[test]
    fn ordinary_pushes_are_spread_and_urgent_ones_are_not() {
        assert_eq!(after(&[]).next_push(0, Urgency::Normal), Slot::Now);
        assert_eq!(after(&[0]).next_push(1, Urgency::Normal), Slot::At(10_000));
        assert_eq!(after(&[0]).next_push(10_000, Urgency::Normal), Slot::Now);
        assert_eq!(after(&[0]).next_push(1, Urgency::Urgent), Slot::At(1000));
        assert_eq!(after(&[0]).next_push(1000, Urgency::Urgent), Slot::Now);
    }

    #[test]
    fn no_urgency_goes_beyond_the_minutes_number() {
        let full = after(&[0, 1000, 2000, 3000, 4000, 5000]);
        for urgency in [Urgency::Normal, Urgency::Urgent] {
            assert!(matches!(full.next_push(6000, urgency), Slot::At(at) if at >= 60_000));
        }
        assert_eq!(full.next_push(61_000, Urgency::Urgent), Slot::Now);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_stop_pushes_for_good() {
        assert_eq!(after(&[1_000_000]).next_push(0, Urgency::Normal), Slot::Now);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_fill_the_memory() {
        let mut budget = after(&[1_000_000_000]);
        (0..100).for_each(|minute| budget.pushed(minute * MINUTE));
        assert!(budget.pushed.len() <= 6, "{}", budget.pushed.len());
    }
}

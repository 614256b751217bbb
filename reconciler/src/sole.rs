//! Whether this reconciler alone writes its status branch. A copy of its data folder that is started beside it, as for a test of a
//! backup, takes what was copied for what is, and has the same rights elsewhere: what nobody but the reconciler looks after is
//! removed by neither of the two.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use easyenclave_schemas::Timestamp;

/// After another was seen to write, so long has to pass without. Each of two looks at the branch every two minutes, and writes over
/// what the other says.
const QUIET: Duration = Duration::from_secs(600);

/// What was seen of the status branch since the start.
#[derive(Debug, Default)]
pub struct Sole(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When it was last as this reconciler had left it.
    as_left: Option<Timestamp>,
    /// When it was last as somebody else had.
    moved: Option<Timestamp>,
}

impl Sole {
    /// The branch is as this reconciler left it.
    pub(crate) fn finds_as_left(&self, now: Timestamp) {
        self.with(|seen| seen.as_left = Some(now));
    }

    /// The branch is as somebody else left it.
    pub(crate) fn finds_moved(&self, now: Timestamp) {
        self.with(|seen| seen.moved = Some(now));
    }

    /// Whether it is known that nobody else writes.
    pub(crate) fn is_sole(&self) -> bool {
        self.with(|seen| {
            let quiet = |at: Timestamp| seen.moved.is_none_or(|moved| at >= moved.plus(QUIET));
            seen.as_left.is_some_and(quiet)
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Seen) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_writes_once_the_branch_is_as_it_was_left_for_a_while() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let sole = Sole::default();
        assert!(!sole.is_sole(), "nothing is known");
        sole.finds_as_left(at(1));
        assert!(sole.is_sole());
        sole.finds_moved(at(2));
        sole.finds_as_left(at(3));
        assert!(
            !sole.is_sole(),
            "its own push proves nothing beside another's"
        );
        sole.finds_as_left(at(601));
        assert!(!sole.is_sole());
        sole.finds_as_left(at(602));
        assert!(sole.is_sole());
    }
}

//! Conditions that keep the time of their last change.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::{Condition, ConditionStatus, ConditionType};

/// The longest message.
const MESSAGE: usize = 300;

/// Builds a thing's conditions beside those it had before.
pub(super) struct Conditions<'a> {
    previous: &'a [Condition],
    now: Timestamp,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// None yet.
    pub(super) fn new(previous: Option<&'a [Condition]>, now: Timestamp) -> Self {
        Self {
            previous: previous.unwrap_or_default(),
            now,
            list: Vec::new(),
        }
    }

    /// Adds one. Its time stays while status and reason stay.
    pub(super) fn add(
        mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        let before = self.previous.iter().find(|before| before.kind == kind);
        let same = before.filter(|before| before.status == status && before.reason == reason);
        let message: String = message.into();
        self.list.push(Condition {
            kind,
            status,
            reason: reason.into(),
            message: message.chars().take(MESSAGE).collect(),
            last_transition: same.map_or(self.now, |same| same.last_transition),
        });
        self
    }

    /// The list, by type.
    pub(super) fn done(mut self) -> Vec<Condition> {
        self.list.sort_by_key(|condition| condition.kind);
        self.list
    }
}

/// True or false.
pub(super) fn when(holds: bool) -> ConditionStatus {
    if holds {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let (early, late) = (Timestamp::from_millis(1000), Timestamp::from_millis(9000));
        let build = |previous: Option<&[Condition]>, now, holds, reason| {
            Conditions::new(previous, now)
                .add(ConditionType::Healthy, when(holds), reason, "words")
                .done()
        };
        let first = build(None, early, true, "Ready");
        assert_eq!(build(Some(&first), late, true, "Ready"), first);
        assert_eq!(
            build(Some(&first), late, false, "Ready")[0].last_transition,
            late
        );
        assert_eq!(
            build(Some(&first), late, true, "Idle")[0].last_transition,
            late
        );
    }
}

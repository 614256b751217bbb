//! The breaker: whether a group of removals may go ahead. It never changes what a group holds, so that what
//! a person approves is what happens.

use easyenclave_schemas::Digest;

use crate::draft::Draft;
use crate::view::{TargetIx, View};
use crate::{Action, Hold, HoldReason};

/// What becomes of a group of removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are within what the breaker allows.
    Allowed,
    /// They are more than that, and a person has approved them.
    Approved,
    /// They wait for a person.
    Held(Digest),
}

/// Judges removals from one pool. What was let through before in this pass counts, so that several
/// causes together never remove more than one may.
pub(crate) fn judge_pool(
    view: &View,
    draft: &mut Draft,
    target: TargetIx,
    actions: Vec<Action>,
) -> Verdict {
    let (name, of) = (view.target(target).name, view.target(target).live);
    let removed = draft.removed[target.at()] + count(&actions);
    if !view.trips(removed, of) {
        draft.removed[target.at()] = removed;
        return Verdict::Allowed;
    }
    let target = name.clone();
    let reason = HoldReason::Pool {
        target,
        removed,
        of,
    };
    hold(view, draft, reason, actions)
}

/// Holds removals, unless a person has approved exactly these.
pub(crate) fn hold(
    view: &View,
    draft: &mut Draft,
    reason: HoldReason,
    mut actions: Vec<Action>,
) -> Verdict {
    actions.sort_unstable();
    let digest = Hold::digest_of(&actions);
    let hold = Hold {
        digest,
        reason,
        actions,
    };
    if view.desired.approvals.contains(&digest) {
        draft.plan.approved.push(hold);
        return Verdict::Approved;
    }
    draft.plan.held.push(hold);
    Verdict::Held(digest)
}

/// How many removals a group holds.
pub(crate) fn count(actions: &[Action]) -> u32 {
    crate::view::number(actions.len())
}

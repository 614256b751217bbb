//! The breaker: whether a group of removals may go ahead. It never changes what a group holds, so that what
//! a person approves is what happens.

use easyenclave_schemas::Digest;

use crate::approvals::is_approved;
use crate::draft::Draft;
use crate::view::{TargetIx, View, number};
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

/// Judges removals from one pool for one cause, with those of the same cause that cannot be made yet, because their
/// agents are not heard of: after a restart agents are heard one after the other, and each alone would look harmless.
/// Each cause is judged by itself: what a person is asked to approve must not depend on what else happens at that
/// moment.
pub(crate) fn judge_pool(
    view: &View,
    draft: &mut Draft,
    target: TargetIx,
    actions: Vec<Action>,
    later: u32,
) -> Verdict {
    let (name, of) = (view.target(target).name, view.target(target).live);
    let removed = number(actions.len()) + later;
    if !view.trips(removed, of) {
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
    if is_approved(view.desired, view.observed, digest) {
        draft.plan.approved.push(hold);
        return Verdict::Approved;
    }
    draft.plan.held.push(hold);
    Verdict::Held(digest)
}

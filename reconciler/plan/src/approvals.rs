//! Which approvals are good now. An approval that outlived its occasion would let a later removal through that
//! nobody was asked about: the same replicas can be held again after a mistake was taken back.

use std::collections::BTreeSet;

use easyenclave_schemas::Digest;

use crate::{Approval, Desired, Observed, Plan};

/// The approvals that are over after a plan: those that were over before it, and those whose removals it did not
/// hold. What the desired state no longer names is forgotten. To be asked only when the whole fleet has had time
/// to be heard of; what is held right after a start may not be what is held a moment later.
pub fn spent(desired: &Desired, observed: &Observed, plan: &Plan) -> BTreeSet<Approval> {
    let is_over = |approval: &&Approval| {
        let had_its_occasion = plan
            .approved
            .iter()
            .any(|hold| hold.digest == approval.held);
        observed.spent.contains(approval) || !had_its_occasion
    };
    desired.approvals.iter().filter(is_over).cloned().collect()
}

/// Whether a person has approved these removals, on this occasion.
pub(crate) fn is_approved(desired: &Desired, observed: &Observed, held: Digest) -> bool {
    let all = desired.approvals.iter();
    all.filter(|approval| approval.held == held)
        .any(|approval| !observed.spent.contains(approval))
}

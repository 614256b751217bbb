//! Whether the machine of a claim may still be there. Nobody else makes one of the same launch before it is surely not:
//! what is live and what is open would be more than a target's maximum.

use std::collections::BTreeSet;

use easyenclave_schemas::records::{ClaimRecord, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::CLAIM;
use easyenclave_schemas::{OrderId, Timestamp};

use crate::journal::Records;
use crate::presence::Presence;
use crate::revision::Revision;

/// So many workers may hold a launch one after the other. Who takes it over begins anew, with all its time, so without a
/// bound it would never fail.
const MOST_HOLDERS: u64 = 3;

/// Who knows how workers are.
pub(crate) struct Holds<'a> {
    pub(crate) presence: &'a Presence,
    pub(crate) revision: &'a Revision,
    pub(crate) now: Timestamp,
}

impl Holds<'_> {
    /// Whether the machine that a launch's last claim was for may be there, or still come about. A worker makes none once
    /// its claim has run out, so its own complete listing that was begun later than that proves that there is none. A
    /// worker that was silent for `workerLostAfter` has removed what it had not seen to its end, if it still ran.
    pub(crate) fn may_live(&self, order: &OrderRecord) -> bool {
        let Some(claim) = &order.claim else {
            return false;
        };
        let ends = self.ends(claim);
        let lacks = || self.presence.lacks(&claim.worker, order, ends);
        ends > self.now || !(lacks() || self.is_lost(claim))
    }

    /// When a claim has surely run out for its holder too, whose clock did not jump with ours.
    fn ends(&self, claim: &ClaimRecord) -> Timestamp {
        let leapt = self.presence.leapt();
        let at_least = leapt.map_or(claim.expires_at, |leapt| leapt.plus(CLAIM));
        claim.expires_at.max(at_least)
    }

    fn is_lost(&self, claim: &ClaimRecord) -> bool {
        let reported = claim.expires_at.minus(CLAIM);
        let silent = self.presence.silent_since(&claim.worker).max(reported);
        self.now.since(silent) >= self.revision.desired.limits.worker_lost_after
    }

    /// The launches that another worker than their holder may take over, each with the claim that has run out.
    pub(crate) fn free(&self, records: &Records) -> Vec<(OrderId, ClaimRecord)> {
        let lapsed = records.lapsed(self.now);
        let free = lapsed.filter(|order| is_launch(order) && !self.may_live(order));
        let free = free.filter_map(|order| Some((order.order.clone(), order.claim.clone()?)));
        free.filter(|(_, claim)| claim.fence < MOST_HOLDERS)
            .collect()
    }

    /// The orders that are over and whose machines may still be there.
    pub(crate) fn unaccounted(&self, records: &Records) -> BTreeSet<OrderId> {
        let orders = records.orders.values();
        let unaccounted = orders.filter(|order| order.unaccounted && self.may_live(order));
        unaccounted.map(|order| order.order.clone()).collect()
    }
}

fn is_launch(order: &OrderRecord) -> bool {
    matches!(order.work, WorkRecord::Launch { .. })
}

//! Machines that a worker lists and that belong to no agent and to no order under way. After the store was lost, every
//! machine is one until its agent is taken in again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_plan::Orphan;
use easyenclave_schemas::records::{OrderRecord, WorkRecord};
use easyenclave_schemas::{OrderId, TargetName, Timestamp, WorkerId};

use crate::journal::Records;
use crate::presence::{ListedUnit, Listing};
use crate::recall::{Home, slots};
use crate::revision::Revision;

/// An agent that could not be judged is waited for so long since then, or for `orphanAfter`. It pauses for up to 15 seconds
/// before it asks again, and what judges it is waited for up to 20.
const UNJUDGED: Duration = Duration::from_secs(60);

/// Listed machines that no agent and no order under way accounts for.
pub(crate) fn orphans(
    revision: &Revision,
    records: &Records,
    listings: &BTreeMap<WorkerId, Listing>,
    homes: &BTreeMap<OrderId, Home>,
    now: Timestamp,
) -> BTreeMap<OrderId, Orphan> {
    let known = Known {
        revision,
        records,
        homes,
        now,
        taken: match homes.is_empty() {
            true => BTreeSet::new(),
            false => slots(records).collect(),
        },
    };
    let mut orphans = BTreeMap::new();
    for listing in listings.values() {
        for (id, unit) in &listing.units {
            let pending = |order: &Arc<OrderRecord>| order.state.is_pending();
            let is_owned = records.agents.contains_key(id.as_str())
                || records.orders.get(id).is_some_and(pending);
            if !is_owned {
                orphans.insert(id.clone(), known.orphan(listing, id, unit));
            }
        }
    }
    orphans
}

/// Listed machines that no record knows.
pub(crate) fn unknown(
    records: &Records,
    listings: &BTreeMap<WorkerId, Listing>,
) -> BTreeSet<OrderId> {
    let listed = listings.values().flat_map(|listing| listing.units.keys());
    let is_unknown = |id: &&OrderId| {
        !records.orders.contains_key(*id) && !records.agents.contains_key(id.as_str())
    };
    listed.filter(is_unknown).cloned().collect()
}

/// What tells of machines that belong to nothing.
struct Known<'a> {
    revision: &'a Revision,
    records: &'a Records,
    /// Where those belong that no record knows.
    homes: &'a BTreeMap<OrderId, Home>,
    /// Slots that records name.
    taken: BTreeSet<(&'a TargetName, u32)>,
    now: Timestamp,
}

impl Known<'_> {
    fn orphan(&self, listing: &Listing, id: &OrderId, unit: &ListedUnit) -> Orphan {
        let order = self.records.orders.get(id).map(|order| &order.work);
        let home = self.homes.get(id).filter(|_| order.is_none());
        let (target, policy) = match (order, home) {
            (Some(WorkRecord::Launch { target, policy, .. }), _) => (Some(target), Some(policy)),
            (_, Some(home)) => {
                let spec = self.revision.desired.targets.get(&home.target);
                (Some(&home.target), spec.map(|spec| &spec.policy))
            }
            _ => (None, None),
        };
        let may_return =
            |home: &&Home| unit.alive && !self.taken.contains(&(&home.target, home.slot));
        let slot = home.filter(may_return).map(|home| home.slot);
        Orphan {
            target: target.cloned(),
            datacenter: listing.datacenter.clone(),
            provider: listing.provider.clone(),
            slot,
            policy: policy.cloned(),
            since: unit.since,
            unjudged: slot.is_some() && self.is_unjudged(unit),
        }
    }

    fn is_unjudged(&self, unit: &ListedUnit) -> bool {
        let patience = UNJUDGED.max(self.revision.desired.limits.orphan_after);
        let lately = |at| self.now.since(at) < patience;
        unit.unjudged.is_some_and(lately)
    }
}

//! What is over and of no more use: ended orders that nothing asks about any more.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_plan::Frozen;
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::{OrderId, TargetName};

use crate::journal::{JournalError, Records};
use crate::revision::Revision;
use crate::shortages;
use crate::world::World;

/// Forgets the ended orders of targets that are no more, and failed ones whose slots have newer ones and that say of no
/// place any more that it is short. Those of a machine that is there still say whose it was.
///
/// # Errors
/// When the records cannot be written.
pub async fn forget_ended(world: &World) -> Result<(), JournalError> {
    let Some(revision) = world.revision() else {
        return Ok(());
    };
    let listings = world.presence.listings();
    let is_listed = |order: &OrderId| listings.values().any(|l| l.units.contains_key(order));
    let ended: Vec<OrderId> = {
        let records = world.journal.read();
        let kept = shortages::kept(&records, world.clock.now());
        let newest = newest(&records);
        let is_outlived = |order: &OrderRecord| {
            is_outlived(order, &newest)
                && !kept.contains(&order.order)
                && !records.agents.contains_key(&order.order.agent())
        };
        let ended = records
            .orders
            .values()
            .filter(|order| is_history(&records, &revision, order) || is_outlived(order));
        let ended = ended.map(|order| order.order.clone());
        ended.filter(|order| !is_listed(order)).collect()
    };
    if ended.is_empty() {
        return Ok(());
    }
    let forgotten = world.journal.transact(move |_, change| {
        ended.iter().for_each(|order| change.drop_order(order));
        Ok::<_, ()>(())
    });
    forgotten.await?.unwrap_or_default();
    Ok(())
}

/// The newest generation of each slot.
fn newest(records: &Records) -> BTreeMap<(&TargetName, u32), u64> {
    let mut newest = BTreeMap::new();
    for order in records.orders.values() {
        if let WorkRecord::Launch {
            target,
            slot,
            generation,
            ..
        } = &order.work
        {
            let known = newest.entry((target, *slot)).or_insert(*generation);
            *known = (*known).max(*generation);
        }
    }
    newest
}

/// Whether a launch failed and its slot has a newer one.
fn is_outlived(order: &OrderRecord, newest: &BTreeMap<(&TargetName, u32), u64>) -> bool {
    let WorkRecord::Launch {
        target,
        slot,
        generation,
        ..
    } = &order.work
    else {
        return false;
    };
    let is_older = newest
        .get(&(target, *slot))
        .is_some_and(|newest| generation < newest);
    is_older && matches!(order.state, OrderPhase::Failed(_))
}

/// An order that has ended changes no more, so what is found here is still so when it is dropped.
fn is_history(records: &Records, revision: &Revision, order: &OrderRecord) -> bool {
    let WorkRecord::Launch { target, .. } = &order.work else {
        return false;
    };
    let desired = &revision.desired;
    !order.state.is_pending()
        && !desired.targets.contains_key(target)
        && !desired.frozen.contains(&Frozen::Target(target.clone()))
        && !records.agents.contains_key(&order.order.agent())
}

/// Ended orders of a slot that made no agent are history once the slot has a newer one, unless they say how short a
/// place is.
pub(crate) fn outlived(
    records: &Records,
    (target, slot): (&TargetName, u32),
    kept: &BTreeSet<OrderId>,
) -> Vec<OrderId> {
    let is_of_slot = |order: &OrderRecord| match &order.work {
        WorkRecord::Launch {
            target: of,
            slot: of_slot,
            ..
        } => of == target && *of_slot == slot,
        WorkRecord::Retire { .. } => false,
    };
    let is_over = |order: &OrderRecord| {
        !order.state.is_pending() && !records.agents.contains_key(&order.order.agent())
    };
    let orders = records.orders.values();
    let over = orders.filter(|order| is_of_slot(order) && is_over(order));
    let over = over.map(|order| order.order.clone());
    over.filter(|order| !kept.contains(order)).collect()
}

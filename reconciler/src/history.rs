//! What is over and of no more use: ended orders that nothing asks about any more.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_plan::Frozen;
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::{OrderId, TargetName, Timestamp};

use crate::holds::Holds;
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
        let kept = kept_of(world, &revision, &records, world.clock.now());
        let newest = newest(&records);
        let is_of_no_use = |order: &OrderRecord| {
            !is_wanted(&revision, order) || is_failed(order) && is_older(order, &newest)
        };
        let ended = records.orders.values();
        let ended = ended.filter(|order| is_over(&records, order) && is_of_no_use(order));
        let ended = ended.map(|order| order.order.clone());
        let ended = ended.filter(|order| !kept.contains(order) && !is_listed(order));
        ended.collect()
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

/// Writes down that nothing is left of the machines of ended orders, once it is proved: what proves it is not known any
/// more after a restart.
///
/// # Errors
/// When the records cannot be written.
pub async fn account(world: &World) -> Result<(), JournalError> {
    let Some(revision) = world.revision() else {
        return Ok(());
    };
    let proved: Vec<OrderId> = {
        let holds = Holds {
            presence: &world.presence,
            revision: &revision,
            now: world.clock.now(),
        };
        let records = world.journal.read();
        let orders = records.orders.values();
        let open = orders.filter(|order| order.unaccounted && !order.state.is_pending());
        let proved = open.filter(|order| !holds.may_live(order));
        proved.map(|order| order.order.clone()).collect()
    };
    if proved.is_empty() {
        return Ok(());
    }
    let written = world.journal.transact(move |records, change| {
        let proved = proved.iter().filter_map(|order| records.orders.get(order));
        for order in proved {
            change.put_order(OrderRecord {
                unaccounted: false,
                ..OrderRecord::clone(order)
            });
        }
        Ok::<_, ()>(())
    });
    written.await?.unwrap_or_default();
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

/// Whether a launch has ended and made no agent that is there. It changes no more, so what is found of it is still so when
/// it is dropped.
fn is_over(records: &Records, order: &OrderRecord) -> bool {
    let is_launch = matches!(order.work, WorkRecord::Launch { .. });
    let has_agent = || records.agents.contains_key(&order.order.agent());
    is_launch && !order.state.is_pending() && !has_agent()
}

fn is_failed(order: &OrderRecord) -> bool {
    matches!(order.state, OrderPhase::Failed(_))
}

/// Whether a launch's slot has a newer one.
fn is_older(order: &OrderRecord, newest: &BTreeMap<(&TargetName, u32), u64>) -> bool {
    let WorkRecord::Launch {
        target,
        slot,
        generation,
        ..
    } = &order.work
    else {
        return false;
    };
    let newest = newest.get(&(target, *slot));
    newest.is_some_and(|newest| generation < newest)
}

/// Whether a launch is of a target that is there, or whose document cannot be read.
fn is_wanted(revision: &Revision, order: &OrderRecord) -> bool {
    let WorkRecord::Launch { target, .. } = &order.work else {
        return false;
    };
    let desired = &revision.desired;
    let frozen = Frozen::Target(target.clone());
    desired.targets.contains_key(target) || desired.frozen.contains_key(&frozen)
}

/// Ended orders that are of use: they say how short a place is, or their machines may still be there.
pub(crate) fn kept(world: &World, revision: &Revision, now: Timestamp) -> BTreeSet<OrderId> {
    kept_of(world, revision, &world.journal.read(), now)
}

fn kept_of(
    world: &World,
    revision: &Revision,
    records: &Records,
    now: Timestamp,
) -> BTreeSet<OrderId> {
    let holds = Holds {
        presence: &world.presence,
        revision,
        now,
    };
    let mut kept = shortages::kept(records, now);
    kept.append(&mut holds.unaccounted(records));
    kept
}

/// Ended orders of a slot that made no agent are history once the slot has a newer one, unless they are of use.
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
    let orders = records.orders.values();
    let over = orders.filter(|order| is_of_slot(order) && is_over(records, order));
    let over = over.map(|order| order.order.clone());
    over.filter(|order| !kept.contains(order)).collect()
}

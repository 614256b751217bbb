//! Which slot, generation and order a launch gets, and how long a slot rests after a failure. The same world
//! gives the same order id, so that a repeated decision is the same order.

use easyenclave_schemas::{FailureCause, OrderId, Timestamp};

use crate::failures::{Trouble, rest, trouble};
use crate::rules::retire::is_returning;
use crate::view::{TargetIx, View};
use crate::{Action, LaunchOrder, OrderState};

/// What a slot does next.
pub(crate) enum Next {
    /// It launches.
    Launch(Action),
    /// It rests.
    Rest(Rest),
    /// It waits for a launch that tries whether the cause of so many failures is gone.
    Probe { cause: FailureCause, slots: u32 },
}

/// Why a slot rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rest {
    /// So many launches failed in a row.
    pub(crate) failures: u32,
    pub(crate) until: Timestamp,
    /// Why the last one failed.
    pub(crate) cause: Option<FailureCause>,
}

/// What the lowest `count` free slots of a target do. A resting slot is not skipped: the next one would
/// meet the same cause. While several have failed for one, one launch tries for all of them.
pub(crate) fn next(view: &View, target: TargetIx, count: u32) -> Vec<Next> {
    if count == 0 {
        return Vec::new();
    }
    match trouble(view, target) {
        None => of_slots(view, target, count, 0),
        Some(trouble) if view.now < trouble.until => vec![Next::Rest(Rest {
            failures: trouble.failures,
            until: trouble.until,
            cause: Some(trouble.cause),
        })],
        Some(trouble) if trouble.probing => vec![probe(trouble)],
        Some(trouble) => {
            let mut next = of_slots(view, target, 1, trouble.failures);
            next.extend((count > 1).then(|| probe(trouble)));
            next
        }
    }
}

fn probe(Trouble { cause, slots, .. }: Trouble) -> Next {
    Next::Probe { cause, slots }
}

fn of_slots(view: &View, target: TargetIx, count: u32, failures: u32) -> Vec<Next> {
    let used = used(view, target);
    let free = (0..).filter(|slot| used.binary_search(slot).is_err());
    let last = last_orders(view, target);
    free.take(count as usize)
        .filter_map(|slot| {
            let at = last.partition_point(|(other, _)| other.slot <= slot);
            let last = at.checked_sub(1).map(|at| last[at]);
            let last = last.filter(|(order, _)| order.slot == slot);
            next_of(view, target, (slot, failures), last)
        })
        .collect()
}

fn used(view: &View, target: TargetIx) -> Vec<u32> {
    let agents = view
        .agents_of(target)
        .map(|agent| view.agent(agent).fact.slot);
    let orders = view.orders_of(target).filter(|order| order.pending);
    let name = view.target(target).name;
    let orphans = view.observed.orphans.values();
    let returning = orphans.filter(|o| o.target.as_ref() == Some(name) && is_returning(view, o));
    let mut used: Vec<u32> = agents
        .chain(orders.map(|order| order.fact.slot))
        .chain(returning.filter_map(|orphan| orphan.slot))
        .collect();
    used.sort_unstable();
    used
}

/// The orders of a target by slot, the newest of each slot last.
fn last_orders<'v>(view: &'v View, target: TargetIx) -> Vec<(&'v LaunchOrder, &'v OrderId)> {
    let mut orders: Vec<_> = view.orders_of(target).map(|o| (o.fact, o.id)).collect();
    orders.sort_unstable_by_key(|(order, _)| (order.slot, order.generation));
    orders
}

fn next_of(
    view: &View,
    target: TargetIx,
    (slot, mut failures): (u32, u32),
    last: Option<(&LaunchOrder, &OrderId)>,
) -> Option<Next> {
    if let Some((order, id)) = last
        && let OrderState::Failed(at) = order.state
    {
        failures = failures.max(order.failures.saturating_add(1));
        let until = at.plus(rest(order.failures, id));
        if view.now < until {
            return Some(Next::Rest(Rest {
                failures,
                until,
                cause: order.cause,
            }));
        }
    }
    let generation = last.map_or(1, |(order, _)| order.generation.saturating_add(1));
    launch(view, target, slot, generation, failures).map(Next::Launch)
}

fn launch(view: &View, target: TargetIx, slot: u32, first: u64, failures: u32) -> Option<Action> {
    let facts = view.target(target);
    let spec = facts.state.spec()?;
    let id = |generation| OrderId::launch(&view.desired.fleet, facts.name, slot, generation);
    // After the store was lost the generations start again; an id that something still has is passed over.
    let (generation, order) = (first..)
        .map(|g| (g, id(g)))
        .find(|(_, id)| !is_taken(view, id))?;
    let spot = spec.spots.first();
    Some(Action::Launch {
        order,
        target: facts.name.clone(),
        slot,
        generation,
        failures,
        datacenter: spec.datacenter.clone(),
        provider: spec.provider.clone(),
        zone: spot.and_then(|spot| spot.zone.clone()),
        shape: spot.and_then(|spot| spot.shape.clone()),
        size: spec.size.clone(),
        policy: spec.policy.clone(),
    })
}

fn is_taken(view: &View, id: &OrderId) -> bool {
    view.observed.launches.contains_key(id)
        || view.observed.orphans.contains_key(id)
        || view.observed.agents.contains_key(id.as_str())
        || view.observed.retires.contains_key(id.as_str())
}

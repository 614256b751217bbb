//! Which slot, generation and order a launch gets, and how long a slot rests after a failure. The same world
//! gives the same order id, so that a repeated decision is the same order.

use easyenclave_schemas::{Datacenter, FailureCause, OrderId, Spot, Timestamp};

use crate::failures::{Trouble, rest, success, trouble};
use crate::rules::retire::is_returning;
use crate::spots::{self, Short};
use crate::view::{TargetIx, View};
use crate::{Action, LaunchOrder, OrderState, Target};

/// What a slot does next.
pub(crate) enum Next {
    /// It launches.
    Launch(Action),
    /// It rests.
    Rest(Rest),
    /// None of the target's places has room now.
    Short(Short),
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

/// What the lowest `count` free slots of a target do, each at the place that is wished for it if that has room. A resting
/// slot is not skipped: the next one would meet the same cause. While several have failed for one, one launch tries for all
/// of them.
pub(crate) fn next(view: &View, target: TargetIx, count: u32, wishes: &[&Datacenter]) -> Vec<Next> {
    if count == 0 {
        return Vec::new();
    }
    let Some(spec) = view.target(target).state.spec() else {
        return Vec::new();
    };
    let spot = match spots::choose(view, spec) {
        Err(short) => return vec![Next::Short(short)],
        Ok(spot) => spot,
    };
    let turn = Turn {
        view,
        target,
        spec,
        spot,
        wishes,
        success: success(view, target),
    };
    match trouble(view, target) {
        None => turn.of_slots(count, 0),
        Some(trouble) if turn.rests(trouble.until, Some(trouble.cause)) => vec![Next::Rest(Rest {
            failures: trouble.failures,
            until: trouble.until,
            cause: Some(trouble.cause),
        })],
        Some(trouble) if trouble.probing => vec![probe(trouble)],
        Some(trouble) => {
            let mut next = turn.of_slots(1, trouble.failures);
            next.extend((count > 1).then(|| probe(trouble)));
            next
        }
    }
}

fn probe(Trouble { cause, slots, .. }: Trouble) -> Next {
    Next::Probe { cause, slots }
}

/// The launches of a target in one pass, at one place but for those that are wished elsewhere.
struct Turn<'v, 'a> {
    view: &'v View<'a>,
    target: TargetIx,
    spec: &'v Target,
    spot: Option<&'v Spot>,
    /// Where the first of them are wished to be.
    wishes: &'v [&'v Datacenter],
    /// Failures before it count no more.
    success: Option<Timestamp>,
}

impl Turn<'_, '_> {
    fn of_slots(&self, count: u32, failures: u32) -> Vec<Next> {
        let used = used(self.view, self.target);
        let free = (0..).filter(|slot| used.binary_search(slot).is_err());
        let last = last_orders(self.view, self.target);
        let wishes = self.wishes.iter().map(Some).chain(std::iter::repeat(None));
        free.take(count as usize)
            .zip(wishes)
            .filter_map(|(slot, wish)| {
                let wished = wish.and_then(|at| spots::choose_in(self.view, self.spec, at));
                let at = last.partition_point(|(other, _)| other.slot <= slot);
                let last = at.checked_sub(1).map(|at| last[at]);
                let last = last.filter(|(order, _)| order.slot == slot);
                self.next_of((slot, wished.or(self.spot)), failures, last)
            })
            .collect()
    }

    /// Whether a launch rests until then after one that failed. Where there is a choice, a place without room is left
    /// out by itself, and the next place need not wait for it.
    fn rests(&self, until: Timestamp, cause: Option<FailureCause>) -> bool {
        let elsewhere = self.spot.is_some() && cause.is_some_and(spots::is_of_place);
        self.view.now < until && !elsewhere
    }

    fn next_of(
        &self,
        (slot, spot): (u32, Option<&Spot>),
        mut failures: u32,
        last: Option<(&LaunchOrder, &OrderId)>,
    ) -> Option<Next> {
        if let Some((order, id)) = last
            && let OrderState::Failed(at) = order.state
            && self.success.is_none_or(|success| at >= success)
        {
            failures = failures.max(order.failures.saturating_add(1));
            let until = at.plus(rest(order.failures, id));
            if self.rests(until, order.cause) {
                return Some(Next::Rest(Rest {
                    failures,
                    until,
                    cause: order.cause,
                }));
            }
        }
        let generation = last.map_or(1, |(order, _)| order.generation.saturating_add(1));
        self.launch((slot, spot), generation, failures)
            .map(Next::Launch)
    }

    fn launch(
        &self,
        (slot, spot): (u32, Option<&Spot>),
        first: u64,
        failures: u32,
    ) -> Option<Action> {
        let (name, spec) = (self.view.target(self.target).name, self.spec);
        let id = |generation| OrderId::launch(&self.view.desired.fleet, name, slot, generation);
        // After the store was lost the generations start again; an id that something still has is passed over.
        let (generation, order) = (first..)
            .map(|g| (g, id(g)))
            .find(|(_, id)| !is_taken(self.view, id))?;
        Some(Action::Launch {
            order,
            target: name.clone(),
            slot,
            generation,
            failures,
            datacenter: spot.map_or(&spec.datacenter, |at| &at.datacenter).clone(),
            provider: spot.map_or(&spec.provider, |at| &at.provider).clone(),
            zone: spot.and_then(|at| at.zone.clone()),
            shape: spot.and_then(|at| at.shape.clone()),
            size: spec.size.clone(),
            policy: spec.policy.clone(),
        })
    }
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

fn is_taken(view: &View, id: &OrderId) -> bool {
    view.observed.launches.contains_key(id)
        || view.observed.orphans.contains_key(id)
        || view.observed.agents.contains_key(id.as_str())
        || view.observed.retires.contains_key(id.as_str())
}

//! Whether the launches of a target fail for one cause. Then one launch at a time tries whether it works again, however
//! many agents are missing: the others would meet the same cause. All of it follows from the orders, so that a restart
//! forgets none of it.

use std::time::Duration;

use easyenclave_schemas::{Digest, FailureCause, OrderId, Timestamp};

use crate::view::{OrderView, TargetIx, View};
use crate::{LaunchOrder, OrderState};

/// The first rest after a failure; it doubles with each further one.
const FIRST_REST: Duration = Duration::from_secs(2);

/// The longest rest, without jitter. A full zone is asked again this often.
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// A target whose last failure is longer ago has no trouble: nothing was launched since, and that is no sign of any.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// So many slots whose last launches failed for one cause are no chance.
const SLOTS: usize = 2;

/// The launches of a target fail for one cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) cause: FailureCause,
    /// Slots whose last launch failed for it.
    pub(crate) slots: u32,
    /// Failures in a row before the next launch.
    pub(crate) failures: u32,
    /// When the next one is tried.
    pub(crate) until: Timestamp,
    /// Whether a launch is under way that will tell.
    pub(crate) probing: bool,
}

/// A failed order.
struct Failed<'v> {
    at: Timestamp,
    cause: FailureCause,
    order: &'v LaunchOrder,
    id: &'v OrderId,
}

/// What has gone wrong since the last launch of the target that came through, if anything of it is no chance.
pub(crate) fn trouble(view: &View, target: TargetIx) -> Option<Trouble> {
    let success = success(view, target);
    let since = |at: Timestamp| success.is_none_or(|success| at >= success);
    let newest = newest(view, target);
    let failed = newest.iter().filter_map(|order| failed(order));
    let failed: Vec<Failed> = failed.filter(|failed| since(failed.at)).collect();
    let last = failed.iter().max_by_key(|failed| (failed.at, failed.id))?;
    if view.now.since(last.at) > MEMORY {
        return None;
    }
    let cause = last.cause;
    let alike = || failed.iter().filter(|failed| failed.cause == cause);
    let is_probe = |o: &&&OrderView| o.pending && o.fact.failures > 0 && since(o.fact.opened);
    let probes = || newest.iter().filter(is_probe);
    if alike().count() + probes().count() < SLOTS {
        return None;
    }
    let before = alike().map(|failed| failed.order.failures.saturating_add(1));
    Some(Trouble {
        cause,
        slots: u32::try_from(alike().count()).unwrap_or(u32::MAX),
        failures: before.chain(probes().map(|o| o.fact.failures)).max()?,
        until: alike()
            .map(|f| f.at.plus(rest(f.order.failures, f.id)))
            .max()?,
        probing: view.orders_of(target).any(|order| order.pending),
    })
}

/// When the last launch of a target came through. What failed before says nothing of the next one, in whichever slot.
pub(crate) fn success(view: &View, target: TargetIx) -> Option<Timestamp> {
    view.orders_of(target).filter_map(came_through).max()
}

/// When the agent of an order registered.
fn came_through(order: &OrderView) -> Option<Timestamp> {
    let fulfilled = order.fact.state == OrderState::Fulfilled;
    let registered = order.fact.times.registered_at;
    fulfilled.then(|| registered.unwrap_or(order.fact.opened))
}

fn failed<'v>(order: &OrderView<'v>) -> Option<Failed<'v>> {
    let OrderState::Failed(at) = order.fact.state else {
        return None;
    };
    Some(Failed {
        at,
        cause: order.fact.cause.unwrap_or(FailureCause::NotMade),
        order: order.fact,
        id: order.id,
    })
}

/// The newest order of each slot.
fn newest<'v>(view: &'v View, target: TargetIx) -> Vec<&'v OrderView<'v>> {
    let mut orders: Vec<&OrderView> = view.orders_of(target).collect();
    orders.sort_unstable_by_key(|o| (o.fact.slot, std::cmp::Reverse(o.fact.generation)));
    orders.dedup_by_key(|order| order.fact.slot);
    orders
}

/// Doubles with each failure. The jitter comes from the order's id, so that slots that failed together do
/// not try again together, and yet the same inputs give the same time.
pub(crate) fn rest(failures_before: u32, order: &OrderId) -> Duration {
    let doubled = FIRST_REST.saturating_mul(1_u32.checked_shl(failures_before).unwrap_or(u32::MAX));
    let rest = doubled.min(LONGEST_REST);
    let noise = u32::from(Digest::of(order.as_str().as_bytes()).as_bytes()[0]);
    rest + rest * noise / (5 * 255)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    const STATE: &str = "target tiny 4 4";

    #[test]
    fn one_launch_tries_again_for_all_slots_that_failed_for_one_cause() {
        let failed = "order tiny #0 g1 failed 60 of NoCapacity failures 2\n\
                      order tiny #1 g1 failed 60 of NoCapacity\norder tiny #2 g1 failed 60 of NoCapacity";
        check(
            STATE,
            failed,
            expect![[r#"
            launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 3 size tiny in local by process under sim
            wait: target tiny: slots whose last launch failed: 3; the place has no room; one launch tries for all"#]],
        );
        let probing = "order tiny #0 g2 open failures 3\n\
                       order tiny #1 g1 failed 60 of NoCapacity";
        check(
            STATE,
            probing,
            expect![[r#"
            wait: target tiny: slots whose last launch failed: 1; the place has no room; one launch tries for all
            wait: order tiny-4dfee8e46e1e: its agent has not registered yet (until 2026-01-01T00:01:00Z)"#]],
        );
    }

    #[test]
    fn they_all_rest_as_long_as_the_one_that_rests_longest() {
        check(
            STATE,
            "order tiny #0 g9 failed 60 of Quota failures 8\norder tiny #1 g1 failed 60 of Quota",
            expect![
                "wait: target tiny: launches failed in a row: 9; the provider's quota is used up (until 2026-01-01T00:08:45Z)"
            ],
        );
    }

    #[test]
    fn failures_of_long_ago_are_no_trouble() {
        check(
            STATE,
            "order tiny #0 g1 failed 3601 of NoCapacity failures 5\norder tiny #1 g1 failed 3700 of NoCapacity",
            expect![[r#"
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 6 size tiny in local by process under sim
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-c2db2deda33e for tiny slot 1 generation 2 failures 1 size tiny in local by process under sim"#]],
        );
    }

    #[test]
    fn what_came_through_since_ends_the_trouble() {
        check(
            STATE,
            "order tiny #0 g2 fulfilled failures 1 times 9 8 7 6\nagent tiny-9b348722ea32 tiny #0 idle\n\
             order tiny #1 g1 failed 60 of NoCapacity\norder tiny #2 g1 failed 60 of NoCapacity",
            expect![[r#"
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-c2db2deda33e for tiny slot 1 generation 2 failures 0 size tiny in local by process under sim
                launch tiny-ee176e0ef692 for tiny slot 2 generation 2 failures 0 size tiny in local by process under sim"#]],
        );
    }

    #[test]
    fn slots_that_failed_for_different_causes_try_each_for_itself() {
        check(
            STATE,
            "order tiny #0 g1 failed 60 of NoCapacity\norder tiny #1 g1 failed 60 of MachineDied",
            expect![[r#"
                launch tiny-32913ac7cea7 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-4dfee8e46e1e for tiny slot 0 generation 2 failures 1 size tiny in local by process under sim
                launch tiny-9e21383a4f14 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
                launch tiny-c2db2deda33e for tiny slot 1 generation 2 failures 1 size tiny in local by process under sim"#]],
        );
    }
}

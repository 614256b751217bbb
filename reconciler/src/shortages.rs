//! Where machines cannot be had for now, read from the orders that failed there. Nothing of it is stored by itself, so a
//! restart forgets none of it, and what is forgotten with an order was of no more use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_plan::Shortage;
use easyenclave_schemas::records::{OrderPhase, OrderRecord};
use easyenclave_schemas::{FailureCause, OrderId, Spot, Timestamp};

use crate::journal::Records;

/// The first pause of a place; it doubles with each further failure in a row.
const FIRST: Duration = Duration::from_secs(30);

/// The longest pause. A place without room is asked again this often.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// So many failures in a row are remembered of a place. With the last of them its pause is as long as it gets.
const ROW: usize = 7;

/// A failure counts in a row with one that was at most so long before the next try: twice the longest pause.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// The first of the orders that failed of one try. What was opened before it failed knew nothing of it.
struct Failure<'a> {
    order: &'a OrderId,
    at: Timestamp,
    cause: FailureCause,
}

/// Places where no machine can be had now.
pub(crate) fn shortages(records: &Records, now: Timestamp) -> BTreeMap<Spot, Shortage> {
    let short = rows(records).into_iter().filter_map(|(spot, row)| {
        let last = row.last()?;
        let failures = u32::try_from(row.len()).unwrap_or(u32::MAX);
        let until = last.at.plus(pause(failures));
        let shortage = Shortage {
            cause: last.cause,
            failures,
            until,
        };
        (until > now).then_some((spot, shortage))
    });
    short.collect()
}

/// The failed orders without which a place would seem less short than it is. Few, whatever has failed.
pub(crate) fn kept(records: &Records, now: Timestamp) -> BTreeSet<OrderId> {
    let rows = rows(records).into_values();
    let recent = |row: &Vec<Failure>| row.last().is_some_and(|last| now.since(last.at) <= MEMORY);
    let orders = rows.filter(recent).flatten();
    orders.map(|failure| failure.order.clone()).collect()
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

/// The last failures in a row of each place, oldest first.
fn rows(records: &Records) -> BTreeMap<Spot, Vec<Failure<'_>>> {
    let mut failed: BTreeMap<Spot, Vec<(Timestamp, &OrderRecord, FailureCause)>> = BTreeMap::new();
    let mut came_through: BTreeMap<Spot, Timestamp> = BTreeMap::new();
    for order in records.orders.values() {
        let Some(spot) = order.spot() else {
            continue;
        };
        match (order.state, order.cause, order.times.registered_at) {
            (OrderPhase::Failed(at), Some(cause), _) if is_shortage(cause) => {
                failed.entry(spot).or_default().push((at, order, cause));
            }
            (OrderPhase::Fulfilled, _, Some(at)) => {
                let last = came_through.entry(spot).or_default();
                *last = at.max(*last);
            }
            _ => {}
        }
    }
    let rows = failed.into_iter().map(|(spot, mut failed)| {
        let success = came_through.get(&spot).copied().unwrap_or_default();
        failed.retain(|(at, ..)| *at >= success);
        failed.sort_unstable_by_key(|(at, order, _)| (*at, &order.order));
        (spot, row(&failed))
    });
    rows.collect()
}

fn row<'a>(failed: &[(Timestamp, &'a OrderRecord, FailureCause)]) -> Vec<Failure<'a>> {
    let mut row: Vec<Failure> = Vec::new();
    for &(at, order, cause) in failed {
        let last = row.last().map(|last| last.at);
        if last.is_some_and(|last| order.opened_at < last) {
            continue;
        }
        if last.is_some_and(|last| order.opened_at.since(last) > MEMORY) {
            row.clear();
        }
        let order = &order.order;
        row.push(Failure { order, at, cause });
    }
    row.split_off(row.len().saturating_sub(ROW))
}

fn is_shortage(cause: FailureCause) -> bool {
    matches!(
        cause,
        FailureCause::NoCapacity | FailureCause::Quota | FailureCause::NotClaimed
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use easyenclave_schemas::records::WorkRecord;

    use super::*;
    use crate::orders::testing::launch;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + secs * 1000)
    }

    /// An order in `zone` that was opened and failed, or came through, so many seconds from the start.
    fn order(id: &str, zone: Option<&str>, opened: i64, failed: i64) -> OrderRecord {
        let mut order = launch(id, OrderPhase::Failed(at(failed)), "w-1", 1);
        order.opened_at = at(opened);
        order.cause = Some(FailureCause::NoCapacity);
        if let WorkRecord::Launch { zone: of, .. } = &mut order.work {
            *of = zone.map(|zone| zone.parse().expect("a name"));
        }
        order
    }

    fn records(orders: impl IntoIterator<Item = OrderRecord>) -> Records {
        let mut records = Records::default();
        for order in orders {
            let id = order.order.clone();
            records.set_order(&id, Some(Arc::new(order)));
        }
        records
    }

    /// What is short, as failures and seconds until it is tried again.
    fn short(records: &Records, now: i64) -> Vec<(u32, i64)> {
        let found = shortages(records, at(now)).into_values();
        let seconds = |until: Timestamp| (until.as_millis() - at(0).as_millis()) / 1000;
        found.map(|s| (s.failures, seconds(s.until))).collect()
    }

    #[test]
    fn orders_that_failed_together_are_one_failure_and_the_next_ones_pause_longer() {
        let burst = || (0..20).map(|n| order(&format!("a-{n}"), Some("z"), 0, 5 + n));
        assert_eq!(short(&records(burst()), 6), [(1, 35)]);
        assert_eq!(short(&records(burst()), 35), []);
        let next = order("b", Some("z"), 40, 42);
        let again = records(burst().chain([next.clone()]));
        assert_eq!(short(&again, 43), [(2, 102)]);
        let third = order("c", Some("z"), 110, 111);
        let again = records(burst().chain([next, third]));
        assert_eq!(short(&again, 111), [(3, 231)]);
        assert_eq!(kept(&again, at(111)).len(), 3, "one of each try is enough");
    }

    #[test]
    fn pauses_grow_to_half_an_hour_and_few_orders_are_kept_for_that() {
        let (mut orders, mut opened) = (Vec::new(), 0);
        for number in 0..40 {
            orders.push(order(
                &format!("a-{number:02}"),
                Some("z"),
                opened,
                opened + 1,
            ));
            let known = records(orders.clone());
            let (_, until) = short(&known, opened + 1)[0];
            assert!(until - opened <= 1801, "{number}: {}", until - opened);
            opened = until;
            let kept = kept(&known, at(opened));
            assert!(kept.len() <= ROW, "{number}");
            orders.retain(|order| kept.contains(&order.order));
        }
        let last = short(&records(orders), opened - 1);
        assert_eq!(last, [(7, opened)], "what is not kept changes nothing");
    }

    #[test]
    fn a_machine_that_came_through_ends_the_row_and_so_does_time() {
        let failed = order("a", Some("z"), 0, 5);
        let mut fulfilled = order("b", Some("z"), 0, 6);
        fulfilled.state = OrderPhase::Fulfilled;
        fulfilled.times.registered_at = Some(at(6));
        assert_eq!(short(&records([failed.clone(), fulfilled]), 7), []);
        let later = order("b", Some("z"), 3700, 3701);
        assert_eq!(short(&records([failed.clone(), later]), 3702), [(1, 3731)]);
        assert!(kept(&records([failed]), at(3700)).is_empty());
    }

    #[test]
    fn a_place_is_short_of_room_only_with_or_without_zones() {
        assert_eq!(short(&records([order("a", None, 0, 5)]), 6).len(), 1);
        let mut died = order("a", Some("z"), 0, 5);
        died.cause = Some(FailureCause::MachineDied);
        assert_eq!(short(&records([died]), 6), []);
    }
}

//! How far a launch has come, and why it went no further: what reports, challenges and registrations say of an order is
//! noted in its record. What a worker says in words is shown to everybody, so it is bounded, plain and without secrets.

use std::collections::BTreeSet;

use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{OrderUpdate, console};
use easyenclave_schemas::{FailureCause, OrderId, Stage, StageTimes, Timestamp};

use crate::world::World;

/// The longest error text that is kept, in characters.
const ERROR: usize = 450;

/// A report as it may be kept and shown. The machine knows its token, and may have put it out.
pub(crate) fn plain(world: &World, order: &OrderId, request: OrderUpdate) -> OrderUpdate {
    let token = world.tokens.bootstrap(order, request.fence);
    let end = request.console.map(|text| token.hide_in(&console(&text)));
    let line = |text: String| -> String {
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        token.hide_in(&plain.take(ERROR).collect::<String>())
    };
    OrderUpdate {
        error: request.error.map(line),
        console: end.filter(|text| !text.trim().is_empty()),
        cause: Some(cause(world, order, request.cause)),
        ..request
    }
}

/// Why a launch has failed. Whoever reports it does not know that evidence was refused here.
fn cause(world: &World, order: &OrderId, reported: Option<FailureCause>) -> FailureCause {
    match reported.unwrap_or(FailureCause::NotMade) {
        FailureCause::MachineDied if refused(world).contains(order.as_str()) => {
            FailureCause::AttestationRefused
        }
        cause => cause,
    }
}

/// The orders whose agents' evidence was refused, of those that are remembered.
pub(crate) fn refused(world: &World) -> BTreeSet<String> {
    let of_evidence = |code: &str| ReasonCode::from_code(code).is_some_and(|c| c.is_of_evidence());
    let refusals = world.refusals.list().into_iter();
    let refusals = refusals.filter(|refusal| of_evidence(&refusal.code));
    refusals.map(|refusal| refusal.subject).collect()
}

/// A claim by another holder begins anew: what the former one made is worth nothing any more.
pub(crate) fn claimed(times: StageTimes, same: bool, now: Timestamp) -> StageTimes {
    match same {
        true => times,
        false => StageTimes {
            claimed_at: Some(now),
            ..StageTimes::default()
        },
    }
}

/// Takes in what a worker reports of a launch that goes on.
pub(crate) fn provisioning(record: &mut OrderRecord, request: &OrderUpdate, now: Timestamp) {
    let is_launch = matches!(record.work, WorkRecord::Launch { .. });
    if is_launch && request.stage == Some(Stage::Made) {
        record.times.made_at.get_or_insert(now);
    }
}

/// Takes in why a launch has failed.
pub(crate) fn failed(record: &mut OrderRecord, request: &OrderUpdate, now: Timestamp) {
    record.state = OrderPhase::Failed(now);
    record.cause = request.cause;
    record.console.clone_from(&request.console);
}

/// Notes that somebody inside a machine asks for a nonce. Anybody may name an order, so it is written once for each
/// claim; who lies about it changes which deadline the order has, and no more. What cannot be written is noted with the
/// next question.
pub(crate) async fn booted(world: &World, order: &OrderRecord, now: Timestamp) {
    if !may_boot(order) {
        return;
    }
    let id = order.order.clone();
    let noted = world.journal.transact(move |records, change| {
        let known = records.orders.get(&id).filter(|known| may_boot(known));
        let mut order = OrderRecord::clone(known.ok_or(())?);
        order.times.made_at.get_or_insert(now);
        order.times.booted_at = Some(now);
        change.put_order(order);
        Ok::<_, ()>(())
    });
    if let Ok(Ok(())) = noted.await {
        world.wake.notify_one();
    }
}

/// Whether the machine of a launch is made, and nothing was heard from inside it.
fn may_boot(order: &OrderRecord) -> bool {
    let is_launch = matches!(order.work, WorkRecord::Launch { .. });
    let held = matches!(order.state, OrderPhase::Claimed | OrderPhase::Provisioning);
    is_launch && held && order.times.booted_at.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::testing::launch;

    #[test]
    fn a_claim_by_another_worker_begins_anew_and_the_same_ones_goes_on() {
        let at = Timestamp::from_millis;
        let times = StageTimes {
            claimed_at: Some(at(1)),
            made_at: Some(at(2)),
            booted_at: Some(at(3)),
            registered_at: None,
        };
        assert_eq!(claimed(times, true, at(9)), times);
        let anew = claimed(times, false, at(9));
        assert_eq!(anew.stage(at(0)), (Stage::Claimed, at(9)));
        assert_eq!(anew.made_at, None);
    }

    #[test]
    fn only_the_machine_of_a_held_launch_boots_and_only_once() {
        let mut order = launch("tiny-1", OrderPhase::Provisioning, "worker-1", 1);
        assert!(may_boot(&order));
        order.times.booted_at = Some(Timestamp::default());
        assert!(!may_boot(&order));
        for state in [
            OrderPhase::Open,
            OrderPhase::Fulfilled,
            OrderPhase::Cancelled,
        ] {
            assert!(!may_boot(&launch("tiny-1", state, "worker-1", 1)));
        }
    }
}

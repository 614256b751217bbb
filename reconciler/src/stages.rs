//! How far a launch has come, and why it went no further: what reports, challenges and registrations say of an order is
//! noted in its record. What a worker says in words is shown to everybody, so it is bounded, plain and without secrets.

use std::sync::Arc;

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
        ..request
    }
}

/// Notes that the evidence of a launch's agent was refused: if nothing else comes of it, that is why it has failed. It is
/// written once for each claim.
pub(crate) async fn refused(world: &World, order: &OrderRecord, code: ReasonCode) {
    let cause = Some(FailureCause::AttestationRefused);
    if !code.is_of_evidence() || order.cause == cause {
        return;
    }
    let (id, claim) = (order.order.clone(), order.claim.clone());
    let noted = world.journal.transact(move |records, change| {
        let same = |known: &&Arc<OrderRecord>| known.state.is_held() && known.claim == claim;
        let known = records.orders.get(&id).filter(same);
        let mut order = OrderRecord::clone(known.ok_or(())?);
        order.cause = cause;
        change.put_order(order);
        Ok::<_, ()>(())
    });
    // What cannot be written is noted with the next refusal.
    let _ = noted.await;
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

/// Takes in why a launch has failed. Whoever reports that its machine ended does not know that evidence was refused here;
/// older workers name no cause.
pub(crate) fn failed(record: &mut OrderRecord, request: &OrderUpdate, now: Timestamp) {
    let refused = record.cause == Some(FailureCause::AttestationRefused);
    record.cause = match request.cause {
        Some(FailureCause::MachineDied) if refused => record.cause,
        cause => Some(cause.unwrap_or(FailureCause::NotMade)),
    };
    record.state = OrderPhase::Failed(now);
    record.console.clone_from(&request.console);
    record.unaccounted = request.remains;
}

/// The holder of a launch that is over says that nothing is left of its machine, and maybe how the console ended: of a
/// deadline only the reconciler knows, and of the console only the worker.
pub(crate) fn accounted(record: &OrderRecord, request: &OrderUpdate) -> Option<OrderRecord> {
    let is_failed = matches!(record.state, OrderPhase::Failed(_));
    let mut accounted = record.clone();
    accounted.unaccounted &= request.remains;
    if is_failed && record.console.is_none() {
        accounted.console.clone_from(&request.console);
    }
    (accounted != *record).then_some(accounted)
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
            ..StageTimes::default()
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

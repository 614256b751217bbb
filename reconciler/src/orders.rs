//! Orders as workers see them: claim, renewal, report. Every transition is guarded; a launch order
//! is fulfilled only by an accepted registration, which is not here.

use std::time::Duration;

use axum::http::StatusCode;
use easyenclave_schemas::records::{ClaimRecord, OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{
    ClaimRequest, ClaimResponse, OrderReport, OrderStatus, OrderUpdate, Superseded, Unit, WorkKind,
};
use easyenclave_schemas::{OrderId, Timestamp};

use crate::api::Refused;
use crate::journal::{Change, Records};
use crate::world::World;
use crate::{stages, terms};

/// A claim lapses after this long without a report.
pub const CLAIM: Duration = Duration::from_secs(60);

/// Gives a worker an order: first what it holds already, then the oldest that is free.
///
/// # Errors
/// When the records cannot be written.
pub async fn claim(world: &World, request: &ClaimRequest) -> Result<ClaimResponse, Refused> {
    let nothing = ClaimResponse {
        claimed: false,
        order: None,
        bootstrap_token: None,
    };
    let now = world.clock.now();
    if candidate(&world.journal.read(), request, now).is_none() {
        return Ok(nothing);
    }
    let wanted = request.clone();
    let claimed = world
        .journal
        .transact(move |records, change| {
            let Some(order) = candidate(records, &wanted, now) else {
                return Ok::<_, ()>(None);
            };
            let order = claimed(order, &wanted, now);
            change.put_order(order.clone());
            Ok(Some(order))
        })
        .await?
        .unwrap_or_default();
    let revision = world.revision();
    let order = claimed.zip(revision).and_then(|(order, revision)| {
        let token = matches!(order.work, WorkRecord::Launch { .. }).then(|| {
            world
                .tokens
                .bootstrap(&order.order, order.claim.as_ref().map_or(0, |c| c.fence))
        });
        Some((terms::of(world, &revision, &order)?, token))
    });
    let Some((order, bootstrap_token)) = order else {
        return Ok(nothing);
    };
    world.wake.notify_one();
    Ok(ClaimResponse {
        claimed: true,
        order: Some(order),
        bootstrap_token,
    })
}

/// Notes what a worker reports, if it still holds the order.
///
/// # Errors
/// 404 for an unknown order, 409 when another claim has overtaken this one or the order is over.
pub async fn update(
    world: &World,
    order: &OrderId,
    request: OrderUpdate,
) -> Result<OrderStatus, Refused> {
    let now = world.clock.now();
    let id = order.clone();
    let removes = request.status == OrderReport::Removed;
    let worker = request.worker_id.clone();
    let request = stages::plain(world, order, request);
    let unit = retired(&world.journal.read(), order).filter(|_| removes);
    let reported = world
        .journal
        .transact(move |records, change| {
            let unknown =
                || Refused::new(StatusCode::NOT_FOUND, "order_not_found", "no such order");
            let record = records.orders.get(&id).ok_or_else(unknown)?;
            report(record.as_ref(), &request, change, now)
        })
        .await?;
    let status = reported.map_err(|refused| refused.in_epoch(world.epoch))?;
    if let Some(unit) = unit {
        world.presence.removed(&worker, &unit);
    }
    world.wake.notify_one();
    Ok(OrderStatus {
        epoch: Some(world.epoch),
        ..status
    })
}

/// The machine that an order is to destroy.
fn retired(records: &Records, order: &OrderId) -> Option<OrderId> {
    match &records.orders.get(order)?.work {
        WorkRecord::Retire { agent, .. } => Some(agent.order()),
        WorkRecord::Launch { .. } => None,
    }
}

/// Listed machines that were made under an older claim than their order's newest. None of them can join: its
/// token is of its own claim, and an order that an agent has joined under is not claimed again. So the machine of
/// the agent, or the one that is being made, is never among them, whatever its worker is called.
pub fn superseded(records: &Records, units: &[Unit]) -> Vec<Superseded> {
    let newest = |unit: &Unit| {
        let order = records.orders.get(&unit.order_id)?;
        let fence = order.claim.as_ref()?.fence;
        unit.fence.filter(|made| *made < fence)?;
        Some(Superseded {
            order_id: unit.order_id.clone(),
            fence,
        })
    };
    units.iter().filter_map(newest).collect()
}

/// The oldest order that this worker holds, or else may take.
fn candidate<'a>(
    records: &'a Records,
    request: &ClaimRequest,
    now: Timestamp,
) -> Option<&'a OrderRecord> {
    let serves = |order: &&OrderRecord| {
        order.provider == request.provider
            && request
                .datacenter
                .as_ref()
                .is_none_or(|place| *place == order.datacenter)
            && order
                .worker
                .as_ref()
                .is_none_or(|worker| *worker == request.worker_id)
            && fits_size(order, request)
            && fits_kind(order, request)
            && is_free(order, request, now)
    };
    let free = records.orders.values().map(AsRef::as_ref).filter(serves);
    free.min_by_key(|order| (order.opened_at, &order.order))
}

fn fits_size(order: &OrderRecord, request: &ClaimRequest) -> bool {
    match (&order.work, &request.node_size) {
        (WorkRecord::Launch { size, .. }, Some(wanted)) => size == wanted,
        _ => true,
    }
}

fn fits_kind(order: &OrderRecord, request: &ClaimRequest) -> bool {
    let kind = match order.work {
        WorkRecord::Launch { .. } => WorkKind::Launch,
        WorkRecord::Retire { .. } => WorkKind::Retire,
    };
    request.work.is_none_or(|wanted| wanted == kind)
}

/// Free is what is open, what this worker held before it was restarted, and what nobody renews.
fn is_free(order: &OrderRecord, request: &ClaimRequest, now: Timestamp) -> bool {
    match (&order.state, &order.claim) {
        (OrderPhase::Open, _) => true,
        (OrderPhase::Claimed | OrderPhase::Provisioning, Some(claim)) => {
            let own = claim.worker == request.worker_id;
            claim.expires_at <= now || (own && !request.in_hand.contains(&order.order))
        }
        _ => false,
    }
}

fn claimed(order: &OrderRecord, request: &ClaimRequest, now: Timestamp) -> OrderRecord {
    let mut order = order.clone();
    let same =
        |claim: &ClaimRecord| claim.worker == request.worker_id && order.state != OrderPhase::Open;
    let same = order.claim.as_ref().is_some_and(same);
    let before = order.claim.as_ref().map_or(0, |claim| claim.fence);
    let fence = if same { before } else { before + 1 };
    let worker = request.worker_id.clone();
    order.claim = Some(ClaimRecord {
        worker,
        fence,
        expires_at: now.plus(CLAIM),
    });
    if matches!(order.work, WorkRecord::Launch { .. }) {
        order.times = stages::claimed(order.times, same, now);
    }
    order.state = OrderPhase::Claimed;
    order
}

fn report(
    record: &OrderRecord,
    request: &OrderUpdate,
    change: &mut Change,
    now: Timestamp,
) -> Result<OrderStatus, Refused> {
    let conflict = |code: &str, message: &str| Refused::new(StatusCode::CONFLICT, code, message);
    let held = record
        .claim
        .as_ref()
        .is_some_and(|claim| claim.worker == request.worker_id && claim.fence == request.fence);
    if !held {
        return Err(conflict(
            "claim_lost",
            "another claim of this order has overtaken this one",
        ));
    }
    let launch = matches!(record.work, WorkRecord::Launch { .. });
    if launch && request.status == OrderReport::Removed {
        return taken_down(record, change);
    }
    if !record.state.is_pending() {
        return Ok(status(record));
    }
    let mut record = record.clone();
    match (request.status, launch) {
        (OrderReport::Provisioning, _) => {
            stages::provisioning(&mut record, request, now);
            renew(&mut record, now);
        }
        (OrderReport::Failed, true) => stages::failed(&mut record, request, now),
        (OrderReport::Failed, false) => renew(&mut record, now),
        (OrderReport::Removed, _) => return Ok(removed(&record, change)),
    }
    record.error.clone_from(&request.error);
    let status = status(&record);
    change.put_order(record);
    Ok(status)
}

fn renew(record: &mut OrderRecord, now: Timestamp) {
    record.state = OrderPhase::Provisioning;
    if let Some(claim) = &mut record.claim {
        claim.expires_at = now.plus(CLAIM);
    }
}

/// A worker that ends takes its machines with it when it was told to. Their launches are withdrawn then: none of them
/// has failed. That the machines are gone, only a listing proves.
fn taken_down(record: &OrderRecord, change: &mut Change) -> Result<OrderStatus, Refused> {
    if record.state.is_pending() {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            "wrong_report",
            "a launch order is not done by a removal",
        ));
    }
    let mut record = record.clone();
    if record.state == OrderPhase::Fulfilled {
        record.state = OrderPhase::Cancelled;
        record.error = Some("its worker has ended and taken the machine with it".into());
        change.put_order(record.clone());
    }
    Ok(status(&record))
}

/// The machine is gone: only now are the agent and its order forgotten.
fn removed(record: &OrderRecord, change: &mut Change) -> OrderStatus {
    if let WorkRecord::Retire { agent, .. } = &record.work {
        change.drop_agent(agent);
    }
    change.drop_order(&record.order);
    OrderStatus {
        order_id: record.order.clone(),
        status: OrderPhase::Fulfilled.as_str().into(),
        claim_expires_at: None,
        epoch: None,
    }
}

fn status(record: &OrderRecord) -> OrderStatus {
    OrderStatus {
        order_id: record.order.clone(),
        status: record.state.as_str().into(),
        claim_expires_at: record.claim.as_ref().map(|claim| claim.expires_at),
        epoch: None,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use easyenclave_schemas::StageTimes;

    use super::*;

    /// A launch order that a worker holds or held.
    pub(crate) fn launch(id: &str, state: OrderPhase, worker: &str, fence: u64) -> OrderRecord {
        OrderRecord {
            order: id.parse().expect("a name"),
            datacenter: "local".parse().expect("a name"),
            provider: "local".parse().expect("a name"),
            worker: None,
            work: WorkRecord::Launch {
                target: "tiny".parse().expect("a name"),
                slot: 1,
                generation: 1,
                failures: 0,
                size: "tiny".parse().expect("a name"),
                policy: "simulated".parse().expect("a name"),
                zone: None,
                shape: None,
            },
            state,
            opened_at: Timestamp::default(),
            claim: Some(ClaimRecord {
                worker: worker.parse().expect("a name"),
                fence,
                expires_at: Timestamp::default().plus(CLAIM),
            }),
            error: None,
            cause: None,
            console: None,
            times: StageTimes::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::testing::launch;
    use super::*;

    fn request(worker: &str) -> ClaimRequest {
        ClaimRequest {
            worker_id: worker.parse().expect("a name"),
            provider: "local".parse().expect("a name"),
            datacenter: None,
            node_size: None,
            in_hand: Vec::new(),
            wait_millis: 0,
            work: None,
        }
    }

    /// The claim that supersedes a machine, if one does.
    fn named(records: &Records, fence: Option<u64>) -> Option<u64> {
        let unit = Unit {
            order_id: "tiny-1".parse().expect("a name"),
            alive: true,
            fence,
        };
        superseded(records, &[unit]).first().map(|unit| unit.fence)
    }

    fn records(order: OrderRecord) -> Records {
        let mut records = Records::default();
        records.orders.insert(order.order.clone(), Arc::new(order));
        records
    }

    /// The first worker made a machine, was not heard of for a minute, and another took its order.
    #[test]
    fn the_unit_of_a_lapsed_claim_is_superseded_and_the_newest_one_never_is() {
        let first = launch("tiny-1", OrderPhase::Provisioning, "worker-1", 1);
        let lapsed = Timestamp::default().plus(CLAIM);
        assert_eq!(named(&records(first.clone()), Some(1)), None);
        assert!(is_free(&first, &request("worker-2"), lapsed));
        let second = claimed(&first, &request("worker-2"), lapsed);
        for state in [
            OrderPhase::Claimed,
            OrderPhase::Provisioning,
            OrderPhase::Fulfilled,
            OrderPhase::Failed(lapsed),
        ] {
            let mut order = second.clone();
            order.state = state;
            let records = records(order);
            assert_eq!(named(&records, Some(1)), Some(2), "{state:?}");
            assert_eq!(named(&records, Some(2)), None, "{state:?}");
            assert_eq!(named(&records, None), None, "{state:?}");
        }
        assert_eq!(
            named(&Records::default(), Some(1)),
            None,
            "nothing is known"
        );
    }

    /// A worker that gets its own order again goes on with the same machine.
    #[test]
    fn a_claim_that_comes_back_to_its_worker_supersedes_nothing_of_its_own() {
        let first = launch("tiny-1", OrderPhase::Provisioning, "worker-1", 1);
        let lapsed = Timestamp::default().plus(CLAIM);
        let again = claimed(&first, &request("worker-1"), lapsed);
        assert_eq!(named(&records(again), Some(1)), None);
        let other = claimed(&first, &request("worker-2"), lapsed);
        let back = claimed(&other, &request("worker-1"), lapsed.plus(CLAIM));
        assert_eq!(named(&records(back), Some(1)), Some(3));
    }
}

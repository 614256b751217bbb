//! Orders as workers see them: claim, renewal, report. Every transition is guarded; a launch order
//! is fulfilled only by an accepted registration, which is not here.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use easyenclave_schemas::records::{ClaimRecord, OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{
    CLAIM, ClaimRequest, ClaimResponse, OrderReport, OrderStatus, OrderUpdate, Superseded, Unit,
    WorkKind,
};
use easyenclave_schemas::{OrderId, Timestamp};

use crate::api::Refused;
use crate::holds::Holds;
use crate::journal::{Change, Records};
use crate::world::World;
use crate::{stages, terms};

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
    world.presence.worker(&request.worker_id, now);
    let Some(revision) = world.revision() else {
        return Ok(nothing);
    };
    let wanted = {
        let records = world.journal.read();
        let holds = Holds {
            presence: &world.presence,
            revision: &revision,
            now,
        };
        let wanted = Wanted::new(request, holds.free(&records));
        if wanted.of(&records).is_none() {
            return Ok(nothing);
        }
        wanted
    };
    let claimed = world
        .journal
        .transact(move |records, change| {
            let Some(order) = wanted.of(records) else {
                return Ok::<_, ()>(None);
            };
            let order = claimed(order, &wanted.request, now);
            change.put_order(order.clone());
            Ok(Some(order))
        })
        .await?
        .unwrap_or_default();
    let order = claimed.and_then(|order| {
        let token = matches!(order.work, WorkRecord::Launch { .. }).then(|| {
            world
                .tokens
                .bootstrap(&order.order, order.claim.as_ref().map_or(0, |c| c.fence))
        });
        let granted = terms::of(world, &revision, &order)?;
        Some((granted, token))
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
    world.presence.worker(&request.worker_id, now);
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

/// What a worker may be given.
struct Wanted {
    request: ClaimRequest,
    in_hand: BTreeSet<OrderId>,
    /// Launches of others that it may take over, with the claims that have run out.
    free: Vec<(OrderId, ClaimRecord)>,
}

impl Wanted {
    fn new(request: &ClaimRequest, free: Vec<(OrderId, ClaimRecord)>) -> Self {
        Self {
            in_hand: request.in_hand.iter().cloned().collect(),
            request: request.clone(),
            free,
        }
    }

    /// What it held before it was restarted, or else the oldest order that is open or that nobody holds any more.
    fn of<'r>(&self, records: &'r Records) -> Option<&'r OrderRecord> {
        let worker = &self.request.worker_id;
        let provider = &self.request.provider;
        let serves = |order: &&Arc<OrderRecord>| self.serves(order);
        let put_down = |order: &&Arc<OrderRecord>| !self.in_hand.contains(&order.order);
        let own = records.held(worker).filter(put_down).find(serves);
        let open = records.open(provider, None).find(serves);
        let only_its = records.open(provider, Some(worker)).find(serves);
        let free = self.free.iter().filter_map(|(order, claim)| {
            let order = records.orders.get(order)?;
            (order.state.is_pending() && order.claim.as_ref() == Some(claim)).then_some(order)
        });
        let free = free.filter(put_down).filter(serves);
        let others = [open, only_its].into_iter().flatten().chain(free);
        let oldest = || others.min_by_key(|order| (order.opened_at, &order.order));
        own.or_else(oldest).map(AsRef::as_ref)
    }

    fn serves(&self, order: &OrderRecord) -> bool {
        let wanted = &self.request;
        let place = wanted.datacenter.as_ref();
        let only = order.worker.as_ref();
        order.provider == wanted.provider
            && place.is_none_or(|place| *place == order.datacenter)
            && only.is_none_or(|worker| *worker == wanted.worker_id)
            && fits_size(order, wanted)
            && fits_kind(order, wanted)
    }
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

/// An order as it is once this worker holds it. Its former holder goes on with what it has made.
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
    if !same {
        order.state = OrderPhase::Claimed;
        order.cause = None;
    }
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
        return taken_down(record, request, change);
    }
    if !record.state.is_pending() {
        if request.status == OrderReport::Failed
            && let Some(accounted) = stages::accounted(record, request)
        {
            change.put_order(accounted);
        }
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

/// A launch that is over leaves nothing behind once its worker has removed the machine. A worker that ends takes its
/// machines with it when it was told to: their launches are withdrawn then, and none of them has failed. That the machine
/// of an agent is gone, only a listing proves.
fn taken_down(
    record: &OrderRecord,
    request: &OrderUpdate,
    change: &mut Change,
) -> Result<OrderStatus, Refused> {
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
    } else if let Some(accounted) = stages::accounted(&record, request) {
        change.put_order(accounted);
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
            unaccounted: false,
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
        let id = order.order.clone();
        records.set_order(&id, Some(Arc::new(order)));
        records
    }

    /// The first worker made a machine, was not heard of for a minute, and another took its order.
    #[test]
    fn the_unit_of_a_lapsed_claim_is_superseded_and_the_newest_one_never_is() {
        let first = launch("tiny-1", OrderPhase::Provisioning, "worker-1", 1);
        let lapsed = Timestamp::default().plus(CLAIM);
        assert_eq!(named(&records(first.clone()), Some(1)), None);
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

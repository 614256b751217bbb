//! The status of orders.

use std::collections::BTreeMap;

use easyenclave_plan::Subject;
use easyenclave_schemas::OrderId;
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::status::{ConditionStatus, ConditionType, OrderKind, OrderStatus};

use super::Sight;
use super::conditions::Conditions;

/// Every order that is under way, and the newest of each slot.
pub(super) fn orders(sight: &Sight<'_>) -> BTreeMap<OrderId, OrderStatus> {
    let orders = sight.records.orders.values();
    orders
        .map(|order| (order.order.clone(), status(sight, order)))
        .collect()
}

fn status(sight: &Sight<'_>, order: &OrderRecord) -> OrderStatus {
    let previous = sight
        .previous
        .and_then(|previous| previous.orders.get(&order.order));
    let previous = previous.map(|previous| previous.conditions.as_slice());
    let (status, reason) = match order.state {
        OrderPhase::Open => (ConditionStatus::Unknown, "Open"),
        OrderPhase::Claimed => (ConditionStatus::Unknown, "Claimed"),
        OrderPhase::Provisioning => (ConditionStatus::Unknown, "Provisioning"),
        OrderPhase::Fulfilled => (ConditionStatus::True, "Registered"),
        OrderPhase::Failed(_) => (ConditionStatus::False, "Failed"),
        OrderPhase::Cancelled => (ConditionStatus::False, "Cancelled"),
    };
    let message = order.error.clone().unwrap_or_default();
    OrderStatus {
        order: order.order.clone(),
        work: work(&order.work),
        datacenter: order.datacenter.clone(),
        provider: order.provider.clone(),
        phase: order.state.as_str().into(),
        opened_at: order.opened_at.trunc_secs(),
        failed_at: match order.state {
            OrderPhase::Failed(at) => Some(at.trunc_secs()),
            _ => None,
        },
        worker: order.claim.as_ref().map(|claim| claim.worker.clone()),
        error: order.error.clone(),
        cause: order.cause,
        console: order.console.clone(),
        times: order.times.trunc_secs(),
        unaccounted: is_unaccounted(sight, order),
        conditions: Conditions::new(previous, sight.now())
            .add(ConditionType::Fulfilled, status, reason, message)
            .done(),
        waits: sight.waits(&Subject::Order(order.order.clone())),
    }
}

fn is_unaccounted(sight: &Sight<'_>, order: &OrderRecord) -> bool {
    let launches = &sight.report.observed.launches;
    let launch = launches.get(&order.order);
    launch.is_some_and(|launch| launch.unaccounted)
}

fn work(work: &WorkRecord) -> OrderKind {
    match work {
        WorkRecord::Launch {
            target,
            slot,
            generation,
            failures,
            zone,
            shape,
            ..
        } => OrderKind::Launch {
            target: target.clone(),
            slot: *slot,
            generation: *generation,
            failures: *failures,
            zone: zone.clone(),
            shape: shape.clone(),
        },
        WorkRecord::Retire { agent, reason } => OrderKind::Retire {
            agent: agent.clone(),
            reason: reason.clone(),
        },
    }
}

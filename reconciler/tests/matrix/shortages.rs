//! A place without room, or without a worker that takes orders, is left out for a while, and the next is taken: from the order
//! that failed to the next launch.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::execute::{Skipped, execute};
use easyenclave::observe::observe;
use easyenclave::orders::claim;
use easyenclave::revision::Revision;
use easyenclave_plan::{Action, CancelReason, WaitReason, plan};
use easyenclave_schemas::records::{OrderPhase, OrderRecord};
use easyenclave_schemas::wire::{ClaimRequest, InventoryRequest, OrderReport, OrderUpdate};
use easyenclave_schemas::{FailureCause, OrderId, Spot, TargetName};
use serde_json::json;

use crate::place::{Place, name};
use crate::worker::{asks, report};

fn spot(zone: &str) -> Spot {
    Spot {
        provider: name("local"),
        datacenter: name("local"),
        zone: Some(name(zone)),
        shape: Some(name("c3-4")),
    }
}

/// One agent is wanted, in `a` or else in `b`, and a worker has listed that it has none.
fn wanting() -> Place {
    let place = Place::new(&json!({}));
    let revision = place.world.revision().expect("a revision");
    let mut revision = Revision::clone(&revision);
    let target = revision
        .desired
        .targets
        .get_mut(&name::<TargetName>("tiny"));
    let target = target.expect("the target");
    (target.min, target.spots) = (1, vec![spot("a"), spot("b")]);
    place.world.adopt(Arc::new(revision));
    place.clock.forward(Duration::from_secs(60));
    place.list("w-1", &[]);
    place
}

/// The worker takes the order that is open, and there is no room. Answers the order.
async fn no_room(place: &Place) -> OrderId {
    let order = place.take("w-1").await.expect("an order");
    place.clock.forward(Duration::from_secs(1));
    let failed = OrderUpdate {
        cause: Some(FailureCause::NoCapacity),
        ..report("w-1", order.fence, OrderReport::Failed)
    };
    let answer = place.tell(&order.order_id, failed).await;
    answer.expect("taken in");
    order.order_id
}

fn spot_of(place: &Place, order: &OrderId) -> Spot {
    let record = place.world.journal.read().orders[order].clone();
    record.spot().expect("a launch")
}

#[tokio::test]
async fn a_launch_without_room_goes_to_the_next_place_and_comes_back_after_a_growing_pause() {
    let place = wanting();
    place.pass().await;
    let first = no_room(&place).await;
    assert_eq!(spot_of(&place, &first), spot("a"));
    let report = place.pass().await;
    assert_eq!(report.observed.shortages[&spot("a")].failures, 1);
    let second = no_room(&place).await;
    assert_eq!(spot_of(&place, &second), spot("b"));
    assert_eq!(spot_of(&place, &first), spot("a"), "it is remembered");
    let report = place.pass().await;
    assert!(report.plan.actions.is_empty(), "{:?}", report.plan);
    let short = WaitReason::PlacesShort {
        places: 2,
        cause: FailureCause::NoCapacity,
    };
    assert!(report.next.waits.iter().any(|wait| wait.reason == short));
    place.clock.forward(Duration::from_secs(30));
    place.pass().await;
    let third = no_room(&place).await;
    assert_eq!(spot_of(&place, &third), spot("a"));
    let shortage = place.pass().await.observed.shortages[&spot("a")].clone();
    assert_eq!(shortage.failures, 2);
    let pause = shortage.until.since(place.clock.now());
    assert!(pause > Duration::from_secs(55) && pause <= Duration::from_secs(60));
}

fn plain(datacenter: &str) -> Spot {
    Spot {
        provider: name("local"),
        datacenter: name(datacenter),
        zone: None,
        shape: None,
    }
}

/// The worker of the preferred place has listed that it has no machines, and is away since then.
fn with_a_worker_away() -> Place {
    let place = wanting();
    let revision = place.world.revision().expect("a revision");
    let mut revision = Revision::clone(&revision);
    let target = revision
        .desired
        .targets
        .get_mut(&name::<TargetName>("tiny"))
        .expect("the target");
    target.datacenter = name("near");
    target.spots = vec![plain("near"), plain("local")];
    place.world.adopt(Arc::new(revision));
    let listing = InventoryRequest {
        worker_id: name("w-near"),
        provider: name("local"),
        datacenter: name("near"),
        fleet: None,
        project: None,
        units: Vec::new(),
    };
    place.world.presence.inventory(&listing, place.clock.now());
    place
}

#[tokio::test]
async fn where_a_worker_is_away_its_launches_go_to_the_next_place_and_come_back_after_a_pause() {
    let place = with_a_worker_away();
    place.pass().await;
    let request = ClaimRequest {
        datacenter: Some(name("local")),
        ..asks("w-1")
    };
    let claimed = claim(&place.world, &request).await.expect("answered");
    assert!(claimed.order.is_none(), "it is for the other one");
    place.clock.forward(Duration::from_secs(60));
    let report = place.pass().await;
    let cancelled = report.plan.actions.iter().any(|action| {
        let expired = CancelReason::Expired(FailureCause::NotClaimed);
        matches!(action, Action::Cancel { reason, .. } if *reason == expired)
    });
    assert!(cancelled, "{:?}", report.plan);
    let report = place.pass().await;
    let shortage = &report.observed.shortages[&plain("near")];
    assert_eq!(shortage.cause, FailureCause::NotClaimed);
    let order = no_room(&place).await;
    assert_eq!(spot_of(&place, &order), plain("local"));
    place.clock.forward(Duration::from_secs(30));
    place.pass().await;
    let records = place.world.journal.read();
    let is_open = |order: &OrderRecord| order.state == OrderPhase::Open;
    let open = records.orders.values().find(|order| is_open(order));
    assert_eq!(open.expect("an order").spot(), Some(plain("near")));
}

#[tokio::test]
async fn an_order_that_is_claimed_at_the_last_moment_stays_with_its_worker() {
    let place = with_a_worker_away();
    place.pass().await;
    place.clock.forward(Duration::from_secs(60));
    let (revision, now) = (
        place.world.revision().expect("a revision"),
        place.clock.now(),
    );
    let observed = observe(&place.world, &revision, now);
    let plan = plan(&revision.desired, &observed, now);
    let order = place.take("w-near").await.expect("an order").order_id;
    let outcomes = execute(&place.world, &revision, &plan, now).await;
    let outcomes = outcomes.expect("kept");
    let results: Vec<_> = outcomes.iter().map(|outcome| outcome.result).collect();
    assert_eq!(results, [Err(Skipped::Overtaken)]);
    let state = place.world.journal.read().orders[&order].state;
    assert_eq!(state, OrderPhase::Claimed);
}

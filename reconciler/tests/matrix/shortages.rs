//! A place without room is left out for a while, and the next is taken: from the order that failed to the next launch.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::orders::{claim, update};
use easyenclave::pass::{Report, pass};
use easyenclave::revision::Revision;
use easyenclave_plan::WaitReason;
use easyenclave_schemas::wire::{ClaimRequest, InventoryRequest, OrderReport, OrderUpdate};
use easyenclave_schemas::{FailureCause, OrderId, Spot, TargetName};
use serde_json::json;

use crate::place::{Place, name};

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
    let listing = InventoryRequest {
        worker_id: name("w-1"),
        provider: name("local"),
        datacenter: name("local"),
        units: Vec::new(),
    };
    place.world.presence.inventory(&listing, place.clock.now());
    place
}

async fn turn(place: &Place) -> Report {
    let revision = place.world.revision().expect("a revision");
    let report = pass(&place.world, revision, place.clock.now()).await;
    report.expect("kept")
}

/// The worker takes the order that is open, and there is no room. Answers the order.
async fn no_room(place: &Place) -> OrderId {
    let request = ClaimRequest {
        worker_id: name("w-1"),
        provider: name("local"),
        datacenter: None,
        node_size: None,
        in_hand: Vec::new(),
        wait_millis: 0,
        work: None,
    };
    let claimed = claim(&place.world, &request).await.expect("answered");
    let order = claimed.order.expect("an order");
    place.clock.forward(Duration::from_secs(1));
    let failed = OrderUpdate {
        worker_id: name("w-1"),
        fence: order.fence,
        status: OrderReport::Failed,
        error: None,
        cause: Some(FailureCause::NoCapacity),
        console: None,
        stage: None,
    };
    let answer = update(&place.world, &order.order_id, failed).await;
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
    turn(&place).await;
    let first = no_room(&place).await;
    assert_eq!(spot_of(&place, &first), spot("a"));
    let report = turn(&place).await;
    assert_eq!(report.observed.shortages[&spot("a")].failures, 1);
    let second = no_room(&place).await;
    assert_eq!(spot_of(&place, &second), spot("b"));
    assert_eq!(spot_of(&place, &first), spot("a"), "it is remembered");
    let report = turn(&place).await;
    assert!(report.plan.actions.is_empty(), "{:?}", report.plan);
    let short = WaitReason::PlacesShort {
        places: 2,
        cause: FailureCause::NoCapacity,
    };
    assert!(report.next.waits.iter().any(|wait| wait.reason == short));
    place.clock.forward(Duration::from_secs(30));
    turn(&place).await;
    let third = no_room(&place).await;
    assert_eq!(spot_of(&place, &third), spot("a"));
    let shortage = turn(&place).await.observed.shortages[&spot("a")].clone();
    assert_eq!(shortage.failures, 2);
    let pause = shortage.until.since(place.clock.now());
    assert!(pause > Duration::from_secs(55) && pause <= Duration::from_secs(60));
}

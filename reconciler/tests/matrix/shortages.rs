//! A place without room is left out for a while, and the next is taken: from the order that failed to the next launch.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::revision::Revision;
use easyenclave_plan::WaitReason;
use easyenclave_schemas::wire::{OrderReport, OrderUpdate};
use easyenclave_schemas::{FailureCause, OrderId, Spot, TargetName};
use serde_json::json;

use crate::place::{Place, name};
use crate::worker::report;

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

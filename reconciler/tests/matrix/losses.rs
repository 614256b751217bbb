//! Agents that register and die at once, again and again: their launches rest as those that never register do.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::orders::{claim, update};
use easyenclave::pass::pass;
use easyenclave_schemas::records::OrderPhase;
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{
    ClaimRequest, InventoryRequest, Order, OrderReport, OrderUpdate, OrderWork,
};
use serde_json::json;

use crate::place::{Agent, Place, name};

const SECOND: Duration = Duration::from_secs(1);

/// A second in the life of a fleet whose machines are gone as soon as their agents are in. Answers the launches that
/// were carried out.
async fn second(place: &Place, model: &Agent) -> u32 {
    place.clock.forward(SECOND);
    let now = place.clock.now();
    let listing = InventoryRequest {
        worker_id: name("worker"),
        provider: name("local"),
        datacenter: name("local"),
        units: Vec::new(),
    };
    place.world.presence.inventory(&listing, now);
    let revision = place.world.revision().expect("a revision");
    pass(&place.world, revision, now).await.expect("a pass");
    let mut launched = 0;
    while let Some(order) = take(place).await {
        match &order.work {
            OrderWork::Launch(_) => {
                launched += 1;
                let agent = Agent {
                    order: order.order_id,
                    key: Keypair::generate().expect("randomness"),
                    body: model.body.clone(),
                };
                place.join(&agent).await.expect("accepted");
            }
            OrderWork::Retire { .. } => {
                let report = OrderUpdate {
                    worker_id: name("worker"),
                    fence: order.fence,
                    status: OrderReport::Removed,
                    error: None,
                };
                let removed = update(&place.world, &order.order_id, report).await;
                removed.expect("it holds the order");
            }
        }
    }
    launched
}

/// The next order for the worker.
async fn take(place: &Place) -> Option<Order> {
    let request = ClaimRequest {
        worker_id: name("worker"),
        provider: name("local"),
        datacenter: None,
        node_size: None,
        in_hand: Vec::new(),
        wait_millis: 0,
        work: None,
    };
    let claimed = claim(&place.world, &request).await;
    claimed.expect("answered").order
}

#[tokio::test]
async fn agents_that_die_at_once_are_launched_ever_more_rarely() {
    let place = Place::new(&json!({}));
    let model = place.agent().await;
    place.set(&model.order, OrderPhase::Cancelled).await;
    let mut revision = place.world.revision().expect("a revision").as_ref().clone();
    for target in revision.desired.targets.values_mut() {
        target.min = 1;
    }
    place.world.adopt(Arc::new(revision));
    let mut launched = [0; 2];
    for launched in &mut launched {
        for _ in 0..300 {
            *launched += second(&place, &model).await;
        }
    }
    let [first, then] = launched;
    assert!(
        (4..=20).contains(&first),
        "{first} in the first five minutes"
    );
    assert!(then <= 4, "{then} in the next five");
}

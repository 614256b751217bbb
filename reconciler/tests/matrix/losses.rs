//! Agents that register and die at once, again and again: their launches rest, though not as long as those that never
//! register. Those that their worker ends on purpose do not count.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{InventoryRequest, Order, OrderReport, OrderWork, Unit};
use serde_json::json;

use crate::place::{Agent, Place, name};
use crate::worker::report;

/// A second in the life of a fleet whose machines are gone as soon as their agents are in. Answers the launches that
/// were carried out.
async fn second(place: &Place, model: &Agent) -> u32 {
    let launched = launches(place, model).await;
    u32::try_from(launched.len()).expect("few")
}

/// A second later, the worker lists the machines of all agents as dead, but for those that it took along.
fn list_dead(place: &Place) {
    place.clock.forward(Duration::from_secs(1));
    let dead = |order: &OrderRecord| {
        let launch = matches!(order.work, WorkRecord::Launch { .. });
        launch && order.state == OrderPhase::Fulfilled
    };
    let records = place.world.journal.read();
    let dead = records.orders.values().filter(|order| dead(order));
    let unit = |order: &Arc<OrderRecord>| Unit {
        order_id: order.order.clone(),
        alive: false,
        fence: Some(1),
    };
    let listing = InventoryRequest {
        worker_id: name("worker"),
        provider: name("local"),
        datacenter: name("local"),
        fleet: None,
        project: None,
        units: dead.map(unit).collect(),
    };
    let now = place.clock.now();
    place.world.presence.inventory(&listing, now);
}

/// The same with the launches themselves.
async fn launches(place: &Place, model: &Agent) -> Vec<Order> {
    list_dead(place);
    place.pass().await;
    let mut launched = Vec::new();
    while let Some(order) = place.take("worker").await {
        match &order.work {
            OrderWork::Launch(_) => {
                let agent = Agent {
                    order: order.order_id.clone(),
                    key: Keypair::generate().expect("randomness"),
                    body: model.body.clone(),
                };
                place.join(&agent).await.expect("accepted");
                launched.push(order);
            }
            OrderWork::Retire { .. } => {
                remove(place, &order, order.fence).await;
            }
        }
    }
    launched
}

/// The worker has removed a machine, and says under which claim. Answers what became of the order.
async fn remove(place: &Place, order: &Order, fence: u64) -> Option<String> {
    let said = report("worker", fence, OrderReport::Removed);
    let removed = place.tell(&order.order_id, said).await;
    removed.ok().map(|order| order.status)
}

/// A place whose target wants one agent, and has none.
async fn wanting() -> (Place, Agent) {
    let place = Place::new(&json!({}));
    let model = place.agent().await;
    place.set(&model.order, OrderPhase::Cancelled).await;
    let mut revision = place.world.revision().expect("a revision").as_ref().clone();
    for target in revision.desired.targets.values_mut() {
        target.min = 1;
    }
    place.world.adopt(Arc::new(revision));
    (place, model)
}

#[tokio::test]
async fn agents_that_die_at_once_are_launched_more_and_more_rarely_and_then_a_few_times_a_minute() {
    let (place, model) = wanting().await;
    let mut launched = [0; 2];
    for launched in &mut launched {
        for _ in 0..300 {
            *launched += second(&place, &model).await;
        }
    }
    let [first, then] = launched;
    assert!(
        (15..=24).contains(&first),
        "{first} in the first five minutes"
    );
    assert!((12..=16).contains(&then), "{then} in the next five");
}

/// A fleet that is stopped and started again and again, as `up` on a laptop.
#[tokio::test]
async fn agents_that_their_worker_ends_on_purpose_are_launched_again_without_a_rest() {
    let (place, model) = wanting().await;
    let mut launched = 0;
    for _ in 0..4 {
        for order in launches(&place, &model).await {
            launched += 1;
            let said = remove(&place, &order, order.fence).await;
            assert_eq!(said.as_deref(), Some("cancelled"));
        }
        // Two listings prove the machine gone, and its order is over before the next is due.
        launched += second(&place, &model).await;
    }
    assert_eq!(launched, 4);
}

#[tokio::test]
async fn the_word_of_an_overtaken_claim_ends_no_launch() {
    let (place, model) = wanting().await;
    let launched = launches(&place, &model).await;
    let [order] = &launched[..] else {
        panic!("{} launches", launched.len())
    };
    assert_eq!(remove(&place, order, order.fence + 1).await, None);
    let records = place.world.journal.read();
    let state = records.orders[&order.order_id].state;
    assert_eq!(state, OrderPhase::Fulfilled);
}

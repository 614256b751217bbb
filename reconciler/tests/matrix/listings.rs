//! What a worker's listings prove: only a complete one that was begun after an agent registered says that its machine
//! is gone. And what its reports do: a removal ends an agent's record, and only of whoever holds the order.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::api::Refused;
use easyenclave::clock::Clock;
use easyenclave::observe::observe;
use easyenclave::orders::{claim, update};
use easyenclave_plan::{Liveness, Subject, WaitReason};
use easyenclave_schemas::records::{OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::wire::{
    ClaimRequest, InventoryRequest, OrderReport, OrderStatus, OrderUpdate, Unit, WorkKind, routes,
};
use easyenclave_schemas::{OrderId, StageTimes};
use serde_json::json;

use crate::api::serve;
use crate::document::Worker;
use crate::launchers::KEY;
use crate::place::{Agent, Place, name};

const SECOND: Duration = Duration::from_secs(1);

/// Who was not heard of for so long is silent.
const SILENT: Duration = Duration::from_secs(8);

/// A second later, this worker lists these machines, each alive or dead.
fn list(place: &Place, worker: &str, units: &[(&OrderId, bool)]) {
    place.clock.forward(SECOND);
    let unit = |(order, alive): &(&OrderId, bool)| Unit {
        order_id: (*order).clone(),
        alive: *alive,
        fence: Some(1),
    };
    let listing = InventoryRequest {
        worker_id: name(worker),
        provider: name("local"),
        datacenter: name("local"),
        fleet: None,
        project: None,
        units: units.iter().map(unit).collect(),
    };
    place.world.presence.inventory(&listing, place.clock.now());
}

/// The agent's heartbeat comes.
fn hear(place: &Place, agent: &Agent, sequence: u64) {
    let beat = json!({"sequence": sequence, "boot_id": "boot", "address": "http://127.0.0.1:9", "generation": 0});
    let beat = serde_json::from_value(beat).expect("a heartbeat");
    let now = place.clock.now();
    place
        .world
        .presence
        .heartbeat(&agent.order.agent(), beat, now);
}

fn is_gone(place: &Place, agent: &Agent) -> bool {
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    observed.agents[&agent.order.agent()].liveness == Liveness::Gone
}

#[tokio::test]
async fn a_machine_is_gone_by_the_second_listing_without_it_and_not_by_the_first() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    place.clock.forward(SILENT);
    list(&place, "worker", &[]);
    assert!(!is_gone(&place, &agent), "it may have been begun before");
    list(&place, "worker", &[]);
    assert!(
        is_gone(&place, &agent),
        "this one was begun after the first"
    );
}

/// As of a worker that was started with the settings of another fleet.
#[tokio::test]
async fn an_agent_that_is_heard_is_not_gone_because_a_listing_lacks_it() {
    let place = Place::new(&json!({}));
    let mut revision = place.world.revision().expect("a revision").as_ref().clone();
    let targets = revision.desired.targets.values_mut();
    targets.for_each(|target| target.min = 1);
    place.world.adopt(Arc::new(revision));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let id = agent.order.agent();
    for sequence in 1..10 {
        hear(&place, &agent, sequence);
        list(&place, "worker", &[]);
        assert!(!is_gone(&place, &agent));
    }
    let report = place.pass().await;
    assert!(report.observed.unlisted.contains(&id));
    let said = report.next.waits.iter();
    let mut said = said.filter(|wait| wait.subject == Subject::Agent(id.clone()));
    assert!(said.any(|wait| wait.reason == WaitReason::AgentUnlisted));
    list(&place, "worker", &[(&agent.order, true)]);
    assert!(place.pass().await.observed.unlisted.is_empty());
    list(&place, "worker", &[]);
    list(&place, "worker", &[]);
    place.clock.forward(SILENT);
    assert!(is_gone(&place, &agent), "it is not listed and silent");
}

/// Sends a listing over HTTP that names these. Answers the status and the code of a refusal.
async fn lists(place: &Place, fleet: Option<&str>, project: Option<&str>) -> (u16, String) {
    let served = serve(place).await;
    let listing = json!({
        "worker_id": "worker", "provider": "local", "datacenter": "local", "units": [],
        "fleet": fleet, "project": project,
    });
    let body = listing.to_string().into_bytes();
    let worker = Worker::of(&served).await;
    let (status, body) = worker.say(routes::INVENTORY, Some(KEY), body).await;
    (status, body["code"].as_str().unwrap_or_default().into())
}

#[tokio::test]
async fn a_listing_of_another_fleet_or_project_is_refused_and_counts_for_nothing() {
    let place = Place::new(&json!({}));
    place.provided(&json!({"gcp": {
        "project": "prod", "image": "projects/p/global/images/i", "zones": ["europe-west4-a"],
        "sizes": {"tiny": {"machineTypes": ["c3-standard-4"]}},
    }}));
    for (fleet, project, code) in [
        (Some("staging"), Some("prod"), "wrong_fleet"),
        (Some("fleet"), Some("staging"), "wrong_project"),
        (None, Some("staging"), "wrong_project"),
    ] {
        let (status, said) = lists(&place, fleet, project).await;
        assert_eq!((status, said.as_str()), (409, code));
    }
    assert!(place.world.presence.listings().is_empty());
    let refusals = place.world.refusals.list();
    assert!(refusals.iter().any(|refusal| refusal.subject == "worker"));
    for (fleet, project) in [(Some("fleet"), Some("prod")), (None, None)] {
        assert_eq!(lists(&place, fleet, project).await.0, 200);
    }
    assert_eq!(place.world.presence.listings().len(), 1);
}

#[tokio::test]
async fn a_listing_that_was_under_way_while_an_agent_registered_proves_nothing() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    list(&place, "worker", &[]);
    place
        .join(&agent)
        .await
        .expect("accepted at that very time");
    assert!(!is_gone(&place, &agent));
    list(&place, "worker", &[]);
    assert!(!is_gone(&place, &agent), "the one before is no later");
    list(&place, "worker", &[(&agent.order, true)]);
    assert!(!is_gone(&place, &agent), "it is there");
    list(&place, "worker", &[(&agent.order, false)]);
    assert!(is_gone(&place, &agent), "what is dead is gone at once");
}

#[tokio::test]
async fn another_workers_listings_prove_nothing() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    for _ in 0..3 {
        list(&place, "another", &[]);
    }
    assert!(!is_gone(&place, &agent));
}

/// An order to retire this agent, claimed by `worker`. Answers the order and the number of the claim.
async fn retire(place: &Place, agent: &Agent) -> (OrderId, u64) {
    let order = OrderRecord {
        order: name("retire-1"),
        datacenter: name("local"),
        provider: name("local"),
        worker: Some(name("worker")),
        work: WorkRecord::Retire {
            agent: agent.order.agent(),
            reason: "excess".into(),
        },
        state: OrderPhase::Open,
        opened_at: place.clock.now(),
        claim: None,
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
    };
    let opened = place.world.journal.transact(move |_, change| {
        change.put_order(order);
        Ok::<_, ()>(())
    });
    opened.await.expect("kept").expect("put");
    let request = ClaimRequest {
        worker_id: name("worker"),
        provider: name("local"),
        datacenter: None,
        node_size: None,
        in_hand: Vec::new(),
        wait_millis: 0,
        work: Some(WorkKind::Retire),
    };
    let claimed = claim(&place.world, &request).await.expect("answered");
    let order = claimed.order.expect("an order");
    assert!(claimed.bootstrap_token.is_none(), "nobody joins by it");
    (order.order_id, order.fence)
}

async fn removed(
    place: &Place,
    order: &OrderId,
    worker: &str,
    fence: u64,
) -> Result<OrderStatus, Refused> {
    let update_of = OrderUpdate {
        worker_id: name(worker),
        fence,
        status: OrderReport::Removed,
        error: None,
        cause: None,
        console: None,
        stage: None,
        remains: false,
    };
    update(&place.world, order, update_of).await
}

fn code(refused: Result<OrderStatus, Refused>) -> String {
    refused.expect_err("refused").code
}

#[tokio::test]
async fn a_removal_ends_the_record_of_its_agent_and_leaves_no_orphan() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    list(&place, "worker", &[(&agent.order, true)]);
    let (order, fence) = retire(&place, &agent).await;
    let status = removed(&place, &order, "worker", fence).await;
    let status = status.expect("it holds the order");
    assert_eq!(
        (status.status.as_str(), status.claim_expires_at),
        ("fulfilled", None)
    );
    assert_eq!(status.epoch, Some(place.world.epoch));
    let records = place.world.journal.read().clone();
    assert!(records.agents.is_empty() && !records.orders.contains_key(&order));
    // The worker's next listing is still to come.
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    assert_eq!(observed.orphans.len(), 0, "{:?}", observed.orphans);
    let again = removed(&place, &order, "worker", fence).await;
    assert_eq!(code(again), "order_not_found");
}

#[tokio::test]
async fn a_removal_counts_for_whoever_holds_the_order_and_for_no_launch() {
    let place = Place::new(&json!({}));
    let (agent, next) = (place.agent().await, place.agent().await);
    place.join(&agent).await.expect("accepted");
    let (order, fence) = retire(&place, &agent).await;
    for (worker, fence) in [("another", fence), ("worker", fence + 1), ("worker", 0)] {
        let refused = removed(&place, &order, worker, fence).await;
        assert_eq!(code(refused), "claim_lost", "{worker} {fence}");
    }
    let refused = removed(&place, &next.order, "worker", 1).await;
    assert_eq!(code(refused), "wrong_report");
    let records = place.world.journal.read();
    assert!(records.agents.contains_key(&agent.order.agent()));
    assert!(records.orders.contains_key(&order));
    assert_eq!(records.orders[&next.order].state, OrderPhase::Provisioning);
}

//! Registration after the store was lost: a worker's listing and the agent's own token stand in for the record.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::history::forget_ended;
use easyenclave::observe::observe;
use easyenclave_plan::{Action, Subject, Wait, WaitReason};
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::records::{OrderPhase, WorkRecord};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{InventoryRequest, Unit};
use easyenclave_schemas::{Generation, OrderId};
use serde_json::json;

use crate::place::{Agent, Mood, Place, name};

/// An agent whose order no record knows, in this slot.
async fn forgotten(place: &Place, slot: u32) -> Agent {
    let any = place.agent().await;
    let id = any.order.clone();
    let dropped = place.world.journal.transact(move |_, change| {
        change.drop_order(&id);
        Ok::<_, ()>(())
    });
    dropped.await.expect("kept").expect("dropped");
    Agent {
        order: OrderId::launch(&name("fleet"), &name("tiny"), slot, 3),
        ..any
    }
}

/// A worker lists these machines, and a pass looks at them.
fn list(place: &Place, units: &[(&OrderId, u64)]) {
    let unit = |(order, fence): &(&OrderId, u64)| Unit {
        order_id: (*order).clone(),
        alive: true,
        fence: Some(*fence),
    };
    let listing = InventoryRequest {
        worker_id: name("worker-7"),
        provider: name("local"),
        datacenter: name("local"),
        fleet: None,
        project: None,
        units: units.iter().map(unit).collect(),
    };
    let now = place.clock.now();
    place.world.presence.inventory(&listing, now);
    let revision = place.world.revision().expect("a revision");
    observe(&place.world, &revision, now);
}

#[tokio::test]
async fn an_agent_that_a_worker_lists_is_taken_in_where_it_was() {
    let place = Place::new(&json!({}));
    let agent = forgotten(&place, 2).await;
    let refused = place.join(&agent).await.expect_err("nobody lists it");
    assert_eq!(refused.code, ReasonCode::OrderUnknown);
    list(&place, &[(&agent.order, 1)]);
    let nonce = place.nonce().await;
    let mut request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    request.generation = Generation(7);
    place.register(request).await.expect("it is taken in");
    let records = place.world.journal.read();
    let order = &records.orders[&agent.order];
    assert_eq!(order.state, OrderPhase::Fulfilled);
    assert!(matches!(
        order.work,
        WorkRecord::Launch {
            slot: 2,
            generation: 3,
            ..
        }
    ));
    let heard = place.world.presence.heard(&agent.order.agent());
    let said = heard.expect("it has said what it runs").acknowledged;
    assert_eq!(said, Generation(7), "it is not taken for idle");
    let record = &records.agents[&agent.order.agent()];
    assert_eq!(
        record.worker.as_str(),
        "worker-7",
        "its machine is that worker's"
    );
}

/// Whether a pass, this long after the last listing, destroys the agent's machine; and whether it is held for what judges it.
async fn goes(place: &Place, agent: &Agent, after: Duration) -> (bool, bool) {
    place.clock.forward(after);
    list(place, &[(&agent.order, 1)]);
    let plan = place.pass().await.plan;
    let destroyed = |action: &Action| matches!(action, Action::Retire { agent: of, .. } if *of == agent.order.agent());
    let subject = Subject::Order(agent.order.clone());
    let waits = |wait: &Wait| wait.subject == subject && wait.reason == WaitReason::TrustUnknown;
    (
        plan.actions.iter().any(destroyed),
        plan.waits.iter().any(waits),
    )
}

const HALF: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_machine_stays_for_as_long_as_what_judges_its_agent_is_away() {
    let place = Place::new(&json!({}));
    let agent = forgotten(&place, 2).await;
    list(&place, &[(&agent.order, 1)]);
    place.source.is(Mood::Unavailable);
    for _ in 0..5 {
        let refused = place.join(&agent).await.expect_err("nobody can judge it");
        assert_eq!(refused.code, ReasonCode::DependencyUnavailable);
        assert_eq!(goes(&place, &agent, HALF).await, (false, true));
    }
    place.source.is(Mood::Answers);
    place.join(&agent).await.expect("it is taken in");
    assert_eq!(goes(&place, &agent, HALF).await, (false, false));
}

#[tokio::test]
async fn a_machine_whose_agent_asks_no_more_or_is_refused_for_itself_is_nobodys() {
    let place = Place::new(&json!({}));
    let agent = forgotten(&place, 2).await;
    list(&place, &[(&agent.order, 1)]);
    place.source.is(Mood::Unavailable);
    place.join(&agent).await.expect_err("nobody can judge it");
    assert_eq!(goes(&place, &agent, HALF).await, (false, true));
    assert_eq!(goes(&place, &agent, HALF).await, (true, false), "silent");
    let place = Place::new(&json!({}));
    let agent = forgotten(&place, 2).await;
    list(&place, &[(&agent.order, 1)]);
    place.source.is(Mood::Unavailable);
    place.join(&agent).await.expect_err("nobody can judge it");
    place.source.is(Mood::Answers);
    let (own, other) = (place.nonce().await, place.nonce().await);
    let request = place.request(&agent, &own, place.evidence(&agent, &other));
    let refused = place.register(request).await.expect_err("not bound");
    assert_eq!(refused.code, ReasonCode::BindingMismatch);
    assert_eq!(goes(&place, &agent, HALF).await, (true, false), "refused");
}

#[tokio::test]
async fn another_key_under_the_same_token_is_a_stranger_from_then_on() {
    let place = Place::new(&json!({}));
    let mut agent = forgotten(&place, 2).await;
    list(&place, &[(&agent.order, 1)]);
    place.join(&agent).await.expect("it is taken in");
    agent.key = Keypair::generate().expect("randomness");
    let refused = place.join(&agent).await.expect_err("it is in already");
    assert_eq!(refused.code, ReasonCode::TokenUsed);
}

#[tokio::test]
async fn a_token_of_another_claim_than_the_machines_is_refused() {
    let place = Place::new(&json!({}));
    let agent = forgotten(&place, 2).await;
    list(&place, &[(&agent.order, 2)]);
    let refused = place
        .join(&agent)
        .await
        .expect_err("its token is of claim 1");
    assert_eq!(refused.code, ReasonCode::TokenWrong);
}

#[tokio::test]
async fn a_machine_whose_slot_is_recorded_belongs_to_nothing() {
    let place = Place::new(&json!({}));
    // This one's order is recorded, and has slot 1.
    let _known = place.agent().await;
    let agent = forgotten(&place, 1).await;
    list(&place, &[(&agent.order, 1)]);
    let refused = place.join(&agent).await.expect_err("its slot is another's");
    assert_eq!(refused.code, ReasonCode::OrderUnknown);
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    let orphan = &observed.orphans[&agent.order];
    assert_eq!(
        (orphan.target.clone(), orphan.slot),
        (Some(name("tiny")), None)
    );
}

#[tokio::test]
async fn ended_orders_of_a_removed_target_are_forgotten_but_for_those_of_living_machines() {
    let place = Place::new(&json!({}));
    let (gone, there) = (place.agent().await, place.agent().await);
    for agent in [&gone, &there] {
        place.set(&agent.order, OrderPhase::Cancelled).await;
    }
    list(&place, &[(&there.order, 1)]);
    let kept = || {
        place
            .world
            .journal
            .read()
            .orders
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut revision = place.world.revision().expect("a revision").as_ref().clone();
    forget_ended(&place.world).await.expect("kept");
    assert_eq!(kept().len(), 2, "their target is wanted");
    revision.desired.targets.clear();
    place.world.adopt(Arc::new(revision));
    forget_ended(&place.world).await.expect("kept");
    assert_eq!(kept(), std::slice::from_ref(&there.order));
}

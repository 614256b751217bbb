//! Who may make the machine of a launch when its claim has run out: its holder at once, and another worker only when
//! surely none is there. What is over counts against its target for just as long.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::history::account;
use easyenclave::leap::Leaps;
use easyenclave::observe::observe;
use easyenclave::revision::Revision;
use easyenclave_plan::{CancelReason, WaitReason, plan};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::records::{OrderPhase, OrderRecord};
use easyenclave_schemas::wire::{CLAIM, OrderReport, OrderUpdate, OrderWork};
use serde_json::json;

use crate::place::{Agent, Place};
use crate::protocol::put;
use crate::worker::report;

const SECOND: Duration = Duration::from_secs(1);

/// `timing.workerLostAfter` of every place.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// A launch that nobody has held.
async fn open(place: &Place) -> OrderId {
    let id = place.agent().await.order;
    let mut order = OrderRecord::clone(&place.world.journal.read().orders[&id]);
    (order.state, order.claim) = (OrderPhase::Open, None);
    put(place, order).await;
    id
}

/// A launch that worker `a` holds.
async fn held() -> (Place, OrderId) {
    let place = Place::new(&json!({}));
    let order = open(&place).await;
    let taken = place.take("a").await.expect("it is open");
    assert_eq!(taken.order_id, order);
    (place, order)
}

async fn fence(place: &Place, worker: &str) -> Option<u64> {
    place.take(worker).await.map(|order| order.fence)
}

#[tokio::test]
async fn a_claim_that_has_run_out_comes_back_to_its_holder_at_once_and_to_nobody_else() {
    let (place, order) = held().await;
    place.clock.forward(CLAIM * 2);
    assert_eq!(fence(&place, "b").await, None);
    let taken = place.take("a").await.expect("its own");
    assert_eq!((taken.order_id, taken.fence), (order, 1));
}

#[tokio::test]
async fn only_a_listing_that_was_begun_after_a_claim_had_run_out_gives_it_to_another() {
    let (place, order) = held().await;
    place.list("a", &[]);
    place.clock.forward(CLAIM);
    place.list("a", &[]);
    assert_eq!(
        fence(&place, "b").await,
        None,
        "it may have been begun before"
    );
    place.list("b", &[]);
    place.list("b", &[]);
    assert_eq!(
        fence(&place, "b").await,
        None,
        "these are of another worker"
    );
    place.list("a", &[(&order, 1)]);
    assert_eq!(fence(&place, "b").await, None, "the machine is there");
    place.list("a", &[]);
    assert_eq!(fence(&place, "b").await, Some(2));
}

#[tokio::test]
async fn a_worker_that_says_nothing_for_long_loses_what_it_held_and_one_that_speaks_does_not() {
    let (place, _) = held().await;
    place.clock.forward(LOST_AFTER - SECOND);
    assert_eq!(fence(&place, "b").await, None);
    place.list("a", &[]);
    place.clock.forward(LOST_AFTER - SECOND);
    assert_eq!(fence(&place, "b").await, None, "it was heard of since");
    place.clock.forward(SECOND);
    assert_eq!(fence(&place, "b").await, Some(2));
}

/// Whoever takes it over begins anew.
#[tokio::test]
async fn an_order_goes_to_three_workers_and_then_fails_of_its_deadline() {
    let (place, order) = held().await;
    for (worker, expected) in [("b", Some(2)), ("c", Some(3)), ("d", None)] {
        place.clock.forward(LOST_AFTER);
        assert_eq!(fence(&place, worker).await, expected);
    }
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    let plan = plan(&revision.desired, &observed, place.clock.now());
    let expired = plan.actions.iter().any(|action| {
        matches!(action, easyenclave_plan::Action::Cancel { order: of, reason: CancelReason::Expired(_) } if *of == order)
    });
    assert!(expired, "{plan:?}");
}

/// The target wants nothing, so the order is withdrawn.
async fn withdrawn() -> (Place, OrderId) {
    let (place, order) = held().await;
    place.pass().await;
    let state = place.world.journal.read().orders[&order].state;
    assert_eq!(state, OrderPhase::Cancelled);
    (place, order)
}

/// Whether an order that is over counts as one whose machine may be there.
async fn counts(place: &Place, order: &OrderId) -> bool {
    let report = place.pass().await;
    let launch = report.observed.launches.get(order);
    let counts = launch.is_some_and(|launch| launch.unaccounted);
    let said = report.next.waits.iter();
    let said = said.filter(|wait| wait.reason == WaitReason::MachineUnaccounted);
    assert_eq!(said.count(), usize::from(counts));
    counts
}

#[tokio::test]
async fn a_launch_that_was_withdrawn_while_it_was_held_counts_until_its_holder_says_that_nothing_is_left()
 {
    let (place, order) = withdrawn().await;
    assert!(counts(&place, &order).await);
    let refused = place
        .tell(&order, report("b", 1, OrderReport::Removed))
        .await;
    assert!(refused.is_err(), "it is not the holder");
    assert!(counts(&place, &order).await);
    let going = place
        .tell(&order, report("a", 1, OrderReport::Provisioning))
        .await;
    assert_eq!(going.expect("answered").status, "cancelled");
    assert!(counts(&place, &order).await, "it has yet to clean up");
    let gone = place
        .tell(&order, report("a", 1, OrderReport::Removed))
        .await;
    assert_eq!(gone.expect("answered").status, "cancelled");
    assert!(!counts(&place, &order).await);
}

/// A worker that gives a launch up, with or without something left of it.
async fn fails(place: &Place, agent: &Agent, remains: bool) -> String {
    let failed = OrderUpdate {
        remains,
        ..report("worker", 1, OrderReport::Failed)
    };
    let answer = place.tell(&agent.order, failed).await;
    answer.expect("answered").status
}

#[tokio::test]
async fn an_agent_joins_before_its_launch_has_failed_and_never_after() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("it joins");
    assert_eq!(fails(&place, &agent, true).await, "fulfilled");
    let there = |agent: &Agent| {
        let records = place.world.journal.read();
        records.agents.contains_key(&agent.order.agent())
    };
    assert!(there(&agent));
    let late = place.agent().await;
    assert_eq!(fails(&place, &late, true).await, "failed");
    let refused = place.join(&late).await.expect_err("it is over");
    assert_eq!(refused.code, ReasonCode::OrderUnknown);
    assert!(!there(&late));
}

#[tokio::test]
async fn a_launch_that_failed_counts_until_its_worker_has_removed_what_remains() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    for _ in 0..2 {
        assert_eq!(fails(&place, &agent, true).await, "failed");
        assert!(counts(&place, &agent.order).await, "said once or twice");
    }
    assert_eq!(fails(&place, &agent, false).await, "failed");
    assert!(!counts(&place, &agent.order).await);
    let other = place.agent().await;
    assert_eq!(fails(&place, &other, false).await, "failed");
    assert!(
        !counts(&place, &other.order).await,
        "as older workers say it"
    );
}

#[tokio::test]
async fn a_launch_that_was_withdrawn_while_it_was_held_counts_until_a_listing_or_silence_says_so() {
    let (place, order) = withdrawn().await;
    place.clock.forward(CLAIM);
    place.list("a", &[]);
    assert!(
        counts(&place, &order).await,
        "it may have been begun before"
    );
    place.list("a", &[]);
    assert!(!counts(&place, &order).await);
    let (place, order) = withdrawn().await;
    place.clock.forward(LOST_AFTER - SECOND);
    assert!(counts(&place, &order).await);
    place.clock.forward(SECOND);
    assert!(!counts(&place, &order).await);
}

#[tokio::test]
async fn an_order_that_nobody_held_leaves_nothing_behind() {
    let place = Place::new(&json!({}));
    let order = open(&place).await;
    assert!(!counts(&place, &order).await);
}

/// What an order allows this worker.
async fn budget(place: &Place, worker: &str) -> u32 {
    let order = place.take(worker).await.expect("an order");
    match order.work {
        OrderWork::Launch(spec) => spec.max_units,
        OrderWork::Retire { .. } => panic!("no launch"),
    }
}

#[tokio::test]
async fn a_worker_may_have_no_more_than_the_target_less_what_others_have_of_it() {
    let place = Place::new(&json!({}));
    place.provided(&json!({"process": {"maxAgents": 7}}));
    for _ in 0..4 {
        open(&place).await;
    }
    assert_eq!(budget(&place, "a").await, 7, "the provider allows no more");
    let mut revision = Revision::clone(&place.world.revision().expect("a revision"));
    revision
        .desired
        .targets
        .get_mut("tiny")
        .expect("the target")
        .max = 5;
    place.world.adopt(Arc::new(revision));
    assert_eq!(budget(&place, "b").await, 4);
    assert_eq!(budget(&place, "c").await, 3);
    let stranger = "stranger-1".parse().expect("a name");
    place.list("d", &[(&stranger, 1)]);
    assert_eq!(budget(&place, "d").await, 3, "what is nobody's is beside");
}

/// The clock is set ahead by an hour: the holder's own goes on, and so does its claim.
#[tokio::test]
async fn a_claim_lasts_for_its_holder_when_our_clock_is_set_ahead() {
    let (place, order) = held().await;
    place.list("a", &[]);
    let mut leaps = Leaps::default();
    leaps.look(&place.world, place.clock.now()).await;
    place.clock.forward(Duration::from_secs(3600));
    leaps.look(&place.world, place.clock.now()).await;
    place.clock.forward(SECOND);
    place.list("a", &[]);
    place.list("a", &[]);
    assert_eq!(fence(&place, "b").await, None, "it makes the machine now");
    place.clock.forward(CLAIM);
    place.list("a", &[]);
    place.list("a", &[]);
    let taken = place.take("b").await.expect("nobody makes it any more");
    assert_eq!((taken.order_id, taken.fence), (order, 2));
}

/// What was proved once needs no proof after a restart, when nothing is known of workers.
#[tokio::test]
async fn what_is_surely_gone_is_written_down() {
    let (place, order) = withdrawn().await;
    let unaccounted = || place.world.journal.read().orders[&order].unaccounted;
    account(&place.world).await.expect("written");
    assert!(unaccounted(), "nothing proves it yet");
    place.clock.forward(LOST_AFTER);
    account(&place.world).await.expect("written");
    assert!(!unaccounted());
}

/// Another worker goes by the same name, in another place.
#[tokio::test]
async fn a_listing_of_another_place_proves_nothing() {
    let (place, order) = held().await;
    place.clock.forward(CLAIM);
    for _ in 0..3 {
        place.list_in("far", "a", &[]);
    }
    assert_eq!(fence(&place, "b").await, None);
    for datacenter in ["far", "local", "far", "local"] {
        place.list_in(datacenter, "a", &[]);
    }
    assert_eq!(
        fence(&place, "b").await,
        None,
        "none was begun after its own"
    );
    place.list("a", &[]);
    let taken = place.take("b").await.expect("it is gone");
    assert_eq!((taken.order_id, taken.fence), (order, 2));
}

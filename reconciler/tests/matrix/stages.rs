//! What is kept of a launch that goes on, and of one that fails: stages with their times, cause, console.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::observe::observe;
use easyenclave::orders::update;
use easyenclave_schemas::records::{OrderPhase, OrderRecord};
use easyenclave_schemas::wire::{CONSOLE, OrderReport, OrderUpdate, routes};
use easyenclave_schemas::{FailureCause, OrderId, Stage, Timestamp};
use serde_json::json;

use crate::api::{post, serve};
use crate::place::{Agent, Place};
use crate::worker::report;

/// An order that a worker has just taken, and the number of the claim.
async fn taken(place: &Place, worker: &str) -> (Agent, u64) {
    let agent = place.agent().await;
    place.set(&agent.order, OrderPhase::Open).await;
    let fence = take(place, worker).await.expect("an order");
    (agent, fence)
}

async fn take(place: &Place, worker: &str) -> Option<u64> {
    place.take(worker).await.map(|order| order.fence)
}

fn record(place: &Place, order: &OrderId) -> Arc<OrderRecord> {
    Arc::clone(&place.world.journal.read().orders[order])
}

async fn ask(place: &Place, url: &str, order: &OrderId) {
    place.clock.forward(Duration::from_secs(1));
    let client = reqwest::Client::builder().no_proxy().build();
    let call = client.expect("a client");
    let call = call.get(format!("{url}{}?order={order}", routes::CHALLENGE));
    let answer = call.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_failed_launch_keeps_its_cause_and_the_end_of_its_console_without_its_token() {
    let place = Place::new(&json!({}));
    let (agent, fence) = taken(&place, "w-1").await;
    let token = place.world.tokens.bootstrap(&agent.order, fence);
    let console = format!(
        "{}\n\u{1b}[31mtoken {}\r\npanic\n",
        "x".repeat(2 * CONSOLE),
        token.reveal()
    );
    let failed = OrderUpdate {
        cause: Some(FailureCause::MachineDied),
        error: Some(format!("it said\n{}", token.reveal())),
        console: Some(console),
        ..report("w-1", fence, OrderReport::Failed)
    };
    update(&place.world, &agent.order, failed)
        .await
        .expect("taken in");
    let kept = record(&place, &agent.order);
    assert_eq!(kept.cause, Some(FailureCause::MachineDied));
    assert_eq!(kept.error.as_deref(), Some("it said <secret>"));
    let console = kept.console.as_deref().expect("kept");
    assert!(console.len() <= CONSOLE, "{}", console.len());
    assert!(
        console.ends_with("x\n[31mtoken <secret>\npanic\n"),
        "{console}"
    );
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    assert_eq!(
        observed.launches[&agent.order].cause,
        Some(FailureCause::MachineDied)
    );
}

#[tokio::test]
async fn an_older_worker_names_no_cause_and_a_renewal_says_none() {
    let place = Place::new(&json!({}));
    let (agent, fence) = taken(&place, "w-1").await;
    let renewed = report("w-1", fence, OrderReport::Provisioning);
    update(&place.world, &agent.order, renewed)
        .await
        .expect("taken in");
    assert_eq!(record(&place, &agent.order).cause, None);
    let failed = report("w-1", fence, OrderReport::Failed);
    update(&place.world, &agent.order, failed)
        .await
        .expect("taken in");
    let cause = record(&place, &agent.order).cause;
    assert_eq!(cause, Some(FailureCause::NotMade));
}

#[tokio::test]
async fn each_stage_is_noted_once_and_a_claim_by_another_worker_begins_anew() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let (agent, fence) = taken(&place, "w-1").await;
    let times = || record(&place, &agent.order).times;
    let stage = || times().stage(Timestamp::default());
    let now = || place.clock.now();
    assert_eq!(stage(), (Stage::Claimed, now()));
    place.clock.forward(Duration::from_secs(1));
    let made = || OrderUpdate {
        stage: Some(Stage::Made),
        ..report("w-1", fence, OrderReport::Provisioning)
    };
    update(&place.world, &agent.order, made())
        .await
        .expect("taken in");
    let made_at = now();
    assert_eq!(stage(), (Stage::Made, made_at));
    ask(&place, &served.url, &agent.order).await;
    let booted_at = now();
    ask(&place, &served.url, &agent.order).await;
    update(&place.world, &agent.order, made())
        .await
        .expect("taken in");
    assert_eq!(stage(), (Stage::Booted, booted_at));
    assert_eq!(times().made_at, Some(made_at));
    // It is given again to the worker that was started again, and goes on.
    assert_eq!(take(&place, "w-1").await, Some(fence));
    assert_eq!(stage(), (Stage::Booted, booted_at));
    // The first worker is not heard of again.
    place.clock.forward(Duration::from_secs(600));
    assert_eq!(take(&place, "w-2").await, Some(fence + 1));
    assert_eq!(stage(), (Stage::Claimed, now()));
}

#[tokio::test]
async fn a_registration_is_the_last_stage() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let times = record(&place, &agent.order).times;
    assert_eq!(times.registered_at, Some(place.clock.now()));
}

#[tokio::test]
async fn a_machine_that_ends_because_its_evidence_is_refused_has_failed_of_that() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let mut agent = place.agent().await;
    agent.body.mrtd = easyenclave_schemas::evidence::MeasurementDigest::new([9; 48]);
    let nonce = place.nonce().await;
    let request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
    let (status, body) = post(&served, &agent, routes::REGISTER, &request).await;
    assert_ne!(status, 200, "{body}");
    let claim = record(&place, &agent.order).claim.clone().expect("held");
    let failed = OrderUpdate {
        cause: Some(FailureCause::MachineDied),
        ..report(claim.worker.as_str(), claim.fence, OrderReport::Failed)
    };
    update(&place.world, &agent.order, failed)
        .await
        .expect("taken in");
    let cause = record(&place, &agent.order).cause;
    assert_eq!(cause, Some(FailureCause::AttestationRefused));
}

//! Jumps of time: a suspended host, a stopped process, a clock that is set.

use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::leap::Leaps;
use easyenclave::observe::observe;
use easyenclave_plan::Liveness;
use easyenclave_schemas::wire::{CallRefusals, HeartbeatRequest};
use easyenclave_schemas::{AgentId, Generation};
use serde_json::json;

use crate::place::Place;

const HOUR: Duration = Duration::from_secs(3600);

fn liveness(place: &Place, id: &AgentId) -> Liveness {
    let revision = place.world.revision().expect("a revision");
    observe(&place.world, &revision, place.clock.now()).agents[id].liveness
}

/// An agent that was just heard of, and one turn.
async fn heard(place: &Place, leaps: &mut Leaps) -> AgentId {
    let agent = place.agent().await;
    place.join(&agent).await.expect("it joins");
    let beat = HeartbeatRequest {
        sequence: 1,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation(0),
        workload: None,
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    };
    let (id, now) = (agent.order.agent(), place.clock.now());
    place.world.presence.heartbeat(&id, beat, now);
    leaps.look(&place.world, now).await;
    id
}

#[tokio::test]
async fn after_a_suspension_agents_get_their_time_to_be_heard() {
    let (place, mut leaps) = (Place::new(&json!({})), Leaps::default());
    let id = heard(&place, &mut leaps).await;
    place.clock.forward(HOUR);
    let back = place.clock.now();
    leaps.look(&place.world, back).await;
    assert_eq!(liveness(&place, &id), Liveness::Heard);
    place.clock.forward(Duration::from_secs(8));
    let now = place.clock.now();
    leaps.look(&place.world, now).await;
    assert_eq!(liveness(&place, &id), Liveness::Silent(back));
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_silence() {
    let (place, mut leaps) = (Place::new(&json!({})), Leaps::default());
    let id = heard(&place, &mut leaps).await;
    place.clock.back(HOUR);
    let back = place.clock.now();
    leaps.look(&place.world, back).await;
    assert_eq!(liveness(&place, &id), Liveness::Heard);
    place.clock.forward(Duration::from_secs(8));
    assert_eq!(liveness(&place, &id), Liveness::Silent(back));
    let record = place.world.journal.read().agents[&id].clone();
    assert_eq!(
        record.registered_at, back,
        "nothing is dated ahead of the clock"
    );
}

#[tokio::test]
async fn after_a_time_away_agents_that_were_told_to_stop_have_their_time_again() {
    let (place, mut leaps) = (Place::new(&json!({})), Leaps::default());
    let id = heard(&place, &mut leaps).await;
    let (named, told) = (id.clone(), place.clock.now());
    let stops = place.world.journal.transact(move |records, change| {
        let mut record = records.agents[&named].as_ref().clone();
        (record.generation, record.idle_since) = (Generation(1), Some(told));
        change.put_agent(record);
        Ok::<_, ()>(())
    });
    stops.await.expect("kept").expect("put");
    let idle_since = || place.world.journal.read().agents[&id].idle_since;
    place.clock.forward(Duration::from_secs(5));
    let now = place.clock.now();
    leaps.look(&place.world, now).await;
    assert_eq!(idle_since(), Some(told), "it was listened to all the time");
    place.clock.forward(HOUR);
    let back = place.clock.now();
    leaps.look(&place.world, back).await;
    assert_eq!(idle_since(), Some(back));
    place.clock.forward(HOUR);
    let started = place.clock.now();
    Leaps::default().look(&place.world, started).await;
    assert_eq!(
        idle_since(),
        Some(started),
        "a start is no other than a suspension"
    );
}

//! A thousand agents while a source of collateral stalls: each is answered in time, nothing piles up, nobody is
//! blamed, and all is well when it answers again. Time is the test's own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use easyenclave::trust::{IN_HAND, PATIENCE};
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::records::TrustRecord;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::place::{Agent, Mood, Place};

const AGENTS: usize = 1000;

async fn fleet(place: &Place, count: usize) -> Vec<Agent> {
    let mut agents = Vec::new();
    for _ in 0..count {
        agents.push(place.agent().await);
    }
    agents
}

/// All attest at once. Answers how each was refused, and how long the slowest took.
async fn all_attest(place: &Arc<Place>, agents: &Arc<Vec<Agent>>) -> (Vec<String>, Duration) {
    let start = Instant::now();
    let mut attempts = JoinSet::new();
    for index in 0..agents.len() {
        let (place, agents) = (Arc::clone(place), Arc::clone(agents));
        attempts.spawn(async move {
            let nonce = place.nonce().await;
            let result = place.attest(&agents[index], &nonce).await;
            let code = result.err().map(|rejection| rejection.code);
            assert!(
                matches!(code, None | Some(ReasonCode::DependencyUnavailable)),
                "{code:?}"
            );
            code.map_or("OK", ReasonCode::code).to_owned()
        });
    }
    (attempts.join_all().await, start.elapsed())
}

#[tokio::test]
async fn a_source_that_stalls_for_a_minute_piles_nothing_up() {
    let place = Arc::new(Place::new(&json!({})));
    let agents = Arc::new(fleet(&place, AGENTS).await);
    for agent in agents.iter() {
        place.join(agent).await.expect("accepted");
    }
    place.source.is(Mood::Stalls);
    tokio::time::pause();
    let stalled = Instant::now();
    while stalled.elapsed() < Duration::from_secs(60) {
        let (codes, slowest) = all_attest(&place, &agents).await;
        assert!(codes.iter().all(|code| code == "EE-ATT-018"), "{codes:?}");
        assert!(slowest < PATIENCE + Duration::from_secs(1), "{slowest:?}");
        assert_eq!(
            place.source.open.load(Ordering::SeqCst),
            0,
            "nothing is left behind"
        );
        place.clock.forward(slowest);
    }
    tokio::time::resume();
    let records = place.world.journal.read().agents.clone();
    let blamed = |record: &easyenclave_schemas::records::AgentRecord| {
        !matches!(record.trust, TrustRecord::Accepted(_))
    };
    assert_eq!(records.values().filter(|record| blamed(record)).count(), 0);
    place.source.is(Mood::Answers);
    let (codes, _) = all_attest(&place, &agents).await;
    assert!(codes.iter().all(|code| code == "OK"));
}

/// The bound on what is in hand: one too many is told to come again at once, and its nonce stays good.
#[tokio::test]
async fn one_attempt_too_many_is_sent_away_and_keeps_its_nonce() {
    let place = Arc::new(Place::new(&json!({})));
    let agent = Arc::new(place.agent().await);
    place.join(&agent).await.expect("accepted");
    place.source.is(Mood::Stalls);
    // No attempt is given up before all of them are in hand, however long a busy machine takes for that.
    tokio::time::pause();
    let mut attempts = JoinSet::new();
    for _ in 0..IN_HAND {
        let (place, agent) = (Arc::clone(&place), Arc::clone(&agent));
        attempts.spawn(async move {
            let nonce = place.nonce().await;
            place.attest(&agent, &nonce).await
        });
    }
    while place.source.open.load(Ordering::SeqCst) < IN_HAND as u64 {
        assert!(attempts.try_join_next().is_none(), "none is over");
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    let nonce = place.nonce().await;
    let rejection = place
        .attest(&agent, &nonce)
        .await
        .expect_err("one too many");
    assert_eq!(rejection.code, ReasonCode::DependencyUnavailable);
    assert!(rejection.message.contains("busy"), "{rejection}");
    attempts.shutdown().await;
    place.source.is(Mood::Answers);
    place.attest(&agent, &nonce).await.expect("the same nonce");
}

//! Another boot of an agent's machine: its evidence is of the one before, so fresh evidence is asked for.

use easyenclave::clock::Clock;
use easyenclave::observe::observe;
use easyenclave_plan::{Action, Trust, plan};
use easyenclave_schemas::Generation;
use easyenclave_schemas::wire::HeartbeatRequest;
use serde_json::json;

use crate::place::{Agent, Place};

fn hear(place: &Place, agent: &Agent, boot: &str, sequence: u64) {
    let beat = HeartbeatRequest {
        sequence,
        boot_id: boot.into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation::default(),
        workload: None,
        refusals: Default::default(),
        session: None,
        connector: None,
        runtimes: None,
    };
    let (presence, now) = (&place.world.presence, place.clock.now());
    presence.heartbeat(&agent.order.agent(), beat, now);
}

/// How the agent is trusted, and whether fresh evidence is asked for.
fn seen(place: &Place, agent: &Agent) -> (Trust, bool) {
    let revision = place.world.revision().expect("a revision");
    let observed = observe(&place.world, &revision, place.clock.now());
    let plan = plan(&revision.desired, &observed, place.clock.now());
    let id = agent.order.agent();
    let asked = |action: &Action| matches!(action, Action::Challenge { agent } if *agent == id);
    (observed.agents[&id].trust, plan.actions.iter().any(asked))
}

#[tokio::test]
async fn evidence_of_the_boot_before_is_asked_for_again_and_takes_nothing_away() {
    let place = Place::new(&json!({}));
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    hear(&place, &agent, "boot", 1);
    let (trusted, asked) = seen(&place, &agent);
    assert!(matches!(trusted, Trust::Accepted(_)) && !asked);

    hear(&place, &agent, "another", 1);
    assert_eq!(seen(&place, &agent), (Trust::Unknown, true));

    let nonce = place.nonce().await;
    place.attest(&agent, &nonce).await.expect("accepted");
    let (trusted, asked) = seen(&place, &agent);
    assert!(matches!(trusted, Trust::Accepted(_)) && !asked);

    // An agent that says which boot its evidence is of is believed no more than that.
    hear(&place, &agent, "third", 1);
    let nonce = place.nonce().await;
    let attested = place.attest_boot(&agent, &nonce, Some("another")).await;
    attested.expect("accepted");
    assert_eq!(seen(&place, &agent), (Trust::Unknown, true));
}

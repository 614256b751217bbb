//! What agents may claim of themselves in heartbeats.

use easyenclave_schemas::Generation;
use easyenclave_schemas::wire::{CallRefusals, HeartbeatRequest, routes};
use serde_json::json;

use crate::api::{post, serve};
use crate::place::Place;

fn beat(sequence: u64, generation: Generation) -> HeartbeatRequest {
    HeartbeatRequest {
        sequence,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation,
        workload: None,
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    }
}

#[tokio::test]
async fn an_agent_that_claims_impossible_instructions_is_not_heard_and_is_named() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let agent = place.agent().await;
    place.join(&agent).await.expect("it joins");
    let id = agent.order.agent();
    let path = routes::heartbeat(&id);
    let (status, body) = post(&served, &agent, &path, &beat(1, Generation(u64::MAX))).await;
    assert_eq!((status, &body["code"]), (422, &json!("wrong_generation")));
    assert!(place.world.presence.heard(&id).is_none(), "it is not heard");
    let refusals = place.world.refusals.list();
    assert!(
        refusals
            .iter()
            .any(|refusal| refusal.subject == id.as_str())
    );
    let (status, body) = post(&served, &agent, &path, &beat(2, Generation(1000))).await;
    assert_eq!(status, 200, "an agent may be ahead of its record: {body}");
    assert!(place.world.presence.heard(&id).is_some());
}

#[tokio::test]
async fn names_that_a_stranger_makes_up_share_one_refusal() {
    let place = Place::new(&json!({}));
    let served = serve(&place).await;
    let mut agent = place.agent().await;
    for n in 0..3 {
        agent.order = format!("nobody-{n}").parse().expect("a name");
        let nonce = place.nonce().await;
        let request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
        let (status, body) = post(&served, &agent, routes::REGISTER, &request).await;
        assert_eq!(
            (status, &body["code"]),
            (409, &json!("EE-ATT-030")),
            "{body}"
        );
    }
    let refusals = place.world.refusals.list();
    let subjects: Vec<_> = refusals.iter().map(|refusal| &refusal.subject).collect();
    assert_eq!(subjects, ["an unknown order"]);
}

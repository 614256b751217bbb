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

//! Ways to agents: to whom they are made.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::tunnels;
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::wire::HeartbeatRequest;
use easyenclave_schemas::{AgentId, Digest};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::place::{Agent, Place};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn edit(place: &Place, id: &AgentId, edit: impl FnOnce(&mut AgentRecord) + Send + 'static) {
    let id = id.clone();
    let edited = place.world.journal.transact(move |records, change| {
        let mut record = AgentRecord::clone(&records.agents[&id]);
        edit(&mut record);
        change.put_agent(record);
        Ok::<_, ()>(())
    });
    edited.await.expect("kept").expect("put");
}

/// An agent that something is published on, and that says where it answers.
async fn published(place: &Place) -> Agent {
    let agent = place.agent().await;
    place.join(&agent).await.expect("accepted");
    let id = agent.order.agent();
    edit(place, &id, |record| {
        record.exposed = Some("acme/web".parse().expect("a name"))
    })
    .await;
    let beat = json!({
        "sequence": 1, "boot_id": "boot", "address": "http://127.0.0.1:9", "generation": 0,
        "workload": {
            "generation": 0, "deployment": "acme/web", "workload": "ab".repeat(32), "state": "ready",
            "restarts": 0, "message": "", "url": "http://127.0.0.1:1234",
        },
    });
    let beat: HeartbeatRequest = serde_json::from_value(beat).expect("a heartbeat");
    place.world.presence.heartbeat(&id, beat, place.clock.now());
    agent
}

#[tokio::test]
async fn a_way_is_made_to_agents_that_are_trusted_under_the_policy_of_now() {
    let place = Place::new(&json!({}));
    let (doubtful, trusted) = (published(&place).await, published(&place).await);
    let (doubtful, trusted) = (doubtful.order.agent(), trusted.order.agent());
    let trust = place.world.journal.read().agents[&doubtful].trust.clone();
    edit(&place, &doubtful, |record| {
        if let TrustRecord::Accepted(verdict) = &mut record.trust {
            verdict.policy_digest = Digest::of(b"another policy");
        }
    })
    .await;
    let changed = Arc::new(Notify::new());
    let run = tokio::spawn(tunnels::run(Arc::clone(&place.world), Arc::clone(&changed)));
    let made = async |agent: &AgentId| {
        let ways = || place.world.ways.urls(&place.world.presence);
        let made = async {
            while !ways().contains_key(agent) {
                changed.notify_one();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, made).await.expect("a way is made");
        ways()
    };
    assert!(
        !made(&trusted).await.contains_key(&doubtful),
        "it is not judged yet"
    );
    edit(&place, &doubtful, move |record| record.trust = trust).await;
    made(&doubtful).await;
    run.abort();
}

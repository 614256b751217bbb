//! Ways to agents: to whom they are made.

use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::tunnels;
use easyenclave_schemas::records::{AgentRecord, QuarantineRecord, TrustRecord};
use easyenclave_schemas::wire::HeartbeatRequest;
use easyenclave_schemas::{AgentId, Digest, Hostname, Timestamp};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::place::{Agent, Place, name};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Follows the records until something of the ways is so.
async fn until(changed: &Notify, what: &str, is_so: impl Fn() -> bool) {
    let follow = async {
        while !is_so() {
            changed.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, follow).await.expect(what);
}

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
        until(&changed, "a way is made", || ways().contains_key(agent)).await;
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

#[tokio::test]
async fn while_another_may_write_the_status_branch_only_what_is_refused_is_taken_away() {
    let place = Place::new(&json!({}));
    let (refused, lapsed) = (published(&place).await, published(&place).await);
    let (refused, lapsed) = (refused.order.agent(), lapsed.order.agent());
    let led: [(AgentId, Hostname); 2] = [
        (refused.clone(), name("refused.example.com")),
        (lapsed.clone(), name("lapsed.example.com")),
    ];
    for (agent, hostname) in led.clone() {
        edit(&place, &agent, |record| record.hostname = Some(hostname)).await;
    }
    let changed = Arc::new(Notify::new());
    let run = tokio::spawn(tunnels::run(Arc::clone(&place.world), Arc::clone(&changed)));
    let names = || place.world.ways.names().unwrap_or_default();
    until(&changed, "names lead to both", || {
        names().len() == led.len()
    })
    .await;
    let told = || {
        let list = place.world.refusals.list();
        list.iter().any(|one| one.code == "tunnels_kept")
    };
    edit(&place, &lapsed, |record| {
        record.quarantined = Some(QuarantineRecord::TrustLapsed);
    })
    .await;
    until(&changed, "it is told what is kept", told).await;
    edit(&place, &refused, |record| {
        record.trust = TrustRecord::Refused {
            code: "EE-ATT-001".into(),
            message: "another image".into(),
            policy: Digest::of(b"the policy"),
            shown_at: Timestamp::default(),
            trust_root: None,
        };
    })
    .await;
    let is_gone = || !names().contains_key(&led[0].1);
    until(&changed, "what is refused is not reached", is_gone).await;
    assert_eq!(names(), [(led[1].1.clone(), lapsed)].into());
    run.abort();
}

//! API: who is given secrets, and who is not and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easyenclave::clock::Clock;
use easyenclave::revision::Revision;
use easyenclave::seal::Sealer;
use easyenclave_plan::Frozen;
use easyenclave_schemas::documents::{SecretContent, SecretUse};
use easyenclave_schemas::records::{AgentRecord, AssignmentRecord, QuarantineRecord};
use easyenclave_schemas::sealed::{Asking, Case};
use easyenclave_schemas::signature::{Keypair, Signs, sign_request};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, SealedAnswer, SecretValues, SecretsRequest, routes,
};
use easyenclave_schemas::{AgentId, Digest, Generation, OwnerName, Secret, SecretName};
use serde_json::{Value, json};

use crate::api::{Served, deliver, serve};
use crate::place::{Agent, Place, name};

const VALUE: &[u8] = b"s3cr3t";

/// The instruction that is in force.
const NOW: Generation = Generation(3);

/// An agent that was told to run something with a secret.
struct Desk {
    place: Place,
    served: Served,
    agent: Agent,
}

/// What came of a request.
type Given = Result<BTreeMap<SecretName, Secret<Vec<u8>>>, (u16, String)>;

impl Desk {
    async fn new() -> Self {
        let place = Place::new(&json!({ "maxAge": "1h" }));
        let served = serve(&place).await;
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
        let desk = Self {
            place,
            served,
            agent,
        };
        let digest = desk.adopt(VALUE);
        desk.edit(move |record| {
            record.generation = NOW;
            record.assigned = Some(assignment(digest));
        })
        .await;
        desk
    }

    fn id(&self) -> AgentId {
        self.agent.order.agent()
    }

    /// Puts a revision in force in which the secret has this value. Answers its version.
    fn adopt(&self, value: &[u8]) -> Digest {
        let world = &self.place.world;
        let mut revision = Revision::clone(&world.revision().expect("a revision"));
        let content = SecretContent::new(name("acme"), name("db"), value);
        let sealer = Sealer::of(&world.keyring.recipients()).expect("a key");
        let sealed = STANDARD.encode(sealer.seal(&content.write()).expect("sealed"));
        revision.secrets.insert(name("acme"), name("db"), &sealed);
        let owner: OwnerName = name("acme");
        let digest = revision.secrets.version(&owner, &uses()).expect("there");
        world.adopt(Arc::new(revision));
        digest
    }

    async fn edit(&self, edit: impl FnOnce(&mut AgentRecord) + Send + 'static) {
        let id = self.id();
        let edited = self.place.world.journal.transact(move |records, change| {
            let mut record = AgentRecord::clone(&records.agents[&id]);
            edit(&mut record);
            change.put_agent(record);
            Ok::<_, ()>(())
        });
        edited.await.expect("kept").expect("put");
    }

    /// Asks as this agent does.
    async fn ask(&self) -> Given {
        self.ask_for(NOW, "boot").await
    }

    async fn ask_for(&self, generation: Generation, boot: &str) -> Given {
        let asking = Asking::new().expect("randomness");
        let request = SecretsRequest {
            boot_id: boot.into(),
            generation,
            public_key: asking.public().into(),
        };
        let (status, body) = self.send(&self.agent.key, &unique(), &request).await;
        if status != 200 {
            let refused: Value = serde_json::from_slice(&body).expect("JSON");
            let code = refused["code"].as_str().expect("a code").to_owned();
            assert!(!refused.to_string().contains("s3cr3t"), "{refused}");
            return Err((status, code));
        }
        let answer: SealedAnswer = serde_json::from_slice(&body).expect("an answer");
        let case = Case {
            what: "secrets",
            agent: &self.id(),
            key: &self.agent.key.public(),
            generation,
        };
        let opened = asking.open(&answer, &case).expect("sealed for us");
        Ok(SecretValues::read(&opened).expect("values"))
    }

    async fn send(
        &self,
        key: &impl Signs,
        nonce: &str,
        request: &SecretsRequest,
    ) -> (u16, Vec<u8>) {
        let path = routes::secrets(&self.id());
        let body = serde_json::to_vec(request).expect("plain data");
        let signed = sign_request(key, "POST", &path, &body, self.place.clock.now(), nonce);
        let (status, _, body) = deliver(&self.served, &path, signed, body).await;
        (status, body)
    }

    /// What the status lists of refusals.
    fn told(&self) -> Vec<String> {
        let list = self.place.world.refusals.list();
        list.into_iter().map(|refusal| refusal.code).collect()
    }
}

fn uses() -> Vec<SecretUse> {
    serde_json::from_value(json!([{ "name": "db", "env": "DB" }])).expect("uses")
}

fn assignment(digest: Digest) -> AssignmentRecord {
    let workload = json!({ "process": { "command": ["true"] } });
    AssignmentRecord {
        deployment: "acme/web".parse().expect("a deployment"),
        digest: Digest::of(b"version"),
        workload: serde_json::from_value(workload).expect("a workload"),
        health: None,
        secrets: uses(),
        secrets_digest: Some(digest),
        since: easyenclave_schemas::Timestamp::default(),
    }
}

fn beat(boot: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        sequence: 1,
        boot_id: boot.into(),
        address: "http://127.0.0.1:9".into(),
        generation: NOW,
        workload: None,
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    }
}

fn unique() -> String {
    static NONCES: AtomicU64 = AtomicU64::new(0);
    format!("s{}", NONCES.fetch_add(1, Ordering::Relaxed))
}

fn refused(status: u16, code: &str) -> Given {
    Err((status, code.to_owned()))
}

#[tokio::test]
async fn an_agent_that_is_trusted_is_given_what_its_instruction_names() {
    let desk = Desk::new().await;
    let given = desk.ask().await.expect("given");
    let values: Vec<_> = given
        .iter()
        .map(|(name, value)| (name.as_str(), value.reveal().as_slice()))
        .collect();
    assert_eq!(values, [("db", VALUE)]);
    assert!(desk.told().is_empty());
}

#[tokio::test]
async fn only_the_newest_instruction_is_answered_and_only_while_it_names_secrets() {
    let desk = Desk::new().await;
    for other in [Generation(2), Generation(4)] {
        assert_eq!(
            desk.ask_for(other, "boot").await,
            refused(409, "secrets_superseded")
        );
    }
    desk.edit(|record| record.assigned = None).await;
    assert_eq!(desk.ask().await, refused(409, "secrets_not_assigned"));
    assert!(desk.told().is_empty(), "who is behind is no news");
}

#[tokio::test]
async fn whose_trust_has_run_out_or_was_taken_away_is_given_nothing() {
    let desk = Desk::new().await;
    desk.edit(|record| record.quarantined = Some(QuarantineRecord::TrustLapsed))
        .await;
    assert_eq!(desk.ask().await, refused(403, "secrets_quarantined"));
    desk.edit(|record| record.quarantined = None).await;
    desk.ask().await.expect("given");
    let mut spec = desk.place.spec();
    spec.measurements.clear();
    let before = desk.place.world.revision().expect("a revision");
    let mut revision = Revision::clone(&before);
    revision.policies.insert(name("simulated"), spec);
    desk.place.world.adopt(Arc::new(revision));
    assert_eq!(
        desk.ask().await,
        refused(403, "secrets_untrusted"),
        "another policy"
    );
    desk.place.world.adopt(before);
    desk.place.clock.forward(Duration::from_secs(3601));
    assert_eq!(desk.ask().await, refused(403, "secrets_lapsed"));
    assert_eq!(
        desk.told(),
        ["secrets_quarantined", "secrets_untrusted", "secrets_lapsed"]
    );
    let list = desk.place.world.refusals.list();
    assert!(
        list.iter().all(|one| one.message.ends_with("(simulated)")),
        "{list:?}"
    );
}

#[tokio::test]
async fn whose_target_is_gone_with_its_policy_is_given_nothing() {
    let desk = Desk::new().await;
    desk.ask().await.expect("given");
    let before = desk.place.world.revision().expect("a revision");
    let mut revision = Revision::clone(&before);
    revision.desired.targets.clear();
    revision.policies.clear();
    desk.place.world.adopt(Arc::new(revision));
    assert_eq!(desk.ask().await, refused(403, "secrets_untrusted"));
    desk.place.world.adopt(before);
    desk.ask().await.expect("given again");
}

#[tokio::test]
async fn whose_target_cannot_be_read_is_given_its_secrets_as_before() {
    let desk = Desk::new().await;
    let mut revision = Revision::clone(&desk.place.world.revision().expect("a revision"));
    revision.desired.targets.clear();
    revision.policies.clear();
    let target = Frozen::Target(name("tiny"));
    revision.desired.frozen.insert(target, "why".into());
    desk.place.world.adopt(Arc::new(revision));
    desk.ask().await.expect("nothing of it is touched");
    desk.place.clock.forward(Duration::from_secs(3601));
    assert_eq!(desk.ask().await, refused(403, "secrets_lapsed"));
}

#[tokio::test]
async fn whose_removal_waits_for_a_person_is_given_its_secrets_until_that_is_approved() {
    let desk = Desk::new().await;
    let (place, other) = (&desk.place, desk.place.agent().await);
    place.join(&other).await.expect("accepted");
    let mut revision = Revision::clone(&place.world.revision().expect("a revision"));
    revision.desired.targets.clear();
    revision.policies.clear();
    let web = Frozen::Deployment("acme/web".parse().expect("a deployment"));
    revision.desired.frozen.insert(web, "why".into());
    place.world.adopt(Arc::new(revision));
    assert_eq!(desk.ask().await, refused(403, "secrets_untrusted"));
    for order in [&desk.agent.order, &other.order] {
        let beat = beat("boot");
        place
            .world
            .presence
            .heartbeat(&order.agent(), beat, place.clock.now());
    }
    let report = place.pass().await;
    assert_eq!(report.next.held.len(), 1, "{:?}", report.next);
    desk.ask().await.expect("both stay until a person says so");
}

#[tokio::test]
async fn another_boot_than_the_one_that_showed_evidence_is_given_nothing() {
    let desk = Desk::new().await;
    assert_eq!(
        desk.ask_for(NOW, "other").await,
        refused(403, "secrets_other_boot")
    );
    desk.place
        .world
        .presence
        .heartbeat(&desk.id(), beat("other"), desk.place.clock.now());
    assert_eq!(
        desk.ask().await,
        refused(403, "secrets_other_boot"),
        "whatever it says"
    );
}

#[tokio::test]
async fn what_was_rotated_away_is_given_to_nobody_and_the_next_instruction_has_the_new_value() {
    let desk = Desk::new().await;
    let digest = desk.adopt(b"n3w");
    assert_eq!(desk.ask().await, refused(409, "secrets_changed"));
    desk.edit(move |record| record.assigned = Some(assignment(digest)))
        .await;
    let given = desk.ask().await.expect("given");
    assert_eq!(given[&name::<SecretName>("db")].reveal(), b"n3w");
}

#[tokio::test]
async fn a_secret_that_does_not_open_gives_nothing_and_says_nothing_of_it() {
    let desk = Desk::new().await;
    let mut revision = Revision::clone(&desk.place.world.revision().expect("a revision"));
    revision.secrets.insert(name("acme"), name("db"), "s3cr3t");
    let owner: OwnerName = name("acme");
    let digest = revision.secrets.version(&owner, &uses()).expect("there");
    desk.place.world.adopt(Arc::new(revision));
    desk.edit(move |record| record.assigned = Some(assignment(digest)))
        .await;
    assert_eq!(desk.ask().await, refused(503, "secrets_unavailable"));
}

#[tokio::test]
async fn another_agents_key_a_replay_and_a_key_that_is_none_give_nothing() {
    let desk = Desk::new().await;
    let asking = Asking::new().expect("randomness");
    let request = SecretsRequest {
        boot_id: "boot".into(),
        generation: NOW,
        public_key: asking.public().into(),
    };
    let other = Keypair::generate().expect("randomness");
    assert_eq!(desk.send(&other, &unique(), &request).await.0, 401);
    let nonce = unique();
    assert_eq!(desk.send(&desk.agent.key, &nonce, &request).await.0, 200);
    let (status, body) = desk.send(&desk.agent.key, &nonce, &request).await;
    let said: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &said["code"]),
        (401, &json!("EE-ATT-034")),
        "{said}"
    );
    for public_key in ["00".repeat(32), "zz".into(), String::new()] {
        let wrong = SecretsRequest {
            public_key,
            ..request.clone()
        };
        let (status, body) = desk.send(&desk.agent.key, &unique(), &wrong).await;
        let said: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (status, &said["code"]),
            (400, &json!("secrets_key")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_agent_is_given_secrets_so_often_and_no_more() {
    let desk = Desk::new().await;
    for _ in 0..20 {
        desk.ask().await.expect("given");
    }
    assert_eq!(desk.ask().await, refused(429, "secrets_too_often"));
    desk.place.clock.forward(Duration::from_secs(61));
    desk.ask().await.expect("given again");
}

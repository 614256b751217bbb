//! API: who is given the token of a tunnel, and who is not any more when it has come.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave::clock::Clock;
use easyenclave::revision::Revision;
use easyenclave::tunnels::Way;
use easyenclave_schemas::records::{AgentRecord, QuarantineRecord};
use easyenclave_schemas::sealed::{Asking, Case};
use easyenclave_schemas::signature::sign_request;
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, SealedAnswer, TunnelRequest, TunnelToken, routes,
};
use easyenclave_schemas::{AgentId, Digest, Generation, Hostname, Secret};
use easyenclave_tunnel::{Ensured, Listing, Route, TunnelError, Tunnels};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::{Served, deliver, serve};
use crate::place::{Agent, Place, name};

/// Whose tokens take as long as a test wants.
struct Slow {
    asked: Semaphore,
    goes: Semaphore,
}

#[async_trait]
impl Tunnels for Slow {
    async fn ensure(&self, _: &Route) -> Result<Ensured, TunnelError> {
        unreachable!("only tokens are asked for")
    }

    async fn token(&self, _: &AgentId) -> Result<Option<Secret<String>>, TunnelError> {
        self.asked.add_permits(1);
        self.goes.acquire().await.expect("never closed").forget();
        Ok(Some(Secret::new("t0ken".into())))
    }

    async fn point(&self, _: &Hostname, _: &AgentId) -> Result<(), TunnelError> {
        unreachable!("only tokens are asked for")
    }

    async fn unpoint(&self, _: &Hostname) -> Result<(), TunnelError> {
        unreachable!("only tokens are asked for")
    }

    async fn remove(&self, _: &AgentId) -> Result<(), TunnelError> {
        unreachable!("only tokens are asked for")
    }

    async fn list(&self) -> Result<Listing, TunnelError> {
        unreachable!("only tokens are asked for")
    }
}

/// An agent on which something is published, and which has a tunnel.
struct Desk {
    place: Place,
    served: Served,
    agent: Agent,
    tunnels: Arc<Slow>,
}

impl Desk {
    async fn new() -> Self {
        let place = Place::new(&json!({ "maxAge": "1h" }));
        let served = serve(&place).await;
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
        let tunnels = Arc::new(Slow {
            asked: Semaphore::new(0),
            goes: Semaphore::new(0),
        });
        let (world, id) = (&place.world, agent.order.agent());
        world.presence.heartbeat(&id, beat(), place.clock.now());
        world
            .ways
            .by(Some(Arc::clone(&tunnels) as Arc<dyn Tunnels>));
        let way = Way {
            url: "https://a.example.com".into(),
            connector: Some(version()),
        };
        world.ways.is(id, way);
        let desk = Self {
            place,
            served,
            agent,
            tunnels,
        };
        let published = name("acme/web");
        desk.edit(|record| record.exposed = Some(published)).await;
        desk
    }

    async fn edit(&self, edit: impl FnOnce(&mut AgentRecord) + Send + 'static) {
        let id = self.agent.order.agent();
        let edited = self.place.world.journal.transact(move |records, change| {
            let mut record = AgentRecord::clone(&records.agents[&id]);
            edit(&mut record);
            change.put_agent(record);
            Ok::<_, ()>(())
        });
        edited.await.expect("kept").expect("put");
    }

    /// Asks for the token, and lets `meanwhile` happen until it is there.
    async fn ask(&self, meanwhile: impl AsyncFnOnce(&Self)) -> Result<String, (u16, String)> {
        let asking = Asking::new().expect("randomness");
        let request = TunnelRequest {
            boot_id: "boot".into(),
            version: version(),
            public_key: asking.public().into(),
        };
        let path = routes::tunnel(&self.agent.order.agent());
        let body = serde_json::to_vec(&request).expect("plain data");
        let (key, now) = (&self.agent.key, self.place.clock.now());
        let signed = sign_request(key, "POST", &path, &body, now, "n1");
        let happens = async {
            let asked = timeout(Duration::from_secs(30), self.tunnels.asked.acquire()).await;
            asked.expect("it is asked for").expect("open").forget();
            meanwhile(self).await;
            self.tunnels.goes.add_permits(1);
        };
        let answer = deliver(&self.served, &path, signed, body);
        let ((status, _, body), ()) = tokio::join!(answer, happens);
        if status != 200 {
            let refused: Value = serde_json::from_slice(&body).expect("JSON");
            let code = refused["code"].as_str().expect("a code").to_owned();
            assert!(!refused.to_string().contains("t0ken"), "{refused}");
            return Err((status, code));
        }
        let answer: SealedAnswer = serde_json::from_slice(&body).expect("an answer");
        let case = Case {
            what: "tunnel",
            agent: &self.agent.order.agent(),
            key: &self.agent.key.public(),
            generation: Generation::default(),
        };
        let opened = asking.open(&answer, &case).expect("sealed for us");
        let opened: TunnelToken = serde_json::from_slice(&opened).expect("a token");
        Ok(opened.token.reveal().clone())
    }
}

fn version() -> Digest {
    Digest::of(b"a connector")
}

fn beat() -> HeartbeatRequest {
    HeartbeatRequest {
        sequence: 1,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation::default(),
        workload: None,
        refusals: CallRefusals::default(),
        session: None,
        connector: None,
        runtimes: None,
    }
}

fn refused() -> Result<String, (u16, String)> {
    Err((403, "tunnel_refused".into()))
}

#[tokio::test]
async fn an_agent_that_stays_entitled_is_given_the_token() {
    let desk = Desk::new().await;
    assert_eq!(desk.ask(async |_| ()).await, Ok("t0ken".into()));
}

#[tokio::test]
async fn an_agent_whose_quarantine_comes_before_the_token_is_given_nothing() {
    let desk = Desk::new().await;
    let given = desk.ask(async |desk| {
        let lapsed = Some(QuarantineRecord::TrustLapsed);
        desk.edit(move |record| record.quarantined = lapsed).await;
    });
    assert_eq!(given.await, refused());
}

#[tokio::test]
async fn an_agent_whose_trust_ends_before_the_token_is_there_is_given_nothing() {
    let desk = Desk::new().await;
    let given = desk.ask(async |desk| desk.place.clock.forward(Duration::from_secs(3601)));
    assert_eq!(given.await, refused());
}

#[tokio::test]
async fn an_agent_that_another_policy_does_not_trust_is_given_nothing() {
    let desk = Desk::new().await;
    let given = desk.ask(async |desk| {
        let world = &desk.place.world;
        let mut revision = Revision::clone(&world.revision().expect("a revision"));
        let mut spec = desk.place.spec();
        spec.measurements.clear();
        revision.policies.insert(name("simulated"), spec);
        world.adopt(Arc::new(revision));
    });
    assert_eq!(given.await, refused());
}

//! Delivers instructions: each agent that has not taken in its last one is called, many at a time,
//! again and again with a growing pause. What is delivered is what the records say at that moment,
//! so the newest instruction always wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::signature::{PublicKey, SignatureError, verify_response};
use easyenclave_schemas::wire::{
    DeployAccepted, DeployRequest, ErrorBody, UndeployRequest, routes,
};
use easyenclave_schemas::{AgentId, Generation, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api::WINDOW;
use crate::world::World;

/// So many calls at a time: enough that a few dozen agents that hang leave room for the others.
const AT_ONCE: usize = 256;

/// An agent answers 202 at once; one that takes longer is called again later.
const DEADLINE: Duration = Duration::from_secs(5);

/// The longest pause between two calls to an agent that does not take an instruction in.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Without any news, agents are looked at this often.
const IDLE: Duration = Duration::from_secs(5);

/// The most bytes read of an answer.
const ANSWER: usize = 64 * 1024;

/// Delivers instructions whenever a pass has decided something, an agent was heard of again, or a
/// pause is over.
pub async fn run(world: Arc<World>, changed: Arc<Notify>) {
    let mut delivery = match Delivery::new() {
        Ok(delivery) => delivery,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "no calls to agents"
            );
            return;
        }
    };
    loop {
        let next = delivery.begin(&world, world.clock.now());
        let wait = next.map_or(IDLE, |next| next.since(world.clock.now()).min(IDLE));
        tokio::select! {
            () = changed.notified() => {}
            () = delivery.ended(&world) => {}
            () = sleep(wait.max(Duration::from_millis(5))) => {}
        }
    }
}

/// Calls agents, and remembers whom not to call again yet.
struct Delivery {
    client: reqwest::Client,
    /// Calls under way. One that hangs holds up nobody else.
    calls: JoinSet<Called>,
    /// Whom they call.
    busy: BTreeSet<AgentId>,
    pauses: BTreeMap<AgentId, Pause>,
}

/// A call that is over.
struct Called {
    agent: Arc<AgentRecord>,
    result: Result<Generation, DeliverError>,
}

struct Pause {
    generation: Generation,
    failures: u32,
    until: Timestamp,
}

/// Why an agent did not take an instruction in.
#[derive(Debug, thiserror::Error)]
enum DeliverError {
    #[error("agent cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("agent refused with {0}: {1}")]
    Refused(String, String),
    #[error("agent's answer cannot be read")]
    Answer,
    #[error("the answer is not the agent's")]
    Untrusted(#[source] SignatureError),
    #[error("agent's key is not an Ed25519 public key")]
    Key,
    #[error("agent answers with generation {taken} to {sent}")]
    Older { taken: Generation, sent: Generation },
}

impl Delivery {
    /// Nothing was delivered yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .connect_timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            calls: JoinSet::new(),
            busy: BTreeSet::new(),
            pauses: BTreeMap::new(),
        })
    }

    /// Begins to call every agent that has not taken in its last instruction, as many at a time as may be.
    /// Answers when the next one may be called again, if calls have failed.
    fn begin(&mut self, world: &Arc<World>, now: Timestamp) -> Option<Timestamp> {
        let room = AT_ONCE.saturating_sub(self.calls.len());
        for agent in self.due(world, now).into_iter().take(room) {
            self.busy.insert(agent.agent.clone());
            let (client, world) = (self.client.clone(), Arc::clone(world));
            self.calls.spawn(async move {
                let result = call(&client, &world, &agent, now).await;
                Called { agent, result }
            });
        }
        let resting = |(agent, _): &(&AgentId, &Pause)| !self.busy.contains(*agent);
        let resting = self.pauses.iter().filter(resting);
        resting.map(|(_, pause)| pause.until).min()
    }

    /// Waits until calls have ended and there is room for new ones; for ever when none is under way.
    async fn ended(&mut self, world: &World) {
        while let Some(called) = self.calls.join_next().await {
            match called {
                Ok(called) => self.note(world, called, world.clock.now()),
                // Whom it called is not known, so nobody is left marked as being called.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "a call broke off");
                    self.calls.abort_all();
                    self.busy.clear();
                }
            }
            // All agents are looked at for each refill, so it is worth to wait for half of the room.
            if self.calls.len() <= AT_ONCE / 2 {
                return;
            }
        }
        std::future::pending().await
    }

    /// Agents that were heard of, whose newest instruction is not taken in, and that need no pause.
    fn due(&mut self, world: &World, now: Timestamp) -> Vec<Arc<AgentRecord>> {
        let records = world.journal.read();
        let undelivered = |agent: &&Arc<AgentRecord>| {
            let heard = world.presence.heard(&agent.agent);
            agent.generation > Generation::default()
                && heard.is_some_and(|heard| heard.acknowledged < agent.generation)
        };
        // A pause of an agent that has taken its instruction in all the same would be over and never looked at.
        self.pauses.retain(|agent, pause| {
            let record = records.agents.get(agent);
            record
                .filter(undelivered)
                .is_some_and(|record| record.generation == pause.generation)
                // The clock may have been set back.
                && pause.until <= now.plus(LONGEST_PAUSE * 2)
        });
        let rested = |agent: &&Arc<AgentRecord>| {
            self.pauses
                .get(&agent.agent)
                .is_none_or(|pause| pause.until <= now)
        };
        records
            .agents
            .values()
            .filter(|agent| !self.busy.contains(&agent.agent))
            .filter(undelivered)
            .filter(rested)
            .cloned()
            .collect()
    }

    fn note(&mut self, world: &World, called: Called, now: Timestamp) {
        let Called { agent, result } = called;
        self.busy.remove(&agent.agent);
        match result {
            Ok(generation) => {
                tracing::info!(agent = %agent.agent, generation = generation.0, "instruction taken in");
                self.pauses.remove(&agent.agent);
                world.presence.acknowledged(&agent.agent, generation, now);
                world.delivered.notify_waiters();
            }
            Err(error) => {
                let failures = self
                    .pauses
                    .get(&agent.agent)
                    .map_or(0, |pause| pause.failures)
                    + 1;
                tracing::warn!(
                    agent = %agent.agent,
                    generation = agent.generation.0,
                    failures,
                    error = &error as &dyn std::error::Error,
                    "instruction not delivered"
                );
                let until = now.plus(pause(failures, world.entropy.fraction()));
                let generation = agent.generation;
                self.pauses.insert(
                    agent.agent.clone(),
                    Pause {
                        generation,
                        failures,
                        until,
                    },
                );
            }
        }
    }
}

/// Doubles from a quarter of a second; up to half as long again, so that agents do not move in step.
fn pause(failures: u32, fraction: f64) -> Duration {
    let pause = Duration::from_millis(250).saturating_mul(1 << failures.min(16));
    pause.min(LONGEST_PAUSE).mul_f64(1.0 + fraction / 2.0)
}

async fn call(
    client: &reqwest::Client,
    world: &World,
    agent: &AgentRecord,
    now: Timestamp,
) -> Result<Generation, DeliverError> {
    let (route, body) = instruction(world, agent);
    let nonce = hex::encode(world.entropy.bytes());
    let headers = easyenclave_schemas::signature::sign_request(
        &world.keypair,
        "POST",
        route,
        &body,
        now,
        &nonce,
    );
    let mut request = client.post(format!("{}{route}", agent.address));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await.map_err(DeliverError::Unreachable)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = crate::http::read(answer, ANSWER)
        .await
        .map_err(|_| DeliverError::Answer)?;
    if status.is_success() {
        let key: PublicKey = agent.public_key.parse().map_err(|_| DeliverError::Key)?;
        let (status, now) = (status.as_u16(), world.clock.now());
        verify_response(&key, status, &body, &headers, &nonce, now, WINDOW)
            .map_err(DeliverError::Untrusted)?;
        return taken(&body, agent.generation);
    }
    // A refusal need not be signed, for nothing is believed of it: the call is made again after a pause.
    let refusal: ErrorBody = serde_json::from_slice(&body).map_err(|_| DeliverError::Answer)?;
    let message = refusal.message.chars().take(200).collect();
    Err(DeliverError::Refused(
        refusal.code.chars().take(40).collect(),
        message,
    ))
}

/// What an agent took in, as far as it was told: what it has beyond that, it says in its heartbeats.
fn taken(answer: &[u8], sent: Generation) -> Result<Generation, DeliverError> {
    let answer: DeployAccepted =
        serde_json::from_slice(answer).map_err(|_| DeliverError::Answer)?;
    let taken = answer.generation;
    if taken < sent {
        return Err(DeliverError::Older { taken, sent });
    }
    Ok(sent)
}

fn instruction(world: &World, agent: &AgentRecord) -> (&'static str, Vec<u8>) {
    let (agent_id, generation) = (agent.agent.clone(), agent.generation);
    let (route, body) = match &agent.assigned {
        Some(assigned) => {
            let request = DeployRequest {
                agent_id,
                epoch: world.epoch,
                generation,
                deployment: assigned.deployment.clone(),
                workload_digest: assigned.digest,
                workload: assigned.workload.clone(),
                health: assigned.health.clone(),
                secrets: assigned.secrets.clone(),
                secrets_digest: assigned.secrets_digest,
            };
            (routes::DEPLOY, serde_json::to_vec(&request))
        }
        None => {
            let request = UndeployRequest {
                agent_id,
                epoch: world.epoch,
                generation,
            };
            (routes::UNDEPLOY, serde_json::to_vec(&request))
        }
    };
    (route, body.expect("an instruction is plain data"))
}

//! Who is given the secrets of what it runs: an agent that is trusted now, by evidence of this boot, is not quarantined, and
//! asks for the newest instruction. Anybody else gets a reason. Whatever is given is in the log, without its value.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use easyenclave_plan::{Frozen, Trust};
use easyenclave_schemas::evidence::{ReasonCode, Rejection, stamp};
use easyenclave_schemas::records::{AgentRecord, AssignmentRecord};
use easyenclave_schemas::sealed::{Case, SealedError, seal};
use easyenclave_schemas::signature::{PublicKey, ReplayGuard, SignatureError, Verified};
use easyenclave_schemas::wire::{SealedAnswer, SecretValues, SecretsRequest};
use easyenclave_schemas::{AgentId, Generation, Secret, SecretName, Timestamp};
use tokio::task::spawn_blocking;

use super::Keyring;
use super::closed::Used;
use crate::api::{Refused, WINDOW};
use crate::journal::Records;
use crate::observe::trust_now;
use crate::revision::{Policies, Revision};
use crate::world::World;

/// So many requests of an agent are remembered within the time in which they could be replayed. One that asks more often is
/// told to come back, and is in nobody else's way.
const REQUESTS: usize = 256;

/// An agent is given secrets at most so often …
const MOST: usize = 20;
/// … within this time. Each new instruction takes one, and so does each new start of an agent.
const WITHIN: Duration = Duration::from_secs(60);

/// What an answer is for; see [`Case::what`].
const SECRETS: &str = "secrets";

/// What was asked and given lately, in memory: a new start forgets it.
#[derive(Debug, Default)]
pub(crate) struct Releases(Mutex<BTreeMap<AgentId, Lately>>);

/// What one agent asked and was given.
#[derive(Debug)]
struct Lately {
    seen: ReplayGuard,
    given: VecDeque<Timestamp>,
}

impl Default for Lately {
    fn default() -> Self {
        Self {
            seen: ReplayGuard::new(WINDOW, REQUESTS),
            given: VecDeque::new(),
        }
    }
}

impl Releases {
    /// Lets a request of an agent pass that was not seen before.
    pub(crate) fn admit(
        &self,
        agent: &AgentId,
        request: &Verified,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let mut all = self.all();
        let lately = all.entry(agent.clone()).or_default();
        lately
            .seen
            .admit(request, now)
            .map_err(|error| match error {
                SignatureError::Crowded => {
                    let message = "too many requests for secrets at a time; try again";
                    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
                }
                _ => Rejection::from(ReasonCode::MessageReplayed).into(),
            })
    }

    /// Forgets agents that are no more: nobody may ask in their name.
    pub(crate) fn retain(&self, is_there: impl Fn(&AgentId) -> bool) {
        self.all().retain(|agent, _| is_there(agent));
    }

    /// Counts what is about to be given. Tells whether it may be.
    fn count(&self, agent: &AgentId, now: Timestamp) -> bool {
        let mut all = self.all();
        let times = &mut all.entry(agent.clone()).or_default().given;
        times.retain(|at| *at <= now && now.since(*at) < WITHIN);
        let may = times.len() < MOST;
        if may {
            times.push_back(now);
        }
        may
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<AgentId, Lately>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an agent is given nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Denied {
    #[error("instruction {asked} is asked for, and the newest is {newest}")]
    Superseded {
        asked: Generation,
        newest: Generation,
    },
    #[error("the newest instruction names no secrets")]
    NotAssigned,
    #[error("the agent is quarantined")]
    Quarantined,
    #[error("the agent is not trusted under the policy in force")]
    Untrusted,
    #[error("the trust in the agent ran out at {0}")]
    Lapsed(Timestamp),
    #[error("another boot asks than the one that is trusted")]
    OtherBoot,
    #[error(
        "the secrets of the instruction have other versions by now: the next instruction has those"
    )]
    Changed,
    #[error("an agent is given secrets at most {MOST} times in {} seconds", WITHIN.as_secs())]
    TooOften,
    #[error("the key to seal to is not an X25519 public key in 64 hex digits")]
    Key,
    #[error("secrets cannot be read at the moment")]
    Unavailable,
}

impl Denied {
    /// Its stable code, and how it is answered.
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Superseded { .. } => (StatusCode::CONFLICT, "secrets_superseded"),
            Self::NotAssigned => (StatusCode::CONFLICT, "secrets_not_assigned"),
            Self::Quarantined => (StatusCode::FORBIDDEN, "secrets_quarantined"),
            Self::Untrusted => (StatusCode::FORBIDDEN, "secrets_untrusted"),
            Self::Lapsed(_) => (StatusCode::FORBIDDEN, "secrets_lapsed"),
            Self::OtherBoot => (StatusCode::FORBIDDEN, "secrets_other_boot"),
            Self::Changed => (StatusCode::CONFLICT, "secrets_changed"),
            Self::TooOften => (StatusCode::TOO_MANY_REQUESTS, "secrets_too_often"),
            Self::Key => (StatusCode::BAD_REQUEST, "secrets_key"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "secrets_unavailable"),
        }
    }

    /// Whether people should know, beyond the log. What only means that the agent is behind or early is none of it.
    fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::Superseded { .. } | Self::NotAssigned | Self::Changed | Self::Unavailable
        )
    }
}

/// The secrets of what the agent was told to run, sealed to the key that it asks with. The request is verified, and the
/// agent's own.
pub(crate) async fn release(
    world: &World,
    agent: &AgentId,
    request: &SecretsRequest,
    now: Timestamp,
) -> Result<SealedAnswer, Refused> {
    let given = give(world, agent, request, now).await;
    given.map_err(|denied| {
        let records = world.journal.read();
        let root = records
            .agents
            .get(agent)
            .and_then(|record| record.trust.trust_root());
        let (status, code) = denied.code();
        let message = format!("{denied}{}", stamp(root));
        match denied.is_told() {
            true => world.refuse(code, agent.as_str(), &message),
            false => tracing::info!(code, agent = %agent, message, "no secrets are given"),
        }
        Refused::new(status, code, message)
    })
}

async fn give(
    world: &World,
    agent: &AgentId,
    request: &SecretsRequest,
    now: Timestamp,
) -> Result<SealedAnswer, Denied> {
    let (record, used) = allowed(world, agent, request, now)?;
    if !world.releases.count(agent, now) {
        return Err(Denied::TooOften);
    }
    let names: Vec<_> = used.closed.keys().map(SecretName::to_string).collect();
    let owner = assigned(&record)?.deployment.owner.clone();
    let keyring = Arc::clone(&world.keyring);
    let opened = spawn_blocking(move || open(&keyring, &owner, used)).await;
    let values = opened.ok().flatten().ok_or(Denied::Unavailable)?;
    // Opening takes its time, in which the world may have moved on.
    let (record, _) = allowed(world, agent, request, world.clock.now())?;
    let key: PublicKey = record.public_key.parse().map_err(|_| Denied::Untrusted)?;
    let case = Case {
        what: SECRETS,
        agent,
        key: &key,
        generation: request.generation,
    };
    let sealed = seal(&request.public_key, &case, SecretValues::write(&values));
    let sealed = sealed.map_err(|error| match error {
        SealedError::Half | SealedError::Closed => Denied::Key,
        SealedError::Random => Denied::Unavailable,
    })?;
    tell(world, &record, &names.join(","), now);
    Ok(sealed)
}

/// Opens all of them, or none.
fn open(
    keyring: &Keyring,
    owner: &easyenclave_schemas::OwnerName,
    used: Used,
) -> Option<BTreeMap<SecretName, Secret<Vec<u8>>>> {
    let open = |(name, closed): (SecretName, super::Closed)| {
        let value = keyring.value(owner, &name, closed.sealed());
        let value = value.inspect_err(|error| {
            tracing::error!(secret = %name, owner = %owner, error = error as &dyn std::error::Error, "a secret stays closed");
        });
        Some((name, value.ok()?))
    };
    used.closed.into_iter().map(open).collect()
}

/// The agent and its secrets, if it may have them now.
fn allowed(
    world: &World,
    agent: &AgentId,
    request: &SecretsRequest,
    now: Timestamp,
) -> Result<(Arc<AgentRecord>, Used), Denied> {
    let revision = world.revision().ok_or(Denied::Unavailable)?;
    let record = find(&world.journal.read(), agent)?;
    if request.generation != record.generation {
        return Err(Denied::Superseded {
            asked: request.generation,
            newest: record.generation,
        });
    }
    let assigned = assigned(&record)?;
    if record.quarantined.is_some() {
        return Err(Denied::Quarantined);
    }
    let heard = world.presence.heard(agent).map(|heard| heard.boot_id);
    let boots = [Some(request.boot_id.as_str()), heard.as_deref()];
    if boots.iter().flatten().any(|boot| *boot != record.boot_id) {
        return Err(Denied::OtherBoot);
    }
    if is_removed(world, &revision, &record) {
        return Err(Denied::Untrusted);
    }
    match trust_now(world, &mut Policies::new(&revision), &record, now) {
        Trust::Accepted(until) if until > now => {}
        Trust::Accepted(until) => return Err(Denied::Lapsed(until)),
        Trust::Refused | Trust::Unknown => return Err(Denied::Untrusted),
    }
    let owner = &assigned.deployment.owner;
    let used = revision.secrets.used(owner, &assigned.secrets);
    match used {
        Some(used) if Some(used.digest) == assigned.secrets_digest => Ok((record, used)),
        _ => Err(Denied::Changed),
    }
}

/// Whether an agent's target is surely gone: nothing says any more that it is to be trusted with more than it has. A target that
/// cannot be read, or whose removal waits for a person, stays as it is.
fn is_removed(world: &World, revision: &Revision, record: &AgentRecord) -> bool {
    let desired = &revision.desired;
    let frozen = Frozen::Target(record.target.clone());
    let stays = desired.targets.contains_key(&record.target)
        || desired.frozen.contains_key(&frozen)
        || world.is_held(&record.target);
    !stays
}

fn find(records: &Records, agent: &AgentId) -> Result<Arc<AgentRecord>, Denied> {
    records
        .agents
        .get(agent)
        .cloned()
        .ok_or(Denied::NotAssigned)
}

fn assigned(record: &AgentRecord) -> Result<&AssignmentRecord, Denied> {
    let assigned = record.assigned.as_ref();
    assigned
        .filter(|assigned| !assigned.secrets.is_empty())
        .ok_or(Denied::NotAssigned)
}

/// The audit log: who was given what, by which right, and never what it was.
fn tell(world: &World, record: &AgentRecord, names: &str, now: Timestamp) {
    let Some(assigned) = &record.assigned else {
        return;
    };
    let root = record.trust.trust_root();
    tracing::info!(
        event_name = "secrets_released",
        timestamp = %now,
        request_id = hex::encode(world.entropy.bytes()),
        agent_vm_name = %record.agent,
        deployment = %assigned.deployment,
        generation = record.generation.0,
        secrets = names,
        secrets_digest = assigned.secrets_digest.map(|digest| digest.to_string()),
        simulated = root.map_or("unknown".into(), |root| root.is_simulated().to_string()),
        trust_root = root.map_or("unknown".into(), |root| root.to_string()),
        result = "released",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_given_so_much_and_no_more_until_later() {
        let releases = Releases::default();
        let agent = |name| AgentId::new(name).expect("a name");
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        for _ in 0..MOST {
            assert!(releases.count(&agent("a"), at(0)));
        }
        assert!(!releases.count(&agent("a"), at(59)));
        assert!(
            releases.count(&agent("b"), at(59)),
            "another is not touched"
        );
        assert!(releases.count(&agent("a"), at(60)));
        assert!(releases.count(&agent("b"), at(0)), "the clock was set back");
        let given = |name| releases.all()[&agent(name)].given.len();
        assert_eq!(
            (given("a"), given("b")),
            (1, 1),
            "what is over is forgotten"
        );
        releases.retain(|one| *one == agent("b"));
        assert_eq!(releases.all().len(), 1, "so are agents that are no more");
    }

    #[test]
    fn an_agent_that_asks_without_end_is_in_nobody_elses_way() {
        let releases = Releases::default();
        let agent = |name| AgentId::new(name).expect("a name");
        let now = Timestamp::from_millis(1_000_000);
        let admit = |name, nonce: usize| {
            let nonce = nonce.to_string();
            releases.admit(
                &agent(name),
                &Verified {
                    created: now,
                    nonce,
                },
                now,
            )
        };
        for nonce in 0..REQUESTS {
            assert!(admit("a", nonce).is_ok());
        }
        assert!(admit("a", REQUESTS).is_err(), "it has had its share");
        assert!(admit("b", 0).is_ok());
        assert!(admit("b", 0).is_err(), "a replay");
    }

    #[test]
    fn no_two_reasons_have_one_code() {
        let newest = Generation(2);
        let all = [
            Denied::Superseded {
                asked: Generation(1),
                newest,
            },
            Denied::NotAssigned,
            Denied::Quarantined,
            Denied::Untrusted,
            Denied::Lapsed(Timestamp::default()),
            Denied::OtherBoot,
            Denied::Changed,
            Denied::TooOften,
            Denied::Key,
            Denied::Unavailable,
        ];
        let codes: std::collections::BTreeSet<_> = all.iter().map(|one| one.code().1).collect();
        assert_eq!(codes.len(), all.len());
    }
}

//! Attestation: evidence is judged, kept, and judged again when its policy changes. Every answer is a
//! verdict or a rejection with a reason code; nothing is accepted on any other path.

mod audit;
mod challenge;
mod heard;
mod judge;
mod sightings;
mod supply;

use std::sync::Arc;

use easyenclave_attestation::Again;
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::wire::AttestRequest;
use easyenclave_schemas::{AgentId, Digest, OrderId, Timestamp};
use easyenclave_store::Space;

use crate::journal::JournalError;
use crate::revision::{Applied, Policies, Revision};
use crate::world::World;

pub(crate) use audit::{Tried, tell};
pub use challenge::issue;
pub use judge::{BoundTo, Exhibit, IN_HAND, Judge, PATIENCE, Sources};
pub use sightings::Sightings;
pub use supply::trouble;

/// Evidence and what it has to be bound to.
pub(crate) struct Attempt {
    /// The launch order that made the agent.
    pub(crate) order: OrderId,
    pub(crate) evidence: Evidence,
    pub(crate) bound: BoundTo,
}

/// Judges an attempt: uses up its nonce, fetches what is missing, verifies. Whoever asks tells the audit log.
///
/// # Errors
/// A rejection with the first reason that was found, and the evidence when it was looked at.
pub(crate) async fn judge(
    world: &World,
    attempt: Attempt,
    applied: Arc<Applied>,
    now: Timestamp,
) -> Result<(Verdict, Arc<Exhibit>), Turned> {
    // Before the nonce is used up: who is sent away for being one too many keeps it.
    let _place = world.judge.enter()?;
    let mode = applied.policy.modes.nonce;
    let nonce_failure = challenge::use_nonce(world, &attempt.bound, mode, now).await?;
    let mut exhibit = Exhibit {
        evidence: attempt.evidence,
        binding: attempt.bound,
        nonce_failure,
        collateral: None,
        token_keys: None,
        policy: applied.document.clone(),
        at: now,
    };
    world.judge.complete(&mut exhibit, &applied.policy).await?;
    let exhibit = Arc::new(exhibit);
    match world.judge.verify(&exhibit, &applied, now).await {
        Ok(verdict) => Ok((verdict, exhibit)),
        Err(rejection) => {
            let shown = Arc::clone(&exhibit);
            sightings::look(world, &attempt.order, shown, applied, &rejection).await;
            Err(Turned {
                rejection,
                exhibit: Some(exhibit),
            })
        }
    }
}

/// An attempt that was turned down.
pub(crate) struct Turned {
    pub(crate) rejection: Rejection,
    /// What was looked at; none when it did not come to that.
    pub(crate) exhibit: Option<Arc<Exhibit>>,
}

impl From<Rejection> for Turned {
    fn from(rejection: Rejection) -> Self {
        Self {
            rejection,
            exhibit: None,
        }
    }
}

/// Takes fresh evidence of an agent that is already in.
///
/// # Errors
/// A rejection; the agent's record then says so, and the next pass takes it out of exposure.
pub async fn attest(
    world: &World,
    agent: &AgentRecord,
    request: AttestRequest,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let mut tried = Tried::new(agent.agent.order(), &request.nonce);
    let result = reattest(world, agent, request, now, &mut tried).await;
    tell(world, &tried, result.as_ref());
    result
}

async fn reattest(
    world: &World,
    agent: &AgentRecord,
    request: AttestRequest,
    now: Timestamp,
    tried: &mut Tried,
) -> Result<Verdict, Rejection> {
    let revision = world.revision().ok_or(ReasonCode::DependencyUnavailable)?;
    let applied = agent_policy(&revision, agent)?;
    tried.under(&applied.policy);
    let policy = applied.policy.digest;
    let attempt = Attempt {
        order: agent.agent.order(),
        evidence: request.evidence,
        bound: BoundTo {
            nonce: request.nonce,
            ita: request.ita_nonce,
            public_key: agent.public_key.clone(),
        },
    };
    let judged = judge(world, attempt, Arc::new(applied), now).await;
    let change = match &judged {
        Ok((verdict, exhibit)) => Change {
            trust: TrustRecord::Accepted(Box::new(verdict.clone())),
            evidence: Kept::These(Arc::clone(exhibit)),
            boot_id: request.boot_id.or_else(|| last_boot(world, agent)),
        },
        Err(turned) if tells_nothing(turned.rejection.code) => {
            return Err(turned.rejection.clone());
        }
        // The newest evidence counts, also when the policy changes: older evidence was better, and is past.
        Err(turned) => Change {
            trust: refused(&turned.rejection, policy),
            evidence: turned.exhibit.clone().map_or(Kept::Nothing, Kept::These),
            boot_id: None,
        },
    };
    set_trust(world, &agent.agent, change)
        .await
        .map_err(|error| internal(&error))?;
    world.unchallenge(&agent.agent);
    world.wake.notify_one();
    judged
        .map(|(verdict, _)| verdict)
        .map_err(|turned| turned.rejection)
}

/// A verifier that is away, or that was given collateral of no use, proves nothing about an agent.
fn is_nobodys_fault(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::DependencyUnavailable
            | ReasonCode::Internal
            | ReasonCode::CollateralOutdated
            | ReasonCode::CollateralUnusable
    )
}

/// Neither does a nonce that does not count: an answer that was sent twice is still the answer of a good agent.
/// Without fresh evidence its verdict runs out in its own time.
fn tells_nothing(code: ReasonCode) -> bool {
    is_nobodys_fault(code) || challenge::is_nonce(code)
}

/// Judges agents again whose policy has changed, from the evidence that was kept, without asking
/// them. Their verdicts then say what the new policy says of that evidence as of when it was shown: nothing is renewed.
///
/// # Errors
/// When the records cannot be read or written.
pub async fn rejudge(world: &World, revision: &Revision) -> Result<(), JournalError> {
    for agent in outdated(world, revision) {
        let Ok(applied) = agent_policy(revision, &agent) else {
            continue;
        };
        let kept = world
            .journal
            .get(Space::Evidence, agent.agent.to_string())
            .await?;
        let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Exhibit>(&bytes).ok())
        else {
            continue;
        };
        let policy = applied.policy.digest;
        let applied = Arc::new(applied);
        let trust = match world.judge.again(kept, applied, &agent.trust).await {
            Again::Accepts(verdict) => TrustRecord::Accepted(verdict),
            // What the new policy wants was never asked of the agent: a challenge will.
            Again::Unknown => continue,
            Again::Refuses(rejection) => refused(&rejection, policy),
        };
        let change = Change {
            trust,
            evidence: Kept::Same,
            boot_id: None,
        };
        set_trust(world, &agent.agent, change).await?;
    }
    Ok(())
}

fn outdated(world: &World, revision: &Revision) -> Vec<Arc<AgentRecord>> {
    let records = world.journal.read();
    let mut policies = Policies::new(revision);
    let changed = |agent: &&Arc<AgentRecord>| {
        let target = revision.desired.targets.get(&agent.target);
        let current = target.and_then(|target| policies.current(target, &agent.size));
        current.is_some() && current != crate::observe::judged_under(&agent.trust)
    };
    records.agents.values().filter(changed).cloned().collect()
}

/// The policy that an agent has to satisfy now.
pub(crate) fn agent_policy(revision: &Revision, agent: &AgentRecord) -> Result<Applied, Rejection> {
    let target = revision.desired.targets.get(&agent.target);
    let target = target.ok_or_else(|| {
        Rejection::new(
            ReasonCode::PolicyInvalid,
            format!("target {} is gone", agent.target),
        )
    })?;
    revision.policy(&target.policy, &agent.size)
}

fn refused(rejection: &Rejection, policy: Digest) -> TrustRecord {
    TrustRecord::Refused {
        code: rejection.code.code().into(),
        message: rejection.message.clone(),
        policy,
    }
}

/// The boot of an agent that does not say which one its evidence is of.
fn last_boot(world: &World, agent: &AgentRecord) -> Option<String> {
    let heard = world.presence.heard(&agent.agent);
    heard.map(|heard| heard.boot_id)
}

/// What a judgement changes in an agent's record.
struct Change {
    trust: TrustRecord,
    evidence: Kept,
    /// The boot that was found good; the one before stays when there is none.
    boot_id: Option<String>,
}

/// What becomes of the evidence that is kept of an agent.
enum Kept {
    Same,
    These(Arc<Exhibit>),
    Nothing,
}

async fn set_trust(world: &World, agent: &AgentId, change: Change) -> Result<(), JournalError> {
    let agent = agent.clone();
    let Change {
        trust,
        evidence,
        boot_id,
    } = change;
    world
        .journal
        .transact(move |records, change| {
            if let Some(record) = records.agents.get(&agent) {
                let mut record = AgentRecord::clone(record);
                record.trust = trust;
                record.boot_id = boot_id.unwrap_or(record.boot_id);
                change.put_agent(record);
                match evidence {
                    Kept::Same => {}
                    Kept::These(exhibit) => {
                        let bytes = serde_json::to_vec(&*exhibit).expect("plain data");
                        change.put(Space::Evidence, agent.as_str(), bytes);
                    }
                    Kept::Nothing => change.delete(Space::Evidence, agent.as_str()),
                }
            }
            Ok::<_, ()>(())
        })
        .await?
        .unwrap_or_default();
    Ok(())
}

pub(crate) fn internal(error: &JournalError) -> Rejection {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "records cannot be written"
    );
    ReasonCode::Internal.into()
}

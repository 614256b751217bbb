//! Attestation: evidence is judged, kept, and judged again when its policy changes. Every answer is a
//! verdict or a rejection with a reason code; nothing is accepted on any other path.

use std::sync::Arc;

use easyenclave_attestation::{
    Binding, Collateral, CollateralSource, PlatformFacts, Policy, verify,
};
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::wire::AttestRequest;
use easyenclave_schemas::{AgentId, Timestamp};
use easyenclave_store::{Space, StoreError};
use serde::{Deserialize, Serialize};

use crate::journal::JournalError;
use crate::revision::{Policies, Revision};
use crate::world::World;

/// Judges evidence: fetches the collateral, then verifies.
#[derive(Clone)]
pub struct Judge {
    collateral: Arc<dyn CollateralSource>,
}

/// Evidence with all that is needed to judge it again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) evidence: Evidence,
    pub(crate) nonce: String,
    pub(crate) public_key: String,
    pub(crate) collateral: Collateral,
}

impl Judge {
    /// A judge that asks this source for collateral.
    pub fn new(collateral: Arc<dyn CollateralSource>) -> Self {
        Self { collateral }
    }

    pub(crate) async fn judge(
        &self,
        evidence: &Evidence,
        binding: Binding,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(Verdict, Collateral), Rejection> {
        let facts = PlatformFacts::of(evidence)?;
        let collateral = self.collateral.collateral(&facts, now).await?;
        let verdict = verify(evidence, &binding, &collateral, policy, now)?;
        Ok((verdict, collateral))
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
    let revision = world.revision().ok_or(ReasonCode::DependencyUnavailable)?;
    let policy = agent_policy(&revision, agent)?;
    let binding = use_nonce(world, &request.nonce, &agent.public_key, now).await?;
    let judged = world
        .judge
        .judge(&request.evidence, binding, &policy, now)
        .await;
    let kept = |collateral| Kept {
        evidence: request.evidence.clone(),
        nonce: request.nonce.clone(),
        public_key: agent.public_key.clone(),
        collateral,
    };
    let (trust, kept) = match &judged {
        Ok((verdict, collateral)) => (
            TrustRecord::Accepted(Box::new(verdict.clone())),
            Some(kept(collateral.clone())),
        ),
        Err(rejection) if rejection.code == ReasonCode::DependencyUnavailable => {
            return Err(rejection.clone());
        }
        Err(rejection) => (refused(rejection, &policy), None),
    };
    keep(world, &agent.agent, trust, kept).await?;
    world.unchallenge(&agent.agent);
    world.wake.notify_one();
    judged.map(|(verdict, _)| verdict)
}

/// Judges agents again whose policy has changed, from the evidence that was kept, without asking
/// them. Their verdicts then say what the new policy says.
///
/// # Errors
/// When the records cannot be read or written.
pub async fn rejudge(
    world: &World,
    revision: &Revision,
    now: Timestamp,
) -> Result<(), JournalError> {
    for agent in outdated(world, revision) {
        let Ok(policy) = agent_policy(revision, &agent) else {
            continue;
        };
        let kept = world
            .journal
            .get(Space::Evidence, agent.agent.to_string())
            .await?;
        let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok()) else {
            continue;
        };
        let judged = binding(&kept.nonce, &kept.public_key)
            .and_then(|binding| verify(&kept.evidence, &binding, &kept.collateral, &policy, now));
        let trust = match judged {
            Ok(verdict) => TrustRecord::Accepted(Box::new(verdict)),
            Err(rejection) => refused(&rejection, &policy),
        };
        set_trust(world, &agent.agent, trust, None).await?;
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

fn agent_policy(revision: &Revision, agent: &AgentRecord) -> Result<Policy, Rejection> {
    let target = revision.desired.targets.get(&agent.target);
    let target = target.ok_or_else(|| {
        Rejection::new(
            ReasonCode::PolicyInvalid,
            format!("target {} is gone", agent.target),
        )
    })?;
    revision.policy(&target.policy, &agent.size)
}

fn refused(rejection: &Rejection, policy: &Policy) -> TrustRecord {
    TrustRecord::Refused {
        code: rejection.code.code().into(),
        message: rejection.message.clone(),
        policy: policy.digest,
    }
}

/// Uses the nonce up before anything is verified: whatever comes of it, it is never good again.
pub(crate) async fn use_nonce(
    world: &World,
    nonce: &str,
    public_key: &str,
    now: Timestamp,
) -> Result<Binding, Rejection> {
    let checked = world.tokens.check_nonce(nonce, now)?;
    let binding = binding(nonce, public_key)?;
    let text = hex::encode(checked.bytes);
    let used = world
        .journal
        .transact(move |_, change| {
            change.use_nonce(&text, checked.expires);
            Ok::<_, ()>(())
        })
        .await;
    match used {
        Ok(_) => Ok(binding),
        Err(JournalError::Store(StoreError::Conflict { .. })) => {
            Err(ReasonCode::NonceReplayed.into())
        }
        Err(error) => Err(internal(&error)),
    }
}

fn binding(nonce: &str, public_key: &str) -> Result<Binding, Rejection> {
    let bytes = |text: &str, code: ReasonCode| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Rejection::from(code))?;
        Ok::<_, Rejection>(bytes)
    };
    Ok(Binding {
        nonce: bytes(nonce, ReasonCode::NonceUnknown)?,
        public_key: bytes(public_key, ReasonCode::SignatureInvalid)?,
    })
}

async fn keep(
    world: &World,
    agent: &AgentId,
    trust: TrustRecord,
    kept: Option<Kept>,
) -> Result<(), Rejection> {
    set_trust(world, agent, trust, kept)
        .await
        .map_err(|error| internal(&error))
}

async fn set_trust(
    world: &World,
    agent: &AgentId,
    trust: TrustRecord,
    kept: Option<Kept>,
) -> Result<(), JournalError> {
    let agent = agent.clone();
    let kept = kept.map(|kept| serde_json::to_vec(&kept).expect("evidence is plain data"));
    world
        .journal
        .transact(move |records, change| {
            if let Some(record) = records.agents.get(&agent) {
                let mut record = AgentRecord::clone(record);
                record.trust = trust;
                change.put_agent(record);
                if let Some(kept) = kept {
                    change.put(Space::Evidence, agent.as_str(), kept);
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

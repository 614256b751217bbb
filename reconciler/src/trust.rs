//! Registration and attestation: who is taken in, and who stays. Every answer is a verdict or a
//! rejection with a reason code; nothing is accepted on any other path.

use std::sync::Arc;

use easyenclave_attestation::{
    Binding, Collateral, CollateralSource, PlatformFacts, Policy, verify,
};
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, OrderPhase, OrderRecord, TrustRecord, WorkRecord};
use easyenclave_schemas::wire::{AttestRequest, RegisterRequest};
use easyenclave_schemas::{AgentId, Generation, Timestamp};
use easyenclave_store::{Space, StoreError};
use serde::{Deserialize, Serialize};

use crate::journal::{JournalError, Records};
use crate::revision::Revision;
use crate::world::World;

/// Judges evidence: fetches the collateral, then verifies.
#[derive(Clone)]
pub struct Judge {
    collateral: Arc<dyn CollateralSource>,
}

/// Evidence with all that is needed to judge it again.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    evidence: Evidence,
    nonce: String,
    public_key: String,
    collateral: Collateral,
}

impl Judge {
    /// A judge that asks this source for collateral.
    pub fn new(collateral: Arc<dyn CollateralSource>) -> Self {
        Self { collateral }
    }

    async fn judge(
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

/// Takes an agent in. The request's signature was checked against the key that it names.
///
/// # Errors
/// A rejection with the first reason that was found.
pub async fn register(
    world: &World,
    request: RegisterRequest,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let order = open_order(world, &request)?;
    let policy = policy_for(world, &order)?;
    let binding = use_nonce(world, &request.nonce, &request.public_key, now).await?;
    let judged = world
        .judge
        .judge(&request.evidence, binding, &policy, now)
        .await;
    let (verdict, collateral) = match judged {
        Ok(judged) => judged,
        Err(rejection) => {
            audit(
                world,
                "registration_attestation_rejected",
                &request,
                Err(&rejection),
            );
            return Err(rejection);
        }
    };
    audit(
        world,
        "registration_attestation_accepted",
        &request,
        Ok(&verdict),
    );
    admit(world, request, verdict.clone(), collateral, now).await?;
    world.wake.notify_one();
    world.orders.notify_waiters();
    Ok(verdict)
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
    let changed = |agent: &&Arc<AgentRecord>| {
        let current = agent_policy(revision, agent)
            .ok()
            .map(|policy| policy.digest);
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

/// The order behind a registration, when it is open to this agent and the token is its own.
fn open_order(world: &World, request: &RegisterRequest) -> Result<Arc<OrderRecord>, Rejection> {
    let records = world.journal.read();
    let order = records
        .orders
        .get(&request.order_id)
        .ok_or(ReasonCode::OrderUnknown)?;
    admissible(world, &records, order, request)?;
    Ok(Arc::clone(order))
}

/// The same key and order is the same agent; another key under a used token is a stranger.
fn admissible(
    world: &World,
    records: &Records,
    order: &OrderRecord,
    request: &RegisterRequest,
) -> Result<(), Rejection> {
    let fence = order.claim.as_ref().map_or(0, |claim| claim.fence);
    if !world
        .tokens
        .is_bootstrap(&request.bootstrap_token, &order.order, fence)
    {
        return Err(ReasonCode::TokenWrong.into());
    }
    match order.state {
        OrderPhase::Claimed | OrderPhase::Provisioning => Ok(()),
        OrderPhase::Fulfilled => match records.agents.get(&order.order.agent()) {
            Some(known) if known.public_key == request.public_key => Ok(()),
            _ => Err(ReasonCode::TokenUsed.into()),
        },
        OrderPhase::Open | OrderPhase::Failed(_) | OrderPhase::Cancelled => {
            Err(ReasonCode::OrderUnknown.into())
        }
    }
}

fn policy_for(world: &World, order: &OrderRecord) -> Result<Policy, Rejection> {
    let WorkRecord::Launch {
        policy,
        size,
        target,
        ..
    } = &order.work
    else {
        return Err(ReasonCode::OrderUnknown.into());
    };
    let revision = world.revision().ok_or(ReasonCode::DependencyUnavailable)?;
    // The target's policy of now counts, not that of the day when the order was opened.
    let policy = revision
        .desired
        .targets
        .get(target)
        .map_or(policy, |target| &target.policy);
    revision.policy(policy, size)
}

/// Uses the nonce up before anything is verified: whatever comes of it, it is never good again.
async fn use_nonce(
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

/// Writes the agent and fulfils its order, if nobody else has done so meanwhile.
async fn admit(
    world: &World,
    request: RegisterRequest,
    verdict: Verdict,
    collateral: Collateral,
    now: Timestamp,
) -> Result<(), Rejection> {
    let kept = Kept {
        evidence: request.evidence.clone(),
        nonce: request.nonce.clone(),
        public_key: request.public_key.clone(),
        collateral,
    };
    let evidence = serde_json::to_vec(&kept).expect("evidence is plain data");
    world
        .journal
        .transact(move |records, change| {
            let order = records
                .orders
                .get(&request.order_id)
                .ok_or(ReasonCode::OrderUnknown)?;
            if !matches!(
                order.state,
                OrderPhase::Claimed | OrderPhase::Provisioning | OrderPhase::Fulfilled
            ) {
                return Err(Rejection::from(ReasonCode::OrderUnknown));
            }
            let known = records.agents.get(&order.order.agent());
            if known.is_some_and(|known| known.public_key != request.public_key) {
                return Err(ReasonCode::TokenUsed.into());
            }
            let agent = agent_record(order, &request, verdict, now, known.map(AsRef::as_ref))?;
            change.put(Space::Evidence, agent.agent.as_str(), evidence);
            change.put_agent(agent);
            let mut order = OrderRecord::clone(order);
            order.state = OrderPhase::Fulfilled;
            order.error = None;
            change.put_order(order);
            Ok(())
        })
        .await
        .map_err(|error| internal(&error))?
}

fn agent_record(
    order: &OrderRecord,
    request: &RegisterRequest,
    verdict: Verdict,
    now: Timestamp,
    known: Option<&AgentRecord>,
) -> Result<AgentRecord, Rejection> {
    let WorkRecord::Launch {
        target, slot, size, ..
    } = &order.work
    else {
        return Err(ReasonCode::OrderUnknown.into());
    };
    let worker = order.claim.as_ref().map(|claim| claim.worker.clone());
    Ok(AgentRecord {
        agent: order.order.agent(),
        target: target.clone(),
        slot: *slot,
        datacenter: order.datacenter.clone(),
        size: size.clone(),
        provider: order.provider.clone(),
        worker: worker.ok_or(ReasonCode::OrderUnknown)?,
        public_key: request.public_key.clone(),
        address: request.address.clone(),
        boot_id: request.boot_id.clone(),
        version: request.version.chars().take(40).collect(),
        registered_at: known.map_or(now, |known| known.registered_at),
        trust: TrustRecord::Accepted(Box::new(verdict)),
        generation: known.map_or(Generation::default(), |known| known.generation),
        assigned: known.and_then(|known| known.assigned.clone()),
        quarantined: known.and_then(|known| known.quarantined),
        exposed: known.and_then(|known| known.exposed.clone()),
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

fn internal(error: &JournalError) -> Rejection {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "records cannot be written"
    );
    ReasonCode::Internal.into()
}

/// The terminal event of a registration. Nothing in it is secret.
fn audit(
    world: &World,
    event_name: &str,
    request: &RegisterRequest,
    result: Result<&Verdict, &Rejection>,
) {
    let _ = world;
    let nonce_id: String = request.nonce.chars().take(8).collect();
    match result {
        Ok(verdict) => tracing::info!(
            event_name,
            order = %request.order_id,
            nonce_id,
            reason_code = "OK",
            mrtd = %verdict.mrtd,
            tcb_status = %verdict.tcb_status,
            simulated = verdict.simulated,
            trust_root = %verdict.trust_root,
            result = "accepted",
        ),
        Err(rejection) => tracing::warn!(
            event_name,
            order = %request.order_id,
            nonce_id,
            reason_code = rejection.code.code(),
            message = rejection.message,
            result = "rejected",
        ),
    }
}

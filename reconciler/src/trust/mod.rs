//! Attestation: evidence is judged, kept, and judged again when its policy changes. Every answer is a
//! verdict or a rejection with a reason code; nothing is accepted on any other path.

mod audit;
mod auditors;
mod challenge;
mod filing;
mod heard;
mod judge;
mod rejudge;
mod sightings;
mod supply;

use std::sync::Arc;

use easyenclave_schemas::documents::Mint;
use easyenclave_schemas::evidence::{Evidence, Outcome, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::wire::AttestRequest;
use easyenclave_schemas::{AgentId, Digest, OrderId, Timestamp};
use easyenclave_store::Space;

use crate::journal::JournalError;
use crate::revision::{Applied, Revision};
use crate::world::World;

pub(crate) use audit::{Tried, tell};
pub(crate) use auditors::{REMEDY, tell_of_keeping};
pub use auditors::{kept_from_now, unauditable};
pub use challenge::{Fetched, issue};
pub(crate) use filing::{Filing, Judgement, filed, forget, forget_strays};
pub use judge::{BoundTo, Exhibit, IN_HAND, Judge, PATIENCE, Sources};
pub use rejudge::{SHARE, Unjudged, rejudge};
pub use sightings::{Sightings, forget_trusted};
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
    let mint = applied.policy.ita.as_ref().map(|ita| ita.mint);
    let boot_id = request.boot_id.clone();
    let applied = Arc::new(applied);
    let judged = judge(world, attempt(agent, request), Arc::clone(&applied), now).await;
    let (trust, exhibit, boot_id) = match &judged {
        Ok((verdict, exhibit)) => (
            TrustRecord::Accepted(Box::new(verdict.clone())),
            Some(Arc::clone(exhibit)),
            boot_id.or_else(|| last_boot(world, agent)),
        ),
        Err(turned) if tells_nothing(turned.rejection.code, mint) => {
            return Err(turned.rejection.clone());
        }
        // The newest evidence counts, also when the policy changes: older evidence was better, and is past.
        Err(turned) => (
            refused(&turned.rejection, policy, now),
            turned.exhibit.clone(),
            None,
        ),
    };
    let judgement = exhibit.map(|exhibit| judgement(agent, exhibit, applied, &judged));
    let shown = shown(world, judgement, &revision).await;
    let found = Found {
        agent: agent.agent.clone(),
        before: agent.trust.clone(),
        trust,
        shown,
        boot_id,
    };
    set_trust(world, found)
        .await
        .map_err(|error| internal(&error))?;
    world.unjudged.forget(&agent.agent);
    world.unchallenge(&agent.agent);
    world.wake.notify_one();
    judged
        .map(|(verdict, _)| verdict)
        .map_err(|turned| turned.rejection)
}

fn attempt(agent: &AgentRecord, request: AttestRequest) -> Attempt {
    Attempt {
        order: agent.agent.order(),
        evidence: request.evidence,
        bound: BoundTo {
            nonce: request.nonce,
            ita: request.ita_nonce,
            public_key: agent.public_key.clone(),
        },
    }
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
fn tells_nothing(code: ReasonCode, mint: Option<Mint>) -> bool {
    is_nobodys_fault(code)
        || challenge::is_nonce(code)
        || mint == Some(Mint::Reconciler) && is_of_a_token(code)
}

/// Whether a refusal may be over without the agent having changed. It says nothing of an agent that no record knows.
pub(crate) fn may_be_over(code: ReasonCode) -> bool {
    tells_nothing(code, Some(Mint::Reconciler)) || code == ReasonCode::PolicyInvalid
}

/// A token that the reconciler asked for itself and that does not count says something of the Trust Authority, of our
/// clock or of the policy, and nothing of the agent.
fn is_of_a_token(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ItaSignatureInvalid
            | ReasonCode::ItaTokenExpired
            | ReasonCode::ItaTokenNotYetValid
            | ReasonCode::ItaIssuerInvalid
            | ReasonCode::ItaAudienceInvalid
    )
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

fn refused(rejection: &Rejection, policy: Digest, shown_at: Timestamp) -> TrustRecord {
    TrustRecord::Refused {
        code: rejection.code.code().into(),
        message: rejection.message.clone(),
        policy,
        shown_at,
        trust_root: rejection.trust_root,
    }
}

/// What an agent showed and what was found.
struct Found {
    agent: AgentId,
    /// What was known of it when its evidence was taken.
    before: TrustRecord,
    trust: TrustRecord,
    /// None where it did not come to that.
    shown: Option<Shown>,
    /// The boot that was found good; the one before stays when there is none.
    boot_id: Option<String>,
}

/// Evidence, and what the status branch keeps of its judgement.
struct Shown {
    exhibit: Arc<Exhibit>,
    filing: Filing,
}

/// None when there is nothing to file, or it cannot be filed: what was found counts all the same.
async fn shown(world: &World, judgement: Option<Judgement>, revision: &Revision) -> Option<Shown> {
    let judgement = judgement?;
    let exhibit = Arc::clone(&judgement.exhibit);
    let filing = world.judge.file(judgement, revision).await?;
    Some(Shown { exhibit, filing })
}

fn judgement(
    agent: &AgentRecord,
    exhibit: Arc<Exhibit>,
    applied: Arc<Applied>,
    judged: &Result<(Verdict, Arc<Exhibit>), Turned>,
) -> Judgement {
    Judgement {
        agent: agent.agent.clone(),
        exhibit,
        applied,
        outcome: match judged {
            Ok((verdict, _)) => Outcome::Accepted(Box::new(verdict.clone())),
            Err(turned) => Outcome::Refused(turned.rejection.clone()),
        },
    }
}

/// The boot of an agent that does not say which one its evidence is of.
fn last_boot(world: &World, agent: &AgentRecord) -> Option<String> {
    let heard = world.presence.heard(&agent.agent);
    heard.map(|heard| heard.boot_id)
}

/// The newest evidence counts, whichever is judged first: what came of it meanwhile is not written over, unless that
/// was the evidence of before, judged again.
pub(crate) fn counts(
    trust: &TrustRecord,
    before: Option<&TrustRecord>,
    known: &TrustRecord,
) -> bool {
    let known = known.shown_at();
    Some(known) == before.map(TrustRecord::shown_at) || known <= trust.shown_at()
}

async fn set_trust(world: &World, found: Found) -> Result<(), JournalError> {
    let written = world.journal.transact(move |records, change| {
        let Some(record) = records.agents.get(&found.agent) else {
            return Ok(());
        };
        if !counts(&found.trust, Some(&found.before), &record.trust) {
            return Ok(());
        }
        let mut record = AgentRecord::clone(record);
        record.trust = found.trust;
        record.boot_id = found.boot_id.unwrap_or(record.boot_id);
        let before = record.evidence.take();
        match found.shown {
            Some(Shown { exhibit, filing }) => {
                let bytes = serde_json::to_vec(&*exhibit).expect("plain data");
                change.put(Space::Evidence, found.agent.as_str(), bytes);
                record.evidence = Some(filing.record);
                filing.put(change, before);
            }
            None => change.delete(Space::Evidence, found.agent.as_str()),
        }
        change.put_agent(record);
        Ok::<_, ()>(())
    });
    written.await?.unwrap_or_default();
    Ok(())
}

pub(crate) fn internal(error: &JournalError) -> Rejection {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "records cannot be written"
    );
    ReasonCode::Internal.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_we_asked_for_ourselves_is_no_fault_of_the_agents() {
        for code in [
            ReasonCode::ItaSignatureInvalid,
            ReasonCode::ItaTokenExpired,
            ReasonCode::ItaTokenNotYetValid,
            ReasonCode::ItaIssuerInvalid,
            ReasonCode::ItaAudienceInvalid,
        ] {
            assert!(tells_nothing(code, Some(Mint::Reconciler)), "{code}");
            assert!(!tells_nothing(code, Some(Mint::Agent)), "{code}");
            assert!(code.may_pass(), "{code}");
        }
        assert!(!tells_nothing(
            ReasonCode::MrtdUntrusted,
            Some(Mint::Reconciler)
        ));
    }

    #[test]
    fn evidence_that_was_shown_later_is_not_written_over() {
        let at = Timestamp::from_millis;
        let shown = |millis| {
            let rejection = ReasonCode::MrtdUntrusted.into();
            refused(&rejection, Digest::of(b"a policy"), at(millis))
        };
        let counts =
            |(before, trust), known| counts(&shown(trust), Some(&shown(before)), &shown(known));
        assert!(counts((1, 5), 1));
        assert!(counts((1, 5), 4), "older evidence came first");
        assert!(!counts((1, 5), 6), "newer evidence came first");
        assert!(counts((9, 5), 9), "the clock was set back");
    }
}

//! Challenges: what an agent has to bind into its quote, and whether what comes back is what was handed out.

use std::time::Duration;

use easyenclave_attestation::Policy;
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::{ItaSpec, Mint, NonceMode};
use easyenclave_schemas::evidence::{ItaNonce, ReasonCode, Rejection};
use easyenclave_schemas::wire::{Challenge, ItaChallenge, ItaMint};
use easyenclave_store::StoreError;
use tokio::time::timeout;

use super::internal;
use super::judge::BoundTo;
use crate::journal::JournalError;
use crate::tokens::NONCE_LIFE;
use crate::world::World;

/// The Trust Authority is not waited for longer while an agent waits for its challenge.
const PATIENCE: Duration = Duration::from_secs(10);

/// A challenge for an agent under this policy; for a stranger when there is none.
///
/// # Errors
/// When the policy asks Intel Trust Authority and that gives no nonce.
pub async fn issue(world: &World, policy: Option<&Policy>) -> Result<Challenge, Rejection> {
    let settings = policy.and_then(|policy| policy.ita.as_ref());
    let ita = match settings {
        None => None,
        Some(settings) => Some(ita_challenge(world, settings).await?),
    };
    let nonce = ita.as_ref().map(|ita| &ita.nonce);
    let nonce = world
        .tokens
        .nonce(world.clock.now(), world.entropy.bytes(), nonce);
    world.metrics.nonce_issued();
    Ok(Challenge {
        nonce: hex::encode(nonce),
        expires_in_seconds: NONCE_LIFE.as_secs(),
        ita,
    })
}

async fn ita_challenge(world: &World, settings: &ItaSpec) -> Result<ItaChallenge, Rejection> {
    let asked = timeout(PATIENCE, world.judge.authority().nonce(settings)).await;
    let nonce = asked.map_err(|_| {
        Rejection::new(
            ReasonCode::DependencyUnavailable,
            "Intel Trust Authority gave no nonce in time",
        )
    })??;
    let mint = (settings.mint == Mint::Agent).then(|| ItaMint {
        api_url: settings.api_url.clone(),
        version: settings.version,
        algorithm: settings.algorithm,
        policy_ids: settings.policy_ids.clone(),
    });
    Ok(ItaChallenge { nonce, mint })
}

/// Uses the nonce up before anything is verified: whatever comes of it, it is never good again. Answers
/// what was wrong with it, which the policy may let pass.
///
/// # Errors
/// When the nonce is wrong and the policy requires one, or when the records cannot be written.
pub(super) async fn use_nonce(
    world: &World,
    bound: &BoundTo,
    mode: NonceMode,
    now: Timestamp,
) -> Result<Option<ReasonCode>, Rejection> {
    match spend(world, &bound.nonce, bound.ita.as_ref(), now).await {
        Ok(()) => Ok(None),
        Err(rejection) if mode != NonceMode::Required && is_nonce(rejection.code) => {
            Ok(Some(rejection.code))
        }
        Err(rejection) => Err(rejection),
    }
}

async fn spend(
    world: &World,
    nonce: &str,
    ita: Option<&ItaNonce>,
    now: Timestamp,
) -> Result<(), Rejection> {
    let checked = world
        .tokens
        .check_nonce(nonce, ita, now)
        .inspect_err(|rejection| world.metrics.nonce_refused(rejection.code))?;
    let text = hex::encode(checked.bytes);
    let used = world
        .journal
        .transact(move |_, change| {
            change.use_nonce(&text, checked.expires);
            Ok::<_, ()>(())
        })
        .await;
    match used {
        Ok(_) => {
            world.metrics.nonce_consumed();
            Ok(())
        }
        Err(JournalError::Store(StoreError::Conflict { .. })) => {
            Err(ReasonCode::NonceReplayed.into())
        }
        Err(error) => Err(internal(&error)),
    }
}

/// Whether the nonce itself did not count, whatever came with it.
pub(super) fn is_nonce(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::NonceMissing
            | ReasonCode::NonceUnknown
            | ReasonCode::NonceExpired
            | ReasonCode::NonceReplayed
    )
}

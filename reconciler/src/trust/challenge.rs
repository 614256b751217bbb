//! Challenges: what an agent has to bind into its quote, and whether what comes back is what was handed out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use easyenclave_attestation::Policy;
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, Mint, NonceMode};
use easyenclave_schemas::evidence::{ItaNonce, ReasonCode, Rejection};
use easyenclave_schemas::wire::{Challenge, ItaChallenge, ItaMint};
use easyenclave_schemas::{Digest, OrderId, Timestamp};
use easyenclave_store::StoreError;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::internal;
use super::judge::BoundTo;
use crate::journal::JournalError;
use crate::tokens::NONCE_LIFE;
use crate::world::World;

/// The Trust Authority is not waited for longer while an agent waits for its challenge.
const PATIENCE: Duration = Duration::from_secs(10);

/// For so long an order's challenges share a nonce of the Trust Authority. An agent asks once for each attempt.
const SHARED: Duration = Duration::from_secs(15);

/// A challenge for the agent of this order under this policy; for a stranger when there is none.
///
/// # Errors
/// When the policy asks Intel Trust Authority and that gives no nonce.
pub async fn issue(
    world: &World,
    order: Option<&OrderId>,
    policy: Option<&Policy>,
) -> Result<Challenge, Rejection> {
    let settings = policy.and_then(|policy| policy.ita.as_ref());
    let ita = match (settings, order) {
        (Some(settings), Some(order)) => Some(ita_challenge(world, order, settings).await?),
        _ => None,
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

async fn ita_challenge(
    world: &World,
    order: &OrderId,
    settings: &ItaSpec,
) -> Result<ItaChallenge, Rejection> {
    let _place = world.judge.enter()?;
    let slot = world.fetched.slot(order, settings, world.clock.now());
    let fetch = || async { Ok(world.judge.authority().nonce(settings).await?) };
    let asked = timeout(PATIENCE, slot.get_or_try_init(fetch)).await;
    let nonce: Result<_, Rejection> = asked.map_err(|_| {
        Rejection::new(
            ReasonCode::DependencyUnavailable,
            "Intel Trust Authority gave no nonce in time",
        )
    })?;
    let nonce = nonce?.clone();
    let mint = (settings.mint == Mint::Agent).then(|| ItaMint {
        api_url: settings.api_url.clone(),
        version: settings.version,
        algorithm: settings.algorithm,
        policy_ids: settings.policy_ids.clone(),
    });
    Ok(ItaChallenge { nonce, mint })
}

/// Nonces of the Trust Authority that were fetched a moment ago, by order: anybody may ask for a challenge, and each call
/// takes from our allowance. One that was used is never handed out again, nor does it count again.
#[derive(Debug, Default)]
pub struct Fetched(Mutex<BTreeMap<OrderId, Slot>>);

#[derive(Debug)]
struct Slot {
    nonce: Arc<OnceCell<ItaNonce>>,
    /// The API that it comes from, and its version.
    from: (String, ItaVersion),
    until: Timestamp,
}

impl Fetched {
    /// The place of an order's nonce, filled or not. Many who ask at once wait for one call.
    fn slot(&self, order: &OrderId, settings: &ItaSpec, now: Timestamp) -> Arc<OnceCell<ItaNonce>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| now < slot.until && slot.until <= now.plus(SHARED));
        let from = (settings.api_url.clone(), settings.version);
        if let Some(slot) = slots.get(order).filter(|slot| slot.from == from) {
            return Arc::clone(&slot.nonce);
        }
        let nonce = Arc::new(OnceCell::new());
        let slot = Slot {
            nonce: Arc::clone(&nonce),
            from,
            until: now.plus(SHARED),
        };
        slots.insert(order.clone(), slot);
        nonce
    }

    /// It is used up.
    fn forget(&self, nonce: &ItaNonce) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.nonce.get() != Some(nonce));
    }
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
    // The quote binds the Trust Authority's nonce and not ours, and two of ours may go with one of those.
    let theirs = ita.map(|ita| {
        let parts = [ita.val.as_bytes(), ita.iat.as_bytes()];
        Digest::of_list(parts).to_string()
    });
    let used = world
        .journal
        .transact(move |_, change| {
            change.use_nonce(&text, checked.expires);
            if let Some(theirs) = theirs {
                change.use_nonce(&theirs, checked.expires.plus(SHARED));
            }
            Ok::<_, ()>(())
        })
        .await;
    if let Some(ita) = ita {
        world.fetched.forget(ita);
    }
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

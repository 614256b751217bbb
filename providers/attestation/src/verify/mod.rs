//! Verification: evidence, collateral, a policy and a time in; a verdict or a rejection out. Pure: it never reads a
//! clock, a file, the environment or the network, and the trust root comes from the policy alone.

mod facts;
mod judge;
mod policy;
mod reasons;
mod root;

use dcap_qvl::{QuoteClaims, QuotePolicy};
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::{Digest, Timestamp};

use crate::collateral::Collateral;
use crate::collect::report_data;
use crate::layout::QuoteView;
pub use policy::{IntelIsNotSimulated, PlatformFlags, Policy, SimulatedRoot, TrustRoot};

/// What the quote must be bound to: both as the verifier holds them, never as the message gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The nonce that the verifier stored.
    pub nonce: [u8; 32],
    /// The raw Ed25519 public key that is about to be trusted.
    pub public_key: [u8; 32],
}

/// Verifies `evidence` at the time `now`. The same arguments give the same answer at any real time.
///
/// # Errors
/// A rejection with the reason code of the first check that failed, in the order of the contract:
/// layout, binding, signatures and collateral, measurement, platform, TCB.
pub fn verify(
    evidence: &Evidence,
    binding: &Binding,
    collateral: &Collateral,
    policy: &Policy,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let quote = facts::read(evidence)?;
    if quote.report_data() != report_data(&binding.nonce, &binding.public_key) {
        return Err(ReasonCode::BindingMismatch.into());
    }
    appraise(&quote, collateral, policy, now)
}

/// Everything but the binding. Without that a quote may be anybody's, so this stays inside the crate.
pub(crate) fn appraise(
    quote: &QuoteView<'_>,
    collateral: &Collateral,
    policy: &Policy,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    let claims = claims(quote, collateral, policy, now)?;
    judge::measurement(&claims, policy)?;
    judge::platform(&claims, policy)?;
    let tcb_status = judge::tcb(&claims, policy, now)?;
    let body = judge::body(&claims)?;
    let root = policy.trust_root.key_id();
    Ok(Verdict {
        accepted_at: now,
        trusted_until: judge::trusted_until(&claims, policy, now),
        trust_root: root,
        simulated: root.is_simulated(),
        tcb_status,
        advisory_ids: claims.tcb.advisory_ids,
        mrtd: body.mrtd,
        rtmrs: body.rtmrs,
        mrseam: body.mrseam,
        mrconfigid: body.mrconfigid,
        fmspc: body.fmspc,
        policy_digest: policy.digest,
        evidence_digest: Digest::of(quote.bytes()),
        collateral_digest: collateral.digest(),
        warnings: Vec::new(),
    })
}

/// Everything that signatures can prove, under the policy's root. The library's own policy is switched
/// off on purpose: what it would say is text, and ours is judged on the claims, in the contract's order.
fn claims(
    quote: &QuoteView<'_>,
    collateral: &Collateral,
    policy: &Policy,
    now: Timestamp,
) -> Result<QuoteClaims, Rejection> {
    let verifier = root::verifier(&policy.trust_root, collateral)?;
    let claims = verifier
        .verify_with_policy(
            quote.bytes(),
            collateral.as_dcap(),
            now.as_secs(),
            &QuotePolicy::claims_only(now.as_secs()),
        )
        .map_err(|error| reasons::classify(&error))?;
    root::check(&policy.trust_root, &claims)?;
    judge::dates(&claims, now)?;
    Ok(claims)
}

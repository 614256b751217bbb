//! Verification: one case in, a verdict or a rejection out. Pure: it never reads a clock, a file, the
//! environment or the network, and the trust root comes from the policy alone.

mod again;
mod agree;
mod case;
mod dcap;
mod facts;
mod foresee;
mod judge;
mod policy;
mod reasons;
mod root;
mod runtime;
mod sight;
mod signed;
#[cfg(feature = "fetch")]
mod sound;
mod token;

use easyenclave_schemas::documents::NonceMode;
use easyenclave_schemas::evidence::{
    ReasonCode, Rejection, TcbStatus, Verdict, VerifierKind, Warning,
};
use easyenclave_schemas::{Digest, Timestamp};

use crate::collateral::Collateral;
use crate::event_log::EventLog;
use crate::layout::QuoteView;
pub use again::{Again, judge_again};
pub use case::{Binding, Case};
pub use foresee::{Foresight, foresee};
pub use policy::{IntelIsNotSimulated, PlatformFlags, Policy, Reference, SimulatedRoot, TrustRoot};
pub use sight::sight;
pub use signed::vouches;
#[cfg(feature = "fetch")]
pub(crate) use sound::{Standing, standing};
pub use token::settings_digest as token_settings;

/// What one verifier found out about a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Findings {
    tcb_status: TcbStatus,
    advisory_ids: Vec<String>,
    /// The date of the platform's TCB level, from which grace counts.
    tcb_date: Timestamp,
    properties: PlatformFlags,
    /// The first moment at which the finding no longer counts.
    until: Timestamp,
}

/// Verifies a case. The same case gives the same answer at any real time.
///
/// # Errors
/// A rejection with the reason code of the first check that failed, in the order of the contract:
/// nonce, layout, binding, signatures and tokens, measurement, platform, TCB, runtime measurements. It names the root of
/// the policy where that vouches for the platform all the same, and no other.
pub fn verify(case: &Case<'_>) -> Result<Verdict, Rejection> {
    judged(case).map_err(|rejection| {
        let root = case.policy.trust_root.key_id();
        let vouched = vouches(root, case.evidence, case.collateral, case.now);
        rejection.under(vouched.then_some(root))
    })
}

fn judged(case: &Case<'_>) -> Result<Verdict, Rejection> {
    let mut warnings = Vec::new();
    let quote = facts::read(case.evidence)?;
    nonce(case, &quote, &mut warnings)?;
    appraise(case, &quote, warnings)
}

/// Everything but nonce and binding. Without these a quote may be anybody's, so this stays inside the crate.
pub(crate) fn appraise(
    case: &Case<'_>,
    quote: &QuoteView<'_>,
    mut warnings: Vec<Warning>,
) -> Result<Verdict, Rejection> {
    let policy = case.policy;
    let (body, dcap) = if policy.dcap {
        let (body, findings) = dcap::verify(case, quote)?;
        (body, Some(findings))
    } else {
        let body = facts::Body::read(quote)?;
        signed::check(quote, policy.trust_root.key_id(), case.collateral, case.now)?;
        (body, None)
    };
    let ita = match &policy.ita {
        Some(settings) => Some(token::verify(case, settings, &body)?),
        None => None,
    };
    let findings = agree::findings(dcap.as_ref(), ita.as_ref().map(|ita| &ita.findings))?;
    let references = judge::references(&body, policy)?;
    judge::platform(&findings, policy)?;
    judge::attributes(&body, policy)?;
    let grace_until = judge::tcb(&findings, policy, case.now, &mut warnings)?;
    let log = event_log(case);
    let event_log_digest = log
        .as_ref()
        .ok()
        .and_then(|log| Some(log.as_ref()?.digest()));
    let measurement = runtime::judge(&body, log, &references, policy, &mut warnings)?;
    let root = policy.trust_root.key_id();
    Ok(Verdict {
        accepted_at: case.now,
        trusted_until: trusted_until(case.now, policy, &findings, grace_until),
        trust_root: root,
        simulated: root.is_simulated(),
        tcb_status: findings.tcb_status,
        advisory_ids: findings.advisory_ids,
        mrtd: body.mrtd,
        rtmrs: body.rtmrs,
        mrseam: body.mrseam,
        mrconfigid: body.mrconfigid,
        fmspc: body.fmspc,
        attributes: body.attributes,
        properties: findings.properties,
        tcb_date: findings.tcb_date,
        policy_digest: policy.digest,
        evidence_digest: Digest::of(quote.bytes()),
        collateral_digest: case.collateral.map(Collateral::digest),
        measurement,
        verifiers: verifiers(policy),
        modes: policy.modes,
        grace_until,
        collateral_until: dcap.map(|dcap| dcap.until),
        token: ita.map(|ita| ita.facts),
        event_log_digest,
        warnings,
    })
}

/// The first moment at which evidence that was shown at `shown` no longer counts. Whoever looks at it later, and under
/// whatever policy, its age counts from then.
fn trusted_until(
    shown: Timestamp,
    policy: &Policy,
    findings: &Findings,
    grace: Option<Timestamp>,
) -> Timestamp {
    let until = shown.plus(policy.max_age).min(findings.until);
    grace.map_or(until, |grace| grace.min(until))
}

/// Whether the nonce is good and the quote bound to it and to the key.
fn nonce(
    case: &Case<'_>,
    quote: &QuoteView<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), Rejection> {
    let code = ReasonCode::NonceWarning;
    if case.policy.modes.nonce == NonceMode::Disabled {
        let message = "nonce and binding were not checked".into();
        warnings.push(Warning { code, message });
        return Ok(());
    }
    match bound(case, quote) {
        Err(rejection) if case.policy.modes.nonce == NonceMode::Optional => {
            let message = rejection.message;
            warnings.push(Warning { code, message });
            Ok(())
        }
        result => result,
    }
}

fn bound(case: &Case<'_>, quote: &QuoteView<'_>) -> Result<(), Rejection> {
    case.nonce.map_err(Rejection::from)?;
    if quote.report_data() == case.binding.report_data()? {
        Ok(())
    } else {
        Err(ReasonCode::BindingMismatch.into())
    }
}

fn event_log(case: &Case<'_>) -> Result<Option<EventLog>, Rejection> {
    let log = case.evidence.event_log.as_ref();
    log.map(|log| EventLog::parse(log.as_bytes()))
        .transpose()
        .map_err(|error| Rejection::new(ReasonCode::EventLogMismatch, error.to_string()))
}

fn verifiers(policy: &Policy) -> Vec<VerifierKind> {
    let dcap = policy.dcap.then_some(VerifierKind::Dcap);
    let ita = policy.ita.as_ref().map(|_| VerifierKind::Ita);
    dcap.into_iter().chain(ita).collect()
}

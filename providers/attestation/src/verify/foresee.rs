//! What another policy would say of a machine whose verdict is known, without its evidence: for plans of changes
//! that are not merged yet. It accepts nothing; only [`super::verify`] does.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::{Enforcement, ItaSpec, NonceMode};
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TokenFacts, Verdict, VerifierKind};

use super::facts::Body;
use super::policy::{Policy, Reference};
use super::{Findings, judge, runtime, token, trusted_until};

/// What a policy would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foresight {
    /// It would accept, until then.
    Accepts(Timestamp),
    /// It would refuse, for this.
    Refuses(Rejection),
    /// It depends on the evidence, of which the verdict does not say enough.
    Unsaid,
    /// It asks for what nobody asked the agent for: only fresh evidence can tell.
    Unknown,
}

/// What `policy` would say of the machine that `verdict` describes, when it judges the same evidence again.
pub fn foresee(verdict: &Verdict, policy: &Policy) -> Foresight {
    let refused = |rejection: Rejection| rejection.under(Some(verdict.trust_root));
    judged(verdict, policy).unwrap_or_else(|rejection| Foresight::Refuses(refused(rejection)))
}

/// In the order in which [`super::verify`] looks. What is missing does not hide what is wrong.
fn judged(verdict: &Verdict, policy: &Policy) -> Result<Foresight, Rejection> {
    if verdict.trust_root != policy.trust_root.key_id() {
        return Err(ReasonCode::TrustRootMismatch.into());
    }
    let shown = verdict.accepted_at;
    let (body, findings) = (body(verdict), findings(verdict, policy));
    let mut references = judge::references(&body, policy)?;
    judge::platform(&findings, policy)?;
    judge::attributes(&body, policy)?;
    let mut warnings = Vec::new();
    let verified = is_verified(verdict, policy);
    // Another verifier would bring a status of its own.
    let grace = match verified {
        true => judge::tcb(&findings, policy, shown, &mut warnings)?,
        false => None,
    };
    // The log itself is not at hand, so demands on it cannot be looked at.
    let asks = |reference: &&Reference| !reference.events.is_empty();
    let open = references.iter().any(asks);
    references.retain(|reference| !asks(reference));
    match runtime::judge(&body, Ok(None), &references, policy, &mut warnings) {
        Err(rejection) if !open => Err(rejection),
        _ if !verified => Ok(Foresight::Unknown),
        Ok(_) if !was_let_pass(verdict, policy) => {
            let until = trusted_until(shown, policy, &findings, grace);
            Ok(Foresight::Accepts(until))
        }
        _ => Ok(Foresight::Unsaid),
    }
}

/// Whether the verifiers that the policy wants have judged this evidence, and under the same settings.
fn is_verified(verdict: &Verdict, policy: &Policy) -> bool {
    let token = |settings: &ItaSpec| {
        let stands = |token: &TokenFacts| {
            token.settings == Some(token::settings_digest(settings))
                && token.expires.plus(settings.leeway.get()) > verdict.accepted_at
        };
        verdict.token.as_ref().is_some_and(stands)
    };
    (!policy.dcap || verdict.verifiers.contains(&VerifierKind::Dcap))
        && policy.ita.as_ref().is_none_or(token)
}

/// Whether something was let pass that this policy lets pass no more, and that a verdict does not say enough of.
fn was_let_pass(verdict: &Verdict, policy: &Policy) -> bool {
    let warned = |code| verdict.warnings.iter().any(|warning| warning.code == code);
    warned(ReasonCode::NonceWarning) && policy.modes.nonce == NonceMode::Required
        || warned(ReasonCode::RtmrWarning) && policy.modes.rtmr == Enforcement::Strict
}

fn body(verdict: &Verdict) -> Body {
    Body {
        mrtd: verdict.mrtd,
        rtmrs: verdict.rtmrs,
        mrseam: verdict.mrseam,
        mrconfigid: verdict.mrconfigid,
        attributes: verdict.attributes,
        serves_guest: false,
        fmspc: verdict.fmspc,
        report_data: [0; 64],
    }
}

fn findings(verdict: &Verdict, policy: &Policy) -> Findings {
    let collateral = verdict.collateral_until.filter(|_| policy.dcap);
    let token = verdict.token.as_ref().zip(policy.ita.as_ref());
    let token = token.map(|(token, settings)| token::until(token.expires, settings));
    let ends = [collateral, token].into_iter().flatten();
    Findings {
        tcb_status: verdict.tcb_status,
        advisory_ids: verdict.advisory_ids.clone(),
        tcb_date: verdict.tcb_date,
        properties: verdict.properties,
        until: ends.min().unwrap_or(Timestamp::from_millis(i64::MAX)),
    }
}

//! What another policy would say of a machine whose verdict is known, without its evidence: for plans of changes
//! that are not merged yet. It accepts nothing; only [`super::verify`] does.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, Verdict};

use super::facts::Body;
use super::policy::{Policy, Reference};
use super::{Findings, judge, runtime};

/// What a policy would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foresight {
    /// It would accept, until then.
    Accepts(Timestamp),
    /// It would refuse, for this.
    Refuses(Rejection),
    /// It asks for what the verdict does not hold: the agent will have to attest again.
    Unknown,
}

/// What `policy` would say at `now` of the machine that `verdict` describes.
pub fn foresee(verdict: &Verdict, policy: &Policy, now: Timestamp) -> Foresight {
    if policy.ita.is_some() && verdict.token.is_none()
        || policy.dcap && verdict.collateral_digest.is_none()
    {
        return Foresight::Unknown;
    }
    match judged(verdict, policy, now) {
        Ok(Some(until)) => Foresight::Accepts(until),
        Ok(None) => Foresight::Unknown,
        Err(rejection) => Foresight::Refuses(rejection),
    }
}

fn judged(
    verdict: &Verdict,
    policy: &Policy,
    now: Timestamp,
) -> Result<Option<Timestamp>, Rejection> {
    if verdict.trust_root != policy.trust_root.key_id() {
        return Err(ReasonCode::TrustRootMismatch.into());
    }
    let (body, findings) = (body(verdict), findings(verdict));
    let mut references = judge::references(&body, policy)?;
    judge::platform(&findings, policy)?;
    judge::attributes(&body, policy)?;
    let mut warnings = Vec::new();
    let grace = judge::tcb(&findings, policy, now, &mut warnings)?;
    let until = verdict.accepted_at.plus(policy.max_age);
    let until = grace.map_or(until, |grace| grace.min(until));
    let until = verdict.collateral_until.map_or(until, |end| end.min(until));
    // The log itself is not at hand, so demands on it cannot be looked at.
    let asks = |reference: &&Reference| !reference.events.is_empty();
    let open = references.iter().any(asks);
    references.retain(|reference| !asks(reference));
    match runtime::judge(&body, Ok(None), &references, policy, &mut warnings) {
        Ok(_) => Ok(Some(until)),
        Err(_) if open => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

fn body(verdict: &Verdict) -> Body {
    Body {
        mrtd: verdict.mrtd,
        rtmrs: verdict.rtmrs,
        mrseam: verdict.mrseam,
        mrconfigid: verdict.mrconfigid,
        attributes: verdict.attributes,
        fmspc: verdict.fmspc,
        report_data: [0; 64],
    }
}

fn findings(verdict: &Verdict) -> Findings {
    Findings {
        tcb_status: verdict.tcb_status,
        advisory_ids: verdict.advisory_ids.clone(),
        tcb_date: verdict.tcb_date,
        properties: verdict.properties,
        until: verdict.trusted_until,
    }
}

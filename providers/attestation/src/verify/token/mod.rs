//! Tokens of Intel Trust Authority: signature, times, and every claim that a verdict rests on. The policy says
//! how a token is signed and by whom; whatever the token says about that counts for nothing.

mod claims;
mod jwt;
mod keys;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaSpec;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TokenFacts};

use super::facts::Body;
use super::policy::PlatformFlags;
use super::{Case, Findings};
use claims::Claims;
pub use jwt::key_id;
pub use keys::{KeySetError, TokenKeys};

/// A token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) findings: Findings,
    pub(super) facts: TokenFacts,
}

pub(super) fn verify(
    case: &Case<'_>,
    settings: &ItaSpec,
    body: &Body,
) -> Result<Accepted, Rejection> {
    let token = case
        .evidence
        .token
        .as_ref()
        .ok_or(ReasonCode::ItaTokenMissing)?;
    let keys = case.token_keys.ok_or_else(|| {
        refuse(
            ReasonCode::DependencyUnavailable,
            "the Trust Authority's keys are not there",
        )
    })?;
    let signed = jwt::verify(token.as_bytes(), keys, settings.algorithm)?;
    let claims = Claims::read(&signed.payload, settings.version)?;
    standing(&claims, settings, case.now)?;
    attester(&claims)?;
    bound(&claims, case, body)?;
    matched(&claims, settings)?;
    let expires = Timestamp::from_millis(claims.exp.saturating_mul(1000));
    Ok(Accepted {
        findings: Findings {
            tcb_status: claims.tcb_status()?,
            tcb_date: claims.tcb_date(),
            advisory_ids: claims.advisory_ids.clone(),
            properties: PlatformFlags::default(),
            until: expires,
        },
        facts: TokenFacts {
            digest: easyenclave_schemas::Digest::of(token.as_bytes()),
            issuer: claims.iss,
            key_id: signed.key_id,
            audience: claims.aud.into_iter().next(),
            expires,
        },
    })
}

/// Issuer, times, audience. A clock that is off by the leeway is forgiven at both ends.
fn standing(claims: &Claims, settings: &ItaSpec, now: Timestamp) -> Result<(), Rejection> {
    let leeway = i64::try_from(settings.leeway.get().as_secs()).unwrap_or(i64::MAX);
    let now = now.as_millis().div_euclid(1000);
    if claims.iss != settings.issuer {
        return Err(ReasonCode::ItaIssuerInvalid.into());
    }
    if claims.exp.saturating_add(leeway) <= now {
        return Err(ReasonCode::ItaTokenExpired.into());
    }
    if claims
        .nbf
        .is_some_and(|nbf| nbf.saturating_sub(leeway) > now)
    {
        return Err(ReasonCode::ItaTokenNotYetValid.into());
    }
    match &settings.audience {
        Some(wanted) if !claims.aud.contains(wanted) => Err(ReasonCode::ItaAudienceInvalid.into()),
        _ => Ok(()),
    }
}

fn attester(claims: &Claims) -> Result<(), Rejection> {
    if claims.attester_type != "TDX" {
        return Err(refuse(
            ReasonCode::AttesterRefused,
            "the token is not for a TDX guest",
        ));
    }
    if claims.dbgstat != "disabled" || claims.debuggable || claims.migratable {
        let message = "the token says that the guest can be debugged or migrated";
        return Err(refuse(ReasonCode::AttesterRefused, message));
    }
    Ok(())
}

/// The token is about this quote, this nonce and this key: it names what was found in the quote itself.
fn bound(claims: &Claims, case: &Case<'_>, body: &Body) -> Result<(), Rejection> {
    if claims.report_data != case.binding.report_data()? {
        return Err(refuse(
            ReasonCode::BindingMismatch,
            "the token is not bound to this nonce and this key",
        ));
    }
    if claims.verifier_nonce.is_none() || claims.verifier_nonce != case.binding.ita {
        return Err(refuse(
            ReasonCode::BindingMismatch,
            "the token is for another nonce of the Trust Authority",
        ));
    }
    if claims.mrtd != body.mrtd || claims.rtmrs != body.rtmrs {
        return Err(refuse(
            ReasonCode::VerdictsDisagree,
            "the token names other measurements than the quote",
        ));
    }
    Ok(())
}

fn matched(claims: &Claims, settings: &ItaSpec) -> Result<(), Rejection> {
    let missing = |id: &&String| !claims.policies_matched.contains(*id);
    match settings.policy_ids.iter().find(missing) {
        None => Ok(()),
        Some(id) => Err(refuse(
            ReasonCode::ItaPolicyUnmatched,
            &format!("policy {id} of the Trust Authority did not match"),
        )),
    }
}

fn refuse(code: ReasonCode, message: &str) -> Rejection {
    Rejection::new(code, message)
}

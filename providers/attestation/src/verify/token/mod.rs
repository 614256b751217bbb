//! Tokens of Intel Trust Authority: signature, times, and every claim that a verdict rests on. The policy says
//! how a token is signed and by whom; whatever the token says about that counts for nothing.

mod claims;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dcap_qvl::intel;
use easyenclave_schemas::documents::{ItaSpec, TrustEnds};
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TokenFacts};
use easyenclave_schemas::{Digest, Timestamp};

use super::facts::{self, Body};
use super::policy::PlatformFlags;
use super::{Case, Findings};
use crate::jwt::{self, JwtError};
use claims::{Claims, Said, Standing};

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
    let signed = jwt::verify(token.as_bytes(), keys, settings.algorithm).map_err(unsigned)?;
    let said = Said::read(&signed.payload)?;
    let standing = said.standing()?;
    stands(&standing, settings, case.now)?;
    let claims = Claims::read(&said, settings.version)?;
    attester(&claims)?;
    bound(&claims, case, body)?;
    matched(&claims, settings)?;
    let expires = Timestamp::from_millis(standing.exp.saturating_mul(1000));
    Ok(Accepted {
        findings: Findings {
            tcb_status: claims.tcb_status()?,
            tcb_date: claims.tcb_date(),
            advisory_ids: claims.advisory_ids.clone(),
            properties: properties(case)?,
            until: until(expires, settings),
        },
        facts: TokenFacts {
            digest: Digest::of(token.as_bytes()),
            issuer: standing.iss,
            key_id: signed.key_id,
            audience: audience(standing.aud, settings),
            expires,
            settings: Some(settings_digest(settings)),
        },
    })
}

/// Whatever is wrong with a token, nobody who counts has signed it.
fn unsigned(error: JwtError) -> Rejection {
    match error {
        JwtError::SignatureWrong => ReasonCode::ItaSignatureInvalid.into(),
        other => refuse(ReasonCode::ItaSignatureInvalid, &other.to_string()),
    }
}

/// The digest of the settings that decide whether a token counts. Evidence of before holds no token for other ones.
pub fn settings_digest(settings: &ItaSpec) -> Digest {
    let decisive = serde_json::to_vec(&(
        &settings.jwks_url,
        &settings.issuer,
        &settings.audience,
        settings.version,
        settings.algorithm,
        &settings.policy_ids,
    ));
    Digest::of(&decisive.expect("settings are plain data"))
}

/// What the certificate in the quote says of the platform, of which a token says nothing. Its path to the root was
/// verified before.
fn properties(case: &Case<'_>) -> Result<PlatformFlags, Rejection> {
    let quote = facts::parse(&facts::read(case.evidence)?)?;
    let chain = intel::extract_cert_chain(&quote).ok();
    let said = chain
        .as_deref()
        .and_then(<[_]>::first)
        .and_then(|leaf| intel::parse_pck_extension(leaf).ok());
    let said = said.ok_or_else(|| {
        refuse(
            ReasonCode::QuoteSignatureInvalid,
            "the quote carries no readable certificate of its platform",
        )
    })?;
    Ok(PlatformFlags {
        dynamic_platform: said.dynamic_platform.unwrap_or(false),
        cached_keys: said.cached_keys.unwrap_or(false),
        smt: said.smt_enabled.unwrap_or(false),
    })
}

/// Up to when the token counts on our clock. The Trust Authority's may be behind by the leeway, so a token that is
/// taken after its own end still counts for a moment, and never for nothing.
pub(super) fn until(expires: Timestamp, settings: &ItaSpec) -> Timestamp {
    match settings.trust_ends {
        TrustEnds::Token => expires.plus(settings.leeway.get()),
        TrustEnds::MaxAge => Timestamp::from_millis(i64::MAX),
    }
}

/// The audience that counted, or the first that the token names.
fn audience(named: Vec<String>, settings: &ItaSpec) -> Option<String> {
    settings.audience.clone().or(named.into_iter().next())
}

/// Issuer, times, audience. A clock that is off by the leeway is forgiven at both ends.
fn stands(standing: &Standing, settings: &ItaSpec, now: Timestamp) -> Result<(), Rejection> {
    let leeway = i64::try_from(settings.leeway.get().as_secs()).unwrap_or(i64::MAX);
    let now = now.as_millis().div_euclid(1000);
    if standing.iss != settings.issuer {
        return Err(ReasonCode::ItaIssuerInvalid.into());
    }
    if standing.exp.saturating_add(leeway) <= now {
        return Err(ReasonCode::ItaTokenExpired.into());
    }
    if standing
        .nbf
        .is_some_and(|nbf| nbf.saturating_sub(leeway) > now)
    {
        return Err(ReasonCode::ItaTokenNotYetValid.into());
    }
    match &settings.audience {
        Some(wanted) if !standing.aud.contains(wanted) => {
            Err(ReasonCode::ItaAudienceInvalid.into())
        }
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
    let held = STANDARD.encode(case.binding.public_key);
    if claims.held_data.as_ref().is_some_and(|data| *data != held) {
        return Err(refuse(
            ReasonCode::BindingMismatch,
            "the token is about another key",
        ));
    }
    let nonce = claims
        .verifier_nonce
        .as_ref()
        .zip(case.binding.ita.as_ref());
    if !nonce.is_some_and(|(found, wanted)| found.is(wanted)) {
        return Err(refuse(
            ReasonCode::BindingMismatch,
            "the token is for another nonce of the Trust Authority",
        ));
    }
    if (claims.mrtd, claims.rtmrs) != (body.mrtd, body.rtmrs)
        || (claims.mrseam, claims.mrconfigid) != (body.mrseam, body.mrconfigid)
    {
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

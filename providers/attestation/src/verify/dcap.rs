//! Local verification: everything that signatures can prove about a quote, under the policy's root.

use dcap_qvl::{PckCertFlag, QuoteClaims, QuotePolicy};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TcbStatus};

use super::facts::Body;
use super::policy::PlatformFlags;
use super::{Case, Findings, reasons, root};
use crate::layout::QuoteView;

/// What the quote says, beside what was found out about it. The library has read it already, so nothing is read twice.
pub(super) fn verify(
    case: &Case<'_>,
    quote: &QuoteView<'_>,
) -> Result<(Body, Findings), Rejection> {
    let claims = claims(case, quote)?;
    if claims.header.is_sgx() {
        return Err(ReasonCode::QuoteUnreadable.into());
    }
    let fmspc = claims.platform.pck.fmspc.as_slice().try_into();
    let body = Body::of(&claims.report, fmspc.map_err(|_| ReasonCode::Internal)?)?;
    let findings = Findings {
        tcb_status: status(claims.tcb.status)?,
        tcb_date: tcb_date(&claims),
        properties: properties(&claims),
        until: seconds(claims.earliest_expiration_date),
        advisory_ids: claims.tcb.advisory_ids,
    };
    Ok((body, findings))
}

/// The date from which grace counts: the oldest of the levels that are out of date, whether it is the platform's (or
/// its module's) or the quoting enclave's. Where none is, the platform's.
fn tcb_date(claims: &QuoteClaims) -> Timestamp {
    let platform = seconds(claims.platform.tcb_date_tag);
    let enclave = &claims.qe.tcb_level;
    match (
        is_out_of_date(claims.platform.tcb_level.tcb_status),
        is_out_of_date(enclave.tcb_status),
    ) {
        // A date that cannot be read counts as the oldest, so that it extends no grace.
        (false, true) => enclave.tcb_date.parse().unwrap_or_default(),
        (true, true) => platform.min(enclave.tcb_date.parse().unwrap_or_default()),
        (_, false) => platform,
    }
}

fn is_out_of_date(status: dcap_qvl::TcbStatus) -> bool {
    use dcap_qvl::TcbStatus as Theirs;
    matches!(
        status,
        Theirs::OutOfDate | Theirs::OutOfDateConfigurationNeeded
    )
}

/// The library's own policy is switched off on purpose: what it would say is text, and ours is judged
/// on the claims, in the contract's order.
fn claims(case: &Case<'_>, quote: &QuoteView<'_>) -> Result<QuoteClaims, Rejection> {
    let collateral = case.collateral.ok_or_else(|| {
        Rejection::new(
            ReasonCode::DependencyUnavailable,
            "there is no collateral for this platform",
        )
    })?;
    let now = case.now.as_secs();
    let verifier = root::verifier(&case.policy.trust_root, collateral)?;
    let claims = verifier
        .verify_with_policy(
            quote.bytes(),
            collateral.as_dcap(),
            now,
            &QuotePolicy::claims_only(now),
        )
        .map_err(|error| reasons::classify(&error))?;
    root::check(&case.policy.trust_root, &claims)?;
    dates(&claims, now)?;
    Ok(claims)
}

/// The library leaves a revocation list from the future to us, and counts the second of expiry as valid in
/// some documents and not in others; here it is always expired, because that is where trust ends.
fn dates(claims: &QuoteClaims, now: u64) -> Result<(), Rejection> {
    let outdated = |message: &str| Err(Rejection::new(ReasonCode::CollateralOutdated, message));
    if claims.latest_issue_date > now {
        return outdated("the collateral was issued after the verifier's time");
    }
    if claims.earliest_expiration_date <= now {
        return outdated("the collateral has expired");
    }
    Ok(())
}

fn properties(claims: &QuoteClaims) -> PlatformFlags {
    let pck = &claims.platform.pck;
    PlatformFlags {
        dynamic_platform: pck.dynamic_platform == PckCertFlag::True,
        cached_keys: pck.cached_keys == PckCertFlag::True,
        smt: pck.smt_enabled == PckCertFlag::True,
    }
}

fn status(status: dcap_qvl::TcbStatus) -> Result<TcbStatus, Rejection> {
    use dcap_qvl::TcbStatus as Theirs;
    Ok(match status {
        Theirs::UpToDate => TcbStatus::UpToDate,
        Theirs::SWHardeningNeeded => TcbStatus::SWHardeningNeeded,
        Theirs::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        Theirs::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSWHardeningNeeded,
        Theirs::OutOfDate => TcbStatus::OutOfDate,
        Theirs::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        Theirs::TDRelaunchAdvised => TcbStatus::TDRelaunchAdvised,
        Theirs::TDRelaunchAdvisedConfigurationNeeded => {
            TcbStatus::TDRelaunchAdvisedConfigurationNeeded
        }
        Theirs::Revoked => return Err(reasons::revoked()),
    })
}

fn seconds(seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    Timestamp::from_millis(millis)
}

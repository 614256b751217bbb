//! The policy, applied to claims whose signatures have been checked.

use dcap_qvl::quote::TDReport10;
use dcap_qvl::{PckCertFlag, Policy as _, QuoteClaims, QuotePolicyConfig};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Fmspc, MeasurementDigest, ReasonCode, Rejection, TcbStatus};

use super::policy::Policy;
use super::reasons;

/// What a verdict records of the guest and its platform.
pub(super) struct Body {
    pub(super) mrtd: MeasurementDigest,
    pub(super) rtmrs: [MeasurementDigest; 4],
    pub(super) mrseam: MeasurementDigest,
    pub(super) mrconfigid: MeasurementDigest,
    pub(super) fmspc: Fmspc,
}

pub(super) fn body(claims: &QuoteClaims) -> Result<Body, Rejection> {
    let report = report(claims)?;
    Ok(Body {
        mrtd: MeasurementDigest::new(report.mr_td),
        rtmrs: [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3]
            .map(MeasurementDigest::new),
        mrseam: MeasurementDigest::new(report.mr_seam),
        mrconfigid: MeasurementDigest::new(report.mr_config_id),
        fmspc: Fmspc::new(claims.platform.pck.fmspc),
    })
}

fn report(claims: &QuoteClaims) -> Result<&TDReport10, Rejection> {
    let report = claims.report.as_td10().filter(|_| !claims.header.is_sgx());
    report.ok_or_else(|| ReasonCode::QuoteUnreadable.into())
}

/// The library leaves a revocation list from the future to us, and counts the second of expiry as valid in
/// some documents and not in others; here it is always expired, because that is where trust ends.
pub(super) fn dates(claims: &QuoteClaims, now: Timestamp) -> Result<(), Rejection> {
    if claims.latest_issue_date > now.as_secs() {
        return Err(Rejection::new(
            ReasonCode::CollateralOutdated,
            "the collateral was issued after the verifier's time",
        ));
    }
    if claims.earliest_expiration_date <= now.as_secs() {
        return Err(Rejection::new(
            ReasonCode::CollateralOutdated,
            "the collateral has expired",
        ));
    }
    Ok(())
}

pub(super) fn measurement(claims: &QuoteClaims, policy: &Policy) -> Result<(), Rejection> {
    let mrtd = report(claims)?.mr_td;
    if mrtd == [0; 48] {
        return Err(ReasonCode::MrtdMissing.into());
    }
    if policy.measurements.contains(&MeasurementDigest::new(mrtd)) {
        return Ok(());
    }
    let message = if policy.measurements.is_empty() {
        "the policy trusts no MRTD at all".into()
    } else {
        format!(
            "the MRTD {} is not one the policy trusts",
            hex::encode(mrtd)
        )
    };
    Err(Rejection::new(ReasonCode::MrtdUntrusted, message))
}

/// Every property that is refused is named, so that one look is enough to correct the policy.
pub(super) fn platform(claims: &QuoteClaims, policy: &Policy) -> Result<(), Rejection> {
    let pck = &claims.platform.pck;
    let allowed = &policy.platform;
    let refused: Vec<&str> = [
        (
            pck.dynamic_platform,
            allowed.dynamic_platform,
            "dynamic platform",
        ),
        (pck.cached_keys, allowed.cached_keys, "cached keys"),
        (pck.smt_enabled, allowed.smt, "SMT"),
    ]
    .into_iter()
    .filter(|(flag, allowed, _)| *flag == PckCertFlag::True && !allowed)
    .map(|(_, _, name)| name)
    .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Rejection::new(
        ReasonCode::PlatformRefused,
        format!(
            "the policy does not allow this of a platform: {}",
            refused.join(", ")
        ),
    ))
}

pub(super) fn tcb(
    claims: &QuoteClaims,
    policy: &Policy,
    now: Timestamp,
) -> Result<TcbStatus, Rejection> {
    let status = status(claims.tcb.status)?;
    if !policy.allowed_tcb.contains(&status) {
        let message =
            format!("the platform's TCB status is {status}, which the policy does not allow");
        return Err(Rejection::new(ReasonCode::TcbUnacceptable, message));
    }
    within_grace(claims, policy, now)?;
    Ok(status)
}

/// The library knows which dates grace counts from; everything else it could judge is allowed here,
/// because it has been judged above.
fn within_grace(claims: &QuoteClaims, policy: &Policy, now: Timestamp) -> Result<(), Rejection> {
    let config = QuotePolicyConfig {
        allowed_statuses: vec![claims.tcb.status],
        platform_grace_period_secs: policy.grace.as_secs(),
        qe_grace_period_secs: policy.grace.as_secs(),
        allow_dynamic_platform: true,
        allow_cached_keys: true,
        allow_smt: true,
        ..QuotePolicyConfig::default()
    };
    let verdict = config.into_policy(now.as_secs()).validate(claims);
    verdict.map_err(|error| reasons::classify(&error))
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

/// Trust ends with the policy's patience or with the first piece of collateral, whichever is earlier.
pub(super) fn trusted_until(claims: &QuoteClaims, policy: &Policy, now: Timestamp) -> Timestamp {
    let expiry = i64::try_from(claims.earliest_expiration_date)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    now.plus(policy.max_age).min(Timestamp::from_millis(expiry))
}

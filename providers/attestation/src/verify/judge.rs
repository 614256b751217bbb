//! The policy, applied to what was verified: image, platform, attributes, TCB.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::Enforcement;
use easyenclave_schemas::evidence::{ReasonCode, Rejection, TcbStatus, Warning};

use super::Findings;
use super::facts::Body;
use super::policy::{Policy, Reference};

/// TDATTRIBUTES: a guest without it can be tricked by exceptions that its host injects.
const SEPT_VE_DISABLE: u64 = 1 << 28;

/// TDATTRIBUTES: bits that mean nothing yet: 1 to 3, 7 to 15, 23 to 26, 32 to 61.
const RESERVED: u64 = 0xe | 0xff80 | 0x0780_0000 | 0x3fff_ffff_0000_0000;

/// The references whose fixed registers fit. There is at least one.
pub(super) fn references<'a>(
    body: &Body,
    policy: &'a Policy,
) -> Result<Vec<&'a Reference>, Rejection> {
    if body.mrtd.as_bytes() == &[0; 48] {
        return Err(ReasonCode::MrtdMissing.into());
    }
    let image: Vec<_> = policy
        .references
        .iter()
        .filter(|reference| reference.mrtd == body.mrtd)
        .collect();
    let Some(nearest) = image.first().copied() else {
        return Err(Rejection::new(
            ReasonCode::MrtdUntrusted,
            untrusted(body, policy),
        ));
    };
    let fitting: Vec<_> = image
        .into_iter()
        .filter(|reference| other_register(body, reference).is_none())
        .collect();
    if fitting.is_empty() {
        let register = other_register(body, nearest).unwrap_or_default();
        return Err(Rejection::new(ReasonCode::MrtdUntrusted, register));
    }
    Ok(fitting)
}

fn untrusted(body: &Body, policy: &Policy) -> String {
    if policy.references.is_empty() {
        "the policy trusts no MRTD at all".into()
    } else {
        format!("the MRTD {} is not one the policy trusts", body.mrtd)
    }
}

/// The first fixed register beside the MRTD that differs, in words.
fn other_register(body: &Body, reference: &Reference) -> Option<String> {
    [
        ("MRSEAM", reference.mrseam, body.mrseam),
        ("MRCONFIGID", reference.mrconfigid, body.mrconfigid),
    ]
    .into_iter()
    .find(|(_, wanted, found)| wanted.is_some_and(|wanted| wanted != *found))
    .map(|(name, _, found)| {
        format!(
            "the {name} {found} is not the one that the measurement {} names",
            reference.name
        )
    })
}

/// Every property that is refused is named, so that one look is enough to correct the policy.
pub(super) fn platform(findings: &Findings, policy: &Policy) -> Result<(), Rejection> {
    let (has, allowed) = (&findings.properties, &policy.platform);
    let refused: Vec<&str> = [
        (
            has.dynamic_platform,
            allowed.dynamic_platform,
            "dynamic platform",
        ),
        (has.cached_keys, allowed.cached_keys, "cached keys"),
        (has.smt, allowed.smt, "SMT"),
    ]
    .into_iter()
    .filter(|(has, allowed, _)| *has && !allowed)
    .map(|(_, _, name)| name)
    .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let refused = refused.join(", ");
    Err(Rejection::new(
        ReasonCode::PlatformRefused,
        format!("the policy does not allow this of a platform: {refused}"),
    ))
}

/// What no policy lifts, whoever verified the quote, and what this one asks for.
pub(super) fn attributes(body: &Body, policy: &Policy) -> Result<(), Rejection> {
    const NEVER: [(u64, &str); 5] = [
        (0x1, "the guest runs in debug mode"),
        (0x70, "the guest runs with profiling"),
        (1 << 29, "the guest may be migrated"),
        (
            1 << 17,
            "the guest is bound to a service guest (SERVTD_EXT)",
        ),
        (RESERVED, "the guest has reserved attribute bits set"),
    ];
    let refuse = |message: String| Err(Rejection::new(ReasonCode::TdAttributesRefused, message));
    if let Some((_, message)) = NEVER.iter().find(|(bits, _)| body.attributes & bits != 0) {
        return refuse((*message).into());
    }
    if body.attributes & SEPT_VE_DISABLE == 0 {
        return refuse("the guest runs without SEPT_VE_DISABLE".into());
    }
    if body.serves_guest {
        return refuse("the guest is bound to a service guest (MRSERVICETD)".into());
    }
    let missing = policy.required_attributes & !body.attributes;
    if missing != 0 {
        return refuse(format!(
            "the guest lacks attributes that the policy requires: {missing:#x}"
        ));
    }
    let excess = policy.refused_attributes & body.attributes;
    if excess != 0 {
        return refuse(format!(
            "the guest has attributes that the policy refuses: {excess:#x}"
        ));
    }
    Ok(())
}

/// Judges how current the platform is. Answers until when an out-of-date one is let pass.
pub(super) fn tcb(
    findings: &Findings,
    policy: &Policy,
    now: Timestamp,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Timestamp>, Rejection> {
    if policy.modes.tcb == Enforcement::Disabled {
        let message = format!("the TCB status {} was not judged", findings.tcb_status);
        warnings.push(Warning {
            code: ReasonCode::TcbWarning,
            message,
        });
        return Ok(None);
    }
    match acceptable(findings, policy, now) {
        Ok(grace_until) => Ok(grace_until),
        Err(rejection) if policy.modes.tcb == Enforcement::Warn => {
            let message = rejection.message;
            warnings.push(Warning {
                code: ReasonCode::TcbWarning,
                message,
            });
            Ok(None)
        }
        Err(rejection) => Err(rejection),
    }
}

fn acceptable(
    findings: &Findings,
    policy: &Policy,
    now: Timestamp,
) -> Result<Option<Timestamp>, Rejection> {
    let refuse = |message: String| Err(Rejection::new(ReasonCode::TcbUnacceptable, message));
    let status = findings.tcb_status;
    if !policy.allowed_tcb.contains(&status) {
        return refuse(format!(
            "the platform's TCB status is {status}, which the policy does not allow"
        ));
    }
    let refused = |id: &&String| policy.refused_advisories.contains(*id);
    if let Some(advisory) = findings.advisory_ids.iter().find(refused) {
        return refuse(format!(
            "the platform is open to {advisory}, which the policy refuses"
        ));
    }
    if !is_out_of_date(status) {
        return Ok(None);
    }
    let until = findings.tcb_date.plus(policy.grace);
    if until <= now {
        return refuse("the platform is out of date for longer than the policy's grace".into());
    }
    Ok(Some(until))
}

fn is_out_of_date(status: TcbStatus) -> bool {
    matches!(
        status,
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded
    )
}

//! Evidence with faults, and what is needed to verify it, for the tests of this and other crates. Every fault is
//! one that the real verifier must refuse or report; nothing here replaces the verifier.

pub mod authority;
pub mod conformance;
pub mod machine;
pub mod pcs;

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_schemas::documents::Modes;
use easyenclave_schemas::evidence::{Evidence, MeasurementDigest, Rejection, TcbStatus, Verdict};
use easyenclave_schemas::{Digest, Timestamp};

use ring::digest::{SHA384, digest};

use crate::event_log;
use crate::simulated::{
    CollateralWindow, Guest, Level, Platform, SimulatedError, TdAttributes, TdBody,
};
use crate::{
    Binding, Case, Collateral, CollectError, PlatformFlags, Policy, QuoteSource, Reference,
    TrustRoot,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where the certificates of a quote of version 4 begin, in bytes.
const CHAIN: usize = 1258;

/// Verifies such a case.
///
/// # Errors
/// As [`crate::verify`].
pub fn judge(
    evidence: &Evidence,
    binding: &Binding,
    collateral: &Collateral,
    policy: &Policy,
    now: Timestamp,
) -> Result<Verdict, Rejection> {
    crate::verify(&case(evidence, binding, collateral, policy, now))
}

/// What is wrong with a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A measurement was altered after signing.
    Tampered,
    /// The guest runs in debug mode.
    Debug,
    /// The guest runs with profiling.
    Profiling,
    /// The guest may be migrated.
    Migratable,
    /// The guest runs without SEPT_VE_DISABLE.
    SeptVeOff,
    /// The TDX module is out of date.
    OutOfDate,
}

/// A platform that is not kept on disk: a root of its own each time, also good as a foreign one.
///
/// # Errors
/// When keys or certificates cannot be made.
pub fn platform(now: Timestamp) -> Result<Platform, SimulatedError> {
    platform_with(now, PlatformFlags::default())
}

/// One that has properties which a policy may refuse.
///
/// # Errors
/// When keys or certificates cannot be made.
pub fn platform_with(
    now: Timestamp,
    properties: PlatformFlags,
) -> Result<Platform, SimulatedError> {
    Platform::ephemeral(now, properties)
}

/// A policy that accepts faultless guests of `platform` that look like `body`, for a day.
pub fn policy(platform: &Platform, body: &TdBody) -> Policy {
    let root =
        TrustRoot::simulated(platform.root_key_id()).expect("a generated key is not Intel's");
    policy_of(root, body.mrtd)
}

/// A policy that trusts one image under a root, locally verified, for a day.
pub fn policy_of(trust_root: TrustRoot, mrtd: MeasurementDigest) -> Policy {
    Policy {
        trust_root,
        dcap: true,
        ita: None,
        modes: Modes::default(),
        allowed_tcb: BTreeSet::from([TcbStatus::UpToDate]),
        grace: Duration::ZERO,
        refused_advisories: BTreeSet::new(),
        platform: PlatformFlags::default(),
        required_attributes: 0,
        refused_attributes: 0,
        references: vec![reference("an image", mrtd)],
        max_age: DAY,
        digest: Digest::of(b"a policy for tests"),
    }
}

/// A reference that compares the image and nothing else.
pub fn reference(name: &str, mrtd: MeasurementDigest) -> Reference {
    Reference {
        name: name.into(),
        mrtd,
        mrseam: None,
        mrconfigid: None,
        rtmrs: [None; 4],
        events: Vec::new(),
    }
}

/// A case that local verification alone judges, with a nonce that is as it should be.
pub fn case<'a>(
    evidence: &'a Evidence,
    binding: &'a Binding,
    collateral: &'a Collateral,
    policy: &'a Policy,
    now: Timestamp,
) -> Case<'a> {
    Case {
        evidence,
        binding,
        nonce: Ok(()),
        collateral: Some(collateral),
        token_keys: None,
        policy,
        now,
    }
}

/// A quote over `report_data` with `fault`.
///
/// # Errors
/// When it cannot be signed.
pub fn faulty_quote(
    guest: &Guest,
    report_data: [u8; 64],
    body: &TdBody,
    fault: Fault,
) -> Result<Vec<u8>, SimulatedError> {
    let mut body = body.clone();
    let launched = |bits| TdAttributes::DEFAULT.with(bits);
    match fault {
        Fault::Tampered => {}
        Fault::Debug => body.attributes = launched(TdAttributes::DEBUG),
        Fault::Profiling => body.attributes = launched(TdAttributes::PROFILING),
        Fault::Migratable => body.attributes = launched(TdAttributes::MIGRATABLE),
        Fault::SeptVeOff => body.attributes = TdAttributes(0),
        Fault::OutOfDate => body = body.on_old_module(),
    }
    let mut quote = guest.quote(report_data, &body)?;
    if fault == Fault::Tampered {
        // A byte of RTMR3, so that nothing but the signature can tell.
        quote[520] ^= 1;
    }
    Ok(quote)
}

/// A quote of version 4 with other certificates: those that it has, as PEM, and what becomes of them. Nobody signs them.
pub fn with_certificates(quote: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let length = |at: usize| u32::from_le_bytes(quote[at..at + 4].try_into().expect("four bytes"));
    let before = length(CHAIN - 4);
    let end = CHAIN + usize::try_from(before).expect("short");
    let chain = change(std::str::from_utf8(&quote[CHAIN..end]).expect("PEM"));
    let after = u32::try_from(chain.len()).expect("short");
    let mut changed = [&quote[..CHAIN], chain.as_bytes(), &quote[end..]].concat();
    // The lengths of the signature part, of the quoting enclave's part in it, and of the chain in that.
    for at in [632, 766, CHAIN - 4] {
        let length = length(at) - before + after;
        changed[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    changed
}

/// The same quote without the last of its certificates, which is the root's.
pub fn without_root(quote: &[u8]) -> Vec<u8> {
    with_certificates(quote, |chain| {
        let root = chain.rfind("-----BEGIN").expect("a certificate");
        chain[..root].to_owned()
    })
}

/// An event log of texts that were measured into registers, as a kernel has it.
pub fn event_log(texts: &[(usize, &str)]) -> Vec<u8> {
    let mut log = event_log::opening();
    for (rtmr, text) in texts {
        let hash = digest(&SHA384, text.as_bytes());
        let hash = hash.as_ref().try_into().expect("SHA-384 has 48 bytes");
        log.extend(event_log::text_record(*rtmr, hash, text));
    }
    log
}

/// A source whose quotes all have the same fault.
pub struct FaultySource {
    /// Who signs.
    pub guest: Guest,
    /// What the guest looks like.
    pub body: TdBody,
    /// What is wrong.
    pub fault: Fault,
}

impl QuoteSource for FaultySource {
    fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, CollectError> {
        faulty_quote(&self.guest, report_data, &self.body, self.fault)
            .map_err(|error| CollectError::Platform(Box::new(error)))
    }
}

/// Collateral that is valid between two times.
///
/// # Errors
/// When it cannot be signed.
pub fn collateral(
    platform: &Platform,
    from: Timestamp,
    until: Timestamp,
) -> Result<Collateral, SimulatedError> {
    platform.mint(CollateralWindow { from, until }, &Level::default())
}

/// Collateral around `now` that calls the platform itself this, since then (RFC 3339).
///
/// # Errors
/// When it cannot be signed.
pub fn collateral_saying(
    platform: &Platform,
    now: Timestamp,
    status: dcap_qvl::TcbStatus,
    since: &'static str,
    advisories: &[&str],
) -> Result<Collateral, SimulatedError> {
    let level = Level {
        status,
        since,
        advisories: advisories.iter().map(ToString::to_string).collect(),
        old_enclave: None,
    };
    platform.mint(around(now), &level)
}

/// Collateral around `now` that calls the quoting enclave out of date since then (RFC 3339).
///
/// # Errors
/// When it cannot be signed.
pub fn collateral_of_old_enclave(
    platform: &Platform,
    now: Timestamp,
    since: &'static str,
) -> Result<Collateral, SimulatedError> {
    let level = Level {
        old_enclave: Some(since),
        ..Level::default()
    };
    platform.mint(around(now), &level)
}

fn around(now: Timestamp) -> CollateralWindow {
    CollateralWindow {
        from: now.minus(DAY),
        until: now.plus(DAY * 30),
    }
}

/// Collateral that expired a day before `now`.
///
/// # Errors
/// When it cannot be signed.
pub fn expired_collateral(
    platform: &Platform,
    now: Timestamp,
) -> Result<Collateral, SimulatedError> {
    collateral(platform, now.minus(DAY * 31), now.minus(DAY))
}

/// Collateral that becomes valid a day after `now`.
///
/// # Errors
/// When it cannot be signed.
pub fn future_collateral(
    platform: &Platform,
    now: Timestamp,
) -> Result<Collateral, SimulatedError> {
    collateral(platform, now.plus(DAY), now.plus(DAY * 31))
}

//! Rules of attestation policies: what the verifier would refuse to apply, said where it stands. A policy that is
//! weaker than usual is no mistake, and is shown wherever trust is shown; one that contradicts itself is.

use std::collections::BTreeMap;

use super::super::problem::shorten;
use super::{Finding, Rule, address, at_least, find};
use crate::NodeSize;
use crate::documents::{Measurement, NonceMode, PolicySpec, Span, TrustRootKind};

pub(super) const RULES: &[Rule<PolicySpec>] = &[
    (&["/spec/trustRoot"], key_id),
    (&["/spec/trustRoot"], nonce_mode),
    (&[], somebody_verifies),
    (&[], address::authority),
    (&[], leeway),
    (&[], max_age),
    (&["/spec/measurements"], named_twice),
    (&["/spec/measurements"], measured_twice),
];

fn key_id(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    match (spec.trust_root.kind, &spec.trust_root.key_id) {
        (TrustRootKind::Simulated, None) => {
            let message =
                "missing field `keyId` in `spec.trustRoot`: a simulated root is named by it";
            find(findings, "/spec/trustRoot", "missing-field", message.into());
        }
        (TrustRootKind::Intel, Some(_)) => {
            let message = "`spec.trustRoot.keyId` is for simulated roots; Intel's root is built in";
            find(
                findings,
                "/spec/trustRoot/keyId",
                "refused-field",
                message.into(),
            );
        }
        (TrustRootKind::Simulated, Some(_)) | (TrustRootKind::Intel, None) => {}
    }
}

/// Without a nonce that the quote binds, anybody's key could be trusted.
fn nonce_mode(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    if spec.trust_root.kind == TrustRootKind::Intel && spec.modes.nonce != NonceMode::Required {
        let message = "`spec.modes.nonce`: expected required under Intel's trust root; the other modes are for \
                       tests with a simulated one";
        find(findings, "/spec/modes/nonce", "weak-nonce", message.into());
    }
}

fn somebody_verifies(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    if spec.verifiers.dcap.is_none() && spec.verifiers.ita.is_none() {
        let message = "`spec.verifiers` names nobody: expected dcap, ita or both";
        find(findings, "/spec/verifiers", "no-verifier", message.into());
    }
}

/// A token of long ago is no token.
fn leeway(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    let most: Span = "10m".parse().expect("a duration");
    let leeway = spec.verifiers.ita.as_ref().map(|ita| ita.leeway);
    if let Some(leeway) = leeway.filter(|leeway| *leeway > most) {
        let message =
            format!("`spec.verifiers.ita.leeway`: expected at most {most}, found {leeway}");
        let pointer = "/spec/verifiers/ita/leeway";
        find(findings, pointer, "too-long", message);
    }
}

fn max_age(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    at_least(findings, "/spec/maxAge", spec.max_age, "10m");
}

/// A verdict names the measurement that it found, so a name says one thing for each size.
fn named_twice(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, Vec<(usize, &Option<NodeSize>)>> = BTreeMap::new();
    for (index, measurement) in spec.measurements.iter().enumerate() {
        let size = &measurement.node_size;
        let others = seen.entry(measurement.name.as_str()).or_default();
        let meets = |other: &Option<NodeSize>| other.is_none() || size.is_none() || other == size;
        if let Some((first, _)) = others.iter().find(|(_, other)| meets(other)) {
            let pointer = format!("/spec/measurements/{index}/name");
            let name = shorten(&measurement.name, 60);
            let message = format!(
                "`spec.measurements[{index}].name`: \"{name}\" is the name of \
                 `spec.measurements[{first}]` too"
            );
            find(findings, &pointer, "name-repeated", message);
        }
        others.push((index, size));
    }
}

/// The same image may be trusted with several sets of registers; the same set twice is an oversight.
fn measured_twice(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::new();
    for (index, measurement) in spec.measurements.iter().enumerate() {
        if let Some(first) = seen.insert(identity(measurement), &measurement.name) {
            let pointer = format!("/spec/measurements/{index}");
            let first = shorten(first, 60);
            let message =
                format!("`spec.measurements[{index}]` repeats the measurement named \"{first}\"");
            find(findings, &pointer, "repeated", message);
        }
    }
}

type Identity<'a> = (
    &'a Option<NodeSize>,
    [Option<&'a str>; 7],
    Vec<(u32, &'a str)>,
);

/// All that is compared, and for whom.
fn identity(measurement: &Measurement) -> Identity<'_> {
    let registers = [
        Some(measurement.mrtd.as_str()),
        measurement.mrseam.as_deref(),
        measurement.mrconfigid.as_deref(),
        measurement.rtmr0.as_deref(),
        measurement.rtmr1.as_deref(),
        measurement.rtmr2.as_deref(),
        measurement.rtmr3.as_deref(),
    ];
    let events = measurement.event_log.iter();
    let events = events.map(|event| (event.rtmr, event.digest.as_str()));
    (&measurement.node_size, registers, events.collect())
}

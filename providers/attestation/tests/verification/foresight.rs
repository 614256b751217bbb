//! What another policy would say is what it says: foresight from a verdict agrees with judging the evidence.

use std::time::Duration;

use easyenclave_attestation::testing::reference;
use easyenclave_attestation::{Foresight, Policy, TrustRoot, foresee};
use easyenclave_schemas::documents::Enforcement;
use easyenclave_schemas::evidence::{MeasurementDigest, RootKeyId, TcbStatus};

use crate::bench::{Bench, now};

/// A way to change a policy.
type Change = fn(&mut Policy);

#[test]
fn foresight_agrees_with_verification() {
    let changes: [Change; 9] = [
        |_| {},
        |policy| policy.references.clear(),
        |policy| policy.references[0].mrseam = Some(MeasurementDigest::new([1; 48])),
        |policy| policy.references[0].rtmrs[2] = Some(MeasurementDigest::new([1; 48])),
        |policy| {
            policy.references[0].rtmrs[2] = Some(MeasurementDigest::new([1; 48]));
            policy.modes.rtmr = Enforcement::Warn;
        },
        |policy| policy.allowed_tcb = [TcbStatus::SWHardeningNeeded].into(),
        |policy| policy.required_attributes = 1 << 63,
        |policy| policy.max_age = Duration::from_secs(60),
        |policy| {
            policy.trust_root = TrustRoot::simulated(RootKeyId::new([5; 48])).expect("not Intel's");
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bench = Bench::new();
        let verdict = bench.verify(&bench.evidence()).expect("accepted");
        change(&mut bench.policy);
        let expected = match bench.verify(&bench.evidence()) {
            Ok(verdict) => Foresight::Accepts(verdict.trusted_until),
            Err(rejection) => Foresight::Refuses(rejection),
        };
        match (foresee(&verdict, &bench.policy, now()), expected) {
            (Foresight::Refuses(seen), Foresight::Refuses(real)) => {
                assert_eq!(seen.code, real.code, "change {index}");
            }
            (seen, real) => assert_eq!(seen, real, "change {index}"),
        }
    }
}

#[test]
fn what_a_verdict_does_not_hold_is_unknown() {
    let mut bench = Bench::new();
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    let digest = MeasurementDigest::new([1; 48]);
    bench.policy.references[0].events = vec![(2, digest)];
    assert_eq!(foresee(&verdict, &bench.policy, now()), Foresight::Unknown);
    let other = reference("without a log", bench.body.mrtd);
    bench.policy.references.push(other);
    let seen = foresee(&verdict, &bench.policy, now());
    assert_eq!(seen, Foresight::Accepts(verdict.trusted_until));
    bench.policy.ita = Some(easyenclave_schemas::documents::ItaSpec::default());
    assert_eq!(foresee(&verdict, &bench.policy, now()), Foresight::Unknown);
}

//! What another policy would say is what it says: foresight from a verdict agrees with judging the evidence again,
//! and neither counts it as fresh.

use std::time::Duration;

use easyenclave_attestation::testing::{case, reference};
use easyenclave_attestation::{Again, Foresight, Policy, TrustRoot, foresee, judge_again};
use easyenclave_schemas::documents::{Enforcement, NonceMode};
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, RootKeyId, TcbStatus, Verdict};

use crate::bench::{Bench, now};

/// A way to change a policy.
type Change = fn(&mut Policy);

#[test]
fn foresight_agrees_with_judging_the_evidence_again() {
    let changes: [Change; 10] = [
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
        |policy| policy.max_age = Duration::from_secs(365 * 24 * 3600),
        |policy| {
            policy.trust_root = TrustRoot::simulated(RootKeyId::new([5; 48])).expect("not Intel's");
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bench = Bench::new();
        let verdict = bench.verify(&bench.evidence()).expect("accepted");
        change(&mut bench.policy);
        match (foresee(&verdict, &bench.policy), again(&bench, &verdict)) {
            (Foresight::Refuses(seen), Again::Refuses(real)) => {
                assert_eq!(seen.code, real.code, "change {index}");
            }
            (Foresight::Accepts(until), Again::Accepts(real)) => {
                assert_eq!(until, real.trusted_until, "change {index}");
                assert_eq!(real.accepted_at, verdict.accepted_at, "change {index}");
            }
            (seen, real) => panic!("change {index}: {seen:?} and {real:?}"),
        }
    }
}

/// The evidence counts from when it was shown, so a longer age is the only change that extends trust.
#[test]
fn judging_again_renews_nothing() {
    let mut bench = Bench::new();
    let before = bench.verify(&bench.evidence()).expect("accepted");
    bench
        .policy
        .references
        .push(reference("another", MeasurementDigest::new([1; 48])));
    bench.policy.max_age = Duration::from_secs(3600);
    let Again::Accepts(after) = again(&bench, &before) else {
        panic!("accepted");
    };
    assert_eq!(after.accepted_at, before.accepted_at);
    assert_eq!(after.trusted_until, now().plus(Duration::from_secs(3600)));
}

#[test]
fn what_nobody_asked_for_hides_nothing_that_is_wrong() {
    let mut bench = Bench::new();
    let before = bench.verify(&bench.evidence()).expect("accepted");
    bench.policy.ita = Some(easyenclave_schemas::documents::ItaSpec::default());
    assert_eq!(foresee(&before, &bench.policy), Foresight::Unknown);
    assert_eq!(again(&bench, &before), Again::Unknown);
    bench.policy.references.clear();
    let Foresight::Refuses(seen) = foresee(&before, &bench.policy) else {
        panic!("foreseen");
    };
    assert_eq!(seen.code, ReasonCode::MrtdUntrusted);
    assert_eq!(again(&bench, &before), Again::Refuses(seen));
}

/// A nonce that a policy let pass is not good enough for one that requires it, and only evidence can tell.
#[test]
fn what_was_let_pass_is_not_foreseen_as_good() {
    let mut bench = Bench::new();
    bench.policy.modes.nonce = NonceMode::Disabled;
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    bench.policy.modes.nonce = NonceMode::Required;
    assert_eq!(foresee(&verdict, &bench.policy), Foresight::Unsaid);
    bench.policy.modes.rtmr = Enforcement::Disabled;
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    assert!(matches!(
        foresee(&verdict, &bench.policy),
        Foresight::Accepts(_)
    ));
    bench.policy.modes.rtmr = Enforcement::Strict;
    assert_eq!(foresee(&verdict, &bench.policy), Foresight::Unsaid);
}

/// What another policy says of the evidence that was shown at [`now`].
fn again(bench: &Bench, before: &Verdict) -> Again {
    let evidence = bench.evidence();
    let case = case(
        &evidence,
        &bench.binding,
        &bench.collateral,
        &bench.policy,
        now(),
    );
    judge_again(&case, Some(before))
}

#[test]
fn what_a_verdict_does_not_say_is_for_the_evidence_or_for_the_agent_to_say() {
    let mut bench = Bench::new();
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    let digest = MeasurementDigest::new([1; 48]);
    bench.policy.references[0].events = vec![(2, digest)];
    assert_eq!(foresee(&verdict, &bench.policy), Foresight::Unsaid);
    assert!(matches!(again(&bench, &verdict), Again::Refuses(_)));
    let other = reference("without a log", bench.body.mrtd);
    bench.policy.references.push(other);
    let seen = foresee(&verdict, &bench.policy);
    assert_eq!(seen, Foresight::Accepts(verdict.trusted_until));
    bench.policy.ita = Some(easyenclave_schemas::documents::ItaSpec::default());
    assert_eq!(foresee(&verdict, &bench.policy), Foresight::Unknown);
}

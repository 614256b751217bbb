//! Faultless evidence, and the verdict it gets.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_attestation::simulated::{Platform, SimulatedSource};
use easyenclave_attestation::testing::{Fault, judge};
use easyenclave_attestation::{PckCa, PlatformFacts, collect};
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{TcbStatus, Verdict};

use crate::bench::{Bench, evidence, now};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_honest_guest_is_accepted_and_stamped_simulated() {
    let bench = Bench::new();
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    assert!(verdict.simulated);
    assert_eq!(verdict.trust_root, bench.platform.root_key_id());
    assert_eq!(verdict.tcb_status, TcbStatus::UpToDate);
    assert_eq!(verdict.mrtd, bench.body.mrtd);
    assert_eq!(verdict.rtmrs, bench.body.rtmrs);
    assert_eq!(verdict.mrseam, bench.body.mrseam);
    assert_eq!(verdict.mrconfigid, bench.body.mrconfigid);
    assert_eq!(verdict.policy_digest, bench.policy.digest);
    assert_eq!(verdict.evidence_digest, Digest::of(&bench.quote));
    assert_eq!(verdict.collateral_digest, Some(bench.collateral.digest()));
    assert_eq!(verdict.accepted_at, now());
    assert!(verdict.warnings.is_empty());
}

#[test]
fn a_verdict_reads_back_as_it_was_written() {
    let bench = Bench::new();
    let verdict = bench.verify(&bench.evidence()).expect("accepted");
    let text = serde_json::to_string(&verdict).expect("writes");
    assert!(
        text.contains(r#""simulated":true"#) && text.contains(r#""tcbStatus":"UpToDate""#),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<Verdict>(&text).expect("reads"),
        verdict
    );
}

#[test]
fn collected_evidence_verifies() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let platform = Platform::open_or_create(dir.path(), now()).expect("a platform");
    let guest = easyenclave_attestation::simulated::Guest::open(&Platform::guest_dir(dir.path()));
    let source = SimulatedSource::new(guest.expect("a guest"), bench.body.clone());
    let evidence =
        collect(&source, &bench.binding.nonce, &bench.binding.public_key).expect("evidence");
    let policy = easyenclave_attestation::testing::policy(&platform, &bench.body);
    let collateral = platform.collateral(now()).expect("collateral");
    judge(&evidence, &bench.binding, &collateral, &policy, now()).expect("accepted");
}

#[test]
fn padding_is_accepted_and_does_not_change_the_digest() {
    let bench = Bench::new();
    let mut padded = bench.quote.clone();
    padded.resize(8000, 0);
    let verdict = bench.verify(&evidence(&padded)).expect("accepted");
    assert_eq!(verdict, bench.verify(&bench.evidence()).expect("accepted"));
}

#[test]
fn trust_ends_with_the_policys_age_or_with_the_collateral_whichever_is_first() {
    let mut bench = Bench::new();
    let trusted_until = |bench: &Bench| {
        bench
            .verify(&bench.evidence())
            .expect("accepted")
            .trusted_until
    };
    assert_eq!(trusted_until(&bench), now().plus(DAY));
    bench.policy.max_age = DAY * 365;
    assert_eq!(trusted_until(&bench), now().plus(DAY * 30));
}

#[test]
fn an_out_of_date_platform_is_accepted_only_if_allowed_and_within_grace() {
    let mut bench = Bench::new();
    bench.policy.allowed_tcb = BTreeSet::from([TcbStatus::OutOfDate]);
    bench.policy.grace = DAY * 365 * 3;
    let verdict = bench
        .verify(&bench.faulty(Fault::OutOfDate))
        .expect("accepted");
    assert_eq!(verdict.tcb_status, TcbStatus::OutOfDate);
    assert_eq!(verdict.advisory_ids, ["SIMULATED-SA-00001"]);
    bench.policy.grace = DAY * 365;
    let rejection = bench.refusal(&bench.faulty(Fault::OutOfDate));
    assert!(
        rejection.message.contains("longer than the policy's grace"),
        "{rejection}"
    );
}

#[test]
fn facts_of_a_simulated_quote_name_a_simulated_platform() {
    let facts = PlatformFacts::of(&Bench::new().evidence()).expect("facts");
    assert_eq!(facts.ca, PckCa::Platform);
    assert_eq!(&facts.fmspc.as_bytes()[..3], b"SIM");
}

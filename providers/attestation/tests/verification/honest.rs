//! Faultless evidence, and the verdict it gets.

use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::TcbStatus;

use crate::bench::{Bench, now};

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
    assert_eq!(verdict.collateral_digest, bench.collateral.digest());
    assert_eq!(verdict.accepted_at, now());
    assert!(verdict.warnings.is_empty());
}

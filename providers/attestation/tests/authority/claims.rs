//! What a token says, each claim in turn: missing, of another type, in the wrong place, or about something else.

use easyenclave_attestation::testing::authority::Claim;
use easyenclave_attestation::testing::platform_with;
use easyenclave_attestation::{PlatformFlags, TrustRoot};
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::ReasonCode::{
    self, AttesterRefused, BindingMismatch, ItaPolicyUnmatched, ItaTokenExpired, ItaTokenMissing,
    MrtdMissing, PlatformRefused, VerdictsDisagree,
};
use easyenclave_schemas::evidence::{TcbStatus, Verdict};
use serde_json::{Value, json};

use crate::bench::{Bench, now};

const VERSIONS: [ItaVersion; 2] = [ItaVersion::V1, ItaVersion::V2];

async fn refused(version: ItaVersion, claim: Claim, code: ReasonCode) {
    let bench = Bench::of(version, SigningAlgorithm::PS384).await;
    let said = format!("{version:?}: {claim:?}");
    bench.authority.says(claim);
    let rejection = bench.attempt().await.expect_err(&said);
    assert_eq!(rejection.code, code, "{said}: {rejection}");
}

async fn guest_is_refused(name: &'static str, value: Value, code: ReasonCode) {
    for version in VERSIONS {
        refused(version, Claim::Guest(name, value.clone()), code).await;
    }
}

#[tokio::test]
async fn another_guest_or_one_that_can_be_debugged_is_refused() {
    for odd in [json!("SGX"), json!("tdx"), json!(["TDX"])] {
        guest_is_refused("attester_type", odd, AttesterRefused).await;
    }
    for odd in [json!("enabled"), json!("Disabled"), json!(false), json!("")] {
        guest_is_refused("dbgstat", odd, AttesterRefused).await;
    }
    for odd in [json!(true), json!("false"), json!(0), json!(null)] {
        guest_is_refused("tdx_is_debuggable", odd.clone(), AttesterRefused).await;
        guest_is_refused("tdx_is_migratable", odd, AttesterRefused).await;
    }
}

#[tokio::test]
async fn every_claim_that_counts_has_to_be_there() {
    for (name, code) in [
        ("attester_type", AttesterRefused),
        ("dbgstat", AttesterRefused),
        ("attester_tcb_status", AttesterRefused),
        ("tdx_report_data", AttesterRefused),
        ("tdx_mrtd", MrtdMissing),
        ("tdx_rtmr0", AttesterRefused),
        ("tdx_rtmr3", AttesterRefused),
        ("verifier_nonce", BindingMismatch),
    ] {
        for version in VERSIONS {
            refused(version, Claim::GuestWithout(name), code).await;
        }
    }
    for version in VERSIONS {
        refused(version, Claim::TopWithout("exp"), ItaTokenExpired).await;
        refused(version, Claim::TopWithout("ver"), AttesterRefused).await;
    }
}

#[tokio::test]
async fn claims_in_the_place_of_the_other_version_are_missing() {
    for version in VERSIONS {
        refused(version, Claim::Misplaced, AttesterRefused).await;
        for ver in [
            json!("1.0.0"),
            json!("2.0.0"),
            json!("3.0.0"),
            json!(2),
            json!("2"),
        ] {
            let own = (version == ItaVersion::V1 && ver == "1.0.0")
                || (version == ItaVersion::V2 && ver == "2.0.0");
            if !own {
                refused(version, Claim::Top("ver", ver), AttesterRefused).await;
            }
        }
    }
    // A copy in the other place neither helps nor harms.
    let bench = Bench::new().await;
    bench
        .authority
        .says(Claim::Top("tdx_mrtd", json!("00".repeat(48))));
    bench.attempt().await.expect("accepted");
}

#[tokio::test]
async fn a_token_about_other_measurements_is_a_disagreement() {
    for name in [
        "tdx_mrtd",
        "tdx_rtmr0",
        "tdx_rtmr1",
        "tdx_rtmr2",
        "tdx_rtmr3",
    ] {
        guest_is_refused(name, json!("ab".repeat(48)), VerdictsDisagree).await;
    }
    guest_is_refused("tdx_mrtd", json!("ab".repeat(47)), MrtdMissing).await;
    guest_is_refused("tdx_rtmr1", json!("ab".repeat(49)), AttesterRefused).await;
}

#[tokio::test]
async fn two_verifiers_that_differ_on_the_platform_are_a_disagreement() {
    let mut bench = Bench::new().await;
    bench.policy.dcap = true;
    bench.attempt().await.expect("they agree");
    bench.policy.allowed_tcb.insert(TcbStatus::OutOfDate);
    bench
        .authority
        .says(Claim::Guest("attester_tcb_status", json!("OutOfDate")));
    let rejection = bench.attempt().await.expect_err("they differ");
    assert_eq!(rejection.code, VerdictsDisagree);
    assert!(rejection.message.contains("OutOfDate"), "{rejection}");
}

/// A token says nothing of what a policy may refuse of a platform; its certificate does.
#[tokio::test]
async fn a_platform_that_the_policy_does_not_allow_is_refused_without_local_verification_too() {
    let mut bench = Bench::new().await;
    let has = PlatformFlags {
        smt: true,
        ..PlatformFlags::default()
    };
    bench.platform = platform_with(now(), has).expect("a platform");
    bench.policy.trust_root =
        TrustRoot::simulated(bench.platform.root_key_id()).expect("not Intel's");
    let rejection = bench.attempt().await.expect_err("refused");
    assert_eq!(rejection.code, PlatformRefused);
    assert!(rejection.message.contains("SMT"), "{rejection}");
    bench.policy.platform = has;
    let verdict = bench.attempt().await.expect("allowed");
    assert_eq!(verdict.properties, has);
}

#[tokio::test]
async fn a_token_for_another_nonce_or_key_is_refused() {
    guest_is_refused("tdx_report_data", json!("00".repeat(64)), BindingMismatch).await;
    guest_is_refused("tdx_report_data", json!("00".repeat(63)), AttesterRefused).await;
    for odd in [
        json!({"val": "AAAA", "iat": "AAAA", "signature": "AAAA"}),
        json!({"val": "AAAA"}),
        json!("AAAA"),
        json!(null),
    ] {
        guest_is_refused("verifier_nonce", odd, BindingMismatch).await;
    }
    guest_is_refused("attester_held_data", json!("AAAA"), BindingMismatch).await;
    guest_is_refused("attester_held_data", json!(""), BindingMismatch).await;
    guest_is_refused("attester_held_data", json!(7), AttesterRefused).await;
    let bench = Bench::new().await;
    bench
        .authority
        .says(Claim::GuestWithout("attester_held_data"));
    bench
        .attempt()
        .await
        .expect("what it says of the report data is enough");
}

#[tokio::test]
async fn policies_of_the_trust_authority_have_to_match() {
    for version in VERSIONS {
        let mut bench = Bench::of(version, SigningAlgorithm::PS384).await;
        bench.settings_mut().policy_ids = vec!["one".into(), "two".into()];
        bench.authority.knows_policy("one");
        let rejection = bench.attempt().await.expect_err("one of two");
        assert_eq!(rejection.code, ItaTokenMissing, "{rejection}");
        bench.authority.knows_policy("two");
        bench.attempt().await.expect("both match");
        // One that gives tokens all the same: we look for ourselves.
        for odd in [
            json!([{"id": "one"}]),
            json!(["one", "two"]),
            json!([{"id": ["one", "two"]}]),
            json!(null),
        ] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Top("policy_ids_matched", odd));
            assert_eq!(bench.refusal().await, ItaPolicyUnmatched);
        }
    }
}

#[tokio::test]
async fn times_that_cannot_be_are_refused() {
    for version in VERSIONS {
        for odd in [
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e30),
            json!(-1),
            json!(253_370_764_801_i64),
            json!("2030-01-01T00:00:00Z"),
            json!(null),
            json!(1_777_640_400.5),
        ] {
            refused(version, Claim::Top("exp", odd), ItaTokenExpired).await;
        }
    }
    let bench = Bench::new().await;
    bench
        .authority
        .says(Claim::Top("exp", json!(253_370_764_800_i64)));
    let verdict = bench.attempt().await.expect("the last second there is");
    let text = serde_json::to_string(&verdict).expect("writes");
    serde_json::from_str::<Verdict>(&text).expect("reads back");
    assert_eq!(verdict.trusted_until, now().plus(bench.policy.max_age));
}

#[tokio::test]
async fn claims_that_are_not_one_object_with_each_name_once_are_refused() {
    let bench = Bench::new().await;
    let issuer = bench.settings().issuer.clone();
    for payload in [
        String::new(),
        "null".into(),
        "[]".into(),
        format!(r#"{{"iss": "{issuer}", "iss": "{issuer}", "exp": 4000000000}}"#),
        format!(
            r#"{{"iss": "{issuer}", "exp": 4000000000, "tdx": {{"dbgstat": 1, "dbgstat": 2}}}}"#
        ),
    ] {
        bench.authority.is_honest();
        bench.authority.says(Claim::Payload(payload));
        assert_eq!(bench.refusal().await, AttesterRefused);
    }
}

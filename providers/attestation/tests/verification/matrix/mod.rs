//! Rows of the test matrix that need a verifier and no reconciler, each named by its id. Policies are made from
//! documents, as the product makes them.

mod platform;
mod registers;
mod tcb;

use easyenclave_attestation::testing::{case, judge};
use easyenclave_attestation::{Binding, Case, Policy, verify};
use easyenclave_schemas::NodeSize;
use easyenclave_schemas::documents::PolicySpec;
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, Rejection, Verdict};
use serde_json::{Value, json};

use crate::bench::{Bench, data, evidence, now};

/// A policy document that accepts the bench's guest, with `changes` to its fields.
fn document(bench: &Bench, changes: &Value) -> Value {
    let mut document = json!({
        "trustRoot": {"kind": "simulated", "keyId": bench.platform.root_key_id().to_string()},
        "measurements": [{"name": "the image", "mrtd": bench.body.mrtd.to_string()}],
    });
    for (field, value) in changes.as_object().expect("fields") {
        document[field] = value.clone();
    }
    document
}

fn policy(bench: &Bench, changes: &Value) -> Policy {
    made(document(bench, changes)).expect("a policy")
}

fn made(document: Value) -> Result<Policy, Rejection> {
    let spec: PolicySpec = serde_json::from_value(document).expect("a document");
    Policy::new(&spec, &NodeSize::new("tiny").expect("a name"))
}

/// What the bench's guest gets under a policy with `changes`.
fn judged(bench: &Bench, changes: &Value) -> Result<Verdict, Rejection> {
    let policy = policy(bench, changes);
    judge(
        &bench.evidence(),
        &bench.binding,
        &bench.collateral,
        &policy,
        now(),
    )
}

fn code(result: Result<Verdict, Rejection>) -> ReasonCode {
    result.expect_err("refused").code
}

fn codes(verdict: &Verdict) -> Vec<ReasonCode> {
    verdict
        .warnings
        .iter()
        .map(|warning| warning.code)
        .collect()
}

#[test]
fn matrix_reg_001_everything_as_it_should_be_is_accepted() {
    let verdict = judged(&Bench::new(), &json!({})).expect("accepted");
    assert_eq!(codes(&verdict), []);
    assert_eq!(verdict.measurement, "the image");
}

/// What the nonce's check said before comes first, and is the answer.
#[test]
fn matrix_nonce_001_each_failure_of_the_nonce_refuses() {
    let bench = Bench::new();
    let policy = policy(&bench, &json!({}));
    let evidence = bench.evidence();
    for failure in NONCE_FAILURES {
        let case = Case {
            nonce: Err(failure),
            ..case(&evidence, &bench.binding, &bench.collateral, &policy, now())
        };
        assert_eq!(code(verify(&case)), failure);
    }
}

const NONCE_FAILURES: [ReasonCode; 4] = [
    ReasonCode::NonceMissing,
    ReasonCode::NonceUnknown,
    ReasonCode::NonceExpired,
    ReasonCode::NonceReplayed,
];

#[test]
fn matrix_nonce_002_an_optional_nonce_is_let_pass_with_a_warning() {
    let bench = Bench::new();
    let policy = policy(&bench, &json!({"modes": {"nonce": "optional"}}));
    let evidence = bench.evidence();
    for failure in NONCE_FAILURES {
        let case = Case {
            nonce: Err(failure),
            ..case(&evidence, &bench.binding, &bench.collateral, &policy, now())
        };
        let verdict = verify(&case).expect("accepted");
        assert_eq!(codes(&verdict), [ReasonCode::NonceWarning]);
        assert_eq!(verdict.warnings[0].message, failure.cause());
    }
    let foreign = Binding {
        nonce: [9; 32],
        ..bench.binding.clone()
    };
    let verdict = judge(&evidence, &foreign, &bench.collateral, &policy, now());
    let verdict = verdict.expect("accepted");
    assert_eq!(
        verdict.warnings[0].message,
        ReasonCode::BindingMismatch.cause()
    );
}

#[test]
fn matrix_nonce_003_a_disabled_nonce_is_marked_in_each_verdict() {
    let verdict = judged(&Bench::new(), &json!({"modes": {"nonce": "disabled"}}));
    let verdict = verdict.expect("accepted");
    assert_eq!(codes(&verdict), [ReasonCode::NonceWarning]);
    assert_eq!(
        verdict.warnings[0].message,
        "nonce and binding were not checked"
    );
}

/// Only a simulated root may weaken the nonce.
#[test]
fn matrix_nonce_002_and_003_are_no_policy_under_intels_root() {
    let bench = Bench::new();
    for mode in ["optional", "disabled"] {
        let changes = json!({"trustRoot": {"kind": "intel"}, "modes": {"nonce": mode}});
        let refused = made(document(&bench, &changes)).expect_err("no policy");
        assert_eq!(refused.code, ReasonCode::PolicyInvalid);
        assert!(refused.message.contains("under Intel's"), "{refused}");
    }
}

#[test]
fn matrix_reg_006_a_quote_bound_to_something_else_is_refused() {
    let bench = Bench::new();
    let policy = policy(&bench, &json!({}));
    let other_nonce = Binding {
        nonce: [9; 32],
        ..bench.binding.clone()
    };
    let other_key = Binding {
        public_key: [9; 32],
        ..bench.binding.clone()
    };
    for binding in [other_nonce, other_key] {
        let result = judge(
            &bench.evidence(),
            &binding,
            &bench.collateral,
            &policy,
            now(),
        );
        assert_eq!(code(result), ReasonCode::BindingMismatch);
    }
}

#[test]
fn matrix_reg_013_a_malformed_quote_is_refused_under_every_mode() {
    let bench = Bench::new();
    let modes = json!({"modes": {"nonce": "disabled", "tcb": "disabled", "rtmr": "disabled"}});
    for changes in [json!({}), modes] {
        let policy = policy(&bench, &changes);
        for bytes in [&bench.quote[..700], &[], &[0; 5000], b"no quote at all"] {
            let evidence = evidence(bytes);
            let result = judge(&evidence, &bench.binding, &bench.collateral, &policy, now());
            assert_eq!(code(result), ReasonCode::QuoteUnreadable);
        }
    }
}

#[test]
fn matrix_reg_014_a_missing_mrtd_is_refused() {
    let mut bench = Bench::new();
    bench.body.mrtd = MeasurementDigest::new([0; 48]);
    bench.quote = quote(&bench);
    assert_eq!(code(judged(&bench, &json!({}))), ReasonCode::MrtdMissing);
}

/// A quote of the bench's guest as it is now.
fn quote(bench: &Bench) -> Vec<u8> {
    let quote = bench
        .platform
        .guest()
        .quote(data(&bench.binding), &bench.body);
    quote.expect("a quote")
}

#[test]
fn matrix_reg_015_an_mrtd_that_is_not_trusted_is_refused_under_every_mode() {
    let bench = Bench::new();
    let others = json!([{"name": "another", "mrtd": "ab".repeat(48)}]);
    let modes = json!({"nonce": "disabled", "tcb": "disabled", "rtmr": "disabled"});
    for changes in [
        json!({"measurements": others}),
        json!({"measurements": []}),
        json!({"measurements": others, "modes": modes}),
    ] {
        let rejection = judged(&bench, &changes).expect_err("refused");
        assert_eq!(rejection.code, ReasonCode::MrtdUntrusted, "{changes}");
    }
}

/// A measurement of another size does not count for this one.
#[test]
fn matrix_reg_015_a_measurement_counts_for_its_own_size() {
    let bench = Bench::new();
    let measured = |size: &str| {
        let entry = json!({"name": size, "nodeSize": size, "mrtd": bench.body.mrtd.to_string()});
        judged(&bench, &json!({"measurements": [entry]}))
    };
    assert_eq!(measured("tiny").expect("accepted").measurement, "tiny");
    assert_eq!(code(measured("llm")), ReasonCode::MrtdUntrusted);
}

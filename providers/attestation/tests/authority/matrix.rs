//! Rows of the test matrix that need a Trust Authority. Each holds for both versions of its protocol, for both
//! signatures, and however lenient a policy is otherwise.

use std::time::Duration;

use easyenclave_attestation::Binding;
use easyenclave_attestation::testing::authority::{
    API_KEY, Claim, Fault, Kind, Signer, TOKEN_LIFE,
};
use easyenclave_schemas::documents::{Enforcement, ItaVersion, Modes, NonceMode, SigningAlgorithm};
use easyenclave_schemas::evidence::{ReasonCode, TcbStatus, VerifierKind};
use serde_json::json;

use crate::bench::{Bench, client, now};

const ALL: [(ItaVersion, SigningAlgorithm); 4] = [
    (ItaVersion::V1, SigningAlgorithm::PS384),
    (ItaVersion::V1, SigningAlgorithm::RS256),
    (ItaVersion::V2, SigningAlgorithm::PS384),
    (ItaVersion::V2, SigningAlgorithm::RS256),
];

const MINUTE: Duration = Duration::from_secs(60);

/// Benches of every version and signature, each under the strictest and under the most lenient modes.
async fn benches() -> Vec<Bench> {
    let lenient = Modes {
        nonce: NonceMode::Disabled,
        tcb: Enforcement::Disabled,
        rtmr: Enforcement::Disabled,
    };
    let mut benches = Vec::new();
    for (version, algorithm) in ALL {
        benches.push(Bench::of(version, algorithm).await);
        let mut bench = Bench::of(version, algorithm).await;
        bench.policy.modes = lenient;
        benches.push(bench);
    }
    benches
}

#[tokio::test]
async fn matrix_reg_001_a_valid_token_is_accepted() {
    for mut bench in benches().await {
        let verdict = bench.attempt().await.expect("accepted");
        assert_eq!(verdict.verifiers, [VerifierKind::Ita]);
        assert_eq!(verdict.tcb_status, TcbStatus::UpToDate);
        let token = verdict.token.expect("there was one");
        assert_eq!(token.issuer, bench.settings().issuer);
        assert_eq!(token.key_id, "first");
        assert_eq!(token.audience, None);
        assert_eq!(token.expires, now().plus(TOKEN_LIFE));
        bench.policy.dcap = true;
        let verdict = bench.attempt().await.expect("accepted by both");
        assert_eq!(verdict.verifiers, [VerifierKind::Dcap, VerifierKind::Ita]);
    }
}

/// Nothing is sent to the Trust Authority that it could only refuse, and what is judged without asking it says the
/// same.
#[tokio::test]
async fn matrix_reg_006_a_quote_over_another_nonce_or_key_is_refused() {
    let bench = Bench::new().await;
    let mut shown = bench.mint().await.expect("a token");
    let keys = bench.keys(&shown, now()).await.expect("keys");
    let honest = shown.binding.clone();
    let other = bench.show().await.expect("another nonce").binding;
    let foreign = [
        Binding {
            ita: other.ita.clone(),
            ..honest.clone()
        },
        Binding {
            public_key: [3; 32],
            ..honest.clone()
        },
        Binding {
            ita: None,
            ..honest.clone()
        },
    ];
    for binding in foreign {
        shown.binding = binding;
        let refused = bench
            .judge(&shown, Some(&keys), now())
            .expect_err("refused");
        assert_eq!(refused.code, ReasonCode::BindingMismatch);
    }
    let asked = bench.authority.count(Kind::Attest);
    let nonce = other.ita.as_ref().expect("a nonce");
    let account = bench.settings().into();
    let refused = bench
        .client
        .mint(account, &shown.evidence, nonce, &[2; 32])
        .await;
    let refused = easyenclave_schemas::evidence::Rejection::from(refused.expect_err("not sent"));
    assert_eq!(refused.code, ReasonCode::BindingMismatch);
    assert_eq!(bench.authority.count(Kind::Attest), asked);
}

#[tokio::test]
async fn matrix_reg_007_a_missing_token_is_refused() {
    for bench in benches().await {
        let shown = bench.show().await.expect("a quote");
        let keys = bench.keys(&shown, now()).await.expect("keys");
        let refused = bench
            .judge(&shown, Some(&keys), now())
            .expect_err("refused");
        assert_eq!(refused.code, ReasonCode::ItaTokenMissing);
    }
}

/// It has looked at the evidence and gives no token: that is what the agent and the audit are told.
#[tokio::test]
async fn matrix_reg_007_evidence_that_gets_no_token_is_refused_with_what_it_says() {
    for bench in benches().await {
        let body = json!({"error": "Failed to verify\nquote"}).to_string();
        bench.authority.next(Kind::Attest, Fault::Status(400, body));
        let refused = bench.attempt().await.expect_err("refused");
        assert_eq!(refused.code, ReasonCode::ItaTokenMissing);
        for part in [
            "Failed to verifyquote",
            "request-id",
            "trace-id trace-of-the-test",
        ] {
            assert!(refused.message.contains(part), "{refused}");
        }
        bench
            .attempt()
            .await
            .expect("one refusal keeps nobody else out");
    }
}

#[tokio::test]
async fn matrix_reg_008_a_signature_of_another_key_is_refused() {
    for bench in benches().await {
        bench.authority.signs_with(Signer::Impostor);
        assert_eq!(bench.refusal().await, ReasonCode::ItaSignatureInvalid);
        bench.authority.signs_with(Signer::First);
        bench.authority.says(Claim::Signature(vec![0; 384]));
        assert_eq!(bench.refusal().await, ReasonCode::ItaSignatureInvalid);
    }
}

#[tokio::test]
async fn matrix_reg_009_an_expired_token_is_refused() {
    for bench in benches().await {
        let leeway = bench.settings().leeway.get();
        let end = now().plus(TOKEN_LIFE + leeway);
        let shown = bench.mint().await.expect("a token");
        let keys = bench.keys(&shown, now()).await.expect("keys");
        let refused = bench.judge(&shown, Some(&keys), end).expect_err("refused");
        assert_eq!(refused.code, ReasonCode::ItaTokenExpired);
        let last = end.minus(Duration::from_millis(1));
        let verdict = bench.judge(&shown, Some(&keys), last).expect("just valid");
        assert!(
            verdict.trusted_until > verdict.accepted_at,
            "never for nothing"
        );
        assert_eq!(verdict.trusted_until, end);
    }
}

#[tokio::test]
async fn matrix_reg_010_a_token_from_the_future_is_refused() {
    for bench in benches().await {
        let leeway = bench.settings().leeway.get();
        bench.authority.set_now(now().plus(leeway));
        bench.attempt().await.expect("within the leeway");
        bench
            .authority
            .set_now(now().plus(leeway + Duration::from_secs(1)));
        assert_eq!(bench.refusal().await, ReasonCode::ItaTokenNotYetValid);
        bench.authority.set_now(now());
        for odd in [
            json!("soon"),
            json!(1.5),
            json!(null),
            json!([0]),
            json!(-1),
        ] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Top("nbf", odd.clone()));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::ItaTokenNotYetValid,
                "{odd}"
            );
        }
    }
}

#[tokio::test]
async fn matrix_reg_011_another_issuer_is_refused() {
    for bench in benches().await {
        let issuer = bench.settings().issuer.clone();
        for odd in [
            json!("https://portal.trustauthority.example"),
            json!(format!("{issuer}/")),
            json!([issuer]),
            json!(null),
        ] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Top("iss", odd.clone()));
            assert_eq!(bench.refusal().await, ReasonCode::ItaIssuerInvalid, "{odd}");
        }
        bench.authority.says(Claim::TopWithout("iss"));
        assert_eq!(bench.refusal().await, ReasonCode::ItaIssuerInvalid);
    }
}

#[tokio::test]
async fn matrix_reg_012_another_audience_is_refused_where_the_policy_names_one() {
    for mut bench in benches().await {
        bench.settings_mut().audience = Some("fleet".into());
        assert_eq!(
            bench.refusal().await,
            ReasonCode::ItaAudienceInvalid,
            "none"
        );
        for odd in [
            json!("fleets"),
            json!(["a", "b"]),
            json!([["fleet"]]),
            json!({"fleet": 1}),
        ] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Top("aud", odd.clone()));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::ItaAudienceInvalid,
                "{odd}"
            );
        }
        for good in [json!("fleet"), json!(["other", "fleet"])] {
            bench.authority.is_honest();
            bench.authority.says(Claim::Top("aud", good));
            let verdict = bench.attempt().await.expect("accepted");
            let token = verdict.token.expect("there was one");
            assert_eq!(token.audience.as_deref(), Some("fleet"));
        }
        bench.settings_mut().audience = None;
        bench.attempt().await.expect("recorded and not looked at");
    }
}

/// Whatever of it cannot be reached or is overloaded: nobody's evidence is to blame.
#[tokio::test]
async fn matrix_reg_016_a_trust_authority_that_cannot_answer_is_nobodys_fault() {
    for kind in [Kind::Nonce, Kind::Attest, Kind::Keys] {
        for status in [401, 403, 408, 429, 500, 503, 504] {
            let bench = Bench::new().await;
            bench
                .authority
                .next(kind, Fault::Status(status, String::new()));
            let refused = bench.attempt().await.expect_err("no answer");
            assert_eq!(
                refused.code,
                ReasonCode::DependencyUnavailable,
                "{kind:?} {status}"
            );
            assert!(refused.message.contains(&status.to_string()), "{refused}");
            assert!(!refused.message.contains(API_KEY), "{refused}");
        }
        for body in ["not JSON", "{}", "[]", "<html></html>"] {
            let bench = Bench::new().await;
            bench.authority.next(kind, Fault::Body(body.into()));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::DependencyUnavailable,
                "{kind:?} {body}"
            );
        }
        let bench = Bench::new().await;
        bench.authority.next(kind, Fault::Huge(8 << 20));
        assert_eq!(bench.refusal().await, ReasonCode::DependencyUnavailable);
    }
}

#[tokio::test]
async fn matrix_reg_016_keys_that_are_not_there_are_nobodys_fault() {
    let bench = Bench::new().await;
    let shown = bench.mint().await.expect("a token");
    let refused = bench.judge(&shown, None, now()).expect_err("no keys");
    assert_eq!(refused.code, ReasonCode::DependencyUnavailable);
}

#[tokio::test]
async fn matrix_reg_016_a_key_that_it_does_not_take_is_nobodys_fault() {
    let mut bench = Bench::new().await;
    bench.client = client("another-key");
    let refused = bench.attempt().await.expect_err("refused");
    assert_eq!(refused.code, ReasonCode::DependencyUnavailable);
    assert!(
        refused.message.contains("does not take our key"),
        "{refused}"
    );
    assert!(!refused.message.contains("another-key"), "{refused}");
}

#[tokio::test]
async fn matrix_tcb_001_a_status_that_the_policy_does_not_allow_is_refused() {
    for (version, algorithm) in ALL {
        let bench = Bench::of(version, algorithm).await;
        bench
            .authority
            .says(Claim::Guest("attester_tcb_status", json!("OutOfDate")));
        assert_eq!(bench.refusal().await, ReasonCode::TcbUnacceptable);
    }
    for mut bench in benches().await {
        bench.policy.modes.tcb = Enforcement::Disabled;
        for never in ["Revoked", "uptodate", ""] {
            bench
                .authority
                .says(Claim::Guest("attester_tcb_status", json!(never)));
            assert_eq!(
                bench.refusal().await,
                ReasonCode::TcbUnacceptable,
                "{never}"
            );
        }
    }
}

/// Trust in a token ends with it, unless the policy says that it had to be valid only when it was judged.
#[tokio::test]
async fn trust_ends_with_the_token_or_with_the_policys_age() {
    use easyenclave_schemas::documents::TrustEnds;
    let mut bench = Bench::new().await;
    let leeway = bench.settings().leeway.get();
    let verdict = bench.attempt().await.expect("accepted");
    assert_eq!(verdict.trusted_until, now().plus(TOKEN_LIFE + leeway));
    bench.settings_mut().trust_ends = TrustEnds::MaxAge;
    let verdict = bench.attempt().await.expect("accepted");
    assert_eq!(verdict.trusted_until, now().plus(bench.policy.max_age));
    bench.policy.max_age = MINUTE;
    let verdict = bench.attempt().await.expect("accepted");
    assert_eq!(verdict.trusted_until, now().plus(MINUTE));
    bench.settings_mut().trust_ends = TrustEnds::Token;
    let verdict = bench.attempt().await.expect("accepted");
    assert_eq!(verdict.trusted_until, now().plus(MINUTE));
    // It still had to be valid when it was judged.
    bench.settings_mut().trust_ends = TrustEnds::MaxAge;
    let late = bench.attempt_at(now().plus(TOKEN_LIFE + leeway)).await;
    assert_eq!(late.expect_err("refused").code, ReasonCode::ItaTokenExpired);
}

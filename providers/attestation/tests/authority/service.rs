//! The client as a guest of somebody else's service: what it sends, what it does not, and how it keeps away.

use std::time::Duration;

use easyenclave_attestation::testing::authority::{API_KEY, Authority, Fault, Kind};
use easyenclave_attestation::{Account, ItaClient, ItaError, TrustAuthority};
use easyenclave_schemas::Secret;
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, ReasonCode};
use easyenclave_schemas::wire::ItaMint;

use crate::bench::{Bench, client, now};

#[tokio::test]
async fn the_key_goes_to_the_api_and_nowhere_else() {
    for version in [ItaVersion::V1, ItaVersion::V2] {
        let bench = Bench::of(version, SigningAlgorithm::PS384).await;
        bench.attempt().await.expect("accepted");
        let arrived = bench.authority.arrived();
        let kinds: Vec<_> = arrived.iter().map(|call| call.kind).collect();
        assert_eq!(kinds, [Kind::Nonce, Kind::Attest, Kind::Keys]);
        let folder = if version == ItaVersion::V1 {
            "/v1/"
        } else {
            "/v2/"
        };
        for call in &arrived {
            let of_api = call.kind != Kind::Keys;
            assert_eq!(call.path.contains(folder), of_api, "{call:?}");
            assert_eq!(call.api_key.as_deref(), of_api.then_some(API_KEY));
            assert_eq!(call.accept.as_deref(), Some("application/json"));
            assert_eq!(call.request_id.as_ref().map(String::len), Some(32));
        }
        assert_ne!(arrived[0].request_id, arrived[1].request_id);
    }
}

#[tokio::test]
async fn an_agent_mints_with_its_own_key_and_only_where_it_is_for() {
    let bench = Bench::new().await;
    let settings = bench.settings();
    let mint = ItaMint {
        api_url: settings.api_url.clone(),
        version: settings.version,
        algorithm: settings.algorithm,
        policy_ids: Vec::new(),
    };
    let agent = client(API_KEY).only_to(&format!("{}/", mint.api_url));
    let mut shown = bench.show().await.expect("a quote");
    let nonce = shown.binding.ita.clone().expect("a nonce");
    let token = agent
        .mint(Account::from(&mint), &shown.evidence, &nonce, &[2; 32])
        .await;
    shown.evidence.token = Some(token.expect("a token"));
    let keys = bench.keys(&shown, now()).await.expect("keys");
    bench.judge(&shown, Some(&keys), now()).expect("accepted");
    // Somebody in the reconciler's place names another address.
    let trap = Authority::start(now()).await;
    let elsewhere = trap
        .settings(ItaVersion::V2, SigningAlgorithm::PS384)
        .api_url;
    let mint = ItaMint {
        api_url: elsewhere,
        ..mint
    };
    let refused = agent
        .mint(Account::from(&mint), &shown.evidence, &nonce, &[2; 32])
        .await;
    assert!(matches!(refused, Err(ItaError::Settings(_))), "{refused:?}");
    assert_eq!(trap.arrived(), []);
}

/// A redirect would take the key, or the choice of keys, somewhere else.
#[tokio::test]
async fn it_is_not_followed_elsewhere() {
    let trap = Authority::start(now()).await;
    let elsewhere = trap.settings(ItaVersion::V2, SigningAlgorithm::PS384);
    for (kind, path) in [
        (Kind::Nonce, "/appraisal/v2/nonce"),
        (Kind::Attest, "/appraisal/v2/attest"),
        (Kind::Keys, "/certs"),
    ] {
        let bench = Bench::new().await;
        let to = format!("{}{path}", elsewhere.api_url);
        bench.authority.next(kind, Fault::Moved(to));
        let refused = bench.attempt().await.expect_err("not there");
        assert_eq!(refused.code, ReasonCode::DependencyUnavailable, "{kind:?}");
    }
    assert_eq!(trap.arrived(), []);
}

#[tokio::test]
async fn what_is_no_quote_is_not_sent() {
    let bench = Bench::new().await;
    let nonce = bench.client.nonce(bench.settings()).await.expect("a nonce");
    for bytes in [vec![], vec![0; 5000], vec![7; 5000]] {
        let evidence = Evidence::of_quote(QuoteBytes::new(bytes).expect("short"));
        let refused = bench
            .client
            .token(bench.settings(), &evidence, &nonce, &[2; 32])
            .await;
        assert!(matches!(refused, Err(ItaError::Quote(_))), "{refused:?}");
    }
    assert_eq!(bench.authority.count(Kind::Attest), 0);
}

#[tokio::test]
async fn plain_http_is_for_this_machine_only() {
    let client = client(API_KEY);
    for url in [
        "http://192.0.2.1",
        "http://portal.trustauthority.example",
        "nothing",
    ] {
        let settings = ItaSpec {
            api_url: url.into(),
            jwks_url: url.into(),
            ..ItaSpec::default()
        };
        let nonce = client.nonce(&settings).await;
        assert!(matches!(nonce, Err(ItaError::Settings(_))), "{nonce:?}");
        let keys = client.keys(&settings, None, now()).await;
        assert!(matches!(keys, Err(ItaError::Settings(_))), "{keys:?}");
    }
}

#[tokio::test]
async fn without_a_key_there_are_keys_and_no_nonces() {
    let mut bench = Bench::new().await;
    bench.client = ItaClient::new(None).expect("a client");
    let nonce = bench.client.nonce(bench.settings()).await;
    assert!(matches!(nonce, Err(ItaError::Key(_))), "{nonce:?}");
    bench
        .client
        .keys(bench.settings(), None, now())
        .await
        .expect("keys");
    assert_eq!(bench.authority.count(Kind::Nonce), 0);
}

#[tokio::test]
async fn an_api_that_is_down_or_overloaded_is_left_alone() {
    for status in [401, 404, 429, 500, 503, 504] {
        let bench = Bench::new().await;
        bench
            .authority
            .always(Kind::Nonce, Some(Fault::RetryAfter(status, 120)));
        for _ in 0..50 {
            let refused = bench.show().await;
            assert!(refused.is_err());
        }
        let asked = bench.authority.count(Kind::Nonce);
        assert_eq!(asked, 1, "{status}");
        let error = bench
            .show()
            .await
            .map(|_| ())
            .expect_err("held")
            .to_string();
        assert!(error.contains("not asked again for"), "{error}");
    }
}

#[tokio::test]
async fn it_is_asked_again_when_the_while_is_over() {
    let bench = Bench::new().await;
    bench
        .authority
        .next(Kind::Nonce, Fault::Status(503, String::new()));
    bench.show().await.map(|_| ()).expect_err("down");
    let back = async {
        while bench.show().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back)
        .await
        .expect("back within its while");
    assert_eq!(bench.authority.count(Kind::Nonce), 2);
}

#[tokio::test]
async fn one_that_is_slow_is_not_waited_for() {
    let mut bench = Bench::new().await;
    let key = Secret::new(API_KEY.to_owned());
    let deadline = Duration::from_millis(300);
    bench.client = ItaClient::with_deadline(Some(&key), deadline).expect("a client");
    for kind in [Kind::Nonce, Kind::Attest, Kind::Keys] {
        bench
            .authority
            .next(kind, Fault::Slow(Duration::from_secs(60)));
    }
    let began = tokio::time::Instant::now();
    let nonce = bench
        .client
        .nonce(bench.settings())
        .await
        .expect_err("slow");
    assert!(matches!(nonce, ItaError::Unavailable(_)), "{nonce}");
    assert!(
        nonce.to_string().contains("no answer within 0.3 s"),
        "{nonce}"
    );
    let keys = bench.client.keys(bench.settings(), None, now()).await;
    assert!(matches!(keys, Err(ItaError::Unavailable(_))), "{keys:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn one_that_is_not_there_is_unavailable() {
    let mut bench = Bench::new().await;
    bench.settings_mut().api_url = "http://127.0.0.1:1".into();
    let nonce = bench.show().await.map(|_| ()).expect_err("nobody there");
    assert!(nonce.to_string().contains("cannot be reached"), "{nonce}");
}

/// What it says goes into records and to the agent: one line, bounded, and without our key.
#[tokio::test]
async fn what_a_refusal_says_is_bounded_and_holds_no_key() {
    let bench = Bench::new().await;
    let error = |text: &str| serde_json::json!({ "error": text }).to_string();
    for body in [
        error(&format!("bad key {API_KEY}")),
        error(&"x".repeat(3000)),
        error("a\r\nb\u{1b}[31m"),
        error(""),
        "x".repeat(100_000),
        String::new(),
    ] {
        bench.authority.next(Kind::Attest, Fault::Status(400, body));
        let refused = bench
            .mint()
            .await
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(refused.len() < 400, "{refused}");
        assert!(
            !refused.contains(API_KEY) && !refused.contains(char::is_control),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_nonce_that_cannot_be_bound_is_not_handed_on() {
    let good = r#"{"val": "AAAA", "iat": "AAAA", "signature": "AAAA"}"#;
    let long = "A".repeat(4000);
    for (body, counts) in [
        (good.to_owned(), true),
        (good.replace("\"val\": \"AAAA\"", "\"val\": \"\""), false),
        (
            good.replace("\"iat\": \"AAAA\"", "\"iat\": \"not base64\""),
            false,
        ),
        (
            good.replace("\"signature\": \"AAAA\"", "\"signature\": 7"),
            false,
        ),
        (
            good.replace("\"val\": \"AAAA\"", &format!("\"val\": \"{long}\"")),
            false,
        ),
    ] {
        let bench = Bench::new().await;
        bench.authority.next(Kind::Nonce, Fault::Body(body.clone()));
        let nonce = bench.client.nonce(bench.settings()).await;
        assert_eq!(nonce.is_ok(), counts, "{body:.80}");
    }
}

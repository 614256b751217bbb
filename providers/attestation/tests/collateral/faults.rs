//! What can be wrong with an address: what is said of it, that it is nobody's fault, and that the next one is asked.

use std::time::Duration;

use easyenclave_attestation::testing::pcs::{Fault, Part, Pcs};
use easyenclave_attestation::{
    Collateral, CollateralError, CollateralFetch, CollateralSource, PlatformFacts, testing,
};
use easyenclave_schemas::evidence::{ReasonCode, Rejection};

use crate::bench::{Bench, now};

/// The parts, a fault of each, and what is said of it.
fn faults() -> Vec<(Part, Fault, &'static str)> {
    let html = b"<html>".to_vec();
    vec![
        (Part::TcbInfo, Fault::Status(400), "it answered 400"),
        (Part::TcbInfo, Fault::Status(401), "it answered 401"),
        (Part::TcbInfo, Fault::Status(410), "it answered 410"),
        (Part::QeIdentity, Fault::Status(404), "it answered 404"),
        (Part::TcbInfo, Fault::Status(429), "it answered 429"),
        (Part::QeIdentity, Fault::Status(500), "it answered 500"),
        (Part::PckCrl, Fault::RetryAfter(503, 60), "it answered 503"),
        (Part::RootCrl, Fault::Status(404), "it answered 404"),
        (Part::TcbInfo, Fault::Status(204), "it answered 204"),
        (
            Part::TcbInfo,
            Fault::Body(html.clone()),
            "its TCB information cannot be read",
        ),
        (
            Part::QeIdentity,
            Fault::Body(html.clone()),
            "its identity of the quoting enclave cannot be read",
        ),
        (
            Part::RootCrl,
            Fault::Body(html.clone()),
            "a revocation list is neither DER nor hexadecimal",
        ),
        (
            Part::PckCrl,
            Fault::Body(vec![0x30, 0x82, 1, 2]),
            "a revocation list cannot be read",
        ),
        (
            Part::TcbInfo,
            Fault::WithoutIssuers,
            "it leaves out a chain of issuers",
        ),
        (
            Part::PckCrl,
            Fault::WithoutIssuers,
            "it leaves out a chain of issuers",
        ),
        (
            Part::TcbInfo,
            Fault::Reordered,
            "the TCB information is not signed by its signer",
        ),
        (
            Part::QeIdentity,
            Fault::Reordered,
            "the quoting enclave's identity is not signed by its signer",
        ),
        (
            Part::QeIdentity,
            Fault::Huge(Collateral::MAX),
            "an answer is longer than 524288 bytes",
        ),
    ]
}

#[tokio::test]
async fn each_fault_is_told_in_words_that_stay_and_blames_nobody() {
    for (part, fault, words) in faults() {
        let bench = Bench::new().await;
        bench.pcs.always(part, Some(fault.clone()));
        let error = bench.ask(now()).await.expect_err("nothing");
        assert!(matches!(error, CollateralError::Unavailable(_)), "{error}");
        assert_eq!(
            Rejection::from(error).code,
            ReasonCode::DependencyUnavailable
        );
        let expected = format!("{}: {words}", bench.pcs.base());
        assert_eq!(bench.trouble(now()), Some(expected.clone()), "{fault:?}");
        // Left alone for now, and no other words for that.
        bench.ask(now()).await.expect_err("nothing");
        assert_eq!(bench.trouble(now()), Some(expected));
        assert_eq!(bench.pcs.count(part), 1, "{fault:?}: left alone");
        assert_eq!(bench.fetched().len(), 1);
    }
}

#[tokio::test]
async fn the_next_address_is_asked_whatever_is_wrong_with_the_first() {
    for (part, fault, _) in faults() {
        let bench = Bench::new().await;
        let first = Pcs::start().await;
        first.serves(bench.facts, &bench.ask(now()).await.expect("collateral"));
        first.always(part, Some(fault.clone()));
        let bench = bench.elsewhere();
        bench.client.asks(&[first.base(), bench.pcs.base()]);
        let got = bench.ask(now()).await;
        got.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(first.count(part) == 1 && bench.pcs.count(part) == 2);
        assert_eq!(bench.trouble(now()), None);
    }
}

#[tokio::test]
async fn one_that_is_slow_or_silent_is_not_waited_for_without_end() {
    for fault in [Fault::Silent, Fault::Slow(Duration::from_secs(3600))] {
        let bench = Bench::with_deadline(Duration::from_millis(200)).await;
        bench.pcs.always(Part::PckCrl, Some(fault));
        bench.ask(now()).await.expect_err("nothing");
        let why = bench.trouble(now()).expect("trouble");
        assert!(why.ends_with(": no answer within 0.2 s"), "{why}");
        assert_eq!(bench.fetched(), [CollateralFetch::Failed]);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_told_so() {
    let bench = Bench::new().await;
    bench.client.asks(&["http://127.0.0.1:1/".into()]);
    bench.ask(now()).await.expect_err("nothing");
    let why = bench.trouble(now());
    assert_eq!(
        why.as_deref(),
        Some("http://127.0.0.1:1: it cannot be reached")
    );
    bench.client.asks(&[]);
    bench.ask(now()).await.expect_err("nothing");
    let why = bench.trouble(now());
    assert_eq!(why.as_deref(), Some("no address is to be asked"));
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear_or_to_where_an_answer_points() {
    let bench = Bench::new().await;
    for address in ["http://192.0.2.1", "ftp://127.0.0.1", "https://a:b@pccs"] {
        bench.client.asks(&[address.into()]);
        bench.ask(now()).await.expect_err("nothing");
        let why = bench.trouble(now()).expect("trouble");
        assert!(why.contains("its address"), "{why}");
    }
    let trap = Pcs::start().await;
    for part in [Part::TcbInfo, Part::QeIdentity, Part::PckCrl, Part::RootCrl] {
        let bench = Bench::new().await;
        let to = format!("{}/tdx/certification/v4/tcb", trap.base());
        bench.pcs.always(part, Some(Fault::Moved(to)));
        bench.ask(now()).await.expect_err("nothing");
        let why = bench.trouble(now()).expect("trouble");
        assert!(why.ends_with("it answered 307"), "{why}");
    }
    assert_eq!(trap.arrived(), Vec::<String>::new());
}

#[tokio::test]
async fn a_platform_that_nobody_knows_is_asked_about_once_in_a_while() {
    let bench = Bench::new().await;
    let stranger = PlatformFacts {
        fmspc: "0123456789ab".parse().expect("12 digits"),
        ..bench.facts
    };
    for _ in 0..5 {
        let asked = bench.client.collateral(&stranger, now()).await;
        let error = asked.expect_err("unknown");
        assert!(matches!(error, CollateralError::UnknownPlatform(_)));
    }
    assert_eq!(bench.pcs.count(Part::TcbInfo), 1);
    assert_eq!(bench.fetched(), [CollateralFetch::Unknown]);
    let later = now().plus(Duration::from_secs(601));
    let asked = bench.client.collateral(&stranger, later).await;
    asked.expect_err("unknown");
    assert_eq!(bench.pcs.count(Part::TcbInfo), 2);
    bench.ask(now()).await.expect("the service itself is well");
}

#[tokio::test]
async fn what_is_not_signed_under_the_root_or_out_of_its_time_is_not_taken() {
    let bench = Bench::new().await;
    let other = testing::platform(now()).expect("a platform");
    let cases = [
        (
            other.collateral(now()).expect("collateral"),
            "it does not come from the trusted root",
        ),
        (
            testing::expired_collateral(&bench.platform, now()).expect("collateral"),
            "it has expired",
        ),
        (
            testing::future_collateral(&bench.platform, now()).expect("collateral"),
            "it was issued after our time",
        ),
    ];
    for (collateral, words) in cases {
        let pcs = Pcs::start().await;
        pcs.serves(bench.facts, &collateral);
        bench.client.asks(&[pcs.base()]);
        bench.ask(now()).await.expect_err(words);
        let why = bench.trouble(now()).expect("trouble");
        assert_eq!(why, format!("{}: {words}", pcs.base()));
        assert_eq!(bench.fetched(), [CollateralFetch::Refused]);
    }
}

#[tokio::test]
async fn a_cache_may_write_the_roots_list_in_several_ways() {
    for fault in [Fault::LineFeed, Fault::Der] {
        let bench = Bench::new().await;
        bench.pcs.always(Part::RootCrl, Some(fault));
        bench.ask(now()).await.expect("taken");
    }
}

//! The signing keys: fetched once for all, again when they are old or one is unknown, and never more often than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use easyenclave_attestation::testing::authority::{Fault, Kind, Signer};
use easyenclave_attestation::{KeyRefresh, TrustAuthority};
use easyenclave_schemas::evidence::ReasonCode;
use futures_util::future::join_all;

use crate::bench::{Bench, now};

const HOUR: Duration = Duration::from_secs(3600);

/// A hundred verifications at once: one fetch, and the same answer for each.
#[tokio::test(flavor = "multi_thread")]
async fn matrix_con_002_keys_are_fetched_once_for_all_who_wait() {
    let bench = Bench::new().await;
    let slow = Fault::Slow(Duration::from_millis(200));
    bench.authority.next(Kind::Keys, slow.clone());
    let shown = bench.mint().await.expect("a token");
    let judge = || async {
        let keys = bench.keys(&shown, now()).await.expect("keys");
        bench.judge(&shown, Some(&keys), now()).expect("accepted")
    };
    let verdicts = join_all((0..100).map(|_| judge())).await;
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
    assert_eq!(bench.authority.count(Kind::Keys), 1);
    // The Trust Authority takes another key while everybody verifies.
    bench.authority.signs_with(Signer::Second);
    bench.authority.publishes(&[Signer::First, Signer::Second]);
    bench.authority.next(Kind::Keys, slow);
    let rotated = bench.mint().await.expect("a token");
    let later = now().plus(Duration::from_secs(60));
    let judge = |new: bool| {
        let (bench, shown) = (&bench, if new { &rotated } else { &shown });
        async move {
            let keys = bench.keys(shown, later).await.expect("keys");
            let verdict = bench.judge(shown, Some(&keys), later).expect("accepted");
            verdict.token.expect("a token").key_id
        }
    };
    let ids = join_all((0..100).map(|n| judge(n % 2 == 0))).await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(id, if n % 2 == 0 { "second" } else { "first" });
    }
    assert_eq!(bench.authority.count(Kind::Keys), 2);
}

/// With none to be had they all get the same answer too, after one call.
#[tokio::test(flavor = "multi_thread")]
async fn matrix_con_002_a_failure_is_shared_as_well() {
    let bench = Bench::new().await;
    bench
        .authority
        .always(Kind::Keys, Some(Fault::Status(503, String::new())));
    let shown = bench.mint().await.expect("a token");
    let refused = join_all((0..100).map(|_| bench.keys(&shown, now()))).await;
    for refused in refused {
        let code = easyenclave_schemas::evidence::Rejection::from(refused.expect_err("none")).code;
        assert_eq!(code, ReasonCode::DependencyUnavailable);
    }
    assert_eq!(bench.authority.count(Kind::Keys), 1);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_in_a_while() {
    let bench = Bench::new().await;
    bench.attempt().await.expect("accepted");
    bench.authority.signs_with(Signer::Second);
    for _ in 0..20 {
        assert_eq!(bench.refusal().await, ReasonCode::ItaSignatureInvalid);
    }
    assert_eq!(
        bench.authority.count(Kind::Keys),
        1,
        "they had just been fetched"
    );
    let later = now().plus(Duration::from_secs(20));
    for _ in 0..20 {
        let refused = bench.attempt_at(later).await.expect_err("still unknown");
        assert_eq!(refused.code, ReasonCode::ItaSignatureInvalid);
    }
    assert_eq!(bench.authority.count(Kind::Keys), 2);
    bench.authority.publishes(&[Signer::First, Signer::Second]);
    let later = now().plus(Duration::from_secs(40));
    bench.attempt_at(later).await.expect("known now");
    assert_eq!(bench.authority.count(Kind::Keys), 3);
    // The old key is still good for those who come late with it.
    bench.authority.signs_with(Signer::First);
    bench.attempt_at(later).await.expect("accepted");
    assert_eq!(bench.authority.count(Kind::Keys), 3);
}

/// Whether a new key is forged or new cannot be told while there are no keys: so it is not said.
#[tokio::test]
async fn an_unknown_key_without_new_keys_is_nobodys_fault() {
    let bench = Bench::new().await;
    bench.attempt().await.expect("accepted");
    bench.authority.signs_with(Signer::Second);
    bench
        .authority
        .always(Kind::Keys, Some(Fault::Status(500, String::new())));
    let later = now().plus(Duration::from_secs(20));
    let refused = bench.attempt_at(later).await.expect_err("no keys");
    assert_eq!(refused.code, ReasonCode::DependencyUnavailable);
    bench.authority.signs_with(Signer::First);
    bench
        .attempt_at(later)
        .await
        .expect("the known key goes on");
}

#[tokio::test]
async fn keys_are_used_for_an_hour_and_for_a_day_when_there_are_no_others() {
    let bench = Bench::new().await;
    let keys = |later| {
        bench
            .client
            .keys(bench.settings(), Some("first"), now().plus(later))
    };
    let second = Duration::from_secs(1);
    for later in [Duration::ZERO, HOUR - second] {
        keys(later).await.expect("keys");
    }
    assert_eq!(bench.authority.count(Kind::Keys), 1);
    keys(HOUR).await.expect("keys");
    assert_eq!(bench.authority.count(Kind::Keys), 2);
    bench
        .authority
        .always(Kind::Keys, Some(Fault::Status(503, String::new())));
    keys(HOUR * 25 - second).await.expect("the old ones");
    keys(HOUR * 25).await.expect_err("too old");
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_keys_for_ever() {
    let bench = Bench::new().await;
    let keys = |at| bench.client.keys(bench.settings(), Some("first"), at);
    keys(now().plus(HOUR * 24 * 365)).await.expect("keys");
    keys(now()).await.expect("keys");
    assert_eq!(bench.authority.count(Kind::Keys), 2);
}

#[tokio::test]
async fn each_refresh_is_told() {
    let (fetched, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = (Arc::clone(&fetched), Arc::clone(&failed));
    let mut bench = Bench::new().await;
    bench.client = crate::bench::client("any").watched(move |refresh| {
        let counter = match refresh {
            KeyRefresh::Fetched => &count.0,
            KeyRefresh::Failed => &count.1,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let keys = |later: u64| {
        let at = now().plus(Duration::from_secs(later));
        bench.client.keys(bench.settings(), Some("unknown"), at)
    };
    for later in [0, 1, 20] {
        keys(later).await.expect("keys");
    }
    bench
        .authority
        .always(Kind::Keys, Some(Fault::Body("{}".into())));
    keys(40).await.expect_err("none");
    let counted = (
        fetched.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
    );
    assert_eq!(counted, (2, 1));
}

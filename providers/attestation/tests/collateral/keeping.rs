//! What is kept: used until it runs out, fetched again before, once for all, and not trusted for lying on our disk.

use std::fs;
use std::time::Duration;

use easyenclave_attestation::testing::pcs::{Fault, Part};
use easyenclave_attestation::{CollateralFetch, CollateralSource, testing};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::{Bench, DAY, now};

#[tokio::test]
async fn it_is_used_until_it_runs_out_when_all_addresses_are_down() {
    let bench = Bench::new().await;
    let first = bench.ask(now()).await.expect("fetched");
    let client = bench.restarted();
    client.asks(&["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()]);
    for day in [0, 1, 10, 29] {
        let at = now().plus(DAY * day);
        let kept = client.collateral(&bench.facts, at).await.expect("kept");
        assert_eq!(kept, first);
        client.tend(at).await;
    }
    let stock = client.stock(now().plus(DAY * 29));
    assert_eq!(stock[0].until, Some(now().plus(DAY * 30)));
    assert_eq!(
        stock[0].trouble.as_deref(),
        Some("http://127.0.0.1:1: it cannot be reached; http://127.0.0.1:2: it cannot be reached")
    );
    let end = now().plus(DAY * 30);
    client
        .collateral(&bench.facts, end)
        .await
        .expect_err("it has run out");
}

#[tokio::test]
async fn it_is_fetched_again_a_day_later_although_nobody_asks() {
    let bench = Bench::new().await;
    let first = bench.ask(now()).await.expect("fetched");
    bench.client.tend(now()).await;
    bench.client.tend(now().plus(DAY / 2)).await;
    assert_eq!(bench.pcs.count(Part::TcbInfo), 1);
    let next = now().plus(DAY);
    bench.publishes(next.minus(DAY / 24));
    bench.client.tend(next).await;
    assert_eq!(bench.pcs.count(Part::TcbInfo), 2);
    let second = bench.ask(next).await.expect("kept");
    assert_ne!(second, first);
    // It is on the disk too.
    let client = bench.restarted();
    client.asks(&[]);
    let kept = client.collateral(&bench.facts, next).await.expect("kept");
    assert_eq!(kept, second);
    assert_eq!(
        bench.fetched(),
        [CollateralFetch::Taken, CollateralFetch::Taken]
    );
}

#[tokio::test]
async fn a_fetch_that_fails_is_tried_again_and_heals() {
    let bench = Bench::new().await;
    bench.ask(now()).await.expect("fetched");
    let next = now().plus(DAY);
    bench.pcs.next(Part::QeIdentity, Fault::Status(503));
    bench.client.tend(next).await;
    assert!(bench.trouble(next).is_some());
    bench.ask(next).await.expect("it still counts");
    // Five minutes of the world's time apart, until the address may be asked again.
    let mut later = next;
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.trouble(later).is_some() {
        assert!(Instant::now() < deadline, "it heals");
        tokio::time::sleep(Duration::from_millis(50)).await;
        later = later.plus(Duration::from_secs(301));
        bench.client.tend(later).await;
    }
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_make_one_fetch() {
    let bench = Bench::new().await;
    bench
        .pcs
        .next(Part::TcbInfo, Fault::Slow(Duration::from_millis(300)));
    let mut asking = JoinSet::new();
    for _ in 0..1000 {
        let (client, facts) = (bench.client.clone(), bench.facts);
        asking.spawn(async move { client.collateral(&facts, now()).await.expect("fetched") });
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(bench.pcs.arrived().len(), 4, "one request for each part");
}

#[tokio::test]
async fn a_fetch_goes_on_when_whoever_waits_gives_up() {
    let bench = Bench::new().await;
    bench
        .pcs
        .next(Part::TcbInfo, Fault::Slow(Duration::from_millis(300)));
    let asked = tokio::time::timeout(Duration::from_millis(50), bench.ask(now())).await;
    assert!(asked.is_err(), "gave up");
    bench.ask(now()).await.expect("fetched meanwhile");
    assert_eq!(bench.pcs.count(Part::TcbInfo), 1);
}

#[tokio::test]
async fn a_file_that_was_damaged_is_fetched_again() {
    let bench = Bench::new().await;
    bench.ask(now()).await.expect("fetched");
    let files: Vec<_> = fs::read_dir(bench.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [file] = files.as_slice() else {
        panic!("one file for a platform: {files:?}");
    };
    let whole = fs::read_to_string(file).expect("written");
    let number = whole.replace(
        "tcbEvaluationDataNumber\\\":1",
        "tcbEvaluationDataNumber\\\":2",
    );
    assert_ne!(number, whole);
    for damaged in ["", "{}", &whole[..whole.len() / 2], &number] {
        fs::write(file, damaged).expect("written");
        let before = bench.pcs.count(Part::TcbInfo);
        let client = bench.restarted();
        let fetched = client.collateral(&bench.facts, now()).await;
        fetched.expect("fetched again");
        assert_eq!(bench.pcs.count(Part::TcbInfo), before + 1);
    }
}

/// One who has collateral from before a revocation could hide it.
#[tokio::test]
async fn an_address_that_gives_what_is_older_is_not_taken() {
    let bench = Bench::new().await;
    bench.publishes(now().minus(DAY));
    let newer = bench.ask(now()).await.expect("fetched");
    let next = now().plus(DAY);
    bench.publishes(now().minus(DAY * 2));
    bench.client.tend(next).await;
    let kept = bench.ask(next).await.expect("kept");
    assert_eq!(kept, newer);
    let why = bench.trouble(next).expect("trouble");
    assert!(why.ends_with("it is older than what is kept"), "{why}");
    let expired = testing::expired_collateral(&bench.platform, next).expect("collateral");
    bench.pcs.serves(bench.facts, &expired);
    assert_eq!(bench.ask(next).await.expect("kept"), newer);
}

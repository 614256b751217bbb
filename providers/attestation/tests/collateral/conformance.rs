//! Every source against the same guarantees.

use easyenclave_attestation::testing::conformance::holds;
use easyenclave_attestation::testing::pcs::Part;
use easyenclave_attestation::{PcsClient, TrustRoot};

use crate::bench::{Bench, DEADLINE, now};

#[tokio::test]
async fn the_simulated_platform_keeps_the_guarantees() {
    let bench = Bench::new().await;
    holds(&bench.platform, &bench.root(), &bench.facts, now()).await;
}

#[tokio::test]
async fn a_client_of_a_cache_keeps_the_guarantees() {
    let bench = Bench::new().await;
    holds(&bench.client, &bench.root(), &bench.facts, now()).await;
    assert_eq!(bench.pcs.count(Part::RootCrl), 1);
    assert_eq!(bench.pcs.count(Part::PublishedRootCrl), 0);
}

#[tokio::test]
async fn a_client_of_intels_service_keeps_the_guarantees() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = TrustRoot::simulated(bench.platform.root_key_id()).expect("not Intel's");
    let builder = PcsClient::with_deadline(folder.path(), root, DEADLINE).expect("a client");
    let client = builder
        .with_intel_at(&bench.pcs.base(), &bench.pcs.root_crl())
        .build();
    client.asks(&[format!("{}/", bench.pcs.base())]);
    holds(&client, &bench.root(), &bench.facts, now()).await;
    assert_eq!(bench.pcs.count(Part::RootCrl), 0);
    assert_eq!(bench.pcs.count(Part::PublishedRootCrl), 1);
}

#[tokio::test]
async fn what_was_kept_keeps_the_guarantees_while_nobody_answers() {
    let bench = Bench::new().await;
    bench.ask(now()).await.expect("fetched");
    let client = bench.restarted();
    client.asks(&["http://127.0.0.1:9".into()]);
    holds(&client, &bench.root(), &bench.facts, now()).await;
}

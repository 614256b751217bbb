//! Real quotes under Intel's root with Intel's collateral as a client fetches it: what verifies live agents.

use crate::testing::pcs::Pcs;
use crate::{Collateral, CollateralSource, PcsClient, PlatformFacts, TrustRoot};

use super::{Sample, policy, version_4, version_5};

async fn fetched(sample: &Sample, root: TrustRoot) -> Result<Collateral, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let facts = PlatformFacts::under(&TrustRoot::Intel, &sample.evidence()).expect("Intel's");
    let pcs = Pcs::start().await;
    pcs.serves(facts, &sample.collateral);
    let folder = tempfile::tempdir().expect("a folder");
    let client = PcsClient::builder(folder.path(), root).expect("a client");
    let client = client.build();
    client.asks(&[pcs.base()]);
    let fetched = client.collateral(&facts, sample.now).await;
    fetched.map_err(|_| {
        client.stock(sample.now)[0]
            .trouble
            .clone()
            .expect("trouble")
    })
}

#[tokio::test]
async fn intels_collateral_over_the_protocol_verifies_real_quotes() {
    for (sample, mrtd) in [(version_4(), 184), (version_5(), 190)] {
        let collateral = fetched(&sample, TrustRoot::Intel).await.expect("taken");
        let pairs = [&collateral, &sample.collateral].map(|one| &one.as_dcap().tcb_info);
        assert_eq!(pairs[0], pairs[1], "byte for byte");
        let policy = policy(&sample.quote[mrtd..mrtd + 48]);
        let verdict = sample.appraise_with(&collateral, &policy, sample.now);
        assert!(!verdict.expect("accepted").simulated);
    }
}

#[tokio::test]
async fn intels_collateral_is_nothing_to_a_client_of_another_root() {
    let platform = crate::testing::platform(version_4().now).expect("a platform");
    let root = TrustRoot::simulated(platform.root_key_id()).expect("not Intel's");
    let why = fetched(&version_4(), root).await.expect_err("refused");
    assert!(
        why.ends_with("it does not come from the trusted root"),
        "{why}"
    );
}

//! What the tests share: a platform, a service that has its collateral, and a client that trusts its root.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::testing::pcs::Pcs;
use easyenclave_attestation::testing::{self};
use easyenclave_attestation::{
    Collateral, CollateralError, CollateralFetch, CollateralSource, PcsClient, PlatformFacts,
    TrustRoot, report_data,
};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Longer than any answer that comes takes here, on a busy machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

pub(crate) struct Bench {
    pub(crate) pcs: Pcs,
    pub(crate) platform: Platform,
    pub(crate) facts: PlatformFacts,
    pub(crate) client: PcsClient,
    pub(crate) folder: tempfile::TempDir,
    fetched: Arc<Mutex<Vec<CollateralFetch>>>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_deadline(DEADLINE).await
    }

    pub(crate) async fn with_deadline(deadline: Duration) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let platform = testing::platform(now()).expect("a platform");
        let facts = facts(&platform);
        let pcs = Pcs::start().await;
        pcs.serves(facts, &platform.collateral(now()).expect("collateral"));
        let folder = tempfile::tempdir().expect("a folder");
        let fetched = Arc::default();
        let client = client(&folder, &platform, deadline, &fetched);
        client.asks(&[pcs.base()]);
        Self {
            pcs,
            platform,
            facts,
            client,
            folder,
            fetched,
        }
    }

    pub(crate) fn root(&self) -> TrustRoot {
        TrustRoot::simulated(self.platform.root_key_id()).expect("not Intel's")
    }

    /// The same folder after a restart.
    pub(crate) fn restarted(&self) -> PcsClient {
        let client = client(&self.folder, &self.platform, DEADLINE, &self.fetched);
        client.asks(&[self.pcs.base()]);
        client
    }

    /// The same with a folder of its own, where nothing is kept yet.
    pub(crate) fn elsewhere(self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let client = client(&folder, &self.platform, DEADLINE, &self.fetched);
        Self {
            folder,
            client,
            ..self
        }
    }

    pub(crate) async fn ask(&self, at: Timestamp) -> Result<Collateral, CollateralError> {
        self.client.collateral(&self.facts, at).await
    }

    /// Why there is nothing, as status would say it.
    pub(crate) fn trouble(&self, at: Timestamp) -> Option<String> {
        let stock = self.client.stock(at);
        stock.into_iter().find_map(|stock| stock.trouble)
    }

    /// How asking went, since this was last called.
    pub(crate) fn fetched(&self) -> Vec<CollateralFetch> {
        std::mem::take(&mut *self.fetched.lock().expect("no panic"))
    }

    /// The service has collateral of its platform from this time on, for thirty days.
    pub(crate) fn publishes(&self, from: Timestamp) {
        let collateral = testing::collateral(&self.platform, from, from.plus(DAY * 30));
        self.pcs
            .serves(self.facts, &collateral.expect("collateral"));
    }
}

fn client(
    folder: &tempfile::TempDir,
    platform: &Platform,
    deadline: Duration,
    fetched: &Arc<Mutex<Vec<CollateralFetch>>>,
) -> PcsClient {
    let root = TrustRoot::simulated(platform.root_key_id()).expect("not Intel's");
    let builder = PcsClient::with_deadline(folder.path(), root, deadline).expect("a client");
    let fetched = Arc::clone(fetched);
    let watch = move |one| fetched.lock().expect("no panic").push(one);
    builder.watched(watch).build()
}

/// What a quote of this platform says of it.
pub(crate) fn facts(platform: &Platform) -> PlatformFacts {
    let body = TdBody::of_image("small");
    let quote = platform
        .guest()
        .quote(report_data(&[1; 32], &[2; 32]), &body);
    let quote = QuoteBytes::new(quote.expect("a quote")).expect("short enough");
    PlatformFacts::of(&Evidence::of_quote(quote)).expect("facts")
}

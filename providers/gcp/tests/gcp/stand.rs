//! A provider beside its Compute Engine, and requests for it.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_capacity::conformance::request;
use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_gcp::fake::{Fake, Said};
use easyenclave_gcp::names::Owner;
use easyenclave_gcp::{GcpProvider, Pace, Settings};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::{GcpMachine, Machine};
use proptest::test_runner::{Config, RngSeed};
use serde_json::Value;

/// Nothing here needs time, and on a busy machine everything does.
pub(crate) const PACE: Pace = Pace {
    call: Duration::from_secs(20),
    operation: Duration::from_secs(20),
    look: Duration::from_millis(2),
    listing: Duration::from_millis(2),
};

/// The same where an operation that is not over soon never is.
pub(crate) const SOON: Pace = Pace {
    operation: Duration::from_millis(30),
    ..PACE
};

pub(crate) const ZONES: [&str; 2] = ["us-central1-a", "us-central1-b"];

pub(crate) fn owner() -> Owner {
    Owner {
        fleet: "demo".parse().expect("a name"),
        provider: "cloud".parse().expect("a name"),
        datacenter: "gcp-us".parse().expect("a name"),
    }
}

pub(crate) fn machine() -> GcpMachine {
    GcpMachine {
        project: "p".into(),
        zone: ZONES[0].parse().expect("a name"),
        machine_type: "c3-standard-4".parse().expect("a name"),
        image: "projects/p/global/images/agent-1".into(),
        disk_gib: 80,
        network: "default".into(),
        subnetwork: None,
        external_address: false,
        service_account: None,
        preemptible: false,
    }
}

pub(crate) fn order(name: &str) -> OrderId {
    name.parse().expect("a name")
}

/// A request for a machine of this order.
pub(crate) fn wanted(name: &str, change: impl FnOnce(&mut GcpMachine)) -> LaunchRequest {
    let mut request = request(name, 10);
    let mut machine = machine();
    change(&mut machine);
    request.spec.machine = Some(Machine::Gcp(Box::new(machine)));
    suit(&mut request);
    request
}

/// Machines of Google Cloud are for policies that name Intel's root, and reach what the internet reaches.
pub(crate) fn suit(request: &mut LaunchRequest) {
    request.spec.simulated = false;
    request.spec.reconciler_url = "https://reconciler.invalid".into();
}

/// An ordinary run tries the same cases each time; with `PROPTEST_CASES` it hunts in as many new ones.
pub(crate) fn cases(usual: u32) -> Config {
    let hunt = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    match hunt {
        true => config,
        false => Config {
            cases: usual,
            rng_seed: RngSeed::Fixed(7),
            ..config
        },
    }
}

/// A provider, and what it talks to.
pub(crate) struct Side {
    pub(crate) fake: Fake,
    pub(crate) provider: Arc<GcpProvider>,
}

impl Side {
    pub(crate) async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Fake::start(&ZONES).await;
        let provider = open(&fake).await;
        Self { fake, provider }
    }

    pub(crate) async fn ensure(&self, name: &str) -> Result<(), ProvideError> {
        self.provider.ensure(&wanted(name, |_| {})).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), ProvideError> {
        self.provider.remove(&order(name)).await
    }

    /// The orders that are listed, and whether their machines live.
    pub(crate) async fn listed(&self) -> Result<Vec<(String, bool)>, ProvideError> {
        let units = self.provider.list().await?;
        let shown = |unit: easyenclave_schemas::wire::Unit| (unit.order_id.to_string(), unit.alive);
        Ok(units.into_iter().map(shown).collect())
    }

    /// The names of all machines that exist, whoever's they are.
    pub(crate) fn names(&self) -> Vec<String> {
        let machines = self.fake.machines();
        let name = |machine: &Value| machine["name"].as_str().expect("a name").to_owned();
        machines.iter().map(name).collect()
    }

    /// What was said by requests with this method.
    pub(crate) fn said(&self, method: &str) -> Vec<Said> {
        let mut said = self.fake.said();
        said.retain(|said| said.method == method);
        said
    }
}

/// The provider of a worker that has just been started.
pub(crate) async fn open(fake: &Fake) -> Arc<GcpProvider> {
    open_at(fake, PACE).await
}

pub(crate) async fn open_at(fake: &Fake, pace: Pace) -> Arc<GcpProvider> {
    let settings = Settings {
        project: "p".into(),
        owner: owner(),
        pace,
        endpoint: Some(fake.endpoint()),
        anonymous: true,
    };
    Arc::new(GcpProvider::open(settings).await.expect("opened"))
}

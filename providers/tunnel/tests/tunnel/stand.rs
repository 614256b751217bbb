//! A client beside its Cloudflare.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::Secret;
use easyenclave_tunnel::testing::conformance::{agent, hostname, route};
use easyenclave_tunnel::testing::server::{ACCOUNT, Server, TOKEN, ZONE, ZONE_NAME};
use easyenclave_tunnel::{
    Cloudflare, Ensured, Hostname, Listing, Pace, Settings, TunnelError, Tunnels,
};
use proptest::test_runner::{Config, RngSeed};

/// The fleet of the tests, and so the beginning of the names of its tunnels.
pub(crate) const FLEET: &str = "prod";

/// The settings of a client of this server.
pub(crate) fn settings(server: &Server) -> Settings {
    Settings {
        account: ACCOUNT.into(),
        zone_id: ZONE.into(),
        zone: Hostname::new(ZONE_NAME).expect("a name"),
        fleet: FLEET.parse().expect("a name"),
        token: Secret::new(TOKEN.into()),
        api: server.api(),
        protected: BTreeSet::new(),
        pace: pace(),
    }
}

/// Property tests ask more often than anybody may.
pub(crate) fn pace() -> Pace {
    Pace {
        deadline: Duration::from_secs(20),
        calls: usize::MAX,
        ..Pace::default()
    }
}

pub(crate) fn open(settings: Settings) -> Arc<Cloudflare> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Arc::new(Cloudflare::new(settings).expect("a client"))
}

/// The name of the tunnel of an agent.
pub(crate) fn mark(name: &str) -> String {
    format!("ee.{FLEET}.{name}")
}

/// What a record has to say to lead to a tunnel.
pub(crate) fn target(id: &str) -> String {
    format!("{id}.cfargotunnel.com")
}

/// A client, and what it talks to.
pub(crate) struct Side {
    pub(crate) server: Server,
    pub(crate) client: Arc<Cloudflare>,
}

impl Side {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let server = Server::start().await;
        let mut settings = settings(&server);
        change(&mut settings);
        let client = open(settings);
        Self { server, client }
    }

    /// The client of a process that has just been started.
    pub(crate) fn reopen(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = settings(&self.server);
        change(&mut settings);
        self.client = open(settings);
    }

    pub(crate) async fn ensure(&self, name: &str) -> Result<Ensured, TunnelError> {
        self.client.ensure(&route(name)).await
    }

    pub(crate) async fn point(&self, label: &str, to: &str) -> Result<(), TunnelError> {
        self.client.point(&hostname(label), &agent(to)).await
    }

    pub(crate) async fn unpoint(&self, label: &str) -> Result<(), TunnelError> {
        self.client.unpoint(&hostname(label)).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), TunnelError> {
        self.client.remove(&agent(name)).await
    }

    pub(crate) async fn token(&self, name: &str) -> Result<Option<Secret<String>>, TunnelError> {
        self.client.token(&agent(name)).await
    }

    pub(crate) async fn list(&self) -> Result<Listing, TunnelError> {
        self.client.list().await
    }

    /// The changes that are asked for by a call.
    pub(crate) async fn changes_of<T>(&self, call: impl Future<Output = T>) -> (T, Vec<String>) {
        let before = self.server.changes().len();
        let ended = call.await;
        (ended, self.server.changes().split_off(before))
    }
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

//! A reconciler's world with one policy and one open order after another, and agents that answer its challenges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave::auth::{Callers, Door};
use easyenclave::clock::{Clock, System};
use easyenclave::join;
use easyenclave::journal::Journal;
use easyenclave::metrics::Metrics;
use easyenclave::presence::Presence;
use easyenclave::revision::Revision;
use easyenclave::seal::Sealer;
use easyenclave::secrets::{Keyring, Secrets};
use easyenclave::trust::{self, Judge, Sources};
use easyenclave::world::{Parts, World};
use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::{
    Collateral, CollateralError, CollateralSource, NoAuthority, NoCollateral, PlatformFacts,
    Policy, Stock, report_data, testing,
};
use easyenclave_plan::{Breaker, Desired, Disruption, Limits, OnLapse, Target};
use easyenclave_schemas::documents::{
    CollateralSpec, EvidenceSpec, PolicySpec, Runtime, StatusSpec, TunnelSpec,
};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, Rejection, Verdict};
use easyenclave_schemas::records::{ClaimRecord, OrderPhase, OrderRecord, WorkRecord};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{AttestRequest, RegisterRequest};
use easyenclave_schemas::{Generation, OrderId, Secret, StageTimes, Timestamp};
use easyenclave_store::{Batch, SledStore, Space, Store, StoreError};
use serde_json::{Value, json};

/// Numbers orders across all places, so that each test finds its own events in the log.
static ORDERS: AtomicU64 = AtomicU64::new(1);

/// The fence of every claim.
const FENCE: u64 = 1;

pub(crate) struct Place {
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) source: Arc<Source>,
    pub(crate) store: Arc<FailingStore>,
    _dir: tempfile::TempDir,
}

/// An agent before its registration.
pub(crate) struct Agent {
    pub(crate) order: OrderId,
    pub(crate) key: Keypair,
    pub(crate) body: TdBody,
}

impl Place {
    /// With a policy that accepts the platform's own guests, and `changes` to its fields.
    pub(crate) fn new(changes: &Value) -> Self {
        Self::judged(changes, |source, metrics| {
            let sources = Sources {
                simulated: Arc::clone(source) as Arc<dyn CollateralSource>,
                intel: Arc::new(NoCollateral("not in this place")),
            };
            Judge::new(sources, Arc::new(NoAuthority), metrics)
        })
    }

    /// The same with a judge that asks others.
    pub(crate) fn judged(
        changes: &Value,
        judge: impl FnOnce(&Arc<Source>, Metrics) -> Judge,
    ) -> Self {
        let document = |root: &str, body: &TdBody| {
            let mut document = json!({
                "trustRoot": {"kind": "simulated", "keyId": root},
                "measurements": [{"name": "the image", "mrtd": body.mrtd.to_string()}],
            });
            for (field, value) in changes.as_object().expect("fields") {
                document[field] = value.clone();
            }
            document
        };
        Self::with(document, judge)
    }

    fn with(
        document: impl FnOnce(&str, &TdBody) -> Value,
        judge: impl FnOnce(&Arc<Source>, Metrics) -> Judge,
    ) -> Self {
        crate::log::install();
        let clock = Arc::new(SetClock::default());
        let dir = tempfile::tempdir().expect("a directory");
        let sled = SledStore::open(&dir.path().join("store")).expect("a store");
        let store = Arc::new(FailingStore {
            store: sled,
            fails: AtomicBool::new(false),
            sees: OnceLock::new(),
        });
        let platform = testing::platform(clock.now()).expect("a platform");
        let root = platform.root_key_id().to_string();
        let source = Arc::new(Source::new(platform));
        let journal = Journal::open(Arc::clone(&store) as Arc<dyn Store>).expect("a journal");
        let metrics = Metrics::default();
        let world = World::new(Parts {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(System),
            presence: Presence::new(clock.now()),
            journal,
            seed: Secret::new([7; 32]),
            keypair: Keypair::generate().expect("randomness"),
            launcher_key: Secret::new("the launcher's own key".into()),
            metrics: metrics.clone(),
            judge: judge(&source, metrics),
            door: door(),
            keyring: Arc::new(keyring()),
            public_url: "http://127.0.0.1:9".into(),
        });
        let spec = document(&root, &TdBody::of_image("tiny"));
        let spec = serde_json::from_value(spec).expect("a policy document");
        world.adopt(Arc::new(revision(spec)));
        Self {
            world: Arc::new(world),
            clock,
            source,
            store,
            _dir: dir,
        }
    }

    /// Puts another policy in force, whatever it says.
    pub(crate) fn adopt(&self, spec: PolicySpec) {
        self.world.adopt(Arc::new(revision(spec)));
    }

    /// The same, with how much evidence is kept.
    pub(crate) fn keep(&self, spec: PolicySpec, evidence: EvidenceSpec) {
        let sealer = Sealer::of(&evidence.auditors);
        self.world.adopt(Arc::new(Revision {
            evidence,
            sealer,
            ..revision(spec)
        }));
    }

    /// With this document of the provider that all orders are for.
    pub(crate) fn provided(&self, spec: &Value) {
        let mut revision = revision(self.spec());
        let spec = serde_json::from_value(spec.clone()).expect("a provider's document");
        revision.providers.insert(name("local"), spec);
        self.world.adopt(Arc::new(revision));
    }

    /// As when the policy's document cannot be read and never could.
    pub(crate) fn adopt_none(&self) {
        let mut revision = revision(self.spec());
        revision.policies.clear();
        self.world.adopt(Arc::new(revision));
    }

    /// The policy in force, as it was written.
    pub(crate) fn spec(&self) -> PolicySpec {
        let revision = self.world.revision().expect("a revision");
        revision.policies["simulated"].clone()
    }

    fn policy(&self) -> Option<Policy> {
        Policy::new(&self.spec(), &name("tiny")).ok()
    }

    /// An agent whose order is open.
    pub(crate) async fn agent(&self) -> Agent {
        let number = ORDERS.fetch_add(1, Ordering::Relaxed);
        let order = order(&format!("tiny-{number}"));
        let id = order.order.clone();
        let kept = self.world.journal.transact(move |_, change| {
            change.put_order(order);
            Ok::<_, ()>(())
        });
        kept.await.expect("kept").expect("put");
        Agent {
            order: id,
            key: Keypair::generate().expect("randomness"),
            body: TdBody::of_image("tiny"),
        }
    }

    /// Moves an order on.
    pub(crate) async fn set(&self, order: &OrderId, state: OrderPhase) {
        let id = order.clone();
        let moved = self.world.journal.transact(move |records, change| {
            let mut order = records.orders[&id].as_ref().clone();
            order.state = state;
            change.put_order(order);
            Ok::<_, ()>(())
        });
        moved.await.expect("kept").expect("put");
    }

    pub(crate) async fn nonce(&self) -> String {
        let policy = self.policy();
        let challenge = trust::issue(&self.world, None, policy.as_ref()).await;
        challenge.expect("a challenge").nonce
    }

    /// Honest evidence over this nonce.
    pub(crate) fn evidence(&self, agent: &Agent, nonce: &str) -> Evidence {
        let mut bytes = [0; 32];
        hex::decode_to_slice(nonce, &mut bytes).expect("hex");
        let data = report_data(&bytes, agent.key.public().as_bytes());
        let quote = self.source.platform.guest().quote(data, &agent.body);
        Evidence::of_quote(QuoteBytes::new(quote.expect("a quote")).expect("short enough"))
    }

    pub(crate) fn request(
        &self,
        agent: &Agent,
        nonce: &str,
        evidence: Evidence,
    ) -> RegisterRequest {
        RegisterRequest {
            order_id: agent.order.clone(),
            bootstrap_token: self.world.tokens.bootstrap(&agent.order, FENCE),
            public_key: agent.key.public().to_string(),
            ita_nonce: None,
            nonce: nonce.into(),
            evidence,
            address: "http://127.0.0.1:9".into(),
            boot_id: "boot".into(),
            version: "0".into(),
            generation: Generation::default(),
            runtimes: Runtime::usual(),
            workload: None,
        }
    }

    pub(crate) async fn register(&self, request: RegisterRequest) -> Result<Verdict, Rejection> {
        join::register(&self.world, request, self.clock.now()).await
    }

    /// All that an honest agent does.
    pub(crate) async fn join(&self, agent: &Agent) -> Result<Verdict, Rejection> {
        let nonce = self.nonce().await;
        let evidence = self.evidence(agent, &nonce);
        self.register(self.request(agent, &nonce, evidence)).await
    }

    /// Fresh evidence of an agent that is in.
    pub(crate) async fn attest(&self, agent: &Agent, nonce: &str) -> Result<Verdict, Rejection> {
        self.attest_boot(agent, nonce, None).await
    }

    /// The same, with the boot that the evidence is of.
    pub(crate) async fn attest_boot(
        &self,
        agent: &Agent,
        nonce: &str,
        boot: Option<&str>,
    ) -> Result<Verdict, Rejection> {
        let request = AttestRequest {
            boot_id: boot.map(str::to_owned),
            nonce: nonce.into(),
            ita_nonce: None,
            evidence: self.evidence(agent, nonce),
        };
        let record = self.world.journal.read().agents[&agent.order.agent()].clone();
        trust::attest(&self.world, &record, request, self.clock.now()).await
    }
}

pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

fn keyring() -> Keyring {
    let dir = tempfile::tempdir().expect("a directory");
    Keyring::open_or_create(&dir.path().join("fleet.age")).expect("made")
}

fn door() -> Door {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Door::new().expect("TLS is there")
}

fn revision(spec: PolicySpec) -> Revision {
    let target = Target {
        datacenter: name("local"),
        size: name("tiny"),
        provider: name("local"),
        spots: Vec::new(),
        runtimes: Runtime::ALL.into(),
        policy: name("simulated"),
        on_lapse: OnLapse::Keep,
        min: 0,
        max: 5000,
        warm: 0,
        disruption: Disruption::default(),
    };
    let limits = Limits {
        breaker: Breaker {
            max_removals: 1,
            max_percent: 10,
        },
        lost_after: Duration::from_secs(60),
        claim_within: Duration::from_secs(60),
        make_within: Duration::from_secs(300),
        boot_within: Duration::from_secs(300),
        register_within: Duration::from_secs(600),
        ready_within: Duration::from_secs(60),
        orphan_after: Duration::from_secs(30),
        worker_lost_after: Duration::from_secs(600),
    };
    Revision {
        commit: "0".repeat(40),
        effective: "0".repeat(40),
        desired: Desired {
            fleet: name("fleet"),
            limits,
            quotas: BTreeMap::new(),
            targets: BTreeMap::from([(name("tiny"), target)]),
            reservations: BTreeMap::new(),
            deployments: BTreeMap::new(),
            hostnames: BTreeMap::new(),
            frozen: BTreeMap::new(),
            approvals: BTreeSet::new(),
        },
        workloads: BTreeMap::new(),
        secrets: Secrets::default(),
        policies: BTreeMap::from([(name("simulated"), spec)]),
        providers: BTreeMap::new(),
        paths: BTreeMap::new(),
        status: StatusSpec::default(),
        collateral: CollateralSpec::default(),
        evidence: EvidenceSpec::default(),
        tunnel: TunnelSpec::default(),
        sealer: None,
        callers: Callers::default(),
        problems: Vec::new(),
    }
}

fn order(id: &str) -> OrderRecord {
    OrderRecord {
        order: name(id),
        datacenter: name("local"),
        provider: name("local"),
        worker: None,
        work: WorkRecord::Launch {
            target: name("tiny"),
            slot: 1,
            generation: 1,
            failures: 0,
            size: name("tiny"),
            policy: name("simulated"),
            zone: None,
            shape: None,
        },
        state: OrderPhase::Provisioning,
        opened_at: Timestamp::default(),
        claim: Some(ClaimRecord {
            worker: name("worker"),
            fence: FENCE,
            expires_at: Timestamp::default().plus(Duration::from_secs(60)),
        }),
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
    }
}

/// A clock that tests set.
pub(crate) struct SetClock(AtomicI64);

impl Default for SetClock {
    fn default() -> Self {
        let start: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
        Self(AtomicI64::new(start.as_millis()))
    }
}

impl SetClock {
    pub(crate) fn forward(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("short");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl SetClock {
    pub(crate) fn back(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("short");
        self.0.fetch_sub(millis, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// How a source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Unavailable,
    Expired,
    Stalls,
    /// It answers when it is freed.
    Waits,
}

/// The simulated platform's collateral, from a source with moods.
pub(crate) struct Source {
    pub(crate) platform: Platform,
    mood: Mutex<Mood>,
    /// Requests that it has not answered yet.
    pub(crate) open: AtomicU64,
    pub(crate) freed: tokio::sync::Notify,
}

impl Source {
    fn new(platform: Platform) -> Self {
        Self {
            platform,
            mood: Mutex::new(Mood::Answers),
            open: AtomicU64::new(0),
            freed: tokio::sync::Notify::new(),
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }
}

/// Counts itself out, also when nobody waits for it any more.
struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl CollateralSource for Source {
    async fn collateral(
        &self,
        _: &PlatformFacts,
        now: Timestamp,
    ) -> Result<Collateral, CollateralError> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(&self.open);
        let mood = *self.mood.lock().expect("no panic");
        match mood {
            Mood::Answers => Ok(self.platform.collateral(now).expect("collateral")),
            Mood::Expired => {
                Ok(testing::expired_collateral(&self.platform, now).expect("collateral"))
            }
            Mood::Unavailable => Err(CollateralError::Unavailable("the network is down".into())),
            Mood::Stalls => std::future::pending().await,
            Mood::Waits => {
                self.freed.notified().await;
                Ok(self.platform.collateral(now).expect("collateral"))
            }
        }
    }

    fn stock(&self, _: Timestamp) -> Vec<Stock> {
        Vec::new()
    }
}

/// Sees each change of the records.
pub(crate) type Sees = Box<dyn Fn(&Batch) + Send + Sync>;

/// A store that can be made to fail, and that shows what is written.
pub(crate) struct FailingStore {
    store: SledStore,
    pub(crate) fails: AtomicBool,
    pub(crate) sees: OnceLock<Sees>,
}

impl Store for FailingStore {
    fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(space, key)
    }

    fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.list(space)
    }

    fn keys(&self, space: Space) -> Result<Vec<String>, StoreError> {
        self.store.keys(space)
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.works()?;
        self.store.apply(batch)?;
        if let Some(sees) = self.sees.get() {
            sees(batch);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.works()?;
        self.store.flush()
    }
}

impl FailingStore {
    fn works(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => {
                let full = std::io::Error::other("no space left on device");
                Err(StoreError::Engine(Box::new(full)))
            }
            false => Ok(()),
        }
    }
}

//! 10,000 launch orders from claim to fulfilled, by 50 workers at a time in this process: orders a second, the share of
//! time in the store, and memory. Registration is the whole of it, with evidence that is judged. Run with
//! `cargo bench -p easyenclave --bench orders`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use easyenclave::auth::Door;
use easyenclave::clock::{Clock, System};
use easyenclave::journal::Journal;
use easyenclave::metrics::Metrics;
use easyenclave::orders::{claim, update};
use easyenclave::pass::pass;
use easyenclave::presence::Presence;
use easyenclave::source::Source;
use easyenclave::trust::{Judge, Sources, issue};
use easyenclave::world::{Parts, World};
use easyenclave::{examples, join};
use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::{NoAuthority, NoCollateral, report_data};
use easyenclave_git::init_repository;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes};
use easyenclave_schemas::records::OrderPhase;
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{
    ClaimRequest, InventoryRequest, Order, OrderReport, OrderUpdate, RegisterRequest,
};
use easyenclave_schemas::{Generation, OrderId, Secret, Stage, WorkerId};
use easyenclave_store::{Batch, SledStore, Space, Store, StoreError};

const ORDERS: usize = 10_000;
const WORKERS: usize = 50;

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(dir.path()));
}

async fn measure(dir: &Path) {
    let store = Arc::new(Timed::open(&dir.join("store")));
    let platform = Platform::open_or_create(&dir.join("platform"), System.now()).expect("made");
    let platform = Arc::new(platform);
    let world = Arc::new(world(&platform, Arc::clone(&store) as Arc<dyn Store>));
    let opened = open_orders(&world, dir, &platform).await;
    let agents = Arc::new(Mutex::new(agents(&world, &platform).await));
    let ((writes, flushes), started) = (store.spent(), Instant::now());
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let (world, agents) = (Arc::clone(&world), Arc::clone(&agents));
        workers.spawn(async move { work(&world, &agents, number).await });
    }
    let served: usize = workers.join_all().await.into_iter().sum();
    let took = started.elapsed();
    let spent = store.spent();
    let share = |now: Duration, before: Duration| {
        now.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0
    };
    let (writes, flushes) = (share(spent.0, writes), share(spent.1, flushes));
    let records = world.journal.read();
    let orders = records.orders.values();
    let fulfilled = orders.filter(|order| order.state == OrderPhase::Fulfilled);
    let fulfilled = fulfilled.count();
    assert_eq!((served, fulfilled), (ORDERS, ORDERS), "none is left");
    let rate = ORDERS as f64 / took.as_secs_f64();
    println!("{ORDERS} launch orders from claim to fulfilled, {WORKERS} workers at a time");
    println!("  orders a second         {rate:>9.0}");
    println!("  time                    {:>9.2} s", took.as_secs_f64());
    println!("  of that in writes       {writes:>9.1} %      of the store, one at a time");
    println!(
        "  of that in flushes      {flushes:>9.1} %      of the store, one at a time, beside writes"
    );
    println!("  opened in one pass      {:>9.2} s", opened.as_secs_f64());
    println!(
        "  most memory             {:>9} MiB    with the workers' and agents' side",
        memory()
    );
}

/// A worker until there is no order left. Answers how many it has served.
async fn work(world: &World, agents: &Mutex<Vec<RegisterRequest>>, number: usize) -> usize {
    let worker: WorkerId = format!("w-{number}").parse().expect("a name");
    let mut served = 0;
    while let Some((order, token)) = take(world, &worker).await {
        let mut agent = agents.lock().expect("no panic").pop().expect("one each");
        report(world, &worker, &order, None).await;
        report(world, &worker, &order, Some(Stage::Made)).await;
        (agent.order_id, agent.bootstrap_token) = (order.order_id.clone(), token);
        let joined = join::register(world, agent, System.now()).await;
        joined.expect("accepted");
        let status = report(world, &worker, &order, Some(Stage::Made)).await;
        assert_eq!(status, "fulfilled");
        served += 1;
    }
    served
}

async fn take(world: &World, worker: &WorkerId) -> Option<(Order, Secret<String>)> {
    let request = ClaimRequest {
        worker_id: worker.clone(),
        provider: "local".parse().expect("a name"),
        datacenter: None,
        node_size: None,
        in_hand: Vec::new(),
        wait_millis: 0,
        work: None,
    };
    let claimed = claim(world, &request).await.expect("answered");
    claimed.order.zip(claimed.bootstrap_token)
}

async fn report(world: &World, worker: &WorkerId, order: &Order, stage: Option<Stage>) -> String {
    let said = OrderUpdate {
        worker_id: worker.clone(),
        fence: order.fence,
        status: OrderReport::Provisioning,
        error: None,
        cause: None,
        console: None,
        stage,
        remains: false,
    };
    let answer = update(world, &order.order_id, said).await;
    answer.expect("it holds the order").status
}

fn world(platform: &Arc<Platform>, store: Arc<dyn Store>) -> World {
    let sources = Sources {
        simulated: Arc::clone(platform) as Arc<_>,
        intel: Arc::new(NoCollateral("not in this bench")),
    };
    World::new(Parts {
        clock: Arc::new(System),
        entropy: Arc::new(System),
        presence: Presence::new(System.now()),
        journal: Journal::open(store).expect("readable"),
        seed: Secret::new([7; 32]),
        keypair: Keypair::generate().expect("randomness"),
        launcher_key: Secret::new("key".into()),
        judge: Judge::new(sources, Arc::new(NoAuthority), Metrics::default()),
        door: door(),
        keyring: Arc::default(),
        metrics: Metrics::default(),
        public_url: "http://127.0.0.1:9".into(),
    })
}

/// A target wants so many agents, and a pass opens an order for each.
async fn open_orders(world: &World, dir: &Path, platform: &Platform) -> Duration {
    let mut files = examples::files(Some(&platform.root_key_id().to_string()));
    files.retain(|path, _| !path.starts_with("deployments/"));
    let target = format!(
        "apiVersion: easyenclave.dev/v1\nkind: CapacityTarget\nmetadata:\n  name: tiny\nspec:\n  \
         datacenter: local\n  nodeSize: tiny\n  provider: local\n  policy: simulated\n  \
         min: {ORDERS}\n  max: {ORDERS}\n"
    );
    files.insert("capacity/tiny.yaml".into(), target.into());
    let repository = dir.join("state.git");
    let author = ("Ada", "ada@example.invalid");
    init_repository(&repository, "main", &files, "start", author, 1).expect("made");
    let repository = repository.display().to_string();
    let source = Source::open(&repository, &dir.join("mirror"), "main", None).expect("open");
    assert_eq!(source.refresh(world).await, None);
    let listing = InventoryRequest {
        worker_id: "w-0".parse().expect("a name"),
        provider: "local".parse().expect("a name"),
        datacenter: "local".parse().expect("a name"),
        fleet: None,
        project: None,
        units: Vec::new(),
    };
    world.presence.inventory(&listing, System.now());
    let (revision, before) = (world.revision().expect("a revision"), Instant::now());
    pass(world, revision, System.now()).await.expect("a pass");
    before.elapsed()
}

/// The agents' side, made beforehand: each has a key, and evidence over a nonce of its own.
async fn agents(world: &World, platform: &Platform) -> Vec<RegisterRequest> {
    let guest = platform.guest();
    let body = TdBody::of_image("tiny");
    let mut agents = Vec::with_capacity(ORDERS);
    for _ in 0..ORDERS {
        let key = Keypair::generate().expect("randomness");
        let nonce = issue(world, None, None).await.expect("a challenge").nonce;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&nonce, &mut bytes).expect("hex");
        let data = report_data(&bytes, key.public().as_bytes());
        let quote = guest.quote(data, &body).expect("a quote");
        agents.push(RegisterRequest {
            order_id: OrderId::new("any").expect("a name"),
            bootstrap_token: Secret::new(String::new()),
            public_key: key.public().to_string(),
            ita_nonce: None,
            nonce,
            evidence: Evidence::of_quote(QuoteBytes::new(quote).expect("short enough")),
            address: "http://127.0.0.1:9".into(),
            boot_id: "boot".into(),
            version: "0".into(),
            generation: Generation::default(),
            runtimes: Runtime::usual(),
            workload: None,
        });
    }
    agents
}

/// The most that was ever resident of this process, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("the kernel's number") / 1024
}

/// A store that knows how long it has worked.
struct Timed {
    store: SledStore,
    writes: AtomicU64,
    flushes: AtomicU64,
}

impl Timed {
    fn open(dir: &Path) -> Self {
        Self {
            store: SledStore::open(dir).expect("the store is free"),
            writes: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        }
    }

    /// The time in writes, and in flushes.
    fn spent(&self) -> (Duration, Duration) {
        let read = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (read(&self.writes), read(&self.flushes))
    }

    fn timed<T>(&self, spent: &AtomicU64, work: impl FnOnce(&SledStore) -> T) -> T {
        let started = Instant::now();
        let done = work(&self.store);
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        spent.fetch_add(took, Ordering::Relaxed);
        done
    }
}

impl Store for Timed {
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
        self.timed(&self.writes, |store| store.apply(batch))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.timed(&self.flushes, Store::flush)
    }
}

fn door() -> Door {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Door::new().expect("TLS is there")
}

//! A reconciler with 10,000 agents: from its start to the first correct plan, heartbeats a second, and
//! memory. Run with `cargo bench -p easyenclave --bench fleet`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use easyenclave::clock::{Clock, System};
use easyenclave::journal::Journal;
use easyenclave::pass::pass;
use easyenclave::report::{self, Notes};
use easyenclave::source::Source;
use easyenclave::trust::Judge;
use easyenclave::world::{Parts, World};
use easyenclave::{api, examples};
use easyenclave_attestation::simulated::{Platform, TdBody};

use easyenclave_attestation::{Binding, report_data, verify};
use easyenclave_git::init_repository;
use easyenclave_schemas::documents::Workload;
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, Verdict};
use easyenclave_schemas::records::{
    AgentRecord, AssignmentRecord, ClaimRecord, OrderPhase, OrderRecord, TrustRecord, WorkRecord,
};
use easyenclave_schemas::signature::{Keypair, sign_request};
use easyenclave_schemas::wire::{HeartbeatRequest, WorkloadReport, WorkloadState, routes};
use easyenclave_schemas::{FleetId, Generation, OrderId, Secret, TargetName, Timestamp, WorkerId};
use easyenclave_store::SledStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const AGENTS: u32 = 10_000;
const DEPLOYMENTS: u32 = 100;
const ROUNDS: u64 = 3;
const CONNECTIONS: usize = 16;

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = Arc::new(Keypair::generate().expect("randomness"));
    let setup = runtime.block_on(prepare(dir.path(), &key));
    let before = resident();
    let started = Instant::now();
    let (world, actions) = runtime.block_on(first_plan(dir.path(), &setup));
    let restart = started.elapsed();
    let rate = heartbeats(&world, &setup);
    let status = runtime.block_on(settle(&world));
    let memory = resident().saturating_sub(before);
    println!("a reconciler with {AGENTS} agents and {DEPLOYMENTS} deployments");
    println!(
        "  restart to first correct plan {:>9.2} s      bar: at most 5 s",
        restart.as_secs_f64()
    );
    println!("    actions in that plan        {actions:>9}        nothing was heard yet: none");
    println!("  heartbeats a second           {rate:>9.0}        bar: at least 10,000 on one core");
    println!("  memory, grown from {before:>4} MiB by {memory:>6} MiB    bar: at most 150 MiB");
    println!("  replicas ready in the status  {status:>9}");
}

struct Setup {
    root: String,
    key: Arc<Keypair>,
    repository: String,
    orders: Vec<OrderId>,
}

/// A state repository and a store, as a long-lived fleet leaves them.
async fn prepare(dir: &Path, key: &Arc<Keypair>) -> Setup {
    let platform = Platform::open_or_create(&dir.join("platform"), System.now()).expect("made");
    let root = platform.root_key_id().to_string();
    let repository = dir.join("state.git");
    let author = ("Ada", "ada@example.invalid");
    init_repository(&repository, "main", &state(&root), "start", author, 1).expect("made");
    let verdict = verdict(&platform, &root, key);
    let journal = open(dir);
    let fleet = FleetId::new("demo").expect("a name");
    let target = TargetName::new("tiny").expect("a name");
    let orders: Vec<_> = (0..AGENTS)
        .map(|slot| OrderId::launch(&fleet, &target, slot, 1))
        .collect();
    let workload = Arc::new(workload());
    for (chunk, orders) in orders.chunks(1000).enumerate() {
        let orders: Vec<_> = orders.to_vec();
        let (key, verdict, workload) = (Arc::clone(key), verdict.clone(), Arc::clone(&workload));
        let written = journal.transact(move |_, change| {
            for (index, order) in orders.into_iter().enumerate() {
                let slot = u32::try_from(chunk * 1000 + index).expect("small");
                change.put_order(order_record(&order, slot));
                change.put_agent(agent_record(&order, slot, &key, &verdict, &workload));
            }
            Ok::<_, ()>(())
        });
        written.await.expect("written").expect("decided");
    }
    let repository = repository.display().to_string();
    Setup {
        root,
        key: Arc::clone(key),
        repository,
        orders,
    }
}

fn state(root: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = examples::files(Some(root));
    files.retain(|path, _| !path.starts_with("deployments/"));
    let target = "apiVersion: easyenclave.dev/v1\nkind: CapacityTarget\nmetadata:\n  name: tiny\n\
                  spec:\n  datacenter: local\n  nodeSize: tiny\n  provider: local\n  \
                  policy: simulated\n  max: 20000\n";
    files.insert("capacity/tiny.yaml".into(), target.into());
    let owner = "apiVersion: easyenclave.dev/v1\nkind: Owner\nmetadata:\n  name: acme\nspec:\n  \
                 quota:\n    agents: 20000\n";
    files.insert("owners/acme.yaml".into(), owner.into());
    for number in 0..DEPLOYMENTS {
        let text = format!(
            "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: d{number}\n  \
             owner: acme\nspec:\n  workload:\n    process:\n      command: [\"web\"]\n  \
             replicas: {}\n  nodeSize: tiny\n",
            AGENTS / DEPLOYMENTS
        );
        files.insert(format!("deployments/acme/d{number}.yaml"), text.into());
    }
    files
}

fn workload() -> Workload {
    let process = serde_json::json!({ "process": { "command": ["web"] } });
    serde_json::from_value(process).expect("a workload")
}

/// One honest verdict under the policy of the state repository; agents share it here.
fn verdict(platform: &Platform, root: &str, key: &Keypair) -> Verdict {
    let spec = serde_json::json!({
        "trustRoot": { "kind": "simulated", "keyId": root },
        "measurements": policy_measurements(),
    });
    let spec = serde_json::from_value(spec).expect("a policy");
    let size = "tiny".parse().expect("a name");
    let policy = easyenclave::revision::policy(&spec, &size).expect("a policy");
    let binding = Binding {
        nonce: [1; 32],
        public_key: *key.public().as_bytes(),
    };
    let data = report_data(&binding.nonce, &binding.public_key);
    let body = TdBody::of_image("tiny");
    let quote = platform.guest().quote(data, &body).expect("a quote");
    let evidence = Evidence {
        quote: QuoteBytes::new(quote).expect("short enough"),
    };
    let now = System.now();
    let collateral = platform.collateral(now).expect("collateral");
    verify(&evidence, &binding, &collateral, &policy, now).expect("accepted")
}

/// As the example policy has them.
fn policy_measurements() -> serde_json::Value {
    let files = examples::files(None);
    let text = String::from_utf8(files["policies/simulated.yaml"].clone()).expect("UTF-8");
    let document: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
    document["spec"]["measurements"].clone()
}

fn order_record(order: &OrderId, slot: u32) -> OrderRecord {
    OrderRecord {
        order: order.clone(),
        datacenter: "local".parse().expect("a name"),
        provider: "local".parse().expect("a name"),
        worker: None,
        work: WorkRecord::Launch {
            target: "tiny".parse().expect("a name"),
            slot,
            generation: 1,
            failures: 0,
            size: "tiny".parse().expect("a name"),
            policy: "simulated".parse().expect("a name"),
        },
        state: OrderPhase::Fulfilled,
        opened_at: System.now(),
        claim: Some(ClaimRecord {
            worker: worker(),
            fence: 1,
            expires_at: System.now(),
        }),
        error: None,
    }
}

fn agent_record(
    order: &OrderId,
    slot: u32,
    key: &Keypair,
    verdict: &Verdict,
    workload: &Workload,
) -> AgentRecord {
    let version = easyenclave::revision::WorkloadVersion {
        workload: workload.clone(),
        health: None,
    };
    AgentRecord {
        agent: order.agent(),
        target: "tiny".parse().expect("a name"),
        slot,
        datacenter: "local".parse().expect("a name"),
        size: "tiny".parse().expect("a name"),
        provider: "local".parse().expect("a name"),
        worker: worker(),
        public_key: key.public().to_string(),
        address: "http://127.0.0.1:9".into(),
        boot_id: "boot".into(),
        version: "0.1.0".into(),
        registered_at: System.now(),
        trust: TrustRecord::Accepted(Box::new(verdict.clone())),
        generation: Generation(1),
        assigned: Some(AssignmentRecord {
            deployment: format!("acme/d{}", slot % DEPLOYMENTS)
                .parse()
                .expect("a name"),
            digest: version.digest(),
            workload: workload.clone(),
            health: None,
            since: System.now(),
        }),
        quarantined: None,
        exposed: None,
    }
}

fn worker() -> WorkerId {
    WorkerId::new("w-bench").expect("a name")
}

fn open(dir: &Path) -> Journal {
    let store = SledStore::open(&dir.join("store")).expect("the store is free");
    Journal::open(Arc::new(store)).expect("readable")
}

/// All that a daemon does before its first plan.
async fn first_plan(dir: &Path, setup: &Setup) -> (Arc<World>, usize) {
    let platform = Platform::open_or_create(&dir.join("platform"), System.now()).expect("opened");
    assert_eq!(platform.root_key_id().to_string(), setup.root);
    let world = Arc::new(World::new(Parts {
        clock: Arc::new(System),
        entropy: Arc::new(System),
        journal: open(dir),
        seed: Secret::new([7; 32]),
        keypair: Keypair::generate().expect("randomness"),
        launcher_key: Secret::new("key".into()),
        judge: Judge::new(Arc::new(platform)),
        public_url: "http://127.0.0.1:9".into(),
    }));
    let source = Source::open(&setup.repository, &dir.join("mirror"), "main", None).expect("open");
    assert_eq!(source.refresh(&world).await, None);
    let revision = world.revision().expect("a revision");
    let report = pass(&world, revision, System.now()).await.expect("a pass");
    (world, report.plan.actions.len())
}

/// Heartbeats over loopback, by the processor time that the server's thread spends on them.
fn heartbeats(world: &Arc<World>, setup: &Setup) -> f64 {
    let requests = requests(setup);
    let count = requests.len();
    let (address, server) = serve(Arc::clone(world));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let before = server_time(&server);
    runtime.block_on(async {
        let mut shares: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
        for (index, request) in requests.into_iter().enumerate() {
            shares[index % CONNECTIONS].push(request);
        }
        let sends = shares.into_iter().map(|share| send(address, share));
        futures_util::future::join_all(sends).await;
    });
    count as f64 / (server_time(&server) - before).as_secs_f64()
}

/// Signed in advance, in the order in which an agent would send them.
fn requests(setup: &Setup) -> Vec<Vec<u8>> {
    let now = System.now();
    let mut requests = Vec::new();
    for sequence in 1..=ROUNDS {
        for (slot, order) in setup.orders.iter().enumerate() {
            let body = serde_json::to_vec(&beat(sequence, slot)).expect("plain data");
            requests.push(request(setup, order, &body, now, requests.len()));
        }
    }
    requests
}

fn beat(sequence: u64, slot: usize) -> HeartbeatRequest {
    let version = easyenclave::revision::WorkloadVersion {
        workload: workload(),
        health: None,
    }
    .digest();
    let slot = u32::try_from(slot).expect("small");
    HeartbeatRequest {
        sequence,
        boot_id: "boot".into(),
        address: "http://127.0.0.1:9".into(),
        generation: Generation(1),
        workload: Some(WorkloadReport {
            generation: Generation(1),
            deployment: format!("acme/d{}", slot % DEPLOYMENTS)
                .parse()
                .expect("a name"),
            workload: version,
            state: WorkloadState::Ready,
            restarts: 0,
            message: String::new(),
            url: Some("http://127.0.0.1:9".into()),
        }),
    }
}

fn request(setup: &Setup, order: &OrderId, body: &[u8], now: Timestamp, nonce: usize) -> Vec<u8> {
    let path = routes::heartbeat(&order.agent());
    let headers = sign_request(&setup.key, "POST", &path, body, now, &format!("n{nonce}"));
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn send(address: std::net::SocketAddr, requests: Vec<Vec<u8>>) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = vec![0; 16 * 1024];
    for request in requests {
        stream.write_all(&request).await.expect("sent");
        let read = stream.read(&mut buffer).await.expect("answered");
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn serve(world: Arc<World>) -> (std::net::SocketAddr, String) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let thread = fs::read_link("/proc/thread-self").expect("a Linux system");
            sender
                .send((address, thread.display().to_string()))
                .expect("received");
            axum::serve(listener, api::router(world))
                .await
                .expect("served");
        });
    });
    receiver.recv().expect("started")
}

/// User and system time of a thread; the kernel counts in hundredths of a second.
fn server_time(thread: &str) -> Duration {
    let stat = fs::read_to_string(Path::new("/proc").join(thread).join("stat")).expect("there");
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// A pass with everything heard, and its status: what a daemon holds all the time.
async fn settle(world: &Arc<World>) -> u32 {
    let revision = world.revision().expect("a revision");
    let report = pass(world, revision, System.now()).await.expect("a pass");
    let records = world.journal.read();
    let status = report::status(&report, &records, &world.presence, &Notes::default(), None);
    status.fleet.counts.replicas_ready
}

/// Resident memory, in MiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let kib = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

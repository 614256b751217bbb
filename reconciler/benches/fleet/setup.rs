//! A state repository and a store as a long-lived fleet leaves them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use easyenclave::clock::{Clock, System};
use easyenclave::examples;
use easyenclave::journal::Journal;
use easyenclave_attestation::simulated::{Platform, TdBody};
use easyenclave_attestation::testing::judge;
use easyenclave_attestation::{Binding, Policy, report_data};
use easyenclave_git::init_repository;
use easyenclave_schemas::documents::{Runtime, Workload};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, Verdict};
use easyenclave_schemas::records::{
    AgentRecord, AssignmentRecord, ClaimRecord, OrderPhase, OrderRecord, TrustRecord, WorkRecord,
};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::{FleetId, Generation, OrderId, StageTimes, TargetName, WorkerId};
use easyenclave_store::SledStore;

use crate::{AGENTS, DEPLOYMENTS};

pub(crate) struct Setup {
    pub(crate) root: String,
    pub(crate) key: Arc<Keypair>,
    pub(crate) repository: String,
    pub(crate) orders: Vec<OrderId>,
}

/// A state repository and a store, as a long-lived fleet leaves them.
pub(crate) async fn prepare(dir: &Path) -> Setup {
    let key = &Arc::new(Keypair::generate().expect("randomness"));
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

pub(crate) fn workload() -> Workload {
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
    let policy = Policy::new(&spec, &size).expect("a policy");
    let binding = Binding {
        ita: None,
        nonce: [1; 32],
        public_key: *key.public().as_bytes(),
    };
    let data = report_data(&binding.nonce, &binding.public_key);
    let body = TdBody::of_image("tiny");
    let quote = platform.guest().quote(data, &body).expect("a quote");
    let evidence = Evidence::of_quote(QuoteBytes::new(quote).expect("short enough"));
    let now = System.now();
    let collateral = platform.collateral(now).expect("collateral");
    judge(&evidence, &binding, &collateral, &policy, now).expect("accepted")
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
            zone: None,
            shape: None,
        },
        state: OrderPhase::Fulfilled,
        opened_at: System.now(),
        claim: Some(ClaimRecord {
            worker: worker(),
            fence: 1,
            expires_at: System.now(),
        }),
        error: None,
        cause: None,
        console: None,
        times: StageTimes::default(),
        unaccounted: false,
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
        secrets: Vec::new(),
        secrets_digest: None,
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
        runtimes: Runtime::usual(),
        registered_at: System.now(),
        trust: TrustRecord::Accepted(Box::new(verdict.clone())),
        evidence: None,
        generation: Generation(1),
        assigned: Some(AssignmentRecord {
            deployment: format!("acme/d{}", slot % DEPLOYMENTS)
                .parse()
                .expect("a name"),
            digest: version.digest(),
            workload: workload.clone(),
            health: None,
            secrets: Vec::new(),
            secrets_digest: None,
            since: System.now(),
        }),
        idle_since: None,
        quarantined: None,
        exposed: None,
        hostname: None,
    }
}

fn worker() -> WorkerId {
    WorkerId::new("w-bench").expect("a name")
}

pub(crate) fn open(dir: &Path) -> Journal {
    let store = SledStore::open(&dir.join("store")).expect("the store is free");
    Journal::open(Arc::new(store)).expect("readable")
}

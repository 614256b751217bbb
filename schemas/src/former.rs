//! What was stored or sent before machines had zones, stages and causes, and workloads containers and secrets, still reads, and is written as it was: an older
//! reader is not confused, and an unchanged world gives the same bytes.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Timestamp;
use crate::documents::{ProviderSpec, Runtime};
use crate::records::{AgentRecord, OrderRecord, RolloutRecord};
use crate::status::{AgentStatus, DeploymentStatus, FleetStatus, OrderStatus};
use crate::wire::{
    AgentConfig, DeployRequest, HeartbeatRequest, HeartbeatResponse, LaunchSpec, OrderUpdate,
    RegisterRequest,
};

fn same<T: Serialize + DeserializeOwned + Debug>(old: &Value) -> T {
    let read: T = serde_json::from_value(old.clone()).expect("it reads");
    assert_eq!(serde_json::to_value(&read).expect("plain data"), *old);
    read
}

const AT: &str = "2026-01-01T00:00:00Z";

#[test]
fn a_record_of_an_order_is_as_it_was() {
    let order = json!({
        "order": "tiny-1", "datacenter": "local", "provider": "local",
        "work": {"launch": {"target": "tiny", "slot": 0, "generation": 1, "failures": 2, "size": "tiny",
            "policy": "simulated"}},
        "state": {"failed": AT}, "openedAt": AT,
        "claim": {"worker": "w", "fence": 1, "expiresAt": AT}, "error": "no room",
    });
    let order: OrderRecord = same(&order);
    let spot = order.spot().expect("a launch");
    assert_eq!(spot.to_string(), "local in local");
    assert!(order.times.is_empty() && order.cause.is_none() && order.console.is_none());
    let retire = json!({
        "order": "tiny-1-x", "datacenter": "local", "provider": "local", "worker": "w",
        "work": {"retire": {"agent": "tiny-1", "reason": "not needed"}},
        "state": "open", "openedAt": AT,
    });
    assert_eq!(same::<OrderRecord>(&retire).spot(), None);
}

#[test]
fn messages_of_workers_and_to_them_are_as_they_were() {
    let update = json!({"worker_id": "w", "fence": 1, "status": "failed", "error": "no room"});
    assert_eq!(same::<OrderUpdate>(&update).cause, None);
    let spec = json!({
        "node_size": "tiny", "max_units": 64, "reconciler_url": "http://127.0.0.1:1", "reconciler_key": "ab",
    });
    let spec: LaunchSpec = serde_json::from_value(spec).expect("it reads");
    assert!(spec.machine.is_none());
    assert!(!spec.simulated, "who says nothing gets no plain machine");
}

#[test]
fn a_configuration_of_an_agent_is_as_it_was() {
    let config = json!({
        "fleet_id": "demo", "order_id": "tiny-1", "bootstrap_token": "t", "reconciler_url": "http://127.0.0.1:1",
        "reconciler_key": "ab", "datacenter": "local", "node_size": "tiny",
        "platform": {"simulated": {"dir": "/guest"}}, "data_dir": "/state", "worker_id": "w",
    });
    let config: AgentConfig = same(&config);
    assert!(config.listen.is_none() && config.address.is_none() && config.workload.is_none());
}

#[test]
fn status_is_as_it_was() {
    let order = json!({
        "order": "tiny-1",
        "work": {"launch": {"target": "tiny", "slot": 0, "generation": 1, "failures": 0}},
        "datacenter": "local", "provider": "local", "phase": "failed", "openedAt": AT, "failedAt": AT,
        "worker": "w", "error": "no room", "conditions": [], "waits": [],
    });
    let order: OrderStatus = same(&order);
    assert_eq!(order.times.stage(order.opened_at).1, order.opened_at);
    let fleet = json!({
        "fleet": "demo", "desiredCommit": "c", "effectiveCommit": "c", "planDigest": "00".repeat(32),
        "counts": {"deployments": 0, "deploymentsRunning": 0, "replicasReady": 0, "agentsAttested": 0,
            "agentsSimulated": 0, "agentsUntrusted": 0, "ordersPending": 0, "problems": 0},
        "conditions": [],
    });
    assert_eq!(same::<FleetStatus>(&fleet).shortages, []);
}

fn workload() -> Value {
    json!({"process": {"command": ["hello"], "restart": "always"}})
}

fn agent_record() -> Value {
    let zero = "00".repeat(32);
    json!({
        "agent": "tiny-1", "target": "tiny", "slot": 0, "datacenter": "local", "size": "tiny",
        "provider": "local", "worker": "worker-1", "publicKey": zero, "address": "http://127.0.0.1:9",
        "bootId": "b", "version": "0", "registeredAt": AT,
        "trust": {"refused": {"code": "EE-ATT-014", "message": "no", "policy": zero, "shown_at": AT}},
        "generation": 1,
        "assigned": {"deployment": "acme/web", "digest": zero, "workload": workload(), "since": AT},
    })
}

#[test]
fn agents_and_what_they_run_are_as_they_were() {
    let record: AgentRecord = same(&agent_record());
    assert_eq!(record.runtimes, [Runtime::Process]);
    let zero = "00".repeat(32);
    same::<DeployRequest>(&json!({
        "agent_id": "a", "epoch": 1, "generation": 1, "deployment": "acme/web", "workload_digest": zero,
        "workload": workload(),
    }));
    let workload = json!({"generation": 1, "deployment": "acme/web", "workload": zero, "state": "ready",
        "restarts": 0, "message": ""});
    same::<HeartbeatRequest>(&json!({
        "sequence": 1, "boot_id": "b", "address": "http://127.0.0.1:9", "generation": 1, "workload": workload,
    }));
    same::<HeartbeatResponse>(&json!({"epoch": 1, "heartbeat_millis": 1000}));
    let agent = json!({
        "agent": "tiny-1", "target": "tiny", "slot": 0, "datacenter": "local", "nodeSize": "tiny",
        "phase": "running", "liveness": "heard", "trust": {"state": "unknown", "simulated": false}, "generation": 1,
        "replica": {"generation": 1, "deployment": "acme/web", "workload": zero, "state": "ready", "restarts": 0},
        "conditions": [], "waits": [],
    });
    same::<AgentStatus>(&agent);
    let deployment = json!({
        "deployment": "acme/web", "phase": "running", "workload": zero, "wanted": 1, "assigned": 1, "updated": 1,
        "ready": 1, "replicas": [{"agent": "tiny-1", "ready": true, "updated": true}], "conditions": [], "waits": [],
    });
    same::<DeploymentStatus>(&deployment);
    // A worker of before refuses fields that it does not know, so they are not written to it.
    same::<ProviderSpec>(&json!({"process": {"maxAgents": 64}}));
}

#[test]
fn runtimes_of_a_later_version_are_left_out() {
    let mut record = agent_record();
    record["runtimes"] = json!(["process", "compose", "unikernel", 7]);
    let record: AgentRecord = serde_json::from_value(record).expect("it reads");
    assert_eq!(record.runtimes, [Runtime::Process, Runtime::Compose]);
    let request = json!({
        "order_id": "tiny-1", "bootstrap_token": "t", "public_key": "k", "nonce": "n",
        "evidence": {"quote": ""}, "address": "a", "boot_id": "b", "version": "0",
    });
    let request: RegisterRequest = serde_json::from_value(request).expect("it reads");
    assert_eq!(request.runtimes, [Runtime::Process]);
}

#[test]
fn what_is_new_of_workloads_reads_back() {
    let zero = "00".repeat(32);
    let compose = json!({"compose": {"source": {"inline": "services: {}\n"}, "web": {"service": "web", "port": 80}}});
    let secrets = json!([{"name": "db", "file": "db", "services": ["web"]}]);
    let revert =
        json!({"attempt": zero, "from": zero, "to": zero, "cause": "image_missing", "at": AT});
    let past = json!([{"version": zero, "attempt": zero, "commit": "c", "from": AT, "to": AT, "outcome": "reverted",
        "cause": "exited"}]);
    let mut record = agent_record();
    record["runtimes"] = json!(["process", "compose"]);
    record["assigned"]["workload"] = compose.clone();
    record["assigned"]["secrets"] = secrets.clone();
    record["assigned"]["secretsDigest"] = json!(zero);
    same::<AgentRecord>(&record);
    same::<RolloutRecord>(&json!({
        "deployment": "acme/web", "reverted": revert,
        "healthy": {"digest": zero, "workload": compose, "secrets": secrets, "secretsDigest": zero, "since": AT},
    }));
    let beat = json!({
        "sequence": 1, "boot_id": "b", "address": "http://127.0.0.1:9", "generation": 1,
        "connector": {"version": zero, "connected": true}, "runtimes": ["process", "compose"],
        "workload": {"generation": 1, "deployment": "acme/web", "workload": zero, "state": "starting", "restarts": 0,
            "message": "", "cause": "registry_down",
            "images": [{"service": "web", "image": "web:1", "id": zero, "digest": zero}],
            "services": [{"service": "web", "state": "starting", "message": "pulled 1 of 2"}]},
    });
    same::<HeartbeatRequest>(&beat);
    let order = json!({"epoch": 1, "heartbeat_millis": 1000, "tunnel": {"version": zero}});
    same::<HeartbeatResponse>(&order);
    same::<DeploymentStatus>(&json!({
        "deployment": "acme/web", "phase": "progressing", "wanted": 1, "assigned": 1, "updated": 1, "ready": 1,
        "rollout": {"aim": zero, "attempt": zero, "commit": "c", "since": AT, "step": {"wave": {"number": 1, "of": 2}}, "healthy": zero, "reverted": revert,
            "paused": {"owner": "ann", "reason": "holidays", "until": AT}},
        "history": past, "hostname": "web.example.com", "replicas": [], "conditions": [], "waits": [],
    }));
}

#[test]
fn what_is_new_reads_back() {
    let update = json!({
        "worker_id": "w", "fence": 1, "status": "provisioning", "cause": "no_capacity", "console": "x", "stage": "made",
    });
    same::<OrderUpdate>(&update);
    let order = json!({
        "order": "tiny-1", "datacenter": "gcp-us", "provider": "cloud",
        "work": {"launch": {"target": "tiny", "slot": 0, "generation": 1, "failures": 0, "size": "tiny",
            "policy": "real", "zone": "us-central1-a", "shape": "c3-standard-4"}},
        "state": "provisioning", "openedAt": AT, "cause": "not_booted", "console": "x",
        "times": {"claimedAt": AT, "madeAt": AT, "bootedAt": AT, "registeredAt": AT},
    });
    let order: OrderRecord = same(&order);
    let shown = order.spot().expect("a launch").to_string();
    assert_eq!(
        shown,
        "cloud in gcp-us zone us-central1-a shape c3-standard-4"
    );
    assert_eq!(
        order.times.made_at,
        Some(AT.parse::<Timestamp>().expect("a time"))
    );
    let spec = json!({
        "node_size": "tiny", "max_units": 1, "reconciler_url": "u", "reconciler_key": "k", "simulated": true,
        "machine": {"kind": "qemu", "vcpus": 1, "memory_mib": 384, "data_gib": 0, "accelerator": "tcg", "tdx": "never"},
    });
    same::<LaunchSpec>(&spec);
    let cloud = json!({
        "node_size": "tiny", "max_units": 1, "reconciler_url": "u", "reconciler_key": "k", "simulated": false,
        "machine": {"kind": "gcp", "project": "p", "zone": "z-a", "machine_type": "c3-standard-4",
            "image": "projects/p/global/images/i", "disk_gib": 80, "network": "default", "external_address": false,
            "preemptible": false},
    });
    same::<LaunchSpec>(&cloud);
}

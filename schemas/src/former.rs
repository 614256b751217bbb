//! What was stored or sent before machines had zones, stages and causes still reads, and is written as it was: an older
//! reader is not confused, and an unchanged world gives the same bytes.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Timestamp;
use crate::records::OrderRecord;
use crate::status::{FleetStatus, OrderStatus};
use crate::wire::{AgentConfig, LaunchSpec, OrderUpdate};

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

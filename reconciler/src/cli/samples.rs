//! A status for tests: the one whose JSON is pinned.

use std::collections::BTreeMap;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::{ReservationStatus, WaitStatus};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::seen::{Reconciler, Seen, Signature};
use crate::report::Status;

/// When the sample was seen.
pub(super) fn noon() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().expect("a time")
}

/// A small fleet in which something runs, something is refused and something fails.
pub(super) fn status() -> Status {
    let text = include_str!("../../tests/status.json");
    let document: Value = serde_json::from_str(text).expect("JSON");
    Status {
        at: noon(),
        fleet: serde_json::from_value(document["fleet"].clone()).expect("a fleet"),
        agents: list(&document, "agents", "agent"),
        deployments: list(&document, "deployments", "deployment"),
        capacity: list(&document, "targets", "target"),
        orders: list(&document, "orders", "order"),
        problems: serde_json::from_value(document["problems"].clone()).expect("problems"),
    }
}

/// The same with a reservation that ends soon.
pub(super) fn with_reservation() -> Status {
    let mut status = status();
    let target = status.capacity.values_mut().next().expect("a target");
    target.reservations = vec![ReservationStatus {
        reservation: "acme/gold".parse().expect("a name"),
        count: 2,
        until: Some(noon()),
        waits: vec![WaitStatus {
            reason: "ReservationEnds".into(),
            message: "ends; agents of target tiny reserved until then: 2".into(),
            until: Some(noon()),
        }],
    }];
    status
}

/// A commit that says it.
pub(super) fn seen(signature: Signature, reconciler: Reconciler) -> Seen {
    Seen {
        commit: "0123456789".repeat(4),
        seen_at: noon(),
        signature,
        reconciler,
    }
}

fn list<K: Ord + DeserializeOwned, T: DeserializeOwned>(
    document: &Value,
    list: &str,
    key: &str,
) -> BTreeMap<K, T> {
    let entries = document[list].as_array().expect("a list");
    let entry = |entry: &Value| {
        let name = serde_json::from_value(entry[key].clone()).expect("a name");
        let thing = serde_json::from_value(entry.clone()).expect("a thing");
        (name, thing)
    };
    entries.iter().map(entry).collect()
}

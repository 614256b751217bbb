//! What exists: machines by zone and name, and operations that go a step further with each request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::answers::{Answer, answer};
use super::{Fault, Partial, Said, Verb};

/// The steps of an operation: it waits, it runs, it is over.
const STEPS: u32 = 3;

/// When everything happens here.
pub(super) const NOW: &str = "2026-11-27T12:00:00.000-08:00";

/// An operation on a machine.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) zone: String,
    pub(super) verb: Verb,
    pub(super) target: String,
    pub(super) target_id: u64,
    pub(super) request_id: Option<String>,
    /// How many steps are left; for ever when there are none to count.
    pub(super) left: Option<u32>,
    pub(super) failure: Option<(String, String)>,
}

impl Operation {
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

/// All there is.
pub(super) struct State {
    pub(super) zones: Vec<String>,
    pub(super) machines: BTreeMap<(String, String), Value>,
    pub(super) operations: Vec<Operation>,
    pub(super) faults: Vec<Fault>,
    pub(super) partial: Option<Partial>,
    pub(super) page: usize,
    pub(super) hidden: BTreeSet<String>,
    pub(super) full: BTreeSet<(String, String)>,
    pub(super) serial: BTreeMap<String, String>,
    pub(super) said: Vec<Said>,
    numbers: u64,
}

impl State {
    pub(super) fn new(zones: &[&str]) -> Self {
        Self {
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            machines: BTreeMap::new(),
            operations: Vec::new(),
            faults: Vec::new(),
            partial: None,
            page: 500,
            hidden: BTreeSet::new(),
            full: BTreeSet::new(),
            serial: BTreeMap::new(),
            said: Vec::new(),
            numbers: 7_000_000_000_000_000_000,
        }
    }

    /// Answers a request, and says whether nobody is to hear of it.
    pub(super) fn answer(&mut self, said: &Said) -> (Answer, bool) {
        self.step();
        answer(self, said)
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.partial = None;
        self.hidden.clear();
        for operation in &mut self.operations {
            operation.left = operation.left.or(Some(STEPS));
        }
    }

    /// The fault that a request of this kind meets.
    pub(super) fn fault(&mut self, verb: Verb) -> Option<Fault> {
        let at = self.faults.iter().position(|fault| fault.verb() == verb)?;
        Some(self.faults.remove(at))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// A machine as it is kept: what was asked for, and what the cloud adds.
    pub(super) fn put(&mut self, zone: &str, mut machine: Value) -> u64 {
        let id = self.number();
        let name = machine["name"].as_str().expect("a name").to_owned();
        let link = format!("https://www.googleapis.com/compute/v1/projects/p/zones/{zone}");
        machine["kind"] = json!("compute#instance");
        machine["id"] = json!(id.to_string());
        machine["creationTimestamp"] = json!(NOW);
        machine["zone"] = json!(link);
        machine["selfLink"] = json!(format!("{link}/instances/{name}"));
        machine["labelFingerprint"] = json!("42WmSpB8rSM=");
        if machine["status"].is_null() {
            machine["status"] = json!("RUNNING");
        }
        self.machines.insert((zone.to_owned(), name), machine);
        id
    }

    pub(super) fn set(&mut self, name: &str, field: &str, value: &Value) {
        for ((_, of), machine) in &mut self.machines {
            if of == name {
                machine[field] = value.clone();
            }
        }
    }

    pub(super) fn machines(&self) -> Vec<Value> {
        self.machines.values().cloned().collect()
    }

    pub(super) fn under_way(&self, name: &str) -> usize {
        let of = |operation: &&Operation| operation.target == name && !operation.is_over();
        self.operations.iter().filter(of).count()
    }

    /// The key of the machine with this name or number.
    pub(super) fn find(&self, zone: &str, instance: &str) -> Option<(String, String)> {
        let is = |machine: &Value| machine["name"] == *instance || machine["id"] == *instance;
        let found = self
            .machines
            .iter()
            .find(|((of, _), machine)| of == zone && is(machine));
        found.map(|(key, _)| key.clone())
    }

    /// Starts an operation.
    pub(super) fn start(
        &mut self,
        verb: Verb,
        key: (String, String),
        request_id: Option<String>,
        fault: Option<Fault>,
    ) -> Operation {
        let id = self.number();
        let (zone, target) = key.clone();
        let target_id = self.machines.get(&key).map(|machine| machine["id"].clone());
        let target_id = target_id.and_then(|id| id.as_str()?.parse().ok());
        let operation = Operation {
            name: format!("operation-{id}"),
            id,
            zone,
            verb,
            target,
            target_id: target_id.unwrap_or_default(),
            request_id,
            left: (!matches!(fault, Some(Fault::NeverOver(_)))).then_some(STEPS),
            failure: match fault {
                Some(Fault::Fails(_, code, message)) => Some((code.into(), message.into())),
                _ => None,
            },
        };
        self.operations.push(operation.clone());
        operation
    }

    /// Everything that is under way goes one step further.
    fn step(&mut self) {
        let mut ended = Vec::new();
        for operation in &mut self.operations {
            match operation.left {
                Some(1) => {
                    operation.left = Some(0);
                    ended.push(operation.clone());
                }
                Some(left) => operation.left = Some(left.saturating_sub(1)),
                None => {}
            }
        }
        for operation in ended {
            self.end(&operation);
        }
    }

    fn end(&mut self, operation: &Operation) {
        let key = (operation.zone.clone(), operation.target.clone());
        let id = operation.target_id.to_string();
        let Some(machine) = self
            .machines
            .get_mut(&key)
            .filter(|machine| machine["id"] == *id)
        else {
            return;
        };
        match (operation.verb, &operation.failure) {
            // What is ended while it is made stays ended.
            (Verb::Insert, None) if machine["status"] == "PROVISIONING" => {
                machine["status"] = json!("RUNNING");
            }
            (Verb::Insert, Some(_)) | (Verb::Delete, None) => {
                self.machines.remove(&key);
            }
            (Verb::Delete, Some(_)) => machine["status"] = json!("RUNNING"),
            _ => {}
        }
    }
}

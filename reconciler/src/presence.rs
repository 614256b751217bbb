//! What agents and workers said lately. Memory only: after a restart nothing was heard yet, and
//! what was not heard is unknown, never absent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use easyenclave_schemas::wire::{
    CallRefusal, CallRefusals, HeartbeatRequest, InventoryRequest, WorkloadReport,
};
use easyenclave_schemas::{
    AgentId, Datacenter, Generation, OrderId, ProviderName, Timestamp, WorkerId,
};

/// What was heard since the reconciler started.
#[derive(Debug)]
pub struct Presence {
    started: Timestamp,
    agents: Mutex<HashMap<AgentId, Heard>>,
    listings: Mutex<BTreeMap<WorkerId, Listing>>,
}

/// The last word of an agent.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When it came.
    pub at: Timestamp,
    /// Its number; a lower one is a replay.
    pub sequence: u64,
    /// The boot that sent it.
    pub boot_id: String,
    /// The highest instruction taken in.
    pub acknowledged: Generation,
    /// What runs.
    pub workload: Option<WorkloadReport>,
    /// Calls that it refused since it started.
    pub refusals: CallRefusals,
}

/// A worker's newest complete listing.
#[derive(Debug, Clone)]
pub struct Listing {
    /// When it came.
    pub at: Timestamp,
    /// The provider.
    pub provider: ProviderName,
    /// The datacenter.
    pub datacenter: Datacenter,
    /// Machines, whether they work, and since when they have been listed.
    pub units: BTreeMap<OrderId, ListedUnit>,
}

/// A machine in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedUnit {
    /// Whether it works.
    pub alive: bool,
    /// Since when every listing has held it.
    pub since: Timestamp,
}

/// Whether a heartbeat was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing but the time has changed.
    Same,
    /// Something to look at.
    News,
    /// Its number is not above the last one.
    Replayed,
}

impl Presence {
    /// Nothing was heard yet.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            agents: Mutex::default(),
            listings: Mutex::default(),
        }
    }

    /// When the reconciler started; silence counts from then.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Notes a heartbeat that was proved to come from the agent.
    pub fn heartbeat(&self, agent: &AgentId, beat: HeartbeatRequest, at: Timestamp) -> Beat {
        let mut agents = lock(&self.agents);
        let Some(last) = agents.get_mut(agent) else {
            agents.insert(agent.clone(), Heard::of(beat, at));
            return Beat::News;
        };
        if last.boot_id == beat.boot_id && beat.sequence <= last.sequence {
            return Beat::Replayed;
        }
        let same = last.acknowledged == beat.generation
            && last.boot_id == beat.boot_id
            && last.workload == beat.workload;
        *last = Heard::of(beat, at);
        if same { Beat::Same } else { Beat::News }
    }

    /// Reasons for which the agent has refused calls of its own API since its last word.
    pub fn new_refusals(&self, agent: &AgentId, beat: &HeartbeatRequest) -> Vec<CallRefusal> {
        if beat.refusals.is_empty() {
            return Vec::new();
        }
        let agents = lock(&self.agents);
        let before: BTreeMap<_, _> = agents
            .get(agent)
            .map(|last| last.refusals.iter().collect())
            .unwrap_or_default();
        let differs = |(reason, count): &(CallRefusal, u64)| before.get(reason) != Some(count);
        let refusals = beat.refusals.iter().filter(differs);
        refusals.map(|(reason, _)| reason).collect()
    }

    /// Notes that an agent took an instruction in.
    pub fn acknowledged(&self, agent: &AgentId, generation: Generation, at: Timestamp) {
        if let Some(heard) = lock(&self.agents).get_mut(agent) {
            heard.acknowledged = heard.acknowledged.max(generation);
            heard.at = heard.at.max(at);
        }
    }

    /// The last word of an agent.
    pub fn heard(&self, agent: &AgentId) -> Option<Heard> {
        lock(&self.agents).get(agent).cloned()
    }

    /// Forgets agents that are no more.
    pub fn retain(&self, keep: impl Fn(&AgentId) -> bool) {
        lock(&self.agents).retain(|agent, _| keep(agent));
    }

    /// Notes a complete listing. Tells whether it differs from the last one.
    pub fn inventory(&self, listing: &InventoryRequest, at: Timestamp) -> bool {
        let mut listings = lock(&self.listings);
        let last = listings.get(&listing.worker_id);
        let since = |order: &OrderId| {
            let known = last.and_then(|last| last.units.get(order));
            known.map_or(at, |unit| unit.since)
        };
        let units: BTreeMap<_, _> = listing
            .units
            .iter()
            .map(|unit| {
                let listed = ListedUnit {
                    alive: unit.alive,
                    since: since(&unit.order_id),
                };
                (unit.order_id.clone(), listed)
            })
            .collect();
        let changed = last.is_none_or(|last| last.units != units);
        let listing_now = Listing {
            at,
            provider: listing.provider.clone(),
            datacenter: listing.datacenter.clone(),
            units,
        };
        listings.insert(listing.worker_id.clone(), listing_now);
        changed
    }

    /// Every worker's newest listing.
    pub fn listings(&self) -> BTreeMap<WorkerId, Listing> {
        lock(&self.listings).clone()
    }
}

impl Heard {
    fn of(beat: HeartbeatRequest, at: Timestamp) -> Self {
        Self {
            at,
            sequence: beat.sequence,
            boot_id: beat.boot_id,
            acknowledged: beat.generation,
            workload: beat.workload,
            refusals: beat.refusals,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

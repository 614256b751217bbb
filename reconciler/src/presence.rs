//! What agents and workers said lately. Memory only: after a restart nothing was heard yet, and
//! what was not heard is unknown, never absent.

mod spans;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_schemas::records::OrderRecord;
use easyenclave_schemas::signature::Session;
use easyenclave_schemas::wire::{
    CallRefusal, CallRefusals, ConnectorState, HeartbeatRequest, InventoryRequest, RegisterRequest,
    WorkloadReport,
};
use easyenclave_schemas::{
    AgentId, Datacenter, Generation, OrderId, ProviderName, Timestamp, WorkerId,
};

use self::spans::{Ends, since};
use crate::journal::Records;

/// An agent that was not heard of for so long is silent: three missed heartbeats and some slack.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(7);

/// So long workers have to list their machines after a start without records: what they pause between tries, and some.
const WORKERS: Duration = Duration::from_secs(30);

/// So many workers are remembered. Of the others only listings are, and those are fewer than the workers of a fleet.
const MOST_WORKERS: usize = 4096;

/// What was heard since the reconciler started.
#[derive(Debug)]
pub struct Presence {
    listening: Mutex<Timestamp>,
    leapt: Mutex<Option<Timestamp>>,
    /// Until then workers are waited for that may have machines of before the start.
    others_until: Timestamp,
    agents: Mutex<HashMap<AgentId, Heard>>,
    sessions: Mutex<HashMap<AgentId, Session>>,
    listings: Mutex<BTreeMap<WorkerId, Listing>>,
    /// When workers said anything last.
    workers: Mutex<BTreeMap<WorkerId, Timestamp>>,
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
    /// Since when that has been ready without a break, as far as it was heard.
    pub ready_since: Option<Timestamp>,
    /// Since when it has failed by its own fault without a break, as far as it was heard. Ends time and again are one failing,
    /// whether or not it is ready in between.
    pub failing_since: Option<Timestamp>,
    /// How it has ended since it was well last.
    ends: Option<Ends>,
    /// Calls that it refused since it started.
    pub refusals: CallRefusals,
    /// The connector of its tunnel.
    pub connector: Option<ConnectorState>,
}

/// A worker's newest complete listing.
#[derive(Debug, Clone)]
pub struct Listing {
    /// When it came.
    pub at: Timestamp,
    /// When the one before it came. A worker sends one after the other, so this one was begun later than that.
    pub before: Option<Timestamp>,
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
    /// The number of the claim under which it was made, if that is known.
    pub fence: Option<u64>,
    /// Since when every listing has held it.
    pub since: Timestamp,
    /// When its agent last asked to be taken in and could not be judged, by no fault of its own.
    pub unjudged: Option<Timestamp>,
}

/// A working machine and who listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The worker that made it.
    pub worker: WorkerId,
    /// The provider.
    pub provider: ProviderName,
    /// The datacenter.
    pub datacenter: Datacenter,
    /// The number of the claim under which it was made, if that is known.
    pub fence: Option<u64>,
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
            listening: Mutex::new(started),
            leapt: Mutex::default(),
            others_until: started,
            agents: Mutex::default(),
            sessions: Mutex::default(),
            listings: Mutex::default(),
            workers: Mutex::default(),
        }
    }

    /// Nothing was heard yet. Where there is a seed and no record, machines whose tokens were made from it may be there:
    /// unless the fleet is empty, its store was lost. Nobody knows which workers there are, so all get their time.
    pub fn at_start(records: &Records, has_seed: bool, now: Timestamp) -> Self {
        let mut presence = Self::new(now);
        if has_seed && records.agents.is_empty() && records.orders.is_empty() {
            tracing::warn!(
                "no agent and no order is recorded; workers are heard before any is launched"
            );
            presence.others_until = now.plus(WORKERS);
        }
        presence
    }

    /// Whether workers may be there that have not been heard of.
    pub fn awaits_others(&self, now: Timestamp) -> bool {
        now < self.others_until
    }

    /// Since when the reconciler has listened without a break; silence counts from then.
    pub fn listening(&self) -> Timestamp {
        *lock(&self.listening)
    }

    /// When the time jumped last. What was dated before may not have lasted as long as the clock says.
    pub fn leapt(&self) -> Option<Timestamp> {
        *lock(&self.leapt)
    }

    /// Nobody was listened to for a while, or the clock was set: silence counts from now, as after a restart.
    pub fn listen_from(&self, now: Timestamp) {
        *lock(&self.listening) = now;
        *lock(&self.leapt) = Some(now);
        for heard in lock(&self.agents).values_mut() {
            heard.at = heard.at.min(now);
            heard.ready_since = heard.ready_since.map(|_| now);
            heard.failing_since = heard.failing_since.map(|_| now);
            heard.ends = None;
        }
        for at in lock(&self.workers).values_mut() {
            *at = now.min(*at);
        }
        for listing in lock(&self.listings).values_mut() {
            listing.at = listing.at.min(now);
            listing.before = None;
            for unit in listing.units.values_mut() {
                unit.since = now;
                unit.unjudged = unit.unjudged.map(|_| now);
            }
        }
    }

    /// Notes a heartbeat that was proved to come from the agent.
    pub fn heartbeat(&self, agent: &AgentId, beat: HeartbeatRequest, at: Timestamp) -> Beat {
        let mut agents = lock(&self.agents);
        let Some(last) = agents.get_mut(agent) else {
            let spans = since(&beat, None, at);
            agents.insert(agent.clone(), Heard::of(beat, spans, at));
            return Beat::News;
        };
        if last.boot_id == beat.boot_id && beat.sequence <= last.sequence {
            return Beat::Replayed;
        }
        let spans = since(&beat, Some(last), at);
        let same = last.acknowledged == beat.generation
            && last.boot_id == beat.boot_id
            && last.connector == beat.connector
            && last.workload == beat.workload;
        *last = Heard::of(beat, spans, at);
        if same { Beat::Same } else { Beat::News }
    }

    /// Notes what an agent that no record knows says of itself while it registers again.
    pub fn returned(&self, request: &RegisterRequest, at: Timestamp) {
        let heard = Heard {
            at,
            sequence: 0,
            boot_id: request.boot_id.clone(),
            acknowledged: request.generation,
            workload: request.workload.clone(),
            ready_since: None,
            failing_since: None,
            ends: None,
            refusals: CallRefusals::default(),
            connector: None,
        };
        lock(&self.agents)
            .entry(request.order_id.agent())
            .or_insert(heard);
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

    /// Where an agent's workload answered by its last word.
    pub fn url(&self, agent: &AgentId) -> Option<String> {
        let agents = lock(&self.agents);
        agents.get(agent)?.workload.as_ref()?.url.clone()
    }

    /// The session in which an agent's heartbeats may be signed.
    pub fn session(&self, agent: &AgentId) -> Option<Session> {
        lock(&self.sessions).get(agent).cloned()
    }

    /// An agent's heartbeats may be signed in this session from now on, and in no other.
    pub fn agreed(&self, agent: &AgentId, session: Session) {
        lock(&self.sessions).insert(agent.clone(), session);
    }

    /// Forgets agents that are no more.
    pub fn retain(&self, keep: impl Fn(&AgentId) -> bool) {
        lock(&self.agents).retain(|agent, _| keep(agent));
        lock(&self.sessions).retain(|agent, _| keep(agent));
    }

    /// Notes that a worker has said something, whatever it was.
    pub fn worker(&self, worker: &WorkerId, at: Timestamp) {
        let mut workers = lock(&self.workers);
        workers.insert(worker.clone(), at);
        if workers.len() > MOST_WORKERS {
            let oldest = workers.iter().min_by_key(|(_, at)| **at);
            let oldest = oldest.map(|(worker, _)| worker.clone());
            oldest.map(|worker| workers.remove(&worker));
        }
    }

    /// Since when a worker has been silent. Nobody is for longer than the reconciler has listened.
    pub fn silent_since(&self, worker: &WorkerId) -> Timestamp {
        let heard = lock(&self.workers).get(worker).copied();
        heard.unwrap_or_default().max(self.listening())
    }

    /// Whether a worker's complete listing of the order's place, begun after this time, has no machine of it.
    pub fn lacks(&self, worker: &WorkerId, order: &OrderRecord, after: Timestamp) -> bool {
        lock(&self.listings).get(worker).is_some_and(|listing| {
            let begun_later = listing.before.is_some_and(|before| before > after);
            let of_its_place = listing.is_of(&order.provider, &order.datacenter);
            begun_later && of_its_place && !listing.units.contains_key(&order.order)
        })
    }

    /// Notes a complete listing. Tells whether it differs from the last one.
    pub fn inventory(&self, listing: &InventoryRequest, at: Timestamp) -> bool {
        self.worker(&listing.worker_id, at);
        let mut listings = lock(&self.listings);
        // Two workers with one name would prove each other's machines gone.
        let last = listings.get(&listing.worker_id);
        let last = last.filter(|last| last.is_of(&listing.provider, &listing.datacenter));
        let known = |order: &OrderId| last.and_then(|last| last.units.get(order));
        let units: BTreeMap<_, _> = listing
            .units
            .iter()
            .map(|unit| {
                let listed = ListedUnit {
                    alive: unit.alive,
                    fence: unit.fence,
                    since: known(&unit.order_id).map_or(at, |known| known.since),
                    unjudged: known(&unit.order_id).and_then(|known| known.unjudged),
                };
                (unit.order_id.clone(), listed)
            })
            .collect();
        let changed = last.is_none_or(|last| last.units != units);
        let listing_now = Listing {
            at,
            before: last.map(|last| last.at),
            provider: listing.provider.clone(),
            datacenter: listing.datacenter.clone(),
            units,
        };
        listings.insert(listing.worker_id.clone(), listing_now);
        changed
    }

    /// Notes that a worker has removed a machine: it is in its listing no more, although the next one is still to come.
    pub fn removed(&self, worker: &WorkerId, unit: &OrderId) {
        if let Some(listing) = lock(&self.listings).get_mut(worker) {
            listing.units.remove(unit);
        }
    }

    /// Notes that the agent of a listed machine could not be judged then, or that nothing keeps it from being judged.
    pub fn unjudged(&self, unit: &OrderId, at: Option<Timestamp>) {
        let mut listings = lock(&self.listings);
        let units = listings.values_mut().filter_map(|l| l.units.get_mut(unit));
        units.for_each(|unit| unit.unjudged = at);
    }

    /// A machine that a worker lists as working.
    pub fn listed(&self, unit: &OrderId) -> Option<Listed> {
        let listings = lock(&self.listings);
        listings.iter().find_map(|(worker, listing)| {
            let unit = listing.units.get(unit).filter(|unit| unit.alive)?;
            Some(Listed {
                worker: worker.clone(),
                provider: listing.provider.clone(),
                datacenter: listing.datacenter.clone(),
                fence: unit.fence,
            })
        })
    }

    /// The machines of a worker's newest listing.
    pub fn units(&self, worker: &WorkerId) -> Vec<OrderId> {
        let listings = lock(&self.listings);
        let listing = listings.get(worker);
        listing.map_or_else(Vec::new, |listing| listing.units.keys().cloned().collect())
    }

    /// Every worker's newest listing.
    pub fn listings(&self) -> BTreeMap<WorkerId, Listing> {
        lock(&self.listings).clone()
    }
}

impl Listing {
    /// Whether it is of the machines of this provider in this datacenter.
    pub fn is_of(&self, provider: &ProviderName, datacenter: &Datacenter) -> bool {
        self.provider == *provider && self.datacenter == *datacenter
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::wire::WorkloadCause;

    use super::*;

    fn beat(sequence: u64, state: &str, restarts: u32) -> HeartbeatRequest {
        let zero = "00".repeat(32);
        let beat = serde_json::json!({
            "sequence": sequence, "boot_id": "b", "address": "http://127.0.0.1:9", "generation": 1,
            "workload": {"generation": 1, "deployment": "acme/web", "workload": zero, "state": state,
                "restarts": restarts, "message": ""},
        });
        serde_json::from_value(beat).expect("a heartbeat")
    }

    #[test]
    fn how_long_a_workload_has_been_ready_counts_from_when_that_was_heard_first() {
        let presence = Presence::new(Timestamp::default());
        let agent = AgentId::new("tiny-1").expect("a name");
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let hear = |seconds, beat| {
            presence.heartbeat(&agent, beat, at(seconds));
            presence.heard(&agent).expect("heard").ready_since
        };
        assert_eq!(hear(1, beat(1, "starting", 0)), None);
        assert_eq!(hear(2, beat(2, "ready", 0)), Some(at(2)));
        assert_eq!(hear(3, beat(3, "ready", 0)), Some(at(2)));
        assert_eq!(hear(4, beat(4, "unready", 0)), None);
        assert_eq!(hear(5, beat(5, "ready", 0)), Some(at(5)));
        let again = hear(6, beat(6, "ready", 1));
        assert_eq!(again, Some(at(6)), "it was started again in between");
        presence.listen_from(at(9));
        assert_eq!(
            hear(10, beat(7, "ready", 1)),
            Some(at(9)),
            "nobody listened"
        );
    }

    #[test]
    fn a_workload_that_ends_time_and_again_fails_from_its_first_end_on_although_it_is_ready_in_between()
     {
        let presence = Presence::new(Timestamp::default());
        let agent = AgentId::new("tiny-1").expect("a name");
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut sequence = 0;
        let mut hear = |seconds, state: &str, restarts| {
            sequence += 1;
            let mut beat = beat(sequence, state, restarts);
            let workload = beat.workload.as_mut().expect("a workload");
            workload.cause = (state != "ready").then_some(WorkloadCause::Exited);
            presence.heartbeat(&agent, beat, at(seconds));
            presence.heard(&agent).expect("heard").failing_since
        };
        // What had been started again before it was heard of is nobody's fault.
        assert_eq!(hear(1, "ready", 7), None);
        assert_eq!(hear(2, "restarting", 7), Some(at(2)));
        assert_eq!(hear(3, "ready", 8), None, "once");
        assert_eq!(hear(4, "ready", 9), None, "twice");
        assert_eq!(hear(6, "ready", 10), Some(at(2)), "three times");
        assert_eq!(hear(8, "restarting", 10), Some(at(2)));
        for seconds in (10..70).step_by(5) {
            assert_eq!(hear(seconds, "ready", 11), Some(at(2)), "at {seconds} s");
        }
        assert_eq!(hear(70, "ready", 11), None, "it was well for a minute");
        assert_eq!(hear(72, "restarting", 11), Some(at(72)), "another failing");
        assert_eq!(hear(73, "ready", 14), Some(at(72)));
        presence.listen_from(at(80));
        assert_eq!(hear(81, "ready", 14), None, "nobody listened");
        assert_eq!(hear(82, "ready", 0), None, "another agent's count");
    }

    #[test]
    fn how_long_a_workload_has_failed_by_its_own_fault_counts_from_what_interrupted_it_last() {
        let presence = Presence::new(Timestamp::default());
        let agent = AgentId::new("tiny-1").expect("a name");
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut sequence = 0;
        let mut hear = |seconds, state, cause: Option<&str>| {
            sequence += 1;
            let mut beat = beat(sequence, state, 0);
            let workload = beat.workload.as_mut().expect("a workload");
            let cause = cause.map(|cause| serde_json::from_value(cause.into()));
            workload.cause = cause.map(|cause| cause.expect("a cause"));
            presence.heartbeat(&agent, beat, at(seconds));
            let heard = presence.heard(&agent).expect("heard");
            (heard.ready_since, heard.failing_since)
        };
        assert_eq!(hear(1, "unready", Some("registry_down")), (None, None));
        let failing = hear(2, "unready", Some("probe_failing"));
        assert_eq!(failing, (None, Some(at(2))), "the outage is over");
        assert_eq!(hear(3, "starting", None), (None, Some(at(2))));
        assert_eq!(hear(4, "unready", Some("exited")), (None, Some(at(2))));
        assert_eq!(hear(5, "ready", None), (Some(at(5)), None));
        assert_eq!(hear(6, "unready", Some("exited")), (None, Some(at(6))));
        assert_eq!(hear(7, "unready", Some("engine_down")), (None, None));
        assert_eq!(hear(8, "unready", Some("exited")), (None, Some(at(8))));
        let back = hear(20, "unready", Some("exited"));
        assert_eq!(back, (None, Some(at(20))), "it was silent in between");
        let other = hear(21, "ready", Some("digest_mismatch"));
        assert_eq!(other, (None, Some(at(20))), "another image is not ready");
        assert_eq!(hear(22, "ready", None), (Some(at(22)), None));
        assert_eq!(hear(40, "ready", None), (Some(at(40)), None), "silent");
    }
}

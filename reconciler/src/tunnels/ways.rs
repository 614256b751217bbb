//! The ways that are there, for whoever answers agents and people. In memory: after a start it is found out again, and until then
//! what an agent serves already stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_plan::Trust;
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::wire::{ConnectorState, TunnelOrder};
use easyenclave_schemas::{AgentId, Digest, Hostname, Timestamp};
use easyenclave_tunnel::Tunnels;

use crate::observe::trust_now;
use crate::presence::Presence;
use crate::revision::Policies;
use crate::world::World;

/// An agent is given the token of its tunnel no more often than this: two calls of everybody's allowance each.
const BETWEEN: Duration = Duration::from_secs(5);

/// After a lost store an agent registers again, and what is published on it is decided anew: so long after it has registered
/// nothing of its way is taken away because of what is not decided yet.
const SETTLED: Duration = Duration::from_secs(30);

/// A way to one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where it answers for everybody.
    pub url: String,
    /// The connector that it needs, if any.
    pub connector: Option<Digest>,
}

/// Whether a way to an agent that is there may stay: something is published on it, and the last verdict stands. None is made and
/// no name is led there by that alone: see [`is_trusted`].
pub(super) fn serves(record: &AgentRecord, now: Timestamp) -> bool {
    record.exposed.is_some() && stands(record, now)
}

/// Whether the last verdict on an agent stands, under whichever policy: another policy takes nothing away before it has judged.
/// Its quarantine is recorded by a pass; when passes fail, trust ends all the same.
pub(super) fn stands(record: &AgentRecord, now: Timestamp) -> bool {
    let is_accepted =
        matches!(&record.trust, TrustRecord::Accepted(verdict) if verdict.trusted_until > now);
    is_accepted && record.quarantined.is_none()
}

/// Whether an agent is trusted now, under the policy in force and in the boot that showed its evidence.
pub(crate) fn is_trusted(
    world: &World,
    policies: &mut Policies<'_>,
    record: &AgentRecord,
    now: Timestamp,
) -> bool {
    let trust = trust_now(world, policies, record, now);
    matches!(trust, Trust::Accepted(until) if until > now)
}

/// Whether the evidence of an agent is refused. It is not to be reached, whoever else writes the status branch: in records that were
/// copied trust runs out, and nothing is refused because of that.
pub(super) fn is_refused(world: &World, agent: &AgentId) -> bool {
    let records = world.journal.read();
    let record = records.agents.get(agent);
    record.is_some_and(|record| matches!(record.trust, TrustRecord::Refused { .. }))
}

/// All ways.
#[derive(Default)]
pub struct Ways(Mutex<State>);

#[derive(Default)]
struct State {
    /// Who makes them; none before the first revision.
    by: Option<Arc<dyn Tunnels>>,
    ways: BTreeMap<AgentId, Way>,
    /// Agents that have had one since the start: what was decided about them is known.
    had: BTreeSet<AgentId>,
    asked: BTreeMap<AgentId, Timestamp>,
    /// Where names of deployments lead; none before they were listed.
    names: Option<BTreeMap<Hostname, AgentId>>,
    /// Those of them that nobody is served under.
    dead: BTreeSet<Hostname>,
}

impl Ways {
    /// Others make them from now on, and know none yet.
    pub fn by(&self, by: Option<Arc<dyn Tunnels>>) {
        *self.state() = State {
            by,
            ..State::default()
        };
    }

    /// An agent has this way now.
    pub fn is(&self, agent: AgentId, way: Way) {
        let mut state = self.state();
        state.had.insert(agent.clone());
        state.ways.insert(agent, way);
    }

    pub(super) fn is_not(&self, agent: &AgentId) {
        self.state().ways.remove(agent);
    }

    pub(super) fn retain(&self, keep: impl Fn(&AgentId) -> bool) {
        let mut state = self.state();
        state.ways.retain(|agent, _| keep(agent));
        state.asked.retain(|agent, _| keep(agent));
    }

    /// Forgets agents that are no more.
    pub(super) fn forget(&self, is_there: impl Fn(&AgentId) -> bool) {
        self.state().had.retain(is_there);
    }

    /// Where the names of deployments lead, once they were listed.
    pub fn names(&self) -> Option<BTreeMap<Hostname, AgentId>> {
        self.state().names.clone()
    }

    /// Names that lead somewhere on paper: somebody has changed how they are served.
    pub(super) fn dead(&self) -> BTreeSet<Hostname> {
        self.state().dead.clone()
    }

    /// All names as they were listed, and which of them are dead. Answers whether that is news.
    pub(super) fn lead(
        &self,
        names: BTreeMap<Hostname, AgentId>,
        mut dead: BTreeSet<Hostname>,
    ) -> bool {
        dead.retain(|name| names.contains_key(name));
        let names = Some(names);
        let mut state = self.state();
        let is_news = state.names != names || state.dead != dead;
        state.names = names;
        state.dead = dead;
        is_news
    }

    /// A name leads to this agent from now on, or to none of ours.
    pub(super) fn leads(&self, hostname: Hostname, to: Option<AgentId>) {
        let mut state = self.state();
        state.dead.remove(&hostname);
        if let Some(names) = &mut state.names {
            match to {
                Some(agent) => names.insert(hostname, agent),
                None => names.remove(&hostname),
            };
        }
    }

    /// Whether the way to an agent is open: its connector is connected, or it needs none. None where that is not known, as of
    /// an agent that has not been heard of since the start, or whose way has not been found yet.
    pub fn is_open(&self, agent: &AgentId, presence: &Presence) -> Option<bool> {
        let connector = self.state().ways.get(agent)?.connector;
        let Some(version) = connector else {
            return Some(true);
        };
        let serves = presence.heard(agent)?.connector;
        Some(serves.is_some_and(|serves| serves.version == version && serves.connected))
    }

    /// The own name of an agent, if it has one.
    pub(super) fn own(&self, agent: &AgentId) -> Option<Hostname> {
        let state = self.state();
        let way = state.ways.get(agent)?;
        way.connector?;
        Hostname::new(way.url.strip_prefix("https://")?).ok()
    }

    /// Whether what is decided about an agent has had its time, or was decided before.
    pub(super) fn is_settled(&self, record: &AgentRecord, now: Timestamp) -> bool {
        now >= record.registered_at.plus(SETTLED) || self.state().had.contains(&record.agent)
    }

    /// Which tunnel an agent should serve. Of one that should have one and whose own is not found yet, as after a start, the
    /// one that it serves is not taken away.
    pub fn order(
        &self,
        record: &AgentRecord,
        serves: Option<&ConnectorState>,
        now: Timestamp,
    ) -> Option<TunnelOrder> {
        let is_published = record.exposed.is_some() || !self.is_settled(record, now);
        let version = match self.state().ways.get(&record.agent) {
            _ if !is_published || !stands(record, now) => None,
            Some(way) => way.connector,
            None => serves.map(|serves| serves.version),
        };
        version.map(|version| TunnelOrder { version })
    }

    /// Who gives out the token of this agent's tunnel, if it is of this version and was not asked for just now.
    pub fn give(
        &self,
        agent: &AgentId,
        version: Digest,
        now: Timestamp,
    ) -> Result<Arc<dyn Tunnels>, NotNow> {
        let mut state = self.state();
        let way = state.ways.get(agent);
        let (Some(true), Some(by)) = (
            way.map(|way| way.connector == Some(version)),
            state.by.clone(),
        ) else {
            return Err(NotNow::Unknown);
        };
        let last = state.asked.get(agent).copied();
        if last.is_some_and(|last| last <= now && now.since(last) < BETWEEN) {
            return Err(NotNow::TooOften);
        }
        state.asked.insert(agent.clone(), now);
        Ok(by)
    }

    /// Where agents answer for everybody: those whose way is open.
    pub fn urls(&self, presence: &Presence) -> BTreeMap<AgentId, String> {
        let ways = self.state().ways.clone();
        let is_open = |(agent, _): &(AgentId, Way)| self.is_open(agent, presence) == Some(true);
        let ways = ways.into_iter().filter(is_open);
        ways.map(|(agent, way)| (agent, way.url)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an agent gets no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// There is no such tunnel of it.
    Unknown,
    /// It has just asked.
    TooOften,
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::records::QuarantineRecord;
    use easyenclave_tunnel::testing::{Memory, World};

    use super::*;

    const LATER: Timestamp = Timestamp::from_millis(60_000);

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    /// An agent that registered at the beginning of time.
    fn record(is_published: bool) -> AgentRecord {
        let zero = "00".repeat(48);
        let policy = Digest::of(b"policy");
        let verdict = serde_json::json!({
            "acceptedAt": "1970-01-01T00:00:00Z", "trustedUntil": "1970-01-01T01:00:00Z", "trustRoot": zero,
            "simulated": true, "tcbStatus": "UpToDate", "advisoryIds": [], "mrtd": zero,
            "rtmrs": [zero, zero, zero, zero], "mrseam": zero, "mrconfigid": zero, "fmspc": "000000000000",
            "policyDigest": policy, "evidenceDigest": policy, "collateralDigest": policy,
        });
        let record = serde_json::json!({
            "agent": "a", "target": "tiny", "slot": 0, "datacenter": "local", "size": "tiny",
            "provider": "local", "worker": "worker-1", "publicKey": "00", "address": "http://127.0.0.1:9",
            "bootId": "b", "version": "0", "registeredAt": "1970-01-01T00:00:00Z",
            "trust": {"accepted": verdict},
            "generation": 1, "exposed": is_published.then_some("acme/web"),
        });
        serde_json::from_value(record).expect("a record")
    }

    fn version(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn way(text: &str) -> Way {
        Way {
            url: "https://a.example.com".into(),
            connector: Some(version(text)),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_agent_serves_what_is_published_on_it_and_keeps_what_is_not_known_yet() {
        let serves = ConnectorState {
            version: version("old"),
            connected: true,
        };
        let ways = Ways::default();
        let order = |record: &AgentRecord, now| {
            let order = ways.order(record, Some(&serves), now);
            order.map(|order| order.version)
        };
        assert_eq!(order(&record(true), LATER), Some(version("old")), "a start");
        assert_eq!(order(&record(false), LATER), None);
        assert_eq!(
            order(&record(false), at(1)),
            Some(version("old")),
            "a lost store"
        );
        let mut lapsed = record(true);
        lapsed.quarantined = Some(QuarantineRecord::TrustLapsed);
        assert_eq!(order(&lapsed, at(1)), None);
        let hour = at(3_600_000);
        assert_eq!(order(&record(true), hour), None, "no pass has said so");
        assert!(super::serves(&record(true), LATER) && !super::serves(&record(true), hour));
        ways.is(name("a"), way("new"));
        assert_eq!(order(&record(true), LATER), Some(version("new")));
        assert_eq!(order(&lapsed, LATER), None);
        assert_eq!(order(&record(false), at(1)), None, "it was decided before");
    }

    #[test]
    fn a_token_is_given_for_the_tunnel_of_now_and_not_too_often() {
        let ways = Ways::default();
        let agent: AgentId = name("a");
        let give = |text, now| ways.give(&agent, version(text), now).map(drop);
        assert_eq!(give("new", LATER), Err(NotNow::Unknown));
        ways.by(Some(Arc::new(Memory {
            world: World::default(),
        })));
        ways.is(agent.clone(), way("new"));
        assert_eq!(give("old", LATER), Err(NotNow::Unknown));
        assert_eq!(give("new", LATER), Ok(()));
        assert_eq!(give("new", LATER.plus(BETWEEN / 2)), Err(NotNow::TooOften));
        assert_eq!(give("new", LATER.plus(BETWEEN)), Ok(()));
        ways.retain(|_| false);
        assert_eq!(give("new", LATER.plus(BETWEEN * 2)), Err(NotNow::Unknown));
    }

    #[test]
    fn names_are_known_once_they_were_listed() {
        let ways = Ways::default();
        let (app, agent): (Hostname, AgentId) = (name("app.example.com"), name("a"));
        ways.leads(app.clone(), Some(agent.clone()));
        assert_eq!(ways.names(), None);
        let none = BTreeSet::new;
        assert!(ways.lead(BTreeMap::new(), none()));
        assert!(!ways.lead(BTreeMap::new(), none()), "no news");
        ways.leads(app.clone(), Some(agent.clone()));
        let names: BTreeMap<_, _> = [(app.clone(), agent.clone())].into();
        assert_eq!(ways.names(), Some(names.clone()));
        assert!(ways.lead(names.clone(), [app.clone()].into()));
        assert!(!ways.lead(names, [app.clone()].into()), "no news");
        assert_eq!(ways.dead(), [app.clone()].into());
        ways.leads(app.clone(), Some(agent));
        assert_eq!(ways.dead(), none(), "it was pointed anew");
        ways.leads(app, None);
        assert_eq!(ways.names(), Some(BTreeMap::new()));
        ways.by(None);
        assert_eq!(ways.names(), None, "others make them");
    }

    #[test]
    fn a_way_is_open_when_it_needs_no_connector_and_unknown_until_it_is_found() {
        let (ways, presence) = (Ways::default(), Presence::new(LATER));
        let agent: AgentId = name("a");
        assert_eq!(ways.is_open(&agent, &presence), None);
        ways.is(agent.clone(), way("new"));
        assert_eq!(ways.is_open(&agent, &presence), None, "not heard of");
        assert_eq!(ways.own(&agent), Some(name("a.example.com")));
        let connector = None;
        let url = "http://127.0.0.1:1".into();
        ways.is(agent.clone(), Way { url, connector });
        assert_eq!(ways.is_open(&agent, &presence), Some(true));
        assert_eq!(ways.own(&agent), None);
    }
}

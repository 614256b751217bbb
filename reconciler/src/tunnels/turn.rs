//! One look at the records: which ways are missing, which are others than they should be, and which are too many. What is taken
//! back comes first, and is taken away from its agent before its tunnel is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::documents::TunnelSpec;
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::{AgentId, FleetId, Secret, Timestamp};
use easyenclave_tunnel::{Listing, Route, Tunnels};

use super::jobs::{Done, Job, Jobs};
use super::{Way, open};
use crate::observe::unheard_places;
use crate::revision::Revision;
use crate::world::World;

/// What is there is listed this often, whatever is known.
const LIST: Duration = Duration::from_secs(60);

/// The tunnel of an agent that no record has is left alone until everybody had so long to be heard of: after a lost store all
/// agents are unknown for a while, and serve.
const UNKNOWN: Duration = Duration::from_secs(600);

/// Who makes ways, for whom, and by which document.
struct Maker {
    fleet: FleetId,
    spec: TunnelSpec,
    /// None where the document lets nobody make them.
    by: Option<Arc<dyn Tunnels>>,
}

pub(super) struct Turns {
    token: Option<Secret<String>>,
    maker: Option<Maker>,
    jobs: Jobs,
    /// Routes as they were made last.
    made: BTreeMap<AgentId, Route>,
    /// Agents of which something is there.
    there: BTreeSet<AgentId>,
    listed: Option<Timestamp>,
}

impl Turns {
    pub(super) fn new(token: Option<Secret<String>>) -> Self {
        Self {
            token,
            maker: None,
            jobs: Jobs::default(),
            made: BTreeMap::new(),
            there: BTreeSet::new(),
            listed: None,
        }
    }

    /// Begins what is to be done now. Answers when to look again, if something rests.
    pub(super) fn begin(&mut self, world: &World, now: Timestamp) -> Option<Timestamp> {
        let revision = world.revision()?;
        let by = self.by(world, &revision)?;
        let wanted = wanted(world);
        world.ways.retain(|agent| wanted.contains_key(agent));
        let records = world.journal.read();
        world
            .ways
            .forget(|agent| records.agents.contains_key(agent));
        drop(records);
        let there = &self.there;
        self.jobs
            .retain(|agent| wanted.contains_key(agent) || there.contains(agent));
        for agent in self
            .there
            .iter()
            .filter(|agent| !wanted.contains_key(*agent))
        {
            if may_go(world, &revision, agent, now) {
                self.jobs.begin(&by, Job::Remove(agent.clone()), now);
            }
        }
        for (agent, route) in wanted {
            // One whose workload was not heard of has what it has.
            if let Some(route) = route.filter(|route| self.made.get(&agent) != Some(route)) {
                self.there.insert(agent);
                self.jobs.begin(&by, Job::Ensure(route), now);
            }
        }
        if self
            .listed
            .is_none_or(|listed| now < listed || now.since(listed) >= LIST)
        {
            self.jobs.begin(&by, Job::List, now);
        }
        self.jobs.next(now)
    }

    /// Waits until a call has ended.
    pub(super) async fn ended(&mut self, world: &World) {
        match self.jobs.ended(world).await {
            Some(Done::Listed(listing)) => self.listed(&listing, world.clock.now()),
            Some(Done::Ensured(route, ensured)) => {
                let (url, connector) = (ensured.url, ensured.connector);
                world.ways.is(route.agent.clone(), Way { url, connector });
                // A listing that was begun before lacks it.
                self.there.insert(route.agent.clone());
                self.made.insert(route.agent.clone(), route);
                world.wake.notify_one();
            }
            Some(Done::Removed(agent)) => {
                tracing::info!(%agent, "its tunnel is gone");
                self.made.remove(&agent);
                self.there.remove(&agent);
                world.ways.is_not(&agent);
            }
            Some(Done::Failed(..)) | None => {}
        }
    }

    /// Routes that are not there any more are made again.
    fn listed(&mut self, listing: &Listing, now: Timestamp) {
        self.listed = Some(now);
        for strange in &listing.strange {
            tracing::warn!(strange, "it looks like ours and is not");
        }
        self.there = listing.ours.iter().map(|seen| seen.agent.clone()).collect();
        let whole = listing
            .ours
            .iter()
            .filter(|seen| seen.tunnel.is_some() && seen.left.is_empty());
        let whole: BTreeSet<&AgentId> = whole.map(|seen| &seen.agent).collect();
        self.made.retain(|agent, _| whole.contains(agent));
    }

    /// Who makes the ways by the revision of now.
    fn by(&mut self, world: &World, revision: &Revision) -> Option<Arc<dyn Tunnels>> {
        let (fleet, spec) = (&revision.desired.fleet, &revision.tunnel);
        let is = |maker: &Maker| maker.fleet == *fleet && maker.spec == *spec;
        if !self.maker.as_ref().is_some_and(is) {
            let by = open(fleet, spec, self.token.as_ref());
            if let Err(error) = &by {
                world.refuse("tunnel_needs_person", "tunnels", &error.to_string());
            }
            let by = by.ok();
            world.ways.by(by.clone());
            self.jobs.forget();
            (self.made, self.there, self.listed) = Default::default();
            self.maker = Some(Maker {
                fleet: fleet.clone(),
                spec: spec.clone(),
                by,
            });
        }
        self.maker.as_ref()?.by.clone()
    }
}

/// The agents that something is published on, each with its route if its workload was heard of.
fn wanted(world: &World) -> BTreeMap<AgentId, Option<Route>> {
    let records = world.journal.read();
    let is_published =
        |record: &&Arc<AgentRecord>| record.exposed.is_some() && record.quarantined.is_none();
    let published = records.agents.values().filter(is_published);
    let route = |record: &Arc<AgentRecord>| {
        let agent = record.agent.clone();
        let outside = world.presence.url(&agent)?;
        Some(Route {
            inside: inside(&outside)?,
            outside,
            hostnames: BTreeSet::new(),
            agent,
        })
    };
    published
        .map(|record| (record.agent.clone(), route(record)))
        .collect()
}

/// Where a workload answers on its own machine, by where it answers for others: on the same port.
fn inside(outside: &str) -> Option<String> {
    let port = outside.rsplit_once(':')?.1.trim_end_matches('/');
    let port: u16 = port.parse().ok()?;
    Some(format!("http://127.0.0.1:{port}"))
}

/// Whether the tunnel of an agent on which nothing is published may be removed: at once if it has lost its trust, and else as soon
/// as its record is settled. One that no record has may be another's, or the records may be young: it has to be unheard of for
/// long, and to be in no worker's listing.
fn may_go(world: &World, revision: &Revision, agent: &AgentId, now: Timestamp) -> bool {
    if let Some(record) = world.journal.read().agents.get(agent) {
        return record.quarantined.is_some() || world.ways.is_settled(record, now);
    }
    let presence = &world.presence;
    let has_waited = now >= presence.listening().plus(UNKNOWN) && !presence.awaits_others(now);
    let is_whole = unheard_places(world, revision, now).is_empty();
    has_waited
        && is_whole
        && presence.heard(agent).is_none()
        && presence.listed(&agent.order()).is_none()
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_workload_answers_on_the_same_port_on_its_machine() {
        assert_eq!(
            inside("http://192.0.2.1:8080").as_deref(),
            Some("http://127.0.0.1:8080")
        );
        assert_eq!(
            inside("http://[::1]:9/").as_deref(),
            Some("http://127.0.0.1:9")
        );
        assert_eq!(inside("http://example.com"), None);
    }
}

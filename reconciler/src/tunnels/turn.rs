//! One look at the records: which ways and names are missing, which are others than they should be, and which are too many. What
//! is taken back comes first, and is taken away from its agent before its tunnel is removed. A name is led away before that, once:
//! if that fails, the tunnel goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_plan::Frozen;
use easyenclave_schemas::documents::TunnelSpec;
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::{AgentId, DeploymentId, FleetId, Hostname, Secret, Timestamp};
use easyenclave_tunnel::{Listing, Route, Tunnels};

use super::jobs::{Done, Job, Jobs, Matter, Verb};
use super::ways::{is_refused, is_trusted, serves, stands};
use super::{Way, Ways, open};
use crate::observe::unheard_places;
use crate::revision::{Policies, Revision};
use crate::world::World;

/// What is there is listed this often, whatever is known.
const LIST: Duration = Duration::from_secs(60);

/// What was made is looked at again after this: somebody may have changed what a listing does not show. It takes three calls, so
/// that many agents are looked at less often.
const LOOK: Duration = Duration::from_secs(600);

/// So long is left between two such looks, counted over all agents.
const APART: Duration = Duration::from_secs(3);

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
    seen: Seen,
    /// Whether it was told that what should go stays.
    kept: bool,
}

/// What was found and made since others make the ways.
#[derive(Default)]
struct Seen {
    /// Routes as they were made last, and when.
    made: BTreeMap<AgentId, (Route, Timestamp)>,
    /// Agents of which something is there.
    there: BTreeSet<AgentId>,
    listed: Option<Timestamp>,
    /// Names that moved while the listing was read that is under way.
    moved: BTreeSet<Hostname>,
    /// What was told last of what is not ours.
    strange: Vec<String>,
}

impl Turns {
    pub(super) fn new(token: Option<Secret<String>>) -> Self {
        Self {
            token,
            maker: None,
            jobs: Jobs::default(),
            seen: Seen::default(),
            kept: false,
        }
    }

    /// Begins what is to be done now. Answers when to look again, if something rests.
    pub(super) fn begin(&mut self, world: &World, now: Timestamp) -> Option<Timestamp> {
        let revision = world.revision()?;
        let by = self.by(world, &revision)?;
        let wanted = wanted(world, &revision, now);
        world.ways.retain(|agent| wanted.contains_key(agent));
        let records = world.journal.read();
        world
            .ways
            .forget(|agent| records.agents.contains_key(agent));
        drop(records);
        let there = &self.seen.there;
        self.jobs.retain(|matter| match matter {
            Matter::Agent(agent) => wanted.contains_key(agent) || there.contains(agent),
            Matter::All | Matter::Name(_) => true,
        });
        self.name(world, &revision, &by, now);
        self.remove(world, &revision, &by, (&wanted, now));
        self.ensure(&by, wanted, now);
        self.list(&by, now);
        self.jobs.next(now)
    }

    /// Leads names to where they were decided to lead, and takes those away that nobody wants.
    fn name(&mut self, world: &World, revision: &Revision, by: &Arc<dyn Tunnels>, now: Timestamp) {
        let Some(names) = world.ways.names() else {
            return;
        };
        let records = world.journal.read();
        let mut policies = Policies::new(revision);
        let decided = records.agents.values().filter_map(|record| {
            let hostname = record.hostname.clone()?;
            let may = serves(record, now) && is_trusted(world, &mut policies, record, now);
            may.then(|| (hostname, record.agent.clone()))
        });
        let decided: BTreeMap<Hostname, AgentId> = decided.collect();
        let is_decided = |name: &Hostname| {
            let mut all = records.agents.values();
            all.any(|record| record.hostname.as_ref() == Some(name))
        };
        let unwanted = names.iter().filter(|(name, agent)| {
            let record = records.agents.get(*agent);
            !is_decided(name) && record.is_some_and(|of| is_unwanted(revision, of, name))
        });
        let unwanted: Vec<Hostname> = unwanted.map(|(name, _)| name.clone()).collect();
        drop(records);
        let dead = world.ways.dead();
        for (name, agent) in decided {
            let before = names.get(&name);
            let goes = before.is_some_and(|before| self.is_removed(before));
            let is_there = before == Some(&agent) && !dead.contains(&name);
            if !is_there && !goes && self.lets_in(&agent, &name) {
                self.jobs.begin(by, Job::Point(name, agent), now);
            }
        }
        for name in unwanted {
            if self.may_remove(world) {
                self.jobs.begin(by, Job::Unpoint(name), now);
            }
        }
    }

    /// Whether an agent's tunnel is being removed.
    fn is_removed(&self, agent: &AgentId) -> bool {
        self.jobs.busy(&Matter::Agent(agent.clone())) == Some(Verb::Remove)
    }

    /// Whether the tunnel of an agent lets a name in already.
    fn lets_in(&self, agent: &AgentId, name: &Hostname) -> bool {
        let made = self.seen.made.get(agent);
        made.is_some_and(|(route, _)| route.hostnames.contains(name))
    }

    /// Removes what is there of agents that serve nobody any more, unless a name is being led away from there just now.
    fn remove(
        &mut self,
        world: &World,
        revision: &Revision,
        by: &Arc<dyn Tunnels>,
        (wanted, now): (&BTreeMap<AgentId, Option<Route>>, Timestamp),
    ) {
        let names = world.ways.names().unwrap_or_default();
        let gone = self.seen.there.iter();
        let gone = gone.filter(|agent| !wanted.contains_key(*agent));
        for agent in gone.cloned().collect::<Vec<_>>() {
            let mut own = names.iter().filter(|(_, to)| **to == agent);
            let moves = own.any(|(name, _)| self.jobs.busy(&Matter::Name(name.clone())).is_some());
            let goes = !moves && may_go(world, revision, &agent, now);
            if goes && (is_refused(world, &agent) || self.may_remove(world)) {
                self.jobs.begin(by, Job::Remove(agent), now);
            }
        }
    }

    /// Whether anything may go for what records do not say any more. A copy of this reconciler beside it, which knows old ones only,
    /// would take away what serves: see [`crate::sole`].
    fn may_remove(&mut self, world: &World) -> bool {
        let may = world.sole.is_sole();
        if !may && !self.kept {
            let message = "no tunnel and no name is removed before the status branch is known to be written by nobody else";
            world.refuse("tunnels_kept", "tunnels", message);
        }
        self.kept = !may;
        may
    }

    /// Makes what is missing or another than it should be, and looks at the rest now and then.
    fn ensure(
        &mut self,
        by: &Arc<dyn Tunnels>,
        wanted: BTreeMap<AgentId, Option<Route>>,
        now: Timestamp,
    ) {
        // One that nothing is to be made for has what it has.
        let routes = wanted.into_iter();
        let routes = routes.filter_map(|(agent, route)| Some((agent, route?)));
        let mut oldest: Option<(Timestamp, Route)> = None;
        for (agent, route) in routes {
            match self.seen.made.get(&agent) {
                Some((made, at)) if *made == route => {
                    if oldest.as_ref().is_none_or(|(oldest, _)| at < oldest) {
                        oldest = Some((*at, route));
                    }
                }
                _ => {
                    self.seen.there.insert(agent);
                    self.jobs.begin(by, Job::Ensure(route), now);
                }
            }
        }
        let many = u32::try_from(self.seen.made.len()).unwrap_or(u32::MAX);
        let after = LOOK.max(APART.saturating_mul(many));
        if let Some((_, route)) = oldest.filter(|(at, _)| now.since(*at) >= after) {
            self.jobs.begin(by, Job::Ensure(route), now);
        }
    }

    fn list(&mut self, by: &Arc<dyn Tunnels>, now: Timestamp) {
        let is_due = |listed: Timestamp| now < listed || now.since(listed) >= LIST;
        if self.seen.listed.is_none_or(is_due) && self.jobs.busy(&Matter::All).is_none() {
            self.seen.moved.clear();
            self.jobs.begin(by, Job::List, now);
        }
    }

    /// Waits until a call has ended.
    pub(super) async fn ended(&mut self, world: &World) {
        let now = || world.clock.now();
        match self.jobs.ended(world).await {
            Some(Done::Listed(listing)) => {
                if self.seen.listed(&world.ways, listing, now()) {
                    world.wake.notify_one();
                }
            }
            Some(Done::Ensured(route, ensured)) => {
                let (url, connector) = (ensured.url, ensured.connector);
                world.ways.is(route.agent.clone(), Way { url, connector });
                // A listing that was begun before lacks it.
                self.seen.there.insert(route.agent.clone());
                self.seen.made.insert(route.agent.clone(), (route, now()));
                world.wake.notify_one();
            }
            Some(Done::Removed(agent)) => {
                tracing::info!(%agent, "its tunnel is gone");
                self.seen.made.remove(&agent);
                self.seen.there.remove(&agent);
                world.ways.is_not(&agent);
                let names = world.ways.names().unwrap_or_default();
                for (name, _) in names.into_iter().filter(|(_, to)| *to == agent) {
                    self.moved(world, name, None);
                }
            }
            Some(Done::Pointed(name, agent)) => {
                tracing::info!(%name, %agent, "a name leads to another agent");
                self.moved(world, name, Some(agent));
            }
            Some(Done::Unpointed(name)) => {
                tracing::info!(%name, "a name is gone");
                self.moved(world, name, None);
            }
            Some(Done::Failed(..)) | None => {}
        }
    }

    fn moved(&mut self, world: &World, name: Hostname, to: Option<AgentId>) {
        self.seen.moved.insert(name.clone());
        world.ways.leads(name, to);
        world.wake.notify_one();
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
            self.seen = Seen::default();
            self.maker = Some(Maker {
                fleet: fleet.clone(),
                spec: spec.clone(),
                by,
            });
        }
        self.maker.as_ref()?.by.clone()
    }
}

impl Seen {
    /// Takes a listing in: routes that are not there any more are made again. Answers whether a name leads elsewhere than was
    /// known.
    fn listed(&mut self, ways: &Ways, listing: Listing, now: Timestamp) -> bool {
        self.listed = Some(now);
        if self.strange != listing.strange {
            for strange in &listing.strange {
                tracing::warn!(strange, "it looks like ours and is not");
            }
            self.strange = listing.strange;
        }
        self.there = listing.ours.iter().map(|seen| seen.agent.clone()).collect();
        let whole = listing.ours.iter().filter(|seen| {
            let own = ways.own(&seen.agent);
            let is_named =
                own.is_none_or(|own| seen.hostnames.contains(&own) && !seen.dead.contains(&own));
            seen.tunnel.is_some() && seen.left.is_empty() && is_named
        });
        let whole: BTreeSet<&AgentId> = whole.map(|seen| &seen.agent).collect();
        self.made.retain(|agent, _| whole.contains(agent));
        let known = ways.names().unwrap_or_default();
        let mut names: BTreeMap<Hostname, AgentId> = listing.ours.iter().flat_map(names).collect();
        names.retain(|name, _| !self.moved.contains(name));
        names.extend(
            known
                .into_iter()
                .filter(|(name, _)| self.moved.contains(name)),
        );
        let dead = listing.ours.into_iter().flat_map(|seen| seen.dead);
        let dead = dead.filter(|name| !self.moved.contains(name)).collect();
        ways.lead(names, dead)
    }
}

/// The names of deployments that lead to an agent: all but its own, whose first label is the agent's id.
fn names(seen: &easyenclave_tunnel::Seen) -> impl Iterator<Item = (Hostname, AgentId)> {
    let is_own = |name: &&Hostname| name.as_str().split('.').next() == Some(seen.agent.as_str());
    let names = seen.hostnames.iter().filter(move |name| !is_own(name));
    names.map(|name| (name.clone(), seen.agent.clone()))
}

/// Whether a name leads to an agent for no reason: what is published there is wanted, under another name or none, and nothing
/// else is wanted under this one. As long as anything of that is not known, it stays.
fn is_unwanted(revision: &Revision, record: &AgentRecord, name: &Hostname) -> bool {
    let desired = &revision.desired;
    let is_known = |deployment: &DeploymentId| {
        let frozen = Frozen::Deployment(deployment.clone());
        desired.deployments.contains_key(deployment) && !desired.frozen.contains_key(&frozen)
    };
    let is_published = record.exposed.as_ref().is_some_and(is_known);
    is_published && !desired.hostnames.values().any(|wanted| wanted == name)
}

/// The agents that something is published on, each with its route if it is trusted now and its workload was heard of.
fn wanted(world: &World, revision: &Revision, now: Timestamp) -> BTreeMap<AgentId, Option<Route>> {
    let records = world.journal.read();
    let published = records.agents.values();
    let published = published.filter(|record| serves(record, now));
    let mut policies = Policies::new(revision);
    let mut route = |record: &Arc<AgentRecord>| {
        if !is_trusted(world, &mut policies, record, now) {
            return None;
        }
        let agent = record.agent.clone();
        let outside = world.presence.url(&agent)?;
        // All replicas let the name in, so that it can be led to any of them by one change.
        let wanted = record.exposed.as_ref();
        let wanted = wanted.and_then(|deployment| revision.desired.hostnames.get(deployment));
        Some(Route {
            inside: inside(&outside)?,
            outside,
            hostnames: wanted
                .into_iter()
                .chain(&record.hostname)
                .cloned()
                .collect(),
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
        return !stands(record, now) || world.ways.is_settled(record, now);
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
    use easyenclave_tunnel::Link;

    use super::*;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    fn route(agent: &str) -> Route {
        Route {
            agent: name(agent),
            inside: "http://127.0.0.1:1".into(),
            outside: "http://127.0.0.1:1".into(),
            hostnames: BTreeSet::new(),
        }
    }

    fn there(agent: &str, labels: &[&str]) -> easyenclave_tunnel::Seen {
        let names = labels
            .iter()
            .map(|label| name(&format!("{label}.example.com")));
        easyenclave_tunnel::Seen {
            agent: name(agent),
            tunnel: Some(Link::Connected),
            hostnames: names.collect(),
            dead: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    /// Two agents whose ways were made.
    fn two() -> (Seen, Ways) {
        let (mut seen, ways) = (Seen::default(), Ways::default());
        for agent in ["a", "b"] {
            let url = format!("https://{agent}.example.com");
            let connector = Some(easyenclave_schemas::Digest::of(agent.as_bytes()));
            ways.is(name(agent), Way { url, connector });
            let made = (route(agent), Timestamp::default());
            seen.made.insert(name(agent), made);
        }
        (seen, ways)
    }

    fn listing(ours: Vec<easyenclave_tunnel::Seen>) -> Listing {
        let strange = Vec::new();
        Listing { ours, strange }
    }

    fn left(seen: &Seen) -> Vec<&str> {
        seen.made.keys().map(AgentId::as_str).collect()
    }

    #[test]
    fn what_somebody_has_taken_away_is_made_again() {
        let (mut seen, ways) = two();
        let all = vec![there("a", &["a"]), there("b", &["b", "app"])];
        assert!(seen.listed(&ways, listing(all.clone()), Timestamp::default()));
        assert_eq!(left(&seen), ["a", "b"]);
        assert!(
            !seen.listed(&ways, listing(all), Timestamp::default()),
            "no news"
        );
        let nameless = vec![there("a", &[]), there("b", &["b"])];
        assert!(seen.listed(&ways, listing(nameless), Timestamp::default()));
        assert_eq!(left(&seen), ["b"], "the own name of a is gone");
        assert_eq!(ways.names(), Some(BTreeMap::new()), "and so is app");
        seen.listed(&ways, listing(Vec::new()), Timestamp::default());
        assert_eq!(left(&seen), [] as [&str; 0]);
    }

    #[test]
    fn a_name_that_moved_while_a_listing_was_read_is_where_it_was_led() {
        let (mut seen, ways) = two();
        let (app, web): (Hostname, Hostname) = (name("app.example.com"), name("web.example.com"));
        ways.lead(BTreeMap::new(), BTreeSet::new());
        for (moved, to) in [(&app, Some(name("b"))), (&web, None)] {
            ways.leads(moved.clone(), to);
            seen.moved.insert(moved.clone());
        }
        let old = vec![there("a", &["a", "app", "web"]), there("b", &["b"])];
        seen.listed(&ways, listing(old), Timestamp::default());
        assert_eq!(ways.names(), Some([(app, name("b"))].into()));
    }

    #[test]
    fn a_name_that_somebody_has_taken_off_the_edge_is_led_anew() {
        let (mut seen, ways) = two();
        let app: Hostname = name("app.example.com");
        let mut all = vec![there("a", &["a"]), there("b", &["b", "app"])];
        all[0].dead = [name("a.example.com")].into();
        all[1].dead = [app.clone()].into();
        assert!(seen.listed(&ways, listing(all.clone()), Timestamp::default()));
        assert_eq!(left(&seen), ["b"], "the own name of a is to be mended");
        assert_eq!(ways.names(), Some([(app.clone(), name("b"))].into()));
        assert_eq!(ways.dead(), [app.clone()].into());
        ways.leads(app.clone(), Some(name("b")));
        seen.moved.insert(app);
        seen.listed(&ways, listing(all), Timestamp::default());
        assert_eq!(ways.dead(), BTreeSet::new(), "mended while it was read");
    }

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

//! What the agents that carry a deployment come to. Counts readiness conservatively: what is not known is not
//! ready, and is not missing either.

use std::time::Duration;

use easyenclave_schemas::{Digest, Timestamp};

use crate::Deployment;
use crate::draft::{Draft, Fate};
use crate::view::{AgentIx, DeploymentIx, Standing, View, number};

/// The replicas of one deployment.
#[derive(Default)]
pub(crate) struct Census {
    /// Where they should be, and not to be touched: silent, unjudged, frozen, or in a pool that fails as a whole.
    pub(crate) fixed: Vec<AgentIx>,
    /// Where they should not be any more, and not to be touched.
    pub(crate) stuck: Vec<AgentIx>,
    /// Of both, how many serve.
    fixed_serving: u32,
    /// Where they should be.
    pub(crate) good: Vec<Replica>,
    /// On agents where they should not be any more.
    pub(crate) movers: Vec<Replica>,
    /// On agents in quarantine.
    pub(crate) bad: Vec<AgentIx>,
    /// Where they should be, running without having been decided here.
    pub(crate) strays: Vec<AgentIx>,
}

/// A replica that may be touched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica {
    pub(crate) agent: AgentIx,
    pub(crate) ready: bool,
    /// Whether it is ready and, where that matters, published. One of the aim must have been so for long enough.
    pub(crate) serves: bool,
    /// Whether it is ready, or goes on serving while it prepares what it is told. That is no promise, and counts for no budget.
    pub(crate) of_use: bool,
    /// Whether it is told to run the version that is aimed at.
    pub(crate) current: bool,
    /// Whether that has proved good on it.
    pub(crate) steady: bool,
    /// A name leads to it that may lead to another: it is not taken away before.
    pub(crate) fronts: bool,
    /// Its agent cannot run the version that is aimed at: another takes its place before it goes.
    pub(crate) bound: bool,
}

/// What is seen of all replicas together.
#[derive(Clone, Copy)]
struct Seen {
    /// Some are published.
    published: bool,
    /// So many a name could lead to.
    others: usize,
}

enum Role {
    Out,
    Fixed { serves: bool, fits: bool },
    Good(Replica),
    Mover(Replica),
    Bad,
    Stray,
}

impl Census {
    /// Counts anew, after what was decided so far.
    pub(crate) fn count(
        &mut self,
        view: &View,
        draft: &Draft,
        deployment: DeploymentIx,
        spec: &Deployment,
    ) {
        self.clear();
        let published = spec.exposed && view.replicas(deployment).any(|a| view.agent(a).exposed);
        let others = others(view, draft, deployment);
        let seen = Seen { published, others };
        for agent in view.replicas(deployment) {
            match role(view, draft, agent, deployment, seen) {
                Role::Out => {}
                Role::Fixed { serves, fits } => {
                    self.fixed_serving += u32::from(serves);
                    let list = if fits {
                        &mut self.fixed
                    } else {
                        &mut self.stuck
                    };
                    list.push(agent);
                }
                Role::Good(replica) => self.good.push(replica),
                Role::Mover(replica) => self.movers.push(replica),
                Role::Bad => self.bad.push(agent),
                Role::Stray => self.strays.push(agent),
            }
        }
    }

    fn clear(&mut self) {
        self.fixed.clear();
        self.stuck.clear();
        self.fixed_serving = 0;
        self.good.clear();
        self.movers.clear();
        self.bad.clear();
        self.strays.clear();
    }

    /// A replica that runs, well or not, in another version than the aim, without having been decided here.
    pub(crate) fn add_old(&mut self, agent: AgentIx, runs_well: bool) {
        self.good.push(Replica {
            agent,
            ready: runs_well,
            serves: runs_well,
            of_use: runs_well,
            current: false,
            steady: false,
            fronts: false,
            bound: false,
        });
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_settled(&self, spec: &Deployment) -> bool {
        let fine = |r: &Replica| r.ready && r.current;
        number(self.good.len()) == spec.replicas
            && self.good.iter().all(fine)
            && self.fixed.is_empty()
            && self.stuck.is_empty()
            && self.movers.is_empty()
            && self.bad.is_empty()
            && self.strays.is_empty()
    }

    /// Whether the aim has proved good: on each wanted replica, or on each that is there once those had their time. What
    /// cannot be placed does not keep a version from having proved good.
    pub(crate) fn is_steady(&self, view: &View, spec: &Deployment) -> bool {
        let there = || self.good.iter().chain(&self.movers);
        let is_alone = self.fixed.is_empty()
            && self.stuck.is_empty()
            && self.bad.is_empty()
            && self.strays.is_empty();
        let within = view.ready_within(spec);
        let is_over = |r: &Replica| view.agent(r.agent).is_over(within, view.now);
        let is_time = self.is_settled(spec) || (there().next().is_some() && there().all(is_over));
        is_alone && is_time && there().all(|r| r.ready && r.current && r.steady)
    }

    /// Whether a replica has, or may have, another version than the aim.
    pub(crate) fn is_mixed(&self, view: &View, aim: Digest) -> bool {
        let is_other = |replica: &Replica| !replica.current;
        self.good.iter().chain(&self.movers).any(is_other)
            || self.fixed.iter().any(|a| !view.agent(*a).current)
            || self
                .strays
                .iter()
                .any(|a| view.agent(*a).runs() != Some(aim))
    }

    /// How many replicas in place have a version, or may have: undecided ones too.
    pub(crate) fn updated(&self, view: &View, aim: Digest) -> u32 {
        let good = self.good.iter().filter(|replica| replica.current).count();
        number(good + self.unproved(view, aim).count())
    }

    /// Whether all of them have proved good. What is not known of a replica proves nothing.
    pub(crate) fn is_good_so_far(&self, view: &View, aim: Digest) -> bool {
        let mut updated = self.good.iter().filter(|replica| replica.current);
        updated.all(|replica| replica.steady) && self.unproved(view, aim).next().is_none()
    }

    /// How many replicas of the aim are ready, and have not been so for long enough.
    pub(crate) fn young(&self) -> u32 {
        number(self.young_ones().count())
    }

    /// When the next of them will have been.
    pub(crate) fn ripens(&self, view: &View, least: Duration) -> Option<Timestamp> {
        let since = self
            .young_ones()
            .filter_map(|replica| view.agent(replica.agent).ready_since());
        since.min().map(|since| since.plus(least))
    }

    fn young_ones(&self) -> impl Iterator<Item = &Replica> {
        let is_young = |r: &&Replica| r.current && r.ready && !r.steady;
        self.good.iter().chain(&self.movers).filter(is_young)
    }

    /// Replicas that have a version and of which more is not known.
    fn unproved(&self, view: &View, aim: Digest) -> impl Iterator<Item = &AgentIx> {
        let fixed = self.fixed.iter().filter(|a| view.agent(**a).current);
        let strays = self.strays.iter();
        fixed.chain(strays.filter(move |a| view.agent(**a).runs() == Some(aim)))
    }

    /// Replicas that count as there.
    pub(crate) fn placed(&self) -> u32 {
        self.in_place() + number(self.stuck.len())
    }

    /// Replicas that are, or may be, where they should be.
    pub(crate) fn in_place(&self) -> u32 {
        number(self.good.len() + self.fixed.len())
    }

    /// Replicas that serve. Once some are published, only those do: a replica that is ready and not
    /// published yet does not make up for one that is taken away. While none is, nothing waits for the
    /// tunnel.
    pub(crate) fn serving(&self) -> u32 {
        serving(&self.good) + serving(&self.movers) + self.fixed_serving
    }

    /// So many replicas more than wanted may be there during a roll-out. Those that cannot be changed where they are are
    /// replaced first, as many at a time as others may be away.
    pub(crate) fn surge(&self, spec: &Deployment) -> u32 {
        let rollout = &spec.rollout;
        match self.outdated().any(|replica| replica.bound) {
            true => rollout.surge().max(rollout.max_unavailable).max(1),
            false => rollout.surge(),
        }
    }

    /// Good replicas of another version than the one that is aimed at.
    pub(crate) fn outdated(&self) -> impl Iterator<Item = &Replica> {
        self.good.iter().filter(|replica| !replica.current)
    }
}

/// How many of these serve.
fn serving(replicas: &[Replica]) -> u32 {
    number(replicas.iter().filter(|replica| replica.serves).count())
}

/// How many replicas a name could lead to; none where the deployment has no name.
fn others(view: &View, draft: &Draft, deployment: DeploymentIx) -> usize {
    if view.hostname(deployment).is_none() {
        return 0;
    }
    let could = |agent: &AgentIx| {
        let facts = view.agent(*agent);
        facts.exposed && facts.is_ready() && draft.is_there(view, *agent)
    };
    view.replicas(deployment).filter(could).count()
}

fn role(view: &View, draft: &Draft, agent: AgentIx, deployment: DeploymentIx, seen: Seen) -> Role {
    let Seen { published, others } = seen;
    let facts = view.agent(agent);
    let gone = matches!(draft.fate(agent), Fate::Stops | Fate::Retires);
    let steady = facts.is_ready() && facts.steady;
    let is_shown = !published || facts.exposed;
    let serves = facts.is_ready() && is_shown && (steady || !facts.current);
    if gone || !draft.is_there(view, agent) {
        return Role::Out;
    }
    let fits = view.suits(deployment, agent);
    if !facts.is_touchable() {
        return Role::Fixed { serves, fits };
    }
    match facts.standing {
        Standing::Quarantined(_) if draft.is_out_of_service(view, agent) => Role::Bad,
        Standing::Quarantined(_) | Standing::Unjudged => Role::Fixed {
            serves: false,
            fits,
        },
        Standing::Accepted if fits && facts.is_stray() => Role::Stray,
        Standing::Accepted => {
            let replica = Replica {
                agent,
                ready: facts.is_ready(),
                serves,
                of_use: facts.is_ready() || facts.is_of_use(),
                current: facts.current,
                steady: steady && facts.current,
                fronts: others > 1 && facts.is_ready() && view.is_front(agent),
                bound: !view.is_paused(deployment) && !view.can_follow(deployment, agent),
            };
            match fits {
                true => Role::Good(replica),
                false => Role::Mover(replica),
            }
        }
    }
}

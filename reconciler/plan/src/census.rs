//! What the agents that carry a deployment come to. Counts readiness conservatively: what is not known is not
//! ready, and is not missing either.

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
    /// Whether it is ready and, where that matters, published.
    pub(crate) serves: bool,
    /// Whether it is told to run the version of now.
    pub(crate) current: bool,
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
        for agent in view.replicas(deployment) {
            match role(view, draft, agent, spec, published) {
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

    /// Good replicas of another version than the one of now.
    pub(crate) fn outdated(&self) -> impl Iterator<Item = &Replica> {
        self.good.iter().filter(|replica| !replica.current)
    }
}

/// How many of these serve.
fn serving(replicas: &[Replica]) -> u32 {
    number(replicas.iter().filter(|replica| replica.serves).count())
}

fn role(view: &View, draft: &Draft, agent: AgentIx, spec: &Deployment, published: bool) -> Role {
    let facts = view.agent(agent);
    let gone = matches!(draft.fate(agent), Fate::Stops | Fate::Retires);
    let serves = facts.is_ready() && (!published || facts.exposed);
    if gone || !draft.is_there(view, agent) {
        return Role::Out;
    }
    let fits = !facts.drifted && view.admits(spec, facts.target);
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
                current: facts.current,
            };
            match fits {
                true => Role::Good(replica),
                false => Role::Mover(replica),
            }
        }
    }
}

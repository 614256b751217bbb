//! Calls about ways and names that are under way, a few at a time, and whom not to call again yet. One that hangs holds up nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::{AgentId, Hostname, Timestamp};
use easyenclave_tunnel::{Ensured, Listing, Next, Route, TunnelError, Tunnels};
use tokio::task::JoinSet;

use crate::world::World;

/// So many calls at a time.
const AT_ONCE: usize = 8;

/// So many more that lead away or take away: they wait for nothing that is being made.
const AWAY: usize = 4;

/// The longest pause after a call that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    All,
    Agent(AgentId),
    Name(Hostname),
}

/// What a call does. What failed rests for itself: a way that cannot be made holds up nobody who takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    List,
    Ensure,
    Remove,
    Point,
    Unpoint,
}

/// A call.
pub(super) enum Job {
    List,
    Ensure(Route),
    Remove(AgentId),
    Point(Hostname, AgentId),
    Unpoint(Hostname),
}

/// What came of it.
pub(super) enum Done {
    Listed(Listing),
    Ensured(Route, Ensured),
    Removed(AgentId),
    Pointed(Hostname, AgentId),
    Unpointed(Hostname),
    Failed(Matter, Verb, TunnelError),
}

#[derive(Default)]
pub(super) struct Jobs {
    calls: JoinSet<Done>,
    busy: BTreeMap<Matter, Verb>,
    pauses: BTreeMap<(Matter, Verb), (u32, Timestamp)>,
}

impl Jobs {
    /// Begins a call, if its matter has neither one under way nor a pause and there is room.
    pub(super) fn begin(&mut self, by: &Arc<dyn Tunnels>, job: Job, now: Timestamp) {
        let (matter, verb) = (job.matter(), job.verb());
        let rests = self
            .pauses
            .get(&(matter.clone(), verb))
            .is_some_and(|(_, until)| *until > now);
        let most = match verb {
            Verb::List | Verb::Ensure => AT_ONCE,
            Verb::Remove | Verb::Point | Verb::Unpoint => AT_ONCE + AWAY,
        };
        if rests || self.busy.contains_key(&matter) || self.calls.len() >= most {
            return;
        }
        self.busy.insert(matter, verb);
        let by = Arc::clone(by);
        self.calls.spawn(async move { job.run(&*by).await });
    }

    /// Whether a call about this is under way, and which.
    pub(super) fn busy(&self, matter: &Matter) -> Option<Verb> {
        self.busy.get(matter).copied()
    }

    /// Waits for a call; for ever when none is under way.
    pub(super) async fn ended(&mut self, world: &World) -> Option<Done> {
        match self.calls.join_next().await {
            Some(Ok(done)) => {
                self.note(&done, world);
                Some(done)
            }
            // What it was about is not known, so nothing is left marked as under way.
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "a call about a tunnel broke off");
                self.forget();
                None
            }
            None => std::future::pending().await,
        }
    }

    /// When the first pause is over that is not over yet.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let pauses = self.pauses.values().map(|(_, until)| *until);
        pauses.filter(|until| *until > now).min()
    }

    /// Forgets the pauses of all other matters.
    pub(super) fn retain(&mut self, keep: impl Fn(&Matter) -> bool) {
        self.pauses.retain(|(matter, _), _| keep(matter));
    }

    /// Forgets all calls and pauses.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn note(&mut self, done: &Done, world: &World) {
        let about = done.about();
        self.busy.remove(&about.0);
        let Done::Failed(matter, _, error) = done else {
            self.pauses.remove(&about);
            return;
        };
        let failures = self.pauses.get(&about).map_or(0, |(failures, _)| *failures) + 1;
        let until = world.clock.now().plus(pause(error.next, failures));
        self.pauses.insert(about, (failures, until));
        tell(world, matter, error, failures);
    }
}

impl Done {
    fn about(&self) -> (Matter, Verb) {
        match self {
            Self::Listed(_) => (Matter::All, Verb::List),
            Self::Ensured(route, _) => (Matter::Agent(route.agent.clone()), Verb::Ensure),
            Self::Removed(agent) => (Matter::Agent(agent.clone()), Verb::Remove),
            Self::Pointed(name, _) => (Matter::Name(name.clone()), Verb::Point),
            Self::Unpointed(name) => (Matter::Name(name.clone()), Verb::Unpoint),
            Self::Failed(matter, verb, _) => (matter.clone(), *verb),
        }
    }
}

impl Job {
    fn matter(&self) -> Matter {
        match self {
            Self::List => Matter::All,
            Self::Ensure(route) => Matter::Agent(route.agent.clone()),
            Self::Remove(agent) => Matter::Agent(agent.clone()),
            Self::Point(name, _) | Self::Unpoint(name) => Matter::Name(name.clone()),
        }
    }

    fn verb(&self) -> Verb {
        match self {
            Self::List => Verb::List,
            Self::Ensure(_) => Verb::Ensure,
            Self::Remove(_) => Verb::Remove,
            Self::Point(..) => Verb::Point,
            Self::Unpoint(_) => Verb::Unpoint,
        }
    }

    async fn run(self, by: &dyn Tunnels) -> Done {
        let (matter, verb) = (self.matter(), self.verb());
        let done = match self {
            Self::List => by.list().await.map(Done::Listed),
            Self::Ensure(route) => by
                .ensure(&route)
                .await
                .map(|ensured| Done::Ensured(route, ensured)),
            Self::Remove(agent) => by.remove(&agent).await.map(|()| Done::Removed(agent)),
            Self::Point(name, to) => {
                let pointed = by.point(&name, &to).await;
                pointed.map(|()| Done::Pointed(name, to))
            }
            Self::Unpoint(name) => by.unpoint(&name).await.map(|()| Done::Unpointed(name)),
        };
        done.unwrap_or_else(|error| Done::Failed(matter, verb, error))
    }
}

/// Grows from a second, or is what the error says; what a person has to change is looked at now and then.
fn pause(next: Next, failures: u32) -> Duration {
    match next {
        Next::Retry => Duration::from_secs(1)
            .saturating_mul(1 << failures.min(16))
            .min(LONGEST_PAUSE),
        Next::WaitUntil(pause) => pause,
        Next::NotOurs | Next::NeedsPerson => LONGEST_PAUSE,
    }
}

/// What a person has to look at is shown with what was refused; the rest is in the log.
fn tell(world: &World, matter: &Matter, error: &TunnelError, failures: u32) {
    let subject = match matter {
        Matter::All => "tunnels",
        Matter::Agent(agent) => agent.as_str(),
        Matter::Name(name) => name.as_str(),
    };
    let code = match error.next {
        Next::NotOurs => "tunnel_not_ours",
        Next::NeedsPerson => "tunnel_needs_person",
        Next::Retry | Next::WaitUntil(_) => {
            if failures.is_power_of_two() {
                let error = error.to_string();
                tracing::warn!(
                    subject,
                    failures,
                    error,
                    "a tunnel is not as it should be yet"
                );
            }
            return;
        }
    };
    world.refuse(code, subject, &error.to_string());
}

#[cfg(test)]
mod tests {
    use easyenclave_tunnel::Direct;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_made_can_be_taken_away_at_once() {
        let by: Arc<dyn Tunnels> = Arc::new(Direct::default());
        let agent = AgentId::new("tiny-1").expect("a name");
        let now = Timestamp::from_millis(1000);
        let mut jobs = Jobs::default();
        let about = (Matter::Agent(agent.clone()), Verb::Ensure);
        jobs.pauses.insert(about, (3, now.plus(LONGEST_PAUSE)));
        let route = Route {
            agent: agent.clone(),
            inside: "http://127.0.0.1:1".into(),
            outside: "http://127.0.0.1:1".into(),
            hostnames: std::collections::BTreeSet::new(),
        };
        jobs.begin(&by, Job::Ensure(route), now);
        assert_eq!(jobs.calls.len(), 0, "it rests");
        jobs.begin(&by, Job::Remove(agent), now);
        assert_eq!(jobs.calls.len(), 1);
    }
}

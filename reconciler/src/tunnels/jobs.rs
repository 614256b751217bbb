//! Calls about ways that are under way, a few at a time, and whom not to call again yet. One that hangs holds up nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::{AgentId, Timestamp};
use easyenclave_tunnel::{Ensured, Listing, Next, Route, TunnelError, Tunnels};
use tokio::task::JoinSet;

use crate::world::World;

/// So many calls at a time.
const AT_ONCE: usize = 8;

/// The longest pause after a call that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a call is about: everything, or one agent.
pub(super) type Matter = Option<AgentId>;

/// A call.
pub(super) enum Job {
    List,
    Ensure(Route),
    Remove(AgentId),
}

/// What came of it.
pub(super) enum Done {
    Listed(Listing),
    Ensured(Route, Ensured),
    Removed(AgentId),
    Failed(Matter, TunnelError),
}

#[derive(Default)]
pub(super) struct Jobs {
    calls: JoinSet<Done>,
    busy: Vec<Matter>,
    pauses: BTreeMap<Matter, (u32, Timestamp)>,
}

impl Jobs {
    /// Begins a call, if its matter has neither one under way nor a pause and there is room.
    pub(super) fn begin(&mut self, by: &Arc<dyn Tunnels>, job: Job, now: Timestamp) {
        let matter = job.matter();
        let rests = self
            .pauses
            .get(&matter)
            .is_some_and(|(_, until)| *until > now);
        if rests || self.busy.contains(&matter) || self.calls.len() >= AT_ONCE {
            return;
        }
        self.busy.push(matter);
        let by = Arc::clone(by);
        self.calls.spawn(async move { job.run(&*by).await });
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

    /// Forgets the pauses of all other agents.
    pub(super) fn retain(&mut self, keep: impl Fn(&AgentId) -> bool) {
        self.pauses
            .retain(|matter, _| matter.as_ref().is_none_or(&keep));
    }

    /// Forgets all calls and pauses.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn note(&mut self, done: &Done, world: &World) {
        let matter = match done {
            Done::Listed(_) => None,
            Done::Ensured(Route { agent, .. }, _) | Done::Removed(agent) => Some(agent.clone()),
            Done::Failed(matter, _) => matter.clone(),
        };
        self.busy.retain(|busy| *busy != matter);
        let Done::Failed(_, error) = done else {
            self.pauses.remove(&matter);
            return;
        };
        let failures = self
            .pauses
            .get(&matter)
            .map_or(0, |(failures, _)| *failures)
            + 1;
        let until = world.clock.now().plus(pause(error.next, failures));
        self.pauses.insert(matter.clone(), (failures, until));
        tell(world, matter.as_ref(), error, failures);
    }
}

impl Job {
    fn matter(&self) -> Matter {
        match self {
            Self::List => None,
            Self::Ensure(route) => Some(route.agent.clone()),
            Self::Remove(agent) => Some(agent.clone()),
        }
    }

    async fn run(self, by: &dyn Tunnels) -> Done {
        let matter = self.matter();
        let done = match self {
            Self::List => by.list().await.map(Done::Listed),
            Self::Ensure(route) => by
                .ensure(&route)
                .await
                .map(|ensured| Done::Ensured(route, ensured)),
            Self::Remove(agent) => by.remove(&agent).await.map(|()| Done::Removed(agent)),
        };
        done.unwrap_or_else(|error| Done::Failed(matter, error))
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
fn tell(world: &World, matter: Option<&AgentId>, error: &TunnelError, failures: u32) {
    let subject = matter.map_or("tunnels", AgentId::as_str);
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

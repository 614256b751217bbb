//! Tunnels: the ways from public names to agents behind one trait. An implementation does what it is told and says what is
//! there; it decides nothing and retries nothing. It never touches what does not carry our marks.

pub mod cloudflare;
mod direct;
mod mark;
#[cfg(feature = "testing")]
pub mod testing;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::{AgentId, Digest, Secret};

pub use cloudflare::{Cloudflare, Pace, Settings};
pub use direct::Direct;
pub use easyenclave_schemas::Hostname;
pub use mark::Mark;

/// Makes, moves and removes the ways to agents. Each agent has one tunnel at most, and a name of its own; the names of
/// deployments point at one agent each.
///
/// # Guarantees
/// - Every verb is idempotent, and may be dropped at any point and called again.
/// - What does not carry this fleet's marks, or is protected, is never changed and never removed, whatever a verb is told and
///   whatever is answered to it.
/// - Nothing is concluded from a listing that may lack something.
/// - `list` has everything that carries this fleet's marks, also what an earlier process has made; or it is an error. What is made
///   or removed meanwhile is in it, or not, or makes it an error.
/// - When `remove` has returned, no name leads to the agent any more, and its tunnel is gone.
/// - An agent that has a name of its own keeps it as long as its tunnel is there: `point` gives it to nobody else, and `unpoint`
///   leaves it.
/// - `point` moves a name at once: there is no moment at which it points nowhere.
///
/// # Assumptions
/// - One caller at a time changes what belongs to one agent or to one name.
///
/// # Caveats
/// - `ensure` makes a tunnel; it leads to the agent when the agent's connector is connected, which `list` shows.
/// - People may change or remove anything at any time.
/// - Whoever runs the tunnel ends TLS and can read what goes through it: it is no part of the attested channel.
#[async_trait]
pub trait Tunnels: Send + Sync {
    /// Makes the tunnel of an agent and its own name, and sets which names lead through it to what.
    ///
    /// # Errors
    /// When something is missing still; the next call goes on from there.
    async fn ensure(&self, route: &Route) -> Result<Ensured, TunnelError>;

    /// What the connector of an agent shows, if there is a tunnel that needs one. It is for that agent alone.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn token(&self, agent: &AgentId) -> Result<Option<Secret<String>>, TunnelError>;

    /// Makes a name lead to an agent that has a tunnel, wherever it led to before.
    ///
    /// # Errors
    /// When it does not; it leads where it led before.
    async fn point(&self, hostname: &Hostname, to: &AgentId) -> Result<(), TunnelError>;

    /// Removes a name, if it is ours. No name is no error.
    ///
    /// # Errors
    /// When it may be there still, or is there, is not ours and leads to an agent of ours.
    async fn unpoint(&self, hostname: &Hostname) -> Result<(), TunnelError>;

    /// Removes the tunnel of an agent and all names of ours that lead through it. No tunnel is no error.
    ///
    /// # Errors
    /// When something of ours is left.
    async fn remove(&self, agent: &AgentId) -> Result<(), TunnelError>;

    /// Everything of this fleet, in the order of agents.
    ///
    /// # Errors
    /// When the listing would not be complete.
    async fn list(&self) -> Result<Listing, TunnelError>;
}

/// Which names lead to an agent, and where its workload answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The agent.
    pub agent: AgentId,
    /// Where the workload answers on the agent's machine, such as `http://127.0.0.1:8080`.
    pub inside: String,
    /// Where it answers without a tunnel, as seen from elsewhere.
    pub outside: String,
    /// Names of deployments that may lead to it, beside its own. They do when [`Tunnels::point`] says so.
    pub hostnames: BTreeSet<Hostname>,
}

/// A tunnel that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// Where the agent answers for everybody.
    pub url: String,
    /// Which connector the agent has to run, if any: another tunnel has another one.
    pub connector: Option<Digest>,
}

/// All that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is ours, one for each agent.
    pub ours: Vec<Seen>,
    /// What looks like ours and is not, in words, at most [`STRANGE`]. It is for people; nothing is done about it.
    pub strange: Vec<String>,
}

/// The most strange things that a listing tells of.
pub const STRANGE: usize = 50;

/// What is there of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The agent.
    pub agent: AgentId,
    /// Its tunnel.
    pub tunnel: Option<Link>,
    /// The names that lead to it, its own among them.
    pub hostnames: BTreeSet<Hostname>,
    /// Those of them that nobody is served under, since somebody has changed how. `ensure` mends its own name, `point` the others.
    pub dead: BTreeSet<Hostname>,
    /// Names of ours that lead to a tunnel of it that is gone.
    pub left: BTreeSet<Hostname>,
}

/// Whether a tunnel leads anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Its connector is connected.
    Connected,
    /// It is not, or nobody knows.
    Down,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct TunnelError {
    /// What was tried, in words.
    pub what: String,
    /// Why it did not work, in words and without a secret.
    pub why: String,
    /// What happens next.
    pub next: Next,
}

/// What happens after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same call may work later.
    Retry,
    /// It may work after this time, and not before.
    WaitUntil(Duration),
    /// Something of somebody else is in the way; it is not touched.
    NotOurs,
    /// It will not work before somebody changes something.
    NeedsPerson,
}

/// The longest reason that is kept, in characters.
const LONGEST: usize = 300;

impl TunnelError {
    /// An error whose reason has a bound.
    pub fn new(next: Next, what: impl Into<String>, why: impl Into<String>) -> Self {
        let why: String = why.into();
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            what: what.into(),
            why: why.chars().take(LONGEST).map(plain).collect(),
            next,
        }
    }

    pub(crate) fn retry(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Next::Retry, what, why)
    }

    pub(crate) fn not_ours(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Next::NotOurs, what, why)
    }

    pub(crate) fn person(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Next::NeedsPerson, what, why)
    }
}

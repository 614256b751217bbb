//! What should be: the validated model of one revision. An invalid state cannot be written down here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_schemas::documents::{Runtime, Spread};
use easyenclave_schemas::{
    AgentId, Cloud, Datacenter, DeploymentId, Digest, DisruptionReason, FleetId, Hostname,
    NodeSize, OwnerName, PolicyName, ProviderName, ReservationId, Share, Spot, TargetName,
    TimeOfDay, Timestamp, Weekday,
};

/// The desired state of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The fleet's id.
    pub fleet: FleetId,
    /// What holds for the whole fleet.
    pub limits: Limits,
    /// The most agents that each owner may use.
    pub quotas: BTreeMap<OwnerName, u32>,
    /// Capacity targets.
    pub targets: BTreeMap<TargetName, Target>,
    /// Reservations, with those that have ended; the planner knows the time.
    pub reservations: BTreeMap<ReservationId, Reservation>,
    /// Deployments.
    pub deployments: BTreeMap<DeploymentId, Deployment>,
    /// Under which host's name a deployment is reached, where it has one.
    pub hostnames: BTreeMap<DeploymentId, Hostname>,
    /// Things of which no document can be used: nothing of theirs is touched. Each with why, for people: whole words that
    /// name the file, and by which nothing is decided.
    pub frozen: BTreeMap<Frozen, String>,
    /// What persons have approved, also what has had its occasion.
    pub approvals: BTreeSet<Approval>,
}

/// A person's approval of held removals. It is good for one occasion; see [`crate::spent`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Approval {
    /// The digest of the held removals.
    pub held: Digest,
    /// The commit under which they were held, where the approval names it.
    pub revision: Option<String>,
}

/// Something that must stay as it is, because what is wanted of it is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frozen {
    /// A deployment.
    Deployment(DeploymentId),
    /// A target.
    Target(TargetName),
}

/// What holds for the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// When removals are held.
    pub breaker: Breaker,
    /// An agent silent for so long counts as lost.
    pub lost_after: Duration,
    /// A launch order that nobody has claimed after this time says so.
    pub claim_within: Duration,
    /// The machine of a claimed launch order must have been started within this time.
    pub make_within: Duration,
    /// Something must be heard from inside a machine within this time.
    pub boot_within: Duration,
    /// A launch order must be fulfilled within this time.
    pub register_within: Duration,
    /// An assigned workload must be ready within this time, or it is reported as failing.
    pub ready_within: Duration,
    /// A machine that belongs to nothing goes after this time.
    pub orphan_after: Duration,
    /// A worker silent for so long counts as lost.
    pub worker_lost_after: Duration,
}

/// A plan that removes more than `max_removals` and more than `max_percent` of a pool is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// So many removals never trip it.
    pub max_removals: u32,
    /// Percent of a pool.
    pub max_percent: u32,
}

/// A capacity target: a pool of equal agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where its agents run.
    pub datacenter: Datacenter,
    /// Their size.
    pub size: NodeSize,
    /// Who makes them.
    pub provider: ProviderName,
    /// Where they can be made, the preferred first. When it is empty, there is no choice: `provider` in `datacenter`.
    pub spots: Vec<Spot>,
    /// What they may run, wherever they are made; each agent says what it can.
    pub runtimes: BTreeSet<Runtime>,
    /// The policy they must satisfy.
    pub policy: PolicyName,
    /// What becomes of a workload on an agent that is not trusted any more.
    pub on_lapse: OnLapse,
    /// Never fewer.
    pub min: u32,
    /// Never more, orders included.
    pub max: u32,
    /// Idle agents kept beyond those in use.
    pub warm: u32,
    /// How its agents may be taken away on purpose.
    pub disruption: Disruption,
}

impl Target {
    /// Everywhere its agents may be.
    pub fn places(&self) -> BTreeSet<(ProviderName, Datacenter)> {
        let first = (self.provider.clone(), self.datacenter.clone());
        let spots = self.spots.iter();
        let spots = spots.map(|spot| (spot.provider.clone(), spot.datacenter.clone()));
        std::iter::once(first).chain(spots).collect()
    }

    /// Whether its agents may be made by a provider in a datacenter.
    pub fn is_at(&self, provider: &ProviderName, datacenter: &Datacenter) -> bool {
        let is_it = |of: &ProviderName, at: &Datacenter| of == provider && at == datacenter;
        let mut spots = self.spots.iter();
        is_it(&self.provider, &self.datacenter)
            || spots.any(|spot| is_it(&spot.provider, &spot.datacenter))
    }

    /// Whether its agents may be in a datacenter.
    pub fn is_in(&self, datacenter: &Datacenter) -> bool {
        self.datacenter == *datacenter
            || self.spots.iter().any(|spot| spot.datacenter == *datacenter)
    }
}

/// How agents of a target may be taken away on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disruption {
    /// How many may go at a time, and when. All that hold at a time hold together; the order is the document's.
    pub budgets: Vec<Budget>,
    /// Agents go for being too many only when they have been too many for so long.
    pub consolidate_after: Duration,
    /// The machine of an agent that is to go and was told to stop goes after this time, stopped or not.
    pub drain_within: Option<Duration>,
}

/// How many agents of a target may go at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Those that go for these reasons; for any when it is empty.
    pub reasons: BTreeSet<DisruptionReason>,
    /// So many of those that are there.
    pub most: Share,
    /// When it holds; always when it is empty.
    pub windows: Vec<Window>,
}

/// A time that comes again every week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins; every day when it is empty.
    pub days: BTreeSet<Weekday>,
    /// When it begins.
    pub from: TimeOfDay,
    /// How long it lasts, a week at most.
    pub lasts: Duration,
}

/// What becomes of a workload on an agent that is not trusted any more. It is hidden in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnLapse {
    /// It goes on until others serve in its place.
    #[default]
    Keep,
    /// It is stopped once it is hidden.
    Stop,
}

/// Agents of a target that only one owner may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The target.
    pub target: TargetName,
    /// How many.
    pub count: u32,
    /// Its end, if it has one.
    pub until: Option<Timestamp>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The digest of what runs; another digest is another version.
    pub workload: Digest,
    /// What an agent needs in order to run that.
    pub runtime: Runtime,
    /// How many replicas.
    pub replicas: u32,
    /// The size of agent it needs.
    pub size: NodeSize,
    /// Where it may run.
    pub placement: Placement,
    /// How another version comes to its replicas.
    pub rollout: Rollout,
    /// Whether ready replicas are published.
    pub exposed: bool,
}

/// How a version comes to a deployment's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// So many replicas may be unready because of it.
    pub max_unavailable: u32,
    /// So many replicas more than wanted may be there because of it; one where neither this nor the other is given.
    pub max_surge: u32,
    /// So many replicas get the version first, and the others when these have proved good; 0 for none.
    pub canary: u32,
    /// Then so many of all replicas, in percent, each when those before have proved good.
    pub waves: Vec<u32>,
    /// So long a replica must have been ready without a break to have proved good.
    pub min_healthy: Duration,
    /// So long a replica may take to become ready; what the fleet allows when it is left out.
    pub deadline: Option<Duration>,
    /// Whether a version that fails by its own fault is given up for the one that was healthy last.
    pub reverts: bool,
    /// Counts what was tried of one version: a version that was given up is tried again under another number.
    pub attempt: u32,
    /// Nothing goes on until then.
    pub pause: Option<Pause>,
}

/// Why a roll-out does not go on for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Who wants it so.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            max_surge: 0,
            canary: 0,
            waves: Vec::new(),
            min_healthy: Duration::ZERO,
            deadline: None,
            reverts: false,
            attempt: 0,
            pause: None,
        }
    }
}

impl Rollout {
    /// How many replicas more than wanted may be there. One that may take nothing away cannot do without.
    pub fn surge(&self) -> u32 {
        self.max_surge.max(u32::from(self.max_unavailable == 0))
    }

    /// Whether it matters which version was healthy last.
    pub fn is_watched(&self) -> bool {
        let in_steps = self.canary > 0 || !self.waves.is_empty();
        self.reverts || in_steps || !self.min_healthy.is_zero()
    }

    /// The pause that holds now.
    pub fn pause_at(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }
}

impl Deployment {
    /// What names this try of this version.
    pub fn attempt(&self) -> Digest {
        let number = self.rollout.attempt.to_be_bytes();
        Digest::of_list([self.workload.as_bytes().as_slice(), &number])
    }
}

/// Where replicas may run; empty sets allow everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Only these targets.
    pub targets: BTreeSet<TargetName>,
    /// Only these datacenters.
    pub allowed_datacenters: BTreeSet<Datacenter>,
    /// None of these datacenters.
    pub denied_datacenters: BTreeSet<Datacenter>,
    /// Only datacenters of these clouds.
    pub allowed_clouds: BTreeSet<Cloud>,
    /// No datacenters of these clouds.
    pub denied_clouds: BTreeSet<Cloud>,
    /// Over what replicas are spread, as far as none waits or moves for it.
    pub spread: Spread,
    /// Only this agent. Nothing is launched for it, and nothing has to leave it.
    pub agent: Option<AgentId>,
}

impl Placement {
    /// Whether this agent may be used, as far as one is named.
    pub fn names(&self, agent: &AgentId) -> bool {
        self.agent.as_ref().is_none_or(|named| named == agent)
    }

    fn admits_place(&self, place: &Datacenter) -> bool {
        (self.allowed_datacenters.is_empty() || self.allowed_datacenters.contains(place))
            && !self.denied_datacenters.contains(place)
            && self.admits_cloud(place)
    }

    fn admits_cloud(&self, place: &Datacenter) -> bool {
        if self.allowed_clouds.is_empty() && self.denied_clouds.is_empty() {
            return true;
        }
        let cloud = Cloud::of(place);
        (self.allowed_clouds.is_empty() || self.allowed_clouds.contains(&cloud))
            && !self.denied_clouds.contains(&cloud)
    }

    /// Whether agents of this target may be used, wherever they are made.
    pub fn admits(&self, name: &TargetName, target: &Target) -> bool {
        (self.targets.is_empty() || self.targets.contains(name))
            && self.admits_place(&target.datacenter)
            && target
                .spots
                .iter()
                .all(|spot| self.admits_place(&spot.datacenter))
    }
}

//! Generated fleets: desired states, worlds in any condition, and what may happen to them. Everything is drawn
//! from small ranges, so that a failing case shrinks to something that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_plan::{
    Agent, Assigned, Budget, Deployment, Desired, Disruption, Exposure, Fronts, Frozen,
    LaunchOrder, Liveness, Observed, OnLapse, OrderState, Orphan, Pause, Placement, Quarantine,
    Remedy, Replica, Reported, Reservation, RetireOrder, Rollout, RolloutFact, Shortage, Target,
    Trust, Window,
};
use easyenclave_schemas::documents::{Runtime, Spread};
use easyenclave_schemas::{
    AgentId, DeploymentId, Digest, DisruptionReason, FailureCause, Generation, Hostname, OrderId,
    ReservationId, Revert, Share, Spot, StageTimes, TargetName, Timestamp, Weekday,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::testing::{CAUSES, NOW, name, nothing, reverted, version};
use crate::world::{TRUST, World};

const TARGETS: [&str; 4] = ["alpha", "beta", "gamma", "removed"];
const DEPLOYMENTS: [&str; 6] = ["acme/a", "acme/b", "bolt/a", "bolt/b", "corp/a", "corp/old"];
const OWNERS: [&str; 3] = ["acme", "bolt", "corp"];
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

pub(crate) fn ago(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

pub(crate) fn deployment_id() -> impl Strategy<Value = DeploymentId> {
    (0..DEPLOYMENTS.len()).prop_map(|at| name(DEPLOYMENTS[at]))
}

fn target_name() -> impl Strategy<Value = TargetName> {
    (0..TARGETS.len()).prop_map(|at| name(TARGETS[at]))
}

/// A fleet in which not everything runs everywhere, and some is spread.
pub(crate) fn choosy() -> impl Strategy<Value = (Desired, Observed)> {
    let wants = vec((any::<bool>(), any::<bool>()), 6);
    let flags = (vec(rarely(), 4), wants, vec(rarely(), 10));
    (desired(), observed(), flags).prop_map(|(mut desired, mut observed, flags)| {
        let (poor_targets, wants, poor_agents) = flags;
        for (target, poor) in desired.targets.values_mut().zip(poor_targets) {
            target.runtimes = able(poor);
        }
        for (deployment, (composes, spread)) in desired.deployments.values_mut().zip(wants) {
            deployment.runtime = Runtime::ALL[usize::from(composes)];
            if spread {
                deployment.placement.spread = Spread::Datacenters;
            }
        }
        for (agent, poor) in observed.agents.values_mut().zip(poor_agents) {
            agent.runtimes = able(poor);
        }
        (desired, observed)
    })
}

/// What an agent can run, or what its target's document says of it.
fn able(poor: bool) -> BTreeSet<Runtime> {
    match poor {
        true => Runtime::usual().into_iter().collect(),
        false => Runtime::ALL.into(),
    }
}

fn digest() -> impl Strategy<Value = Digest> {
    (0..VERSIONS.len()).prop_map(|at| version(VERSIONS[at]))
}

fn size(big: bool) -> &'static str {
    if big { "big" } else { "tiny" }
}

fn place(far: bool) -> &'static str {
    if far { "far" } else { "local" }
}

fn spot(far: bool) -> Spot {
    Spot {
        provider: name("process"),
        datacenter: name(place(far)),
        zone: None,
        shape: None,
    }
}

/// Mostly false.
fn rarely() -> impl Strategy<Value = bool> {
    prop_oneof![9 => Just(false), 1 => Just(true)]
}

/// Mostly nothing that holds anything back.
fn disruption() -> impl Strategy<Value = Disruption> {
    let after = prop_oneof![3 => Just(0), 1 => Just(30)];
    let budgets = prop_oneof![2 => vec(budget(), 0..1), 1 => vec(budget(), 1..3)];
    let drain = prop::option::weighted(0.3, Just(Duration::from_secs(15)));
    (after, budgets, drain).prop_map(|(after, budgets, drain_within)| Disruption {
        drain_within,
        budgets,
        consolidate_after: Duration::from_secs(after),
    })
}

fn budget() -> impl Strategy<Value = Budget> {
    let most = prop_oneof![
        (0..4_u32).prop_map(Share::Count),
        prop::sample::select(std::vec![0_u32, 10, 40, 100]).prop_map(Share::Percent),
    ];
    let reasons = prop::sample::subsequence(
        std::vec![
            DisruptionReason::Surplus,
            DisruptionReason::Drift,
            DisruptionReason::Refused,
        ],
        0..3,
    );
    let window = (0..3_u32, 1..4_u64).prop_map(|(hour, minutes)| Window {
        days: [Weekday::Thu].into(),
        from: format!("{:02}:00", hour * 23 % 24).parse().expect("a time"),
        lasts: Duration::from_secs(minutes * 60),
    });
    (most, reasons, vec(window, 0..2)).prop_map(|(most, reasons, windows)| Budget {
        reasons: reasons.into_iter().collect(),
        most,
        windows,
    })
}

pub(crate) fn target() -> impl Strategy<Value = Target> {
    let lapse = prop_oneof![Just(OnLapse::Keep), Just(OnLapse::Stop)];
    let fields = (
        0..3_u32,
        0..6_u32,
        0..3_u32,
        rarely(),
        (rarely(), prop::bool::weighted(0.2)),
        lapse,
        disruption(),
    );
    fields.prop_map(
        |(min, more, warm, big, (far, both), on_lapse, disruption)| Target {
            disruption,
            on_lapse,
            datacenter: name(place(far)),
            size: name(size(big)),
            provider: name("process"),
            spots: match both {
                true => [far, !far].map(spot).into(),
                false => Vec::new(),
            },
            runtimes: Runtime::ALL.into(),
            policy: name("sim"),
            min,
            max: min + more,
            warm,
        },
    )
}

pub(crate) fn deployment() -> impl Strategy<Value = Deployment> {
    let fields = (
        digest(),
        0..5_u32,
        rarely(),
        rollout(),
        any::<bool>(),
        0..9_usize,
    );
    fields.prop_map(
        |(workload, replicas, big, rollout, exposed, placed)| Deployment {
            workload,
            runtime: Runtime::Process,
            replicas,
            size: name(size(big)),
            placement: placement(placed),
            rollout,
            exposed,
        },
    )
}

/// Mostly one that goes on without steps.
fn rollout() -> impl Strategy<Value = Rollout> {
    let room = (0..3_u32, prop_oneof![3 => Just(0_u32), 1 => 1..3_u32]);
    let canary = prop_oneof![2 => Just(0_u32), 1 => 1..3_u32];
    let waves = prop_oneof![3 => Just(std::vec![]), 1 => Just(std::vec![30_u32, 60])];
    let times = (
        prop_oneof![2 => Just(0_u64), 1 => Just(8)],
        prop::option::weighted(0.3, 1..60_u64),
    );
    let pause = prop::option::weighted(0.1, 0..40_u64);
    let rest = (any::<bool>(), rarely(), pause);
    (room, canary, waves, times, rest).prop_map(|(room, canary, waves, times, rest)| Rollout {
        max_unavailable: room.0,
        max_surge: room.1,
        canary,
        waves,
        min_healthy: Duration::from_secs(times.0),
        deadline: times.1.map(Duration::from_secs),
        reverts: rest.0,
        attempt: u32::from(rest.1),
        pause: rest.2.map(|seconds| Pause {
            owner: "ann".into(),
            reason: "freeze".into(),
            until: NOW
                .plus(Duration::from_secs(20))
                .minus(Duration::from_secs(20 - seconds.min(20))),
        }),
    })
}

/// What is recorded of a roll-out.
fn fact() -> impl Strategy<Value = RolloutFact> {
    let reverted = (deployment(), digest()).prop_map(|(spec, to)| Revert {
        to,
        ..reverted(&spec)
    });
    let reverted = prop::option::weighted(0.3, reverted);
    let runtime = prop::option::of(prop::sample::select(Runtime::ALL.to_vec()));
    (prop::option::weighted(0.8, digest()), runtime, reverted)
        .prop_filter(
            "what was given up was never healthy",
            |(healthy, _, reverted)| reverted.as_ref().is_none_or(|it| Some(it.from) != *healthy),
        )
        .prop_map(|(healthy, runtime, reverted)| RolloutFact {
            healthy,
            runtime,
            reverted,
        })
}

fn placement(kind: usize) -> Placement {
    let mut placement = Placement::default();
    match kind {
        5 => drop(placement.targets.insert(name("beta"))),
        6 => drop(placement.allowed_datacenters.insert(name("local"))),
        7 => drop(placement.denied_datacenters.insert(name("local"))),
        8 => {
            let id = OrderId::launch(&name("test"), &name("alpha"), 1, 1);
            placement.agent = Some(id.agent());
        }
        _ => {}
    }
    placement
}

/// A desired state. Frozen things are rare, reservations and quotas are not.
pub(crate) fn desired() -> impl Strategy<Value = Desired> {
    let targets = vec(target(), 0..=3);
    let deployments = vec(prop::option::weighted(0.8, deployment()), 0..=5);
    let reservations = vec((0..3_usize, target_name(), 0..3_u32, rarely()), 0..=2);
    let quotas = vec(prop::option::weighted(0.3, 0..6_u32), 3);
    let frozen = prop::option::weighted(
        0.1,
        prop_oneof![
            deployment_id().prop_map(Frozen::Deployment),
            target_name().prop_map(Frozen::Target),
        ],
    );
    let breaker = (
        0..4_u32,
        prop::sample::select(std::vec![0_u32, 25, 50, 100]),
    );
    (targets, deployments, reservations, quotas, frozen, breaker).prop_map(
        |(targets, deployments, reservations, quotas, frozen, breaker)| {
            let mut desired = nothing();
            desired.targets = TARGETS.iter().map(|t| name(t)).zip(targets).collect();
            for (id, deployment) in DEPLOYMENTS.iter().zip(deployments) {
                desired
                    .deployments
                    .extend(deployment.map(|d| (name(id), d)));
            }
            let named = desired
                .deployments
                .iter()
                .filter(|(id, deployment)| deployment.exposed && !id.name.as_str().ends_with('b'));
            desired.hostnames = named.map(|(id, _)| (id.clone(), hostname(id))).collect();
            for (at, (owner, target, count, ended)) in reservations.into_iter().enumerate() {
                let until = ended.then(|| ago(1));
                desired.reservations.insert(
                    name::<ReservationId>(&format!("{}/r{at}", OWNERS[owner])),
                    Reservation {
                        target,
                        count,
                        until,
                    },
                );
            }
            for (owner, quota) in OWNERS.iter().zip(quotas) {
                desired
                    .quotas
                    .extend(quota.map(|quota| (name(owner), quota)));
            }
            let frozen = frozen.into_iter();
            let frozen = frozen.map(|it| (it, "its.yaml cannot be used".to_owned()));
            desired.frozen.extend(frozen);
            desired.limits.breaker.max_removals = breaker.0;
            desired.limits.breaker.max_percent = breaker.1;
            desired
        },
    )
}

fn liveness() -> impl Strategy<Value = Liveness> {
    prop_oneof![
        12 => Just(Liveness::Heard),
        2 => Just(Liveness::Silent(ago(5))),
        2 => Just(Liveness::Silent(ago(50))),
        1 => Just(Liveness::Gone),
    ]
}

fn trust() -> impl Strategy<Value = Trust> {
    prop_oneof![
        12 => Just(Trust::Accepted(NOW.plus(Duration::from_secs(3600)))),
        1 => Just(Trust::Accepted(NOW.plus(Duration::from_secs(60)))),
        1 => Just(Trust::Accepted(ago(10))),
        2 => Just(Trust::Accepted(ago(100))),
        2 => Just(Trust::Refused),
        1 => Just(Trust::Unknown),
    ]
}

fn quarantined() -> impl Strategy<Value = Option<Quarantine>> {
    prop_oneof![
        8 => Just(None),
        1 => Just(Some(Quarantine::TrustLapsed)),
        1 => Just(Some(Quarantine::Refused)),
    ]
}

/// How far an agent is: unknown, an instruction behind, in step, in step and ready, ahead.
#[derive(Debug, Clone, Copy)]
enum Progress {
    Unheard,
    Behind,
    Starting,
    Ready,
    Ahead,
}

fn progress() -> impl Strategy<Value = Progress> {
    prop_oneof![
        8 => Just(Progress::Ready),
        2 => Just(Progress::Starting),
        2 => Just(Progress::Behind),
        1 => Just(Progress::Unheard),
        1 => Just(Progress::Ahead),
    ]
}

fn assigned() -> impl Strategy<Value = Option<Assigned>> {
    let assigned =
        (deployment_id(), digest(), 0..500_u64).prop_map(|(deployment, workload, since)| {
            Assigned {
                deployment,
                workload,
                since: ago(since),
            }
        });
    prop::option::weighted(0.6, assigned)
}

/// Half of them do.
fn says_what_serves(assigned: &Assigned) -> bool {
    assigned.since.as_secs().is_multiple_of(2)
}

fn reported(progress: Progress, assigned: Option<&Assigned>, stray: Option<&Assigned>) -> Reported {
    let generation = match progress {
        Progress::Unheard => return Reported::Unknown,
        Progress::Behind => Generation(2),
        Progress::Starting | Progress::Ready => Generation(3),
        Progress::Ahead => Generation(4),
    };
    let Some(assigned) = assigned.or(stray) else {
        return Reported::Idle(generation);
    };
    Reported::Running(Replica {
        generation,
        deployment: assigned.deployment.clone(),
        workload: assigned.workload,
        ready: matches!(progress, Progress::Ready | Progress::Ahead),
        serving: says_what_serves(assigned).then_some(assigned.workload),
        ready_since: Some(ago(5)),
        failing_since: None,
        cause: None,
    })
}

/// An agent in any condition, and whether it is being destroyed.
fn agent() -> impl Strategy<Value = (Agent, bool)> {
    let home = (target_name(), rarely(), rarely());
    let trust = (
        trust(),
        quarantined(),
        prop::option::weighted(0.2, 0..120_u64),
    );
    let work = (
        assigned(),
        progress(),
        prop::option::weighted(0.05, assigned()),
    );
    let cause = prop::option::of(prop::sample::select(CAUSES.to_vec()));
    let exposed = (0..4_usize, deployment_id(), cause);
    (home, liveness(), trust, work, exposed, rarely()).prop_map(
        |(home, liveness, trust, (assigned, progress, stray), exposed, retiring)| {
            let remedy = match exposed.0 {
                0 | 2 => Remedy::FreshEvidence,
                _ => Remedy::NotItsOwn,
            };
            let cause = exposed.2;
            let exposed = match (exposed.0, &assigned) {
                (0, Some(assigned)) => Exposure::Exposed(assigned.deployment.clone()),
                (1, _) if retiring => Exposure::Exposed(exposed.1),
                _ => Exposure::Hidden,
            };
            let mut reported = reported(progress, assigned.as_ref(), stray.flatten().as_ref());
            if let Reported::Running(replica) = &mut reported
                && !replica.ready
            {
                (replica.cause, replica.ready_since) = (cause, None);
                let own = cause.filter(|cause| cause.is_versions_fault());
                replica.failing_since = own.map(|_| ago(30));
            }
            let agent = Agent {
                target: home.0,
                slot: 0,
                datacenter: name(place(home.2)),
                size: name(size(home.1)),
                runtimes: Runtime::ALL.into(),
                liveness,
                trust: trust.0,
                attested: None,
                remedy,
                challenged: trust.2.map(ago),
                quarantined: trust.1,
                generation: Generation(3),
                idle_since: assigned.is_none().then(|| ago(20)),
                reported,
                assigned,
                exposed,
            };
            (agent, retiring)
        },
    )
}

fn order_state() -> impl Strategy<Value = OrderState> {
    prop_oneof![
        Just(OrderState::Open),
        Just(OrderState::Claimed),
        Just(OrderState::Provisioning),
        Just(OrderState::Fulfilled),
        (0..20_u64).prop_map(|seconds| OrderState::Failed(ago(seconds))),
        Just(OrderState::Cancelled),
    ]
}

fn order() -> impl Strategy<Value = LaunchOrder> {
    let fields = (
        target_name(),
        0..3_u32,
        1..3_u64,
        0..4_u32,
        order_state(),
        0..800_u64,
        (any::<bool>(), rarely()),
    );
    fields.prop_map(
        |(target, slot, generation, failures, state, opened, (unaccounted, far))| LaunchOrder {
            target,
            slot: slot + 20,
            provider: name("process"),
            datacenter: name(place(far)),
            generation,
            failures,
            state,
            opened: ago(opened),
            times: StageTimes::default(),
            cause: None,
            unaccounted: unaccounted && state.is_over(),
        },
    )
}

fn orphan() -> impl Strategy<Value = Orphan> {
    let fields = (
        prop::option::of(target_name()),
        0..60_u64,
        prop::option::of(20..24_u32),
        any::<bool>(),
    );
    fields.prop_map(|(target, since, slot, unjudged)| Orphan {
        unjudged: unjudged && target.is_some() && slot.is_some(),
        slot: slot.filter(|_| target.is_some()),
        target,
        datacenter: name("local"),
        provider: name("process"),
        policy: None,
        since: ago(since),
    })
}

/// A place without room.
fn shortage() -> impl Strategy<Value = (Spot, Shortage)> {
    (any::<bool>(), 1..60_u64).prop_map(|(far, seconds)| {
        let shortage = Shortage {
            cause: FailureCause::NoCapacity,
            failures: 1,
            until: NOW.plus(Duration::from_secs(seconds)),
        };
        (spot(far), shortage)
    })
}

/// The name of a deployment that has one.
fn hostname(deployment: &DeploymentId) -> Hostname {
    let label = deployment.to_string().replace('/', "-");
    name(&format!("{label}.example.com"))
}

/// Some of what is published is named, meant to be, and connected.
fn name_agent(fronts: &mut Fronts, id: &AgentId, agent: &Agent) {
    let Exposure::Exposed(deployment) = &agent.exposed else {
        return;
    };
    fronts.listed = agent.slot % 5 != 4;
    let hostname = hostname(deployment);
    if agent.slot % 3 != 1 {
        fronts.leads.insert(hostname.clone(), id.clone());
    }
    if agent.slot.is_multiple_of(2) {
        fronts.decided.insert(hostname, id.clone());
    }
    if agent.slot % 7 != 3 {
        fronts.open.insert(id.clone(), agent.slot % 4 != 1);
    }
}

/// A world in any condition.
pub(crate) fn observed() -> impl Strategy<Value = Observed> {
    let agents = vec(agent(), 0..=10);
    let (orders, orphans) = (vec(order(), 0..=4), vec(orphan(), 0..=2));
    let shortage = prop::option::weighted(0.2, shortage());
    let facts = vec((deployment_id(), fact()), 0..=3);
    let rest = (shortage, facts);
    (agents, orders, orphans, rest).prop_map(|(agents, orders, orphans, (shortage, facts))| {
        let mut observed = Observed::default();
        observed.shortages.extend(shortage);
        observed.rollouts.extend(facts);
        for (slot, (mut agent, retiring)) in (0..).zip(agents) {
            agent.slot = slot;
            let id = OrderId::launch(&name("test"), &agent.target, slot, 1).agent();
            if retiring {
                let opened = ago(5);
                observed.retires.insert(id.clone(), RetireOrder { opened });
            }
            name_agent(&mut observed.fronts, &id, &agent);
            observed.agents.insert(id, agent);
        }
        for order in orders {
            observed.launches.insert(id(&order), order);
        }
        for (at, orphan) in orphans.into_iter().enumerate() {
            observed
                .orphans
                .insert(name(&format!("orphan-{at}")), orphan);
        }
        observed
    })
}

fn id(order: &LaunchOrder) -> OrderId {
    OrderId::launch(&name("test"), &order.target, order.slot, order.generation)
}

/// Something that happens between two passes. The number picks whom it happens to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Pass,
    Hear(usize),
    Work(usize),
    Fail(usize),
    Confirm(usize),
    Cut(usize),
    Back(usize),
    Vanish(usize),
    Advance(u64),
    Doubt(usize),
    Judge(usize),
}

/// What happens, without faults.
pub(crate) fn calm_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Pass),
        6 => (0..12_usize).prop_map(Event::Hear),
        4 => (0..12_usize).prop_map(Event::Work),
        1 => (0..12_usize).prop_map(Event::Confirm),
        1 => (1..5_u64).prop_map(Event::Advance),
    ]
}

/// What happens without faults, while agents fall silent, come back, and cannot be judged for a while. No time passes, so
/// nobody is lost.
pub(crate) fn uncertain_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Pass),
        6 => (0..12_usize).prop_map(Event::Hear),
        4 => (0..12_usize).prop_map(Event::Work),
        2 => (0..12_usize).prop_map(Event::Cut),
        2 => (0..12_usize).prop_map(Event::Back),
        2 => (0..12_usize).prop_map(Event::Doubt),
        2 => (0..12_usize).prop_map(Event::Judge),
    ]
}

/// What happens, with faults.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        16 => calm_event(),
        1 => (0..12_usize).prop_map(Event::Fail),
        1 => (0..12_usize).prop_map(Event::Cut),
        1 => (0..12_usize).prop_map(Event::Back),
        1 => (0..12_usize).prop_map(Event::Vanish),
        1 => Just(Event::Advance(40)),
    ]
}

fn pick<K: Clone, V>(map: &BTreeMap<K, V>, at: usize) -> Option<K> {
    let len = map.len();
    (len > 0)
        .then(|| map.keys().nth(at % len).cloned())
        .flatten()
}

impl World {
    /// Lets something happen.
    pub(crate) fn happen(&mut self, event: Event) {
        let agent = |world: &Self, at| pick::<AgentId, _>(&world.observed.agents, at);
        match event {
            Event::Pass => drop(self.pass()),
            Event::Hear(at) => {
                if let Some(id) = agent(self, at) {
                    self.hear(&id);
                }
            }
            Event::Work(at) => {
                let order = pick(&self.observed.launches, at);
                if let Some(id) = order {
                    self.work_on(&id);
                }
            }
            Event::Fail(at) => {
                let now = self.now;
                let order = pick(&self.observed.launches, at);
                let order = order.and_then(|id| self.observed.launches.get_mut(&id));
                if let Some(order) = order.filter(|order| order.state.is_pending()) {
                    order.state = OrderState::Failed(now);
                }
            }
            Event::Confirm(at) => {
                let id = pick(&self.observed.retires, at);
                if let Some(id) = id {
                    self.confirm_retire(&id);
                }
            }
            Event::Cut(at) => {
                if let Some(id) = agent(self, at) {
                    self.cut(&id);
                }
            }
            Event::Back(at) => {
                if let Some(id) = agent(self, at) {
                    self.silent.remove(&id);
                    self.hear(&id);
                }
            }
            Event::Vanish(at) => {
                if let Some(id) = agent(self, at) {
                    self.agent(&id).liveness = Liveness::Gone;
                }
            }
            Event::Advance(seconds) => self.advance(seconds),
            Event::Doubt(at) => {
                if let Some(id) = agent(self, at) {
                    self.agent(&id).trust = Trust::Unknown;
                }
            }
            Event::Judge(at) => {
                let until = self.now.plus(TRUST);
                if let Some(id) = agent(self, at) {
                    self.agent(&id).trust = Trust::Accepted(until);
                }
            }
        }
    }
}

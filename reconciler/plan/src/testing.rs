//! Desired states and worlds from short texts, and plans as texts, for tests only. Shared by the tests beside the
//! rules and those in `tests/`, which is why it names the crate's items through `crate`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use easyenclave_schemas::documents::{Runtime, Spread};
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{
    AgentId, Datacenter, Digest, DisruptionReason, FailureCause, FleetId, Generation, OrderId,
    PolicyName, ProviderName, Revert, Spot, StageTimes, Timestamp, Weekday,
};

use crate::{
    Agent, Assigned, Breaker, Budget, Deployment, Desired, Disruption, Exposure, Frozen,
    LaunchOrder, Limits, Liveness, Observed, OnLapse, OrderState, Orphan, Pause, Placement, Plan,
    Quarantine, Remedy, Replica, Reported, Reservation, RetireOrder, Rollout, RolloutFact,
    Shortage, Target, Trust, Window,
};

/// 2026-01-01T00:00:00Z, when every test begins. Numbers in texts are seconds from here: ago for what has
/// happened, ahead for what is to end.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// The digest of the version `v`.
pub(crate) fn version(v: &str) -> Digest {
    Digest::of(v.as_bytes())
}

/// Reads a name.
pub(crate) fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// Runtimes by their words, with `+` between them.
pub(crate) fn runtimes(words: &str) -> BTreeSet<Runtime> {
    let all = [Runtime::Process, Runtime::Compose];
    let named = |runtime: &Runtime| words.split('+').any(|word| word == runtime.as_str());
    all.into_iter().filter(named).collect()
}

/// The words of a line.
struct Words<'t>(std::iter::Peekable<std::str::SplitWhitespace<'t>>);

impl<'t> Words<'t> {
    fn of(line: &'t str) -> Self {
        Self(line.split_whitespace().peekable())
    }

    fn next(&mut self) -> &'t str {
        self.0.next().expect("one more word in the line")
    }

    fn name<T: FromStr<Err: std::fmt::Debug>>(&mut self) -> T {
        name(self.next())
    }

    fn number<T: FromStr<Err: std::fmt::Debug>>(&mut self) -> T {
        let word = self.next().trim_start_matches(['#', 'x', 'g']);
        word.parse().expect("a number")
    }

    fn is_number(&mut self) -> bool {
        self.0
            .peek()
            .is_some_and(|word| word.parse::<u64>().is_ok())
    }

    fn ago(&mut self) -> Timestamp {
        NOW.minus(Duration::from_secs(self.number()))
    }

    fn ahead(&mut self) -> Timestamp {
        NOW.plus(Duration::from_secs(self.number()))
    }

    fn each(&mut self, mut each: impl FnMut(&mut Self, &'t str)) {
        while let Some(word) = self.0.next() {
            each(self, word);
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Words<'_>> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(Words::of)
}

fn freeze(desired: &mut Desired, frozen: Frozen) {
    let why = "its.yaml cannot be used".to_owned();
    desired.frozen.insert(frozen, why);
}

/// A desired state that wants nothing, with the defaults of a fleet document.
pub(crate) fn nothing() -> Desired {
    Desired {
        fleet: name::<FleetId>("test"),
        limits: Limits {
            breaker: Breaker {
                max_removals: 1,
                max_percent: 25,
            },
            lost_after: Duration::from_secs(30),
            claim_within: Duration::from_secs(60),
            make_within: Duration::from_secs(300),
            boot_within: Duration::from_secs(300),
            register_within: Duration::from_secs(600),
            ready_within: Duration::from_secs(300),
            orphan_after: Duration::from_secs(30),
            worker_lost_after: Duration::from_secs(600),
        },
        quotas: BTreeMap::new(),
        targets: BTreeMap::new(),
        reservations: BTreeMap::new(),
        deployments: BTreeMap::new(),
        hostnames: BTreeMap::new(),
        frozen: BTreeMap::new(),
        approvals: BTreeSet::new(),
    }
}

/// Reads a desired state, one thing a line.
pub(crate) fn desired(text: &str) -> Desired {
    let mut desired = nothing();
    for mut words in lines(text) {
        match words.next() {
            "breaker" => {
                desired.limits.breaker = Breaker {
                    max_removals: words.number(),
                    max_percent: words.number(),
                };
            }
            "quota" => drop(desired.quotas.insert(words.name(), words.number())),
            "target" => drop(desired.targets.insert(words.name(), target(words))),
            "reserve" => drop(
                desired
                    .reservations
                    .insert(words.name(), reservation(words)),
            ),
            "deploy" => drop(desired.deployments.insert(words.name(), deployment(words))),
            "host" => drop(desired.hostnames.insert(words.name(), words.name())),
            "freeze-deploy" => freeze(&mut desired, Frozen::Deployment(words.name())),
            "freeze-target" => freeze(&mut desired, Frozen::Target(words.name())),
            other => panic!("no such thing: {other}"),
        }
    }
    desired
}

/// `target NAME MIN MAX [warm N] [size S] [makes RUNTIME+...] [in DATACENTER] [at ZONE SHAPE]... [or PROVIDER DATACENTER]... [consolidates SECONDS] [drains SECONDS]
/// [budget MAX [for REASON+...] [window DAY+... FROM SECONDS]...]...`
fn target(mut words: Words) -> Target {
    let mut target = Target {
        datacenter: name("local"),
        size: name("tiny"),
        provider: name::<ProviderName>("process"),
        spots: Vec::new(),
        runtimes: runtimes("process+compose"),
        policy: name::<PolicyName>("sim"),
        on_lapse: OnLapse::Keep,
        min: words.number(),
        max: words.number(),
        warm: 0,
        disruption: Disruption::default(),
    };
    words.each(|words, word| match word {
        "budget" => target.disruption.budgets.push(Budget {
            reasons: BTreeSet::new(),
            most: words.name(),
            windows: Vec::new(),
        }),
        "for" => {
            let reasons = words.next().split('+').map(disruption);
            let budget = target.disruption.budgets.last_mut();
            budget.expect("a budget").reasons.extend(reasons);
        }
        "window" => {
            let budget = target.disruption.budgets.last_mut();
            budget.expect("a budget").windows.push(window(words));
        }
        "drains" => {
            target.disruption.drain_within = Some(Duration::from_secs(words.number()));
        }
        "consolidates" => {
            target.disruption.consolidate_after = Duration::from_secs(words.number());
        }
        "warm" => target.warm = words.number(),
        "stops" => target.on_lapse = OnLapse::Stop,
        "size" => target.size = words.name(),
        "makes" => target.runtimes = runtimes(words.next()),
        "in" => target.datacenter = words.name(),
        "or" => {
            if target.spots.is_empty() {
                target
                    .spots
                    .push(plain(&target.provider, &target.datacenter));
            }
            target.spots.push(plain(&words.name(), &words.name()));
        }
        "at" => target.spots.push(Spot {
            provider: target.provider.clone(),
            datacenter: target.datacenter.clone(),
            zone: Some(words.name()),
            shape: Some(words.name()),
        }),
        other => panic!("no such field of a target: {other}"),
    });
    target
}

fn plain(provider: &ProviderName, datacenter: &Datacenter) -> Spot {
    Spot {
        provider: provider.clone(),
        datacenter: datacenter.clone(),
        zone: None,
        shape: None,
    }
}

/// A reason by the name of its variant.
fn disruption(word: &str) -> DisruptionReason {
    let mut all = [
        DisruptionReason::Surplus,
        DisruptionReason::Drift,
        DisruptionReason::Refused,
    ]
    .into_iter();
    all.find(|reason| format!("{reason:?}") == word)
        .expect("a reason")
}

/// `DAY+...|daily FROM SECONDS`
fn window(words: &mut Words) -> Window {
    let days = words.next();
    let is_named = |day: &Weekday| days.split('+').any(|word| format!("{day:?}") == word);
    Window {
        days: Weekday::ALL.into_iter().filter(is_named).collect(),
        from: words.name(),
        lasts: Duration::from_secs(words.number()),
    }
}

/// `reserve OWNER/NAME TARGET COUNT [until SECONDS]`
fn reservation(mut words: Words) -> Reservation {
    let mut reservation = Reservation {
        target: words.name(),
        count: words.number(),
        until: None,
    };
    words.each(|words, word| match word {
        "until" => reservation.until = Some(words.ahead()),
        "ended" => reservation.until = Some(words.ago()),
        other => panic!("no such field of a reservation: {other}"),
    });
    reservation
}

/// `deploy OWNER/NAME xREPLICAS VERSION [exposed] [unavailable N] [surge N] [canary N] [wave PERCENT]... [steady SECONDS]
/// [deadline SECONDS] [reverts] [attempt N] [paused SECONDS] [compose] [spread] [size S] [on TARGET] [in DC] [not-in DC] [cloud C]
/// [not-cloud C] [named AGENT]`
fn deployment(mut words: Words) -> Deployment {
    let mut deployment = Deployment {
        replicas: words.number(),
        workload: version(words.next()),
        runtime: Runtime::Process,
        size: name("tiny"),
        placement: Placement::default(),
        rollout: Rollout::default(),
        exposed: false,
    };
    words.each(|words, word| match word {
        "exposed" => deployment.exposed = true,
        "spread" => deployment.placement.spread = Spread::Datacenters,
        "compose" => deployment.runtime = Runtime::Compose,
        "unavailable" => deployment.rollout.max_unavailable = words.number(),
        "surge" => deployment.rollout.max_surge = words.number(),
        "canary" => deployment.rollout.canary = words.number(),
        "wave" => deployment.rollout.waves.push(words.number()),
        "steady" => deployment.rollout.min_healthy = Duration::from_secs(words.number()),
        "deadline" => {
            deployment.rollout.deadline = Some(Duration::from_secs(words.number()));
        }
        "reverts" => deployment.rollout.reverts = true,
        "attempt" => deployment.rollout.attempt = words.number(),
        "paused" => {
            deployment.rollout.pause = Some(Pause {
                owner: "ann".into(),
                reason: "freeze".into(),
                until: words.ahead(),
            });
        }
        "size" => deployment.size = words.name(),
        "on" => drop(deployment.placement.targets.insert(words.name())),
        "in" => drop(
            deployment
                .placement
                .allowed_datacenters
                .insert(words.name()),
        ),
        "not-in" => drop(deployment.placement.denied_datacenters.insert(words.name())),
        "named" => deployment.placement.agent = Some(words.name()),
        "cloud" => drop(deployment.placement.allowed_clouds.insert(words.name())),
        "not-cloud" => drop(deployment.placement.denied_clouds.insert(words.name())),
        other => panic!("no such field of a deployment: {other}"),
    });
    deployment
}

/// Reads a world, one thing a line.
pub(crate) fn observed(text: &str) -> Observed {
    let mut observed = Observed::default();
    for mut words in lines(text) {
        match words.next() {
            "agent" => drop(observed.agents.insert(words.name(), agent(words))),
            "order" => {
                let (order, launch) = launch(words);
                observed.launches.insert(order, launch);
            }
            "retiring" => {
                let opened = NOW;
                observed
                    .retires
                    .insert(words.name(), RetireOrder { opened });
            }
            "full" => {
                let spot = plain(&words.name(), &words.name());
                let (failures, until) = (1, words.ahead());
                let cause = FailureCause::NoCapacity;
                let shortage = Shortage {
                    cause,
                    failures,
                    until,
                };
                observed.shortages.insert(spot, shortage);
            }
            "short" => {
                let (spot, shortage) = shortage(&mut words);
                observed.shortages.insert(spot, shortage);
            }
            "unheard" => drop(observed.unheard.insert((words.name(), words.name()))),
            "unlisted" => drop(observed.unlisted.insert(words.name())),
            "orphan" => drop(observed.orphans.insert(words.name(), orphan(words))),
            "rollout" => drop(observed.rollouts.insert(words.name(), rollout(words))),
            "listed" => observed.fronts.listed = true,
            "leads" => drop(observed.fronts.leads.insert(words.name(), words.name())),
            "decided" => drop(observed.fronts.decided.insert(words.name(), words.name())),
            "open" => drop(observed.fronts.open.insert(words.name(), true)),
            "closed" => drop(observed.fronts.open.insert(words.name(), false)),
            other => panic!("no such thing: {other}"),
        }
    }
    observed
}

/// `rollout OWNER/NAME [healthy VERSION] [needs RUNTIME] [reverted VERSION ATTEMPT]`
fn rollout(mut words: Words) -> RolloutFact {
    let mut fact = RolloutFact::default();
    words.each(|words, word| match word {
        "healthy" => fact.healthy = Some(version(words.next())),
        "needs" => fact.runtime = runtimes(words.next()).pop_first(),
        "reverted" => {
            let given_up = format!("deploy acme/a x1 {} attempt {}", words.next(), words.next());
            fact.reverted = Some(reverted(&desired(&given_up).deployments[&name("acme/a")]));
        }
        other => panic!("no such field of a roll-out: {other}"),
    });
    fact
}

/// What is recorded of a deployment that was given up as it is wanted.
pub(crate) fn reverted(spec: &Deployment) -> Revert {
    Revert {
        attempt: spec.attempt(),
        from: spec.workload,
        to: version("v1"),
        cause: WorkloadCause::Exited,
        at: NOW,
    }
}

/// `short ZONE SHAPE CAUSE SECONDS`
fn shortage(words: &mut Words) -> (Spot, Shortage) {
    let spot = Spot {
        provider: name("process"),
        datacenter: name("local"),
        zone: Some(words.name()),
        shape: Some(words.name()),
    };
    let shortage = Shortage {
        cause: cause(words.next()),
        failures: 1,
        until: words.ahead(),
    };
    (spot, shortage)
}

/// A trusted idle agent of a target.
pub(crate) fn idle_agent(target: &str, slot: u32) -> Agent {
    Agent {
        target: name(target),
        slot,
        datacenter: name("local"),
        size: name("tiny"),
        runtimes: runtimes("process+compose"),
        liveness: Liveness::Heard,
        trust: Trust::Accepted(NOW.plus(Duration::from_secs(3600))),
        attested: None,
        remedy: Remedy::FreshEvidence,
        challenged: None,
        quarantined: None,
        generation: Generation(1),
        assigned: None,
        idle_since: Some(NOW.minus(Duration::from_secs(3600))),
        reported: Reported::Idle(Generation(1)),
        exposed: Exposure::Hidden,
    }
}

/// `agent NAME TARGET #SLOT [what it carries] [serves VERSION | runs-meanwhile VERSION] [how it is]`
fn agent(mut words: Words) -> Agent {
    let mut agent = idle_agent(words.next(), words.number());
    words.each(|words, word| match word {
        "idle" => {}
        "idle-unknown" => agent.idle_since = None,
        "since" => agent.idle_since = Some(words.ago()),
        "runs" | "starts" | "told" | "strays" | "kept" => carry(&mut agent, word, words),
        "silent" => agent.liveness = Liveness::Silent(words.ago()),
        "gone" => agent.liveness = Liveness::Gone,
        "unheard" => agent.reported = Reported::Unknown,
        "stopping" => agent.generation = Generation(2),
        "lapsed" => agent.trust = Trust::Accepted(words.ago()),
        "trusted" => agent.trust = Trust::Accepted(words.ahead()),
        "refused" => (agent.trust, agent.remedy) = (Trust::Refused, Remedy::NotItsOwn),
        "doubted" => {
            (agent.trust, agent.attested) = (Trust::Refused, Some(words.ago()));
        }
        "unread" => (agent.trust, agent.remedy) = (Trust::Unknown, Remedy::NotItsOwn),
        "unjudged" => agent.trust = Trust::Unknown,
        "attested" => agent.attested = Some(words.ago()),
        "ready" => replica(&mut agent).ready_since = Some(words.ago()),
        "serves" => replica(&mut agent).serving = Some(version(words.next())),
        "runs-meanwhile" => meanwhile(&mut agent, version(words.next())),
        "fails" => fail(&mut agent, workload_cause(words.next())),
        "failing" => replica(&mut agent).failing_since = Some(words.ago()),
        "challenged" => agent.challenged = Some(words.ago()),
        "out-lapsed" => agent.quarantined = Some(Quarantine::TrustLapsed),
        "out-refused" => agent.quarantined = Some(Quarantine::Refused),
        "exposed" => agent.exposed = Exposure::Exposed(words.name()),
        "size" => agent.size = words.name(),
        "can" => agent.runtimes = runtimes(words.next()),
        "in" => agent.datacenter = words.name(),
        other => panic!("no such field of an agent: {other}"),
    });
    agent
}

/// It has failed since it was told.
fn fail(agent: &mut Agent, cause: WorkloadCause) {
    let own = cause.is_versions_fault();
    let since = own.then(|| NOW.minus(Duration::from_secs(60)));
    let replica = replica(agent);
    (replica.cause, replica.failing_since) = (Some(cause), since);
}

/// It was told, has not confirmed, and says that it serves another version.
fn meanwhile(agent: &mut Agent, serving: Digest) {
    let assigned = agent.assigned.as_ref().expect("told");
    agent.reported = Reported::Running(Replica {
        generation: Generation(1),
        deployment: assigned.deployment.clone(),
        workload: serving,
        ready: true,
        serving: Some(serving),
        ready_since: None,
        failing_since: None,
        cause: None,
    });
}

fn replica(agent: &mut Agent) -> &mut Replica {
    match &mut agent.reported {
        Reported::Running(replica) => replica,
        Reported::Idle(_) | Reported::Unknown => panic!("nothing runs"),
    }
}

/// A cause by the name of its variant.
fn workload_cause(word: &str) -> WorkloadCause {
    let mut all = CAUSES.into_iter();
    let found = all.find(|cause| format!("{cause:?}") == word);
    found.expect("a cause of a workload")
}

/// Why a workload may not be ready.
pub(crate) const CAUSES: [WorkloadCause; 8] = [
    WorkloadCause::ImageMissing,
    WorkloadCause::DigestMismatch,
    WorkloadCause::StartFailed,
    WorkloadCause::Exited,
    WorkloadCause::ProbeFailing,
    WorkloadCause::RegistryDown,
    WorkloadCause::EngineDown,
    WorkloadCause::SecretsUnavailable,
];

/// `runs|starts|told|strays|kept OWNER/NAME VERSION`: is ready, is not ready, has not confirmed, does so undecided, or
/// does so under an instruction that is not recorded any more.
fn carry(agent: &mut Agent, how: &str, words: &mut Words) {
    let assigned = Assigned {
        deployment: words.name(),
        workload: version(words.next()),
        since: NOW.minus(Duration::from_secs(60)),
    };
    let replica = Replica {
        generation: Generation(2),
        deployment: assigned.deployment.clone(),
        workload: assigned.workload,
        ready: how != "starts",
        serving: None,
        ready_since: None,
        failing_since: None,
        cause: None,
    };
    agent.generation = Generation(2);
    if how != "told" {
        agent.reported = Reported::Running(replica);
    }
    if how == "kept" {
        agent.generation = Generation(0);
    } else if how != "strays" {
        (agent.assigned, agent.idle_since) = (Some(assigned), None);
    }
}

/// `order TARGET #SLOT gGENERATION open|claimed|provisioning|fulfilled|cancelled|failed SECONDS [of CAUSE] [failures N]
/// [opened SECONDS] [times ...] [unaccounted] [by PROVIDER DATACENTER]`
fn launch(mut words: Words) -> (OrderId, LaunchOrder) {
    let (target, slot, generation) = (words.name(), words.number(), words.number());
    let id = OrderId::launch(&name("test"), &target, slot, generation);
    let mut order = LaunchOrder {
        target,
        slot,
        provider: name("process"),
        datacenter: name("local"),
        generation,
        failures: 0,
        state: OrderState::Open,
        opened: NOW,
        times: StageTimes::default(),
        cause: None,
        unaccounted: false,
    };
    words.each(|words, word| match word {
        "open" => order.state = OrderState::Open,
        "claimed" => order.state = OrderState::Claimed,
        "provisioning" => order.state = OrderState::Provisioning,
        "fulfilled" => order.state = OrderState::Fulfilled,
        "cancelled" => order.state = OrderState::Cancelled,
        "failed" => order.state = OrderState::Failed(words.ago()),
        "failures" => order.failures = words.number(),
        "of" => order.cause = Some(cause(words.next())),
        "times" => order.times = times(words),
        "unaccounted" => order.unaccounted = true,
        "by" => (order.provider, order.datacenter) = (words.name(), words.name()),
        "opened" => order.opened = words.ago(),
        other => panic!("no such field of an order: {other}"),
    });
    (id, order)
}

/// `times CLAIMED [MADE [BOOTED [REGISTERED]]]`, in seconds ago.
fn times(words: &mut Words) -> StageTimes {
    let mut next = || words.is_number().then(|| words.ago());
    StageTimes {
        claimed_at: next(),
        made_at: next(),
        booted_at: next(),
        registered_at: next(),
        listened_again_at: None,
    }
}

/// A cause by the name of its variant.
fn cause(word: &str) -> FailureCause {
    let mut all = FailureCause::ALL.into_iter();
    all.find(|cause| format!("{cause:?}") == word)
        .expect("a cause")
}

/// `orphan NAME SECONDS [of TARGET] [slot #SLOT] [unjudged]`
fn orphan(mut words: Words) -> Orphan {
    let mut orphan = Orphan {
        since: words.ago(),
        target: None,
        datacenter: name("local"),
        provider: name::<ProviderName>("process"),
        slot: None,
        policy: None,
        unjudged: false,
    };
    words.each(|words, word| match word {
        "unjudged" => orphan.unjudged = true,
        "of" => orphan.target = Some(words.name()),
        "slot" => orphan.slot = Some(words.number()),
        other => panic!("no such field of an orphan: {other}"),
    });
    orphan
}

/// A plan as people read it in tests: versions by name, held removals by their reason.
pub(crate) fn text(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.actions.iter().map(ToString::to_string).collect();
    for hold in &plan.held {
        lines.push(format!("hold: {}", hold.reason));
        lines.extend(hold.actions.iter().map(|action| format!("  {action}")));
    }
    lines.extend(plan.waits.iter().map(|wait| format!("wait: {wait}")));
    let mut text = lines.join("\n");
    for v in ["v1", "v2", "v3"] {
        text = text.replace(&version(v).to_string(), v);
    }
    for hold in plan.held.iter().chain(&plan.approved) {
        text = text.replace(&hold.digest.to_string(), "DIGEST");
    }
    text
}

/// An order's or agent's id as the planner makes it.
pub(crate) fn unit(target: &str, slot: u32, generation: u64) -> AgentId {
    OrderId::launch(&name("test"), &name(target), slot, generation).agent()
}

/// The plan of a world, by their texts.
#[cfg(test)]
pub(crate) fn planned(state: &str, world: &str) -> crate::Plan {
    crate::plan(&desired(state), &observed(world), NOW)
}

/// Plans and compares with what is expected. The independent checker must find nothing either.
pub(crate) fn check(state: &str, world: &str, expected: expect_test::Expect) {
    let (desired, observed) = (desired(state), observed(world));
    let plan = crate::plan(&desired, &observed, NOW);
    expected.assert_eq(&text(&plan));
    let violations = crate::audit(&desired, &observed, &plan, NOW);
    assert!(violations.is_empty(), "{violations:#?}");
}

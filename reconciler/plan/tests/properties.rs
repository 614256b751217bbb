//! The ten properties of a plan, each over generated fleets. Most cases are single plans of worlds in any
//! condition, however odd; the others let passes and events follow each other in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_plan::*;
use easyenclave_schemas::wire::WorkloadCause;
use easyenclave_schemas::{AgentId, DeploymentId, Generation, TargetName, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::fleets::{ago, deployment, desired, event, observed};
use crate::testing::{NOW, name, nothing, text, version};
use crate::world::World;
use crate::{fleets, testing};

/// So many times the usual number of cases. An ordinary run tries the same worlds each time, so that it speaks of the
/// change under test; with `PROPTEST_CASES` set it hunts in new ones. What it finds becomes a named test rather than a
/// file of seeds.
#[expect(
    clippy::disallowed_methods,
    reason = "how hard tests try is no setting"
)]
pub(crate) fn config(times: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let rng_seed = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => RngSeed::Random,
        None => RngSeed::Fixed(7),
    };
    ProptestConfig {
        cases: usual.cases * times,
        max_global_rejects: usual.max_global_rejects.max(16 * usual.cases),
        failure_persistence: None,
        rng_seed,
        ..usual
    }
}

/// Violations of one property, as the independent checker sees them.
fn broken(property: u8, desired: &Desired, observed: &Observed) -> Vec<String> {
    let plan = plan(desired, observed, NOW);
    let violations = audit(desired, observed, &plan, NOW).into_iter();
    let of = violations.filter(|v| v.property == property || v.property == 0);
    of.map(|v| format!("{v}\n{}", text(&plan))).collect()
}

/// What a plan takes from an agent.
fn takes(action: &Action) -> Option<&AgentId> {
    match action {
        Action::Unassign { agent, .. } | Action::Retire { agent, .. } => Some(agent),
        _ => None,
    }
}

fn gives(action: &Action) -> Option<&AgentId> {
    match action {
        Action::Assign { agent, .. } | Action::Expose { agent, .. } => Some(agent),
        _ => None,
    }
}

/// What a plan does, without saying to which of several equal agents.
fn kinds(plan: &Plan) -> Vec<String> {
    let mut kinds: Vec<String> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Assign { deployment, .. } => format!("assign {deployment}"),
            Action::Launch { target, .. } => format!("launch {target}"),
            Action::Retire { reason, .. } => format!("retire {reason}"),
            other => other.to_string(),
        })
        .collect();
    kinds.sort();
    kinds
}

/// Everything that counts against a target's maximum.
fn machines(observed: &Observed, target: &TargetName) -> usize {
    let agents = observed.agents.iter().filter(|(_, a)| a.target == *target);
    let orders = observed.launches.iter();
    let orders = orders.filter(|(_, o)| o.target == *target && o.state.is_pending());
    let mut ids: BTreeSet<AgentId> = agents.map(|(id, _)| id.clone()).collect();
    ids.extend(orders.map(|(id, _)| id.agent()));
    ids.len()
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn property_01_unknown_removes_doubles_and_exposes_nothing(
        desired in desired(),
        mut observed in observed(),
        how in vec(0..3_usize, 10),
    ) {
        for (agent, how) in observed.agents.values_mut().zip(&how) {
            match how {
                0 => agent.liveness = Liveness::Silent(ago(10)),
                1 => agent.reported = Reported::Unknown,
                _ => continue,
            }
            if *how == 1 && agent.liveness == Liveness::Gone {
                agent.liveness = Liveness::Heard;
            }
            if *how == 1 && agent.liveness != Liveness::Heard {
                agent.liveness = Liveness::Silent(ago(10));
            }
        }
        let plan = plan(&desired, &observed, NOW);
        for (id, _) in observed.agents.iter().zip(&how).filter(|(_, how)| **how < 2).map(|(a, _)| a) {
            let touched = plan.actions.iter().any(|a| takes(a) == Some(id) || gives(a) == Some(id));
            prop_assert!(!touched, "{id}\n{}", text(&plan));
        }
        prop_assert_eq!(broken(1, &desired, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_01_a_verifier_that_is_away_changes_nothing(
        desired in desired(),
        mut observed in observed(),
    ) {
        for agent in observed.agents.values_mut() {
            agent.trust = Trust::Unknown;
            agent.quarantined = None;
        }
        let plan = plan(&desired, &observed, NOW);
        for action in &plan.actions {
            let judged = matches!(action, Action::Quarantine { .. });
            prop_assert!(!judged && gives(action).is_none(), "{action}");
        }
    }

    #[test]
    fn property_02_what_is_recorded_is_not_done_again(
        desired in desired(),
        observed in observed(),
    ) {
        let mut world = World::of(desired, observed);
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..6 {
            for action in world.pass().actions {
                let thing = thing(&action);
                let before = told.insert(thing.clone(), action.to_string());
                prop_assert!(before.is_none(), "{thing}: {before:?}, then {action}");
            }
        }
        let last = world.plan();
        prop_assert!(last.is_empty(), "{}", text(&last));
    }

    #[test]
    fn property_02_a_world_in_which_not_everything_runs_everywhere_comes_to_rest(
        (desired, observed) in fleets::choosy(),
    ) {
        rest(World::of(desired, observed))?;
    }

    #[test]
    fn property_05_nothing_is_given_what_it_cannot_run((desired, observed) in fleets::choosy()) {
        let plan = plan(&desired, &observed, NOW);
        prop_assert_eq!(audit(&desired, &observed, &plan, NOW), std::vec![]);
    }

    #[test]
    fn what_is_spread_is_even_as_far_as_there_are_agents_and_no_replica_waits_for_it(
        idle in vec(0..5_usize, 3),
        replicas in 0..12_usize,
    ) {
        let mut state = format!("deploy acme/a x{replicas} v1 spread\n");
        let mut world = String::new();
        for (at, idle) in idle.iter().enumerate() {
            state += &format!("target t{at} 0 9 in dc{at} consolidates 60\n");
            for slot in 0..*idle {
                world += &format!("agent a{slot}{at} t{at} #{slot} in dc{at}\n");
            }
        }
        let plan = plan(&testing::desired(&state), &testing::observed(&world), NOW);
        let mut given = [0; 3];
        for action in &plan.actions {
            if let Action::Assign { agent, .. } = action {
                given[usize::from(agent.as_str().as_bytes()[2] - b'0')] += 1;
            }
        }
        prop_assert_eq!(given.iter().sum::<usize>(), replicas.min(idle.iter().sum()));
        for (here, there) in (0..3).flat_map(|here| (0..3).map(move |there| (here, there))) {
            let is_full = given[there] == idle[there];
            prop_assert!(is_full || given[here] <= given[there] + 1, "{}", text(&plan));
        }
    }

    #[test]
    fn property_02_any_world_comes_to_rest(
        desired in desired(),
        observed in observed(),
    ) {
        rest(World::of(desired, observed))?;
    }

    #[test]
    fn property_03_order_does_not_matter(
        desired in desired(),
        observed in observed(),
    ) {
        let plan = plan(&desired, &observed, NOW);
        let (back, front) = (backwards(&desired), backwards_world(&observed));
        prop_assert_eq!(&plan, &easyenclave_plan::plan(&back, &front, NOW));
        prop_assert_eq!(plan.digest(), easyenclave_plan::plan(&back, &front, NOW).digest());
    }

    #[test]
    fn property_03_the_names_of_equal_agents_do_not_matter(
        desired in desired(),
        count in 0..8_u32,
        salt in 0..1000_u32,
    ) {
        let agents = |salt: u32| {
            let agent = |slot| {
                let digest = version(&format!("{salt}-{slot}")).short(8);
                let id = name::<AgentId>(&format!("alpha-{digest}"));
                (id, testing::idle_agent("alpha", slot))
            };
            let agents = (0..count).map(agent).collect();
            Observed { agents, ..Observed::default() }
        };
        let (one, two) = (plan(&desired, &agents(0), NOW), plan(&desired, &agents(salt), NOW));
        prop_assert_eq!(kinds(&one), kinds(&two));
    }

    #[test]
    fn property_04_the_maximum_holds_in_any_interleaving(
        desired in desired(),
        events in vec(event(), 0..80),
    ) {
        let mut world = World::of(desired, Observed::default());
        for event in events {
            world.happen(event);
            for (target, spec) in &world.desired.targets {
                let there = machines(&world.observed, target);
                prop_assert!(there <= spec.max as usize, "{target} has {there}");
            }
        }
    }

    #[test]
    fn property_05_nothing_runs_or_shows_without_fresh_trust(
        desired in desired(),
        observed in observed(),
    ) {
        let plan = plan(&desired, &observed, NOW);
        for id in plan.actions.iter().filter_map(gives) {
            let trust = observed.agents[id].trust;
            prop_assert!(matches!(trust, Trust::Accepted(until) if until > NOW), "{id}");
        }
        prop_assert_eq!(broken(5, &desired, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_06_single_plans_keep_enough_ready(
        desired in desired(),
        observed in observed(),
    ) {
        prop_assert_eq!(broken(6, &desired, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_07_more_than_the_breaker_allows_is_held(
        desired in desired(),
        observed in observed(),
    ) {
        let first = plan(&desired, &observed, NOW);
        prop_assert_eq!(broken(7, &desired, &observed), Vec::<String>::new());
        let mut approved = desired.clone();
        approved.approvals.extend(first.held.iter().map(|hold| Approval {
            held: hold.digest,
            revision: None,
        }));
        let second = plan(&approved, &observed, NOW);
        for hold in &first.held {
            let held = second.held.iter().any(|other| other.digest == hold.digest);
            prop_assert!(!held, "{hold}\n{}", text(&second));
        }
        prop_assert_eq!(broken(7, &approved, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_07_an_empty_tree_removes_nothing(mut observed in observed()) {
        for agent in observed.agents.values_mut() {
            agent.liveness = Liveness::Heard;
            agent.target = name("alpha");
        }
        let plan = plan(&nothing(), &observed, NOW);
        let removed = plan.actions.iter().any(|a| takes(a).is_some());
        prop_assert!(!removed, "{}", text(&plan));
    }

    #[test]
    fn property_08_only_the_newest_version_is_started(
        desired in desired(),
        observed in observed(),
    ) {
        prop_assert_eq!(broken(8, &desired, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_09_reservations_and_quotas_hold(
        desired in desired(),
        observed in observed(),
    ) {
        prop_assert_eq!(broken(9, &desired, &observed), Vec::<String>::new());
    }

    #[test]
    fn property_10_an_agent_that_is_not_chosen_has_one_reason_and_one_that_is_has_none(
        (desired, observed) in fleets::choosy(),
    ) {
        let plan = plan(&desired, &observed, NOW);
        for id in desired.deployments.keys().filter(|id| !is_frozen(&desired, id)) {
            let issues = whynot(&desired, &observed, id, NOW);
            for (agent, fact) in &observed.agents {
                let is_given = |a: &Action| matches!(a, Action::Assign { agent: to, deployment, .. } if to == agent && deployment == id);
                let of = issues.iter().filter(|(other, _)| other == agent).count();
                let expected = match plan.actions.iter().any(is_given) {
                    true => 0,
                    // Where it may stay it has none.
                    false if has(fact, id) => of.min(1),
                    false => 1,
                };
                prop_assert_eq!(of, expected, "{} {}\n{}", id, agent, text(&plan));
            }
        }
    }

    #[test]
    fn property_10_nothing_is_silently_stuck(
        desired in desired(),
        observed in observed(),
    ) {
        prop_assert_eq!(broken(10, &desired, &observed), Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn property_02_a_fleet_comes_to_rest_after_any_events(
        first in desired(),
        second in desired(),
        events in vec(event(), 0..60),
    ) {
        let mut world = World::of(first, Observed::default());
        let half = events.len() / 2;
        for (at, event) in events.into_iter().enumerate() {
            if at == half {
                world.desired = second.clone();
            }
            world.happen(event);
        }
        world.desired = second;
        rest(world)?;
    }

    #[test]
    fn property_07_no_owner_goes_unasked_when_documents_go(
        mut desired in desired(),
        targets in any::<bool>(),
        gone in vec(any::<bool>(), 9),
    ) {
        desired.frozen.clear();
        let most = desired.limits.breaker.max_removals as usize;
        let mut world = World::of(desired, Observed::default());
        (0..40).for_each(|_| drop(world.turn()));
        let before = ready_by_owner(&world);
        let mut stays = gone.iter().map(|gone| !gone);
        match targets {
            true => world.desired.targets.retain(|_, _| stays.next().unwrap_or(true)),
            false => world.desired.deployments.retain(|_, _| stays.next().unwrap_or(true)),
        }
        (0..40).for_each(|_| drop(world.turn()));
        let after = ready_by_owner(&world);
        for (owner, had) in before {
            prop_assert!(had <= most || after.contains_key(&owner), "{owner} had {had}\n{}", world.text());
        }
    }

    #[test]
    fn property_06_a_roll_out_keeps_enough_ready(
        deployment in deployment(),
        stuck in any::<bool>(),
        faulty in any::<bool>(),
        events in vec(fleets::calm_event(), 0..80),
    ) {
        let mut world = settled(deployment.clone());
        if stuck {
            world.broken.insert(version("v3"));
        }
        if faulty {
            world.causes.insert(version("v3"), WorkloadCause::Exited);
        }
        let spec = world.desired.deployments.values_mut().next().expect("the deployment");
        spec.workload = version("v3");
        let floor = deployment.replicas.saturating_sub(deployment.rollout.max_unavailable) as usize;
        for event in events {
            world.happen(event);
            let ready = world.ready("acme/a");
            prop_assert!(ready >= floor, "{ready} of {floor}");
        }
    }

    #[test]
    fn property_07_nothing_goes_unasked_whatever_is_heard_when(
        deployment in deployment(),
        fewer in 0..4_u32,
        moves in any::<bool>(),
        lost in any::<bool>(),
        events in vec(fleets::uncertain_event(), 0..60),
    ) {
        let replicas = deployment.replicas;
        let mut world = settled(deployment);
        world.desired.targets.extend(testing::desired("target beta 0 6 in far").targets);
        let spec = world.desired.deployments.values_mut().next().expect("the deployment");
        (spec.workload, spec.replicas) = (version("v3"), replicas.min(fewer));
        let removed = replicas - spec.replicas;
        if moves {
            spec.placement.targets.insert(name("beta"));
        }
        if lost {
            world.lose_store();
        }
        let least = if removed > 1 { replicas } else { replicas - removed };
        for event in events {
            world.happen(event);
            let there = world.observed.agents.values().filter(|a| is_used(a)).count();
            prop_assert!(there >= least as usize, "{there} of {replicas}, {removed} removed\n{}", world.text());
        }
    }

    #[test]
    fn property_02_what_is_too_many_has_been_so_for_as_long_as_it_must(
        wanted in vec((0..5_u32, vec(fleets::calm_event(), 0..30), 0..40_u64), 1..8),
    ) {
        let state = "breaker 100 100\ntarget alpha 0 6 warm 1 consolidates 30\ndeploy acme/a x1 v1";
        let mut world = World::new(state, "");
        world.settle();
        let mut surplus = Vec::new();
        for (replicas, events, pause) in wanted {
            let spec = world.desired.deployments.values_mut().next().expect("the deployment");
            spec.replicas = replicas;
            for event in events.into_iter().chain([fleets::Event::Advance(pause), fleets::Event::Pass]) {
                if matches!(event, fleets::Event::Pass) {
                    // What is wanted while no agent can take it, and not any more after that, leaves no trace.
                    world.answer_all();
                    let (before, now) = (spare(&world), world.now);
                    surplus.push((now, before));
                    let gone = world.pass().actions.iter().filter(|a| is_surplus(a)).count();
                    let recent = surplus.iter().filter(|(at, _)| now.since(*at) < Duration::from_secs(30));
                    let least = recent.map(|(_, spare)| *spare).min().unwrap_or_default();
                    prop_assert!(gone == 0 || gone <= least, "{gone} went, {least} were too many\n{}", world.text());
                } else {
                    world.happen(event);
                }
            }
        }
    }

    #[test]
    fn property_07_a_target_is_renewed_within_its_budget_and_maximum(
        deployment in deployment(),
        budget in 1..4_u32,
        max in 1..9_u32,
        events in vec(fleets::calm_event(), 0..120),
    ) {
        let (replicas, most) = (deployment.replicas, budget as usize);
        let mut world = settled(deployment);
        let target = world.desired.targets.values_mut().next().expect("the target");
        (target.size, target.max) = (name("big"), max.max(replicas));
        target.disruption = testing::desired(&format!("target a 0 1 budget {budget}")).targets[&name::<TargetName>("a")].disruption.clone();
        let spec = world.desired.deployments.values_mut().next().expect("the deployment");
        spec.size = name("big");
        for event in events {
            world.happen(event);
            let going = world.observed.agents.iter().filter(|(id, a)| is_going(&world, id, a)).count();
            prop_assert!(going <= most, "{going} of {most}\n{}", world.text());
            let there = machines(&world.observed, &name("alpha"));
            prop_assert!(there <= max.max(replicas) as usize, "{there} machines");
            prop_assert!(world.ready("acme/a") >= replicas as usize, "{}", world.text());
        }
        world.settle();
        if max > replicas {
            prop_assert_eq!(world.ready("acme/a"), replicas as usize);
            let old = world.observed.agents.values().filter(|a| a.size.as_str() == "tiny").count();
            prop_assert_eq!(old, 0, "{}", world.text());
        }
    }

    #[test]
    fn property_08_a_stuck_version_does_not_delay_the_next(
        deployment in deployment(),
        stuck_for in 0..10_u64,
        faulty in any::<bool>(),
    ) {
        let replicas = deployment.replicas as usize;
        let mut world = settled(deployment);
        world.broken.insert(version("v2"));
        if faulty {
            world.causes.insert(version("v2"), WorkloadCause::Exited);
        }
        set_version(&mut world, "v2");
        for _ in 0..stuck_for {
            world.turn();
        }
        set_version(&mut world, "v3");
        let plan = world.plan();
        for agent in world.observed.agents.iter().filter(|(_, a)| runs(a, "v2")).map(|(id, _)| id) {
            let told = |a: &Action| gives(a) == Some(agent) || takes(a) == Some(agent);
            prop_assert!(plan.actions.iter().any(told), "{}", text(&plan));
        }
        world.settle();
        let current = world.observed.agents.values().filter(|a| runs(a, "v3")).count();
        prop_assert_eq!(current, replicas);
        prop_assert_eq!(world.ready("acme/a"), replicas);
    }
}

fn is_frozen(desired: &Desired, id: &DeploymentId) -> bool {
    desired.frozen.contains_key(&Frozen::Deployment(id.clone()))
}

/// Whether an agent was told to run a deployment, or runs it.
fn has(agent: &Agent, id: &DeploymentId) -> bool {
    let is_told = agent
        .assigned
        .as_ref()
        .is_some_and(|told| told.deployment == *id);
    is_told || matches!(&agent.reported, Reported::Running(replica) if replica.deployment == *id)
}

/// How many replicas each owner has ready.
fn ready_by_owner(world: &World) -> BTreeMap<String, usize> {
    let mut ready = BTreeMap::new();
    for agent in world.observed.agents.values() {
        if let (Some(assigned), Reported::Running(replica)) = (&agent.assigned, &agent.reported)
            && replica.ready
        {
            *ready
                .entry(assigned.deployment.owner.to_string())
                .or_default() += 1;
        }
    }
    ready
}

/// Whether an agent of the old size is on its way out: being destroyed, or told to stop and not idle yet.
fn is_going(world: &World, id: &AgentId, agent: &Agent) -> bool {
    let stopping = agent.assigned.is_none()
        && !matches!(agent.reported, Reported::Idle(seen) if seen >= agent.generation);
    agent.size.as_str() == "tiny" && (world.observed.retires.contains_key(id) || stopping)
}

/// Agents of `alpha` beyond those that are wanted.
fn spare(world: &World) -> usize {
    let spec = &world.desired.targets[&name::<TargetName>("alpha")];
    let replicas: u32 = world.desired.deployments.values().map(|d| d.replicas).sum();
    let wanted = (replicas + spec.warm).min(spec.max) as usize;
    let live = |id: &&AgentId| !world.observed.retires.contains_key(*id);
    world
        .observed
        .agents
        .keys()
        .filter(live)
        .count()
        .saturating_sub(wanted)
}

fn is_surplus(action: &Action) -> bool {
    matches!(
        action,
        Action::Retire {
            reason: RetireReason::Surplus,
            ..
        }
    )
}

/// Whether an agent is to run something, or runs it undecided.
fn is_used(agent: &Agent) -> bool {
    let runs = matches!(&agent.reported, Reported::Running(replica) if replica.generation >= agent.generation);
    let unknown = agent.reported == Reported::Unknown && agent.generation == Generation(0);
    agent.assigned.is_some() || runs || unknown
}

pub(crate) fn runs(agent: &Agent, v: &str) -> bool {
    agent
        .assigned
        .as_ref()
        .is_some_and(|assigned| assigned.workload == version(v))
}

pub(crate) fn set_version(world: &mut World, v: &str) {
    let spec = world.desired.deployments.values_mut().next();
    spec.expect("the deployment").workload = version(v);
}

/// A healthy fleet that runs one deployment in version 1, with room for one agent more.
pub(crate) fn settled(mut deployment: Deployment) -> World {
    deployment.workload = version("v1");
    deployment.size = name("tiny");
    deployment.placement = Placement::default();
    let mut desired = testing::desired("target alpha 0 6");
    desired.deployments.insert(name("acme/a"), deployment);
    let mut world = World::of(desired, Observed::default());
    world.settle();
    world
}

/// What an action is about: the same thing is not told twice.
fn thing(action: &Action) -> String {
    match action {
        Action::Assign { agent, .. } | Action::Unassign { agent, .. } => format!("work of {agent}"),
        Action::Retire { agent, .. } => format!("machine {agent}"),
        Action::Point { hostname, .. } => format!("name {hostname}"),
        Action::Unpoint { agent, hostname } => format!("name {hostname} on {agent}"),
        Action::Expose { agent, .. } | Action::Unexpose { agent, .. } => {
            format!("address of {agent}")
        }
        Action::Quarantine { agent, .. } | Action::Release { agent } => {
            format!("service of {agent}")
        }
        Action::Challenge { agent } => format!("evidence of {agent}"),
        Action::Launch { order, .. } | Action::Cancel { order, .. } => format!("order {order}"),
        Action::Settle { deployment, .. } | Action::Revert { deployment, .. } => {
            format!("record of {deployment}")
        }
    }
}

/// Lets a world go on without faults until nothing has happened for two minutes.
fn rest(mut world: World) -> Result<(), TestCaseError> {
    let mut quiet = 0;
    let mut last = String::new();
    for _ in 0..150 {
        let before = world.observed.clone();
        let plan = world.pass();
        world.answer_all();
        world.advance(10);
        if plan.is_empty() && before == world.observed {
            quiet += 1;
        } else {
            quiet = 0;
            last = text(&plan);
        }
        if quiet == 12 {
            return Ok(());
        }
    }
    Err(TestCaseError::fail(format!(
        "it does not come to rest: {last}"
    )))
}

/// The same desired state, put together in the opposite order. Its maps are sorted, so this holds that the planner sees
/// nothing but their contents; that files decide nothing either is a test of whoever loads them.
fn backwards(desired: &Desired) -> Desired {
    let mut other = nothing();
    other.limits = desired.limits.clone();
    other.quotas = desired.quotas.clone().into_iter().rev().collect();
    other.targets = desired.targets.clone().into_iter().rev().collect();
    other.reservations = desired.reservations.clone().into_iter().rev().collect();
    other.deployments = desired.deployments.clone().into_iter().rev().collect();
    other.hostnames = desired.hostnames.clone().into_iter().rev().collect();
    other.frozen = desired.frozen.clone().into_iter().rev().collect();
    other
}

fn backwards_world(observed: &Observed) -> Observed {
    Observed {
        agents: observed.agents.clone().into_iter().rev().collect(),
        launches: observed.launches.clone().into_iter().rev().collect(),
        retires: observed.retires.clone().into_iter().rev().collect(),
        orphans: observed.orphans.clone().into_iter().rev().collect(),
        unlisted: observed.unlisted.clone().into_iter().rev().collect(),
        spent: observed.spent.clone(),
        unheard: observed.unheard.clone().into_iter().rev().collect(),
        shortages: observed.shortages.clone().into_iter().rev().collect(),
        rollouts: observed.rollouts.clone().into_iter().rev().collect(),
        fronts: observed.fronts.clone(),
    }
}

/// Time alone changes neither a converged fleet nor the digest of what is held.
#[test]
fn time_alone_changes_no_digest() {
    let mut world = World::new("target alpha 0 4\ndeploy acme/a x3 v1", "");
    world.settle();
    world.desired.deployments.clear();
    let at = |now: Timestamp| plan(&world.desired, &world.observed, now);
    let (now, later) = (at(world.now), at(world.now.plus(Duration::from_secs(60))));
    assert_eq!(now.held.len(), 1);
    assert_eq!(now.digest(), later.digest());
}

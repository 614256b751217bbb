//! Roll-outs in the simulated world: stories of steps, pauses and reverts, and properties over generated deployments.

use easyenclave_plan::*;
use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::wire::WorkloadCause;
use expect_test::expect;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fleets::{self, deployment};
use crate::properties::{config, runs, set_version, settled};
use crate::testing::{desired, text, version};
use crate::world::World;

/// A settled fleet with a deployment of five replicas, of which version 1 has proved good.
fn five(rollout: &str) -> World {
    let mut world = World::new(&state("v1", rollout), "");
    world.settle();
    world
}

fn state(v: &str, rollout: &str) -> String {
    format!("target tiny 0 8\ndeploy acme/web x5 {v} {rollout}")
}

#[test]
fn a_canary_then_waves_then_all() {
    let rollout = "unavailable 2 canary 1 wave 60 steady 3";
    let mut world = five(rollout);
    world.desired = desired(&state("v2", rollout));
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 2 workload v2
        +4s assign acme/web to tiny#2 generation 2 workload v2
        +4s assign acme/web to tiny#0 generation 2 workload v2
        +8s assign acme/web to tiny#4 generation 2 workload v2
        +8s assign acme/web to tiny#3 generation 2 workload v2
        +12s settle acme/web at workload v2
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 5);
}

#[test]
fn a_bad_canary_is_taken_back_and_stays_so_until_the_document_changes() {
    let rollout = "canary 1 reverts deadline 20";
    let mut world = five(rollout);
    fail(&mut world, "v2", WorkloadCause::ImageMissing);
    world.desired = desired(&state("v2", rollout));
    world.settle();
    world.advance(20);
    expect![[r#"
        +0s revert acme/web attempt a61f135e6e19e1c2376156ffd636c701986e6ff436f4cd64e9e6a2da5a2ef38c from workload v2 to workload v1: its image is missing
        +1s assign acme/web to tiny#1 generation 3 workload v1
    "#]]
    .assert_eq(&world.settle());
    expect!["wait: deployment acme/web: workload v2 attempt 0 was given up: its image is missing; the one before it stays until the document changes"].assert_eq(&world.text());
    world.advance(1800);
    assert!(world.plan().is_empty(), "{}", world.text());
    world.broken.clear();
    assert!(world.plan().is_empty(), "nothing is tried again unasked");
    world.desired = desired(&state("v2", "canary 1 reverts deadline 20 attempt 1"));
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 4 workload v2
        +2s assign acme/web to tiny#2 generation 2 workload v2
        +4s assign acme/web to tiny#0 generation 2 workload v2
        +6s assign acme/web to tiny#4 generation 2 workload v2
        +8s assign acme/web to tiny#3 generation 2 workload v2
        +10s settle acme/web at workload v2
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_version_that_was_given_up_can_be_asked_for_again_after_another() {
    let rollout = "reverts deadline 20";
    let mut world = five(rollout);
    fail(&mut world, "v2", WorkloadCause::Exited);
    for v in ["v2", "v1", "v2"] {
        world.desired = desired(&state(v, rollout));
        world.settle();
        let tried = world
            .observed
            .agents
            .values()
            .any(|agent| runs(agent, "v2"));
        assert_eq!(tried, v == "v2", "{}", world.text());
        world.advance(20);
        world.settle();
        assert_eq!(world.ready("acme/web"), 5);
    }
}

#[test]
fn an_outage_of_the_registry_is_waited_for() {
    let rollout = "canary 1 reverts deadline 20";
    let mut world = five(rollout);
    fail(&mut world, "v2", WorkloadCause::RegistryDown);
    world.desired = desired(&state("v2", rollout));
    world.settle();
    world.advance(1800);
    assert!(world.plan().is_empty(), "{}", world.text());
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#1 is not ready; the registry of its images does not answer
        wait: deployment acme/web: the canary, 1 of 5, has to prove good before others get the version"#]].assert_eq(&world.text());
    world.broken.clear();
    expect![[r#"
        +1s assign acme/web to tiny#2 generation 2 workload v2
        +3s assign acme/web to tiny#0 generation 2 workload v2
        +5s assign acme/web to tiny#4 generation 2 workload v2
        +7s assign acme/web to tiny#3 generation 2 workload v2
        +9s settle acme/web at workload v2
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_fix_goes_out_while_a_bad_version_is_being_taken_back() {
    let rollout = "unavailable 2 canary 2 reverts deadline 20";
    let mut world = five(rollout);
    fail(&mut world, "v2", WorkloadCause::Exited);
    world.desired = desired(&state("v2", rollout));
    world.settle();
    world.advance(20);
    world.turn();
    world.turn();
    world.desired = desired(&state("v3", rollout));
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 4 workload v3
        +0s assign acme/web to tiny#2 generation 4 workload v3
        +2s assign acme/web to tiny#0 generation 2 workload v3
        +2s assign acme/web to tiny#4 generation 2 workload v3
        +4s assign acme/web to tiny#3 generation 2 workload v3
        +6s settle acme/web at workload v3
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_pause_ends_by_itself() {
    let rollout = "canary 1 paused 90";
    let mut world = five("canary 1");
    world.desired = desired(&state("v2", rollout));
    world.turn();
    expect!["wait: deployment acme/web: the roll-out is paused by ann: freeze (until 2026-01-01T00:01:30Z)"].assert_eq(&world.text());
    let lost = world.at("tiny", 0);
    world.cut(&lost);
    world.advance(30);
    expect![[r#"
        +0s retire tiny#0 in local: silent past the deadline
        +0s launch tiny#5 for tiny slot 5 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#5 generation 1 workload v1
        +52s assign acme/web to tiny#1 generation 2 workload v2
        +54s assign acme/web to tiny#5 generation 2 workload v2
        +56s assign acme/web to tiny#2 generation 2 workload v2
        +58s assign acme/web to tiny#4 generation 2 workload v2
        +60s assign acme/web to tiny#3 generation 2 workload v2
        +62s settle acme/web at workload v2
    "#]].assert_eq(&world.settle());
}

#[test]
fn five_more_take_over_from_five() {
    let rollout = "unavailable 0 surge 3";
    let mut world = World::new(&state("v1", rollout), "");
    world.settle();
    world.desired = desired(&state("v2", rollout));
    expect![[r#"
        +0s launch tiny#5 for tiny slot 5 generation 1 failures 0 size tiny in local by process under sim
        +0s launch tiny#7 for tiny slot 7 generation 1 failures 0 size tiny in local by process under sim
        +0s launch tiny#6 for tiny slot 6 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#5 generation 1 workload v2
        +3s assign acme/web to tiny#7 generation 1 workload v2
        +3s assign acme/web to tiny#6 generation 1 workload v2
        +5s unassign acme/web from tiny#1 generation 2
        +5s unassign acme/web from tiny#2 generation 2
        +5s unassign acme/web from tiny#0 generation 2
        +6s retire tiny#0 in local: not needed
        +6s assign acme/web to tiny#1 generation 3 workload v2
        +6s assign acme/web to tiny#2 generation 3 workload v2
        +8s unassign acme/web from tiny#4 generation 2
        +8s unassign acme/web from tiny#3 generation 2
        +9s retire tiny#4 in local: not needed
        +10s retire tiny#3 in local: not needed
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 5);
}

#[test]
fn what_had_begun_to_roll_out_takes_no_replica_with_it_when_the_store_is_lost() {
    let state = |v: &str| format!("target alpha 0 6\ndeploy acme/a x3 {v} unavailable 0 reverts");
    let mut world = World::new(&state("v1"), "");
    world.settle();
    world.desired = desired(&state("v2"));
    while !world.observed.agents.values().any(|a| runs(a, "v2")) {
        world.turn();
    }
    world.lose_store();
    let story = text(&world.pass());
    assert!(!story.contains("unassign"), "{story}");
    world.settle();
    assert_eq!(world.ready("acme/a"), 3);
}

/// A version never becomes ready, for this cause.
fn fail(world: &mut World, v: &str, cause: WorkloadCause) {
    world.broken.insert(version(v));
    world.causes.insert(version(v), cause);
}

fn is_revert(action: &Action) -> bool {
    matches!(action, Action::Revert { .. })
}

/// Whether a version is given to an agent.
fn is_given(action: &Action, v: &str) -> bool {
    matches!(action, Action::Assign { workload, .. } if *workload == version(v))
}

/// What the reconciler has lost of its store.
#[derive(Debug, Clone, Copy)]
enum Lost {
    Nothing,
    Records,
    Store,
}

impl World {
    fn lose(&mut self, lost: Lost) {
        match lost {
            Lost::Nothing => {}
            Lost::Records => self.observed.rollouts.clear(),
            Lost::Store => self.lose_store(),
        }
    }
}

/// What versions need, and what targets make.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    old: Runtime,
    new: Runtime,
    /// What the agents of the first target run, and whether that is what its document says.
    first: (&'static [Runtime], bool),
    /// There is another target, whose agents run everything.
    second: bool,
}

impl Kinds {
    /// Whether there are, or can be, agents for all replicas.
    fn can_be(self, runtime: Runtime) -> bool {
        self.second || self.first.0.contains(&runtime)
    }
}

/// Two versions, of which the first one can run on the first target.
fn kinds() -> impl Strategy<Value = Kinds> {
    let either = || prop::sample::select(Runtime::ALL.to_vec());
    let poor = any::<bool>();
    let fields = (either(), either(), poor, any::<bool>(), any::<bool>());
    fields.prop_map(|(old, new, poor, says, second)| {
        let only: &[Runtime] = match old {
            Runtime::Process => &[Runtime::Process],
            Runtime::Compose => &[Runtime::Compose],
        };
        let all: &[Runtime] = &Runtime::ALL;
        let says = says || old == Runtime::Compose;
        Kinds {
            old,
            new,
            first: (if poor { only } else { all }, says),
            second,
        }
    })
}

/// A healthy fleet that runs one deployment in version 1 on agents of a kind.
fn of_kinds(mut deployment: Deployment, kinds: Kinds) -> World {
    deployment.workload = version("v1");
    deployment.runtime = kinds.old;
    deployment.size = crate::testing::name("tiny");
    deployment.placement = Placement::default();
    deployment.rollout.pause = None;
    let (first, says) = kinds.first;
    let beta = if kinds.second {
        "\ntarget beta 0 9"
    } else {
        ""
    };
    let mut desired = desired(&format!("target alpha 0 9{beta}"));
    let alpha = desired.targets.values_mut().next().expect("alpha");
    if says {
        alpha.runtimes = first.iter().copied().collect();
    }
    desired
        .deployments
        .insert(crate::testing::name("acme/a"), deployment);
    let mut world = World::of(desired, Observed::default());
    if !says && first.len() == 1 {
        world.bare.insert(crate::testing::name("alpha"));
    }
    world.settle();
    world
}

fn set_runtime(world: &mut World, runtime: Runtime) {
    for spec in world.desired.deployments.values_mut() {
        spec.runtime = runtime;
    }
}

fn pause(world: &mut World) {
    let until = world.now.plus(std::time::Duration::from_secs(3600));
    for spec in world.desired.deployments.values_mut() {
        spec.rollout.pause = Some(Pause {
            owner: "ann".into(),
            reason: "freeze".into(),
            until,
        });
    }
}

/// Whether an agent runs something that is ready and that it was not told to stop or to change.
fn serves(agent: &Agent) -> bool {
    matches!(&agent.reported, Reported::Running(replica)
        if replica.ready && replica.generation >= agent.generation)
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn a_bad_version_is_given_up_once_and_never_given_out_again(
        mut deployment in deployment(),
        events in vec(fleets::event(), 0..60),
    ) {
        prop_assume!(deployment.replicas > 0);
        deployment.rollout.reverts = true;
        deployment.rollout.pause = None;
        let mut world = settled(deployment);
        fail(&mut world, "v2", WorkloadCause::StartFailed);
        set_version(&mut world, "v2");
        let mut given_up = false;
        for event in events {
            world.happen(event);
            given_up |= world.observed.rollouts.values().any(|fact| fact.reverted.is_some());
            let plan = world.plan();
            let again = plan.actions.iter().any(|action| is_given(action, "v2") || is_revert(action));
            prop_assert!(!given_up || !again, "{}", world.text());
        }
        world.silent.clear();
        for _ in 0..4 {
            world.settle();
            world.advance(600);
        }
        let bad = world.observed.agents.values().filter(|agent| runs(agent, "v2")).count();
        prop_assert_eq!(bad, 0, "{}", world.text());
    }

    #[test]
    fn what_is_nobodys_fault_is_never_given_up(
        mut deployment in deployment(),
        cause in prop::sample::select(vec![
            None,
            Some(WorkloadCause::RegistryDown),
            Some(WorkloadCause::EngineDown),
            Some(WorkloadCause::SecretsUnavailable),
        ]),
        events in vec(fleets::event(), 0..80),
    ) {
        deployment.rollout.reverts = true;
        let mut world = settled(deployment);
        world.broken.insert(version("v2"));
        world.causes.extend(cause.map(|cause| (version("v2"), cause)));
        set_version(&mut world, "v2");
        for event in events {
            let plan = world.plan();
            prop_assert!(!plan.actions.iter().any(is_revert), "{}", world.text());
            world.happen(event);
        }
    }

    #[test]
    fn a_roll_out_whose_records_are_lost_ends_at_the_newest_version(
        mut deployment in deployment(),
        before in vec(fleets::calm_event(), 0..40),
    ) {
        deployment.rollout.pause = None;
        let replicas = deployment.replicas as usize;
        let mut world = settled(deployment);
        set_version(&mut world, "v2");
        for event in before {
            world.happen(event);
        }
        world.lose_store();
        world.settle();
        prop_assert_eq!(world.ready("acme/a"), replicas);
        let current = world.observed.agents.values().filter(|agent| runs(agent, "v2")).count();
        prop_assert_eq!(current, replicas, "{}", world.text());
    }

    #[test]
    fn a_lost_store_takes_no_more_away_than_may_be(
        deployment in deployment(),
        bad in any::<bool>(),
        before in vec(fleets::calm_event(), 0..40),
        events in vec(fleets::calm_event(), 0..80),
    ) {
        let least = deployment.replicas.saturating_sub(deployment.rollout.max_unavailable);
        let mut world = settled(deployment);
        world.broken.extend(bad.then(|| version("v2")));
        set_version(&mut world, "v2");
        for event in before {
            world.happen(event);
        }
        world.lose_store();
        for event in events {
            world.happen(event);
            let serving = world.observed.agents.values().filter(|agent| serves(agent)).count();
            prop_assert!(serving >= least as usize, "{serving} of {least}\n{}", world.text());
        }
    }

    #[test]
    fn between_runtimes_no_more_is_taken_away_than_may_be_and_nothing_that_can_serve_waits(
        deployment in deployment(),
        kinds in kinds(),
        bad in any::<bool>(),
        events in vec(fleets::calm_event(), 0..120),
    ) {
        let replicas = deployment.replicas as usize;
        let least = deployment.replicas.saturating_sub(deployment.rollout.max_unavailable);
        let most = replicas + deployment.rollout.surge().max(deployment.rollout.max_unavailable).max(1) as usize;
        let mut world = of_kinds(deployment, kinds);
        prop_assert_eq!(world.ready("acme/a"), replicas, "{}", world.text());
        world.broken.extend(bad.then(|| version("v2")));
        set_version(&mut world, "v2");
        set_runtime(&mut world, kinds.new);
        for event in events {
            world.happen(event);
            let serving = world.observed.agents.values().filter(|agent| serves(agent)).count();
            prop_assert!(serving >= least as usize, "{serving} of {least}\n{}", world.text());
            let there = world.observed.agents.values().filter(|agent| agent.assigned.is_some()).count();
            prop_assert!(there <= most, "{there}, at most {most}\n{}", world.text());
        }
        world.settle();
        world.advance(60);
        world.settle();
        let serving = world.observed.agents.values().filter(|agent| serves(agent)).count();
        let can_be_new = kinds.can_be(kinds.new) && !bad;
        prop_assert!(serving >= least as usize, "{serving} of {least}\n{}", world.text());
        prop_assert!(!can_be_new || serving == replicas, "{serving} of {replicas}\n{}", world.text());
        let new = world.observed.agents.values().filter(|agent| runs(agent, "v2")).count();
        prop_assert!(!can_be_new || new == replicas, "{new} of {replicas}\n{}", world.text());
    }

    #[test]
    fn in_a_pause_between_runtimes_what_dies_is_replaced_by_whatever_can_run_it(
        mut deployment in deployment(),
        kinds in kinds(),
        dies in 0..12_usize,
        events in vec(fleets::calm_event(), 0..40),
    ) {
        let replicas = deployment.replicas as usize;
        deployment.rollout.reverts = true;
        let mut world = of_kinds(deployment, kinds);
        set_version(&mut world, "v2");
        set_runtime(&mut world, kinds.new);
        pause(&mut world);
        for event in events {
            world.happen(event);
        }
        world.happen(fleets::Event::Vanish(dies));
        for _ in 0..40 {
            world.turn();
        }
        prop_assert_eq!(world.ready("acme/a"), replicas, "{}", world.text());
        let new = world.observed.agents.values().filter(|agent| runs(agent, "v2")).count();
        prop_assert_eq!(new, 0, "{}", world.text());
    }

    #[test]
    fn a_canary_bounds_what_a_bad_version_takes(
        mut deployment in deployment(),
        canary in 1..3_u32,
        lost in prop::sample::select(vec![Lost::Nothing, Lost::Records, Lost::Store]),
        events in vec(fleets::calm_event(), 0..80),
    ) {
        prop_assume!(deployment.replicas > canary);
        deployment.rollout.canary = canary;
        let mut world = settled(deployment);
        world.broken.insert(version("v2"));
        set_version(&mut world, "v2");
        world.lose(lost);
        for event in events {
            world.happen(event);
            let bad = world.observed.agents.values().filter(|agent| runs(agent, "v2")).count();
            prop_assert!(bad <= canary as usize, "{bad}\n{}", world.text());
        }
    }
}

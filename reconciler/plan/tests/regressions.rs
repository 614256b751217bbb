//! Cases that the properties once found, as people would tell them: what one pass does must not make the next pass
//! take it back.

use easyenclave_plan::*;
use easyenclave_schemas::{Generation, TargetName};

use crate::testing;
use crate::world::World;

/// Records one plan and expects that the next has nothing to do, although nobody has answered yet.
fn once(state: &str, world: &str) {
    let mut world = World::new(state, world);
    let first = world.pass();
    assert!(!first.is_empty(), "there is something to do");
    let second = world.text();
    assert!(
        world.plan().is_empty(),
        "first:\n{}\nthen:\n{second}",
        testing::text(&first)
    );
}

#[test]
fn an_order_that_took_too_long_moves_no_share_to_another_target() {
    let state = "target alpha 0 3\ntarget beta 2 6\ndeploy acme/a x4 v1\ndeploy acme/b x1 v1";
    let mut world = World::new(state, "order alpha #20 g1 provisioning opened 600");
    world.pass();
    world.pass();
    let cancels = |plan: &Plan| {
        plan.actions
            .iter()
            .any(|a| matches!(a, Action::Cancel { .. }))
    };
    assert!(!cancels(&world.plan()), "{}", world.text());
}

#[test]
fn a_share_stays_where_it_was_ordered() {
    once(
        "target alpha 0 3\ntarget beta 2 4\ntarget gamma 1 4 warm 1\ndeploy acme/a x3 v1",
        "order gamma #20 g1 claimed",
    );
}

#[test]
fn room_in_an_earlier_target_takes_no_order_back() {
    let state = "target alpha 0 1\ntarget beta 0 1\ndeploy acme/a x1 v1";
    let mut world = World::new(state, "agent a alpha #0 gone\nretiring a");
    assert_eq!(world.pass().actions.len(), 1, "an order for beta");
    world.confirm_retire(&testing::name("a"));
    assert!(world.plan().is_empty(), "{}", world.text());
}

#[test]
fn where_agents_turn_out_to_lack_an_engine_one_launch_shows_it() {
    let mut world = World::new(
        "target tiny 0 9\ntarget zoo 0 9\ndeploy acme/a x1 v1 compose",
        "",
    );
    let (tiny, zoo): (TargetName, TargetName) = (testing::name("tiny"), testing::name("zoo"));
    world.bare.insert(tiny.clone());
    world.full.insert(zoo.clone());
    let is_launch =
        |action: &&Action| matches!(action, Action::Launch { target, .. } if *target == tiny);
    let mut launched = 0;
    for turn in 0..300 {
        launched += world.turn().actions.iter().filter(is_launch).count();
        if turn == 60 {
            assert_eq!(world.observed.agents.len(), 1, "{}", world.text());
            world.full.clear();
        }
    }
    assert_eq!(launched, 1);
    let agents = world.observed.agents.values();
    let homes: Vec<&TargetName> = agents.map(|agent| &agent.target).collect();
    assert_eq!(homes, [&zoo]);
}

#[test]
fn what_a_quota_denies_is_not_ordered() {
    once(
        "quota acme 4\ntarget alpha 0 0\ntarget beta 1 2 warm 1\n\
         deploy acme/a x2 v1 on beta\ndeploy acme/b x3 v1",
        "agent a alpha #0 runs acme/a v1\nagent b alpha #1 runs acme/a v1\nagent c alpha #2 idle\nagent d alpha #3 idle",
    );
}

#[test]
fn a_pool_that_shrinks_does_not_make_its_replacements_superfluous() {
    once(
        "breaker 0 50\ntarget alpha 1 3",
        "agent a alpha #0 runs acme/a v1 exposed acme/a lapsed 100\nagent b alpha #1 idle in far",
    );
}

#[test]
fn retiring_some_of_a_pool_does_not_make_the_others_suspect() {
    once(
        "breaker 0 50\ntarget alpha 2 4\ndeploy acme/b x1 v1",
        "agent a beta #1 idle\nagent b beta #2 silent 50\nagent c beta #0 lapsed 100\n\
         agent d beta #3 runs acme/b v1 exposed acme/b lapsed 100",
    );
}

#[test]
fn a_renamed_deployment_stays_held_until_its_new_name_is_ready() {
    let world =
        "agent a tiny #0 runs acme/old v1\nagent b tiny #1 runs acme/old v1\nagent c tiny #2 idle";
    let mut world = World::new(
        "breaker 1 100\ntarget tiny 3 3\ndeploy acme/new x1 v1",
        world,
    );
    let held = world.pass().held;
    assert_eq!(held.len(), 1);
    assert_eq!(world.plan().held, held);
    world.settle();
    assert_eq!(world.plan().held, [], "{}", world.text());
    assert_eq!(world.ready("acme/new"), 1);
    assert_eq!(world.ready("acme/old"), 0);
}

#[test]
fn a_replica_too_many_is_not_published_before_it_goes() {
    once(
        "target alpha 2 2\ndeploy corp/a x1 v2 exposed unavailable 0",
        "agent a alpha #0 runs corp/a v1\nagent b alpha #1 runs corp/a v1 exposed corp/a",
    );
}

#[test]
fn an_old_replica_that_is_not_published_is_not_published_before_its_update() {
    once(
        "breaker 0 0\ntarget alpha 2 2\ndeploy bolt/a x1 v1 exposed",
        "agent a alpha #0 runs bolt/a v3\nagent b alpha #1 starts bolt/a v1 exposed bolt/a",
    );
}

#[test]
fn an_old_replica_is_not_published_before_a_new_one_that_lets_it_go() {
    let mut world = World::new(
        "target alpha 0 3\ndeploy corp/a x3 v1 exposed unavailable 2",
        "agent a alpha #0 runs corp/a v2\nagent b alpha #1 runs corp/a v1\n\
         agent c alpha #2 runs corp/a v1 exposed corp/a silent 5",
    );
    let story = world.settle();
    assert!(!story.contains("unexpose"), "{story}");
}

#[test]
fn a_new_replica_that_is_not_ready_yet_is_no_surplus() {
    let mut world = World::new("target tiny 0 2\ndeploy acme/a x1 v1 unavailable 0", "");
    world.settle();
    world.desired = testing::desired("target tiny 0 2\ndeploy acme/a x1 v2 unavailable 0");
    let story = world.settle();
    assert_eq!(story.matches("assign").count(), 2, "{story}");
    assert_eq!(world.ready("acme/a"), 1);
}

#[test]
fn what_is_taken_over_stays_published() {
    let state = "target tiny 1 2\ndeploy acme/a x1 v1 exposed";
    let world = "agent a tiny #0 kept acme/a v1 exposed acme/a";
    once(state, world);
    let text = World::new(state, world).text();
    assert!(!text.contains("expose"), "{text}");
}

/// The agent that runs something of an owner, told to or not, is one of those that are reserved for it.
#[test]
fn a_stray_uses_its_owners_reservation() {
    let state = "breaker 0 0\ntarget alpha 0 0\ntarget beta 0 0\nreserve bolt/r0 beta 2\ndeploy acme/a x1 v1";
    let world =
        "agent a beta #0 idle\nagent b beta #1 idle\nagent c beta #2 strays bolt/a v1 lapsed 10";
    let text = World::new(state, world).text();
    assert!(text.contains("assign acme/a to a"), "{text}");
}

/// Fewer replicas and another version in one commit: the roll-out takes nothing that is held.
#[test]
fn a_roll_out_takes_nothing_that_is_held() {
    for unavailable in [0, 1] {
        let state = format!("target tiny 0 12\ndeploy acme/a x2 v2 unavailable {unavailable}");
        let agents = (0..6).map(|at| format!("agent a{at} tiny #{at} runs acme/a v1\n"));
        let mut world = World::new(&state, &agents.collect::<String>());
        let plan = world.pass();
        assert_eq!(plan.held.len(), 1, "{}", testing::text(&plan));
        let stopped = |a: &&Action| matches!(a, Action::Unassign { .. });
        assert_eq!(plan.actions.iter().filter(stopped).count(), 0);
    }
}

#[test]
fn nothing_is_ordered_in_place_of_an_agent_that_is_about_to_be_free() {
    let state = "target alpha 0 3 warm 1\ntarget beta 0 2\ndeploy acme/a x1 v1 on beta";
    let world = "agent a alpha #0 starts acme/a v1\nagent b beta #1 idle";
    let mut world = World::new(state, world);
    let launches = |plan: &Plan| {
        plan.actions
            .iter()
            .any(|a| matches!(a, Action::Launch { .. }))
    };
    assert!(
        !launches(&world.pass()) && !launches(&world.pass()),
        "{}",
        world.text()
    );
}

/// Fewer replicas and another place in one commit: nothing leaves before a person was asked, or what is placed would
/// make up for two more in every pass.
#[test]
fn a_move_takes_nothing_that_is_held() {
    let state = "target near 6 6 in near\ntarget far 2 2 in far\ndeploy acme/a x2 v1 in far";
    let agents = (0..6).map(|at| format!("agent a{at} near #{at} runs acme/a v1 in near\n"));
    let agents =
        agents.collect::<String>() + "agent b far #0 idle in far\nagent c far #1 idle in far";
    let mut world = World::new(state, &agents);
    let story = world.settle();
    assert!(!story.contains("unassign"), "{story}");
    let held = world.plan().held;
    assert_eq!(held.len(), 1, "{}", world.text());
    assert_eq!(held[0].actions.len(), 4, "{}", world.text());
    world.approve(held[0].digest, "approved");
    let story = world.settle();
    assert_eq!(story.matches("unassign").count(), 6, "{story}");
    assert_eq!(world.ready("acme/a"), 2);
}

/// Targets of one agent each are each too small for the breaker; what they carry is all of an owner.
#[test]
fn targets_that_go_take_no_owner_with_them_unasked() {
    let world = "agent a one #0 runs acme/a v1\nagent b two #0 runs acme/a v1\nagent c three #0 runs acme/a v1";
    let mut world = World::new("deploy acme/a x3 v1", &format!("{world} silent 5"));
    let plan = world.pass();
    assert!(plan.actions.is_empty(), "{}", testing::text(&plan));
    world.hear(&testing::name("c"));
    let held = world.plan().held;
    assert_eq!(held.len(), 1, "{}", world.text());
    assert_eq!(held[0].actions.len(), 3, "{}", world.text());
}

/// How many replicas the first pass of a world stops, and how many it holds.
fn stopped(state: &str, world: &str) -> (usize, usize) {
    let plan = World::new(state, world).pass();
    let stops = |a: &&Action| matches!(a, Action::Unassign { .. } | Action::Retire { .. });
    let held = plan.held.iter().map(|hold| hold.actions.len()).sum();
    (plan.actions.iter().filter(stops).count(), held)
}

fn agents(count: u32, target: &str, how: impl Fn(u32) -> &'static str) -> String {
    let agent = |at| format!("agent {target}{at} {target} #{at} {}\n", how(at));
    (0..count).map(agent).collect()
}

/// Silence of some lets nothing of the others go: those that are not heard make up for nobody.
#[test]
fn silence_lets_no_move_take_what_would_be_held() {
    let state = "target near 6 6 in near\ntarget far 2 2 in far\ndeploy acme/a x2 v1 in far";
    let far = agents(2, "far", |_| "runs acme/a v1 in far");
    for quiet in ["silent 1", "unjudged", "unheard"] {
        let how = |at| match (at < 3, quiet) {
            (true, "silent 1") => "runs acme/a v1 in near silent 1",
            (true, "unjudged") => "runs acme/a v1 in near unjudged",
            (true, _) => "runs acme/a v1 in near unheard",
            _ => "runs acme/a v1 in near",
        };
        let world = agents(6, "near", how) + &far;
        assert_eq!(stopped(state, &world).0, 0, "{quiet}");
    }
}

#[test]
fn agents_that_cannot_be_judged_count_among_those_that_are_to_go() {
    let how = |at| match at < 3 {
        true => "runs acme/a v1",
        false => "runs acme/a v1 unjudged",
    };
    let world = agents(6, "tiny", how);
    assert_eq!(
        stopped("target tiny 0 12\ndeploy acme/a x2 v1", &world),
        (0, 1)
    );
}

#[test]
fn a_roll_out_takes_nothing_that_nothing_was_given_for() {
    let state = "target alpha 0 4\nfreeze-target beta\ndeploy acme/a x2 v2 unavailable 0";
    let world = agents(2, "alpha", |_| "runs acme/a v1") + &agents(2, "beta", |_| "runs acme/a v1");
    assert_eq!(stopped(state, &world), (0, 0));
    let state = "target alpha 0 8\ndeploy acme/a x2 v2 unavailable 0";
    let how = |at| match at {
        0 => "runs acme/a v2",
        1 | 2 => "runs acme/a v1",
        _ => "runs acme/a v1 silent 5",
    };
    assert_eq!(stopped(state, &agents(6, "alpha", how)), (0, 0));
    let state = "target alpha 0 8\ndeploy acme/a x4 v2 unavailable 0";
    let how = |at| match at {
        0 => "starts acme/a v1",
        _ => "runs acme/a v1",
    };
    assert_eq!(stopped(state, &agents(6, "alpha", how)), (0, 1));
}

#[test]
fn what_is_held_is_held_after_the_store_was_lost() {
    let world = agents(6, "tiny", |_| "kept acme/a v1");
    assert_eq!(
        stopped("target tiny 0 12\ndeploy acme/a x2 v1", &world),
        (0, 4)
    );
    let state = "target tiny 0 12\ntarget far 0 12 in far\ndeploy acme/a x6 v1 in far";
    assert_eq!(stopped(state, &world), (0, 0));
}

/// As after an older copy of the store was put back: agents follow numbers that are not known here.
#[test]
fn what_goes_on_under_an_unknown_number_is_taken_over_in_a_pause_too() {
    let state = "target tiny 0 9\ndeploy acme/a x3 v2 unavailable 0 paused 60";
    let ahead = |how: &str| {
        let world = format!(
            "agent a tiny #0 runs acme/a v2\nagent b tiny #1 runs acme/a v2\nagent c tiny #2 {how}"
        );
        let mut world = World::new(state, &world);
        world.agent(&testing::name("c")).generation = Generation(1);
        testing::text(&world.pass())
    };
    let new = ahead("runs acme/a v2");
    assert!(
        new.starts_with("assign acme/a to c generation 2 workload v2"),
        "{new}"
    );
    let old = ahead("runs acme/a v1");
    assert!(!old.contains("assign"), "{old}");
    assert!(
        old.contains("agent c: the replica on c cannot be changed now"),
        "{old}"
    );
}

/// Launches that a later pass withdraws, although nothing has answered meanwhile.
fn withdrawn(state: &str, world: &str) -> usize {
    let mut world = World::new(state, world);
    let plans: Vec<Plan> = (0..4).map(|_| world.pass()).collect();
    let actions = plans.iter().flat_map(|plan| &plan.actions);
    actions
        .filter(|a| matches!(a, Action::Cancel { .. }))
        .count()
}

#[test]
fn nothing_is_ordered_for_a_step_whose_room_what_is_missing_takes() {
    let state =
        "target alpha 0 0\ntarget beta 0 4\ndeploy acme/a x3 v2 unavailable 0 wave 30 wave 60";
    let world = "agent a alpha #0 idle\nagent b alpha #1 runs acme/a v1";
    assert_eq!(withdrawn(state, world), 0);
}

#[test]
fn what_stops_for_distrust_is_on_its_way_before_it_is_told_so() {
    let state = "target tiny 0 9 size big stops budget 1\ndeploy acme/a x3 v1 size big exposed";
    let world = "agent a tiny #0 runs acme/a v1 exposed acme/a\nagent b tiny #1 runs acme/a v1 exposed acme/a\n\
                 agent c tiny #2 runs acme/a v1 exposed acme/a lapsed 100";
    assert_eq!(withdrawn(state, world), 0);
}

#[test]
fn two_deployments_change_places() {
    let state = "target alpha 0 3\ntarget beta 0 3\ndeploy acme/a x1 v1 on beta\ndeploy acme/b x1 v1 on alpha";
    let world = "agent a alpha #0 runs acme/a v1\nagent b beta #0 runs acme/b v1";
    let mut world = World::new(state, world);
    world.settle();
    assert_eq!((world.ready("acme/a"), world.ready("acme/b")), (1, 1));
    assert!(world.plan().waits.is_empty(), "{}", world.text());
}

#[test]
fn what_is_left_to_an_owner_must_serve() {
    let state =
        "target live 0 2\ndeploy acme/a x3 v1 on one on two on three\ndeploy acme/b x1 v1 on live";
    let three = "agent a one #0 runs acme/a v1\nagent b two #0 runs acme/a v1\nagent c three #0 runs acme/a v1\n";
    for other in [
        "starts acme/b v1",
        "runs acme/b v1 silent 40",
        "runs acme/b v1 refused",
    ] {
        let (gone, held) = stopped(state, &format!("{three}agent d live #0 {other}"));
        assert_eq!(held, 3, "{other}");
        assert!(
            gone <= 1,
            "{other}: no more than the one that is lost or refused"
        );
    }
    let (gone, _) = stopped(state, &format!("{three}agent d live #0 runs acme/b v1"));
    assert_eq!(gone, 3, "one of acme's serves on");
}

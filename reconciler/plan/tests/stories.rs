//! Stories of a fleet, told turn by turn in the simulated world: what is wanted changes, things break, and the
//! planner brings them together again.

use easyenclave_plan::*;
use expect_test::expect;

use crate::testing::{NOW, desired, name, version};
use crate::world::World;

/// A settled fleet.
fn settled(state: &str) -> World {
    let mut world = World::new(state, "");
    world.settle();
    world
}

#[test]
fn a_new_deployment_gets_an_agent_and_an_address() {
    let mut world = World::new("target tiny 0 4\ndeploy acme/web x1 v1 exposed", "");
    expect![[r#"
        +0s launch tiny#0 for tiny slot 0 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#0 generation 1 workload v1
        +5s expose acme/web on tiny#0
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 1);
    expect![[""]].assert_eq(&world.text());
}

#[test]
fn one_replica_becomes_three_and_one_again() {
    let mut world = settled("breaker 2 25\ntarget tiny 0 4 warm 1\ndeploy acme/web x1 v1");
    world.desired = desired("breaker 2 25\ntarget tiny 0 4 warm 1\ndeploy acme/web x3 v1");
    expect![[r#"
        +0s assign acme/web to tiny#0 generation 1 workload v1
        +0s launch tiny#2 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
        +0s launch tiny#3 for tiny slot 3 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#2 generation 1 workload v1
    "#]].assert_eq(&world.settle());
    world.desired = desired("breaker 2 25\ntarget tiny 0 4 warm 1\ndeploy acme/web x1 v1");
    expect![[r#"
        +0s unassign acme/web from tiny#2 generation 2
        +0s unassign acme/web from tiny#0 generation 2
        +0s retire tiny#3 in local: not needed
        +1s retire tiny#2 in local: not needed
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.observed.agents.len(), 2);
}

#[test]
fn a_roll_out_goes_replica_by_replica() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x3 v1 exposed");
    world.desired = desired("target tiny 0 4\ndeploy acme/web x3 v2 exposed");
    expect![[r#"
        +0s unexpose acme/web on tiny#1
        +0s assign acme/web to tiny#1 generation 2 workload v2
        +2s expose acme/web on tiny#1
        +3s unexpose acme/web on tiny#2
        +3s assign acme/web to tiny#2 generation 2 workload v2
        +5s expose acme/web on tiny#2
        +6s unexpose acme/web on tiny#0
        +6s assign acme/web to tiny#0 generation 2 workload v2
        +8s expose acme/web on tiny#0
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_roll_out_of_services_hides_each_replica_when_its_images_are_there() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x2 v1 exposed compose");
    world.broken.insert(version("v2"));
    world.desired = desired("target tiny 0 4\ndeploy acme/web x2 v2 exposed compose");
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 2 workload v2
    "#]]
    .assert_eq(&world.settle());
    world.broken.clear();
    expect![[r#"
        +1s unexpose acme/web on tiny#1
        +2s expose acme/web on tiny#1
        +3s assign acme/web to tiny#0 generation 2 workload v2
        +5s unexpose acme/web on tiny#0
        +6s expose acme/web on tiny#0
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_roll_out_that_may_take_nothing_away_needs_one_agent_more() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x2 v1 unavailable 0");
    world.desired = desired("target tiny 0 4\ndeploy acme/web x2 v2 unavailable 0");
    expect![[r#"
        +0s launch tiny#2 for tiny slot 2 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#2 generation 1 workload v2
        +5s unassign acme/web from tiny#1 generation 2
        +6s assign acme/web to tiny#1 generation 3 workload v2
        +8s unassign acme/web from tiny#0 generation 2
        +9s retire tiny#0 in local: not needed
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 2);
}

#[test]
fn a_stuck_roll_out_does_not_delay_the_fix() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x3 v1");
    world.broken.insert(version("v2"));
    world.desired = desired("target tiny 0 4\ndeploy acme/web x3 v2");
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 2 workload v2
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 2);
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#1 is not ready (until 2026-01-01T00:05:06Z)
        wait: deployment acme/web: replicas not serving: 1, allowed: 1"#]]
    .assert_eq(&world.text());
    world.advance(300);
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#1 is not ready and its time is over
        wait: deployment acme/web: replicas not serving: 1, allowed: 1"#]]
    .assert_eq(&world.text());
    world.desired = desired("target tiny 0 4\ndeploy acme/web x3 v3");
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 3 workload v3
        +2s assign acme/web to tiny#2 generation 2 workload v3
        +4s assign acme/web to tiny#0 generation 2 workload v3
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 3);
}

#[test]
fn a_lost_agent_is_replaced_when_its_time_is_over() {
    let mut world = settled("target tiny 0 5 warm 1\ndeploy acme/web x3 v1");
    let lost = world.at("tiny", 0);
    world.cut(&lost);
    world.advance(29);
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#0 is not ready
        wait: agent tiny#0: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:36Z)"#]].assert_eq(&world.text());
    world.advance(1);
    expect![[r#"
        +0s retire tiny#0 in local: silent past the deadline
        +0s assign acme/web to tiny#3 generation 1 workload v1
        +0s launch tiny#4 for tiny slot 4 generation 1 failures 0 size tiny in local by process under sim
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 3);
}

#[test]
fn an_agent_that_comes_back_in_time_is_left_alone() {
    let mut world = settled("target tiny 0 5\ndeploy acme/web x3 v1");
    let silent = world.at("tiny", 0);
    world.cut(&silent);
    world.advance(20);
    assert!(world.pass().is_empty());
    world.silent.clear();
    expect![[""]].assert_eq(&world.settle());
}

#[test]
fn when_many_fall_silent_a_person_decides() {
    let mut world = settled("target tiny 0 6\ndeploy acme/web x4 v1");
    for slot in 0..2 {
        let silent = world.at("tiny", slot);
        world.cut(&silent);
        world.advance(10);
    }
    world.advance(15);
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#1 is not ready
        wait: deployment acme/web: the replica on tiny#0 is not ready
        wait: agent tiny#1: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:46Z)
        wait: agent tiny#0: 2 of 4 agents of its pool or owner are silent"#]].assert_eq(&world.text());
    world.advance(10);
    expect![[r#"
        hold: 2 of 4 agents of target tiny would go
          retire tiny#1 in local: silent past the deadline
          retire tiny#0 in local: silent past the deadline
        wait: deployment acme/web: the replica on tiny#1 is not ready
        wait: deployment acme/web: the replica on tiny#0 is not ready
        wait: deployment acme/web: held until a person approves DIGEST
        wait: agent tiny#1: held until a person approves DIGEST
        wait: agent tiny#0: held until a person approves DIGEST"#]]
    .assert_eq(&world.text());
    let digest = world.plan().held[0].digest;
    world.approve(digest, "1");
    expect![[r#"
        +0s retire tiny#1 in local: silent past the deadline
        +0s retire tiny#0 in local: silent past the deadline
        +0s launch tiny#5 for tiny slot 5 generation 1 failures 0 size tiny in local by process under sim
        +0s launch tiny#4 for tiny slot 4 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#5 generation 1 workload v1
        +3s assign acme/web to tiny#4 generation 1 workload v1
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 4);
}

#[test]
fn half_the_deployments_go_when_a_person_approves() {
    let mut world = settled(
        "target tiny 0 4\ndeploy acme/a x1 v1\ndeploy acme/b x1 v1\ndeploy bolt/c x1 v1 exposed\ndeploy bolt/d x1 v1",
    );
    world.desired = desired("target tiny 0 4\ndeploy acme/a x1 v1\ndeploy bolt/d x1 v2");
    expect![[r#"
        +0s assign bolt/d to tiny#3 generation 2 workload v2
    "#]]
    .assert_eq(&world.settle());
    expect![[r#"
        hold: 2 of 4 agents of target tiny would go
          unassign acme/b from tiny#2 generation 2
          unassign bolt/c from tiny#0 generation 2
        wait: deployment acme/b: held until a person approves DIGEST
        wait: deployment bolt/c: held until a person approves DIGEST
        wait: agent tiny#2: held until a person approves DIGEST
        wait: agent tiny#0: held until a person approves DIGEST"#]]
    .assert_eq(&world.text());
    let digest = world.plan().held[0].digest;
    world.approve(digest, "1");
    expect![[r#"
        +0s unexpose bolt/c on tiny#0
        +0s unassign acme/b from tiny#2 generation 2
        +0s unassign bolt/c from tiny#0 generation 2
        +1s retire tiny#2 in local: not needed
        +2s retire tiny#0 in local: not needed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn an_empty_tree_removes_nothing() {
    let mut world = settled("target tiny 1 4\ndeploy acme/a x1 v1");
    world.desired = desired("");
    expect![[""]].assert_eq(&world.settle());
    expect![[r#"
        hold: 1 of 1 agent of target tiny would go
          retire tiny#0 in local: its target is gone
        hold: 1 of 1 agent of target tiny would go
          unassign acme/a from tiny#0 generation 2
        wait: deployment acme/a: held until a person approves DIGEST
        wait: agent tiny#0: held until a person approves DIGEST
        wait: agent tiny#0: held until a person approves DIGEST"#]]
    .assert_eq(&world.text());
}

#[test]
fn a_document_that_moves_to_another_file_changes_nothing() {
    let state = "target tiny 0 4\ndeploy acme/a x1 v1\ndeploy acme/b x1 v1";
    let mut world = settled(state);
    let moved = "deploy acme/b x1 v1\ndeploy acme/a x1 v1\ntarget tiny 0 4";
    world.desired = desired(moved);
    assert_eq!(world.text(), "");
}

#[test]
fn reserved_agents_wait_for_their_owner() {
    let mut world = settled("target tiny 0 2\nreserve acme/gold tiny 2\ndeploy bolt/web x1 v1");
    expect!["wait: deployment bolt/web: agents missing: 1; the free ones are reserved"]
        .assert_eq(&world.text());
    world.desired = desired("target tiny 0 2\nreserve acme/gold tiny 2\ndeploy acme/web x2 v1");
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 1 workload v1
        +0s assign acme/web to tiny#0 generation 1 workload v1
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 2);
}

#[test]
fn a_reservation_that_ends_gives_its_agents_back() {
    let mut world = settled("target tiny 0 2\nreserve acme/gold tiny 1 until 60");
    expect!["wait: reservation acme/gold: ends; agents of target tiny reserved until then: 1; afterwards they serve anybody or go (until 2026-01-01T00:01:00Z)"].assert_eq(&world.text());
    world.advance(60);
    expect![[r#"
        +0s retire tiny#0 in local: not needed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_quota_is_never_exceeded() {
    let world = settled("quota acme 2\ntarget tiny 0 4\ndeploy acme/web x3 v1");
    assert_eq!(world.ready("acme/web"), 2);
    expect!["wait: deployment acme/web: the quota of acme, 2 agents, is used up"]
        .assert_eq(&world.text());
    assert_eq!(world.observed.agents.len(), 2);
}

#[test]
fn a_full_target_is_said_to_be_full() {
    let world = settled("target tiny 0 2\ndeploy acme/web x3 v1");
    assert_eq!(world.ready("acme/web"), 2);
    expect!["wait: deployment acme/web: agents missing: 1; the maximum is reached"]
        .assert_eq(&world.text());
}

#[test]
fn what_does_not_fit_one_target_goes_to_the_next() {
    let world = settled("target east 0 2 in east\ntarget west 0 2 in west\ndeploy acme/web x3 v1");
    assert_eq!(world.ready("acme/web"), 3);
    let elsewhere = settled("target east 0 2\ndeploy acme/web x1 v1 not-in local");
    expect!["wait: deployment acme/web: no target has agents of this size and place"]
        .assert_eq(&elsewhere.text());
}

#[test]
fn a_removed_target_is_emptied_before_it_goes() {
    let mut world = settled("target east 0 2\ndeploy acme/web x1 v1 exposed");
    world.desired = desired("target west 0 2\ndeploy acme/web x1 v1 exposed");
    expect![[r#"
        +0s launch west#0 for west slot 0 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to west#0 generation 1 workload v1
        +5s expose acme/web on west#0
        +6s unexpose acme/web on east#0
        +6s unassign acme/web from east#0 generation 2
        +7s retire east#0 in local: its target is gone
    "#]].assert_eq(&world.settle());
    assert_eq!(world.observed.agents.len(), 1);
}

#[test]
fn a_large_removed_target_goes_as_one_when_approved() {
    let mut world = settled("target east 0 3\ndeploy acme/web x2 v1");
    world.desired = desired("target west 0 3\ndeploy acme/web x2 v1");
    let digest = world.plan().held[0].digest;
    world.settle();
    assert_eq!(
        world.plan().held[0].digest,
        digest,
        "what is approved stays the same"
    );
    world.approve(digest, "1");
    expect![[r#"
        +0s retire east#0 in local: its target is gone
        +0s retire east#1 in local: its target is gone
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn an_agent_whose_trust_lapses_leaves_service_and_returns() {
    let mut world = settled("target tiny 0 1\ndeploy acme/web x1 v1 exposed");
    let agent = world.at("tiny", 0);
    world.mute.insert(agent.clone());
    world.advance(3600);
    let plan = world.pass();
    let lines: Vec<String> = plan.actions.iter().map(ToString::to_string).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("unexpose")),
        "{lines:?}"
    );
    assert_eq!(world.quarantined(&agent), Some(Quarantine::TrustLapsed));
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#0 is not ready
        wait: agent tiny#0: in quarantine: its trust ran out
        wait: agent tiny#0: asked for fresh evidence (until 2026-01-01T01:01:07Z)"#]]
    .assert_eq(&world.text());
    world.mute.clear();
    expect![[r#"
        +1s release tiny#0
        +1s expose acme/web on tiny#0
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_refused_agent_is_replaced_and_retired() {
    let mut world = settled("target tiny 0 5\ndeploy acme/web x4 v1 exposed");
    let agent = world.at("tiny", 0);
    world.refuse(&agent);
    expect![[r#"
        +0s unexpose acme/web on tiny#0
        +0s quarantine tiny#0: its evidence is refused
        +0s launch tiny#4 for tiny slot 4 generation 1 failures 0 size tiny in local by process under sim
        +3s assign acme/web to tiny#4 generation 1 workload v1
        +5s expose acme/web on tiny#4
        +6s unassign acme/web from tiny#0 generation 2
        +7s retire tiny#0 in local: its evidence is refused
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 4);
}

#[test]
fn a_policy_that_refuses_most_agents_replaces_none() {
    let mut world = settled("target tiny 0 5\ndeploy acme/web x4 v1");
    for slot in 0..3 {
        let agent = world.at("tiny", slot);
        world.refuse(&agent);
    }
    expect![[r#"
        +0s quarantine tiny#1: its evidence is refused
        +0s quarantine tiny#2: its evidence is refused
        +0s quarantine tiny#0: its evidence is refused
    "#]]
    .assert_eq(&world.settle());
    expect![[r#"
        hold: 3 of 4 agents of target tiny would go
          retire tiny#1 in local: its evidence is refused
          retire tiny#2 in local: its evidence is refused
          retire tiny#0 in local: its evidence is refused
        wait: deployment acme/web: the replica on tiny#1 is not ready
        wait: deployment acme/web: the replica on tiny#2 is not ready
        wait: deployment acme/web: the replica on tiny#0 is not ready
        wait: deployment acme/web: held until a person approves DIGEST
        wait: agent tiny#1: held until a person approves DIGEST
        wait: agent tiny#1: in quarantine: its evidence is refused
        wait: agent tiny#2: held until a person approves DIGEST
        wait: agent tiny#2: in quarantine: its evidence is refused
        wait: agent tiny#0: held until a person approves DIGEST
        wait: agent tiny#0: in quarantine: its evidence is refused"#]]
    .assert_eq(&world.text());
    let digest = world.plan().held[0].digest;
    world.approve(digest, "1");
    world.settle();
    assert_eq!(world.ready("acme/web"), 4, "new ones took their place");
}

#[test]
fn after_a_restart_nothing_is_done_until_agents_are_heard() {
    let mut world = settled("target tiny 0 4 warm 1\ndeploy acme/web x2 v1 exposed");
    for agent in world.observed.agents.values_mut() {
        agent.reported = Reported::Unknown;
        agent.liveness = Liveness::Silent(NOW);
    }
    world.now = NOW;
    expect![[r#"
        wait: deployment acme/web: the replica on tiny#1 is not ready
        wait: deployment acme/web: the replica on tiny#2 is not ready
        wait: agent tiny#1: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:30Z)
        wait: agent tiny#2: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:30Z)
        wait: agent tiny#0: silent; it counts as lost at the end of this wait (until 2026-01-01T00:00:30Z)"#]].assert_eq(&world.text());
    expect![""].assert_eq(&world.settle());
}

#[test]
fn after_the_store_is_lost_running_workloads_are_taken_over() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x2 v1 exposed");
    world.observed.launches.clear();
    for agent in world.observed.agents.values_mut() {
        agent.assigned = None;
        agent.exposed = Exposure::Hidden;
        agent.generation = easyenclave_schemas::Generation(0);
    }
    expect![[r#"
        +0s assign acme/web to tiny#1 generation 1 workload v1
        +0s assign acme/web to tiny#0 generation 1 workload v1
        +1s expose acme/web on tiny#1
        +1s expose acme/web on tiny#0
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 2);
}

#[test]
fn a_launch_that_fails_rests_longer_each_time() {
    let mut world = World::new("target tiny 1 1", "");
    world.full.insert(name("tiny"));
    let mut story = String::new();
    for second in 0..40 {
        for action in world.turn().actions {
            let failures = action.to_string();
            let failures = failures.split("failures ").nth(1).expect("a launch");
            let failures = failures.split(' ').next().expect("a number");
            story.push_str(&format!("+{second}s after {failures} failures\n"));
        }
    }
    expect![[r#"
        +0s after 0 failures
        +4s after 1 failures
        +10s after 2 failures
        +20s after 3 failures
        +38s after 4 failures
    "#]]
    .assert_eq(&story);
    expect!["wait: target tiny: launches failed in a row: 5; the place has no room (until 2026-01-01T00:01:12Z)"]
        .assert_eq(&world.text());
    world.full.clear();
    world.advance(60);
    world.settle();
    assert_eq!(world.observed.agents.len(), 1);
}

#[test]
fn twenty_slots_of_a_full_place_are_tried_by_one_launch_at_a_time_also_after_a_restart() {
    let mut world = World::new("target tiny 20 20", "");
    world.full.insert("tiny".parse().expect("a name"));
    let mut story = String::new();
    for second in 0..3600 {
        let launched = world.turn().actions.len();
        if launched > 0 {
            story.push_str(&format!("+{second}s {launched}\n"));
        }
        // All that the planner knows is in the orders, so it knows the same after a restart.
        let orders = std::mem::take(&mut world.observed.launches);
        world.observed = Observed::default();
        world.observed.launches = orders;
    }
    expect![[r#"
        +0s 20
        +4s 1
        +10s 1
        +20s 1
        +38s 1
        +73s 1
        +145s 1
        +297s 1
        +588s 1
        +1175s 1
        +1854s 1
        +2465s 1
        +3167s 1
    "#]]
    .assert_eq(&story);
    expect!["wait: target tiny: launches failed in a row: 13; the place has no room (until 2026-01-01T01:03:36Z)"].assert_eq(&world.text());
    world.full.clear();
    world.advance(600);
    world.settle();
    assert_eq!(world.observed.agents.len(), 20);
}

#[test]
fn an_order_that_nobody_fulfils_in_time_counts_as_failed() {
    let mut world = World::new("target tiny 1 1", "");
    world.turn();
    world.turn();
    world.advance(300);
    expect!["cancel tiny#0: nothing was heard from inside the machine in time"]
        .assert_eq(&world.text());
    world.pass();
    expect!["wait: target tiny: launches failed in a row: 1; nothing was heard from inside the machine in time (until 2026-01-01T00:05:04Z)"]
        .assert_eq(&world.text());
}

#[test]
fn a_machine_of_nobody_goes_after_a_while() {
    let mut world = World::new("target tiny 0 4", "orphan tiny-x 10 of tiny");
    expect![
        "wait: order tiny-x: belongs to nothing; its owner may turn up (until 2026-01-01T00:00:20Z)"
    ]
    .assert_eq(&world.text());
    world.advance(20);
    expect![[r#"
        +0s retire tiny-x in local: it belongs to nothing
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn a_target_that_changes_size_is_renewed_agent_by_agent() {
    let mut world = settled("target tiny 0 3\ndeploy acme/web x2 v1");
    world.desired = desired("target tiny 0 3 size big\ndeploy acme/web x2 v1 size big");
    expect![[r#"
        +0s launch tiny#2 for tiny slot 2 generation 1 failures 0 size big in local by process under sim
        +3s assign acme/web to tiny#2 generation 1 workload v1
        +5s unassign acme/web from tiny#0 generation 2
        +6s retire tiny#0 in local: not needed
        +7s launch tiny#0.2 for tiny slot 0 generation 2 failures 0 size big in local by process under sim
        +10s assign acme/web to tiny#0.2 generation 1 workload v1
        +12s unassign acme/web from tiny#1 generation 2
        +13s retire tiny#1 in local: not needed
    "#]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 2);
}

#[test]
fn frozen_documents_are_left_alone() {
    let mut world = settled("target tiny 0 4\ndeploy acme/web x2 v1\ndeploy bolt/api x1 v1");
    world.desired = desired("target tiny 0 4\nfreeze-deploy acme/web\ndeploy bolt/api x1 v2");
    expect![[r#"
        +0s assign bolt/api to tiny#0 generation 2 workload v2
    "#]]
    .assert_eq(&world.settle());
    expect!["wait: deployment acme/web: kept as it is: its.yaml cannot be used"]
        .assert_eq(&world.text());
}

#[test]
fn an_approval_is_good_for_one_occasion() {
    let all = "target tiny 0 4\ndeploy acme/a x2 v1\ndeploy bolt/b x2 v1";
    let fewer = "target tiny 0 4\ndeploy acme/a x2 v1";
    let mut world = settled(all);
    world.desired = desired(fewer);
    let digest = world.pass().held[0].digest;
    // The deletion is taken back, and its approval is merged too late.
    world.desired = desired(all);
    world.approve(digest, "1");
    world.settle();
    // The same replicas are deleted once more, by mistake.
    let approvals = world.desired.approvals.clone();
    world.desired = desired(fewer);
    world.desired.approvals = approvals;
    assert_eq!(
        world.pass().held[0].digest,
        digest,
        "the very same removals"
    );
    assert_eq!(world.settle(), "", "nobody approved them this time");
    world.approve(digest, "2");
    assert!(
        world.settle().contains("unassign bolt/b"),
        "now somebody has"
    );
}

#[test]
fn agents_that_are_lost_again_are_another_question() {
    let mut world = settled("target tiny 4 4");
    let ids: Vec<_> = world.observed.agents.keys().take(2).cloned().collect();
    let lose = |world: &mut World| {
        for id in &ids {
            let agent = world.observed.agents.get_mut(id).expect("there");
            agent.liveness = Liveness::Silent(world.now);
        }
        world.advance(40);
    };
    let heal = |world: &mut World| {
        for id in &ids {
            let agent = world.observed.agents.get_mut(id).expect("there");
            agent.liveness = Liveness::Heard;
        }
    };
    lose(&mut world);
    let digest = world.pass().held[0].digest;
    heal(&mut world);
    world.approve(digest, "1");
    world.settle();
    lose(&mut world);
    let plan = world.pass();
    assert!(
        plan.actions.is_empty() && plan.held.len() == 1,
        "{}",
        world.text()
    );
}

/// What is held stays held when the reconciler starts again and agents are heard of one after the other.
#[test]
fn a_restart_lets_nothing_through_that_is_held() {
    let before = "target tiny 0 4\ntarget other 0 4\ndeploy acme/web x4 v1\ndeploy bolt/b x4 v1";
    for after in [
        "target tiny 0 4\ntarget other 0 4\ndeploy acme/web x4 v1",
        "target tiny 0 4\ntarget other 0 4\ndeploy acme/web x1 v1\ndeploy bolt/b x4 v1",
        "target other 0 4",
    ] {
        let mut world = settled(before);
        world.desired = desired(after);
        assert!(!world.pass().held.is_empty(), "{after}");
        let heard: Vec<_> = world.observed.agents.clone().into_iter().collect();
        for agent in world.observed.agents.values_mut() {
            agent.liveness = Liveness::Silent(world.now);
            agent.reported = Reported::Unknown;
        }
        for (id, agent) in heard {
            assert_eq!(world.pass().actions, [], "before {id} is heard, {after}");
            world.observed.agents.insert(id, agent);
        }
        assert_eq!(world.pass().actions, [], "{after}");
    }
}

/// Where the name of `acme/web` leads after each turn until nothing moves, and that whoever it leads to serves.
fn follow(world: &mut World) -> Vec<String> {
    let (mut path, mut quiet) = (Vec::new(), 0);
    while quiet < 10 {
        let plan = world.turn();
        quiet = if plan.actions.is_empty() {
            quiet + 1
        } else {
            0
        };
        let front = world.observed.fronts.leads.values().next().cloned();
        let front = front.expect("the name leads somewhere");
        let agent = world.agent(&front).clone();
        assert!(agent.exposed != easyenclave_plan::Exposure::Hidden);
        let seen = format!("{}#{}", agent.target, agent.slot);
        if path.last() != Some(&seen) {
            path.push(seen);
        }
    }
    path
}

#[test]
fn a_name_moves_once_in_a_roll_out_and_never_leads_nowhere() {
    for rollout in [
        "",
        "unavailable 0",
        "unavailable 2",
        "canary 1 steady 5",
        "surge 2",
    ] {
        let state = |version| {
            format!(
                "target tiny 0 6\ndeploy acme/web x3 {version} exposed {rollout}\nhost acme/web app.example.com"
            )
        };
        let mut world = settled(&state("v1"));
        let before = follow(&mut world);
        assert_eq!(before.len(), 1, "{rollout}: {before:?}");
        world.desired = desired(&state("v2"));
        let path = follow(&mut world);
        assert_eq!(path.len(), 2, "{rollout}: {path:?}");
    }
}

#[test]
fn a_name_follows_its_only_replica_when_another_may_be_there() {
    let state = |version| {
        format!(
            "target tiny 0 6\ndeploy acme/web x1 {version} exposed unavailable 0\nhost acme/web app.example.com"
        )
    };
    let mut world = settled(&state("v1"));
    world.desired = desired(&state("v2"));
    assert_eq!(follow(&mut world).len(), 2);
}

#[test]
fn a_name_stays_over_a_lost_store_and_moves_with_its_place() {
    let on = |target: &str| {
        format!(
            "target east 0 6\ntarget west 0 6\ndeploy acme/web x2 v1 exposed on {target}\nhost acme/web app.example.com"
        )
    };
    let mut world = settled(&on("east"));
    let before = follow(&mut world);
    world.lose_store();
    // It is published nowhere until that is decided again; the name is left.
    world.settle();
    assert_eq!(follow(&mut world), before);
    world.desired = desired(&on("west"));
    let path = follow(&mut world);
    assert_eq!(path.len(), 2, "{path:?}");
    assert!(path[1].starts_with("west"), "{path:?}");
}

#[test]
fn a_name_goes_with_its_deployment() {
    let state = "target tiny 0 4\ndeploy acme/a x1 v1\ndeploy acme/web x1 v1 exposed\nhost acme/web app.example.com";
    let mut world = settled(state);
    world.desired = desired("target tiny 0 4\ndeploy acme/a x1 v1");
    let story = world.settle();
    assert!(story.contains("unpoint app.example.com from"), "{story}");
    assert_eq!(world.observed.fronts.leads.len(), 0);
    assert_eq!(world.observed.fronts.decided.len(), 0);
}

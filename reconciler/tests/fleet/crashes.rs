//! `kill -9` of the reconciler and of the worker at random moments of a roll-out: in the end exactly what
//! is wanted runs, once, and nothing is left over.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Dice, Fleet};

const REPLICAS: usize = 20;
const KILLS: usize = 50;

#[test]
fn the_reconciler_killed_fifty_times_leaks_and_doubles_nothing() {
    let mut fleet = Fleet::new(u32::try_from(REPLICAS).expect("small"), 0);
    fleet.start_serve();
    fleet.start_worker();
    let mut dice = Dice(1);
    for _ in 0..KILLS {
        sleep(Duration::from_millis(5 + dice.below(300)));
        fleet.kill_serve();
        fleet.start_serve();
    }
    settled(fleet);
}

#[test]
fn the_worker_killed_fifty_times_leaks_and_doubles_nothing() {
    let mut fleet = Fleet::new(u32::try_from(REPLICAS).expect("small"), 0);
    fleet.start_serve();
    let mut dice = Dice(2);
    for _ in 0..KILLS {
        fleet.start_worker();
        sleep(Duration::from_millis(5 + dice.below(200)));
        fleet.kill_worker();
    }
    fleet.start_worker();
    settled(fleet);
}

fn settled(fleet: Fleet) {
    fleet.wait_running(REPLICAS as u64);
    fleet.until("one agent for each replica", || {
        fleet.agents().len() == REPLICAS
    });
    let agents: BTreeSet<_> = fleet
        .agents()
        .into_iter()
        .map(|agent| agent.order)
        .collect();
    let workloads: Vec<_> = fleet
        .workloads()
        .into_iter()
        .map(|workload| workload.order)
        .collect();
    assert_eq!(workloads.len(), REPLICAS, "one workload for each replica");
    assert_eq!(
        workloads.into_iter().collect::<BTreeSet<_>>(),
        agents,
        "on an agent of its own"
    );
    let check = fleet.git(&["fsck", "--strict"]);
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&check.stderr)
            .matches("error")
            .count(),
        0
    );
    fleet.stop();
}

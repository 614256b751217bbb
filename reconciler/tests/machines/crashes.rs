//! `kill -9` of the worker, the reconciler and QEMU while machines are launched and retired: never two machines for one
//! order, exactly one for each that is fulfilled, and in the end exactly what is wanted, and nothing left over.
//! `EASYENCLAVE_KILLS` says how often each of them is killed, `EASYENCLAVE_SEED` when.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ground::{Ground, HELLO, folders, machines};
use crate::harness::{Dice, Fleet, find, signal};

/// How long a fleet may take to be what is wanted again.
const CONVERGED: Duration = Duration::from_secs(90);

/// The longest wait for the kill, in ms: a machine boots meanwhile, and is about to do something.
const WINDOW: u64 = 10_000;

#[derive(Debug, Clone, Copy)]
enum Victim {
    Worker,
    Reconciler,
    Qemu,
}

#[test]
fn a_worker_that_is_killed_leaks_no_machine_and_doubles_none() {
    rounds(Victim::Worker);
}

#[test]
fn a_reconciler_that_is_killed_leaks_no_machine_and_doubles_none() {
    rounds(Victim::Reconciler);
}

#[test]
fn a_machine_that_is_killed_is_replaced_once() {
    rounds(Victim::Qemu);
}

fn rounds(victim: Victim) {
    let Some(ground) = Ground::take() else {
        return;
    };
    let seed = number("EASYENCLAVE_SEED", 1);
    let mut dice = Dice(seed);
    println!("{victim:?}: EASYENCLAVE_SEED={seed}");
    let mut fleet = ground.fleet(2);
    fleet.start_serve();
    fleet.start_worker();
    let mut slowest = converge(&fleet, 2);
    for round in 1..=number("EASYENCLAVE_KILLS", 2) {
        // One machine is to go, and then one is to come: something is under way when the blow falls.
        let wanted = usize::from(round % 2 == 0) + 1;
        want(&fleet, wanted);
        let moment = Duration::from_millis(dice.below(WINDOW));
        watch(&fleet, moment);
        strike(&mut fleet, victim, &mut dice);
        let took = converge(&fleet, wanted);
        println!(
            "{victim:?} {round}: killed after {:.1} s, {wanted} wanted, converged in {:.1} s",
            moment.as_secs_f64(),
            took.as_secs_f64()
        );
        slowest = slowest.max(took);
    }
    println!(
        "{victim:?}: the slowest took {:.1} s",
        slowest.as_secs_f64()
    );
    let check = fleet.git(&["fsck", "--strict"]);
    assert!(check.status.success(), "{check:?}");
    let worker = fleet.path("data/worker");
    fleet.stop_with(|| assert_eq!(folders(&worker), BTreeSet::new(), "no folder is left"));
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |text| text.parse().expect("a number"))
}

fn want(fleet: &Fleet, replicas: usize) {
    let replicas = u32::try_from(replicas).expect("few");
    let hello = machines(replicas, None).remove(HELLO).expect("it is there");
    fleet.commit(HELLO, Some(std::str::from_utf8(&hello).expect("UTF-8")));
}

fn strike(fleet: &mut Fleet, victim: Victim, dice: &mut Dice) {
    let pause = Duration::from_millis(dice.below(1000));
    match victim {
        Victim::Worker => {
            fleet.kill_worker();
            watch(fleet, pause);
            fleet.start_worker();
        }
        Victim::Reconciler => {
            fleet.kill_serve();
            watch(fleet, pause);
            fleet.start_serve();
        }
        Victim::Qemu => {
            let machines = fleet.agents();
            let count = u64::try_from(machines.len()).expect("few");
            let chosen = usize::try_from(dice.below(count.max(1))).expect("few");
            let machine = machines.get(chosen).expect("one is there");
            signal(machine.pid, "KILL");
        }
    }
}

/// Looks at the machines for so long.
fn watch(fleet: &Fleet, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        alive(fleet);
        sleep(Duration::from_millis(50));
    }
}

/// The orders with a live machine, by the labels of processes. Two of one order are one too many at any time.
fn alive(fleet: &Fleet) -> BTreeSet<String> {
    let mut machines = BTreeMap::new();
    for machine in fleet.agents() {
        let other = machines.insert(machine.order.clone(), machine.pid);
        assert_eq!(other, None, "two machines of {}", machine.order);
    }
    machines.into_keys().collect()
}

/// Waits until what is wanted is what there is, and tells how long that took.
fn converge(fleet: &Fleet, wanted: usize) -> Duration {
    let start = Instant::now();
    loop {
        let there = alive(fleet);
        let status = fleet.status();
        let folders = folders(&fleet.path("data/worker"));
        let is_so = status.as_ref().is_some_and(|status| {
            is_ready(status, wanted)
                && fulfilled(status) == there
                && there.len() == wanted
                && folders == there
        });
        if is_so && alive(fleet) == there {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < CONVERGED,
            "not converged; machines: {there:?}, folders: {folders:?}\n{}\nreconciler:\n{}\nworker:\n{}",
            serde_json::to_string_pretty(&status).expect("JSON"),
            tail(fleet, "serve.log"),
            tail(fleet, "worker.log")
        );
        sleep(Duration::from_millis(100));
    }
}

fn is_ready(status: &Value, wanted: usize) -> bool {
    let hello = find(&status["deployments"], "deployment", "acme/hello");
    hello["phase"] == "running" && hello["ready"] == wanted && hello["wanted"] == wanted
}

/// The launches whose agents were accepted and are there.
fn fulfilled(status: &Value) -> BTreeSet<String> {
    let agents = status["agents"].as_array().cloned().unwrap_or_default();
    let agents: BTreeSet<_> = agents.iter().filter_map(|a| a["agent"].as_str()).collect();
    let orders = status["orders"].as_array().cloned().unwrap_or_default();
    let fulfilled = orders.iter().filter(|order| order["phase"] == "fulfilled");
    let names = fulfilled.filter_map(|order| order["order"].as_str());
    names
        .filter(|name| agents.contains(name))
        .map(str::to_owned)
        .collect()
}

fn tail(fleet: &Fleet, log: &str) -> String {
    let log = fleet.log(log);
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

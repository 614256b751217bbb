//! Agents and workloads that die: noticed, replaced or restarted, reported.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Fleet, deployment, find, signal};

#[test]
fn a_killed_workload_is_restarted_and_said() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_running(2);
    let (status, fewest) = fewest_workloads(&fleet, || {
        let victim = fleet.workloads()[0].clone();
        signal(victim.pid, "KILL");
        fleet.wait(
            "the restart is reported and the replica is ready",
            |status| {
                let agent = find(&status["agents"], "agent", &victim.order);
                agent["replica"]["restarts"] == 1 && agent["phase"] == "running"
            },
        )
    });
    assert!(fewest >= 1, "only the killed one was missing: {fewest}");
    assert_eq!(
        find(&status["deployments"], "deployment", "acme/web")["ready"],
        2
    );
    fleet.stop();
}

#[test]
fn a_killed_agent_is_replaced_and_its_workload_does_not_outlive_it() {
    let fleet = Fleet::started(3, 1);
    fleet.wait_running(3);
    let workloads = fleet.workloads();
    let victim = workloads[0].clone();
    let agent = fleet
        .agents()
        .into_iter()
        .find(|agent| agent.order == victim.order);
    let ((), fewest) = fewest_workloads(&fleet, || {
        signal(agent.expect("its agent").pid, "KILL");
        fleet.wait("the agent is gone and three others run", |status| {
            let web = find(&status["deployments"], "deployment", "acme/web");
            let gone = find(&status["agents"], "agent", &victim.order).is_null();
            gone && web["phase"] == "running" && web["ready"] == 3
        });
    });
    assert!(fewest >= 2, "only the dead agent's was missing: {fewest}");
    let left: Vec<_> = fleet
        .processes()
        .into_iter()
        .filter(|process| process.order == victim.order)
        .collect();
    assert_eq!(left, vec![], "nothing of the dead agent is left");
    assert_eq!(fleet.workloads().len(), 3);
    let log = fleet.git(&["log", "--format=%B", "status"]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(
        log.contains(&format!("agent {} ", victim.order)),
        "the history names it:\n{log}"
    );
    fleet.stop();
}

#[test]
fn a_roll_out_stays_within_its_bound_while_an_agent_dies() {
    let fleet = Fleet::started(4, 0);
    fleet.wait_running(4);
    let victim = fleet.agents()[0].clone();
    signal(victim.pid, "KILL");
    fleet.wait("the loss is seen", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        web["ready"] == 3 || find(&status["agents"], "agent", &victim.order).is_null()
    });
    let next = deployment("web", 4, "").replace("VERSION: \"1\"", "VERSION: \"2\"");
    fleet.commit("deployments/acme/web.yaml", Some(&next));
    let mut fewest = 4;
    fleet.wait("all replicas are of the new version", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        fewest = fewest.min(web["ready"].as_u64().expect("a number"));
        web["phase"] == "running" && web["updated"] == 4 && web["ready"] == 4
    });
    assert!(
        fewest >= 3,
        "maxUnavailable is 1, and {fewest} of 4 were ready"
    );
    fleet.stop();
}

#[test]
fn a_lost_store_costs_a_fleet_nothing_but_a_registration() {
    let mut fleet = Fleet::started(3, 1);
    fleet.wait("three replicas and a spare", |status| {
        let agents = status["agents"].as_array().map_or(0, Vec::len);
        agents == 4 && find(&status["deployments"], "deployment", "acme/web")["phase"] == "running"
    });
    let pids = |fleet: &Fleet| {
        // Not the programs of an engine, by which an agent looks now and then whether there is one.
        let stay = fleet.agents().into_iter().chain(fleet.workloads());
        let pids = stay.map(|process| (process.order, process.pid));
        pids.collect::<BTreeSet<_>>()
    };
    let before = pids(&fleet);
    fleet.lose_store();
    fleet.start_serve();
    fleet.until("each agent has registered again", || {
        fleet.log("serve.log").matches("is taken in again").count() >= 4
    });
    let status = fleet.wait("all of them are back", |status| {
        let agents = status["agents"].as_array().map_or(0, Vec::len);
        let web = find(&status["deployments"], "deployment", "acme/web");
        let orders = status["orders"].as_array();
        let is_open = |order: &serde_json::Value| order["phase"] != "fulfilled";
        agents == 4
            && web["phase"] == "running"
            && web["ready"] == 3
            && orders.is_some_and(|orders| !orders.iter().any(is_open))
    });
    let known: BTreeSet<_> = before.iter().map(|(order, _)| order.as_str()).collect();
    let agents = status["agents"].as_array().expect("a list");
    let back: BTreeSet<_> = agents.iter().filter_map(|a| a["agent"].as_str()).collect();
    assert_eq!(back, known, "under the same ids");
    assert_eq!(pids(&fleet), before, "no process was ended or started");
    let log = fleet.log("serve.log");
    let after = log.rsplit("no agent and no order is recorded").next();
    assert!(!after.expect("said").contains("action=launch"), "{log}");
    fleet.stop();
}

/// How few workload processes there ever were while something went on.
fn fewest_workloads<T>(fleet: &Fleet, during: impl FnOnce() -> T) -> (T, usize) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut fewest = fleet.workloads().len();
            while !over.load(Ordering::Relaxed) {
                fewest = fewest.min(fleet.workloads().len());
                std::thread::sleep(Duration::from_millis(5));
            }
            fewest
        });
        let guard = Over(&over);
        let result = during();
        drop(guard);
        (result, sampler.join().expect("the sampler ran"))
    })
}

/// Ends the sampler also when what it watches panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

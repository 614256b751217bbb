//! Agents and workloads that die: noticed, replaced or restarted, reported.

use crate::harness::{Fleet, find, signal};

#[test]
fn a_killed_workload_is_restarted_and_said() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_running(2);
    let victim = fleet.workloads()[0].clone();
    signal(victim.pid, "KILL");
    let status = fleet.wait(
        "the restart is reported and the replica is ready",
        |status| {
            let agent = find(&status["agents"], "agent", &victim.order);
            agent["replica"]["restarts"] == 1 && agent["phase"] == "running"
        },
    );
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
    signal(agent.expect("its agent").pid, "KILL");
    fleet.wait("the agent is gone and three others run", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        let gone = find(&status["agents"], "agent", &victim.order).is_null();
        gone && web["phase"] == "running" && web["ready"] == 3
    });
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

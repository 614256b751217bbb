//! `up` that is killed goes on with the fleet that it left behind, not with a new one.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Fleet, PROGRAM, signal};

#[test]
fn up_after_a_crash_finds_its_agents_again() {
    let fleet = Fleet::new(1, 0);
    let mut first = up(&fleet, "first.log");
    let before = agents(&fleet);
    first.kill().expect("killed");
    first.wait().expect("gone");
    let mut second = up(&fleet, "second.log");
    assert_eq!(
        agents(&fleet),
        before,
        "the same agents, none lost or replaced"
    );
    signal(second.id(), "HUP");
    assert!(
        second.wait().expect("ended").success(),
        "a closed terminal ends it well"
    );
    assert_eq!(fleet.processes(), vec![], "nothing is left running");
}

/// Starts `up` and waits until all runs.
fn up(fleet: &Fleet, log: &str) -> Child {
    let file = std::fs::File::create(fleet.path(log)).expect("a log");
    let mut command = Command::new(PROGRAM);
    command.args(["up", "--data"]).arg(fleet.path("up"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let child = command.spawn().expect("started");
    fleet.until("all deployments run", || {
        fleet.log(log).contains("deployments run (")
    });
    child
}

fn agents(fleet: &Fleet) -> Vec<String> {
    let output = fleet.run(&["status", "--data", "up", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let agents = status["agents"].as_array().expect("a list");
    let name = |agent: &Value| agent["agent"].as_str().expect("a name").to_owned();
    agents.iter().map(name).collect()
}

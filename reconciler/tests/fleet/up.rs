//! `up` that is killed goes on with the fleet that it left behind, not with a new one, and `verify` finds its status good.
//! One that is stopped leaves nothing behind, and starts again as if it had never run.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Fleet, PROGRAM, signal};

#[test]
fn up_after_a_crash_finds_its_agents_again_and_its_status_is_good() {
    let fleet = Fleet::new(1, 0);
    let mut first = up(&fleet, "first.log");
    let log = fleet.log("first.log");
    let trust = log.lines().filter(|line| line.contains("attested"));
    let bare: Vec<_> = trust.filter(|line| !line.contains("(simulated)")).collect();
    assert!(log.contains("(simulated)"), "{log}");
    assert_eq!(bare, Vec::<&str>::new(), "trust is shown with its stamp");
    let before = agents(&fleet);
    assert!(!before.is_empty());
    first.0.kill().expect("killed");
    first.0.wait().expect("gone");
    let mut second = up(&fleet, "second.log");
    assert_eq!(
        agents(&fleet),
        before,
        "the same agents, none lost or replaced"
    );
    let said = fleet.log("second.log");
    let left = format!("{} of the last run are still there and go on", before.len());
    assert!(said.contains(&left), "{said}");
    signal(second.0.id(), "HUP");
    let ended = second.0.wait().expect("ended");
    assert!(ended.success(), "a closed terminal ends it well");
    assert_eq!(fleet.processes(), vec![], "nothing is left running");
    let good = fleet.run(&["verify", "--repo", "up/state.git"]);
    let said = String::from_utf8_lossy(&good.stdout);
    assert!(
        good.status.success() && said.contains("keys that fleet.yaml on main names"),
        "{good:?}"
    );
}

/// `timeout` and a terminal that is closed signal the program, and then its group with it. The third start takes the
/// slots of the first again.
#[test]
fn signals_that_come_together_stop_up_once_and_its_next_starts_know_of_no_failed_launch() {
    let fleet = Fleet::new(1, 0);
    for log in ["first.log", "second.log", "third.log"] {
        let mut up = up(&fleet, log);
        let ended = fleet
            .log(log)
            .contains("those of the last run have ended: new ones start");
        assert_eq!(ended, log != "first.log", "{log}");
        fleet.until("all launches are done", || {
            let orders = orders(&fleet);
            let is = |phase: &str| orders.iter().any(|order| order["phase"] == phase);
            is("fulfilled") && !["open", "claimed", "provisioning"].into_iter().any(is)
        });
        for order in orders(&fleet) {
            assert_eq!(order["work"]["launch"]["failures"], 0, "{log}: {order}");
        }
        for name in ["TERM", "HUP", "TERM", "INT", "TERM", "HUP", "TERM", "INT"] {
            signal(up.0.id(), name);
        }
        let ended = up.0.wait().expect("ended");
        let left = fleet.processes();
        assert_eq!(left, vec![], "{log}, {ended}: {}", fleet.log(log));
        assert!(ended.success(), "{}", fleet.log(log));
    }
}

/// The orders of the status of `up`.
fn orders(fleet: &Fleet) -> Vec<Value> {
    let data = fleet.path("up").display().to_string();
    let output = fleet.run(&["status", "--data", &data, "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("a status");
    status["orders"].as_array().expect("orders").clone()
}

/// Ended with the test, however that ends.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `up` and waits until all runs.
fn up(fleet: &Fleet, log: &str) -> Up {
    let file = std::fs::File::create(fleet.path(log)).expect("a log");
    let mut command = Command::new(PROGRAM);
    command.args(["up", "--data"]).arg(fleet.path("up"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let up = Up(command.spawn().expect("started"));
    fleet.until("all deployments run", || {
        fleet.log(log).contains("deployments run (")
    });
    up
}

/// The processes of agents, which are other ones when they were replaced.
fn agents(fleet: &Fleet) -> BTreeSet<u32> {
    let agents = fleet.agents();
    agents.into_iter().map(|agent| agent.pid).collect()
}

//! `up` that is killed goes on with the fleet that it left behind, not with a new one, and `verify` finds its status good.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

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

//! A commit rolls out: plain `git push`, more replicas, a new version, fewer replicas.

use std::process::Command;

use crate::harness::{Fleet, deployment, find, signal};

#[test]
fn a_pushed_commit_rolls_out() {
    let fleet = Fleet::started(1, 2);
    fleet.wait_running(1);
    let clone = fleet.path("clone");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.invalid",
            ])
            .args(args);
        let output = command.output().expect("git runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let clone = clone.to_str().expect("utf-8");
    git(&[
        "clone",
        "--quiet",
        fleet.state().to_str().expect("utf-8"),
        clone,
    ]);
    let file = fleet.path("clone/deployments/acme/web.yaml");
    let text = std::fs::read_to_string(&file)
        .expect("there")
        .replace("replicas: 1", "replicas: 3");
    std::fs::write(&file, text).expect("written");
    git(&["-C", clone, "commit", "--quiet", "--all", "--message=three"]);
    git(&["-C", clone, "push", "--quiet"]);
    fleet.wait_running(3);
    assert_eq!(fleet.workloads().len(), 3);
    // A replica is published a moment after it is ready.
    fleet.wait("every replica has its address", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        let replicas = web["replicas"].as_array().expect("a list");
        replicas.len() == 3 && replicas.iter().all(|one| one["url"].is_string())
    });
    fleet.stop();
}

#[test]
fn a_new_version_replaces_the_old_one_and_the_newest_always_wins() {
    let fleet = Fleet::started(3, 0);
    fleet.wait_running(3);
    let never = deployment("web", 3, "").replace("hello-tdx", "no-such-command");
    fleet.commit("deployments/acme/web.yaml", Some(&never));
    fleet.wait("the bad version is stuck at one replica", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        web["phase"] == "progressing" && web["ready"] == 2 && web["updated"] == 1
    });
    let good = deployment("web", 3, "").replace("VERSION: \"1\"", "VERSION: \"2\"");
    fleet.commit("deployments/acme/web.yaml", Some(&good));
    fleet.wait("all replicas are of the newest version", |status| {
        let web = find(&status["deployments"], "deployment", "acme/web");
        web["phase"] == "running" && web["updated"] == 3 && web["ready"] == 3
    });
    fleet.stop();
}

#[test]
fn fewer_replicas_leave_idle_agents_that_go_again() {
    let fleet = Fleet::started(4, 0);
    fleet.wait_running(4);
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 3, "")));
    fleet.wait("the surplus agent is gone", |status| {
        let tiny = find(&status["targets"], "target", "tiny");
        tiny["agents"] == 3 && tiny["assigned"] == 3 && tiny["retiring"] == 0
    });
    fleet.until("its process is gone", || fleet.agents().len() == 3);
    fleet.stop();
}

#[test]
fn an_agent_that_hangs_holds_up_nobody_else() {
    let fleet = Fleet::started(1, 2);
    fleet.wait_running(1);
    let order = fleet.workloads()[0].order.clone();
    let agent = fleet
        .agents()
        .into_iter()
        .find(|agent| agent.order == order);
    signal(agent.expect("its agent").pid, "STOP");
    let next = deployment("web", 1, "").replace("VERSION: \"1\"", "VERSION: \"2\"");
    fleet.commit("deployments/acme/web.yaml", Some(&next));
    let told = format!("assign acme/web to {order}");
    fleet.until("the agent is being told", || {
        fleet.log("serve.log").contains(&told)
    });
    let other = deployment("other", 1, "");
    fleet.commit("deployments/acme/other.yaml", Some(&other));
    fleet.until("the other one runs", || {
        let workloads = fleet.workloads();
        workloads
            .iter()
            .any(|one| one.deployment.as_deref() == Some("acme/other"))
    });
    let log = fleet.log("serve.log");
    assert!(
        !log.contains("instruction not delivered"),
        "the first call still hangs:\n{log}"
    );
    fleet.stop();
}

//! A version that fails by its own fault is given up, stays so until its document changes, and pipelines hear of it.

use serde_json::Value;

use crate::harness::{Fleet, deployment, find, signal};

const ROLLOUT: &str =
    "  rollout:\n    canary: 1\n    minHealthy: 0s\n    deadline: 2s\n    revert: automatic\n";

fn version(v: &str) -> String {
    deployment("web", 3, ROLLOUT).replace("VERSION: \"1\"", &format!("VERSION: \"{v}\""))
}

fn web(status: &Value) -> &Value {
    find(&status["deployments"], "deployment", "acme/web")
}

/// The exit code of `wait` for a commit, and what it says.
fn wait(fleet: &Fleet, commit: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut args = vec!["wait", "--data", "data", "--commit", commit];
    args.extend(more);
    let output = fleet.run(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// A fleet of three replicas whose first version has proved good, with so many agents to spare.
fn proved(spare: u32) -> Fleet {
    let mut fleet = Fleet::new(3, spare);
    fleet.commit("deployments/acme/web.yaml", Some(&version("1")));
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait("the first version has proved good", |status| {
        web(status)["rollout"]["healthy"].is_string() && web(status)["ready"] == 3
    });
    fleet
}

/// It answers for a second each time, which is enough for its probe.
#[test]
fn a_version_that_is_ready_for_a_moment_time_and_again_is_given_up_at_its_canary() {
    let fleet = proved(0);
    // Ten seconds are what it has to be ready for when its document does not say.
    let looping = version("2").replace("    minHealthy: 0s\n", "").replace(
        "[\"easyenclave\", ",
        "[\"timeout\", \"1\", \"easyenclave\", ",
    );
    let commit = fleet.commit("deployments/acme/web.yaml", Some(&looping));
    let mut told = std::collections::BTreeSet::new();
    let status = fleet.wait("it is given up", |status| {
        let agents = status["agents"].as_array().into_iter().flatten();
        let with_it = agents.filter(|agent| {
            agent["assigned"]["workload"] == web(status)["workload"]
                && web(status)["rollout"]["commit"] == commit.as_str()
        });
        told.extend(with_it.map(|agent| agent["agent"].to_string()));
        web(status)["rollout"]["reverted"].is_object() && web(status)["ready"] == 3
    });
    assert_eq!(web(&status)["rollout"]["reverted"]["cause"], "exited");
    assert_eq!(told.len(), 1, "the canary only: {told:?}");
    let (code, said) = wait(&fleet, &commit, &["--timeout", "60s"]);
    assert_eq!(code, Some(6), "{said}");
    fleet.stop();
}

/// Status knows what was given up, and Git what was healthy.
#[test]
fn a_lost_store_does_not_roll_a_version_out_again_that_was_given_up() {
    let mut fleet = proved(1);
    let bad = version("2").replace("hello-tdx", "no-such-command");
    fleet.commit("deployments/acme/web.yaml", Some(&bad));
    let is_back = |status: &Value| {
        let web = web(status);
        web["ready"] == 3 && web["updated"] == 0 && web["rollout"]["reverted"].is_object()
    };
    let status = fleet.wait("it was given up", is_back);
    let (rollout, wanted) = (&web(&status)["rollout"], &web(&status)["workload"]);
    let told = |fleet: &Fleet| {
        let workload = format!("workload {}", wanted.as_str().expect("a digest"));
        let log = fleet.log("serve.log");
        let lines = log.lines().filter(|line| line.contains("assign acme/web"));
        lines.filter(|line| line.contains(&workload)).count()
    };
    let before = told(&fleet);
    assert_eq!(before, 1, "the canary");

    fleet.lose_store();
    fleet.start_serve();
    fleet.until("each agent has registered again", || {
        fleet.log("serve.log").matches("is taken in again").count() >= 4
    });
    // A replica that is lost is replaced by the healthy version, so that is known whole.
    let status = fleet.wait("all are back", is_back);
    let lost = web(&status)["replicas"][0]["agent"]
        .as_str()
        .expect("a replica");
    let agents = fleet.processes().into_iter();
    let pid = agents
        .filter(|agent| agent.order == lost)
        .map(|agent| agent.pid);
    pid.for_each(|pid| signal(pid, "KILL"));
    let back = fleet.wait("the spare has the healthy version", |status| {
        let replicas = web(status)["replicas"].as_array();
        is_back(status) && replicas.is_some_and(|all| all.iter().all(|it| it["agent"] != lost))
    });
    let again = &web(&back)["rollout"];
    for field in ["aim", "attempt", "healthy", "reverted"] {
        assert_eq!(again[field], rollout[field], "{field}");
    }
    assert_eq!(told(&fleet), before, "{}", fleet.log("serve.log"));
    // Another attempt is what a person asks for.
    let commit = fleet.commit("deployments/acme/web.yaml", Some(&version("3")));
    let (code, said) = wait(&fleet, &commit, &["web", "--timeout", "60s"]);
    assert_eq!(code, Some(0), "{said}");
    fleet.stop();
}

#[test]
fn a_bad_version_is_taken_back_after_its_canary_and_stays_so_until_the_document_changes() {
    let mut fleet = proved(0);

    let bad = version("2").replace("hello-tdx", "no-such-command");
    let commit = fleet.commit("deployments/acme/web.yaml", Some(&bad));
    let (code, said) = wait(&fleet, &commit, &["--timeout", "60s"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("acme/web was reverted at "), "{said}");
    let status = fleet.wait("all replicas are of the healthy version", |status| {
        let web = web(status);
        web["ready"] == 3 && web["updated"] == 0
    });
    let rollout = &web(&status)["rollout"];
    assert_eq!(rollout["reverted"]["cause"], "exited", "{rollout}");
    assert_eq!(rollout["aim"], rollout["healthy"]);
    assert_eq!(
        crate::harness::condition(web(&status), "UpToDate")["reason"],
        "Reverted"
    );
    let bad_ones = fleet
        .log("serve.log")
        .matches(web(&status)["workload"].as_str().expect("a digest"))
        .count();

    // Nothing is tried again, neither by time nor by a restart.
    fleet.kill_serve();
    fleet.start_serve();
    fleet.wait("the fleet is as it was", |status| {
        let web = web(status);
        web["ready"] == 3 && web["rollout"]["reverted"]["cause"] == "exited"
    });
    let log = fleet.log("serve.log");
    let again = log
        .matches(web(&status)["workload"].as_str().expect("a digest"))
        .count();
    assert_eq!(bad_ones, again, "{log}");
    let shown = fleet.run(&["rollout", "status", "web", "--data", "data"]);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(
        shown.contains("reverted") && shown.contains("it exits"),
        "{shown}"
    );

    let commit = fleet.commit("deployments/acme/web.yaml", Some(&version("3")));
    let (code, said) = wait(&fleet, &commit, &["web", "--timeout", "60s"]);
    assert_eq!(code, Some(0), "{said}");
    let shown = fleet.run(&[
        "rollout", "history", "web", "--data", "data", "--output", "json",
    ]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let past = shown[0]["history"].as_array().expect("a list").iter();
    let outcomes: Vec<_> = past
        .map(|past| past["outcome"].as_str().expect("a word"))
        .collect();
    assert_eq!(outcomes, ["settled", "reverted", "settled"]);

    let pause =
        "    pause:\n      owner: ann\n      reason: holidays\n      until: 2100-01-01T00:00:00Z\n";
    let paused = version("4") + pause;
    let commit = fleet.commit("deployments/acme/web.yaml", Some(&paused));
    let (code, said) = wait(&fleet, &commit, &["--timeout", "10s"]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("paused by ann: holidays"), "{said}");
    let wrong = version("5").replace("replicas: 3", "replicas: many");
    let commit = fleet.commit("deployments/acme/web.yaml", Some(&wrong));
    let (code, said) = wait(&fleet, &commit, &["--timeout", "60s"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("deployments/acme/web.yaml:"), "{said}");
    fleet.stop();
}

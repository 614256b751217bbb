//! A measurement is outlawed by a merge: what the plan says before, what happens and in which order, and what `why`
//! says of one agent. `--nocapture` shows the texts.

use serde_json::Value;

use crate::harness::{Fleet, deployment, find};

const POLICY: &str = "policies/simulated.yaml";

/// The policy with another measurement in the place of the one that the agents have.
fn without_their_image(policy: &str) -> String {
    let at = policy.find("mrtd: ").expect("a measurement") + "mrtd: ".len();
    let mut other = policy.to_owned();
    other.replace_range(at..at + 96, &"ab".repeat(48));
    other
}

fn show(title: &str, text: &str) {
    println!("== {title}\n{text}");
}

fn said(fleet: &Fleet, args: &[&str]) -> String {
    String::from_utf8_lossy(&fleet.run(args).stdout).into_owned()
}

/// The lines of the log that say what was decided, without their times.
fn decided(fleet: &Fleet) -> Vec<String> {
    let log = fleet.log("serve.log");
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("decided action="));
    lines.map(|(_, action)| action.to_owned()).collect()
}

fn at(actions: &[String], verb: &str) -> Vec<usize> {
    let all = actions.iter().enumerate();
    all.filter(|(_, action)| action.starts_with(verb))
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn an_outlawed_measurement_is_planned_hidden_held_and_replaced_in_this_order() {
    let fleet = Fleet::started(3, 0);
    fleet.wait_published(3);
    let trusted = fleet.file(POLICY);
    let outlawed = without_their_image(&trusted);
    let state = fleet.state().display().to_string();
    let files = [(POLICY.to_owned(), Some(outlawed.into_bytes()))].into();
    fleet.git(&["branch", "outlaw", "main"]);
    let author = ("Ada", "ada@example.invalid");
    easyenclave_git::commit_files(&state, "outlaw", &files, "outlaw", author, 3).expect("made");

    let plan = [
        "plan", "--repo", &state, "--head", "outlaw", "--status", "status",
    ];
    let plan = said(&fleet, &plan);
    show("the plan before the merge", &plan);
    assert_eq!(
        plan.matches("would be refused, EE-ATT-014").count(),
        3,
        "{plan}"
    );
    assert_eq!(plan.matches("unexpose acme/web").count(), 3, "{plan}");
    assert!(
        plan.contains("held 3 of 3 agents of target tiny would go"),
        "{plan}"
    );

    let before = decided(&fleet).len();
    fleet.git(&["update-ref", "refs/heads/main", "refs/heads/outlaw"]);
    let status = fleet.wait("the pool is hidden, and its end is held", |status| {
        let agents = status["agents"].as_array().expect("a list");
        let hidden = |agent: &&Value| !agent["quarantined"].is_null() && agent["exposed"].is_null();
        agents.iter().filter(hidden).count() == 3 && !status["fleet"]["held"][0].is_null()
    });
    assert_eq!(fleet.workloads().len(), 3, "nothing was stopped unasked");
    let agent = find(&status["agents"], "quarantined", "its evidence is refused");
    let name = agent["agent"].as_str().expect("a name").to_owned();
    let why = said(&fleet, &["why", &name, "--data", "data"]);
    show("why, of one agent", &why);
    assert!(
        why.contains("EE-ATT-014") && why.contains("approve with"),
        "{why}"
    );

    show(
        "what a person is asked",
        &status["fleet"]["held"][0].to_string(),
    );

    // It was a mistake: the image is trusted again, and the agents come back by themselves.
    let again = format!("# The image is trusted again.\n{trusted}");
    fleet.commit(POLICY, Some(&again));
    fleet.wait_running(3);
    let actions = decided(&fleet)[before..].to_vec();
    show("what happened, in this order", &actions.join("\n"));
    let (hidden, quarantined) = (at(&actions, "unexpose"), at(&actions, "quarantine"));
    assert_eq!((hidden.len(), quarantined.len()), (3, 3), "{actions:#?}");
    assert!(
        hidden[2] < quarantined[0],
        "hidden before anything else: {actions:#?}"
    );
    assert!(at(&actions, "retire").is_empty() && at(&actions, "unassign").is_empty());
    fleet.stop();
}

#[test]
fn an_image_that_was_withdrawn_on_purpose_goes_when_a_person_approves() {
    let fleet = Fleet::started(2, 0);
    fleet.commit("deployments/acme/web.yaml", Some(&deployment("web", 3, "")));
    fleet.wait_running(3);
    let outlawed = without_their_image(&fleet.file(POLICY));
    fleet.commit(POLICY, Some(&outlawed));
    let status = fleet.wait("the end of the pool is held", |status| {
        !status["fleet"]["held"][0].is_null()
    });
    let old: Vec<_> = fleet
        .agents()
        .iter()
        .map(|agent| agent.order.clone())
        .collect();
    let digest = status["fleet"]["held"][0]["digest"]
        .as_str()
        .expect("a digest");
    let approved = fleet.run(&["approve", digest, "--data", "data", "--reason", "withdrawn"]);
    assert!(approved.status.success());
    fleet.until("the old machines are gone", || {
        let now = fleet.agents();
        now.iter().all(|agent| !old.contains(&agent.order))
    });
    fleet.stop();
}

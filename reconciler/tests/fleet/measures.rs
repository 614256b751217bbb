//! Reference values by pull request: an unknown image on a trusted platform becomes a policy change that a person
//! merges, and then its agents are taken in.

use crate::harness::{Fleet, find};

const POLICY: &str = "policies/simulated.yaml";

#[test]
fn an_unknown_image_becomes_a_policy_change_and_is_trusted_once_that_is_merged() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
    let nothing = fleet.run(&["measure", "--data", "data"]);
    let text = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(
        nothing.status.success() && nothing.stdout.is_empty(),
        "{text}"
    );
    assert!(text.contains("no unknown image was seen"), "{text}");
    let known = fleet.file(POLICY);
    let at = known.find("mrtd: ").expect("a measurement") + "mrtd: ".len();
    let mut other = known.clone();
    other.replace_range(at..at + 96, &"ab".repeat(48));
    fleet.commit(POLICY, Some(&other));
    let status = fleet.wait("the agents' image is unknown", |status| {
        status["fleet"]["sightings"][0]["policy"] == "simulated"
    });
    let seen = &status["fleet"]["sightings"][0];
    assert_eq!(seen["simulated"], true);
    assert!(known.contains(seen["mrtd"].as_str().expect("a digest")));
    let agent = find(&status["agents"], "quarantined", "its evidence is refused");
    assert!(!agent.is_null(), "{status}");

    let output = fleet.run(&["measure", "--data", "data", "--branch", "trust-it"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let again = fleet.run(&["measure", "--data", "data", "--branch", "trust-it"]);
    assert!(!again.status.success(), "no branch is written over");
    let diff = fleet.git(&["diff", "--numstat", "main", "trust-it"]);
    let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(diff.ends_with("\t0\tpolicies/simulated.yaml\n"), "{diff}");
    let agent = agent["agent"].as_str().expect("a name");
    let plan = plan_once_refused(&fleet, agent, "trust-it");
    let accepted = format!("agent {agent}: would be accepted (simulated)");
    assert!(plan.contains(&accepted), "{plan}");
    assert!(plan.contains(&format!("release {agent}")), "{plan}");
    assert!(!plan.contains("challenge"), "nobody is asked: {plan}");
    fleet.git(&["update-ref", "refs/heads/main", "refs/heads/trust-it"]);
    fleet.wait_running(1);
    fleet.wait("nothing unknown is left", |status| {
        status["fleet"]["sightings"]
            .as_array()
            .is_none_or(Vec::is_empty)
    });
    fleet.stop();
}

/// The plan for a branch, from a status that has the agent in quarantine.
fn plan_once_refused(fleet: &Fleet, agent: &str, head: &str) -> String {
    let state = fleet.state().display().to_string();
    fleet.until("the status branch says that it is refused", || {
        let output = fleet.run(&["status", "--repo", &state, "--output", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        find(&status["agents"], "agent", agent)["quarantined"] == "its evidence is refused"
    });
    let args = [
        "plan", "--repo", &state, "--head", head, "--status", "status",
    ];
    String::from_utf8_lossy(&fleet.run(&args).stdout).into_owned()
}

#[test]
fn a_plan_shows_which_agents_a_policy_would_refuse_before_it_is_merged() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_published(2);
    let policy = fleet.file(POLICY);
    let at = policy.find("mrtd: ").expect("a measurement") + "mrtd: ".len();
    let mut other = policy.clone();
    other.replace_range(at..at + 96, &"ab".repeat(48));
    let other = other.replace("spec:\n", "spec:\n  modes:\n    rtmr: warn\n");
    let files = [(POLICY.to_owned(), Some(other.into_bytes()))].into();
    let state = fleet.state().display().to_string();
    fleet.git(&["branch", "change", "main"]);
    let author = ("Ada", "ada@example.invalid");
    easyenclave_git::commit_files(&state, "change", &files, "outlaw", author, 3).expect("made");
    let plan = |head: &str, output: &str| {
        let args = [
            "plan", "--repo", &state, "--base", "main", "--status", "status",
        ];
        let args = [args.as_slice(), &["--head", head, "--output", output]].concat();
        String::from_utf8_lossy(&fleet.run(&args).stdout).into_owned()
    };
    let text = plan("change", "text");
    assert_eq!(
        text.matches("would be refused, EE-ATT-014").count(),
        2,
        "{text}"
    );
    let register = r#"policy simulated: measurements["simulated image tiny for tiny"].mrtd: "f03c"#;
    assert!(text.contains(register), "{text}");
    assert!(text.contains("runtime measurements only warns"), "{text}");
    assert_eq!(text.matches("quarantine tiny-").count(), 2, "{text}");
    assert_eq!(text.matches("unexpose acme/web").count(), 2, "{text}");
    let first = text.lines().next().expect("a line");
    assert!(
        first.starts_with("OUT OF SERVICE: all 2 agents of target tiny"),
        "{text}"
    );
    assert!(plan("change", "markdown").contains("**OUT OF SERVICE: all 2 agents"));
    assert!(plan("change", "markdown").contains("Agents judged otherwise"));
    assert!(!plan("main", "text").contains("would be"));
    let why = |fleet: &Fleet, agent: &str| {
        let output = fleet.run(&["why", agent, "--data", "data"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    fleet.git(&["update-ref", "refs/heads/main", "refs/heads/change"]);
    let status = fleet.wait("both agents are hidden and quarantined", |status| {
        let agents = status["agents"].as_array().expect("a list");
        let out = |agent: &&serde_json::Value| {
            agent["quarantined"] == "its evidence is refused" && agent["exposed"].is_null()
        };
        agents.iter().filter(out).count() == 2
    });
    assert_eq!(
        fleet.workloads().len(),
        2,
        "workloads go on until others serve"
    );
    let agent = find(&status["agents"], "quarantined", "its evidence is refused");
    let text = why(&fleet, agent["agent"].as_str().expect("a name"));
    assert!(text.contains("EE-ATT-014"), "{text}");
    fleet.stop();
}

//! Reference values by pull request: an unknown image on a trusted platform becomes a policy change that a person
//! merges, and then its agents are taken in.

use crate::harness::{Fleet, find};

const POLICY: &str = "policies/simulated.yaml";

#[test]
fn an_unknown_image_becomes_a_policy_change_and_is_trusted_once_that_is_merged() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_running(1);
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
    fleet.git(&["update-ref", "refs/heads/main", "refs/heads/trust-it"]);
    fleet.wait_running(1);
    fleet.stop();
}

//! What a reconciler that says too little or too much is named for, and how it is told.

use easyenclave_schemas::status::{AgentStatus, paths};
use serde_json::Value;

use crate::maker::Maker;
use crate::{TWO, easyenclave, text};

/// A second commit that says something else of the first agent.
fn said(alter: impl FnOnce(&mut AgentStatus)) -> (tempfile::TempDir, Maker) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.round(0);
    alter(
        maker
            .status
            .agents
            .values_mut()
            .next()
            .expect("two of them"),
    );
    maker.report();
    maker.push();
    (dir, maker)
}

fn restarted(agent: &mut AgentStatus) {
    agent.replica.as_mut().expect("something runs").restarts += 1;
}

fn git(maker: &Maker, args: &[&str]) -> String {
    let mut git = std::process::Command::new("git");
    let output = git.arg("-C").arg(&maker.made.state).args(args).output();
    text(&output.expect("git runs").stdout).trim().to_owned()
}

/// The kind and the message of the only finding.
fn finding(maker: &Maker, args: &[&str]) -> (String, String) {
    let args = [&["verify", "--output", "json"], args].concat();
    let output = easyenclave(&maker.made.state, &args);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = found["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{found}");
    let word = |name: &str| findings[0][name].as_str().expect("text").to_owned();
    (word("kind"), word("message"))
}

#[test]
fn an_accepted_agent_without_evidence_is_named() {
    let (_dir, maker) = said(|agent| agent.trust.evidence = None);
    let (kind, message) = finding(&maker, &[]);
    assert_eq!(kind, "evidence");
    assert_eq!(message, "has a verdict and names no evidence");
    assert_eq!(finding(&maker, &["--at", "status"]).0, "evidence");
    assert_eq!(
        finding(&maker, &["--range", "status~1..status"]).0,
        "evidence"
    );
}

#[test]
fn a_policy_for_agents_of_another_size_is_named() {
    let (_dir, maker) = said(|agent| agent.node_size = "large".parse().expect("a name"));
    let (kind, message) = finding(&maker, &[]);
    assert_eq!(kind, "policy");
    assert!(
        message.starts_with("its policy is for agents of size tiny: "),
        "{message}"
    );
}

/// The record was looked at for its right target before.
#[test]
fn a_target_that_never_named_the_policy_of_a_known_record_is_named() {
    let (_dir, maker) = said(|agent| agent.target = "other".parse().expect("a name"));
    let (kind, message) = finding(&maker, &[]);
    assert_eq!(kind, "policy");
    assert!(
        message.contains("target other is in no version"),
        "{message}"
    );
}

#[test]
fn what_was_found_is_told_though_today_cannot_be() {
    let (dir, maker) = said(|agent| agent.trust.evidence = None);
    let keys = dir.path().join("keys");
    let name = keys.display().to_string();
    let fleet = git(&maker, &["show", "main:fleet.yaml"]);
    let (_, key) = fleet.split_once("ssh-ed25519 ").expect("a key");
    let key = key.split([' ', '"', ',', ']']).next().unwrap_or_default();
    std::fs::write(&keys, format!("ssh-ed25519 {key}\n")).expect("written");
    let args = ["verify", "--signers", &name, "--branch", "gone", "--today"];
    let output = easyenclave(&maker.made.state, &args);
    assert_eq!(output.status.code(), Some(1));
    let (answer, error) = (text(&output.stdout), text(&output.stderr));
    assert!(answer.contains("names no evidence"), "{answer}");
    assert!(error.contains("--today needs the desired state"), "{error}");
}

#[test]
fn a_range_of_nothing_is_not_called_good() {
    let (_dir, maker) = said(restarted);
    let output = easyenclave(&maker.made.state, &["verify", "--range", "status..status"]);
    let answer = text(&output.stdout);
    assert!(answer.starts_with("nothing to check"), "{answer}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_branch_named_like_the_kept_commit_does_not_lead_astray() {
    let (_dir, maker) = said(restarted);
    let kept = git(&maker, &["rev-parse", "status"]);
    let before = git(&maker, &["rev-parse", "status~1"]);
    git(&maker, &["update-ref", "refs/heads/status", &before]);
    git(
        &maker,
        &["update-ref", &format!("refs/heads/{kept}"), &before],
    );
    let (kind, message) = finding(&maker, &["--range", &format!("{kept}..status")]);
    assert_eq!(kind, "history");
    assert!(message.contains("the branch was taken back"), "{message}");
}

#[test]
fn a_record_that_is_longer_than_any_is_named_and_not_held() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.round(0);
    maker.push();
    let agent = maker.status.agents.keys().next().expect("two of them");
    let agent = agent.clone();
    let record = maker.status.agents[&agent]
        .trust
        .evidence
        .expect("a record");
    let path = format!("status:{}", paths::evidence(&record));
    let long = git(&maker, &["show", &path]) + &" ".repeat(300_000);
    let long = maker.shelve(&agent, vec![long.into_bytes()]);
    let status = maker.status.agents.get_mut(&agent).expect("there");
    status.trust.evidence = Some(long);
    maker.report();
    maker.push();
    let (kind, message) = finding(&maker, &[]);
    assert_eq!(kind, "evidence");
    assert!(
        message.starts_with("has more than 262144 bytes"),
        "{message}"
    );
}

#[test]
fn a_commit_of_the_desired_state_is_told_to_be_no_status_commit() {
    let (_dir, maker) = said(restarted);
    let agent = maker.status.agents.keys().next().expect("two of them");
    let range = ["verify", "--range", "main..status"];
    for args in [
        &["verify", "--at", "HEAD"],
        &range,
        &["evidence", agent.as_str(), "--at", "main"] as &[&str],
    ] {
        let output = easyenclave(&maker.made.state, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let error = text(&output.stderr);
        let said = " is no status commit: expected one of the branch status, such as status or";
        assert!(error.contains(said), "{args:?}: {error}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
    let taken_back = git(&maker, &["rev-parse", "status"]);
    git(&maker, &["branch", "--force", "status", "status~1"]);
    let args = ["verify", "--at", &taken_back];
    let output = easyenclave(&maker.made.state, &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

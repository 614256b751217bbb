//! One agent's evidence, for people.

use easyenclave_schemas::evidence::MeasurementDigest;
use serde_json::Value;

use crate::maker::Maker;
use crate::{TWO, audit, easyenclave, text};

fn first_agent(maker: &Maker) -> String {
    let agent = maker.status.agents.keys().next();
    agent.expect("two of them").to_string()
}

#[test]
fn accepted_evidence_is_told_in_full_and_stamped() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.round(0);
    maker.push();
    let agent = first_agent(&maker);
    let output = easyenclave(&maker.made.state, &["evidence", &agent]);
    let answer = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        &format!("agent {agent} (simulated)"),
        "policy         simulated (",
        "accepted under a simulated root",
        "made again     the same comes out again",
        "quote          version 4, a guest of TDX 1.0,",
        "bound to       the nonce of this record and the agent's key",
        "measurement    simulated image tiny",
        "TCB            UpToDate",
        "collateral     expire",
        "event log      3 events; its replay gives the quote's registers 0 to 2",
    ] {
        assert!(answer.contains(part), "{part} is missing: {answer}");
    }
    let (letter, rest) = agent.split_at(1);
    let wrong = format!("{letter}{letter}{rest}");
    let output = easyenclave(&maker.made.state, &["evidence", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains(&format!("did you mean `{agent}`?")),
        "{error}"
    );
}

#[test]
fn another_kernel_is_told_by_the_register_and_by_the_event() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.round(0);
    maker.boot[1] = (1, "kernel 2");
    let known = maker
        .policy
        .spec
        .measurements
        .first_mut()
        .expect("an image");
    known.rtmr1 = Some(MeasurementDigest::new([7; 48]).to_string());
    let agent = first_agent(&maker);
    maker.attest(&agent.parse().expect("a name"));
    maker.report();
    maker.push();
    let output = easyenclave(&maker.made.state, &["evidence", &agent]);
    let answer = text(&output.stdout);
    for part in [
        "refused (simulated): EE-ATT-016",
        "what to do ",
        "policy         in no version of the desired state up to",
        "none; the nearest is simulated image tiny",
        &format!("{} in the policy", "07".repeat(48)),
        "text: kernel 1",
        "text: kernel 2",
    ] {
        assert!(answer.contains(part), "{part} is missing: {answer}");
    }
    let settings = answer
        .lines()
        .filter(|line| line.contains("text: settings"));
    assert_eq!(
        settings.count(),
        0,
        "what both measure is left out: {answer}"
    );
    let args = ["evidence", &agent, "--at", "status~1", "--output", "json"];
    let output = easyenclave(&maker.made.state, &args);
    let before: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(before["simulated"], true);
    assert!(before["outcome"]["accepted"].is_object(), "{before}");
}

/// Records of before name no root of what they refuse. It is seen again where the evidence can be read.
#[test]
fn a_refusal_is_of_the_platform_that_its_evidence_shows_whatever_its_record_names() {
    for of_before in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut maker = Maker::new(dir.path(), &TWO);
        maker.of_before = of_before;
        maker.policy.spec.measurements.clear();
        maker.round(0);
        maker.push();
        let agent = first_agent(&maker);
        let output = easyenclave(&maker.made.state, &["evidence", &agent]);
        let answer = text(&output.stdout);
        assert!(answer.contains(&format!("agent {agent} (simulated)")));
        assert!(answer.contains("refused (simulated): EE-ATT-014"));
        let found = audit::run(&maker.made.state, None).found;
        let verdicts = &found["verdicts"];
        assert_eq!(verdicts["recomputed"], 2, "{found}");
        assert_eq!(verdicts["simulated"], 2, "{found}");
        assert_eq!(verdicts["rootNotKnown"], 0, "{found}");
    }
}

/// Certificates in a quote are under no signature, so an accepted agent may leave out its root.
#[test]
fn a_quote_without_its_root_is_of_its_platform_accepted_or_refused() {
    for (outlaws, part) in [(false, "accepted under"), (true, "refused (simulated): ")] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut maker = Maker::new(dir.path(), &TWO);
        (maker.rootless, maker.was_accepted) = (true, true);
        if outlaws {
            maker.policy.spec.measurements.clear();
        }
        maker.round(0);
        maker.push();
        let agent = first_agent(&maker);
        let output = easyenclave(&maker.made.state, &["evidence", &agent]);
        let answer = text(&output.stdout);
        assert!(answer.contains(part), "{answer}");
        let found = audit::run(&maker.made.state, None).found;
        let findings = found["findings"].as_array().expect("a list").iter();
        let of_evidence = findings.filter(|finding| finding["kind"] != "policy");
        assert_eq!(of_evidence.count(), 0, "{found}");
        let verdicts = &found["verdicts"];
        assert_eq!(verdicts["recomputed"], 2, "{found}");
        assert_eq!(verdicts["rootNotKnown"], 0, "{found}");
    }
}

#[test]
fn an_altered_quote_is_said_to_be_of_nobody_knows_whom() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.tampers = true;
    maker.round(0);
    maker.push();
    let agent = first_agent(&maker);
    let output = easyenclave(&maker.made.state, &["evidence", &agent]);
    let answer = text(&output.stdout);
    assert!(answer.contains("refused (root not known): EE-ATT-020"));
    let output = easyenclave(&maker.made.state, &["verify", "--today"]);
    let answer = text(&output.stdout);
    for part in [
        "2 made again from their evidence, 0 of them simulated, the root of 2 not known",
        "2 refused, 0 of them simulated, the root of 2 not known",
        &format!("\n{agent}: refused EE-ATT-020 (root not known): "),
    ] {
        assert!(answer.contains(part), "{part} is missing: {answer}");
    }
}

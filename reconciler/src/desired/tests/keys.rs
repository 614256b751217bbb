//! Auditors, signers, and what is to be sealed for nobody: a change is blamed, and what was in force is not.

use super::*;

const FLEET: &str = "fleet.yaml";
const REAL: &str = "policies/real.yaml";

/// A policy whose root is Intel's.
const INTELS: &str = "apiVersion: easyenclave.dev/v1\nkind: AttestationPolicy\nmetadata:\n  name: real\nspec:\n  \
                      trustRoot:\n    kind: intel\n  measurements: []\n";

const AUDITOR: &str = "age1ktdlrw32qze3hmsavtatt0p866jq786eg5hmn2mq8glrqqyw2vzqwkt5u4";

impl Story {
    /// Gives the fleet's document these lines about evidence.
    fn evidence(&mut self, lines: &str) {
        let fleet = read(&root().join("valid/fleet.yaml"));
        self.write(FLEET, &format!("{fleet}  evidence:\n{lines}"));
    }

    /// What is wrong, and what happens then.
    pub(super) fn problems(&mut self) -> Vec<String> {
        let loaded = self.load();
        assert!(loaded.model.is_some(), "{:?}", loaded.problems);
        let problem = |it: &easyenclave_schemas::status::ProblemStatus| {
            let (file, line, column) = (&it.file, it.line, it.column);
            format!(
                "{file}:{line}:{column}: {} ({})",
                it.message, it.consequence
            )
        };
        loaded.problems.iter().map(problem).collect()
    }
}

#[test]
fn a_policy_under_intels_root_comes_in_when_there_is_an_auditor_or_nothing_is_sealed() {
    for lines in [
        format!("    auditors: [{AUDITOR}]\n"),
        "    keep: digest\n".into(),
        "    keep: full\n".into(),
    ] {
        let mut story = Story::example();
        story.write(REAL, INTELS);
        let told = "policies/real.yaml:7:11: evidence under Intel's root is sealed, and no auditor is named who could \
                    open it: add `spec.evidence.auditors: [age1…]` to fleet.yaml, or `spec.evidence.keep: digest` \
                    (what depends on it is not touched)";
        assert_eq!(story.problems(), [told]);
        story.evidence(&lines);
        assert_eq!(story.problems(), [] as [&str; 0], "{lines}");
        assert!(
            story
                .load()
                .model
                .is_some_and(|model| model.policies.len() == 2)
        );
    }
}

#[test]
fn the_last_auditor_is_not_taken_away_while_something_is_sealed() {
    let mut story = Story::example();
    story.evidence(&format!("    auditors: [{AUDITOR}]\n"));
    story.write(REAL, INTELS);
    assert_eq!(story.problems(), [] as [&str; 0]);
    story.evidence("    auditors: []\n");
    let told = "fleet.yaml:15:5: evidence under Intel's root is sealed, and no auditor is named who could open it: add \
                `spec.evidence.auditors: [age1…]` to fleet.yaml, or `spec.evidence.keep: digest` (the last good version \
                stays in force)";
    assert_eq!(story.problems(), [told]);
    let model = story.load().model.expect("a model");
    assert_eq!(model.evidence.auditors, [AUDITOR]);
}

#[test]
fn keys_that_cannot_be_used_keep_the_last_good_version() {
    let mut story = Story::example();
    story.evidence("    keep: sealed\n");
    let problems = story.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("fleet.yaml:15:11: evidence is sealed, and no"),
        "{problems:?}"
    );
    story.evidence("    auditors:\n      - ada@example.org\n");
    let problems = story.problems();
    assert!(
        problems[0].starts_with("fleet.yaml:16:9: `spec.evidence.auditors[0]`: expected a"),
        "{problems:?}"
    );
    story.evidence("    keep: full\n");
    story.edit(
        FLEET,
        "signers: []",
        "signers: [\"-----BEGIN OPENSSH PRIVATE KEY----- AAAA\"]",
    );
    let problems = story.problems();
    assert!(
        problems[0].contains("found a private key: take it out of Git"),
        "{problems:?}"
    );
    assert!(!problems[0].contains("AAAA-"), "{problems:?}");
    assert!(
        problems
            .iter()
            .all(|told| told.ends_with("(the last good version stays in force)"))
    );
}

/// Such a fleet ran before anything was sealed. What it runs must not hang on a key that nobody has made yet.
#[test]
fn what_was_in_force_with_nobody_to_seal_for_stays_in_force() {
    let mut story = Story::example();
    story.evidence("    keep: sealed\n    auditors: []\n");
    story.edit(FLEET, "signers: []", "signers: [\"no key\"]");
    story.write(REAL, INTELS);
    story.was_in_force();
    assert_eq!(story.problems(), [] as [&str; 0]);
    story.edit(REAL, "measurements: []", "measurements: []\n  maxAge: 1h");
    story.edit(HELLO, "replicas: 1", "replicas: 2");
    assert_eq!(
        story.problems(),
        [] as [&str; 0],
        "a measurement can be taken out at any time"
    );
    let model = story.load().model.expect("a model");
    assert_eq!(model.policies["real"].max_age.get().as_secs(), 3600);
    story.edit(FLEET, "pushesPerMinute: 6", "pushesPerMinute: 7");
    let problems = story.problems();
    assert_eq!(
        problems.len(),
        2,
        "the document is mended when it is changed: {problems:?}"
    );
    let model = story.load().model.expect("a model");
    assert_eq!(model.status.pushes_per_minute, 6);
}

/// A newer EasyEnclave may find something wrong with what an older one let through.
#[test]
fn what_is_found_wrong_with_the_fleets_document_in_force_stops_nothing() {
    let mut story = Story::example();
    story.edit("fleet.yaml", "recipients: []", "recipients: [nonsense]");
    story.was_in_force();
    story.check_over_restarts(expect![[r#"
        fleet.yaml:13:18: `spec.secrets.recipients[0]`: expected a recipient of age such as `age1…`, as age-keygen prints it, found "nonsense" (the last good version stays in force)
        deployment acme/hello x1
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
    // A change has to mend it, and the one in force stays until then.
    story.edit("fleet.yaml", "pushesPerMinute: 6", "pushesPerMinute: 7");
    story.edit(HELLO, "replicas: 1", "replicas: 3");
    story.check_over_restarts(expect![[r#"
        fleet.yaml:13:18: `spec.secrets.recipients[0]`: expected a recipient of age such as `age1…`, as age-keygen prints it, found "nonsense" (the last good version stays in force)
        deployment acme/hello x3
        deployment acme/hello-again x2
        target tiny of 32 tiny
        owner acme 20
    "#]]);
}

//! Who may sign is what the desired state of each commit's own time says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use easyenclave_git::{CommitId, Ledger, Past, Signer, commit_files, init_repository};
use tempfile::TempDir;

use super::{Audit, Scope, Signing, audit};

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

/// A state repository whose first commit lets the old key sign, and whose second the new one.
struct Setup {
    dir: TempDir,
    old: CommitId,
    new: CommitId,
    commits: i64,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state.git");
        let key = |name| Signer::open_or_create(&dir.path().join(name)).expect("a key");
        let fleet = |name| {
            let key = key(name).public_openssh();
            let text = format!(
                "apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: test\nspec:\n  \
                 status:\n    signers: [\"{key}\"]\n"
            );
            text.into_bytes()
        };
        let files = BTreeMap::from([("fleet.yaml".to_owned(), fleet("old"))]);
        init_repository(&state, "main", &files, "start", AUTHOR, 1).expect("made");
        let past = Past::open(&state).expect("opened");
        let old = past.resolve("main").expect("a commit");
        let files = BTreeMap::from([("fleet.yaml".to_owned(), Some(fleet("new")))]);
        let place = state.display().to_string();
        commit_files(&place, "main", &files, "another key", AUTHOR, 2).expect("committed");
        let new = past.resolve("main").expect("a commit");
        Self {
            dir,
            old,
            new,
            commits: 0,
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state.git")
    }

    /// A status commit of that desired state, signed with that key.
    fn report(&mut self, desired: &str, key: &str) {
        let signer = Signer::open_or_create(&self.dir.path().join(key)).expect("a key");
        let ledger = Ledger::open("nowhere", &self.state(), "status", signer);
        let mut ledger = ledger.expect("opened");
        self.commits += 1;
        let text = self.commits.to_string();
        ledger.set("README.md", text.into()).expect("a path");
        let message = format!("status: all\n\nDesired-Commit: {desired}\n");
        ledger.record(&message, self.commits).expect("recorded");
    }

    fn audit(&self) -> Audit {
        let past = Past::open(&self.state()).expect("opened");
        let signing = Signing::desired(&past, "main").expect("somebody is named");
        let tip = past.resolve("status").expect("a commit");
        audit(&past, signing, Scope::Upto(tip), None).expect("read")
    }

    /// The only finding.
    fn finding(&self) -> String {
        let found = self.audit().findings;
        assert_eq!(found.len(), 1, "{found:?}");
        format!("{}: {}", found[0].kind, found[0].message)
    }
}

#[test]
fn each_commit_is_signed_by_a_key_of_its_own_time() {
    let mut setup = Setup::new();
    setup.report(&setup.old.to_string(), "old");
    setup.report(&setup.new.to_string(), "new");
    let audit = setup.audit();
    assert_eq!((audit.findings, audit.commits), (vec![], 2));
}

#[test]
fn a_key_that_was_taken_out_signs_nothing_more() {
    let mut setup = Setup::new();
    setup.report(&setup.new.to_string(), "old");
    let finding = setup.finding();
    assert!(
        finding.contains("is no key of those who may sign"),
        "{finding}"
    );
}

#[test]
fn a_key_that_was_taken_out_cannot_sign_for_its_own_time() {
    let mut setup = Setup::new();
    setup.report(&setup.new.to_string(), "new");
    setup.report(&setup.old.to_string(), "old");
    let finding = setup.finding();
    assert!(
        finding.starts_with("history: Desired-Commit went back"),
        "{finding}"
    );
}

#[test]
fn a_desired_state_outside_the_history_names_nobody() {
    let mut setup = Setup::new();
    let place = setup.state().display().to_string();
    easyenclave_git::create_branch(&place, "aside", "main").expect("made");
    let files = BTreeMap::from([("owners/a.yaml".to_owned(), Some(b"x".to_vec()))]);
    let aside = commit_files(&place, "aside", &files, "aside", AUTHOR, 3).expect("committed");
    setup.report(&aside.to_string(), "new");
    let finding = setup.finding();
    assert!(
        finding.contains("is not in the history of main"),
        "{finding}"
    );
}

#[test]
fn a_range_does_not_start_at_a_commit_that_was_taken_back() {
    let mut setup = Setup::new();
    setup.report(&setup.new.to_string(), "new");
    let past = Past::open(&setup.state()).expect("opened");
    let tip = past.resolve("status").expect("a commit");
    let signing = Signing::desired(&past, "main").expect("somebody is named");
    let audit = audit(&past, signing, Scope::Range(setup.old, tip), None).expect("read");
    assert_eq!(audit.findings.len(), 1);
    assert!(audit.findings[0].message.contains("taken back"));
}

//! Who may sign is what the desired state of each commit's own time says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

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

    /// Commits the document of the fleet.
    fn write(&self, fleet: &[u8]) -> CommitId {
        let files = BTreeMap::from([("fleet.yaml".to_owned(), Some(fleet.to_vec()))]);
        let place = self.state().display().to_string();
        commit_files(&place, "main", &files, "change", AUTHOR, 3).expect("committed")
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        let git = git.arg("-C").arg(self.state()).args(args);
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
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

#[test]
fn a_broken_document_of_the_fleet_keeps_those_of_before_in_force() {
    let mut setup = Setup::new();
    setup.report(&setup.new.to_string(), "new");
    let broken = setup.write(b"nothing");
    setup.report(&broken.to_string(), "new");
    let endless = setup.write(&vec![b'#'; 17 << 20]);
    setup.report(&endless.to_string(), "new");
    let audit = setup.audit();
    assert_eq!((audit.findings, audit.commits), (vec![], 3));
    setup.report(&endless.to_string(), "old");
    let finding = setup.finding();
    assert!(
        finding.contains("is no key of those who may sign"),
        "{finding}"
    );
}

#[test]
fn a_desired_state_without_any_readable_document_of_the_fleet_names_nobody() {
    let setup = Setup::new();
    let files = BTreeMap::from([("fleet.yaml".to_owned(), b"nothing".to_vec())]);
    let state = setup.dir.path().join("other.git");
    init_repository(&state, "main", &files, "start", AUTHOR, 1).expect("made");
    let past = Past::open(&state).expect("opened");
    let error = Signing::desired(&past, "main").err().expect("nobody");
    assert!(error.contains("there is no readable fleet.yaml"), "{error}");
}

/// A key that stood only in a commit of a pull request was never in force.
#[test]
fn a_key_of_a_side_branch_signs_nothing() {
    let mut setup = Setup::new();
    let place = setup.state().display().to_string();
    easyenclave_git::create_branch(&place, "aside", "main").expect("made");
    let key = Signer::open_or_create(&setup.dir.path().join("mine")).expect("a key");
    let text = setup.git(&["show", "main:fleet.yaml"]);
    let start = text.find("ssh-ed25519").expect("a key");
    let text = format!("{}{}\"]\n", &text[..start], key.public_openssh());
    let files = BTreeMap::from([("fleet.yaml".to_owned(), Some(text.into_bytes()))]);
    let aside = commit_files(&place, "aside", &files, "mine", AUTHOR, 3).expect("committed");
    let author = ["-c", "user.name=A", "-c", "user.email=a@b"];
    let main = setup.new.to_string();
    let merge = [
        "commit-tree",
        "-p",
        &main,
        "-p",
        &aside.to_string(),
        "-m",
        "merge",
        "main^{tree}",
    ];
    let merge = setup.git(&[author.as_slice(), &merge].concat());
    setup.git(&["update-ref", "refs/heads/main", &merge]);
    setup.report(&aside.to_string(), "mine");
    let finding = setup.finding();
    assert!(
        finding.contains("within a merge, and was never its tip"),
        "{finding}"
    );
    assert!(finding.contains("git pull --rebase"), "{finding}");
    assert!(finding.contains("--range "), "{finding}");
}

#[test]
fn a_commit_that_is_too_long_is_named_and_nothing_more() {
    let mut setup = Setup::new();
    setup.report(&setup.new.to_string(), "new");
    let message = setup.dir.path().join("message");
    let text = format!(
        "{}\n\nDesired-Commit: {}\n",
        "long ".repeat(100_000),
        setup.new
    );
    std::fs::write(&message, text).expect("written");
    let author = ["-c", "user.name=A", "-c", "user.email=a@b"];
    let file = message.display().to_string();
    let commit = ["commit-tree", "-p", "status", "-F", &file, "status^{tree}"];
    let commit = setup.git(&[author.as_slice(), &commit].concat());
    setup.git(&["update-ref", "refs/heads/status", &commit]);
    let finding = setup.finding();
    assert!(finding.contains("has more than 65536 bytes"), "{finding}");
}

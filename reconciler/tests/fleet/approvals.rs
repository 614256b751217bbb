//! `approve`, `status` and `why` with a plan that is held, as a status branch says it: no reconciler runs here, so
//! nothing changes but by the command itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use easyenclave_git::{commit_files, init_repository};

use crate::harness::PROGRAM;

const ADA: (&str, &str) = ("Ada", "ada@example.invalid");

/// A state repository with a status branch that holds one plan.
struct State {
    dir: tempfile::TempDir,
    digest: String,
}

impl State {
    /// So many removals are held; the status lists them but for so many.
    fn holding(removals: usize, more: usize) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let state = Self {
            dir,
            digest: "ab".repeat(32),
        };
        let files = easyenclave::examples::files(None);
        init_repository(&state.path(), "main", &files, "start", ADA, 1).expect("made");
        let held = state.held(removals, more);
        state.commit("status", "fleet.yaml", &state.fleet(&held, "[]"));
        state
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.git")
    }

    fn tip(&self, branch: &str) -> String {
        self.git(&["rev-parse", branch])
    }

    fn held(&self, removals: usize, more: usize) -> String {
        let mut held = format!(
            "[{{digest: {:?}, reason: {removals} replicas of owner acme would go, more: {more}, actions: [",
            self.digest
        );
        for n in 0..removals - more {
            held += &format!("unassign acme/web from tiny-{n:012} generation {n}, ");
        }
        held + "]}]"
    }

    /// `fleet.yaml` of the status branch.
    fn fleet(&self, held: &str, spent: &str) -> String {
        let (commit, plan) = (self.tip("main"), "cd".repeat(32));
        format!(
            "fleet: test\ndesiredCommit: {commit:?}\neffectiveCommit: {commit:?}\nplanDigest: {plan:?}\n\
             counts: {{deployments: 1, deploymentsRunning: 1, replicasReady: 1, agentsAttested: 0, \
             agentsSimulated: 1, agentsUntrusted: 0, ordersPending: 0, problems: 0}}\n\
             held: {held}\nspentApprovals: {spent}\nconditions: []\n"
        )
    }

    fn commit(&self, branch: &str, path: &str, text: &str) {
        let place = self.path().display().to_string();
        let change = BTreeMap::from([(path.to_owned(), Some(text.as_bytes().to_vec()))]);
        commit_files(&place, branch, &change, "a change", ADA, 2).expect("committed");
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        let output = git.arg("-C").arg(self.path()).args(args).output();
        let output = output.expect("git runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout).trim().to_owned()
    }

    /// Runs a command on this repository, as somebody.
    fn run_as(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--repo").arg(self.path());
        command.env("GIT_AUTHOR_NAME", name);
        command.env("GIT_AUTHOR_EMAIL", "somebody@example.invalid");
        command.output().expect("the program runs")
    }

    fn approve(&self, name: &str, reason: &str) -> Output {
        self.run_as(name, &["approve", &self.digest[..12], "--reason", reason])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_approved_already_stays_as_it_was_approved() {
    let state = State::holding(3, 0);
    let first = state.approve("Ada", "cleaning up");
    assert!(first.status.success(), "{}", text(&first.stderr));
    let approved = state.tip("main");
    assert_eq!(text(&first.stdout).trim(), approved);
    let again = state.approve("Bob", "because I can");
    let said = text(&again.stderr);
    assert_eq!(again.status.code(), Some(0), "{said}");
    assert_eq!(state.tip("main"), approved, "nothing is committed");
    assert!(
        said.contains("already approved by Ada") && said.contains("cleaning up"),
        "{said}"
    );
    assert!(said.contains("push it, if this is a clone"), "{said}");
    assert_eq!(text(&again.stdout).trim(), approved, "the same answer");
}

#[test]
fn an_approval_that_the_reconciler_refuses_is_none() {
    let document = |digest: &str| {
        format!(
            "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata:\n  name: mine\nspec:\n  \
             planDigest: {digest:?}\n"
        )
    };
    let (this, other) = ("ab".repeat(32), "cd".repeat(32));
    let misplaced: &[(&str, &str)] = &[("deployments/acme/mine.yaml", &this)];
    let double = &[
        ("approvals/a.yaml", other.as_str()),
        ("approvals/b.yaml", &this),
    ];
    for files in [misplaced, double] {
        let state = State::holding(3, 0);
        for (path, digest) in files {
            state.commit("main", path, &document(digest));
        }
        let there = state.tip("main");
        let approved = state.approve("Bob", "it is meant");
        let said = text(&approved.stderr);
        let in_force = said.contains("already approved");
        assert!(approved.status.success() && !in_force, "{files:?}: {said}");
        assert_ne!(state.tip("main"), there, "{files:?}: {said}");
    }
}

#[test]
fn an_approval_under_another_path_counts_and_one_that_is_spent_does_not() {
    let state = State::holding(3, 0);
    let digest = &state.digest;
    let revision = state.tip("main");
    let document = format!(
        "apiVersion: easyenclave.dev/v1\nkind: Approval\nmetadata:\n  name: mine\nspec:\n  \
         planDigest: {digest:?}\n  revision: {revision:?}\n"
    );
    state.commit("main", "approvals/mine.yaml", &document);
    let there = state.tip("main");
    let again = state.approve("Bob", "because I can");
    let said = text(&again.stderr);
    assert!(
        said.contains("already approved by Ada") && said.contains("without a reason"),
        "{said}"
    );
    assert_eq!(state.tip("main"), there, "nothing is committed");
    let spent = format!("[{{planDigest: {digest:?}, revision: {revision:?}}}]");
    let fleet = state.fleet(&state.held(3, 0), &spent);
    state.commit("status", "fleet.yaml", &fleet);
    let anew = state.approve("Bob", "because I can");
    assert!(anew.status.success(), "{}", text(&anew.stderr));
    assert_ne!(
        state.tip("main"),
        there,
        "it is held again, so it is approved again"
    );
}

#[test]
fn an_approval_that_has_gone_ahead_is_told_and_an_unknown_digest_is_refused() {
    let state = State::holding(3, 0);
    assert!(state.approve("Ada", "cleaning up").status.success());
    let approved = state.tip("main");
    state.commit("status", "fleet.yaml", &state.fleet("[]", "[]"));
    let late = state.approve("Bob", "me too");
    let said = text(&late.stderr);
    assert_eq!(late.status.code(), Some(0), "{said}");
    assert!(
        said.contains("already approved by Ada") && said.contains("no longer held"),
        "{said}"
    );
    let unknown = state.run_as("Bob", &["approve", "ffffffffffff"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("nothing is held"));
    let nowhere = state.run_as("Bob", &["approve", &state.digest, "--branch", "mian"]);
    let said = text(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(1), "{said}");
    assert!(
        said.contains("reading mian of ") && state.git(&["branch", "--list", "mian"]).is_empty()
    );
    assert_eq!(state.tip("main"), approved);
}

#[test]
fn what_would_go_is_shown_before_anybody_approves_it() {
    let state = State::holding(250, 50);
    let lines = |text: String| text.matches("unassign acme/web from").count();
    let status = text(&state.run_as("Ada", &["status"]).stdout);
    assert!(
        status.contains("unassign acme/web from tiny-000000000000 generation 0"),
        "{status}"
    );
    let digits = &state.digest[..16];
    let all = format!("why {digits}");
    assert!(
        status.contains("and 240 more: `") && status.contains(&all),
        "{status}"
    );
    assert_eq!(lines(status), 10);
    let web = text(&state.run_as("Ada", &["why", digits]).stdout);
    assert!(
        web.contains("is held") && web.contains("and 50 more"),
        "{web}"
    );
    assert_eq!(lines(web), 200, "all that the status lists");
    // Whoever reads it and stops the program has approved nothing: a branch that cannot be moved shows the order.
    let lock = state.path().join("refs/heads/main.lock");
    std::fs::write(&lock, "").expect("written");
    let failed = state.approve("Ada", "");
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("this approves: 250 replicas of owner acme would go"),
        "{said}"
    );
    assert!(!said.contains("approved: "), "{said}");
    assert_eq!(lines(said), 200);
}

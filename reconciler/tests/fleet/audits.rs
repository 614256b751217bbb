//! `easyenclave verify` on the branch of a fleet that ran: untouched it is good, and what was changed is named.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use easyenclave_git::{Ledger, Signer};
use easyenclave_schemas::evidence::{EvidenceRecord, Outcome, RootKeyId};
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{Digest, Timestamp};
use serde_json::Value;

use crate::harness::Fleet;

#[test]
fn a_branch_that_nobody_touched_is_good_and_each_changed_file_is_named() {
    let mut fleet = Fleet::started(2, 0);
    fleet.wait_published(2);
    fleet.kill_serve();
    fleet.kill_worker();
    let good = verify(&fleet, "status");
    assert_eq!(good["findings"], Value::Array(vec![]), "{good}");
    assert!(good["commits"].as_u64() >= Some(2), "{good}");
    assert!(good["verdicts"]["recomputed"].as_u64() >= Some(2), "{good}");
    let rewriter = Rewriter::new(&fleet);
    let victims = victims(&rewriter);
    assert!(victims.len() >= 8, "{victims:?}");
    for path in victims {
        let altered = rewriter.flip(&path);
        let found = verify(&fleet, "altered");
        let named = |finding: &Value| {
            finding["path"] == path.as_str() && finding["commit"] == altered.as_str()
        };
        let findings = found["findings"].as_array().expect("a list");
        assert!(findings.iter().any(named), "{path} in {altered}: {found}");
    }
    let altered = rewriter.reword();
    let found = verify(&fleet, "altered");
    let first = &found["findings"][0];
    assert_eq!(
        (&first["commit"], &first["kind"]),
        (&altered.into(), &"signature".into())
    );
    assert_eq!(
        found["findings"].as_array().map(Vec::len),
        Some(1),
        "{found}"
    );
    assert_eq!(
        found["buildsOn"].as_u64(),
        good["commits"].as_u64().map(|all| all - 1)
    );
    fleet.stop();
}

#[test]
fn a_signed_verdict_that_its_evidence_does_not_give_is_named() {
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    fleet.kill_serve();
    fleet.kill_worker();
    let files = evidence_and_agents(&fleet);
    let honest = own_branch(&fleet, "honest", &files);
    assert_eq!(honest["findings"], Value::Array(vec![]), "{honest}");
    assert_eq!(honest["verdicts"]["recomputed"], 1, "{honest}");
    assert_eq!(honest["verdicts"]["simulated"], 1, "{honest}");
    let forged = forged(&files, later_tcb);
    is_named(&fleet, "forged", &forged, "tcbDate");
    fleet.stop();
}

/// The only finding is of that record, and says so.
fn is_named(fleet: &Fleet, name: &str, (files, record): &(Files, Digest), said: &str) {
    let found = own_branch(fleet, name, files);
    let findings = found["findings"].as_array().expect("a list");
    let [finding] = findings.as_slice() else {
        panic!("{found}")
    };
    assert_eq!(finding["kind"], "evidence");
    assert_eq!(finding["path"], paths::evidence(record));
    let message = finding["message"].as_str().expect("text");
    assert!(message.contains(said), "{message}");
}

#[test]
fn a_refusal_after_a_change_of_policy_is_made_again_too() {
    const POLICY: &str = "policies/simulated.yaml";
    const KNOWN: &str = "mrtd: f03c731d";
    let mut fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let before = verify(&fleet, "status");
    let policy = fleet.file(POLICY);
    assert!(policy.contains(KNOWN));
    fleet.commit(POLICY, Some(&policy.replace(KNOWN, "mrtd: 00000000")));
    fleet.until("the status branch says that the agent is refused", || {
        let grep = fleet.git(&["grep", "-q", "state: refused", "status", "--", "agents"]);
        grep.status.success()
    });
    fleet.kill_serve();
    fleet.kill_worker();
    let after = verify(&fleet, "status");
    assert_eq!(after["findings"], Value::Array(vec![]), "{after}");
    let count = |found: &Value, name: &str| found["verdicts"][name].as_u64().expect("a number");
    assert!(
        count(&after, "recomputed") > count(&before, "recomputed"),
        "a refusal is among them: {after}"
    );
    for found in [&before, &after] {
        assert_eq!(count(found, "recomputed"), count(found, "simulated"));
    }
    assert_eq!(count(&after, "withoutEvidence"), 0, "{after}");

    // Whose evidence it was cannot be said otherwise than the evidence shows.
    let files = evidence_and_agents(&fleet);
    let honest = own_branch(&fleet, "honest", &files);
    assert_eq!(honest["findings"], Value::Array(vec![]), "{honest}");
    let forged = forged(&files, as_if_real);
    is_named(&fleet, "forged", &forged, "does not vouch");
    fleet.stop();
}

#[test]
fn nobody_who_may_sign_is_an_error_that_says_what_to_add() {
    let fleet = Fleet::new(1, 0);
    let state = fleet.state().display().to_string();
    fleet.git(&["branch", "status", "main"]);
    let output = fleet.run(&["verify", "--repo", &state]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("add the key to spec.status.signers"),
        "{error}"
    );
}

#[test]
fn init_names_the_key_that_it_is_given() {
    let fleet = Fleet::new(1, 0);
    let signer = Signer::open_or_create(&fleet.path("own.key")).expect("a key");
    let key = signer.public_openssh();
    let none = fleet.run(&["init", "none", "--signer", "no key"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(!fleet.path("none").exists(), "nothing is left behind");
    assert!(
        fleet
            .run(&["init", "state", "--signer", &key])
            .status
            .success()
    );
    let text = std::fs::read_to_string(fleet.path("state/fleet.yaml")).expect("there");
    assert!(text.contains(&format!("signers: [{key:?}]")), "{text}");
    assert!(fleet.run(&["check", "state"]).status.success());
}

/// What `verify` prints of a branch; its exit code agrees with its findings.
fn verify(fleet: &Fleet, branch: &str) -> Value {
    verify_with(fleet, branch, &[])
}

pub(crate) fn verify_with(fleet: &Fleet, branch: &str, more: &[&str]) -> Value {
    let signers = fleet.path("data/allowed_signers");
    run(fleet, (&fleet.state(), branch), &signers, more)
}

fn run(fleet: &Fleet, (repository, branch): (&Path, &str), signers: &Path, more: &[&str]) -> Value {
    let (repository, signers) = (repository.display(), signers.display());
    let (repository, signers) = (repository.to_string(), signers.to_string());
    let args = ["verify", "--repo", &repository, "--status", branch];
    let by = ["--signers", &signers, "--output", "json"];
    let output = fleet.run(&[args.as_slice(), &by, more].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let found: Value = serde_json::from_slice(&output.stdout).expect(&error);
    let is_good = found["findings"].as_array().is_some_and(Vec::is_empty);
    assert_eq!(output.status.code(), Some(if is_good { 0 } else { 1 }));
    found
}

/// A file of each kind that the branch has, evidence of each part among them.
fn victims(rewriter: &Rewriter) -> Vec<String> {
    let list = rewriter.text(&["ls-tree", "-r", "--name-only", "status"]);
    let mut kinds = BTreeMap::new();
    for path in list.lines() {
        let kind = match path.split_once('/') {
            Some(("evidence", _)) => path,
            Some((folder, _)) => folder,
            None => path,
        };
        kinds.entry(kind).or_insert_with(|| path.to_owned());
    }
    kinds.into_values().collect()
}

/// Changes the past so that Git finds nothing wrong: objects are whole, and commits follow on each other.
pub(crate) struct Rewriter {
    state: PathBuf,
    index: PathBuf,
}

impl Rewriter {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        Self {
            state: fleet.state(),
            index: fleet.path("index"),
        }
    }

    /// Flips a bit of a file in the commit that wrote it last; answers what that commit is now.
    pub(crate) fn flip(&self, path: &str) -> String {
        let commit = self.text(&["log", "-1", "--format=%H", "status", "--", path]);
        let mut bytes = self.git(&["show", &format!("{commit}:{path}")], b"").stdout;
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).expect("not empty") ^= 1;
        let blob = self.write(&["hash-object", "-w", "--stdin"], &bytes);
        self.text(&["read-tree", &commit]);
        let entry = format!("100644,{blob},{path}");
        self.text(&["update-index", "--cacheinfo", &entry]);
        let tree = self.text(&["write-tree"]);
        let old = self.text(&["rev-parse", &format!("{commit}^{{tree}}")]);
        self.rewrite(&commit, &old, &tree)
    }

    /// Changes the message of the first commit.
    fn reword(&self) -> String {
        let commit = self.text(&["rev-list", "--max-parents=0", "status"]);
        self.rewrite(&commit, "\n\nstatus: ", "\n\nstatus; ")
    }

    /// Replaces text in a commit, and lets all commits after it follow on the new one.
    fn rewrite(&self, commit: &str, from: &str, to: &str) -> String {
        let replace = |commit: &str, from: &str, to: &str| {
            let raw = self.git(&["cat-file", "commit", commit], b"").stdout;
            let raw = String::from_utf8(raw).expect("text");
            let new = raw.replacen(from, to, 1);
            assert_ne!(raw, new);
            self.write(
                &["hash-object", "-t", "commit", "-w", "--stdin"],
                new.as_bytes(),
            )
        };
        let altered = replace(commit, from, to);
        let after = self.text(&["rev-list", "--reverse", &format!("{commit}..status")]);
        let (mut old, mut new) = (commit.to_owned(), altered.clone());
        for next in after.lines() {
            new = replace(next, &format!("parent {old}"), &format!("parent {new}"));
            old = next.to_owned();
        }
        self.text(&["update-ref", "refs/heads/altered", &new]);
        altered
    }

    fn text(&self, args: &[&str]) -> String {
        self.write(args, b"")
    }

    fn write(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.git(args, input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().to_owned()
    }

    fn git(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.state).args(args);
        command.env("GIT_INDEX_FILE", &self.index);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("written");
        drop(stdin);
        child.wait_with_output().expect("git ends")
    }
}

/// The files of agents and of their evidence at the tip.
pub(crate) fn evidence_and_agents(fleet: &Fleet) -> Files {
    let list = fleet
        .git(&["ls-tree", "-r", "--name-only", "status"])
        .stdout;
    let list = String::from_utf8(list).expect("text");
    let wanted = |path: &&str| path.starts_with(paths::AGENTS) || path.starts_with(paths::EVIDENCE);
    let bytes = |path: &str| fleet.git(&["show", &format!("status:{path}")]).stdout;
    let paths = list.lines().filter(wanted);
    paths.map(|path| (path.to_owned(), bytes(path))).collect()
}

/// Files by their paths.
type Files = BTreeMap<String, Vec<u8>>;

/// What a forger writes in the place of what is in an agent's file.
type Swaps = Vec<(String, String)>;

/// The same with the first record changed that can be, and the agent's file in agreement with it.
fn forged(files: &Files, change: impl Fn(&mut Outcome) -> Option<Swaps>) -> (Files, Digest) {
    let mut forged = files.clone();
    let changed = |bytes: &Vec<u8>| {
        let mut record: EvidenceRecord = serde_json::from_slice(bytes).ok()?;
        let swaps = change(&mut record.outcome)?;
        Some((record, swaps))
    };
    let found = files
        .iter()
        .find_map(|(path, bytes)| Some((path, changed(bytes)?)));
    let (path, (record, mut swaps)) = found.expect("a record");
    let old = path.rsplit('/').next().expect("a name");
    let bytes = record.to_json();
    let digest = Digest::of(&bytes);
    swaps.push((old.into(), digest.to_string()));
    forged.remove(path);
    forged.insert(paths::evidence(&digest), bytes);
    let is_agent = |path: &str| path.starts_with(paths::AGENTS);
    let agents = forged.iter_mut().filter(|(path, _)| is_agent(path));
    for (_, bytes) in agents {
        let mut text = String::from_utf8(bytes.clone()).expect("text");
        for (from, to) in &swaps {
            assert!(text.contains(from), "{from} in {text}");
            text = text.replace(from, to);
        }
        *bytes = text.into_bytes();
    }
    (forged, digest)
}

/// A later date of the platform's TCB.
fn later_tcb(outcome: &mut Outcome) -> Option<Swaps> {
    let Outcome::Accepted(verdict) = outcome else {
        return None;
    };
    let day = std::time::Duration::from_secs(86_400);
    let later = verdict.tcb_date.plus(day);
    let date = |date: Timestamp| format!("tcbDate: \"{date}\"");
    let swap = (date(verdict.tcb_date), date(later));
    verdict.tcb_date = later;
    Some(vec![swap])
}

/// A refused platform that was Intel's.
fn as_if_real(outcome: &mut Outcome) -> Option<Swaps> {
    let Outcome::Refused(rejection) = outcome else {
        return None;
    };
    let root = rejection.trust_root.replace(RootKeyId::INTEL)?;
    let swap = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    Some(vec![
        swap("simulated: true", "simulated: false"),
        swap(&root.to_string(), &RootKeyId::INTEL.to_string()),
    ])
}

/// What `verify` says of a branch with these files, signed as it should be by a key of our own.
fn own_branch(fleet: &Fleet, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Value {
    own_branch_with(fleet, name, files, &[])
}

pub(crate) fn own_branch_with(
    fleet: &Fleet,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    more: &[&str],
) -> Value {
    let signer = Signer::open_or_create(&fleet.path("own.key")).expect("a key");
    let repository = fleet.path(name);
    let mut ledger = Ledger::open("nowhere", &repository, "status", signer).expect("opened");
    for (path, bytes) in files {
        ledger.set(path, bytes.clone()).expect("a path");
    }
    ledger.record("status: all", 1).expect("recorded");
    let signers = fleet.path("own.signers");
    std::fs::write(&signers, ledger.allowed_signers_line()).expect("written");
    run(fleet, (&repository, "status"), &signers, more)
}

//! A ledger's branch is checked as Git itself checks it, and what was changed in it is named.

use std::path::Path;
use std::process::{Command, Output};

use easyenclave_git::{Ledger, Past, SignatureFlaw, Signer, Signers};
use easyenclave_tests::program_given;
use tempfile::TempDir;

struct Setup {
    dir: TempDir,
    ledger: Ledger,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let signer = Signer::open_or_create(&dir.path().join("key")).expect("a key");
        let clone = dir.path().join("status.git");
        let mut ledger = Ledger::open("nowhere", &clone, "status", signer).expect("opened");
        for (round, path) in ["a/b", "c", "a/d"].iter().enumerate() {
            ledger.set(path, round.to_string().into()).expect("a path");
            ledger
                .record(&format!("status: {path}"), 10 + round as i64)
                .expect("recorded");
        }
        Self { dir, ledger }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("status.git")
    }

    fn signers(&self) -> Signers {
        let line = self.ledger.allowed_signers_line();
        Signers::parse([line.as_str()]).expect("a key")
    }

    fn git(&self, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.path()).args(args);
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        command.output().expect("git runs")
    }
}

#[test]
fn an_untouched_branch_has_no_flaw() {
    let setup = Setup::new();
    let past = Past::open(&setup.path()).expect("opened");
    let tip = past.resolve("status").expect("a tip");
    let chain = past.chain(None, tip).expect("read").expect("a chain");
    assert_eq!(chain.len(), 3);
    let mut before = None;
    for commit in chain {
        let saying = past.commit(commit).expect("read");
        assert_eq!(saying.signed_by(&setup.signers()), Ok(()));
        assert_eq!(saying.follows(before.as_ref()), Ok(()));
        let deeds = past.deeds(&saying, before.as_ref());
        assert_eq!(deeds.flaws, []);
        assert_eq!(deeds.written.len(), 1);
        before = Some(saying);
    }
    assert_eq!(past.files(tip).expect("read").len(), 4);
    assert!(past.file(tip, "a/d").expect("read").is_some());
}

#[test]
fn git_and_we_agree_on_who_signed() {
    let setup = Setup::new();
    let how = "Debian: apt-get install openssh-client";
    let Some(program) = program_given("ssh-keygen", how) else {
        return;
    };
    let keygen = |name: &str| {
        let path = setup.dir.path().join(name);
        let mut made = Command::new(&program);
        made.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
        let made = made.arg(&path).output().expect("it runs");
        assert!(made.status.success(), "{made:?}");
        path
    };
    let (ours, other) = (keygen("ours"), keygen("other"));
    let public = |key: &Path| std::fs::read_to_string(key.with_extension("pub")).expect("a key");
    let allowed = setup.dir.path().join("allowed");
    let line = format!("a@b {}", public(&ours));
    std::fs::write(&allowed, &line).expect("written");
    let signers = Signers::parse(line.lines()).expect("a key");
    let past = Past::open(&setup.path()).expect("opened");
    for (key, expected) in [(&ours, true), (&other, false)] {
        let tree = setup.git(&["rev-parse", "status^{tree}"]);
        let tree = String::from_utf8_lossy(&tree.stdout).trim().to_owned();
        let key = format!("user.signingkey={}", key.display());
        let allowed = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
        let sign = [
            "-c",
            "gpg.format=ssh",
            "-c",
            &key,
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
        ];
        let commit = [
            sign.as_slice(),
            &["commit-tree", "-S", "-m", "by git", &tree],
        ]
        .concat();
        let commit = setup.git(&commit);
        let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
        let check = [
            "-c",
            "gpg.format=ssh",
            "-c",
            &allowed,
            "verify-commit",
            &commit,
        ];
        assert_eq!(setup.git(&check).status.success(), expected);
        let saying = past
            .commit(past.resolve(&commit).expect("there"))
            .expect("read");
        let said = saying.signed_by(&signers);
        assert_eq!(said.is_ok(), expected, "{said:?}");
        assert!(expected || matches!(said, Err(SignatureFlaw::Stranger(_))));
    }
}

#[test]
fn a_commit_that_is_too_long_is_no_error_and_is_not_held() {
    let setup = Setup::new();
    let message = setup.dir.path().join("message");
    std::fs::write(&message, "long ".repeat(1_000_000)).expect("written");
    let file = message.display().to_string();
    let author = ["-c", "user.name=A", "-c", "user.email=a@b"];
    let commit = ["commit-tree", "-p", "status", "-F", &file, "status^{tree}"];
    let made = setup.git(&[author.as_slice(), &commit].concat());
    let commit = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let past = Past::open(&setup.path()).expect("opened");
    let long = past.resolve(&commit).expect("there");
    assert_eq!(
        past.chain(None, long).expect("read").map(|all| all.len()),
        Some(4)
    );
    let saying = past.commit(long).expect("read");
    assert!(!saying.is_whole());
    assert_eq!(saying.parents.len(), 1);
    let flaw = saying.signed_by(&setup.signers());
    assert!(matches!(flaw, Err(SignatureFlaw::TooLong(_))), "{flaw:?}");
    assert!(format!("{saying:?}").len() < 2000);
}

#[test]
fn a_shallow_clone_does_not_pass_for_a_whole_one() {
    let setup = Setup::new();
    let shallow = setup.dir.path().join("shallow.git");
    let from = format!("file://{}", setup.path().display());
    let to = shallow.display().to_string();
    let clone = [
        "clone", "--quiet", "--bare", "--depth", "2", "--branch", "status", &from, &to,
    ];
    assert!(setup.git(&clone).status.success());
    let past = Past::open(&shallow).expect("opened");
    let tip = past.resolve("status").expect("a tip");
    let error = past
        .chain(None, tip)
        .expect_err("one is missing")
        .to_string();
    assert!(error.contains("git fetch --unshallow"), "{error}");
    let before = past.resolve("status~1").expect("there");
    let one = past.chain(Some(before), tip).expect("it is whole so far");
    assert_eq!(one.map(|all| all.len()), Some(1));
}

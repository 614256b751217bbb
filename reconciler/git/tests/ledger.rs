//! The status branch against real Git: signatures, remotes that move, refuse, stay silent or vanish.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use easyenclave_git::{
    GitError, Ledger, LedgerError, Signer, Source, commit_files, init_repository, trust_signers,
};
use easyenclave_tests::program_given;
use tempfile::TempDir;

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");
const DEADLINE: Duration = Duration::from_secs(20);

/// A state repository, and a ledger that writes to it.
struct Setup {
    dir: TempDir,
    remote: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let remote = dir.path().join("state.git");
        let files = BTreeMap::from([("fleet.yaml".to_owned(), b"x".to_vec())]);
        init_repository(&remote, "main", &files, "start", AUTHOR, 1).expect("made");
        Self { dir, remote }
    }

    fn ledger(&self) -> Ledger {
        self.ledger_to(&self.remote.display().to_string())
    }

    fn ledger_to(&self, location: &str) -> Ledger {
        let signer = self.signer();
        Ledger::open(
            location,
            &self.dir.path().join("status.git"),
            "status",
            signer,
        )
        .expect("open")
    }

    fn signer(&self) -> Signer {
        Signer::open_or_create(&self.dir.path().join("keys/signing")).expect("a key")
    }

    fn git(&self, args: &[&str]) -> Output {
        self.git_in("state.git", args)
    }

    fn git_in(&self, folder: &str, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.dir.path().join(folder))
            .args(args);
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        command.output().expect("git runs")
    }

    fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.git(args);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Puts the objects of packs that lie aside loosely into the ledger's clone.
    fn unpack(&self, packs: &Path) {
        for entry in std::fs::read_dir(packs).expect("a folder").flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "pack") {
                let mut command = Command::new("git");
                command
                    .arg("--git-dir")
                    .arg(self.dir.path().join("status.git"));
                command.args(["unpack-objects", "-q"]);
                command.stdin(std::fs::File::open(entry.path()).expect("readable"));
                assert!(command.status().expect("git runs").success());
            }
        }
    }

    /// Somebody else commits to the status branch.
    fn intrude(&self, path: &str) {
        let changes = BTreeMap::from([(path.to_owned(), Some(b"theirs".to_vec()))]);
        let remote = self.remote.display().to_string();
        commit_files(&remote, "status", &changes, "intruder", AUTHOR, 2).expect("committed");
    }
}

fn record(ledger: &mut Ledger, path: &str, text: &str) {
    ledger.set(path, text.into()).expect("a path");
    ledger
        .record(&format!("set {path}"), 1_700_000_000)
        .expect("recorded")
        .expect("a commit");
}

fn has_ssh_keygen() -> bool {
    program_given("ssh-keygen", "Debian: apt-get install openssh-client").is_some()
}

#[tokio::test]
async fn commits_are_signed_so_that_git_verifies_them() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "agents/aa/x.yaml", "one");
    ledger.push(DEADLINE).await.expect("pushed");
    if !has_ssh_keygen() {
        return;
    }
    let allowed = setup.dir.path().join("allowed_signers");
    let line = setup
        .signer()
        .allowed_signers_line("status@easyenclave.invalid");
    std::fs::write(&allowed, line + "\n").expect("written");
    trust_signers(&setup.remote, &allowed).expect("configured");
    let verified = setup.git(&["verify-commit", "status"]);
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success(), "{words}");
    assert!(
        words.contains("Good \"git\" signature for status@easyenclave.invalid"),
        "{words}"
    );
    std::fs::write(&allowed, "").expect("written");
    assert!(!setup.git(&["verify-commit", "status"]).status.success());
}

#[tokio::test]
async fn nothing_new_makes_no_commit() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    assert!(!ledger.pending());
    ledger.set("a", b"1".to_vec()).expect("a path");
    ledger.set("b", b"2".to_vec()).expect("a path");
    ledger.remove("b").expect("a path");
    assert_eq!(ledger.record("again", 2).expect("recorded"), None);
    assert_eq!(setup.lines(&["log", "--format=%s", "status"]), ["set a"]);
}

#[tokio::test]
async fn a_restart_goes_on_from_what_the_branch_holds() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "deep/er/a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    std::fs::remove_dir_all(setup.dir.path().join("status.git")).expect("lost");
    let mut ledger = setup.ledger();
    assert!(
        ledger.load(&|_| true).expect("read").is_empty(),
        "nothing is fetched at opening"
    );
    ledger.sync(DEADLINE).await.expect("fetched");
    let files = ledger.load(&|_| true).expect("read");
    assert_eq!(files, BTreeMap::from([("deep/er/a".into(), b"1".to_vec())]));
    record(&mut ledger, "b", "2");
    ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(
        setup.lines(&["log", "--format=%s", "status"]),
        ["set b", "set deep/er/a"]
    );
}

#[tokio::test]
async fn a_branch_that_moved_is_built_upon() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    setup.intrude("theirs");
    record(&mut ledger, "a", "2");
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert!(
        pushed
            .rebuilt
            .expect("said")
            .contains("somebody else moved")
    );
    let log = setup.lines(&["log", "--format=%s", "status"]);
    assert_eq!(
        log,
        ["set a", "intruder", "set a"],
        "their commit stays in history"
    );
    assert_eq!(
        setup.lines(&["ls-tree", "-r", "--name-only", "status"]),
        ["SHA256SUMS", "a"]
    );
    assert!(!ledger.pending());
    let sums = ["show", "status:SHA256SUMS"];
    assert_eq!(setup.lines(&sums)[1..], ["# removed theirs"]);
}

#[tokio::test]
async fn each_commit_names_what_it_wrote_so_that_sha256sum_agrees() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "gone", "0");
    ledger.set("same", b"1".to_vec()).expect("a path");
    ledger.set("deep/er/a", b"2".to_vec()).expect("a path");
    record(&mut ledger, "x", "3");
    ledger.set("same", b"1".to_vec()).expect("a path");
    ledger.remove("gone").expect("a path");
    ledger.remove("never there").expect("a path");
    record(&mut ledger, "deep/er/a", "4");
    assert!(ledger.set("SHA256SUMS", Vec::new()).is_err(), "ours alone");
    ledger.push(DEADLINE).await.expect("pushed");
    let paths = |rev: &str| -> Vec<String> {
        let lines = setup.lines(&["show", &format!("{rev}:SHA256SUMS")]);
        let path = |line: &String| match line.strip_prefix("# ") {
            Some(removed) => removed.to_owned(),
            None => line[66..].to_owned(),
        };
        lines.iter().map(path).collect()
    };
    assert_eq!(paths("status~2"), ["gone"]);
    assert_eq!(paths("status~1"), ["deep/er/a", "same", "x"]);
    assert_eq!(paths("status"), ["deep/er/a", "removed gone"]);
    let tree = setup.dir.path().join("tree");
    std::fs::create_dir(&tree).expect("made");
    let tree = tree.display().to_string();
    let checkout = ["--work-tree", &tree, "checkout", "status", "--", "."];
    setup.lines(&checkout);
    let mut check = Command::new("sha256sum");
    check.args(["--check", "SHA256SUMS"]).current_dir(&tree);
    let check = check.output().expect("sha256sum runs");
    assert!(check.status.success(), "{check:?}");
    let sum = Command::new("sha256sum")
        .arg("SHA256SUMS")
        .current_dir(&tree)
        .output();
    let sum = String::from_utf8(sum.expect("runs").stdout).expect("text");
    let message = setup.lines(&["log", "-1", "--format=%B", "status"]);
    let trailer = format!("Files-Digest: {}", &sum[..64]);
    assert!(message.contains(&trailer), "{message:?}");
}

#[tokio::test]
async fn a_branch_with_another_history_is_built_upon_and_said() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    setup.lines(&["update-ref", "refs/heads/status", "refs/heads/main"]);
    record(&mut ledger, "a", "2");
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert!(pushed.rebuilt.expect("said").contains("no history of ours"));
    assert_eq!(
        setup.lines(&["log", "--format=%s", "status"]),
        ["set a", "start"]
    );
}

#[tokio::test]
async fn a_branch_of_something_else_is_never_written_to() {
    let setup = Setup::new();
    setup.intrude("src/main.rs");
    let before = setup.lines(&["rev-parse", "status"]);
    let mut ledger = setup.ledger().marked_by("problems.yaml");
    let error = ledger.sync(DEADLINE).await.expect_err("somebody else's");
    assert_eq!(error.reason(), "ForeignBranch");
    record(&mut ledger, "problems.yaml", "none");
    let error = ledger.push(DEADLINE).await.expect_err("somebody else's");
    assert!(error.to_string().contains("left alone"), "{error}");
    assert_eq!(setup.lines(&["rev-parse", "status"]), before);
    setup.intrude("problems.yaml");
    ledger.push(DEADLINE).await.expect("ours to write now");
}

#[tokio::test]
async fn a_branch_that_was_deleted_comes_back_with_its_history() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    setup.lines(&["update-ref", "-d", "refs/heads/status"]);
    record(&mut ledger, "a", "2");
    ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(
        setup.lines(&["log", "--format=%s", "status"]),
        ["set a", "set a"]
    );
}

#[tokio::test]
async fn a_branch_that_was_taken_back_gets_its_history_again_and_it_is_said() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    record(&mut ledger, "b", "1");
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(pushed.rebuilt, None, "an ordinary push says nothing");
    setup.lines(&["update-ref", "refs/heads/status", "status~1"]);
    record(&mut ledger, "c", "1");
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert!(pushed.rebuilt.expect("said").contains("taken back"));
    assert_eq!(
        setup.lines(&["log", "--format=%s", "status"]),
        ["set c", "set b", "set a"]
    );
    setup.lines(&["update-ref", "-d", "refs/heads/status"]);
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert!(pushed.rebuilt.expect("said").contains("deleted"));
}

#[tokio::test]
async fn a_branch_that_lost_our_commits_is_known_to_after_a_look() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    record(&mut ledger, "b", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    for change in [
        ["update-ref", "-d", "refs/heads/status"],
        ["update-ref", "refs/heads/status", "status~1"],
    ] {
        setup.lines(&change);
        assert!(!ledger.pending(), "nobody has looked");
        ledger.sync(DEADLINE).await.expect("fetched");
        assert!(ledger.pending());
        ledger.push(DEADLINE).await.expect("pushed");
        assert!(!ledger.pending());
        assert_eq!(setup.lines(&["rev-list", "--count", "status"]), ["2"]);
    }
}

#[tokio::test]
async fn a_push_that_landed_unnoticed_is_found_and_is_no_loss() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    record(&mut ledger, "b", "1");
    let remote = setup.remote.display().to_string();
    let landed = setup.git_in("status.git", &["push", &remote, "status"]);
    assert!(landed.status.success());
    assert!(ledger.pending(), "as after a push that was stopped");
    record(&mut ledger, "c", "1");
    let pushed = ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(pushed.rebuilt, None);
    assert_eq!(setup.lines(&["rev-list", "--count", "status"]), ["3"]);
}

#[tokio::test]
async fn many_commits_do_not_become_many_packs() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    for round in 0..60 {
        record(&mut ledger, &format!("f/{round}"), "1");
    }
    ledger.push(DEADLINE).await.expect("pushed");
    let packs = setup.dir.path().join("status.git/objects/pack");
    let names = packs.read_dir().expect("a folder").flatten();
    let packs = names.filter(|name| name.path().extension().is_some_and(|x| x == "pack"));
    assert!(packs.count() < 10);
    let check = setup.git_in("status.git", &["fsck", "--strict"]);
    assert!(check.status.success());
    record(&mut ledger, "after", "1");
    ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(ledger.load(&|_| true).expect("read").len(), 61);
    assert_eq!(setup.lines(&["rev-list", "--count", "status"]), ["61"]);
}

#[tokio::test]
async fn while_the_remote_is_away_many_commits_do_not_become_many_packs() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    for round in 0..60 {
        record(&mut ledger, &format!("f/{round}"), "1");
    }
    std::fs::remove_dir_all(&setup.remote).expect("removed");
    ledger.push(DEADLINE).await.expect_err("it is gone");
    let packs = setup.dir.path().join("status.git/objects/pack");
    let names = packs.read_dir().expect("a folder").flatten();
    let packs = names.filter(|name| name.path().extension().is_some_and(|x| x == "pack"));
    assert!(packs.count() < 10);
    assert_eq!(ledger.load(&|_| true).expect("read").len(), 60);
}

#[tokio::test]
async fn a_refused_push_is_told_in_the_remotes_words_and_goes_later() {
    let setup = Setup::new();
    let hook = setup.remote.join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    let mut file = std::fs::File::create(&hook).expect("made");
    file.write_all(b"#!/bin/sh\necho 'no pushes on Fridays' >&2\nexit 1\n")
        .expect("written");
    drop(file);
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    let error = ledger.push(DEADLINE).await.expect_err("refused");
    assert_eq!(error.reason(), "Refused", "{error}");
    assert!(
        error.to_string().contains("no pushes on Fridays"),
        "{error}"
    );
    record(&mut ledger, "a", "2");
    std::fs::remove_file(&hook).expect("removed");
    ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(
        setup.lines(&["log", "--format=%s", "status"]),
        ["set a", "set a"]
    );
}

#[tokio::test]
async fn a_branch_that_cannot_be_locked_has_not_moved() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    let lock = setup.remote.join("refs/heads/status.lock");
    std::fs::write(&lock, "").expect("written");
    let error = ledger.push(DEADLINE).await.expect_err("locked");
    assert_eq!(error.reason(), "Refused", "{error}");
    assert!(error.to_string().contains("cannot lock ref"), "{error}");
    std::fs::remove_file(&lock).expect("removed");
    ledger.push(DEADLINE).await.expect("pushed");
}

#[tokio::test]
async fn settings_for_submodules_and_tags_change_no_push() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a", "1");
    let clone = |args: &[&str]| assert!(setup.git_in("status.git", args).status.success());
    clone(&["config", "push.recurseSubmodules", "only"]);
    clone(&["config", "push.followTags", "true"]);
    clone(&[
        "-c",
        "user.name=a",
        "-c",
        "user.email=b",
        "tag",
        "-m",
        "t",
        "t",
        "status",
    ]);
    ledger.push(DEADLINE).await.expect("pushed");
    assert_eq!(setup.lines(&["log", "--format=%s", "status"]), ["set a"]);
    assert!(setup.lines(&["tag"]).is_empty());
}

/// On a busy machine too.
const LONG_ENOUGH_TO_CONNECT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_silent_remote_is_given_up_at_the_deadline_and_nothing_is_left_running() {
    let setup = Setup::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let silent = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    let url = format!("git://{address}/state.git");
    let mut ledger = setup.ledger_to(&url);
    record(&mut ledger, "a", "1");
    let error = ledger
        .push(LONG_ENOUGH_TO_CONNECT)
        .await
        .expect_err("silence");
    assert!(
        matches!(error, LedgerError::Git(GitError::Timeout { .. })),
        "{error:?}"
    );
    assert!(ledger.pending(), "it goes with the next push");
    let stream = silent.join().expect("no panic").expect("a connection");
    assert!(!children_name(&url), "the child is gone");
    drop(stream);
}

#[tokio::test]
async fn a_remote_that_is_gone_is_unreachable_and_not_empty() {
    let setup = Setup::new();
    let gone = format!("file://{}/gone.git", setup.dir.path().display());
    let source = Source::open(&gone, &setup.dir.path().join("mirror.git"), "main").expect("opened");
    let error = source.fetch(DEADLINE).await.expect_err("gone");
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    let mut ledger = setup.ledger_to(&gone);
    record(&mut ledger, "a", "1");
    let error = ledger.push(DEADLINE).await.expect_err("gone");
    assert_eq!(error.reason(), "Unreachable");
}

#[tokio::test]
async fn a_mirror_follows_its_remote() {
    let setup = Setup::new();
    let url = format!("file://{}", setup.remote.display());
    let mirror = setup.dir.path().join("mirror.git");
    let source = Source::open(&url, &mirror, "main").expect("opened");
    assert!(!source.is_local());
    source.fetch(DEADLINE).await.expect("fetched");
    let first = source.head().expect("readable").expect("a tip");
    let changes = BTreeMap::from([("a".to_owned(), Some(b"1".to_vec()))]);
    let remote = setup.remote.display().to_string();
    let second = commit_files(&remote, "main", &changes, "two", AUTHOR, 2).expect("committed");
    source.fetch(DEADLINE).await.expect("fetched");
    assert_eq!(source.head().expect("readable"), Some(second));
    assert!(source.is_ancestor(first, second).expect("readable"));
    assert!(!source.is_ancestor(second, first).expect("readable"));
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_and_whole() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a/b/c", "1");
    let packs = setup.dir.path().join("status.git/objects/pack");
    let aside = setup.dir.path().join("aside");
    std::fs::rename(&packs, &aside).expect("moved");
    // What is there stays readable; only new packs find no place, as on a full disk.
    setup.unpack(&aside);
    std::os::unix::fs::symlink("/proc/self", &packs).expect("linked");
    ledger.set("a/d/e", b"2".to_vec()).expect("a path");
    ledger.set("f", b"3".to_vec()).expect("a path");
    ledger.record("fails", 2).expect_err("no place for packs");
    std::fs::remove_file(&packs).expect("removed");
    std::fs::rename(&aside, &packs).expect("moved back");
    record(&mut ledger, "g", "4");
    ledger.push(DEADLINE).await.expect("pushed");
    setup.lines(&["fsck", "--strict", "--connectivity-only"]);
    assert_eq!(
        setup.lines(&["ls-tree", "-r", "--name-only", "status"]),
        ["SHA256SUMS", "a/b/c", "a/d/e", "f", "g"]
    );
}

#[test]
fn packs_stay_in_the_clone_when_their_folder_was_lost() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    let packs = setup.dir.path().join("status.git/objects/pack");
    std::fs::remove_dir_all(&packs).expect("removed");
    record(&mut ledger, "a", "1");
    assert_eq!(
        packs.read_dir().expect("a folder").count(),
        2,
        "pack, index"
    );
    assert_eq!(ledger.load(&|_| true).expect("read").len(), 1);
}

#[tokio::test]
async fn a_clone_that_a_power_cut_left_damaged_is_put_aside_and_made_anew() {
    for damaged in ["refs/heads/status", "refs/remotes/origin/ledger", "packs"] {
        let setup = Setup::new();
        let mut ledger = setup.ledger();
        record(&mut ledger, "a/b", "1");
        ledger.push(DEADLINE).await.expect("pushed");
        drop(ledger);
        let clone = setup.dir.path().join("status.git");
        let packs = clone.join("objects/pack").read_dir().expect("a folder");
        let packs = packs.flatten().map(|file| file.path());
        let files: Vec<_> = match damaged {
            "packs" => packs
                .filter(|file| file.extension().is_some_and(|kind| kind == "pack"))
                .collect(),
            name => vec![clone.join(name)],
        };
        for file in files {
            std::fs::remove_file(&file).expect("removed");
            std::fs::write(&file, "").expect("written");
        }
        let mut ledger = setup.ledger();
        ledger.sync(DEADLINE).await.expect("fetched");
        assert_eq!(ledger.load(&|_| true).expect("read").len(), 1, "{damaged}");
        record(&mut ledger, "c", "2");
        ledger.push(DEADLINE).await.expect("pushed");
        let log = setup.lines(&["log", "--format=%s", "status"]);
        assert_eq!(log, ["set c", "set a/b"], "{damaged}");
        assert!(clone.with_extension("git.damaged").exists());
    }
}

#[test]
fn removing_a_folder_as_a_file_changes_nothing() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    record(&mut ledger, "a/b", "1");
    ledger.remove("a").expect("a path");
    assert_eq!(ledger.record("nothing", 2).expect("recorded"), None);
    assert_eq!(ledger.load(&|_| true).expect("read").len(), 1);
}

#[test]
fn a_path_that_is_none_is_refused() {
    let setup = Setup::new();
    let mut ledger = setup.ledger();
    for path in [
        "", "/a", "a//b", "../a", "a/.git/b", "a/.GIT", "git~1/a", "a\0b", "a\nb", "a\\b",
    ] {
        let error = ledger.set(path, b"x".to_vec()).expect_err(path);
        assert!(matches!(error, LedgerError::Path(_)), "{path:?}");
    }
}

fn children_name(text: &str) -> bool {
    let processes = std::fs::read_dir(Path::new("/proc")).expect("a Linux system");
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

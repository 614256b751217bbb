//! Commits for people: they hold the change that was asked for, and leave all the rest as it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use easyenclave_git::{
    Changes, CommitId, GitError, Proposal, commit_and_push, commit_files, commit_onto,
    init_repository, init_work_tree, tidy, tidy_beside_others,
};
use git2::{Oid, Repository};
use tempfile::TempDir;

const AUTHOR: (&str, &str) = ("Ada", "ada@example.invalid");

/// A commit that no repository here holds, as submodules name them.
const ELSEWHERE: &str = "0123456789012345678901234567890123456789";

/// A repository with one of each kind of entry.
struct Setup {
    _dir: TempDir,
    path: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.git");
        let files = BTreeMap::from([("fleet.yaml".to_owned(), b"x".to_vec())]);
        init_repository(&path, "main", &files, "start", AUTHOR, 1).expect("made");
        let setup = Self { _dir: dir, path };
        setup.add_odd_entries();
        setup
    }

    fn add_odd_entries(&self) {
        let repository = Repository::open(&self.path).expect("opened");
        let parent = repository
            .revparse_single("main")
            .and_then(|object| object.peel_to_commit())
            .expect("a commit");
        let below = tree(&repository, &[(b"nested", 0o040_000, empty(&repository))]);
        let odd = tree(&repository, &odd_entries(&repository, below));
        let mut root = repository
            .treebuilder(Some(&parent.tree().expect("a tree")))
            .expect("a builder");
        for (name, mode, id) in odd_entries(&repository, below) {
            root.insert(name, id, mode).expect("an entry");
        }
        root.insert("odd", odd, 0o040_000).expect("an entry");
        let root = repository
            .find_tree(root.write().expect("written"))
            .expect("there");
        let who = git2::Signature::new("Ada", AUTHOR.1, &git2::Time::new(1, 0)).expect("a person");
        repository
            .commit(
                Some("refs/heads/main"),
                &who,
                &who,
                "odd",
                &root,
                &[&parent],
            )
            .expect("committed");
    }

    fn commit(&self, changes: &[(&str, Option<&str>)]) -> Result<String, GitError> {
        let changes: Changes = changes
            .iter()
            .map(|(path, text)| ((*path).into(), text.map(|text| text.as_bytes().to_vec())))
            .collect();
        let location = self.path.display().to_string();
        commit_files(&location, "main", &changes, "change", AUTHOR, 2)
            .map(|commit| commit.to_string())
    }

    /// What the last commit changed: status and path.
    fn changed(&self) -> Vec<String> {
        git(
            &self.path,
            &["diff-tree", "-r", "-t", "--name-status", "main~1", "main"],
        )
    }
}

/// An executable, a link, a submodule, folders and a name that is no UTF-8.
fn odd_entries(repository: &Repository, folder: Oid) -> Vec<(&'static [u8], i32, Oid)> {
    let blob = repository.blob(b"#!/bin/sh\n").expect("written");
    vec![
        (b"run.sh", 0o100_755, blob),
        (b"link", 0o120_000, blob),
        (b"sub", 0o160_000, Oid::from_str(ELSEWHERE).expect("an id")),
        (b"caf\xe9", 0o100_644, blob),
        (b"folder", 0o040_000, folder),
        (b"folder.d", 0o100_644, blob),
        (b"folder0", 0o100_644, blob),
    ]
}

fn tree(repository: &Repository, entries: &[(&[u8], i32, Oid)]) -> Oid {
    let mut builder = repository.treebuilder(None).expect("a builder");
    for (name, mode, id) in entries {
        builder.insert(*name, *id, *mode).expect("an entry");
    }
    builder.write().expect("written")
}

fn empty(repository: &Repository) -> Oid {
    tree(repository, &[])
}

fn git(path: &Path, args: &[&str]) -> Vec<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(path)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_commit_changes_nothing_but_its_files() {
    let setup = Setup::new();
    setup
        .commit(&[("approvals/a.yaml", Some("1"))])
        .expect("committed");
    assert_eq!(setup.changed(), ["A\tapprovals", "A\tapprovals/a.yaml"]);
    setup
        .commit(&[("odd/new", Some("1")), ("odd/folder/new", Some("1"))])
        .expect("committed");
    assert_eq!(
        setup.changed(),
        ["M\todd", "M\todd/folder", "A\todd/folder/new", "A\todd/new"]
    );
    setup
        .commit(&[("odd/new", None), ("odd/folder/new", None)])
        .expect("committed");
    assert_eq!(
        setup.changed(),
        ["M\todd", "M\todd/folder", "D\todd/folder/new", "D\todd/new"]
    );
    let trees = git(&setup.path, &["rev-parse", "main:odd", "main~3:odd"]);
    assert_eq!(trees[0], trees[1], "as it was before");
    git(&setup.path, &["fsck", "--strict", "--connectivity-only"]);
}

#[test]
fn an_executable_that_changes_stays_one() {
    let setup = Setup::new();
    setup
        .commit(&[("odd/run.sh", Some("#!/bin/sh\ntrue\n"))])
        .expect("committed");
    assert_eq!(
        git(
            &setup.path,
            &["ls-tree", "--format=%(objectmode)", "main", "odd/run.sh"]
        ),
        ["100755"]
    );
}

#[test]
fn what_a_person_keeps_there_is_not_replaced() {
    let setup = Setup::new();
    for path in [
        "odd",
        "link",
        "sub",
        "link/a",
        "sub/a",
        "fleet.yaml/a",
        "odd/link/b",
    ] {
        for text in [Some("1"), None] {
            let error = setup.commit(&[(path, text)]).expect_err(path);
            assert!(matches!(error, GitError::Taken(_)), "{path}: {error}");
        }
    }
    for path in ["", "/a", "a//b", "a/../b", "a/.GIT/b", "git~1", "a\0"] {
        let error = setup.commit(&[(path, Some("1"))]).expect_err(path);
        assert!(matches!(error, GitError::Path(_)), "{path}: {error}");
    }
    let subjects = git(&setup.path, &["log", "--format=%s", "main"]);
    assert_eq!(subjects, ["odd", "start"]);
}

/// A repository with a work tree whose branch `main` is checked out.
fn checked_out(dir: &Path) {
    let files = BTreeMap::from([("fleet.yaml".to_owned(), b"x".to_vec())]);
    std::fs::write(dir.join("fleet.yaml"), "x").expect("written");
    init_work_tree(dir, "main", &files, "start", AUTHOR, 1).expect("made");
}

fn approve(dir: &Path, text: &str) -> Result<CommitId, GitError> {
    let changes = Changes::from([("approvals/a.yaml".to_owned(), Some(text.into()))]);
    let location = dir.display().to_string();
    commit_files(&location, "main", &changes, "approve", AUTHOR, 2)
}

#[test]
fn a_checked_out_branch_takes_its_work_tree_along() {
    let dir = tempfile::tempdir().expect("a folder");
    let (main, linked) = (dir.path().join("main"), dir.path().join("linked"));
    std::fs::create_dir(&main).expect("made");
    checked_out(&main);
    std::fs::write(main.join("fleet.yaml"), "y").expect("written");
    std::fs::write(main.join("new"), "z").expect("written");
    git(&main, &["add", "new"]);
    approve(&main, "1").expect("committed");
    assert_eq!(
        git(&main, &["status", "--porcelain"]),
        [" M fleet.yaml", "A  new"],
        "what was not committed is as it was, and the approval would not be reverted"
    );
    git(&main, &["checkout", "--quiet", "--detach"]);
    let linked_path = linked.display().to_string();
    git(&main, &["worktree", "add", "--quiet", &linked_path, "main"]);
    approve(&main, "2").expect("committed");
    assert!(git(&linked, &["status", "--porcelain"]).is_empty());
    assert_eq!(git(&main, &["show", "main:approvals/a.yaml"]), ["2"]);
    assert_eq!(git(&main, &["show", "HEAD:approvals/a.yaml"]), ["1"]);
}

#[test]
fn changes_that_are_not_committed_are_not_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    checked_out(dir.path());
    let before = approve(dir.path(), "1").expect("committed").to_string();
    std::fs::write(dir.path().join("approvals/a.yaml"), "mine").expect("written");
    let error = approve(dir.path(), "2").expect_err("in the way");
    assert!(matches!(error, GitError::WorkTree(_)), "{error}");
    assert_eq!(git(dir.path(), &["rev-parse", "main"]), [before]);
    assert_eq!(
        std::fs::read(dir.path().join("approvals/a.yaml")).expect("read"),
        b"mine"
    );
}

#[test]
fn what_is_there_already_makes_no_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    checked_out(dir.path());
    let first = approve(dir.path(), "1").expect("committed");
    assert_eq!(approve(dir.path(), "1").expect("nothing to do"), first);
}

#[test]
fn a_branch_that_stands_for_another_moves_that_one() {
    let dir = tempfile::tempdir().expect("a folder");
    checked_out(dir.path());
    git(dir.path(), &["branch", "-m", "main", "trunk"]);
    git(
        dir.path(),
        &["symbolic-ref", "refs/heads/main", "refs/heads/trunk"],
    );
    let commit = approve(dir.path(), "1").expect("committed").to_string();
    assert_eq!(git(dir.path(), &["rev-parse", "trunk"]), [commit]);
    assert_eq!(
        git(dir.path(), &["symbolic-ref", "refs/heads/main"]),
        ["refs/heads/trunk"]
    );
    assert!(git(dir.path(), &["status", "--porcelain"]).is_empty());
}

#[test]
fn a_work_tree_is_not_touched_when_the_branch_cannot_move() {
    let dir = tempfile::tempdir().expect("a folder");
    checked_out(dir.path());
    let lock = dir.path().join(".git/refs/heads/main.lock");
    std::fs::write(&lock, "").expect("written");
    let moved = approve(dir.path(), "one");
    assert!(matches!(moved, Err(GitError::Moved)), "{moved:?}");
    assert_eq!(git(dir.path(), &["status", "--porcelain"]), [""; 0]);
    std::fs::remove_file(&lock).expect("removed");
    approve(dir.path(), "one").expect("committed");
    assert_eq!(git(dir.path(), &["status", "--porcelain"]), [""; 0]);
    assert!(!lock.exists());
}

/// Git syncs packs before a ref names what is in them, and leaves loose objects to the system.
#[test]
fn what_is_committed_or_pushed_is_never_a_loose_object() {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, clone) = (dir.path().join("state.git"), dir.path().join("clone"));
    let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
    init_repository(&state, "main", &files, "start", AUTHOR, 1).expect("made");
    let change = Changes::from([("b/c".to_owned(), Some(b"2".to_vec()))]);
    let location = state.display().to_string();
    commit_files(&location, "main", &change, "change", AUTHOR, 2).expect("committed");
    let text = clone.display().to_string();
    git(dir.path(), &["clone", "-q", "-b", "main", &location, &text]);
    let who = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.invalid",
    ];
    let commit = [&who[..], &["commit", "-q", "--allow-empty", "-m", "pushed"]].concat();
    git(&clone, &commit);
    git(&clone, &["push", "-q", "origin", "main"]);
    let count = git(&state, &["count-objects", "-v"]);
    assert!(count.contains(&"count: 0".to_owned()), "{count:?}");
    assert_eq!(git(&state, &["rev-list", "--count", "main"]), ["3"]);
    assert_eq!(git(&state, &["fsck", "--strict"]), [""; 0]);
}

/// A repository that is reached by a program of ours, as by SSH, which does something once somebody has fetched.
fn elsewhere(dir: &Path, after: &str) -> (PathBuf, PathBuf) {
    let (state, scratch) = (dir.join("state.git"), dir.join("scratch.git"));
    let way = dir.join("way.sh");
    let text = format!(
        "#!/bin/sh\neval \"$2\"\ncase \"$2\" in *upload-pack*) cd {} && {after} ;; esac\n",
        state.display()
    );
    std::fs::write(&way, text).expect("written");
    std::fs::set_permissions(&way, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("runs");
    let config = Repository::init_bare(&scratch).and_then(|made| made.config());
    let mut config = config.expect("a configuration");
    let way = way.display().to_string();
    config.set_str("core.sshCommand", &way).expect("set");
    config.set_str("ssh.variant", "simple").expect("set");
    (state, scratch)
}

fn proposal(text: &str, onto: Option<CommitId>) -> Proposal {
    Proposal {
        branch: "main".into(),
        onto,
        changes: Changes::from([("b".to_owned(), Some(text.into()))]),
        message: "change".into(),
        author: (AUTHOR.0.into(), AUTHOR.1.into()),
        when: 3,
    }
}

/// Whoever takes a bad commit back while we make ours on top of it does not find it in force again.
#[tokio::test]
async fn a_branch_that_was_taken_back_is_left_where_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let rewind = "git update-ref refs/heads/main main~1";
    let (state, scratch) = elsewhere(dir.path(), rewind);
    let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
    let good = init_repository(&state, "main", &files, "good", AUTHOR, 1).expect("made");
    let change = Changes::from([("a".to_owned(), Some(b"2".to_vec()))]);
    let location = state.display().to_string();
    let bad = || commit_files(&location, "main", &change, "bad", AUTHOR, 2).expect("committed");
    let url = format!("ssh://host{location}");
    let limit = Duration::from_secs(60);
    for is_told in [true, false] {
        let onto = bad();
        let proposal = proposal("3", is_told.then_some(onto));
        let moved = commit_and_push(&url, &scratch, proposal, limit).await;
        assert!(matches!(moved, Err(GitError::Moved)), "{moved:?}");
        assert_eq!(git(&state, &["rev-parse", "main"]), [good.to_string()]);
    }
    // On this machine, too.
    let onto = bad();
    git(&state, &["update-ref", "refs/heads/main", "main~1"]);
    let moved = commit_onto(&location, &proposal("3", Some(onto)));
    assert!(matches!(moved, Err(GitError::Moved)), "{moved:?}");
    assert_eq!(git(&state, &["rev-parse", "main"]), [good.to_string()]);
}

#[tokio::test]
async fn a_clone_that_is_committed_in_stays_small() {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, scratch) = elsewhere(dir.path(), "true");
    let files = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
    init_repository(&state, "main", &files, "start", AUTHOR, 1).expect("made");
    let url = format!("ssh://host{}", state.display());
    let limit = Duration::from_secs(60);
    let mut most = 0;
    for number in 0..60 {
        let proposal = proposal(&number.to_string(), None);
        commit_and_push(&url, &scratch, proposal, limit)
            .await
            .expect("pushed");
        most = most.max(packs(&scratch));
        tidy(&scratch, limit).await;
    }
    assert!(most <= 51, "{most}");
    assert_eq!(git(&state, &["rev-list", "--count", "main"]), ["61"]);
    assert_eq!(git(&scratch, &["fsck", "--strict"]), [""; 0]);
}

#[tokio::test]
async fn a_repository_that_only_we_commit_to_is_tidied_up() {
    let dir = tempfile::tempdir().expect("a folder");
    checked_out(dir.path());
    let location = dir.path().display().to_string();
    let packs = || packs(&dir.path().join(".git"));
    let commit = |number: u32| {
        let proposal = proposal(&number.to_string(), None);
        commit_onto(&location, &proposal).expect("committed")
    };
    for number in 0..40 {
        commit(number);
    }
    let limit = Duration::from_secs(60);
    let before = packs();
    tidy_beside_others(&location, limit).await;
    assert_eq!(packs(), before, "they are not many yet");
    for number in 40..60 {
        commit(number);
    }
    let lock = dir.path().join(".git/index.lock");
    std::fs::write(&lock, "").expect("somebody is at work");
    tidy_beside_others(&location, limit).await;
    assert!(packs() < 20, "{}", packs());
    assert!(lock.exists(), "what is another's stays");
    std::fs::remove_file(lock).expect("removed");
    assert_eq!(git(dir.path(), &["fsck", "--strict"]), [""; 0]);
    assert_eq!(git(dir.path(), &["rev-list", "--count", "main"]), ["61"]);
}

fn packs(repository: &Path) -> usize {
    let entries = std::fs::read_dir(repository.join("objects/pack")).expect("there");
    let names = entries.map(|entry| entry.expect("there").path());
    names
        .filter(|name| name.extension().is_some_and(|x| x == "pack"))
        .count()
}

//! What `easyenclave verify` and `easyenclave evidence` say of a branch that the production writer made, and of copies of
//! it in which one bit is another one. `cargo bench -p easyenclave --bench verify` does the same at the size of a large
//! fleet.

#[path = "../../benches/verify/audit.rs"]
mod audit;
mod faults;
#[path = "../../benches/verify/flips.rs"]
mod flips;
mod kept;
#[path = "../../benches/verify/maker.rs"]
mod maker;
mod reading;
#[path = "../../benches/verify/statuses.rs"]
mod statuses;
mod times;

use std::fs::Permissions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flips::Extent;
use maker::{Maker, Shape};

const TWO: Shape = Shape {
    agents: 2,
    commits: 1,
    seed: 5,
};

/// Runs the program in a folder.
fn easyenclave(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
    let output = command.current_dir(folder).args(args).output();
    output.expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Hexadecimal numbers of forty digits or more are other ones every time, and so are folders that are named after them.
fn without_digests(text: &str) -> String {
    let (mut out, mut word) = (String::new(), String::new());
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() {
            word.push(letter);
            continue;
        }
        match word.len() {
            0..40 => out += &word,
            _ => out += "<digest>",
        }
        word.clear();
        out.push(letter);
    }
    let mut parts = out.split("evidence/").map(str::to_owned);
    let first = parts.next().unwrap_or_default();
    let after = |part: String| part.split_once("<digest>").map(|(_, rest)| rest.to_owned());
    parts.fold(first, |text, part| {
        text + "<evidence>" + &after(part).unwrap_or_default()
    })
}

#[test]
fn each_bit_that_is_changed_is_named_by_path_and_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    let shape = Shape {
        agents: 8,
        commits: 40,
        seed: 3,
    };
    let made = maker::make(dir.path(), &shape);
    let ran = audit::run(&made.state, None);
    println!("checked in {:?}, with {} MiB", ran.time, ran.peak);
    assert_eq!(
        ran.found["findings"],
        serde_json::json!([]),
        "{}",
        ran.found
    );
    let verdicts = &ran.found["verdicts"];
    assert_eq!(
        verdicts["recomputed"].as_u64(),
        u64::try_from(made.records).ok()
    );
    for (count, extent) in [(20, Extent::Rest), (40, Extent::One)] {
        let flips = audit::flips(&made.state, count, 4, extent);
        println!("{extent:?}: {:?}", flips.kinds);
        assert!(flips.unnamed.is_empty(), "{}", flips.unnamed.join("\n"));
    }
}

#[test]
fn a_policy_that_the_desired_state_never_had_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut maker = Maker::new(dir.path(), &TWO);
    maker.policy.spec.max_age = "1000h".parse().expect("a duration");
    maker.round(0);
    maker.push();
    let found = audit::run(&maker.made.state, None).found;
    let findings = found["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 2, "{found}");
    for finding in findings {
        assert_eq!(finding["kind"], "policy");
        let path = finding["path"].as_str().expect("a file");
        assert!(path.starts_with("agents/"), "{path}");
        let message = finding["message"].as_str().expect("text");
        assert!(
            message.contains("in no version of the desired state"),
            "{message}"
        );
    }
    assert_eq!(
        found["verdicts"]["recomputed"], 2,
        "they are as that policy gives them: {found}"
    );
}

#[test]
fn a_bundle_of_both_branches_is_as_good_as_a_clone_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = maker::make(dir.path(), &TWO);
    let bundle = |name: &str, branches: &[&str]| {
        let file = dir.path().join(name).display().to_string();
        let args = [&["bundle", "create", "--quiet", &file], branches].concat();
        let git = Command::new("git")
            .current_dir(&made.state)
            .args(args)
            .status();
        assert!(git.expect("git runs").success());
        file
    };
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).expect("made");
    let verify = |file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
        let command = command.args(["verify", "--bundle", file]);
        let output = command.env("TMPDIR", &scratch).output();
        output.expect("it runs")
    };
    let whole = verify(&bundle("whole", &["main", "status"]));
    let answer = text(&whole.stdout);
    assert!(answer.contains("good: 1 commit "), "{answer}");
    assert_eq!(whole.status.code(), Some(0));
    let half = verify(&bundle("half", &["status"]));
    assert_eq!(half.status.code(), Some(1));
    let error = text(&half.stderr);
    assert!(error.contains("no branch or commit main"), "{error}");
    let left = std::fs::read_dir(&scratch).expect("a folder").count();
    assert_eq!(left, 0, "folders are left in {}", scratch.display());
}

/// Runs Git in a folder. Answers what it says.
fn git(folder: &Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=Kim", "-c", "user.email=kim@example.org"];
    let mut git = Command::new("git");
    let output = git.current_dir(folder).args(who).args(args).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// What was fetched may hold what the clone's own branch has not: the status goes on from commits that it does not know.
#[test]
fn a_clone_that_is_behind_is_told_so_beside_what_is_found_for_that() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = maker::make(dir.path(), &TWO);
    let state = made.state.display().to_string();
    git(dir.path(), &["clone", "--quiet", &state, "clone"]);
    let clone = dir.path().join("clone");
    let branch = |name: &str, parents: &[&str]| {
        let parents = parents.iter().flat_map(|parent| ["-p", *parent]);
        let tree = ["commit-tree", "-m", "state", "origin/main^{tree}"];
        let args: Vec<_> = tree.into_iter().chain(parents).collect();
        let commit = git(&clone, &args);
        git(&clone, &["update-ref", name, &commit]);
    };
    let verify = || easyenclave(&clone, &["verify"]);
    let good = verify();
    assert_eq!(
        (good.status.code(), text(&good.stderr)),
        (Some(0), String::new())
    );
    branch("refs/heads/main", &[]);
    let strange = verify();
    assert_eq!(strange.status.code(), Some(1));
    assert_eq!(
        text(&strange.stderr),
        "",
        "it is not behind, but another one"
    );
    branch("refs/remotes/origin/main", &["main", "origin/main"]);
    let behind = verify();
    assert_eq!(behind.status.code(), Some(1));
    let said = text(&behind.stderr);
    assert!(
        said.starts_with("main is behind origin/main here"),
        "{said}"
    );
}

/// A `git` that never ends stands for a bundle that takes its time.
#[test]
fn a_bundle_that_is_given_up_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        folder
    };
    let (programs, scratch) = (folder("programs"), folder("scratch"));
    let git = programs.join("git");
    std::fs::write(&git, "#!/bin/sh\nexec /bin/sleep 600\n").expect("written");
    std::fs::set_permissions(&git, Permissions::from_mode(0o755)).expect("runs");
    let bundle = dir.path().join("bundle");
    std::fs::write(&bundle, "a bundle").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
    let command = command.args(["verify", "--bundle"]).arg(&bundle);
    let command = command.env("TMPDIR", &scratch).env("PATH", &programs);
    let child = command.stderr(Stdio::piped()).spawn().expect("started");
    let is_empty = || std::fs::read_dir(&scratch).expect("a folder").count() == 0;
    until("it is unpacked", || (!is_empty()).then_some(()));
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(text(&output.stderr), "error: interrupted\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(is_empty(), "folders are left in {}", scratch.display());
}

/// Keys that never come stand for a branch that takes long to check.
#[test]
fn a_bundle_that_is_given_up_while_it_is_checked_is_not_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = maker::make(dir.path(), &TWO);
    let (keys, scratch) = (dir.path().join("keys"), dir.path().join("scratch"));
    std::fs::create_dir(&scratch).expect("made");
    let bundle = dir.path().join("bundle");
    let mut git = Command::new("git");
    git.current_dir(&made.state);
    git.args(["bundle", "create", "--quiet"]).arg(&bundle);
    assert!(ran(git.args(["main", "status"])));
    assert!(ran(Command::new("mkfifo").arg(&keys)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_easyenclave"));
    command.args(["verify", "--bundle"]).arg(&bundle);
    command.arg("--signers").arg(&keys).env("TMPDIR", &scratch);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("started");
    let mut open = std::fs::File::options();
    let open = open.write(true).custom_flags(NONBLOCK);
    let _writer = until("it wants the keys", || open.open(&keys).ok());
    let asked = Instant::now();
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert!(asked.elapsed() < LEAVE, "it waited for the keys");
    let left = std::fs::read_dir(&scratch).expect("a folder").count();
    assert_eq!(left, 0, "folders are left in {}", scratch.display());
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr), "error: interrupted\n");
    assert_eq!(output.status.code(), Some(1));
}

/// What does not come back from the disk keeps the program so long, and the keys would.
const LEAVE: Duration = Duration::from_secs(10);

/// To open a pipe for writing fails while nobody reads it, with `O_NONBLOCK`.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

fn until<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(ran(Command::new("kill").args(["-INT", &id])));
}

fn ran(command: &mut Command) -> bool {
    command.status().expect("it runs").success()
}

//! A status commit of 100 changed files out of 10,000, beside `git add -A && git commit` doing the same.
//! The ledger signs its commits and syncs them to the disk; `git` does neither with its defaults.
//! Run with `cargo bench -p easyenclave-git`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use easyenclave_git::{Ledger, Signer};

const FILES: usize = 10_000;
const CHANGED: usize = 100;
const ROUNDS: usize = 15;

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ours, our_best) = median_and_best(ledger(dir.path()));
    let (theirs, their_best) = median_and_best(program(dir.path()));
    let ratio = theirs / ours;
    println!(
        "status commit, {CHANGED} changed files of {FILES} (median and fastest of {ROUNDS}, ms)"
    );
    println!(
        "  ledger                     {ours:>9.2} {our_best:>9.2}   bar: median at most 15 ms"
    );
    println!("  git add -A && git commit   {theirs:>9.2} {their_best:>9.2}");
    println!("  ratio of medians           {ratio:>9.1} x           bar: at least 10 x");
}

fn path(file: usize) -> String {
    format!("agents/{:02x}/agent-{file}.yaml", file % 256)
}

fn content(file: usize, round: usize) -> String {
    format!(
        "agent: agent-{file}\nphase: running\nround: {round}\n{}",
        "detail: x\n".repeat(60)
    )
}

fn ledger(dir: &Path) -> Vec<Duration> {
    let signer = Signer::open_or_create(&dir.join("key")).expect("a key");
    let remote = dir.join("remote.git").display().to_string();
    let mut ledger = Ledger::open(&remote, &dir.join("own.git"), "status", signer).expect("open");
    for file in 0..FILES {
        ledger
            .set(&path(file), content(file, 0).into_bytes())
            .expect("a path");
    }
    ledger.record("start", 1).expect("recorded");
    let round = |round: usize| {
        let started = Instant::now();
        for file in (0..FILES).step_by(FILES / CHANGED) {
            ledger
                .set(&path(file), content(file, round).into_bytes())
                .expect("a path");
        }
        ledger
            .record("round", 2)
            .expect("recorded")
            .expect("a commit");
        started.elapsed()
    };
    (1..=ROUNDS).map(round).collect()
}

fn program(dir: &Path) -> Vec<Duration> {
    let tree = dir.join("tree");
    let write = |file: usize, round: usize| {
        let path = tree.join(path(file));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content(file, round)).expect("written");
    };
    (0..FILES).for_each(|file| write(file, 0));
    git(&tree, &["init", "--quiet", "--initial-branch=status"]);
    git(&tree, &["add", "-A"]);
    git(&tree, &["commit", "--quiet", "--message=start"]);
    let round = |round: usize| {
        let started = Instant::now();
        (0..FILES)
            .step_by(FILES / CHANGED)
            .for_each(|file| write(file, round));
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "--quiet", "--message=round"]);
        started.elapsed()
    };
    (1..=ROUNDS).map(round).collect()
}

fn git(tree: &Path, args: &[&str]) {
    let quiet = [
        "-c",
        "gc.auto=0",
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.invalid",
    ];
    let status = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(quiet)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .status();
    assert!(status.expect("git runs").success(), "git {args:?}");
}

/// In milliseconds. The fastest tells what a busy machine hides.
fn median_and_best(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    (millis(times[times.len() / 2]), millis(times[0]))
}

//! `easyenclave verify`, run as people run it, and what it took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::flips::{Flip, Flipper};

const PROGRAM: &str = env!("CARGO_BIN_EXE_easyenclave");

/// One run.
pub(crate) struct Ran {
    /// What it said.
    pub(crate) found: Value,
    pub(crate) time: Duration,
    /// The most memory that it had at a time, in MiB: all of it, with the parts of the clone's files that it read.
    pub(crate) peak: u64,
}

/// Checks a repository.
pub(crate) fn run(repository: &Path) -> Ran {
    let started = Instant::now();
    let mut child = Command::new(PROGRAM)
        .args(["verify", "--output", "json", "--repo"])
        .arg(repository)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let id = child.id();
    let stdout = child.stdout.take().expect("piped");
    let read = std::thread::spawn(move || std::io::read_to_string(stdout).expect("text"));
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        peak = memory(id).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = started.elapsed();
    let text = read.join().expect("read");
    Ran {
        found: serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
        time,
        peak,
    }
}

/// The peak of a process that runs, in MiB.
fn memory(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// Changes one bit at a time, and answers those changes that were not named by commit and path.
pub(crate) fn unnamed(clone: &Path, count: usize, seed: u64) -> Vec<String> {
    let mut flipper = Flipper::open(clone, seed);
    let mut unnamed = Vec::new();
    for _ in 0..count {
        let dir = tempfile::tempdir().expect("a folder");
        let flip = flipper.flip(&dir.path().join("altered.git"));
        let ran = run(&flip.repository);
        if !is_named(&ran.found, &flip) {
            unnamed.push(format!("{} in {}: {}", flip.what, flip.commit, ran.found));
        }
    }
    unnamed
}

fn is_named(found: &Value, flip: &Flip) -> bool {
    let findings = found["findings"].as_array().expect("a list");
    findings.iter().any(|finding| {
        let path = finding["path"].as_str();
        let is_path = match path {
            Some(path) => flip.paths.iter().any(|altered| altered == path),
            None => flip.paths.is_empty(),
        };
        finding["commit"] == flip.commit.as_str() && is_path
    })
}
